"""The fold beside VW's learning loop, and what decoding, restoring and growing cost."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice
from typing import Any

from alice_rl.events import Turn, decode
from alice_rl.shard import Shard
from alice_rl.snapshot.policy import Policy
from tests.benchmarks import vw, workload
from tests.benchmarks.timing import Contestant, Finding, Rates, interleave, rate_of

__all__ = ["SLOTS_TAUGHT", "measure_growth", "measure_learning", "restore_loop", "vw_loop", "vw_text_loop"]

SLOTS_TAUGHT = ("route", "tool", "cache")
_PARSED_TURNS = 3000  # a parsed example is some kilobytes; the loop goes over them again
_DIMS, _ARMS = (64, 128, 256), (3, 10, 30)


def vw_loop(binding: Any, turns: list[Turn], slots: tuple[str, ...] = SLOTS_TAUGHT, *, rounds: int = 4) -> Contestant:
    """VW's bare learning loop over parsed examples; a slice is `rounds` times the turns."""
    workspaces = {slot: binding(vw.OPTIONS[slot]) for slot in slots}
    steps: list[tuple[Callable[[Any], None], Any]] = []
    for turn in turns:
        for slot, lines in vw.taught_lines(turn).items():
            if slot in workspaces:
                steps.append((workspaces[slot].learn, workspaces[slot].parse(lines)))

    def learn() -> None:
        for _ in range(rounds):
            for step, example in steps:
                step(example)

    return rate_of(learn, len(turns) * rounds)


def vw_text_loop(binding: Any, turns: list[Turn]) -> Contestant:
    """VW's learning loop with the parsing of its text format in it."""
    workspaces = {slot: binding(vw.OPTIONS[slot]) for slot in SLOTS_TAUGHT}
    steps = [(workspaces[slot].learn_text, lines) for turn in turns for slot, lines in vw.taught_lines(turn).items()]

    def learn() -> None:
        for step, lines in steps:
            step(lines)

    return rate_of(learn, len(turns))


def measure_learning(*, quick: bool) -> tuple[list[Finding], Rates]:
    """The fold of one partition beside VW, and the parts of it."""
    turns, log = workload.partition_log(12_000 if quick else 40_000)
    structure, parsed = workload.lineage(), turns[:_PARSED_TURNS]
    contestants: dict[str, Contestant] = {
        "fold": rate_of(lambda: workload.fold(log, structure), len(log)),
        "decode": rate_of(lambda: [decode(record.value) for record in log], len(log)),
        "restore": restore_loop(log, structure),
    }
    for binding in vw.BINDINGS:
        contestants[f"{binding.name}, 3 slots"] = vw_loop(binding, parsed)
        contestants[f"{binding.name}, route"] = vw_loop(binding, parsed, ("route",))
        contestants[f"{binding.name}, text"] = vw_text_loop(binding, parsed)
    rates = interleave(contestants, 3 if quick else 9)
    best = {kind: rates.fastest(*[f"{b.name}, {kind}" for b in vw.BINDINGS]) for kind in ("3 slots", "route", "text")}
    section = "Learning, in one process"
    return [
        Finding(
            section,
            "fold / VW learn, the same three decisions, parsed before",
            rates.ratio("fold", best["3 slots"]),
            key="fold_vs_vw_learn",
        ),
        Finding(
            section,
            "fold (three slots, from bytes) / VW learn, the route alone, parsed before",
            rates.ratio("fold", best["route"]),
        ),
        Finding(section, "fold / VW parse + learn from text, three decisions", rates.ratio("fold", best["text"])),
        Finding(section, "fold / decoding alone (JSON to typed, checked events)", rates.ratio("fold", "decode")),
        Finding(section, "restore (re-reading the join window) / fold", rates.ratio("restore", "fold")),
    ], rates


def restore_loop(log: list[Any], structure: Any) -> Contestant:
    """A restart at the end of a log: its shard out of the checkpoint's bytes, and the join window read again."""
    shard = workload.fold(log, structure)
    buckets = {str(bucket): sums.to_bytes() for bucket, sums in shard.buckets.items()}
    state = shard.state
    window = log[state.low.offset :]

    def restore() -> None:
        restored = Shard.restore(structure, state, buckets)
        for at in range(0, len(window), workload.RECORDS_PER_FETCH):
            restored.feed(window[at : at + workload.RECORDS_PER_FETCH])

    return rate_of(restore, len(window))


def measure_growth(*, quick: bool) -> tuple[list[Finding], Rates]:
    """How the fold and the route's decision slow down with the features and with the arms, as ratios to the least."""
    contestants: dict[str, Contestant] = {}
    count = 4000 if quick else 12_000
    sizes = [(dim, _ARMS[0]) for dim in _DIMS] + [(_DIMS[0], arms) for arms in _ARMS[1:]]
    for dim, arms in sizes:
        routes = ("micro", "planner", "deep", *(f"route-{k}" for k in range(arms - 3)))
        turns, log = workload.partition_log(count, routes)
        contestants |= _grown(f"{dim} features, {arms} arms", turns, log, workload.lineage(dim, routes))
    rates = interleave(contestants, 3 if quick else 7)
    first = f"{_DIMS[0]} features, {_ARMS[0]} arms"
    return [
        Finding(
            "Growth",
            f"{work}: {dim} features, {arms} arms / {first}",
            rates.ratio(f"{work}, {dim} features, {arms} arms", f"{work}, {first}"),
        )
        for work in ("fold", "route")
        for dim, arms in sizes[1:]
    ], rates


def _grown(size: str, turns: list[Turn], log: list[Any], structure: Any) -> dict[str, Contestant]:
    policy = Policy(workload.snapshot(workload.fold(log, structure)))
    contexts = list(islice(cycle([turn.context for turn in turns[:2000]]), 10_000))

    def decide() -> None:
        for context in contexts:
            policy.route(context, 0.5)

    return {
        f"fold, {size}": rate_of(lambda: workload.fold(log, structure), len(log)),
        f"route, {size}": rate_of(decide, len(contexts)),
    }
