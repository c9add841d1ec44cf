"""Trials in the fold: which requests count, when, and for whom."""

from __future__ import annotations

from typing import Any

import pytest

from alice_rl.episodes import JoinSettings, MissingOutcome
from alice_rl.lineage import Arms, Lineage
from alice_rl.online.trial import U_UNIT
from alice_rl.shard import Shard
from alice_rl.trial_columns import SHARE_MIN, tried
from alice_rl.trials import Trial, TrialPane
from tests.logs import START_MS, TOOLS, decision, held_out, in_trial, outcome, parts_of, records, turn

LINEAGE = Lineage(arms=Arms(tool=TOOLS), join=JoinSettings(horizon_seconds=100))
SPAN_MS, HORIZON_MS = 5_000, 100_000
CANARY = Trial("ab" * 32, "cd" * 32, 0.25)
DAY_MS = 86_400_000


def fold(values: list[dict[str, Any]], lineage: Lineage = LINEAGE) -> Shard:
    """A shard that has read the events."""
    shard = Shard(lineage)
    shard.feed(records(values))
    return shard


def tick(ts_ms: int) -> dict[str, Any]:
    """A turn of no trial, that moves the clock."""
    return turn(f"tick-{ts_ms}", ts_ms)


def steps(from_ms: int, to_ms: int) -> list[dict[str, Any]]:
    """Turns of no trial that move the clock in steps which it believes."""
    return [tick(ts_ms) for ts_ms in (*range(from_ms, to_ms, HORIZON_MS), to_ms)]


def canary(decision_id: str, ts_ms: int = START_MS, *, treated: bool = True, **changes: Any) -> dict[str, Any]:
    """A whole turn of the canary's trial."""
    return in_trial(turn(decision_id, ts_ms), share=0.25, treated=treated) | changes


def test_a_request_counts_once_its_window_has_closed() -> None:
    """A pane counts when the join horizon has passed since its end, and not a millisecond before."""
    closes = START_MS + SPAN_MS + HORIZON_MS
    log = [canary("a"), canary("b", treated=False), tick(START_MS + HORIZON_MS), tick(closes - 1)]
    assert fold(log).trials.closed() == {}
    [(trial, sums)] = fold([*log, tick(closes)]).trials.closed().items()
    assert (trial, sums.n_control, sums.n_treatment) == (CANARY, 1, 1)


def test_weights_are_those_of_all_slots_together() -> None:
    """The weight difference is that of the products over the slots, against the mixture at the stamped share."""
    [(_, sums)] = fold([canary("a"), *steps(START_MS, START_MS + 3 * HORIZON_MS)]).trials.closed().items()
    control, treatment = 0.5**3, 0.25**3
    u = (treatment - control) / (0.25 * treatment + 0.75 * control)
    assert sums.weighted[0] == round(u * U_UNIT)
    assert sums.squares[0] == sums.weighted[0] ** 2


def test_what_is_told_late_does_not_count() -> None:
    """An outcome that comes after its decision's pane has closed is counted as late, and as nothing else."""
    first = in_trial(decision("a"), share=0.25, treated=True)
    late = in_trial(decision("b", START_MS), share=0.25, treated=True)  # arrives when the clock is further
    told = START_MS + HORIZON_MS + SPAN_MS
    shard = fold([first, tick(START_MS + HORIZON_MS), late, tick(told), outcome("b", told), tick(told + HORIZON_MS)])
    assert shard.counts["trial_late"] == 1
    assert shard.trials.closed() == {}


def test_a_missing_outcome_counts_as_configured_however_long_the_log_is_silent() -> None:
    """A decision without an outcome is known to be one from the end of its window on, not from the next record on."""
    scored = Lineage(
        arms=Arms(tool=TOOLS), join=JoinSettings(horizon_seconds=100, missing_outcome=MissingOutcome(latency_ms=500.0))
    )
    lost = in_trial(decision("a"), share=0.25, treated=True)
    [(_, sums)] = fold([lost, *steps(START_MS + HORIZON_MS, START_MS + 9 * HORIZON_MS)], scored).trials.closed().items()
    assert (sums.n_treatment, sums.sides[1, 1]) == (1, 0)


@pytest.mark.parametrize(
    "slot",
    [
        {"arm": "micro", "p": 0.25, "p_live": 0.5, "available": ["micro"]},
        {"arm": "micro", "p": 0.25, "p_canary": 0.25, "available": ["micro"]},
        {"arm": "micro", "p": 0.5, "p_live": 0.5, "p_canary": 0.25, "available": ["micro"]},
        {"arm": "micro", "p": 0.25, "p_live": 0.0, "p_canary": 0.0, "available": ["micro"]},
    ],
    ids=["no p_canary", "no p_live", "p is another one", "impossible"],
)
def test_unfit_propensities_are_counted_and_never_repaired(slot: dict[str, Any]) -> None:
    """A trial's request whose probabilities are missing or contradict each other is counted, and left out."""
    shard = fold([canary("a", route=slot), *steps(START_MS, START_MS + 3 * HORIZON_MS)])
    assert shard.counts["trial_unfit"] == 1
    assert shard.trials.closed() == {}
    assert shard.counts["episodes"] == 5  # it teaches all the same


@pytest.mark.parametrize("share", [0.0, SHARE_MIN / 2, 1.0])
def test_a_shadow_is_no_trial(share: float) -> None:
    """Where one side is hardly ever served, nothing is compared."""
    shard = fold([in_trial(turn("a"), share=share, treated=False), *steps(START_MS, START_MS + 3 * HORIZON_MS)])
    assert not tried(share)
    assert shard.trials.closed() == {} and shard.counts["trial_unfit"] == 0


def test_the_holdout_is_a_trial_of_the_policy_against_the_rules() -> None:
    """Held-out turns are the control, at the share that is not held out; other fallbacks belong to nobody."""
    log = [
        held_out(turn("a"), share=0.25, treated=True),
        held_out(turn("b"), share=0.25, treated=False),
        turn("c", policy={"stage": "fallback"}),
    ]
    [(trial, sums)] = fold([*log, *steps(START_MS, START_MS + 3 * HORIZON_MS)]).trials.closed().items()
    assert (trial, sums.n_control, sums.n_treatment) == (Trial("rules", "policy", 0.75), 1, 1)


def test_duplicates_count_once() -> None:
    """The same turn twice is one request."""
    [(_, sums)] = fold([canary("a"), canary("a"), *steps(START_MS, START_MS + 3 * HORIZON_MS)]).trials.closed().items()
    assert sums.n_treatment == 1


def test_old_epochs_are_forgotten() -> None:
    """Trials are kept for some weeks and no longer, so that their number is bounded."""
    log = [canary("a"), *steps(START_MS, START_MS + 3 * HORIZON_MS)]
    jump = [[tick(START_MS + days * DAY_MS + i) for i in range(9)] for days in (20, 160)]
    assert CANARY in fold([*log, *jump[0]]).trials.closed()
    again = [canary("b", START_MS + 160 * DAY_MS + 9)]
    shard = fold([*log, *jump[0], *jump[1], *again])
    assert shard.trials.closed() == {}
    assert len(shard.trials) == 1  # the pane of the newest request


def test_stamps_that_nobody_gave_are_bounded() -> None:
    """A producer that makes up digests gets no more memory than the bound; the rest is counted."""
    log = []
    for i in range(300):
        event = canary(f"d-{i}", START_MS + i)
        log.append(event | {"policy": event["policy"] | {"canary_digest": f"{i:064x}"}})
    shard = fold(log)
    assert shard.counts["trial_overflow"] == 44
    assert sum(len(pane.sums) for pane in shard.trials.values()) == 256


def test_the_bound_falls_where_the_log_says() -> None:
    """Which trials are kept does not depend on batches: the first that count are, whatever came before them in vain."""
    log = []
    for i in range(300):
        event = canary(f"d-{i}", START_MS + i, treated=False)
        if i < 100:  # in vain: the probabilities are not told
            event = in_trial(turn(f"d-{i}", START_MS + i), share=0.25, treated=False, p_canary=None)
        log.append(event | {"policy": event["policy"] | {"canary_digest": f"{i:064x}"}})
    log += [canary(f"e-{i}", START_MS + 400 + i, treated=False) | {"policy": log[i]["policy"]} for i in range(100)]
    whole, pieces = fold(log), Shard(LINEAGE)
    for record in records(log):
        pieces.feed([record])
    assert whole.parts.digests() == pieces.parts.digests()
    assert whole.counts["trial_overflow"] == pieces.counts["trial_overflow"] == 44


def test_panes_come_back_from_a_checkpoint() -> None:
    """Open and closed panes survive their bytes, and go on as if there had been no restart."""
    log = [canary(f"d-{i}", START_MS + i * 7_000, treated=i % 4 == 0) for i in range(60)]
    whole, half = fold(log), fold(log[:40])
    assert half.parts.changes() == parts_of(half)
    again = Shard.restore(LINEAGE, half.state, parts_of(half))
    again.feed(records(log))
    assert again.parts.digests() == whole.parts.digests()
    assert {name for name in whole.parts.digests() if name.startswith("trial:")}
    assert TrialPane.from_bytes(TrialPane().to_bytes()).sums == {}
