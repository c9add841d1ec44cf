"""Writes the golden snapshot of the current format, once: `python -m tests.golden.write_snapshot`.

A golden file is what clients in the field may still hold, so an existing one is never overwritten.
Raise `FORMAT` first.
"""

from __future__ import annotations

from pathlib import Path

from alice_rl.snapshot import pack
from alice_rl.snapshot.manifest import FORMAT
from tests.snapshots import small_snapshot

KEY = b"golden"


def main() -> None:
    path = Path(__file__).parent / f"snapshot-v{FORMAT}.safetensors"
    with path.open("xb") as file:
        file.write(pack(small_snapshot(), KEY))
    print(path)


if __name__ == "__main__":
    main()
