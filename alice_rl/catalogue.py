"""The catalogue of log events: every line that the product logs, declared once.

A line is logged by its name, `logger.info("snapshot.published", version=12, ...)`.
`tests/unit/test_catalogue.py` reads the source and requires that the name stands here, that it is logged at
the declared level and that it carries no field but the declared ones. So an alert rule, a dashboard and the
operator's guide may rely on what is written below.

Names are `noun.past_participle`. Levels: debug is detail, info the canonical line of an operation, warning is
degraded but handled, error means that data was lost or that a person is needed. Fields carry their unit last;
none has a name that `log.py` would redact. Nothing is declared for late, duplicate and unmatched events: they
are results of the join, counted in `worker.heartbeat`.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["EVENTS", "Level", "LogEvent"]

Level = Literal["debug", "info", "warning", "error"]


class LogEvent(Struct, frozen=True):
    """One declared log event.

    Attributes
    ----------
    name : str
        `noun.past_participle`, unique.
    level : {"debug", "info", "warning", "error"}
        The level that it is always logged at.
    fields : tuple of str
        What the line may carry, apart from `timestamp`, `level`, `event`, `logger` and an exception.
    alerts : bool
        Whether an alert is built on it.
    what_to_do : str
        What the operator does on seeing it; empty where there is nothing to do.
    """

    name: str
    level: Level
    fields: tuple[str, ...] = ()
    alerts: bool = False
    what_to_do: str = ""


def _fields(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _quiet(name: str, level: Level, fields: str) -> LogEvent:
    return LogEvent(name, level, _fields(fields))


def _watch(name: str, level: Level, fields: str, what_to_do: str) -> LogEvent:
    return LogEvent(name, level, _fields(fields), alerts=False, what_to_do=what_to_do)


def _alert(name: str, level: Level, fields: str, what_to_do: str) -> LogEvent:
    return LogEvent(name, level, _fields(fields), alerts=True, what_to_do=what_to_do)


_WORKER = (
    _quiet("config.loaded", "info", "path policy overrides"),
    _quiet("worker.started", "info", "version policy lineage active_lineage group topic instance"),
    _quiet(
        "worker.heartbeat",
        "info",
        "records_total records_per_second episodes_total rejected_total duplicates_total late_total "
        "missing_total unmatched_total open_decisions ready lag_records lag_seconds partitions version "
        "snapshot_age_seconds memory_bytes",
    ),
    _quiet("readiness.gained", "info", "lag_records partitions"),
    _watch(
        "readiness.dropped",
        "warning",
        "reasons lag_records",
        "The reasons say what it waits for. It goes on by itself; if it does not, see the events before.",
    ),
    _quiet("worker.recovered", "info", ""),
    _quiet("worker.drained", "info", "partitions seconds"),
    _quiet("worker.stopped", "info", "reason records_total seconds"),
    _alert(
        "worker.failed",
        "error",
        "code error hint",
        "The worker gave up on something that needs a person: the hint says what to do; then start it again.",
    ),
    _alert(
        "worker.crashed",
        "error",
        "error records_total",
        "A bug: keep the traceback and restart. If it crashes again at the same offset, add that offset "
        "to the skip list.",
    ),
    _watch(
        "library.logged",
        "warning",
        "library message",
        "A library's own warning. Our events around it say whether it matters.",
    ),
)

_PARTITIONS = (
    _quiet("partition.assigned", "info", "partition epoch next low seconds"),
    _quiet("partition.revoked", "info", "partition epoch"),
    _quiet("partition.restored", "info", "partition next low watermark_ms records seconds"),
    _watch(
        "partition.fenced",
        "warning",
        "partition epoch owner reason",
        "Another worker took the partition; this one reloads. Many in a row: two deployments "
        "share one policy, or pauses exceed the session timeout.",
    ),
    _alert(
        "partition.stalled",
        "warning",
        "partition position end seconds",
        "There is more to read and nothing is read; the Kafka client is made anew. If it repeats: check the broker's "
        "log, the topic's health and `alice-rl doctor`.",
    ),
    _quiet("partition.moved", "info", "partition position end"),
    _watch(
        "record.suspected",
        "warning",
        "partition next first end deaths",
        "Workers died here more than once before a checkpoint: the log is read in small steps until the "
        "record is found.",
    ),
    _alert(
        "record.skipped",
        "error",
        "partition offset deaths next",
        "This record killed every worker that folded it, and is passed over: it teaches nothing. It is in the "
        "dead-letter topic; report it as a bug.",
    ),
    _watch(
        "lineage.superseded",
        "warning",
        "lineage active_lineage",
        "A lineage of another structure took over: restart the workers with its configuration. Until then this worker "
        "only keeps its own checkpoints.",
    ),
    _quiet("lineage.followed", "info", "lineage active_lineage"),
    _quiet("lineage.extended", "info", "lineage features fingerprint"),
    _alert(
        "checkpoint.damaged",
        "error",
        "partition lineage bucket",
        "Bytes were changed in Redis, and no policy is published from them: run `alice-rl verify`, then restore a "
        "savepoint or replay.",
    ),
    _quiet("checkpoint.written", "debug", "partitions bytes seconds"),
    _alert(
        "checkpoint.failed",
        "warning",
        "partitions error retry_seconds",
        "Learning goes on in memory but would be re-read after a restart: check that Redis is up and has memory.",
    ),
    _watch(
        "offset.commit_failed",
        "warning",
        "partitions error",
        "Only lag tools read the group's offsets; the checkpoint is the truth.",
    ),
)

_EVENTS = (
    _alert(
        "event.rejected",
        "warning",
        "reason detail partition offset rejected_total suppressed",
        "alice-rl deadletters list shows them; the reason code says which field the sender must mend. The "
        "line is sampled.",
    ),
    _alert(
        "event.dropped",
        "warning",
        "reason dropped_total",
        "The orchestrator's telemetry did not reach Kafka, so it teaches nothing: check brokers and topic.",
    ),
    _alert(
        "dead_letter.failed",
        "warning",
        "topic partition offset reason error dropped_total",
        "Rejected records are counted but not kept: check that the dead-letter topic exists and may be written.",
    ),
    _watch(
        "clock.jumped",
        "warning",
        "partition offset ts_ms watermark_ms clamped_ms jumped_total",
        "A sender's clock is ahead of the log; its times were clamped. Mend the clock.",
    ),
    _alert(
        "joiner.overflowed",
        "warning",
        "partition open_decisions open_decisions_max dropped_total",
        "More decisions wait for outcomes than may be kept: outcomes are missing, or raise the limit in [join].",
    ),
    _watch(
        "vocabulary.overflowed",
        "warning",
        "partition values_max",
        "A field takes more distinct values than are kept apart, and the rest share one: look for an id that "
        "is sent as a category.",
    ),
)

_SNAPSHOTS = (
    _quiet("snapshot.published", "info", "version seq digest lineage episodes bytes seconds as_of_ms live"),
    _watch(
        "snapshot.publish_refused",
        "warning",
        "version lineage reason status",
        "Another publisher was first, or the lineage is not active: normal in a rollout, else look for "
        "a second deployment.",
    ),
    _watch(
        "snapshot.held_back",
        "warning",
        "version live reason",
        "New policies are stored and do not serve while the estimate of the latest is bad; the reason says which gate "
        "of [canary] bars it. They go live again by themselves once it passes.",
    ),
    _quiet("snapshot.adopted", "info", "version digest previous canary_version canary_share seq seconds"),
    _alert(
        "snapshot.refused",
        "warning",
        "version digest reason detail",
        "The last good policy stays in use: corrupt bytes, a newer format, another feature spec or a wrong signature.",
    ),
    _watch(
        "head.read_failed",
        "warning",
        "error attempts retry_seconds",
        "The last good policy stays in use; see redis.unreachable.",
    ),
    _watch(
        "head.regressed",
        "warning",
        "seq previous run_id",
        "The head moved back, as after a failover of Redis; what it names was adopted.",
    ),
    _alert(
        "breaker.opened",
        "warning",
        "breaker failures retry_seconds error",
        "Calls are held back until the dependency answers again: mend the dependency.",
    ),
    _quiet("breaker.closed", "info", "breaker seconds"),
    _alert(
        "decision.fell_back",
        "warning",
        "reason slot detail fallbacks_total suppressed",
        "The rules decided: nothing was loaded yet, or the context or the arms were unusable. The line is sampled.",
    ),
    _quiet("client.started", "info", "policy poll_seconds"),
    _quiet("client.closed", "info", "policy decisions_total fallbacks_total"),
)

_CANARIES = (
    _quiet("canary.opened", "info", "version live reason"),
    _quiet("canary.stepped", "info", "version share reason verdict"),
    _quiet("canary.judged", "debug", "version share verdict"),
    _quiet("canary.promoted", "info", "version live reason verdict"),
    _watch(
        "canary.approval_requested",
        "warning",
        "version share reason verdict",
        "The canary has won and keeps its share: alice-rl policy promote makes it live, alice-rl policy rollback "
        "--stage canary takes it away.",
    ),
    _alert(
        "canary.rolled_back",
        "error",
        "version live reason verdict",
        "A policy was worse than the live one and is gone; nothing needs to be done for the users. What made it so: "
        "alice-rl canary explain.",
    ),
    _alert(
        "canary.voided",
        "error",
        "version live reason verdict",
        "The two sides do not get the requests that the share says, so nothing can be concluded: look for outcomes or "
        "decisions that are lost, and for an orchestrator that routes around the client.",
    ),
    _watch(
        "canary.withdrawn",
        "warning",
        "version live reason verdict",
        "The reason says what barred it, or that it stayed undecided; the next one is tried after "
        "canary.cooldown_minutes.",
    ),
    _quiet("canary.adopted", "info", "version live share reason"),
    _quiet("canary.ended", "info", "version outcome reason"),
    _quiet("canary.deferred", "info", "version action status"),
    _quiet(
        "window.evaluated",
        "info",
        "policy version episodes value variance effective mean_weight supported",
    ),
    _alert(
        "propensity.doubted",
        "warning",
        "policy version episodes mean_weight",
        "The logged probabilities cannot be those that were drawn with: look for an orchestrator that replaces arms "
        "after the decision, or writes its own propensities.",
    ),
    _alert(
        "drift.detected",
        "warning",
        "signal arm before after since at rows",
        "What users get has changed, on one arm of the route or (arm null) on all turns: look for what was changed at "
        "that time, a model, a tool, a prompt or a policy. Nothing acts on it; a shorter decay.half_life_hours forgets "
        "the old world sooner.",
    ),
    _watch(
        "gate.bypassed",
        "warning",
        "mode",
        'canary.mode = "direct": every policy goes live without having been compared, and a harmful one is noticed by '
        'its estimate alone, if at all. Set it to "gate" where that matters.',
    ),
)

_DEPENDENCIES = (
    _alert(
        "kafka.unreachable",
        "warning",
        "servers error attempts retry_seconds",
        "Nothing is learned until it is back: check the brokers' address, the network and the "
        "credentials; run `alice-rl doctor`.",
    ),
    _alert(
        "redis.unreachable",
        "warning",
        "address error attempts retry_seconds",
        "Nothing is checkpointed or published until it is back; clients keep their policy. Run `alice-rl doctor`.",
    ),
    _watch(
        "redis.awaited",
        "warning",
        "address code left_seconds",
        "Redis is loading or not up yet; when the time is over the program exits with code 3.",
    ),
    _watch(
        "redis.policy_unchecked",
        "warning",
        "address reason",
        "Make sure by hand that its maxmemory-policy is noeviction, or allow INFO to this user.",
    ),
    _quiet("kafka.recovered", "info", ""),
)

_DECLARED = (*_WORKER, *_PARTITIONS, *_EVENTS, *_SNAPSHOTS, *_CANARIES, *_DEPENDENCIES)

EVENTS: dict[str, LogEvent] = {event.name: event for event in _DECLARED}
"""Every declared event by its name."""
