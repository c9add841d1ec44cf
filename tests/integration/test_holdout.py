"""The hold-out on a real broker and a real Redis: from the worker's settings to the lift that it measures."""

from __future__ import annotations

import io
import random

import msgspec
from rich.console import Console

from alice_rl.episodes import JoinSettings
from alice_rl.events import Decision, PolicyStamp
from alice_rl.reward import RewardSettings
from alice_rl.snapshot import PolicyClient, RulesSettings
from alice_rl.telemetry import Emitter
from tests.integration.conftest import MakeSettings
from tests.logs import turns
from tests.stage import Stage
from tests.streams import eventually, folded, produce, running
from worker.cli.inspector import Inspector, inspecting
from worker.cli.status_view import view
from worker.cli.survey import Survey, Surveyor
from worker.settings import Settings

SHARE = 0.25
SUCCESS = {"fallback": 0.4, "live": 0.8}  # by who decided
LIFT = RewardSettings().weights[0] * (SUCCESS["live"] - SUCCESS["fallback"])


def users(decision: Decision, luck: random.Random) -> dict[str, object]:
    """Users whom the rules serve half as well."""
    return {"success": luck.random() < SUCCESS[decision.policy.stage], "latency_ms": 100.0}


async def look(settings: Settings) -> Survey:
    """What `alice-rl status` sees."""
    async with inspecting(settings, Inspector) as inspector:
        return await Surveyor(settings, inspector).look()


async def test_the_lift_is_measured_on_what_is_held_out(make_settings: MakeSettings) -> None:
    """The share reaches the clients with the policy, held-out turns come back as telemetry, and the lift is told."""
    settings = make_settings(
        partitions=2, rules=RulesSettings(holdout_share=SHARE), join=JoinSettings(horizon_seconds=20)
    )
    with PolicyClient.from_url(settings.redis.url, rules=settings.rules, poll_seconds=0.05) as client:
        async with running(settings) as worker, Emitter(settings.kafka) as emitter:
            stage = Stage(client, emitter, worker, users)
            await stage.play_until(lambda: client.version is not None)
            before = stage.turns
            await stage.play(6000)
            await emitter.flush()
            await eventually(lambda: folded(worker) == 2 * stage.turns)
    survey = await look(settings)
    held_out = client.stats()["held_out_total"]
    assert stage.served["fallback"] == client.stats()["fallbacks"]["not_loaded"] + held_out
    assert abs(held_out / 6000 - SHARE) < 6 * (SHARE * (1 - SHARE) / 6000) ** 0.5
    assert survey.live is not None and survey.live.holdout_share == SHARE
    lift = survey.lift
    assert lift is not None
    assert 4000 < lift.turns <= stage.turns - before  # the last horizon's are still waited for
    assert lift.lower < LIFT < lift.upper and lift.lower > 0.0
    words = f"{lift.estimate:+.2f} reward per turn ({lift.lower:+.2f} to {lift.upper:+.2f})"
    assert words in shown(survey)


async def test_a_worker_without_one_ends_it(make_settings: MakeSettings) -> None:
    """The next policy, published by a worker that was started without a hold-out, holds nothing out any more."""
    settings = make_settings(partitions=1, rules=RulesSettings(holdout_share=0.5))
    await produce(settings.kafka, turns(50))
    with PolicyClient.from_url(settings.redis.url, poll_seconds=0.05) as client:
        async with running(settings):
            await eventually(lambda: client.stats()["holdout_share"] == 0.5)
        assert {stamp(client).stage for _ in range(200)} == {"fallback", "live"}
        async with running(msgspec.structs.replace(settings, rules=RulesSettings())):
            await eventually(lambda: client.stats()["holdout_share"] == 0.0)
        assert {(stamp(client).stage, stamp(client).holdout_share) for _ in range(200)} == {("live", None)}


def stamp(client: PolicyClient) -> PolicyStamp:
    return client.decide({"intent": "weather"}).policy


def shown(survey: Survey) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200).print(view(survey))
    return stream.getvalue()
