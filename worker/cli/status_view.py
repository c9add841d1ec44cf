"""A survey on a terminal."""

from __future__ import annotations

from datetime import UTC, datetime

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from worker.cli.output import age_words, number_words
from worker.cli.survey import Counts, HeadSeen, LineageSeen, LiveSeen, OwnerSeen, PartitionSeen, Survey
from worker.lift import Lift

__all__ = ["columns", "facts", "headed", "time_words", "view"]

_DIGEST_SHOWN = 12
_COUNTED = ("records", "episodes", "duplicates", "late", "missing", "unmatched", "rejected")


def view(survey: Survey) -> RenderableType:
    """The survey as a few facts and tables."""
    rows = [
        ("policy", f"{survey.policy}  (Redis {survey.redis})"),
        ("live", _live_words(survey.head)),
        ("canary", _canary_words(survey.head)),
        ("lift over the rules", _lift_words(survey.lift, survey.live)),
        ("lineage", _lineage_words(survey.lineage)),
        ("watermark", time_words(survey.watermark_ms)),
        (
            "lag",
            f"unknown: {survey.kafka_problem}"
            if survey.kafka_problem
            else f"{number_words(survey.lag_records)} records",
        ),
        ("counts", _counts_words(survey.counts)),
    ]
    parts: list[RenderableType] = [facts([row for row in rows if row[1]])]
    if survey.partitions:
        parts.append(_partitions(survey.partitions, survey.topic))
    if survey.live is not None:
        parts.append(_arms(survey.live))
    return Group(*parts)


def facts(rows: list[tuple[str, str]]) -> Table:
    """Names and values, without lines."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, escape(value))
    return table


def columns(*names: str, text: int = 1) -> Table:
    """An empty table; the first `text` columns hold words, the others numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for at, name in enumerate(names):
        table.add_column(name, justify="left" if at < text else "right", overflow="fold")
    return table


def headed(title: str, table: Table) -> RenderableType:
    """A table under its title, which rich's own titles would break at the table's width."""
    return Group(Text(f"\n{title}", style="bold"), table)


def time_words(ms: int | None) -> str:
    """An instant of event time, to the second; "-" before the log has one."""
    if not ms:
        return "-"
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _live_words(head: HeadSeen) -> str:
    if head.live is None:
        return "nothing published yet: a worker publishes once it has learned something" if head.seq == 0 else "none"
    words = [f"version {head.live}", head.live_digest[:_DIGEST_SHOWN], f"published {age_words(head.age_seconds)} ago"]
    words += [f"pinned to {head.pinned}"] if head.pinned is not None else []
    words += [f"previous {head.previous}"] if head.previous is not None else []
    return ", ".join(words)


def _canary_words(head: HeadSeen) -> str:
    return "" if head.canary is None else f"version {head.canary}, {head.canary_share:.1%} of requests"


def _lift_words(lift: Lift | None, live: LiveSeen | None) -> str:
    if lift is not None and lift.held_out:
        interval = f"{lift.lower:+.2f} to {lift.upper:+.2f}"
        held_out = f"{100 * lift.share:.3g} % of {lift.turns:,} turns held out"
        doubt = "; not to be trusted: outcomes of one side are missing" if lift.unequal else ""
        return f"{lift.estimate:+.2f} reward per turn ({interval}), {held_out}{doubt}"
    share = 0.0 if live is None else live.holdout_share
    counts = "they count once the join horizon has passed"
    return f"not known yet: {100 * share:.3g} % of turns are held out, and {counts}" if share else ""


def _lineage_words(lineage: LineageSeen) -> str:
    words = [lineage.name]
    if lineage.fingerprint is None:
        words.append("not declared yet")
    elif lineage.matches:
        words.append(f"{lineage.fingerprint[:_DIGEST_SHOWN]}, as configured")
    else:
        words.append(f"{lineage.fingerprint[:_DIGEST_SHOWN]}, NOT as configured here")
    if lineage.configured != lineage.name:
        words.append(f"configured is {lineage.configured}")
    return ", ".join(words)


def _counts_words(counts: Counts) -> str:
    words = [f"{number_words(getattr(counts, name))} {name}" for name in _COUNTED]
    if counts.rejected_by_reason:
        words[-1] += f" ({', '.join(f'{reason} {n:,}' for reason, n in counts.rejected_by_reason.items())})"
    return ", ".join(words)


def _partitions(partitions: list[PartitionSeen], topic: str) -> RenderableType:
    table = columns(
        "partition",
        "held by",
        "next",
        "low",
        "lag",
        "episodes",
        "rejected",
        "watermark",
        text=2,
    )
    for seen in partitions:
        counts = seen.counts
        table.add_row(
            str(seen.partition),
            _owner_words(seen.owner),
            number_words(seen.next),
            number_words(seen.low),
            number_words(seen.lag),
            number_words(None if counts is None else counts.episodes),
            number_words(None if counts is None else counts.rejected),
            time_words(seen.watermark_ms),
        )
    return headed(f"Partitions of {topic}", table)


def _owner_words(owner: OwnerSeen | None) -> str:
    if owner is None:
        return "nobody yet"
    if owner.lease_seconds < 0:
        return f"nobody, {escape(owner.worker)} until {age_words(-owner.lease_seconds)} ago"
    return f"{escape(owner.worker)}, lease {age_words(owner.lease_seconds)}"


def _arms(live: LiveSeen) -> RenderableType:
    if live.refused:
        return f"[bold red]version {live.version} cannot be read: {escape(live.refused)}[/]"
    table = columns("slot", "arm", "mean reward", "turns", text=2)
    for slot, arms in live.arms.items():
        for seen in arms:
            mean = "-" if seen.mean_reward is None else f"{seen.mean_reward:.3f}"
            table.add_row(slot, escape(seen.arm), mean, number_words(seen.turns))
    title = f"Arms of version {live.version}, as of {time_words(live.as_of_ms)}, {live.episodes:,} episodes"
    return headed(f"{title} (tools: success rate)", table)
