"""Policies on their way to decisions: the snapshot's format, its place in Redis, and the client that decides.

An orchestrator installs this package: it pulls in neither Kafka's client nor anything else of the worker's.
"""

from alice_rl.snapshot.client import PolicyClient
from alice_rl.snapshot.format import Manifest, Snapshot, digest, pack, unpack
from alice_rl.snapshot.policy import Policy
from alice_rl.snapshot.rules import Rules, RulesSettings

__all__ = ["Manifest", "Policy", "PolicyClient", "Rules", "RulesSettings", "Snapshot", "digest", "pack", "unpack"]
