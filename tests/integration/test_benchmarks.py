"""The benchmarks' command, in its smallest run."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PEERS = ("mabwiser", "river", "vowpal_wabbit_next", "vowpalwabbit")

missing = [name for name in PEERS if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"the bench extra is not installed: no {', '.join(missing)}")


def test_ends_with_one_json_object() -> None:
    """A partial run measures what it was asked for, leaves the rest empty, and does not touch the page."""
    page = ROOT / "docs" / "benchmarks.md"
    before = page.read_bytes() if page.exists() else None
    command = [sys.executable, "-m", "tests.benchmarks", "--quick", "--only", "decide", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    numbers = json.loads(done.stdout.splitlines()[-1])
    assert set(numbers) == {
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
    }
    measured = {name for name, number in numbers.items() if number is not None}
    assert measured == {"decide_route_vs_vw_predict", "decide_all_vs_vw_predict", "decide_route_vs_mabwiser"}
    assert all(numbers[name] > 0 for name in measured)
    assert (page.read_bytes() if page.exists() else None) == before
