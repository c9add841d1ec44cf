"""What a policy is and what it would choose, for people."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import Struct

from alice_rl.events import Context
from alice_rl.lineage import SLOTS
from alice_rl.snapshot.format import Snapshot, digest, unpack
from alice_rl.snapshot.policy import Policy
from worker.cli.survey import ArmSeen, arms_seen
from worker.settings import Settings

__all__ = ["Card", "ChosenArm", "IntentChoices"]


class ChosenArm(Struct, frozen=True):
    """The likeliest arm and its exact probability."""

    arm: str
    p: float


class IntentChoices(Struct, frozen=True):
    """What would be chosen for an intent when nothing else is known of the context; `turns` where they are counted."""

    intent: str
    turns: float | None
    route: ChosenArm
    tool: ChosenArm
    cache: ChosenArm


class Card(Struct, frozen=True, kw_only=True):
    """A policy, described.

    Attributes
    ----------
    signed : str
        "no"; "yes" for a signature that was checked; "unchecked" where no key is configured.
    fits : bool
        Whether it belongs to the configured lineage.
    manifest : dict
        As stored, but for the names of intents and classes, which `choices` lists.
    """

    version: int
    digest: str
    size_bytes: int
    signed: str
    fits: bool
    manifest: dict[str, Any]
    arms: dict[str, list[ArmSeen]]
    choices: list[IntentChoices]

    @classmethod
    def of(cls, blob: bytes, settings: Settings) -> Card:
        """The card of a policy's bytes.

        Raises
        ------
        SnapshotError
            The bytes are refused.
        """
        key = settings.snapshot.signing_key
        snapshot = unpack(blob, key.encode() or None)
        manifest = msgspec.to_builtins(snapshot.manifest, str_keys=True)
        return cls(
            version=snapshot.manifest.version,
            digest=digest(blob),
            size_bytes=len(blob),
            signed="no" if not _has_signature(blob) else "yes" if key else "unchecked",
            fits=snapshot.manifest.lineage_fingerprint == settings.lineage.fingerprint,
            manifest={name: value for name, value in manifest.items() if name not in ("intents", "classes")},
            arms={slot: arms_seen(snapshot, slot) for slot in SLOTS},
            choices=_choices(snapshot),
        )

    def facts(self) -> dict[str, Any]:
        """The card without what it would choose."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name not in ("arms", "choices")}


def _has_signature(blob: bytes) -> bool:
    """Whether the file, which was unpacked before, carries a signature."""
    length = int.from_bytes(blob[:8], "little")
    return "signature" in json.loads(blob[8 : 8 + length])["__metadata__"]


def _choices(snapshot: Snapshot) -> list[IntentChoices]:
    """Per intent what would be chosen, the most frequent intent first."""
    manifest, policy = snapshot.manifest, Policy(snapshot)
    turns: dict[str, float] = {}
    if manifest.cache_class == ("intent",):
        turns = dict(zip(manifest.classes, snapshot.cache_n[:-1].sum(axis=1).tolist(), strict=True))
    found = []
    for intent in manifest.intents:
        likeliest = [_likeliest(policy.distribution(slot, Context(intent))) for slot in SLOTS]
        found.append(IntentChoices(intent, turns.get(intent), *likeliest))
    return sorted(found, key=lambda choices: (-(choices.turns or 0.0), choices.intent))


def _likeliest(distribution: dict[str, float]) -> ChosenArm:
    arm = max(distribution, key=distribution.__getitem__)
    return ChosenArm(arm, distribution[arm])
