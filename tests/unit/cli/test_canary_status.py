"""`alice-rl canary status`: what the gate is doing in every state that it can be in, and why."""

from __future__ import annotations

import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from alice_rl.online.canary import Decision
from alice_rl.snapshot.head import Head
from tests.canaries import CANARY, LIVE, MINUTE_MS, state, verdict
from tests.logs import START_MS
from worker.canary_settings import CanarySettings
from worker.cli.canary_gate import GateSeen, Looked, seen
from worker.cli.canary_view import gate_view

HEAD = Head(seq=42, live=41, live_digest=LIVE, canary=42, canary_digest=CANARY, canary_share=0.05)
IDLE = msgspec.structs.replace(HEAD, canary=None, canary_digest="", canary_share=0.0)
OVER = state(phase="ended", outcome="rolled_back", ended_ms=START_MS + 9 * MINUTE_MS, reason="users are worse off")
COOLING = msgspec.structs.replace(OVER, next_after_ms=START_MS + 39 * MINUTE_MS)


def gate(
    head: Head = HEAD, canary: Any = None, *, minutes: float = 10, episodes: int = 50_000, **rules: Any
) -> GateSeen:
    """The gate, so many minutes after the canary was opened."""
    log_ms = START_MS + round(minutes * MINUTE_MS)
    looked = Looked(head=head, state=canary, log_ms=log_ms, episodes=episodes)
    return seen("alice", looked, CanarySettings(**rules))


def shown(gate: GateSeen) -> str:
    stream = io.StringIO()
    Console(file=stream, width=160).print(gate_view(gate))
    return stream.getvalue()


class TestRunning:
    def test_a_trial_shows_its_numbers_beside_what_it_takes(self) -> None:
        """Versions, share and since when, requests, effects and e-values are there, and what they have to reach."""
        won = verdict(Decision.PROMOTE, log_e_promote=3.4)
        window = {
            "canary": {"episodes": 900, "value": 1.31, "variance": 0.0004, "effective": 350.0, "mean_weight": 1.01}
        }
        text = shown(gate(canary=state(verdict=msgspec.to_builtins(won), window=window, reason="it goes on")))
        for words in (
            "version 41, abababababab",
            "version 42, cdcdcdcdcdcd",
            "5 % of the requests since 2026-01-01 00:01:00 UTC, 9 min 0 s ago; opened 2026-01-01 00:00:00 UTC",
            "40,000 whose outcomes were awaited to the end, 2,010 of them the canary's",
            "it goes on",
            "+0.0040",
            "-0.0600",
            "is better: promote",
            "1,000",
            "0.0200",
        ):
            assert words in text
        evidence = gate(canary=state(verdict=msgspec.to_builtins(won))).evidence
        assert evidence is not None
        assert (round(evidence.promote, 1), evidence.enough, evidence.enough_ratio) == (30.0, 20.0, 1000.0)

    def test_the_next_share_and_its_time_are_told(self) -> None:
        """A trial below its largest share says which comes next and when; at the largest one there is none."""
        words = gate(canary=state()).next
        assert "it serves 25 % from 2026-01-01 00:06:00 UTC on at the earliest" in words
        assert "withdrawn" in words and "2026-01-01 06:00:00 UTC" in words
        largest = msgspec.structs.replace(HEAD, canary_share=0.5)
        assert "at the earliest" not in gate(largest, state(share=0.5)).next

    def test_a_shadow_says_when_it_may_serve(self) -> None:
        """A shadow has served nobody, and its first share comes once the quality gates are passed."""
        told = gate(msgspec.structs.replace(HEAD, canary_share=0.0), state(phase="shadow", share=0.0, verdict=None))
        assert told.phase == "shadow"
        assert "It serves 5 % from 2026-01-01 00:01:00 UTC on at the earliest" in told.next

    def test_approval_names_the_commands(self) -> None:
        """A canary that waits for a person says what the person has to type."""
        told = gate(canary=state(phase="approval"))
        assert (
            "alice-rl policy promote --stage prod" in told.next
            and "alice-rl policy rollback --stage canary" in told.next
        )

    def test_a_pin_holds_a_canary_where_it_is(self) -> None:
        """While a version is pinned, the canary serves no more than now."""
        told = gate(msgspec.structs.replace(HEAD, pinned=41), canary=state())
        assert "serves no more than now until alice-rl policy unpin" in told.next

    @pytest.mark.parametrize("known", [None, OVER, state(version=40)], ids=["no state", "ended", "another one"])
    def test_a_canary_by_hand_is_told_from_the_gates(self, known: Any) -> None:
        """A canary that no worker has looked at yet is nobody's verdict."""
        told = gate(canary=known)
        assert (told.phase, told.verdict) == ("by_hand", None)
        assert "Somebody made it the canary by hand" in told.why


class TestNone:
    @pytest.mark.parametrize(
        ("head", "known", "rules", "why", "then"),
        [
            (Head(), None, {}, "Nothing is live yet", "goes live at once"),
            (msgspec.structs.replace(IDLE, pinned=41), None, {}, "Version 41 is pinned", "alice-rl policy unpin"),
            (IDLE, None, {"mode": "direct"}, 'canary.mode is "direct"', "goes live at once"),
            (IDLE, None, {"cold_start_episodes": 60_000}, "Cold start: 50,000 of 60,000", "goes live at once"),
            (IDLE, COOLING, {}, "Cooling down: version 42 was rolled back", "from 2026-01-01 00:39:00 UTC on"),
            (msgspec.structs.replace(IDLE, seq=41), OVER, {}, "Nothing is newer than version 41", "The newest"),
            (IDLE, OVER, {}, "Version 42 is the newest candidate", "The newest candidate"),
        ],
    )
    def test_it_says_why_there_is_none(self, head: Head, known: Any, rules: Any, why: str, then: str) -> None:
        """Without a canary the reason is told, and what has to happen until there is one."""
        told = gate(head, known, **rules)
        assert told.phase == "none"
        assert why in told.why and then in told.next
        assert why in shown(told)

    def test_the_last_one_is_remembered(self) -> None:
        """How the last canary ended is there beside the reason."""
        assert "version 42 rolled back 2026-01-01 00:09:00 UTC: users are worse off" in shown(gate(IDLE, COOLING))
        assert gate(IDLE, COOLING).next_after_ms == START_MS + 39 * MINUTE_MS
        assert gate(IDLE, COOLING, minutes=40).next_after_ms is None
