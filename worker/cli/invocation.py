"""What every command is told: where the configuration is, what overrides it, how to print and how to log.

The global options may stand before the command and after it. `command` adds them to a function's own parameters, and
each level of the command line (`alice-rl`, `policy`, `list`) adds what it was given to the `Invocation` of the level
above.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from alice_rl.settings import Loaded
    from worker.settings import Settings

__all__ = ["Invocation", "command"]

_PANEL = "Global options"
_DEFAULT_FILE = Path("config.toml")

_OPTIONS: dict[str, tuple[Any, object]] = {
    "config_file": (
        Annotated[
            Path | None,
            typer.Option(
                "--config",
                metavar="FILE",
                help="Configuration file; config.toml of this folder when there is one.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    "overrides": (
        Annotated[
            list[str] | None,
            typer.Option(
                "--set",
                metavar="SECTION.KEY=VALUE",
                help="Override one key of the configuration; may be repeated.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    "as_json": (
        Annotated[bool, typer.Option("--json", help="Print JSON on stdout.", rich_help_panel=_PANEL)],
        False,
    ),
    "log_level": (
        Annotated[
            str | None,
            typer.Option(
                "--log-level",
                metavar="LEVEL",
                help="Least level logged: debug, info, warning or error.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    "log_format": (
        Annotated[
            str | None,
            typer.Option(
                "--log-format",
                metavar="FORMAT",
                help="Logs on stderr as json or console; auto decides by the terminal.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
}


@dataclass(frozen=True)
class Invocation:
    """The global options of one call.

    Attributes
    ----------
    config_file : Path or None
    as_json : bool
    log_level, log_format : str or None
    overrides : tuple of str
        As given: "section.key=value".
    """

    config_file: Path | None = None
    as_json: bool = False
    log_level: str | None = None
    log_format: str | None = None
    overrides: tuple[str, ...] = ()

    @property
    def path(self) -> Path | None:
        """The configuration file that is read, None for none."""
        if self.config_file is None and _DEFAULT_FILE.is_file():
            return _DEFAULT_FILE
        return self.config_file

    @property
    def flags(self) -> dict[str, object]:
        """The overrides by dotted key.

        Raises
        ------
        typer.BadParameter
            One of them is not `section.key=value`.
        """
        found: dict[str, object] = {"log.level": self.log_level, "log.format": self.log_format}
        for override in self.overrides:
            key, sign, value = override.partition("=")
            if not sign or "." not in key:
                raise typer.BadParameter(f"--set takes section.key=value, not {key!r}")
            found[key.strip()] = value
        return found

    def with_options(
        self,
        *,
        config_file: Path | None = None,
        overrides: list[str] | None = None,
        as_json: bool = False,
        log_level: str | None = None,
        log_format: str | None = None,
    ) -> Invocation:
        """The same with what a further level of the command line was given; the later one wins."""
        return replace(
            self,
            config_file=config_file or self.config_file,
            as_json=as_json or self.as_json,
            log_level=log_level or self.log_level,
            log_format=log_format or self.log_format,
            overrides=(*self.overrides, *(overrides or ())),
        )

    def load(self) -> Loaded[Settings]:
        """The settings with their origins; logs go to stderr from here on, as the settings say.

        Raises
        ------
        ConfigError
        """
        from alice_rl import log_output
        from worker.settings import load_settings

        loaded = load_settings(self.path, self.flags)
        log_output.configure(loaded.settings.log.format, loaded.settings.log.level)
        return loaded

    def settings(self) -> Settings:
        """The settings alone; see `load`."""
        return self.load().settings


def command(function: Callable[..., None]) -> Callable[..., None]:
    """A function of an `Invocation` and its own parameters, as a command that takes the global options besides those.

    A parameter called `ctx` gets typer's context.
    """
    signature = inspect.signature(function, eval_str=True)
    _, *own = signature.parameters.values()
    wants_context = any(parameter.name == "ctx" for parameter in own)

    @functools.wraps(function)
    def called(ctx: typer.Context, **given: Any) -> None:
        options = {name: given.pop(name) for name in _OPTIONS}
        ctx.obj = (ctx.obj or Invocation()).with_options(**options)
        function(ctx.obj, **({"ctx": ctx} if wants_context else {}), **given)

    parameters = [Parameter("ctx", Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    parameters += [p.replace(kind=Parameter.KEYWORD_ONLY) for p in own if p.name != "ctx"]
    parameters += [
        Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _OPTIONS.items()
    ]
    # What typer reads in place of the wrapper's own.
    called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {p.name: p.annotation for p in parameters}
    return called
