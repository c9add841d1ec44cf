"""The servers of the demo: a broker and a Redis of our own, so that trying Alice RL needs Python alone."""
