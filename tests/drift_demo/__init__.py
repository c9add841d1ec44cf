"""What drift does to a policy, and what forgetting does about it: `make drift`."""
