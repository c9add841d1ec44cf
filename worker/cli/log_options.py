"""Options by which several commands name a stretch of the log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Archives", "Start", "Stop"]

Start = Annotated[
    str, typer.Option("--from", metavar="PLACE", help="earliest, an offset, or a time such as 2026-01-31T12:00.")
]
Stop = Annotated[
    str, typer.Option("--to", metavar="PLACE", help="now, an offset, or a time; what is there is not read.")
]
Archives = Annotated[
    list[Path] | None,
    typer.Option(
        "--source",
        "--file",
        metavar="FILE",
        help="Archive in place of Kafka: JSON lines, plain, gzip or zstd; or a folder of them. May be repeated.",
        exists=True,
        readable=True,
    ),
]
