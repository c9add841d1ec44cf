"""A simulated assistant in a simulated world: what learning is tried on, where the truth is known."""
