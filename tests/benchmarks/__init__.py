"""Measurements beside the peers, in one run: `make bench`, or `python -m tests.benchmarks --help`.

The machine is never quiet, so contestants take turns (A B A B ...), and what is reported is the
median of the ratios of their rates.
"""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command line does, before numpy is loaded
