"""The shipped configuration: complete, explained, and right for the simulated assistant."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from alice_rl.settings import Loaded, describe, load, undocumented_keys
from alice_rl.settings.fields import fields_of
from alice_rl.settings.toml_text import statements
from alice_rl.simulation.world import ROUTES, RULES, TIERS, TOOLS
from alice_rl.slots import Restriction
from worker.settings import Settings

FILE = Path(__file__).parents[2] / "config.toml"
FOR_THE_SIMULATION = {"tool.arms", "rules.route_by_intent", "rules.tool_by_intent", "guardian"}


@pytest.fixture(scope="module")
def shipped() -> Loaded[Settings]:
    return load(Settings, path=FILE)


def test_every_field_is_there_with_a_comment() -> None:
    """Every field of the settings stands in the file, explained."""
    assert undocumented_keys(Settings, FILE.read_text(encoding="utf-8")) == []


def test_every_field_has_a_description() -> None:
    """What the file explains is said in the model, from where `config show --comments` takes it."""
    assert [row.key for row in describe(Settings) if not row.description] == []


def test_the_values_are_the_defaults_but_for_what_the_simulation_needs(shipped: Loaded[Settings]) -> None:
    """A key that is left out of the file means the same as the file says."""
    pairs = zip(fields_of(Settings), fields_of(Settings, shipped.settings), strict=True)
    assert {mine.key for mine, theirs in pairs if mine.value != theirs.value} == FOR_THE_SIMULATION


def test_the_arms_and_rules_are_the_simulated_assistants(shipped: Loaded[Settings]) -> None:
    """The file as it is runs the simulated assistant: its arms, and the rules that it is compared with."""
    settings = shipped.settings
    assert (settings.route.arms, settings.tool.arms, settings.cache.arms) == (ROUTES, TOOLS, TIERS)
    assert msgspec.to_builtins(settings.rules) == {
        "route": RULES["route_default"],
        "route_by_intent": RULES["route"],
        "tool": RULES["tool_default"],
        "tool_by_intent": RULES["tool"],
        "cache": RULES["cache"],
        "holdout_share": 0.0,
    }
    assert settings.guardian == {"LOCKDOWN": Restriction(route=("micro",))}


def test_what_is_commented_out_may_be_uncommented(tmp_path: Path) -> None:
    """An example that stands commented out is accepted as it is; only secrets are not."""
    lines = FILE.read_text(encoding="utf-8").split("\n")
    secrets = {row.key for row in describe(Settings) if row.secret}
    given = [found for found in statements("\n".join(lines)) if not found.active]
    assert {found.path for found in given} >= secrets
    for found in given:
        if found.path not in secrets:
            lines[found.line - 1] = lines[found.line - 1].removeprefix("# ")
    path = tmp_path / "config.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    settings = load(Settings, path=path).settings
    assert settings.join.missing_outcome is not None
    assert settings.reward.weights.tolist() == Settings().reward.weights.tolist()
