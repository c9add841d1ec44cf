"""The rules: deterministic, and always with an answer."""

from __future__ import annotations

import msgspec
import pytest

from alice_rl.snapshot import Rules, RulesSettings

RULES = Rules(
    RulesSettings(
        route="planner",
        route_by_intent={"weather": "micro"},
        tool="none",
        tool_by_intent={"weather": "weather.lookup"},
        cache="L1",
    )
)


@pytest.mark.parametrize(
    ("slot", "intent", "available", "arm"),
    [
        ("route", "weather", ("micro", "planner"), "micro"),
        ("route", "weather", ("planner", "deep"), "planner"),
        ("route", "code", ("micro", "planner"), "planner"),
        ("route", "code", ("deep", "micro"), "deep"),
        ("route", "code", (), "planner"),
        ("tool", "weather", ("none", "weather.lookup"), "weather.lookup"),
        ("tool", "weather", ("none", "search"), "none"),
        ("tool", "code", ("search",), "search"),
        ("cache", "weather", ("L1", "L2"), "L1"),
        ("cache", "weather", ("L2",), "L2"),
        ("cache", "weather", (), "L1"),
    ],
)
def test_intent_then_default_then_first(slot: str, intent: str, available: tuple[str, ...], arm: str) -> None:
    """The intent's arm if it is available, else the default, else the first that is."""
    assert RULES.choose(slot, intent, available) == arm


def test_settings_refuse_unknown_fields() -> None:
    """A misspelt key of the section is an error."""
    with pytest.raises(msgspec.ValidationError, match="unknown field"):
        msgspec.convert({"rout": "micro"}, RulesSettings)
