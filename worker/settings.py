"""The whole configuration of a worker: one section per user, each defined beside what it configures."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, structs

from alice_rl.episodes import JoinSettings
from alice_rl.errors import ConfigError
from alice_rl.feature_spec import FeatureSettings
from alice_rl.kafka import KafkaSettings
from alice_rl.lineage import SLOTS, Arms, Lineage
from alice_rl.reward import RewardSettings, reward_range
from alice_rl.settings import Loaded, load
from alice_rl.settings.fields import SECRET
from alice_rl.slots import CacheSettings, GuardianSettings, QuotaSettings, RouteSettings, ToolSettings, allowed_arms
from alice_rl.snapshot import keys
from alice_rl.snapshot.connection import RedisSettings
from alice_rl.snapshot.rules import RulesSettings
from alice_rl.trial_columns import SHARE_MIN, tried
from worker.canary_settings import CanarySettings
from worker.drift_settings import DriftSettings

__all__ = [
    "DecaySettings",
    "LogSettings",
    "PolicySettings",
    "Settings",
    "SnapshotSettings",
    "WorkerSettings",
    "instance_name",
    "load_settings",
    "of_lineage",
]


class PolicySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[policy]` section."""

    name: Annotated[
        str, Meta(pattern="^[A-Za-z0-9._-]{1,64}$", description="name of the policy: part of every Redis key")
    ] = "alice"
    lineage: Annotated[
        str,
        Meta(pattern="^[A-Za-z0-9._-]{1,64}$", description="lineage that is learned; a new structure needs a new name"),
    ] = "main"


class DecaySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[decay]` section."""

    half_life_hours: Annotated[
        Annotated[float, Meta(gt=0, le=1e6)] | None,
        Meta(description='event time after which a turn counts half; "none": all turns count the same'),
    ] = 168.0
    bucket_seconds: Annotated[
        int, Meta(ge=60, le=86_400, description="span of the finest event-time bucket; part of the lineage")
    ] = 3600


class WorkerSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[worker]` section."""

    checkpoint_interval_seconds: Annotated[
        float,
        Meta(ge=0.05, le=600, description="how often the sums are written to Redis; a restart re-reads this much"),
    ] = 1.0
    publish_interval_seconds: Annotated[
        float, Meta(ge=0.05, le=3600, description="how often a new policy is published, when something was learned")
    ] = 1.0
    episodes_min: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000_000,
            description="episodes before the first policy is published; until then the rules decide",
        ),
    ] = 5
    heartbeat_interval_seconds: Annotated[
        float, Meta(ge=0.1, le=3600, description="how often worker.heartbeat is logged")
    ] = 10.0
    drain_timeout_seconds: Annotated[
        float, Meta(gt=0, le=600, description="how long SIGTERM waits for the last checkpoint")
    ] = 10.0
    lease_seconds: Annotated[
        float, Meta(ge=1, le=600, description="how long a partition counts as held without a checkpoint")
    ] = 15.0
    stall_seconds: Annotated[
        float,
        Meta(ge=1, le=3600, description="a partition that does not move for so long, with more to read, has stalled"),
    ] = 30.0
    ready_lag_seconds: Annotated[
        float, Meta(gt=0, le=1e6, description="a worker that is further behind than this is not ready")
    ] = 60.0
    skip: Annotated[
        tuple[Annotated[str, Meta(pattern="^[0-9]+:[0-9]+$")], ...],
        Meta(description='records that are passed over, "partition:offset"; for those that kill the worker'),
    ] = ()
    intents_max: Annotated[
        int, Meta(ge=1, le=65_536, description="intents and query classes with rows of their own; part of the lineage")
    ] = 4096
    hits_teach_all: Annotated[
        bool,
        Meta(description="whether a turn that the cache answered teaches route and tool, too; part of the lineage"),
    ] = False

    @property
    def skipped(self) -> list[tuple[int, int]]:
        """Partition and offset of the records to pass over."""
        return [(int(partition), int(offset)) for partition, offset in (place.split(":") for place in self.skip)]


class SnapshotSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[snapshot]` section."""

    versions_kept: Annotated[int, Meta(ge=2, le=10_000, description="newest versions that do not expire")] = 50
    expire_seconds: Annotated[int, Meta(ge=60, le=31_536_000, description="life of a version after that")] = 3600
    signing_key: Annotated[
        str,
        Meta(
            extra=SECRET,
            description="shared key: snapshots are signed with it and refused without; environment or file only",
        ),
    ] = ""


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The `[log]` section."""

    format: Annotated[
        Literal["auto", "json", "console"], Meta(description="auto: console on a terminal, JSON lines elsewhere")
    ] = "auto"
    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="least level that is written")] = (
        "info"
    )


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All sections."""

    policy: PolicySettings = PolicySettings()
    kafka: KafkaSettings = KafkaSettings()
    redis: RedisSettings = RedisSettings()
    features: FeatureSettings = FeatureSettings()
    reward: RewardSettings = RewardSettings()
    route: RouteSettings = RouteSettings()
    tool: ToolSettings = ToolSettings()
    cache: CacheSettings = CacheSettings()
    join: JoinSettings = JoinSettings()
    decay: DecaySettings = DecaySettings()
    quotas: QuotaSettings = QuotaSettings()
    guardian: Annotated[
        GuardianSettings,
        Meta(description="guardian state -> the arms that it leaves, per slot; an absent slot is not restricted"),
    ] = {}
    rules: RulesSettings = RulesSettings()
    worker: WorkerSettings = WorkerSettings()
    snapshot: SnapshotSettings = SnapshotSettings()
    canary: CanarySettings = CanarySettings()
    drift: DriftSettings = DriftSettings()
    log: LogSettings = LogSettings()

    def __post_init__(self) -> None:
        arms = {"route": self.route.arms, "tool": self.tool.arms, "cache": self.cache.arms}
        for state in self.guardian:
            for slot in SLOTS:
                _known(f"guardian.{state}.{slot}", allowed_arms(self.guardian, state, slot) or (), arms[slot], slot)
        _known("quotas.max_share", self.quotas.max_share, sum(arms.values(), start=()), "route, tool or cache")
        for slot, chosen in (("route", self.rules.route_by_intent), ("tool", self.rules.tool_by_intent)):
            _known(f"rules.{slot}_by_intent", chosen.values(), arms[slot], slot)
            _known(f"rules.{slot}", [getattr(self.rules, slot)], arms[slot], slot)
        least, most = reward_range(self.reward.weights, self.reward.bounds)
        if self.canary.margin >= most - least:
            raise ConfigError(
                f"canary.margin = {self.canary.margin:g} is more than any policy could lose",
                hint=f"the reward of a turn lies between {least:g} and {most:g}; give a small part of that",
            )
        if self.rules.holdout_share and not tried(self.rules.holdout_share):
            raise ConfigError(
                f"rules.holdout_share = {self.rules.holdout_share} is too little to measure anything by",
                hint=f"0 for no hold-out, or at least {SHARE_MIN:.4f}",
            )

    @property
    def lineage(self) -> Lineage:
        """The structure of what is learned, gathered from the sections."""
        return Lineage(
            features=self.features,
            arms=Arms(self.route.arms, self.tool.arms, self.cache.arms),
            bounds=self.reward.bounds,
            join=self.join,
            bucket_seconds=self.decay.bucket_seconds,
            cache_class=self.cache.class_by,
            names_max=self.worker.intents_max,
            hits_teach_all=self.worker.hits_teach_all,
        )


def _known(key: str, named: Iterable[str], arms: tuple[str, ...], slot: str) -> None:
    """Refuse a section that names an arm which its slot does not have."""
    for arm in named:
        if arm not in arms:
            close = get_close_matches(arm, arms, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"the arms are {', '.join(arms)}"
            raise ConfigError(f"{key} names {arm!r}, which is not in {slot}.arms", hint=hint)


def load_settings(
    path: Path | None = None, flags: Mapping[str, object] | None = None, environ: Mapping[str, str] = os.environ
) -> Loaded[Settings]:
    """The settings out of `path` (`config.toml` beside the caller, when there is one), the environment and flags.

    Raises
    ------
    ConfigError
        A key is unknown, a value does not fit, or the file cannot be read.
    """
    if path is None and Path("config.toml").is_file():
        path = Path("config.toml")
    return load(Settings, path=path, environ=environ, flags=flags or {})


def of_lineage(settings: Settings, lineage: str) -> Settings:
    """The settings for another lineage than the configured one.

    Raises
    ------
    ConfigError
        The name can be no part of a key.
    """
    keys.lineage_config(settings.policy.name, lineage)
    return structs.replace(settings, policy=structs.replace(settings.policy, lineage=lineage))


def instance_name() -> str:
    """What this worker is called, for people: host and process."""
    return f"{socket.gethostname()}-{os.getpid()}"
