"""The worker: Kafka in, checkpoints and policies out; and the command line, `alice-rl`."""
