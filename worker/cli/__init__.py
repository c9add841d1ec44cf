"""The command line, `alice-rl`: results on stdout, logs and errors on stderr, and exit codes that scripts can rely on.

| code | meaning |
|---|---|
| 0 | done |
| 1 | a check failed, or a snapshot was refused |
| 2 | the command line or the configuration is wrong |
| 3 | Kafka or Redis cannot be reached |
| 130 | interrupted |

Every command is a small module here that imports what is heavy when it runs, so that help and errors are quick.
"""

from __future__ import annotations

import os

__all__ = ["main"]


def main() -> None:
    """Run the command that `sys.argv` names, and exit."""
    # Before numpy is loaded: the products are small, and BLAS threads that spin fight the broker for the cores.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from worker.cli.root import app

    app()
