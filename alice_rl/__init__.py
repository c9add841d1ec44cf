"""Streaming online learning for contextual bandits: a fold over the telemetry log, published as versioned policies.

This module imports nothing heavy: an orchestrator pays for `alice_rl.snapshot` alone, the worker for the rest.
"""

__version__ = "0.1.0"
