"""The demo's live view: rewards, what each slot picks, and how the loop keeps up; on a pipe, a line every few seconds.

A frame is a pure function of the facts, so that a test can look at one. It fits 80 x 24 and uses what is there
beyond that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from alice_rl.simulation.score import Score
from worker.cli.output import age_words
from worker.demo.plan import Plan
from worker.demo.session import Facts

__all__ = ["frame", "progress_line", "showing"]

RECENT_TURNS = 2000
_LINE_SECONDS = 2.0
_ROWS_SMALL = 30  # below this height the view leaves rows out
_BLOCKS = " ▏▎▍▌▋▊▉█"
_SPARKS = "▁▂▃▄▅▆▇█"
_STYLES = {"oracle": "cyan", "learned": "bold green", "uniform": "yellow", "rules": "red"}


@contextmanager
def showing(console: Console, plan: Plan, kinds: Mapping[str, str]) -> Iterator[Callable[[Facts], None]]:
    """A function that shows facts on `console`, as long as the context is open."""
    if not console.is_terminal:
        yield _Lines(console, plan)
        return
    with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
        live.update(Text(f"Starting the worker. {kinds['kafka']}, {kinds['redis']}."), refresh=True)
        yield lambda facts: live.update(frame(facts, plan, kinds, console.width, console.height), refresh=True)


class _Lines:
    """Prints a line every few seconds."""

    def __init__(self, console: Console, plan: Plan) -> None:
        self._console = console
        self._plan = plan
        self._due = 0.0

    def __call__(self, facts: Facts) -> None:
        if facts.seconds >= self._due or facts.ledger.turns == self._plan.turns:
            self._due = facts.seconds + _LINE_SECONDS
            self._console.print(progress_line(facts, self._plan), soft_wrap=True)


def progress_line(facts: Facts, plan: Plan) -> str:
    """How the run stands, in a line."""
    turns = facts.ledger.turns
    line = f"{facts.seconds:5.1f} s  {turns:,} of {plan.turns:,} turns  version {facts.version}  "
    line += f"{facts.events_per_second:,.0f} events/s  lag {facts.sent - facts.learned:,}"
    if turns:
        score = _recent(facts)
        line += f"  reward {score.served.reward:.2f} (rules {score.rules.reward:.2f}, oracle {score.oracle.reward:.2f})"
    return line


def frame(facts: Facts, plan: Plan, kinds: Mapping[str, str], width: int, height: int) -> RenderableType:
    """One picture of the run, at most `height` - 1 rows."""
    if not facts.ledger.turns:
        return Text("The assistant is about to begin.")
    score, small = _recent(facts), height < _ROWS_SMALL
    return Group(
        _headline(facts, plan, width),
        _rewards(facts, score, width),
        _slots(score, width, tools=5 if small else 9),
        _loop(facts, score, kinds, small=small),
    )


def _recent(facts: Facts) -> Score:
    return facts.ledger.score(max(0, facts.ledger.turns - RECENT_TURNS))


def _headline(facts: Facts, plan: Plan, width: int) -> RenderableType:
    turns, line = facts.ledger.turns, Table.grid(expand=True, padding=(0, 1))
    world = f"world {plan.seed}"
    if plan.drift_at is not None:
        world += f", changes at {plan.drift_at:,}" if turns < plan.drift_at else f", changed at {plan.drift_at:,}"
    line.add_column()
    line.add_column(ratio=1)
    line.add_column(justify="right")
    line.add_row(
        Text.assemble((" Alice RL ", "bold reverse"), f" {world}"),
        ProgressBar(total=plan.turns, completed=turns, width=max(10, width - 56)),
        Text(f"{turns:,} of {plan.turns:,} turns  {facts.seconds:.0f} s"),
    )
    return line


def _rewards(facts: Facts, score: Score, width: int) -> RenderableType:
    """Bars from the poorest player's reward to the oracle's, and the learned policy's way up."""
    rewards = {
        "oracle": score.oracle.reward,
        "learned": score.served.reward,
        "uniform": score.uniform.reward,
        "rules": score.rules.reward,
    }
    low, high = min(rewards.values()) - 0.1, max(rewards.values())
    room, rows = width - 21, Table.grid(padding=(0, 1))
    for name, reward in rewards.items():
        style = _STYLES[name]
        bar = _bar((reward - low) / max(high - low, 1e-9), room)
        rows.add_row(Text(name, style), Text(f"{reward:6.2f}", style), Text(bar, style))
    way = facts.ledger.rewards("served", room)
    rows.add_row(Text("so far", "dim"), "", Text(_sparkline(way, low, high), "green"))
    title = f"Reward per turn, last {score.turns:,} turns"
    return Panel(rows, title=title, title_align="left", box=box.ROUNDED, padding=(0, 1))


def _slots(score: Score, width: int, tools: int) -> RenderableType:
    """What each slot picks, and how often that is what the oracle would."""
    columns = Table.grid(expand=True, padding=(0, 2))
    # The names of tools are the longest.
    for ratio in (3, 4, 3):
        columns.add_column(ratio=ratio)
    served, rules = score.served, score.rules
    right = {
        "route": (served.route_precision, rules.route_precision),
        "tool": (served.tool_precision, rules.tool_precision),
        "cache": (served.cache_precision, rules.cache_precision),
    }
    bar = max(4, (width - 56) // 3)
    columns.add_row(*(_picks(slot, score.shares[slot], right[slot], tools, bar) for slot in right))
    return Panel(columns, title="What each slot picks", title_align="left", box=box.ROUNDED, padding=(0, 1))


def _picks(slot: str, shares: Mapping[str, float], right: tuple[float, float], rows: int, bar: int) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    ranked = sorted(shares.items(), key=lambda share: -share[1]) if slot == "tool" else list(shares.items())
    for arm, share in ranked[:rows]:
        table.add_row(Text(arm, no_wrap=True), f"{share:4.0%}", Text(_bar(share, bar), "blue"))
    head = Text.assemble((slot, "bold"), f"  {right[0]:.0%} right", no_wrap=True)
    return Group(head, Text(f"rules {right[1]:.0%} right", "dim"), table)


def _loop(facts: Facts, score: Score, kinds: Mapping[str, str], *, small: bool) -> RenderableType:
    """How fresh the policy is, how the worker keeps up, and what users feel."""
    age = age_words(facts.age_seconds)
    policy = f"version {facts.version}, {age} old" if facts.version else "none yet: the rules decide"
    rows = Table.grid(padding=(0, 2))
    served, rules = score.served, score.rules
    felt = f"p95 {served.latency_p95_ms:,.0f} ms (rules {rules.latency_p95_ms:,.0f}), "
    felt += f"from cache {served.cache_hit_rate:.0%} (rules {rules.cache_hit_rate:.0%})"
    rows.add_row(Text("policy", "bold"), f"{policy}, {facts.snapshots} published")
    worker = f"{facts.events_per_second:,.0f} events/s, lag {facts.sent - facts.learned:,} of {facts.sent:,}"
    rows.add_row(Text("worker", "bold"), worker)
    rows.add_row(Text("users", "bold"), felt)
    if not small:
        rows.add_row(Text("runs on", "bold"), f"{kinds['kafka']}, {kinds['redis']}")
    return Panel(rows, title="The loop", title_align="left", box=box.ROUNDED, padding=(0, 1))


def _bar(share: float, width: int) -> str:
    """A bar of `width` cells, filled to an eighth of a cell.

    Examples
    --------
    >>> _bar(0.55, 4)
    '██▎'
    """
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    return "█" * (eighths // 8) + _BLOCKS[eighths % 8].strip()


def _sparkline(values: list[float], low: float, high: float) -> str:
    """A line of blocks, one per value.

    Examples
    --------
    >>> _sparkline([0.0, 0.5, 1.0], 0.0, 1.0)
    '▁▅█'
    """
    top = len(_SPARKS) - 1
    return "".join(_SPARKS[round(min(max((v - low) / max(high - low, 1e-9), 0.0), 1.0) * top)] for v in values)
