"""The difference of two policies on a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.text import Text

from worker.cli.policy_card import ChosenArm
from worker.cli.policy_compare import SlotDifference
from worker.cli.policy_difference import Difference, Side
from worker.cli.status_view import columns, facts, headed, time_words

__all__ = ["difference_view"]

_DIGEST_SHOWN = 12


def difference_view(told: Difference, groups_max: int) -> RenderableType:
    """What differs: the decisions slot by slot, the groups that account for most of it, and the manifests."""
    rows = [("A", _side_words(told.a)), ("B", _side_words(told.b))]
    if told.sample is not None:
        seen = told.sample
        span = f"{time_words(seen.first_ms)} to {time_words(seen.last_ms)}"
        rows.append(("compared on", f"the latest {seen.decisions:,} decisions, {span}"))
    parts: list[RenderableType] = [facts(rows), Text(f"\n{_verdict(told)}", style="bold")]
    if told.sample is not None:
        parts.append(_slots(told.slots))
        parts += [_groups(slot, groups_max) for slot in told.slots if slot.groups and groups_max]
    if told.changes:
        table = columns("what", "A", "B", text=3)
        for change in told.changes:
            table.add_row(*(escape(text) for text in (change.name, change.a, change.b)))
        parts.append(headed("What they say about themselves", table))
    return Group(*parts)


def _side_words(side: Side) -> str:
    asked = "" if side.asked == str(side.version) else f"{side.asked}: "
    return f"{asked}version {side.version}, {side.digest[:_DIGEST_SHOWN]}"


def _verdict(told: Difference) -> str:
    if told.a.digest == told.b.digest:
        return "They are the same policy."
    if told.equal:
        return "They hold the same numbers: they decide alike, whatever is asked."
    if all(slot.distance_max == 0.0 for slot in told.slots):
        return "They decide alike on all of these: no probability differs."
    if not any(slot.differing for slot in told.slots):
        return "The likeliest arm is the same everywhere; only probabilities differ."
    return "The likeliest arm differs on " + ", ".join(
        f"{slot.differing_share:.1%} of the turns ({slot.slot})" for slot in told.slots if slot.differing
    )


def _slots(slots: list[SlotDifference]) -> RenderableType:
    table = columns("slot", "turns", "likeliest differs", "mean distance", "largest")
    for slot in slots:
        apart = f"{slot.distance_mean:.4f}", f"{slot.distance_max:.4f}"
        table.add_row(slot.slot, f"{slot.turns:,}", f"{slot.differing_share:.1%}", *apart)
    return table


def _groups(slot: SlotDifference, groups_max: int) -> RenderableType:
    table = columns(slot.groups_by, "A", "B", "turns", "likeliest differs", "mean distance", text=3)
    for group in slot.groups[:groups_max]:
        table.add_row(
            escape(group.name),
            _arm_words(group.a),
            _arm_words(group.b),
            f"{group.turns:,}",
            f"{group.differing / group.turns:.1%}",
            f"{group.distance_mean:.4f}",
        )
    left = len(slot.groups) - groups_max
    title = f"Where the {slot.slot} differs most" + (
        f" (and {left} more: --intents {len(slot.groups)})" if left > 0 else ""
    )
    return headed(title, table)


def _arm_words(arm: ChosenArm | None) -> str:
    return "no arm that it knows" if arm is None else f"{escape(arm.arm)} [dim]{arm.p:.1%}[/]"
