"""The stream of situations: who asks what, when, in which session, and which tools are on offer.

Everything random about a turn is drawn here, before the decision and in blocks, also the luck that will
settle its outcome. So one seed is one stream whatever is decided; only `recent_*` follow what was served.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from alice_rl.simulation.intents import (
    GUARDIAN_STATES,
    INTENTS,
    LANGUAGES,
    NO_TOOL,
    TOOLS,
    ZIPF_EXPONENT,
    Intent,
    drifted,
)
from alice_rl.simulation.outcomes import Luck
from alice_rl.simulation.surfaces import BAND_EDGES, cell_index

__all__ = ["START_MS", "ContextStream", "Situation"]

START_MS = 1_767_225_600_000
"""When simulated time starts: 2026-01-01T00:00:00Z, ms since the epoch."""

_BLOCK = 2048  # turns drawn at a time
_SESSIONS = 150  # open at any time
_SESSION_END = 1 / 6  # chance that a turn is its session's last: six turns on average
_SWEDISH_SHARE = 0.68  # of the sessions
_LONG_CHARS, _LENGTH_SIGMA, _CHARS_MAX = 1100.0, 0.35, 20_000
_CONFIDENCE_WEIGHT = 14.0  # a + b of the Beta
_RECENT_WEIGHT = 0.5  # of the newest turn in a session's recent latency and cost
# Chance per turn of going from a guardian state (row) to another (column): mostly NORMAL, else in spells.
_GUARDIAN_STEPS = ((0.9959, 0.0033, 0.0008), (0.0420, 0.9550, 0.0030), (0.0500, 0.0100, 0.9400))
# Of an intent's menus of tools some lack the right tool, and more lack the plausible one.
_MENUS, _MENUS_WITHOUT_RIGHT, _MENUS_WITHOUT_SECOND = 64, 2, 6
_MENU_SIZES = (3, 6)

Menu = tuple[tuple[int, ...], tuple[str, ...]]
Drawn = tuple[Any, ...]


class Situation(NamedTuple):
    """One turn before it is decided: first what the wire may carry, then what the learner must not see.

    Attributes
    ----------
    turn : int
        Counts from 0.
    ts_ms : int
        Simulated time, ms since the epoch.
    session_id : str
    context : dict
        The decision's context, as on the wire; `recent_*` are absent on a session's first turn.
    tools : tuple of str
        The tools on offer, `none` always among them.
    cell : int
        Hidden: which cell of the surfaces the turn falls into.
    offered : tuple of int
        Positions of `tools` among all tools.
    luck : Luck
        Hidden: what will settle the outcome.
    """

    turn: int
    ts_ms: int
    session_id: str
    context: dict[str, Any]
    tools: tuple[str, ...]
    cell: int
    offered: tuple[int, ...]
    luck: Luck


class ContextStream:
    """An endless, seeded stream of situations from concurrent sessions.

    Parameters
    ----------
    seed : int
    drift_at_turn : int or None
        The first turn of the drifted world.
    turns_per_second : float
        Mean rate of turns in simulated time.
    """

    def __init__(self, seed: int, *, drift_at_turn: int | None, turns_per_second: float) -> None:
        self._rng = np.random.default_rng([seed, 2])
        self._drift_at_turn = drift_at_turn
        self._gap_ms = 1000.0 / turns_per_second
        self._now_ms = float(START_MS)
        self._turn = 0
        self._state = 0
        menus_rng = np.random.default_rng([seed, 3])
        eras = (INTENTS, [drifted(intent) for intent in INTENTS])
        self._menus = [[_draw_menus(intent, menus_rng) for intent in intents] for intents in eras]
        self._opened = 0
        self._recent: dict[str, tuple[float, float] | None] = {}
        self._sessions = [self._open(u) for u in self._rng.random(_SESSIONS).tolist()]
        self._block: Iterator[Drawn] = iter(())

    def next_turn(self) -> Situation:
        """The next situation."""
        drawn = next(self._block, None)
        if drawn is None:
            self._block = self._draw_block()
            drawn = next(self._block)
        gap, intent, chars, band, confidence, state, menu, place, ends, language_of_next, luck = drawn
        turn, self._turn = self._turn, self._turn + 1
        self._now_ms += gap
        after_drift = self._drift_at_turn is not None and turn >= self._drift_at_turn
        session_id, language = self._sessions[place]
        context: dict[str, Any] = {
            "intent": INTENTS[intent].name,
            "lang": LANGUAGES[language],
            "guardian_state": GUARDIAN_STATES[state],
            "text_len": chars,
            "confidence": confidence,
        }
        recent = self._recent[session_id]
        if recent is not None:
            context["recent_latency_ms"] = round(recent[0], 1)
            context["recent_cost_usd"] = round(recent[1], 6)
        if ends:
            del self._recent[session_id]
            self._sessions[place] = self._open(language_of_next)
        offered, tools = self._menus[after_drift][intent][menu]
        cell = cell_index(intent, language, state, band, after_drift=after_drift)
        return Situation(turn, int(self._now_ms), session_id, context, tools, cell, offered, Luck(*luck))

    def record(self, session_id: str, latency_ms: float, cost_usd: float) -> None:
        """Let a session remember what it was served; one that has ended is left alone."""
        if session_id not in self._recent:
            return
        past = self._recent[session_id]
        if past is not None:
            latency_ms = past[0] + _RECENT_WEIGHT * (latency_ms - past[0])
            cost_usd = past[1] + _RECENT_WEIGHT * (cost_usd - past[1])
        self._recent[session_id] = (latency_ms, cost_usd)

    def _open(self, u: float) -> tuple[str, int]:
        """A new session: its id and its language."""
        self._opened += 1
        session_id = f"s-{self._opened}"
        self._recent[session_id] = None
        return session_id, int(u >= _SWEDISH_SHARE)

    def _draw_block(self) -> Iterator[Drawn]:
        """The random part of the next `_BLOCK` turns, a tuple for each."""
        rng, n = self._rng, _BLOCK
        shares = np.arange(1, len(INTENTS) + 1) ** -ZIPF_EXPONENT
        intents = rng.choice(len(INTENTS), n, p=shares / shares.sum())
        texts = np.array([intent.text for intent in INTENTS])[intents]  # (n, 4)
        short_chars, long_share, confidence, _ = texts.T
        medians = np.where(rng.random(n) < long_share, _LONG_CHARS, short_chars)
        lengths = np.rint(medians * np.exp(_LENGTH_SIGMA * rng.standard_normal(n)))
        chars = lengths.clip(1, _CHARS_MAX).astype(np.int64)
        columns = (
            rng.exponential(self._gap_ms, n),
            intents,
            chars,
            np.searchsorted(BAND_EDGES, chars, side="right"),
            rng.beta(_CONFIDENCE_WEIGHT * confidence, _CONFIDENCE_WEIGHT * (1.0 - confidence)).round(3),
            self._walk_guardian(rng.random(n)),
            rng.integers(_MENUS, size=n),
            rng.integers(_SESSIONS, size=n),
            rng.random(n) < _SESSION_END,
            rng.random(n),
            np.column_stack([rng.random((n, len(Luck._fields) - 1)), rng.standard_normal(n)]),
        )
        return zip(*(column.tolist() for column in columns), strict=True)

    def _walk_guardian(self, uniforms: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """The guardian's Markov chain carried on, a state per uniform."""
        states = []
        for u in uniforms.tolist():
            normal, brownout, _ = _GUARDIAN_STEPS[self._state]
            self._state = 0 if u < normal else 1 if u < normal + brownout else 2
            states.append(self._state)
        return np.array(states)


def _draw_menus(intent: Intent, rng: np.random.Generator) -> list[Menu]:
    """The menus of tools that an intent is offered, each as often: positions and names.

    Notes
    -----
    How many menus lack the right tool is fixed rather than drawn, so that no seed has a world where it is
    often missing.
    """
    none, right, second = (TOOLS.index(tool) for tool in (NO_TOOL, intent.tools.right, intent.tools.second))
    lacks_right = rng.permutation(_MENUS) < _MENUS_WITHOUT_RIGHT
    lacks_second = rng.permutation(_MENUS) < _MENUS_WITHOUT_SECOND
    menus = []
    for without_right, without_second in zip(lacks_right, lacks_second, strict=True):
        menu = {none} | (set() if without_right else {right}) | (set() if without_second else {second})
        others = [t for t in rng.permutation(len(TOOLS)).tolist() if t not in (none, right, second)]
        size = int(rng.integers(_MENU_SIZES[0], _MENU_SIZES[1], endpoint=True))
        menu.update(others[: size - len(menu)])
        offered = tuple(sorted(menu))
        menus.append((offered, tuple(TOOLS[t] for t in offered)))
    return menus
