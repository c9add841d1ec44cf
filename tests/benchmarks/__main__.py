"""The command: `python -m tests.benchmarks [--quick] [--only NAME] [--json]`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from rich.console import Console

from tests.benchmarks.canaries import measure_canaries
from tests.benchmarks.deciding import measure_deciding
from tests.benchmarks.learning import measure_growth, measure_learning
from tests.benchmarks.report import PAGE, as_json, as_page, show
from tests.benchmarks.storage import measure_storage
from tests.benchmarks.streaming import measure_streaming
from tests.benchmarks.timing import Finding, Rates

Measurement = Callable[..., tuple[list[Finding], Rates]]

MEASUREMENTS: dict[str, Measurement] = {
    "stream": measure_streaming,
    "learn": measure_learning,
    "decide": measure_deciding,
    "store": measure_storage,
    "canary": measure_canaries,
    "growth": measure_growth,
}


def main() -> None:
    """Measure, print, and after a full run write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="Measure beside the peers.")
    parser.add_argument(
        "--quick", action="store_true", help="fewer rounds and turns; docs/benchmarks.md stays as it is"
    )
    parser.add_argument("--only", choices=MEASUREMENTS, action="append", help="measure this alone (may be repeated)")
    parser.add_argument("--rates", action="store_true", help="print the median rates per second, too")
    parser.add_argument("--json", action="store_true", help="end with one JSON object on the last line of stdout")
    options = parser.parse_args()
    console = Console(stderr=options.json, width=None if sys.stderr.isatty() else 120)
    findings: list[Finding] = []
    for name in options.only or MEASUREMENTS:
        with console.status(f"measuring: {name}"):
            found, rates = MEASUREMENTS[name](quick=options.quick)
        findings += found
        if options.rates:
            console.print({who: round(rates.median(who)) for who, values in rates.by_name.items() if values})
    show(findings, console)
    if not options.quick and not options.only:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(as_page(findings))
        console.print(f"written: {PAGE.relative_to(PAGE.parents[1])}")
    if options.json:
        print(as_json(findings))


if __name__ == "__main__":
    main()
