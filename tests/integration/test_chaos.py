"""The chaos command in a short run: what is learned under faults is what an undisturbed fold learns."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.services import KafkaBroker

ROOT = Path(__file__).parents[2]


def test_half_a_minute_of_faults_changes_no_byte(real_kafka: KafkaBroker) -> None:
    """Killed and frozen workers, a Redis that is full and one that crashes: equal digests, nothing lost or twice."""
    command = [sys.executable, "-m", "tests.chaos", "--seed", "8", "--minutes", "0.4", "--rate", "1500"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-6000:]
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["equal"], report["lost"], report["double"]) == (True, 0, 0)
    assert report["events"] > 0
    assert report["snapshots_checked"] > 0
    assert sum(report["faults"].values()) > 0
