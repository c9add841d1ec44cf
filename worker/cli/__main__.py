"""`python -m worker.cli`: the command line without its script on PATH."""

from worker.cli import main

main()
