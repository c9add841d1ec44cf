"""What parts two structures, and what a refusal says."""

from __future__ import annotations

from itertools import islice
from typing import Any

import msgspec
import pytest

from alice_rl.episodes import JoinSettings, MissingOutcome
from alice_rl.errors import ConfigError
from alice_rl.feature_spec import FeatureSettings, Numeric
from alice_rl.lineage import Arms, Lineage
from alice_rl.lineage_change import LineageChange, Relation, _settings, compare, next_names
from alice_rl.reward import RewardBounds
from alice_rl.settings.fields import fields_of
from worker.settings import Settings

LINEAGE = Lineage()


def change(**fields: Any) -> LineageChange:
    """What a configuration with other fields changes."""
    return compare(LINEAGE.to_json(), msgspec.structs.replace(LINEAGE, **fields).to_json())


def test_equal_structures_are_equal() -> None:
    """Nothing differs from itself."""
    assert change() == LineageChange(Relation.EQUAL)


@pytest.mark.parametrize("fewer", [0, 2, 3])
def test_numerics_at_the_end_extend(fewer: int) -> None:
    """Appended numerics are named; seen from the other side, they are missing."""
    before, appended = LINEAGE.with_numerics(fewer), tuple(n.name for n in LINEAGE.features.numerics[fewer:])
    assert compare(before.to_json(), LINEAGE.to_json()) == LineageChange(Relation.EXTENDS, appended)
    assert compare(LINEAGE.to_json(), before.to_json()) == LineageChange(Relation.SHRINKS, appended)


def test_numerics_elsewhere_differ() -> None:
    """A numeric in front, one with another scale, and one beside another change are no extension."""
    numerics = LINEAGE.features.numerics
    front = change(features=FeatureSettings(numerics=(numerics[1], numerics[0], *numerics[2:])))
    assert front.relation is Relation.DIFFERS
    assert front.settings[0].startswith('features.numerics: [{"')
    scaled = change(features=FeatureSettings(numerics=(*numerics[:3], Numeric("recent_cost_usd", scale=7.0))))
    assert scaled.relation is Relation.DIFFERS
    assert "+{" in scaled.settings[0] and "-{" in scaled.settings[0]
    beside = compare(LINEAGE.with_numerics(3).to_json(), Lineage(bucket_seconds=60).to_json())
    assert beside.relation is Relation.DIFFERS
    assert len(beside.settings) == 2


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"features": FeatureSettings(feature_dim=128)}, "features.feature_dim: 64 -> 128"),
        ({"arms": Arms(tool=("none", "maps"))}, 'tool.arms: +"maps"'),
        ({"arms": Arms(route=("micro", "deep"))}, 'route.arms: -"planner"'),
        ({"arms": Arms(cache=("L2", "L1", "L3"))}, 'cache.arms: ["L1","L2","L3"] -> ["L2","L1","L3"]'),
        ({"bounds": RewardBounds(latency_ms_max=5000.0)}, "reward.latency_ms_max: 30000.0 -> 5000.0"),
        ({"join": JoinSettings(horizon_seconds=60)}, "join.horizon_seconds: 600 -> 60"),
        ({"bucket_seconds": 60}, "decay.bucket_seconds: 3600 -> 60"),
        ({"cache_class": ("intent", "lang")}, 'cache.class_by: +"lang"'),
        ({"names_max": 8}, "worker.intents_max: 4096 -> 8"),
        ({"hits_teach_all": True}, "worker.hits_teach_all: false -> true"),
    ],
)
def test_each_setting_is_named_by_its_key(fields: dict[str, Any], told: str) -> None:
    """A difference is told by the key of the configuration, with what it was and what it is."""
    assert change(**fields) == LineageChange(Relation.DIFFERS, settings=(told,))


def test_an_outcome_for_missing_ones_is_a_difference() -> None:
    """What was unset is told so."""
    (told,) = change(join=JoinSettings(missing_outcome=MissingOutcome())).settings
    assert told.startswith('join.missing_outcome: unset -> {"')


def test_every_setting_of_a_lineage_is_a_key_of_the_configuration() -> None:
    """No part of the structure is told by a name that the configuration does not have."""
    assert set(_settings(LINEAGE.to_json())) <= {field.key for field in fields_of(Settings, Settings())}


def test_settings_of_other_versions_are_compared() -> None:
    """A structure with a setting that this version does not know differs in it; text that is none differs, too."""
    newer = msgspec.json.encode(msgspec.to_builtins(LINEAGE) | {"novelty": 1})
    assert compare(newer, LINEAGE.to_json()).settings == ("novelty: 1 -> unset",)
    assert compare(b"garbage", LINEAGE.to_json()).relation is Relation.DIFFERS


def test_a_refusal_names_the_settings_and_the_replay() -> None:
    """The message has the keys, the hint the commands."""
    error = change(bucket_seconds=60, names_max=8).refusal("main", "main-2")
    assert error.code == "lineage_mismatch"
    assert "decay.bucket_seconds: 3600 -> 60; worker.intents_max: 4096 -> 8" in error.message
    assert "alice-rl replay --lineage main-2 --from earliest" in error.hint
    assert "alice-rl policy promote --lineage main-2" in error.hint


def test_a_refusal_is_bounded() -> None:
    """However much differs, the message can be read."""
    many = Lineage(
        features=FeatureSettings(feature_dim=8, categoricals=("lang",), interactions=(), numerics=()),
        arms=Arms(*(tuple(f"{slot}-{i}-{'x' * 50}" for i in range(256)) for slot in ("r", "t", "c"))),
        bounds=RewardBounds(1.0, 0.5),
        join=JoinSettings(1, 16, MissingOutcome()),
        bucket_seconds=60,
        cache_class=("lang",),
    )
    error = compare(LINEAGE.to_json(), many.to_json()).refusal("main", "main-2")
    assert len(error.message) < 3000
    assert error.message.endswith("and 6 more")


def test_a_worker_of_before_is_told_to_restart() -> None:
    """A lineage that was extended names by what; the remedy is the new configuration, not a replay."""
    error = compare(LINEAGE.to_json(), LINEAGE.with_numerics(2).to_json()).refusal("main", "main-2")
    assert isinstance(error, ConfigError)
    assert error.message == "lineage main was extended by features recent_latency_ms, recent_cost_usd"
    assert error.hint == "restart this worker with the new configuration"
    with pytest.raises(ConfigError, match="extended"):
        LINEAGE.with_numerics(3).with_numerics(4)


def test_names_for_a_replay_fit_their_bound() -> None:
    """A long name gives way to its number."""
    assert list(islice(next_names("x" * 64), 2)) == ["x" * 62 + "-2", "x" * 62 + "-3"]
    assert next(next_names("-3")) == "-3-2"
