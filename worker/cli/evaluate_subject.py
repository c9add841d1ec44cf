"""Who is evaluated, and in which windows: what a user named, or why it is nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import NamedTuple

from alice_rl.errors import ConfigError
from alice_rl.snapshot.format import unpack
from alice_rl.snapshot.policy import Policy
from alice_rl.snapshot.rules import Rules
from worker.cli.policy_arguments import NAMES
from worker.cli.policy_versions import read_file, read_version
from worker.evaluation.reading import Learned
from worker.evaluation.target import PolicyTarget, RulesTarget, Target
from worker.settings import Settings
from worker.times import span_ms

__all__ = ["Subject", "subject_of", "window_shape"]

_WHOLE_MS = 60_000  # of panes that are added up in the end, or drawn as coarser ones
_SLIDES_MAX = 10_000


class Subject(NamedTuple):
    """Who is evaluated: what people call it, its version if it has one, and what it has learned from."""

    name: str
    version: int | None
    target: Target
    learned: Learned


def subject_of(settings: Settings, name: str) -> Subject:
    """Who is meant by a version, a name, a file, or `rules`.

    Raises
    ------
    ConfigError
        Nothing is.
    SnapshotError
        The file, or what Redis holds, is damaged or not signed as configured.
    """
    if name == "rules":
        return Subject("rules", None, RulesTarget(Rules(settings.rules)), Learned())
    if name.isdecimal() or name in NAMES:
        blob = asyncio.run(read_version(settings, name))
    elif Path(name).is_file():
        blob = read_file(Path(name))
    else:
        raise ConfigError(
            f"{name!r} is no policy", hint=f"give a version, one of {', '.join(NAMES)}, an exported file, or rules"
        )
    snapshot = unpack(blob, settings.snapshot.signing_key.encode() or None)
    manifest = snapshot.manifest
    learned = Learned(manifest.offsets, manifest.created_at_ms)
    return Subject(name, manifest.version, PolicyTarget(Policy(snapshot)), learned)


def window_shape(window: str, slide: str) -> tuple[int, int | None]:
    """Event time of a pane, ms, and panes per window; None for one window over everything.

    Raises
    ------
    ConfigError
        A span is none, or the window is no multiple of the slide.
    """
    if not window:
        if slide:
            raise ConfigError("--slide needs --window", hint="for example --window 1h --slide 10min")
        return _WHOLE_MS, None
    try:
        window_ms, slide_ms = span_ms(window), span_ms(slide or window)
    except ValueError as error:
        raise ConfigError(str(error), hint="for example --window 1h --slide 10min") from None
    if not slide_ms or window_ms % slide_ms or window_ms < slide_ms:
        raise ConfigError(
            f"a window of {window} is no multiple of {slide or window}", hint="for example --window 1h --slide 10min"
        )
    if window_ms // slide_ms > _SLIDES_MAX:
        raise ConfigError(
            f"a window of {window} has {window_ms // slide_ms:,} slides of {slide}", hint="give a longer --slide"
        )
    return slide_ms, window_ms // slide_ms
