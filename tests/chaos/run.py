"""The two runs: faults by a plan, and a rolling restart. Both end with the judge."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from tests.chaos.deployment import Deployment
from tests.chaos.faults import carry_out
from tests.chaos.fleet import Fleet, Member
from tests.chaos.judge import Verdict, judge, log_ends
from tests.chaos.plan import plan
from tests.chaos.proof import prove
from tests.chaos.report import ChaosReport, RollingReport, longest_gap_seconds, progress
from tests.chaos.traffic import Producer
from tests.chaos.watch import StuckError, Watch
from tests.streams import eventually

__all__ = ["run_chaos", "run_rolling"]

_ROUNDS = 2  # of a rolling restart
_START_TIMEOUT_SECONDS = 120.0
_STALL_MAX_SECONDS = 90.0  # at the end, when nothing is disturbed any more


class _Learning(NamedTuple):
    """Workers that learn from traffic."""

    deployment: Deployment
    fleet: Fleet
    watch: Watch
    say: Callable[[str], None]


async def run_chaos(deployment: Deployment, seed: int, minutes: float, rate: float, pause: float) -> ChaosReport:
    """Let the workers learn under the seed's faults, and judge what they have learned."""
    faults = plan(seed, minutes * 60, pause)

    async def disturb(learning: _Learning) -> None:
        until = asyncio.create_task(asyncio.sleep(minutes * 60))
        await carry_out(faults, deployment, learning.fleet, learning.say)
        await until

    learning, verdict = await _learn(deployment, seed, rate, disturb)
    proof = await prove(deployment)
    kinds = Counter[str](fault.kind for fault in faults)
    fleet = learning.fleet
    return ChaosReport(
        seed=seed,
        minutes=minutes,
        events=verdict.events,
        restarts=fleet.restarts,
        rebalances=fleet.rebalances,
        redis_restarts=kinds["crash_redis"],
        kafka_restarts=kinds["restart_kafka"],
        equal=verdict.equal,
        lost=verdict.lost,
        double=verdict.double,
        longest_stall_seconds=round(learning.watch.longest_stall_seconds, 2),
        snapshots_checked=len(verdict.snapshots),
        verify_equal=proof.equal,
        verify_after_one_byte=proof.parting,
        rejected=verdict.rejected,
        fenced=fleet.count("partition.fenced"),
        exits=len(fleet.exits),
        crashes=fleet.crashes,
        faults=dict(kinds),
    )


async def run_rolling(deployment: Deployment, seed: int, rate: float) -> RollingReport:
    """Restart the workers in turn, twice around, under load, and judge what they have learned."""

    async def restart_in_turn(learning: _Learning) -> None:
        for member in learning.fleet.standing * _ROUNDS:
            learning.say(f"stop {member.name}")
            await learning.fleet.stop_in_order(member)
            member.start()
            await eventually(member.holds_partitions, _START_TIMEOUT_SECONDS)
            learning.say(f"{member.name} holds partitions again")

    learning, verdict = await _learn(deployment, seed, rate, restart_in_turn)
    return RollingReport(
        seed=seed,
        events=verdict.events,
        equal=verdict.equal,
        lost=verdict.lost,
        double=verdict.double,
        longest_snapshot_gap_seconds=round(longest_gap_seconds(verdict.snapshots), 2),
        longest_stall_seconds=round(learning.watch.longest_stall_seconds, 2),
        snapshots=len(verdict.snapshots),
        exits=len(learning.fleet.exits),
        crashes=learning.fleet.crashes,
    )


async def _learn(
    deployment: Deployment, seed: int, rate: float, disturb: Callable[[_Learning], Awaitable[None]]
) -> tuple[_Learning, Verdict]:
    """Traffic and workers, disturbed; then peace until all is checkpointed, an orderly end, and the verdict."""
    producer, fleet = Producer(deployment.settings.kafka, seed, rate), Fleet(deployment.config)
    say = progress(lambda: f"produced {producer.total:>8}  checkpointed {watch.total:>8}")
    watch = Watch(deployment.settings, lambda: producer.total, say)
    learning = _Learning(deployment, fleet, watch, say)
    try:
        await _settle(fleet, say)
        async with _beside(watch.run(), fleet.supervise()):
            producing = asyncio.create_task(producer.run())
            await eventually(lambda: watch.total > rate, _START_TIMEOUT_SECONDS)
            say("a second's traffic is learned")
            await disturb(learning)
            producer.stop()
            await producing
            say("no more faults, no more traffic")
            await _catch_up(learning)
        await fleet.stop()
    finally:
        fleet.kill()
    say("workers ended; folding the log undisturbed")
    verdict = await judge(deployment.settings)
    for line in (*verdict.differences, *map(str, fleet.exits)):
        print(line, file=sys.stderr)
    return learning, verdict


async def _settle(fleet: Fleet, say: Callable[[str], None]) -> None:
    """Start the workers and wait until each of them has partitions."""
    for member in fleet.standing:
        member.start()

    def settled(member: Member) -> bool:
        assert member.process.alive(), member.process.log_tail()
        return member.holds_partitions()

    await eventually(lambda: all(map(settled, fleet.standing)), _START_TIMEOUT_SECONDS)
    say("all workers hold partitions")


async def _catch_up(learning: _Learning) -> None:
    """Wait for the last checkpoint; a run that is stuck is judged as it is."""
    try:
        await learning.watch.reach(await log_ends(learning.deployment.settings.kafka), _STALL_MAX_SECONDS)
    except StuckError as stuck:
        print(f"stuck: {stuck}", file=sys.stderr)


@asynccontextmanager
async def _beside(*coroutines: Awaitable[None]) -> AsyncIterator[None]:
    """Run these beside the block, and end them with it."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()  # it has failed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
