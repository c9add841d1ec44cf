"""Write the stories that every kind of canary has: `python -m tests.golden.write_stories`; then read them."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from alice_rl.online.canary import GateRules
from tests.canaries import stories
from worker.cli.canary_story import tell
from worker.cli.canary_view import story_view

__all__ = ["FOLDER", "told"]

FOLDER = Path(__file__).parent / "stories"


def told(name: str) -> str:
    """The story of that name, as a terminal of 100 columns shows it."""
    stream = io.StringIO()
    story = tell(stories()[name], GateRules(), "What happens next is told by the gate.")
    Console(file=stream, width=100).print(story_view(story))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines()) + "\n"


if __name__ == "__main__":
    for name in stories():
        (FOLDER / f"{name.replace(' ', '-')}.txt").write_text(told(name), encoding="utf-8")
