"""What pictures have in common: colours, an axis of event time, and how they become a file. They take matplotlib."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from alice_rl.errors import AliceError, ConfigError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["BLUE", "GREY", "INK", "RED", "check_drawable", "dress", "moment", "save", "time_axis"]

# Told apart by the colour-blind, too.
BLUE, RED, GREY, INK = "#0072b2", "#c0392b", "#999999", "#333333"

_KINDS = (".png", ".svg")


def check_drawable(path: Path) -> None:
    """Refuse a picture that could not be drawn, before any work is done for it.

    Raises
    ------
    ConfigError
        The file is to be of another kind than we draw.
    AliceError
        There is nothing to draw with, or no folder to draw into.
    """
    if path.suffix.lower() not in _KINDS:
        raise ConfigError(f"--plot cannot draw into {path}", hint=f"name a file that ends in {' or '.join(_KINDS)}")
    if find_spec("matplotlib") is None:
        raise AliceError("a picture takes matplotlib", code="plot_missing", hint="pip install 'alice-rl[plot]'")
    if not path.parent.is_dir():
        raise AliceError(f"there is no folder {path.parent}", code="file_unwritable", hint="create it first")


def save(picture: Figure, path: Path) -> None:
    """Write a picture into a file.

    Raises
    ------
    AliceError
        The file cannot be written.
    """
    try:
        picture.savefig(path)
    except OSError as error:
        raise AliceError(
            f"cannot write {path}: {error.strerror}", code="file_unwritable", hint="may you write there?"
        ) from error


def dress(axes: Axes) -> None:
    """Plain: no frame, and faint lines behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#eeeeee")
    axes.set_axisbelow(True)


def time_axis(axes: Axes) -> None:
    """Event time along the bottom, UTC."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    axes.xaxis.set_major_locator(locator := AutoDateLocator(tz=UTC))  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    axes.set_xlabel("event time, UTC")


def moment(ms: float) -> float:
    """An instant, ms since the epoch, as such an axis counts."""
    from matplotlib.dates import date2num

    return float(date2num(datetime.fromtimestamp(ms / 1000, UTC)))  # type: ignore[no-untyped-call]
