"""What a policy would have earned on the log: targets, and their panes by event time."""
