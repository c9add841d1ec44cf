"""Snapshots and the distributions they decide by, over all inputs."""

from __future__ import annotations

import string

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alice_rl.errors import SnapshotError
from alice_rl.events import Context
from alice_rl.feature_spec import FeatureSettings, Numeric
from alice_rl.features import Featuriser
from alice_rl.lineage import SLOTS, Arms
from alice_rl.slots import Exploration, Restriction
from alice_rl.snapshot import Policy, Snapshot, pack, unpack
from alice_rl.snapshot.route import RouteScorer
from tests.snapshots import make_snapshot, small_snapshot

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
amounts = st.none() | st.floats(0, 1e7) | st.integers(0, 500).map(float)
contexts = st.builds(
    Context,
    st.sampled_from(["weather", "code", "new"]),
    st.none() | st.sampled_from(["sv", "en"]),
    st.none() | st.sampled_from(["NORMAL", "LOCKDOWN"]),
    amounts,
    st.none() | st.floats(0, 1),
    amounts,
    amounts,
)
SPECS = (
    FeatureSettings(),
    FeatureSettings(feature_dim=8, numerics=(Numeric("confidence"), Numeric("text_len", "log1p"))),
    FeatureSettings(feature_dim=16, categoricals=("lang",), interactions=(), numerics=()),
    FeatureSettings(feature_dim=8, numerics=(Numeric("recent_cost_usd", "linear", 100.0),)),
)
FEW, MANY = Arms(), Arms(route=tuple(f"r{k}" for k in range(13)))
SOLVED = {(spec, arms): make_snapshot(arms=arms, features=spec) for spec in SPECS for arms in (FEW, MANY)}


@given(
    policy=names,
    version=st.integers(1, 2**53),
    offsets=st.dictionaries(st.integers(0, 10_000), st.integers(0, 2**60), max_size=5),
    weights=st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False), max_size=4),
    max_share=st.dictionaries(names, st.floats(0, 1), max_size=3),
    intents=st.lists(st.text(st.characters(codec="utf-8"), max_size=20), min_size=2, max_size=2).map(tuple),
    key=st.none() | st.binary(max_size=40),
    alpha=st.lists(st.floats(0, 1e300), min_size=2, max_size=2),
)
def test_unpack_inverts_pack(policy, version, offsets, weights, max_share, intents, key, alpha) -> None:
    """Every snapshot comes back equal, with equal bytes."""
    manifest = small_snapshot(
        policy=policy, version=version, offsets=offsets, weights=weights, max_share=max_share, intents=intents
    ).manifest
    snapshot = Snapshot(manifest, **(small_snapshot().tensors() | {"route_alpha": np.array(alpha)}))
    data = pack(snapshot, key)
    assert unpack(data, key) == snapshot
    assert pack(unpack(data), key) == data


BLOBS = (pack(small_snapshot()), pack(small_snapshot(), b"key"))


@settings(max_examples=500)
@given(blob=st.sampled_from(BLOBS), at=st.integers(0, min(map(len, BLOBS)) - 1), flip=st.integers(1, 255))
def test_any_flipped_byte_is_refused(blob: bytes, at: int, flip: int) -> None:
    """Without a key, too, and wherever it is: header, padding, signature, checksum or tensors."""
    wrong = bytearray(blob)
    wrong[at] ^= flip
    with pytest.raises(SnapshotError):
        unpack(bytes(wrong))


def test_each_flipped_byte_of_the_header_is_refused() -> None:
    """The header, where JSON has many ways to say the same, holds no byte that may differ."""
    blob = BLOBS[1]
    for at in range(8 + int.from_bytes(blob[:8], "little")):
        for flip in (0x01, 0x20, 0x80):
            wrong = bytearray(blob)
            wrong[at] ^= flip
            with pytest.raises(SnapshotError):
                unpack(bytes(wrong))


@given(data=st.binary(max_size=300))
def test_no_bytes_crash_the_reader(data: bytes) -> None:
    """Whatever stands in Redis, the answer is a snapshot or a refusal."""
    with pytest.raises(SnapshotError):
        unpack(data)


@given(solved=st.sampled_from(sorted(SOLVED, key=str)), context=contexts)
def test_scores_equal_those_in_x_space(solved: tuple[FeatureSettings, Arms], context: Context) -> None:
    """Means and widths as polynomials of the numerics are `theta.x` and `alpha sqrt(x' A^-1 x)`."""
    snapshot = SOLVED[solved]
    x = Featuriser(snapshot.manifest.features).x(context)
    means, widths = snapshot.route_theta @ x, np.linalg.norm(snapshot.route_factor @ x, axis=1)
    for bounds_only in (True, False):
        scorer = RouteScorer(snapshot, snapshot.route_alpha**2, bounds_only=bounds_only)
        bounds = means + snapshot.route_alpha * widths
        assert scorer.bounds(context) == pytest.approx(bounds.tolist(), rel=1e-9, abs=1e-9)
        for got, wanted in zip(scorer.posteriors(context), (means, snapshot.route_alpha * widths), strict=True):
            assert got == pytest.approx(wanted.tolist(), rel=1e-9, abs=1e-9)


@given(
    rule=st.sampled_from(["ucb", "thompson", "igw"]),
    context=contexts,
    offered=st.none()
    | st.lists(st.sampled_from([*FEW.route, *FEW.cache, "none", *string.ascii_lowercase]), max_size=6),
    floor=st.sampled_from([0.01, 0.3, 1.0]),
    cap=st.sampled_from([1.0, 0.7, 0.34]),
)
def test_a_distribution_sums_to_one_and_keeps_floor_and_cap(rule, context, offered, floor, cap) -> None:
    """For every offer p sums to 1, and no arm is below the floor or, where others have room, above its cap."""
    how = Exploration(route_rule=rule, route_floor=floor, tool_floor=floor, cache_epsilon_floor=floor)
    guardian = {"LOCKDOWN": Restriction(route=("micro", "deep"))}
    policy = Policy(make_snapshot(arms=FEW, exploration=how, max_share={"micro": cap, "L1": cap}, guardian=guardian))
    for slot in SLOTS:
        pi = policy.distribution(slot, context, offered)
        known = [arm for arm in getattr(FEW, slot) if offered is None or arm in offered]
        assert bool(pi) == bool(known)
        if not pi:
            continue
        assert sum(pi.values()) == pytest.approx(1.0, abs=1e-12)
        # Epsilon-greedy's floor is a class's own epsilon, which decays towards the configured one.
        least = floor if slot != "cache" else min(floor, 0.3)
        for arm, p in pi.items():
            limit = cap if arm in ("micro", "L1") and len(pi) > 1 else 1.0
            assert min(least / len(pi), limit) - 1e-12 <= p <= limit + 1e-12
