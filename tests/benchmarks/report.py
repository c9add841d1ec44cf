"""What was measured, as a table on the terminal, a page of documentation, and one JSON object."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks import backlog, deciding, vw, workload
from tests.benchmarks.streaming import VARIANTS
from tests.benchmarks.timing import Finding, Ratio

__all__ = ["JSON_KEYS", "PAGE", "as_json", "as_page", "show"]

JSON_KEYS = (
    "end_to_end_vs_vw_learn",
    "end_to_end_vs_getmany",
    "fold_vs_vw_learn",
    "decide_route_vs_vw_predict",
    "decide_all_vs_vw_predict",
    "decide_route_vs_mabwiser",
    "worker_rss_mb",
    "restore_vs_live",
    "replay_vs_live",
    "checkpoint_share_of_loop",
    "rollback_seconds",
)
_TEMPLATE = Path(__file__).with_name("page.md")
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"

_PACKAGES = (
    "numpy",
    "msgspec",
    "aiokafka",
    "cramjam",
    "redis",
    "vowpalwabbit",
    "vowpal-wabbit-next",
    "mabwiser",
    "river",
)


def show(findings: Sequence[Finding], console: Console) -> None:
    """Print the table."""
    table = Table(title="Ratios: above 1 is ahead")
    for column, justify in (("measurement", "left"), ("median (range)", "right"), ("target", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for section, rows in groupby(findings, key=lambda finding: finding.section):
        table.add_section()
        table.add_row(f"[bold]{section}[/bold]", "", "")
        for row in rows:
            table.add_row(f"  {row.name}", _value(row), row.target)
    console.print(table)


def as_json(findings: Sequence[Finding]) -> str:
    """The numbers with a key, on one line; null for one that was not measured."""
    numbers = {finding.key: round(finding.number, 4) for finding in findings if finding.key}
    return json.dumps({key: numbers.get(key) for key in JSON_KEYS})


def as_page(findings: Sequence[Finding]) -> str:
    """The page of documentation."""
    return _TEMPLATE.read_text().format(
        tables="\n".join(
            _markdown(section, list(rows)) for section, rows in groupby(findings, key=lambda f: f.section)
        ),
        tools=len(workload.TOOLS),
        turns_per_second=workload.TURNS_PER_SECOND,
        partitions=workload.PARTITIONS,
        batch_kib=backlog.BATCH_BYTES // 1024,
        turns=VARIANTS[0].turns,
        first="64 features and 3 arms",
        settings=_bullets(
            {
                **{f"VW, {slot}": f"`{options}`" for slot, options in vw.OPTIONS.items()},
                "VW, features": "the route's names, their interactions and numerics; for tool and cache the intent",
                "VW, everything else": "its defaults: `--cb_type mtr`, adaptive normalised updates, 18 bits of weights",
                "MABWiser": f"`{deciding.MABWISER}`, x by our featuriser, hashes kept; no probability comes back",
                "river": f"`{deciding.RIVER}`, x as a dict of one-hot names and numerics; no probability comes back",
                "aiokafka": f"`max_partition_fetch_bytes={workload.SETTINGS.kafka.partition_fetch_bytes}`, "
                f"`fetch_max_wait_ms={workload.SETTINGS.kafka.fetch_wait_ms}`, CRC checked",
            }
        ),
        machine=_bullets(
            {
                "Processor": f"{_processor()}, {os.cpu_count()} logical cores",
                "System": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
                **{package: version(package) for package in _PACKAGES},
            }
        ),
    )


def _markdown(section: str, rows: Sequence[Finding]) -> str:
    lines = [f"| {section} | median (range) | target |", "|---|---|---|"]
    return "\n".join([*lines, *[f"| {row.name} | {_value(row)} | {row.target} |" for row in rows], ""])


def _value(row: Finding) -> str:
    if row.percent and isinstance(row.value, Ratio):
        return f"{row.value.times(100)} %"
    return str(row.value) if isinstance(row.value, Ratio) else f"{row.value:.0f}"


def _bullets(items: dict[str, str]) -> str:
    return "".join(f"- {name}: {text}\n" for name, text in items.items())


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
