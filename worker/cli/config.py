"""`alice-rl config`: whether the configuration is right, and where each value comes from."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.output import print_json

__all__ = ["app"]

app = typer.Typer(rich_markup_mode="rich", add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.callback()
@command
def config(invocation: Invocation) -> None:
    """Check the configuration, or show where each value is from.

    Later sources win: built-in defaults, the configuration file, environment
    variables (ALICE__KAFKA__TOPIC for kafka.topic), --set on the command line.
    Secrets are taken from the environment only.
    """


@app.command("check")
@command
def check(invocation: Invocation) -> None:
    """Check the configuration; exit code 2 when something is wrong with it.

    Every mistake is named at once, with the key that was probably meant. When
    Redis can be reached, so is a structure that its lineage cannot go on with.

    For example:

      alice-rl config check --config prod.toml
    """
    import asyncio

    from worker.cli.lineage_check import change_of_lineage

    loaded = invocation.load()
    settings = loaded.settings
    path = None if invocation.path is None else str(invocation.path)
    changed = sum(origin != "default" for origin in loaded.origins.values())
    change = asyncio.run(change_of_lineage(settings))
    if invocation.as_json:
        told = {"ok": True, "file": path, "changed": changed, "lineage_fingerprint": settings.lineage.fingerprint}
        print_json(told | ({"lineage": change.relation.value} if change else {}))
        return
    values = "1 value" if changed == 1 else f"{changed} values"
    print(f"ok: {path or 'no configuration file'}, {values} set, the rest are defaults")
    if change and change.numerics:
        print(
            f"It extends lineage {settings.policy.lineage} by features {change.features}: restart all workers with it."
        )


@app.command("show")
@command
def show(
    invocation: Invocation,
    origin: Annotated[bool, typer.Option("--origin", help="Say where each value comes from.")] = False,
    comments: Annotated[bool, typer.Option("--comments", help="Explain each key.")] = False,
) -> None:
    """Show the configuration as it is in force, as TOML; secrets as ***.

    For example:

      alice-rl config show --origin
      alice-rl config show --comments > config.toml
      alice-rl config show --json | jq .settings.kafka.topic
    """
    from alice_rl.settings import render_toml

    loaded = invocation.load()
    if not invocation.as_json:
        print(render_toml(loaded, with_origin=origin, with_comments=comments), end="")
        return
    shown: dict[str, Any] = {"settings": _sections(loaded.settings)}
    print_json(shown | ({"origins": dict(loaded.origins)} if origin else {}))


def _sections(settings: Any) -> dict[str, Any]:
    """The settings as nested tables, secrets masked."""
    import msgspec

    from alice_rl.log import SECRET_MARK, hide_passwords
    from alice_rl.settings.fields import fields_of

    root: dict[str, Any] = {}
    for field in fields_of(type(settings), settings):
        *sections, name = field.key.split(".")
        table = root
        for section in sections:
            table = table.setdefault(section, {})
        if field.secret:
            table[name] = SECRET_MARK if field.value else ""
        else:
            value = msgspec.to_builtins(field.value)
            table[name] = hide_passwords(value) if isinstance(value, str) else value
    return root
