"""The Lua scripts: each is one atomic step in Redis, and each may be sent twice without harm.

A client that loses its connection sends the command again and cannot know whether the first one ran. So every
script recognises its own repetition, answers `ALREADY` and writes nothing.
"""

from __future__ import annotations

from importlib.resources import files

__all__ = ["NAMES", "source"]

NAMES = ("claim", "suspect", "checkpoint", "upgrade", "publish", "promote", "rollback", "read_head", "restore")


def source(name: str) -> str:
    """The text of one script.

    Examples
    --------
    >>> source("read_head").startswith("-- read_head:")
    True
    """
    if name not in NAMES:
        raise ValueError(f"no script named {name!r}")
    return files(__name__).joinpath(f"{name}.lua").read_text(encoding="utf-8")
