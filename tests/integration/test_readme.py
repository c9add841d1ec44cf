"""The README's example runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alice_rl.events import Decision, decode, encode

README = Path(__file__).parents[2] / "README.md"


def test_example_of_a_decision_runs(redis_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The ten lines of `decide()` run against a Redis, and what they make can go on the wire."""
    [example] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    scope: dict[str, object] = {}
    exec(example.replace("redis://127.0.0.1:6379/0", redis_url), scope)
    decided = scope["decision"]
    assert isinstance(decided, Decision)
    assert decided.route is not None
    assert capsys.readouterr().out.startswith(decided.route.arm)
    assert decode(encode(decided)).to_event() == scope["event"]
