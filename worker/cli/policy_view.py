"""Policies on a terminal."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.markup import escape

from worker.cli.output import age_words, number_words, size_words
from worker.cli.policy_card import Card, ChosenArm
from worker.cli.policy_versions import Listing, VersionSeen
from worker.cli.status_view import columns, facts, headed, time_words

__all__ = ["card_view", "list_view"]

_DIGEST_SHOWN = 12


def list_view(listing: Listing) -> RenderableType:
    """The stored versions as a table."""
    if not listing.versions:
        return f"policy {escape(listing.policy)}: nothing published yet"
    table = columns("version", "stage", "digest", "size", "age", "expires", text=3)
    for seen in listing.versions:
        table.add_row(
            str(seen.version),
            _stage_words(seen),
            seen.digest[:_DIGEST_SHOWN],
            size_words(seen.size_bytes),
            age_words(seen.age_seconds),
            "kept" if seen.expires_in_seconds is None else f"in {age_words(seen.expires_in_seconds)}",
        )
    return headed(f"Versions of {listing.policy}", table)


def _stage_words(seen: VersionSeen) -> str:
    words = "[bold green]live[/]" if seen.stage == "live" else seen.stage
    return f"{words}, pinned" if seen.pinned else words


def card_view(card: Card, intents_max: int) -> RenderableType:
    """What a policy is, then what it would choose for the most frequent intents; 0 for the facts alone."""
    manifest = card.manifest
    weights = ", ".join(f"{name} {weight:g}" for name, weight in manifest["weights"].items())
    rows = [
        ("policy", f"{manifest['policy']}, version {card.version}, format {manifest['format']}"),
        ("digest", card.digest),
        ("size", size_words(card.size_bytes)),
        ("signed", "yes, but no key is configured here to check it" if card.signed == "unchecked" else card.signed),
        ("lineage", f"{manifest['lineage']}, {'as configured' if card.fits else 'NOT the structure configured here'}"),
        ("fingerprint", manifest["lineage_fingerprint"]),
        ("as of", f"{time_words(manifest['created_at_ms'])}, {_offset_words(manifest['offsets'])}"),
        ("episodes", number_words(manifest["counts"].get("episodes"))),
        ("reward", weights),
        ("explores", ", ".join(f"{name} {value}" for name, value in manifest["exploration"].items())),
        *((f"{slot} arms", ", ".join(manifest["arms"][slot])) for slot in ("route", "tool", "cache")),
    ]
    return Group(facts(rows), *(_tables(card, intents_max) if intents_max else ()))


def _offset_words(offsets: dict[str, int]) -> str:
    return "offsets " + ", ".join(f"{partition}: {offset:,}" for partition, offset in offsets.items())


def _tables(card: Card, intents_max: int) -> list[RenderableType]:
    arms = columns("slot", "arm", "mean", "turns", text=2)
    for slot, seen in card.arms.items():
        for one in seen:
            mean = "-" if one.mean_reward is None else f"{one.mean_reward:.3f}"
            arms.add_row(slot, escape(one.arm), mean, number_words(one.turns))
    chosen = columns("intent", "route", "tool", "cache", "turns", text=4)
    for choices in card.choices[:intents_max]:
        words = [_chosen_words(choice) for choice in (choices.route, choices.tool, choices.cache)]
        chosen.add_row(escape(choices.intent), *words, number_words(choices.turns))
    left = len(card.choices) - intents_max
    tables = [
        headed("What the arms brought per turn (tools: success rate)", arms),
        headed("What would be chosen", chosen),
    ]
    return [*tables, *([f"and {left} more intents: --intents {len(card.choices)}"] if left > 0 else [])]


def _chosen_words(choice: ChosenArm) -> str:
    return f"{escape(choice.arm)} [dim]{choice.p:.1%}[/]"
