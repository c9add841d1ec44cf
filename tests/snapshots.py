"""Snapshots for tests: solved from seeded random moments, of any size; or small and fixed."""

from __future__ import annotations

from typing import Any

import numpy as np

from alice_rl.feature_spec import FeatureSettings
from alice_rl.lineage import Arms, Lineage
from alice_rl.online.linucb import solve
from alice_rl.slots import Restriction
from alice_rl.snapshot import Manifest, Snapshot

__all__ = ["TOOLS", "make_snapshot", "small_snapshot"]

TOOLS = ("weather.lookup", "calendar.read", "web.search", "none")


def make_snapshot(
    seed: int = 1,
    *,
    arms: Arms | None = None,
    features: FeatureSettings | None = None,
    intents: tuple[str, ...] = ("weather", "code", "smalltalk"),
    **manifest: Any,
) -> Snapshot:
    """A snapshot solved from random moments; further arguments go into the manifest."""
    arms = Arms(tool=TOOLS) if arms is None else arms
    features = FeatureSettings() if features is None else features
    rng = np.random.default_rng(seed)
    n_arms, d = len(arms.route), features.dim
    turns = 200
    x = rng.integers(-2, 3, (n_arms, turns, d)).astype(np.float64)
    x[:, :, 0] = 1.0
    reward = rng.normal(1.0, 1.0, (n_arms, turns, 1))
    solution = solve(
        np.full(n_arms, float(turns)),
        x.transpose(0, 2, 1) @ x,
        x.transpose(0, 2, 1) @ reward,
        reward.transpose(0, 2, 1) @ reward,
        np.ones(1),
    )
    tool, cache = (len(intents) + 1, len(arms.tool)), (len(intents) + 1, len(arms.cache))
    given: dict[str, Any] = {
        "policy": "alice",
        "version": seed,
        "created_at_ms": 1_767_225_600_000,
        "lineage": "main",
        "lineage_fingerprint": Lineage(features=features, arms=arms).fingerprint,
        "offsets": {0: 120, 11: 80},
        "features": features,
        "features_fingerprint": features.fingerprint,
        "arms": arms,
        "intents": intents,
        "classes": intents,
        "weights": {"success": 2.0, "latency_ms": -0.001},
        "counts": {"episodes": 200},
        "moments_digest": "0" * 64,
        "mean_reward": {"route": {"micro": 1.25}},
    }
    return Snapshot(
        Manifest(**(given | manifest)),
        route_theta=solution.theta,
        route_factor=solution.factor,
        route_alpha=solution.alpha,
        route_noise=solution.noise_variance,
        tool_a=rng.uniform(1.0, 60.0, tool),
        tool_b=rng.uniform(1.0, 60.0, tool),
        cache_mean=rng.normal(1.0, 0.5, cache),
        cache_n=rng.integers(0, 300, cache).astype(np.float64),
    )


def small_snapshot(**manifest: Any) -> Snapshot:
    """A snapshot of a few hundred numbers, the same bits on every machine; further arguments go into the manifest."""
    features = FeatureSettings(feature_dim=8)
    arms = Arms(route=("micro", "deep"), tool=("search", "none"), cache=("L1", "L2"))
    given: dict[str, Any] = {
        "policy": "alice",
        "version": 7,
        "created_at_ms": 1_767_225_600_000,
        "lineage": "main",
        "lineage_fingerprint": Lineage(features=features, arms=arms).fingerprint,
        "offsets": {0: 120, 11: 80},
        "features": features,
        "features_fingerprint": features.fingerprint,
        "arms": arms,
        "intents": ("weather", "väder"),
        "classes": ("weather",),
        "weights": {"success": 2.0, "latency_ms": -0.001},
        "max_share": {"deep": 0.5},
        "guardian": {"LOCKDOWN": Restriction(route=("micro",), tool=("none",))},
        "counts": {"episodes": 200},
        "moments_digest": "0" * 64,
        "mean_reward": {"route": {"micro": 1.25}},
    }
    d = features.dim
    theta = np.arange(2.0 * d).reshape(2, d) / 64.0
    factor = np.tril(np.arange(2.0 * d * d).reshape(2, d, d) / 1024.0)
    return Snapshot(
        Manifest(**(given | manifest)),
        route_theta=theta,
        route_factor=factor,
        route_alpha=np.array([0.5, 1.0]),
        route_noise=np.array([0.25, 0.5]),
        tool_a=np.array([[9.0, 2.0], [1.0, 4.0], [3.0, 3.0]]),
        tool_b=np.array([[2.0, 5.0], [6.0, 1.0], [3.0, 3.0]]),
        cache_mean=np.array([[1.0, 1.5], [1.25, 1.0]]),
        cache_n=np.array([[100.0, 100.0], [0.0, 0.0]]),
    )
