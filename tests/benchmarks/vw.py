"""Vowpal Wabbit on the same work: three bandits over the same features, by either of its Python packages.

The features are the worker's: for the route the hashed categoricals, their interactions and the numerics, per arm
(`-q AC -q AN`); for the tool and the cache the intent, per arm. A turn that the cache answered teaches the cache
alone, as in the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log1p
from random import random
from typing import Any

import vowpal_wabbit_next
import vowpalwabbit

from alice_rl.events import Context, Turn
from alice_rl.online.exploration import draw
from alice_rl.reward import RewardSettings, reward

__all__ = ["BINDINGS", "OPTIONS", "Next", "Official", "fixed_route_line", "route_lines", "taught_lines"]

OPTIONS = {
    "route": "--cb_explore_adf --epsilon 0.03 -q AC -q AN --quiet",
    "tool": "--cb_explore_adf --epsilon 0.03 -q AC --quiet",
    "cache": "--cb_explore_adf --epsilon 0.03 -q AC --quiet",
    "fixed": "--cb_explore 3 --epsilon 0.03 --quiet",
}
"""Command lines. What is not named is VW's default: `--cb_type mtr`, adaptive normalised updates, 18 bits."""

_REWARD = RewardSettings()

Lines = list[str]


def route_lines(context: dict[str, Any], arms: Sequence[str], taught: dict[str, str] | None = None) -> Lines:
    """The route's multi-line example of a context as on the wire; `taught` is the label of the arm that was taken."""
    labels = taught or {}
    return [f"shared |C {_features(context)}", *[f"{labels.get(arm, '')}|A {arm}" for arm in arms]]


def fixed_route_line(context: dict[str, Any]) -> str:
    """The route's single-line example for `--cb_explore`, which numbers its arms and offers all of them."""
    return f"|C {_features(context)}"


def taught_lines(turn: Turn) -> dict[str, Lines]:
    """What one turn teaches, slot by slot, as multi-line examples with costs and probabilities."""
    assert turn.route and turn.tool and turn.cache
    cost, shared = -reward(turn.outcome, _REWARD), f"shared |C i={turn.context.intent}"
    lines = {}
    if not turn.outcome.cache_hit:
        context = {name: getattr(turn.context, name) for name in Context.__struct_fields__}
        lines["route"] = route_lines(context, turn.route.available, _label(turn.route, cost))
        good = turn.outcome.success if turn.outcome.tool_ok is None else turn.outcome.tool_ok
        lines["tool"] = [shared, *_arms(turn.tool, 1.0 - good)]
    return lines | {"cache": [shared, *_arms(turn.cache, cost)]}


def _features(context: dict[str, Any]) -> str:
    get = context.get
    intent, lang, state = context["intent"], get("lang") or "", get("guardian_state") or ""
    text_len, confidence, latency, cost = (
        get("text_len"),
        get("confidence"),
        get("recent_latency_ms"),
        get("recent_cost_usd"),
    )
    return (
        f"i={intent} l={lang} s={state} il={intent}*{lang} is={intent}*{state} |N"
        f"{' t_missing' if text_len is None else f' t:{log1p(text_len):.4f}'}"
        f"{' c_missing' if confidence is None else f' c:{confidence:.4f}'}"
        f"{' m_missing' if latency is None else f' m:{log1p(latency):.4f}'}"
        f"{' d_missing' if cost is None else f' d:{100.0 * cost:.4f}'}"
    )


def _label(slot: Any, cost: float) -> dict[str, str]:
    return {slot.arm: f"0:{cost:.5f}:{slot.p:.5f} "}


def _arms(slot: Any, cost: float) -> Lines:
    labels = _label(slot, cost)
    return [f"{labels.get(arm, '')}|A {arm}" for arm in slot.available]


class Official:
    """The package `vowpalwabbit`."""

    name = "vowpalwabbit"

    def __init__(self, options: str) -> None:
        self._workspace = vowpalwabbit.Workspace(options)
        self.learn: Callable[[Any], None] = self._workspace.learn

    def parse(self, lines: Lines) -> Any:
        return self._workspace.parse(lines)

    def learn_text(self, lines: Lines) -> None:
        """Parse and learn; the package parses a list of lines by itself and gives the example back."""
        self._workspace.learn(lines)

    def decide(self, lines: Lines | str) -> tuple[int, float]:
        """Parse, predict, draw: position of the arm and its probability."""
        pi = self._workspace.predict(lines)
        k = draw(pi, random())
        return k, pi[k]


class Next:
    """The package `vowpal-wabbit-next`."""

    name = "vowpal-wabbit-next"

    def __init__(self, options: str) -> None:
        self._workspace: Any = vowpal_wabbit_next.Workspace(options.split())
        self._parse_line = vowpal_wabbit_next.TextFormatParser(self._workspace).parse_line
        self.learn: Callable[[Any], None] = self._workspace.learn_one

    def parse(self, lines: Lines) -> Any:
        return [self._parse_line(line) for line in lines]

    def learn_text(self, lines: Lines) -> None:
        """Parse and learn."""
        self.learn(self.parse(lines))

    def decide(self, lines: Lines | str) -> tuple[int, float]:
        """Parse, predict, draw: position of the arm and its probability."""
        example = self._parse_line(lines) if isinstance(lines, str) else self.parse(lines)
        prediction = self._workspace.predict_one(example)
        k = draw([p for _, p in prediction], random())
        return prediction[k]  # type: ignore[no-any-return]


BINDINGS = (Official, Next)
