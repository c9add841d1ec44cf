"""The simulated assistant: an orchestrator that asks for decisions, serves its users, and reports what became of it.

    Situation --decide--> Decision --world--> Outcome, sent when its time has come

Everything happens in simulated time: a decision's outcome is sent after its delay, between the decisions of
other turns. The learner sees what is sent and nothing else. Beside the served policy the rules, chance and the
oracle are played on the same turns for the score; nobody feels those.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Literal, Protocol

from alice_rl.events import Decision, Event, PolicyStamp, SlotChoice, Turn, TurnOutcome
from alice_rl.events import Outcome as OutcomeEvent
from alice_rl.online.exploration import uniforms
from alice_rl.simulation.contexts import START_MS
from alice_rl.simulation.score import Ledger, Play
from alice_rl.simulation.world import ROUTES, RULES, TIERS, Outcome, Situation, World
from alice_rl.snapshot.contexts import ContextReader
from alice_rl.snapshot.rules import Rules, RulesSettings

__all__ = ["WORLD_RULES", "Assistant", "Decide", "NewId", "TurnEvents", "decide_uniformly", "seeded_ids"]

TurnEvents = Literal["split", "whole"]
NewId = Callable[[int, int], str]

WORLD_RULES = RulesSettings(
    route=RULES["route_default"],
    route_by_intent=RULES["route"],
    tool=RULES["tool_default"],
    tool_by_intent=RULES["tool"],
    cache=RULES["cache"],
)
"""The hand-written rules of the simulated world, as the settings of a client."""

_UNIFORM = PolicyStamp("live")
_SALT = b"uniform"


class Decide(Protocol):
    """Decides a turn, as `PolicyClient.decide` does."""

    def __call__(
        self,
        context: dict[str, object],
        tools: Sequence[str],
        *,
        decision_id: str | None,
        session_id: str | None,
        ts_ms: int | None,
    ) -> Decision:
        """The decision on one turn."""


class Assistant:
    """Plays the turns of a world, one at a time.

    Parameters
    ----------
    world : World
        Fresh: its turns are played from the first on.
    decide : Decide
    send : callable
        Takes each event when it happens, in the order of event time.
    rules : RulesSettings, optional
        What is played beside the served policy as "the rules"; those of the world by default.
    start_ms : int
        Event time of the world's beginning, ms since the epoch.
    turn_events : {"split", "whole"}
        Whether decision and outcome are two events, or one when the outcome is known.
    new_id : callable, optional
        Makes the decision's id from turn and time; `decide` makes it by default.
    ledger : Ledger, optional
        Takes the score of what is played; a new one by default.

    Attributes
    ----------
    sent : int
        Events that were sent.
    now_ms : int
        Event time.

    Examples
    --------
    >>> events = []
    >>> assistant = Assistant(World(7), decide_uniformly, events.append, new_id=seeded_ids(7))
    >>> for _ in range(100):
    ...     _ = assistant.play()
    >>> assistant.finish()
    >>> len(events), assistant.ledger.score().turns
    (200, 100)
    """

    def __init__(
        self,
        world: World,
        decide: Decide,
        send: Callable[[Event], object],
        *,
        rules: RulesSettings = WORLD_RULES,
        start_ms: int = START_MS,
        turn_events: TurnEvents = "split",
        new_id: NewId | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.ledger = ledger if ledger is not None else Ledger()
        self.sent = 0
        self.now_ms = start_ms
        self._world = world
        self._decide = decide
        self._send = send
        self._rules = Rules(rules)
        self._shift_ms = start_ms - START_MS
        self._whole = turn_events == "whole"
        self._new_id = new_id
        # Turns whose outcome is still out: when it is known, the turn's number to break ties, and the turn.
        self._pending: list[tuple[int, int, Situation, Decision, Outcome]] = []

    def play(self) -> Decision:
        """Play the next turn; outcomes that are known by its time are sent before its decision."""
        situation = self._world.next_turn()
        self.now_ms = situation.ts_ms + self._shift_ms
        self._report(self.now_ms)
        decision_id = self._new_id(situation.turn, self.now_ms) if self._new_id is not None else None
        decision = self._decide(
            situation.context,
            situation.tools,
            decision_id=decision_id,
            session_id=situation.session_id,
            ts_ms=self.now_ms,
        )
        served = self._play(situation, _arms_of(decision))
        if not self._whole:
            self._emit(decision)
        known_ms = self.now_ms + served.outcome.delay_ms
        heapq.heappush(self._pending, (known_ms, situation.turn, situation, decision, served.outcome))
        self.ledger.add(
            decision,
            served,
            self._play(situation, self._by_rules(situation)),
            self._play(situation, _by_chance(situation)),
            self._play(situation, self._world.oracle(situation)),
        )
        return decision

    def finish(self) -> None:
        """Send the outcomes that are still out."""
        while self._pending:
            self._report(self._pending[0][0])

    def _report(self, now_ms: int) -> None:
        """Send the outcomes that are known by `now_ms`, and let their sessions remember them."""
        while self._pending and self._pending[0][0] <= now_ms:
            known_ms, _, situation, decision, outcome = heapq.heappop(self._pending)
            self._world.record(situation, outcome)
            self._emit(_whole(decision, outcome, known_ms) if self._whole else _outcome(decision, outcome, known_ms))

    def _emit(self, event: Event) -> None:
        self._send(event)
        self.sent += 1

    def _play(self, situation: Situation, arms: tuple[str, str, str]) -> Play:
        world = self._world
        outcome = world.outcome(situation, *arms)
        return Play(arms, outcome, world.reward(outcome), world.value(situation, *arms))

    def _by_rules(self, situation: Situation) -> tuple[str, str, str]:
        intent, rules = situation.context["intent"], self._rules
        return rules.route(intent, ROUTES), rules.tool(intent, situation.tools), rules.cache(TIERS)


def seeded_ids(seed: int) -> NewId:
    """Decision ids that a seed repeats, in the form of a UUID version 7.

    Examples
    --------
    >>> seeded_ids(7)(0, 1767225600123)
    '019b76da-a87b-7f37-8d86-b9d65fa1bb91'
    """

    def new_id(turn: int, ts_ms: int) -> str:
        time = f"{ts_ms:012x}"
        noise = blake2b(f"{seed}:{turn}".encode(), digest_size=9).hexdigest()
        return f"{time[:8]}-{time[8:]}-7{noise[:3]}-8{noise[3:6]}-{noise[6:18]}"

    return new_id


_contexts = ContextReader()


def decide_uniformly(
    context: dict[str, object],
    tools: Sequence[str],
    *,
    decision_id: str | None,
    session_id: str | None,
    ts_ms: int | None,
) -> Decision:
    """Each slot's arm drawn evenly from what is on offer: the best log there is to judge other policies by.

    Raises
    ------
    ValueError
        The decision has no id or no time, or its context does not do for the wire.
    """
    known, mended = _contexts.read(context)
    if decision_id is None or ts_ms is None or known is None or mended:
        raise ValueError(f"an id, a time and a sound context are needed, {mended or 'one of them'} is not there")
    us = uniforms(decision_id, _SALT)[1:]
    slots = zip((ROUTES, tuple(tools), TIERS), us, strict=True)
    return Decision(decision_id, ts_ms, known, _UNIFORM, session_id, *(_evenly(arms, u) for arms, u in slots))


def _evenly(arms: tuple[str, ...], u: float) -> SlotChoice:
    p = 1.0 / len(arms)
    return SlotChoice(arms[int(u * len(arms))], arms, p, p)


def _by_chance(situation: Situation) -> tuple[str, str, str]:
    """What the uniform policy plays on a turn, whoever decides it."""
    offers = ROUTES, situation.tools, TIERS
    us = uniforms(f"{situation.session_id}:{situation.turn}", _SALT)[1:]
    route, tool, tier = (arms[int(u * len(arms))] for arms, u in zip(offers, us, strict=True))
    return route, tool, tier


def _arms_of(decision: Decision) -> tuple[str, str, str]:
    route, tool, tier = decision.route, decision.tool, decision.cache
    assert route is not None and tool is not None and tier is not None
    return route.arm, tool.arm, tier.arm


def _outcome(decision: Decision, outcome: Outcome, ts_ms: int) -> OutcomeEvent:
    facts = outcome._asdict()
    del facts["delay_ms"]
    return OutcomeEvent(decision.decision_id, ts_ms, **facts)


def _whole(decision: Decision, outcome: Outcome, ts_ms: int) -> Turn:
    """Decision and outcome as one event."""
    facts = outcome._asdict()
    del facts["delay_ms"]
    return Turn(
        decision_id=decision.decision_id,
        ts_ms=decision.ts_ms,
        context=decision.context,
        policy=decision.policy,
        session_id=decision.session_id,
        route=decision.route,
        tool=decision.tool,
        cache=decision.cache,
        outcome=TurnOutcome(ts_ms, **facts),
    )
