"""What must hold in every world, whenever Redis takes a checkpoint or a snapshot, and at the end."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import msgspec

from alice_rl.lineage import Lineage
from alice_rl.shard_state import ShardState
from alice_rl.snapshot import keys
from alice_rl.snapshot.format import digest as blob_digest
from alice_rl.snapshot.format import unpack
from alice_rl.snapshot.head import decode_offsets
from alice_rl.sums import digest
from tests.logs import parts_of
from tests.simulation.kafka import Broker
from tests.simulation.oracle import Oracle
from tests.simulation.wire import Server
from worker.checkpoint import damaged

__all__ = ["LINEAGE_NAME", "POLICY", "Checks"]

POLICY, LINEAGE_NAME = "alice", "main"


class Checks:
    """Compares what is in Redis with what the log says.

    Attributes
    ----------
    violations : list of str
        In the order in which they were found.
    broken : asyncio.Event
        Set with the first.
    """

    def __init__(self, lineage: Lineage, broker: Broker, server: Server) -> None:
        self.violations: list[str] = []
        self.broken = asyncio.Event()
        self._lineage = lineage
        self._broker = broker
        self._server = server
        self._oracles: dict[int, Oracle] = {}
        self._seq = 0
        self._offsets: dict[int, int] = {}

    def redis_went_back(self) -> None:
        """After a failover that lost writes, versions and offsets may go back this once."""
        self._seq, self._offsets = 0, {}

    def heard(self, script: str, script_keys: list[str], arguments: list[Any], reply: list[Any]) -> None:
        """To be called after each script."""
        if reply and reply[0] == b"OK" and script == "checkpoint":
            self._checkpoint(script_keys[1])
        elif reply and reply[0] == b"OK" and script == "publish":
            self._publication(int(reply[1]), arguments[5])

    def _checkpoint(self, key: str) -> None:
        partition, state = int(key.rpartition(":")[2]), self._state(key)
        assert state is not None
        if bad := damaged(self._buckets(key), state):
            self.complain(f"bucket {bad[0]} of partition {partition} is not that of the checkpoint at {state.next}")
        if self._oracle(partition).digest(state.next) != digest(state.digests):
            self.complain(f"the checkpoint of partition {partition} at {state.next} is not what the log teaches")

    def _publication(self, version: int, blob: bytes) -> None:
        manifest = unpack(blob).manifest
        expected = {str(p): self._oracle(p).digest(offset) or "" for p, offset in manifest.offsets.items()}
        if digest(expected) != manifest.moments_digest:
            self.complain(f"snapshot {version} is not what the log teaches up to {manifest.offsets}")
        if version != manifest.version or version <= self._seq:
            self.complain(f"snapshot {manifest.version} was published as {version}, after {self._seq}")
        for partition, offset in self._offsets.items():
            if manifest.offsets.get(partition, -1) < offset:
                self.complain(f"snapshot {version} goes back behind {self._offsets}: {manifest.offsets}")
        self._seq, self._offsets = version, manifest.offsets

    def unsettled(self) -> list[str]:
        """What is still to be learned or published; nothing once all has come to rest."""
        left = []
        for partition in range(len(self._broker.logs)):
            stored = self._server.direct.hget(keys.shard(POLICY, LINEAGE_NAME, partition), "next")
            if stored is None or int(stored) != self._oracle(partition).end:
                left.append(f"partition {partition} stands at {stored!r}, not at {self._oracle(partition).end}")
        ends = {partition: self._oracle(partition).end for partition in range(len(self._broker.logs))}
        published = decode_offsets(self._server.direct.hget(keys.head(POLICY), "offsets") or "")
        if published != ends and self._episodes():
            left.append(f"published are {published}, learned {ends}")
        return left

    def at_the_end(self) -> None:
        """Byte for byte, and count for count."""
        for partition in range(len(self._broker.logs)):
            key = keys.shard(POLICY, LINEAGE_NAME, partition)
            shard, state = self._oracle(partition).folded(), self._state(key)
            if self._buckets(key) != parts_of(shard):
                self.complain(f"the sums of partition {partition} differ from the log's")
            if state is None or state.next != shard.next or digest(state.digests) != shard.digest():
                self.complain(f"the state of partition {partition} is {state and state.next}, not {shard.next}")
            elif (found := +Counter(state.counts)) != (expected := +Counter(shard.counts)):
                self.complain(f"the counts of partition {partition} are {found}, not {expected}")
        self._served()

    def _served(self) -> None:
        """The live snapshot has the digest that the head tells."""
        head = self._server.direct.hgetall(keys.head(POLICY))
        if head:
            blob = self._server.direct.get(keys.snapshot(POLICY, int(head[b"live"])))
            if blob is None or blob_digest(blob).encode() != head[b"live_digest"]:
                self.complain(f"live is {head[b'live']!r}, but its bytes are others")

    def _episodes(self) -> int:
        shards = [self._oracle(partition).folded() for partition in range(len(self._broker.logs))]
        return sum(shard.counts["episodes"] for shard in shards)

    def _state(self, key: str) -> ShardState | None:
        text = self._server.direct.hget(key, "extra:state")
        return None if text is None else msgspec.json.decode(text, type=ShardState)

    def _buckets(self, key: str) -> dict[str, bytes]:
        fields = self._server.direct.hgetall(key)
        return {name[7:].decode(): data for name, data in fields.items() if name.startswith(b"bucket:")}

    def _oracle(self, partition: int) -> Oracle:
        if partition not in self._oracles:
            self._oracles[partition] = Oracle(self._lineage, self._broker.logs[partition])
        return self._oracles[partition]

    def complain(self, what: str) -> None:
        """Note what must not be; the world ends with it."""
        self._server.trace.note("sim.VIOLATION", what=what)
        self.violations.append(what)
        self.broken.set()
