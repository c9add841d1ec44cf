"""Whether it is time again."""

from __future__ import annotations

from asyncio import get_running_loop

__all__ = ["Every"]


class Every:
    """Something that is due at once, and again each time that so many seconds have passed since it was last."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._at = 0.0

    def due(self) -> bool:
        """Whether it is due; if so, it is done from here on."""
        now = get_running_loop().time()
        if now < self._at:
            return False
        self._at = now + self._seconds
        return True
