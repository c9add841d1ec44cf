"""Apache Kafka's jars, resolved by Maven from the pinned POM beside this file and cached outside the tree."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from alice_rl.errors import DependencyError

__all__ = ["kafka_jars"]

POM = Path(__file__).with_name("pom.xml")
COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
MAVEN_TIMEOUT_SECONDS = 600.0


def kafka_jars() -> Path:
    """The folder with Kafka's jars, resolved by Maven once per version of the POM.

    Raises
    ------
    DependencyError
        If Java or Maven is missing, or Maven cannot resolve the artefacts.
    """
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise DependencyError(f"{tool} is not installed", hint="the real broker needs Java 17 and Maven")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "alice-rl"
    jars = cache / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:16]}"
    if not jars.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with _locked(cache / "kafka.lock"):  # Maven's own download folder is not safe for two at once
            if not jars.exists():
                _copy_jars(jars)
    return jars


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _copy_jars(target: Path) -> None:
    # Into a folder of its own first: a run that is killed half way must not leave a cache that looks
    # complete.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="resolving-", ignore_cleanup_errors=True) as folder:
        staged = Path(folder) / "libs"
        command = ["mvn", "-q", "-B", "-f", str(POM), COPY_GOAL]
        command += ["-DincludeScope=runtime", f"-DoutputDirectory={staged}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=MAVEN_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise DependencyError("Maven did not finish resolving Kafka's jars") from error
        if done.returncode != 0:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
            raise DependencyError(f"Maven could not resolve Kafka's jars:\n{tail}")
        staged.rename(target)
