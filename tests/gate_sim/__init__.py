"""How often a gate errs, and how soon it decides: thousands of simulated canaries, watched all the time."""
