"""`alice-rl deadletters`: look at the records that could not be learned, and send back what can be learned now."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from worker.cli.invocation import Invocation, command
from worker.cli.output import console, print_json

if TYPE_CHECKING:
    from worker.cli.letters import Letter
    from worker.settings import Settings

__all__ = ["app"]

T = TypeVar("T")

app = typer.Typer(rich_markup_mode="rich", add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

_ID = re.compile(r"([A-Za-z0-9._-]+:)?\d+:\d+")
_ID_HELP = "topic:partition:offset of the rejected record, or partition:offset."


def _id(text: str) -> str:
    if not _ID.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no id: it is topic:partition:offset, or partition:offset")
    return text


def _ids(texts: list[str] | None) -> list[str]:
    return [_id(text) for text in texts or ()]


ReasonOption = Annotated[str | None, typer.Option("--reason", metavar="CODE", help="Only those with this reason.")]


@app.callback()
@command
def deadletters(invocation: Invocation) -> None:
    """List, show and retry rejected records.

    The worker copies each record that it cannot learn to
    kafka.dead_letter_topic, with where it came from and why.
    """


@app.command("list")
@command
def list_records(
    invocation: Invocation,
    reason: ReasonOption = None,
    partition: Annotated[
        int | None, typer.Option("--partition", min=0, metavar="N", help="Only those of this telemetry partition.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=0, max=100_000, metavar="N", help="Records shown.")] = 20,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Only those set aside since: 2026-01-31, 2026-01-31T12:00 (UTC), or 90min, 2h, 7d ago.",
        ),
    ] = None,
) -> None:
    """Count the dead letters by reason, and list the newest.

    The whole topic is read; only counts and the newest letters are kept.

    For example:

      alice-rl deadletters list
      alice-rl deadletters list --reason unknown_arm --since 2h
      alice-rl deadletters list --json | jq '.reasons[] | {reason, letters}'
    """
    from worker.cli.letters import Wanted
    from worker.cli.letters_listing import list_letters
    from worker.cli.letters_view import list_view
    from worker.cli.progress import progress
    from worker.times import instant_ms

    try:
        since_ms = None if since is None else instant_ms(since)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--since") from None
    wanted = Wanted(reason=reason, partition=partition, since_ms=since_ms)
    with progress("dead letters") as note:
        listing = _run(list_letters(invocation.settings().kafka, wanted, limit, note))
    if invocation.as_json:
        print_json(listing)
    else:
        console().print(list_view(listing))


@app.command("show")
@command
def show(
    invocation: Invocation,
    letter_id: Annotated[str, typer.Argument(metavar="ID", help=_ID_HELP, callback=_id)],
    raw: Annotated[bool, typer.Option("--raw", help="Print the record's bytes, unchanged, and nothing else.")] = False,
) -> None:
    """Show a rejected record, why it was rejected, and where it came from.

    One that was too long to be copied whole is fetched from the telemetry
    topic while that still holds it.

    For example:

      alice-rl deadletters show 3:1042
      alice-rl deadletters show alice.telemetry:3:1042 --raw > record.json
    """
    from worker.cli.letters_view import letter_facts, letter_view
    from worker.cli.progress import progress

    settings = invocation.settings()
    with progress("dead letters") as note:
        letter, retried_ms = _run(_whole(settings, _named(settings, letter_id), note))
    if raw:
        sys.stdout.buffer.write(letter.value or b"")
        sys.stdout.buffer.flush()
    elif invocation.as_json:
        print_json(letter_facts(letter, retried_ms))
    else:
        console().print(letter_view(letter, retried_ms), soft_wrap=True)


async def _whole(settings: Settings, letter_id: str, note: Any) -> tuple[Letter, int | None]:
    """A letter with all of its bytes, where they can still be had, and when it was last sent again."""
    from msgspec.structs import replace

    from worker.cli.letters import find_letter, whole_of
    from worker.topic_reader import TopicReader

    letter, retried_ms = await find_letter(settings.kafka, letter_id, note)
    if letter.truncated:
        async with TopicReader(settings.kafka, letter.topic) as log:
            record = await whole_of(letter, log, await log.spans())
        if record is not None:
            letter = replace(letter, value=record.value, key=record.key, truncated=False)
    return letter, retried_ms


@app.command("retry")
@command
def retry(
    invocation: Invocation,
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help=_ID_HELP, callback=_ids)] = None,
    reason: ReasonOption = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent; send nothing.")] = False,
    restamp: Annotated[
        bool,
        typer.Option(
            "--restamp", help="Give events that are older than the join window the present time, and send them."
        ),
    ] = False,
    late_too: Annotated[
        bool,
        typer.Option("--late-too", help="Send those as they are. Eight in a row set their partition's clock back."),
    ] = False,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Also those that were sent before, or that the lineage has read from the log itself."
        ),
    ] = False,
) -> None:
    """Send back what can be learned by now: same bytes, same key, same partition.

    Each record is first held against the present configuration. What would be
    rejected again, dropped as late, or counted twice is not sent, and said. What
    was sent is marked in the dead-letter topic, so that the next retry passes
    it over. Exit code 1 when there was something, and nothing could be sent.

    For example:

      alice-rl deadletters retry --all --dry-run
      alice-rl deadletters retry --reason unknown_arm --restamp
      alice-rl deadletters retry 3:1042 3:1043
    """
    from worker.cli.letters import Wanted
    from worker.cli.letters_retry import retry_letters
    from worker.cli.letters_verdict import Allowed
    from worker.cli.letters_view import retried_view
    from worker.cli.progress import progress

    if not (ids or reason or everything):
        raise typer.BadParameter("say which: ids, --reason CODE, or --all", param_hint="ID")
    if ids and everything:
        raise typer.BadParameter("give ids or --all, not both", param_hint="--all")
    if restamp and late_too:
        raise typer.BadParameter("an event is sent with its own time or with the present one", param_hint="--restamp")
    settings = invocation.settings()
    wanted = Wanted(ids=frozenset(_named(settings, one) for one in ids or ()), reason=reason)
    allowed = Allowed(late=late_too, restamp=restamp, again=again, named=bool(ids))
    with progress("dead letters") as note:
        retried = _run(retry_letters(settings, wanted, allowed, note, dry_run=dry_run))
    if invocation.as_json:
        print_json(retried)
    else:
        console().print(retried_view(retried))
    if not retried.done:
        raise typer.Exit(1)


def _named(settings: Settings, letter_id: str) -> str:
    """An id with its topic, and its numbers as Kafka writes them."""
    *topic, partition, offset = letter_id.split(":")
    return f"{topic[0] if topic else settings.kafka.topic}:{int(partition)}:{int(offset)}"


def _run(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine; what Kafka's client logs meanwhile becomes the reason of an error."""
    from alice_rl.errors import DependencyError
    from worker.cli.topic import heard

    with heard() as told:
        try:
            return asyncio.run(work)
        except DependencyError as error:
            if not told or error.code != "kafka_unreachable":
                raise
            raise DependencyError(f"{error.message} ({told[-1]})", code=error.code, hint=error.hint) from error
