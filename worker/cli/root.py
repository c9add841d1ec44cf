"""The command `alice-rl` itself: finds the command that is meant, loads it alone, and turns errors into exit codes."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperGroup

from alice_rl.errors import AliceError, ConfigError, DependencyError
from worker.cli.invocation import Invocation, command
from worker.cli.output import print_error, print_json

__all__ = ["COMMANDS", "app"]

_USAGE_CODE = 2
_INTERRUPTED_CODE = 130
# The usage error of click, wherever this release of typer keeps it.
_UsageError: Any = typer.BadParameter.__mro__[1]


class _Entry(NamedTuple):
    """Where a command is, and what the list of commands says about it."""

    module: str
    attribute: str
    summary: str


COMMANDS = {
    "demo": _Entry("worker.cli.demo", "demo", "Watch Alice learn: everything embedded, no Docker."),
    "worker": _Entry("worker.cli.worker", "worker", "Learn from Kafka and publish policies to Redis."),
    "simulate": _Entry("worker.cli.simulate", "simulate", "Run the simulated assistant alone."),
    "replay": _Entry("worker.cli.replay", "replay", "Learn a stretch of the log beside the live worker."),
    "verify": _Entry("worker.cli.verify", "verify", "Prove that what is live is what the log says."),
    "evaluate": _Entry("worker.cli.evaluate", "evaluate", "Estimate what a policy would have earned on the log."),
    "status": _Entry("worker.cli.status", "status", "Show what is live and how far learning is."),
    "policy": _Entry("worker.cli.policy", "app", "See, compare, promote, roll back, export and import policies."),
    "savepoint": _Entry("worker.cli.savepoint", "app", "Keep a whole lineage as a file, and bring it back."),
    "canary": _Entry("worker.cli.canary", "app", "See what the gate is doing, and the story of a canary."),
    "deadletters": _Entry("worker.cli.deadletters", "app", "List, show and retry rejected records."),
    "config": _Entry("worker.cli.config", "app", "Check the configuration, or show where each value is from."),
    "doctor": _Entry("worker.cli.doctor", "doctor", "Check configuration, Kafka and Redis; say what to do."),
}


class Root(TyperGroup):
    """A group that knows its commands by name and imports the one that runs; its `main` exits with our codes."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name, loaded."""
        name, stub, rest = super().resolve_command(ctx, args)
        return name, stub if name is None else _loaded(name), rest

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, report what went wrong, and exit."""
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(arguments, "alice-rl", complete_var, False, windows_expand_args, **extra)
        except (AliceError, _UsageError, typer.Abort) as error:
            code = _reported(error, as_json=_wants_json(arguments))
        sys.exit(code if isinstance(code, int) else 0)


app = typer.Typer(
    cls=Root,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,  # they print local variables, and with them secrets
    invoke_without_command=True,
    context_settings={"help_option_names": ["--help", "-h"]},
)


@app.callback()
@command
def alice_rl(
    invocation: Invocation,
    ctx: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Streaming online learning: from a log of telemetry to policies that an assistant serves.

    [bold]Try it:[/bold] alice-rl demo

    [bold]Run it:[/bold] alice-rl doctor, then alice-rl worker

    Exit codes: 0 done, 1 a check failed, 2 wrong usage or configuration, 3 Kafka or Redis cannot be reached.
    """
    if version:
        from alice_rl import __version__

        print_json({"version": __version__}) if invocation.as_json else print(f"alice-rl {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        if not invocation.as_json:
            print(ctx.get_help())
        raise _UsageError("no command was given")


def _loaded(name: str) -> Any:
    """A command with its options, imported now."""
    entry = COMMANDS[name]
    found = getattr(importlib.import_module(entry.module), entry.attribute)
    if not isinstance(found, typer.Typer):
        single = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
        single.command(name)(found)
        found = single
    return typer.main.get_command(found)


def _reported(error: Exception, *, as_json: bool) -> int:
    """Print an error; the code to exit with."""
    if isinstance(error, AliceError):
        print_error(error.code, error.message, error.hint, as_json=as_json)
        return 2 if isinstance(error, ConfigError) else 3 if isinstance(error, DependencyError) else 1
    if isinstance(error, typer.Abort):
        return _INTERRUPTED_CODE
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "alice-rl"
    message = error.format_message() or "no command was given"  # type: ignore[attr-defined]
    print_error("usage", message, f"{path} --help", as_json=as_json)
    return _USAGE_CODE


def _wants_json(arguments: Sequence[str]) -> bool:
    """Whether JSON was asked for, also where the arguments are wrong and nobody has parsed them."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in options


def _stub() -> None:
    """Stands in the list of commands for one that is not imported."""


for _name, _entry in COMMANDS.items():
    app.command(_name, help=_entry.summary)(_stub)
