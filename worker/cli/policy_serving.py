"""What serves, in one line, and what happens to it next."""

from __future__ import annotations

from typing import Self

from msgspec import Struct

from alice_rl.snapshot.head import Head

__all__ = ["Serving"]

_DIGEST_SHOWN = 12


class Serving(Struct, frozen=True, kw_only=True):
    """What the head says of who is served by what; attributes as in `Head`."""

    live: int | None
    live_digest: str
    canary: int | None
    canary_digest: str
    canary_share: float
    previous: int | None
    pinned: int | None

    @classmethod
    def of(cls, head: Head) -> Self:
        """What a head says."""
        return cls(**{name: getattr(head, name) for name in cls.__struct_fields__})

    @property
    def words(self) -> str:
        """The same in one line.

        Examples
        --------
        >>> Serving.of(Head(live=12, live_digest="ab" * 32, canary=14, canary_digest="cd" * 32)).words
        'live: version 12 (abababababab); canary: version 14 (cdcdcdcdcdcd), a shadow: serves nobody'
        >>> Serving.of(Head(live=12, live_digest="ab" * 32, pinned=12, previous=11)).words
        'live: version 12 (abababababab), pinned; no canary; previous: version 11'
        """
        live = "nothing is live"
        if self.live is not None:
            pin = "" if self.pinned is None else ", pinned"
            live = f"live: version {self.live} ({self.live_digest[:_DIGEST_SHOWN]}){pin}"
        canary = "no canary"
        if self.canary is not None:
            share = (
                f"{100 * self.canary_share:.3g} % of the requests" if self.canary_share else "a shadow: serves nobody"
            )
            canary = f"canary: version {self.canary} ({self.canary_digest[:_DIGEST_SHOWN]}), {share}"
        previous = [] if self.previous is None else [f"previous: version {self.previous}"]
        return "; ".join([live, canary, *previous])

    @property
    def next(self) -> str:
        """What happens next, in words."""
        if self.pinned is not None:
            kept = f"Workers keep publishing candidates; live stays version {self.pinned} until alice-rl policy unpin."
            return kept if self.canary is None else f"{kept} The canary serves no larger share until then."
        if self.canary is None:
            return (
                "Live stays until a canary wins, in direct mode until the next publication; "
                "alice-rl policy pin keeps it longer."
            )
        return (
            "In gate mode the worker goes on with this canary as its outcomes come in: alice-rl canary status. "
            "To end it by hand: alice-rl policy promote --stage prod, or alice-rl policy rollback --stage canary."
        )
