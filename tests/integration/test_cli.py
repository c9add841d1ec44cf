"""The command line on a real Redis and a real broker."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable
from typing import Any

import redis as redis_py
from aiokafka import AIOKafkaProducer

from alice_rl.shard import Shard
from alice_rl.snapshot.format import digest, pack, unpack
from alice_rl.snapshot.records import Applied, Pin, Publication
from alice_rl.snapshot.store import Store
from tests.command_line import Line
from tests.logs import TOOLS, turns
from tests.services import KafkaBroker, MockBroker, RedisServer
from worker.checkpoint import Checkpoints, Holding
from worker.settings import Settings
from worker.solver import Taught, solve_policy

WAIT_SECONDS = 30.0

MakeTopic = Callable[[int], str]


def learned(settings: Settings, count: int = 300) -> Shard:
    shard = Shard(settings.lineage)
    shard.feed(turns(count, split=True))
    return shard


def publish(settings: Settings, shard: Shard) -> bytes:
    """What a worker does with a partition: claim it, checkpoint it, publish its policy; the policy's bytes."""

    async def steps() -> bytes:
        store = Store.from_settings(settings.redis, settings.policy.name)
        try:
            name, lineage = settings.policy.lineage, settings.lineage
            await store.declare_lineage(name, lineage.fingerprint, lineage.to_json())
            await store.activate_lineage(name, only_if_none=True)
            checkpoints = Checkpoints(store, lineage, name, "host-1", 15.0)
            held = await checkpoints.claim(0, 1)
            assert held is not None
            assert (await checkpoints.write(0, Holding(shard, held.token, held.stored_next))).done
            head = await store.read_head()
            blob = pack(
                solve_policy({0: Taught.of(shard)}, settings, head.seq + 1),
                settings.snapshot.signing_key.encode() or None,
            )
            published = await store.publish(
                Publication(
                    expected_seq=head.seq,
                    lineage=name,
                    offsets={0: shard.next},
                    digest=digest(blob),
                    blob=blob,
                    who="host-1",
                )
            )
            assert published.applied is Applied.OK
            return blob
        finally:
            await store.close()

    return asyncio.run(steps())


def with_store(settings: Settings, act: Callable[[Store], Any]) -> Any:
    """The answer of one call to the store."""

    async def call() -> Any:
        store = Store.from_settings(settings.redis, settings.policy.name)
        try:
            return await act(store)
        finally:
            await store.close()

    return asyncio.run(call())


class TestStatus:
    def test_before_anything(self, alice: Line) -> None:
        """An empty Redis and an empty topic are a state like others: exit code 0, and it is said."""
        done = alice("status", "--json")
        assert done.code == 0
        told = done.json
        assert (told["published"], told["live"], told["lag_records"], told["kafka_problem"]) == (False, None, 0, "")
        assert [partition["partition"] for partition in told["partitions"]] == [0, 1]
        assert "nothing published yet" in alice("status").stdout

    def test_after_a_publish(self, alice: Line) -> None:
        """Head, counts, partitions, holder and arms are read from Redis alone."""
        shard = learned(alice.settings)
        blob = publish(alice.settings, shard)
        told = alice("status", "--json").json
        assert told["head"] | {"age_seconds": 0} == {
            "seq": 1,
            "live": 1,
            "live_digest": digest(blob),
            "age_seconds": 0,
            "canary": None,
            "canary_share": 0.0,
            "previous": None,
            "pinned": None,
        }
        assert 0 <= told["head"]["age_seconds"] < WAIT_SECONDS
        assert told["lineage"]["matches"] is True
        first = told["partitions"][0]
        assert (first["next"], first["watermark_ms"]) == (shard.next, shard.watermark_ms)
        assert first["owner"]["worker"] == "host-1" and 0 < first["owner"]["lease_seconds"] <= 15
        assert told["counts"]["episodes"] == shard.counts["episodes"] > 0
        assert {arm["arm"] for arm in told["live"]["arms"]["tool"]} == set(TOOLS)
        assert all(arm["mean_reward"] is not None for arm in told["live"]["arms"]["route"])
        shown = alice("status").stdout
        assert f"version 1, {digest(blob)[:12]}" in shown and "host-1" in shown

    def test_the_lag_is_what_the_topic_holds(self, alice: Line) -> None:
        """What is in the topic and in no checkpoint is the lag, also before the first checkpoint."""

        async def produce() -> None:
            async with AIOKafkaProducer(bootstrap_servers=alice.flags["kafka.bootstrap_servers"]) as producer:
                for _ in range(3):
                    await producer.send_and_wait(alice.flags["kafka.topic"], b"{}", partition=1)

        asyncio.run(produce())
        told = alice("status", "--json").json
        assert (told["lag_records"], told["partitions"][1]["end"], told["partitions"][1]["lag"]) == (3, 3, 3)

    def test_without_kafka_the_lag_is_unknown(self, alice: Line) -> None:
        """Kafka away is no failure of status: the rest is shown, and why the lag is not."""
        publish(alice.settings, learned(alice.settings))
        alice.flags["kafka.bootstrap_servers"] = "127.0.0.1:1"
        done = alice("status", "--json")
        assert (done.code, done.json["lag_records"]) == (0, None)
        assert "127.0.0.1:1" in done.json["kafka_problem"]
        assert done.json["counts"]["episodes"] > 0

    def test_a_topic_that_does_not_exist_is_not_created(self, alice: Line, kafka: KafkaBroker | MockBroker) -> None:
        """Looking does not make a topic, even where the broker would make one for anybody who asks."""
        alice.flags["kafka.topic"] = f"{alice.flags['kafka.topic']}-other"
        for _ in range(2):
            assert "does not exist" in alice("status", "--json").json["kafka_problem"]

    def test_a_policy_of_another_key_is_refused_and_said(self, alice: Line) -> None:
        """With a signing key configured here, an unsigned live version is shown as refused."""
        publish(alice.settings, learned(alice.settings))
        told = alice("status", "--json", env={"ALICE__SNAPSHOT__SIGNING_KEY": "s3cret"})
        assert "not signed" in told.json["live"]["refused"]
        assert "s3cret" not in told.stdout + told.stderr

    def test_watching_prints_one_line_a_look(self, alice: Line) -> None:
        """`--watch --json` is a stream of objects that ends with Ctrl-C."""
        process = alice.start("status", "--watch", "--interval", "0.2", "--json")
        assert process.stdout is not None
        try:
            looks = [json.loads(process.stdout.readline()) for _ in range(3)]
            process.send_signal(signal.SIGINT)
            assert process.wait(WAIT_SECONDS) == 130
        finally:
            process.kill()
            process.communicate()
        assert looks[0]["now_ms"] < looks[1]["now_ms"] < looks[2]["now_ms"]


class TestPolicies:
    def test_before_anything(self, alice: Line) -> None:
        """No versions are an empty list; a version that is asked for by name is an error that says so."""
        assert alice("policy", "list", "--json").json == {"policy": "alice", "versions": []}
        done = alice("policy", "show", "--json")
        assert (done.code, done.json["error"]["code"]) == (1, "nothing_published")
        assert alice("policy", "show", "3", "--json").json["error"]["code"] == "version_missing"

    def test_versions_are_listed_with_their_stage(self, alice: Line) -> None:
        """The newest is first; live, previous and pinned are told apart."""
        for count in (100, 200, 300):
            shard = learned(alice.settings, count)
            with redis_py.Redis.from_url(alice.flags["redis.url"]) as client:
                client.delete("alice:{alice}:lineage:main:shard:0", "alice:{alice}:meta")
            publish(alice.settings, shard)
        with_store(alice.settings, lambda store: store.promote(3, request="r", pin=Pin.PIN))
        versions = alice("policy", "list", "--json").json["versions"]
        seen = [(one["version"], one["stage"], one["pinned"]) for one in versions]
        assert seen == [(3, "live", True), (2, "previous", False), (1, "stored", False)]
        assert "live, pinned" in alice("policy", "list").stdout

    def test_a_version_shows_what_it_would_choose(self, alice: Line) -> None:
        """For each intent: the likeliest arm of each slot and its probability."""
        publish(alice.settings, learned(alice.settings))
        card = alice("policy", "show", "live", "--json").json
        assert {choices["intent"] for choices in card["choices"]} == {
            "weather",
            "calendar",
            "smalltalk",
            "code",
            "väder",
        }
        for choices in card["choices"]:
            assert 0 < choices["route"]["p"] <= 1
        shown = alice("policy", "show", "--intents", "2").stdout
        assert "and 3 more intents" in shown

    def test_export_validate_import(self, alice: Line) -> None:
        """A version goes out byte for byte, is found sound, and comes back as a new version, all else kept."""
        blob = publish(alice.settings, learned(alice.settings))
        exported = alice("policy", "export", "live", "out.safetensors", "--json")
        assert exported.json == {"file": "out.safetensors", "size_bytes": len(blob), "digest": digest(blob)}
        assert (alice.folder / "out.safetensors").read_bytes() == blob
        assert alice("policy", "validate", "out.safetensors", "--json").json["fits"] is True

        imported = alice("policy", "import", "out.safetensors", "--json", "--why", "as a test").json
        assert (imported["version"], imported["live"], imported["candidate"]) == (2, False, True)
        stored = with_store(alice.settings, lambda store: store.get_snapshot(2))
        old, new = unpack(blob), unpack(stored)
        assert digest(stored) == imported["digest"]
        assert (new.manifest.version, new.manifest.offsets) == (2, old.manifest.offsets)
        assert all((a == b).all() for a, b in zip(old.tensors().values(), new.tensors().values(), strict=True))
        (entry, *_) = with_store(alice.settings, lambda store: store.history())
        assert (entry.kind, entry.fields["why"]) == ("publish", "as a test")
        assert json.loads(entry.fields["detail"])["imported"]["digest"] == digest(blob)
        assert "@" in entry.fields["who"]
        assert with_store(alice.settings, lambda store: store.read_head()).live == 1

    def test_import_live(self, alice: Line) -> None:
        """With `--live` it serves at once, unless a version is pinned."""
        blob = publish(alice.settings, learned(alice.settings))
        (alice.folder / "p").write_bytes(blob)
        assert alice("policy", "import", "p", "--live", "--json").json["live"] is True
        with_store(alice.settings, lambda store: store.promote(1, request="r", pin=Pin.PIN))
        done = alice("policy", "import", "p", "--live")
        assert done.stdout.startswith("version 3, digest ") and "version 1 is pinned" in done.stdout
        assert with_store(alice.settings, lambda store: store.read_head()).live == 1

    def test_import_into_an_empty_redis(self, alice: Line) -> None:
        """A policy seeds a new Redis, and does not stand in the way of a worker that has learned less."""
        blob = pack(solve_policy({0: Taught.of(learned(alice.settings))}, alice.settings, 7))
        (alice.folder / "p").write_bytes(blob)
        assert alice("policy", "import", "p", "--live", "--json").json["version"] == 1
        publish(alice.settings, learned(alice.settings, 10))
        assert with_store(alice.settings, lambda store: store.read_head()).live == 2

    def test_import_signs_with_the_configured_key(self, alice: Line) -> None:
        """What was signed with the key comes back signed with it."""
        env = {"ALICE__SNAPSHOT__SIGNING_KEY": "s3cret"}
        blob = pack(solve_policy({0: Taught.of(learned(alice.settings))}, alice.settings, 7), b"s3cret")
        (alice.folder / "p").write_bytes(blob)
        assert alice("policy", "import", "p", "--json", env=env).code == 0
        assert unpack(with_store(alice.settings, lambda store: store.get_snapshot(1)), b"s3cret").manifest.version == 1

    def test_another_lineage_is_refused(self, alice: Line) -> None:
        """A policy of other arms is not stored: exit code 1, and what differs."""
        (alice.folder / "p").write_bytes(publish(alice.settings, learned(alice.settings)))
        alice.flags["tool.arms"] = "search,none"
        done = alice("policy", "import", "p", "--json")
        assert (done.code, done.json["error"]["code"]) == (1, "lineage_mismatch")
        assert "tool.arms" in done.json["error"]["message"]

    def test_an_import_does_not_extend_the_lineage(self, alice: Line) -> None:
        """Running workers are not ended by an import: a policy of more numerics waits for a worker that has them."""
        blob = pack(solve_policy({0: Taught.of(learned(alice.settings))}, alice.settings, 7))
        (alice.folder / "p").write_bytes(blob)
        alice.flags["features.numerics"] = '[{"name":"text_len","transform":"log1p"}]'
        narrow = alice.settings
        publish(narrow, learned(narrow))
        del alice.flags["features.numerics"]
        done = alice("policy", "import", "p", "--json")
        assert (done.code, done.json["error"]["code"]) == (2, "lineage_mismatch")
        assert "start a worker with this configuration first" in done.json["error"]["hint"]
        declared = with_store(narrow, lambda store: store.lineage_config("main"))
        assert declared[0] == narrow.lineage.fingerprint

    def test_bytes_that_were_changed_are_not_exported(self, alice: Line) -> None:
        """A version whose bytes are not those that were published is refused, and no file is written."""
        publish(alice.settings, learned(alice.settings))
        with redis_py.Redis.from_url(alice.flags["redis.url"]) as client:
            client.append("alice:{alice}:snapshot:1", b"x")
        done = alice("policy", "export", "1", "out", "--json")
        assert (done.code, done.json["error"]["code"]) == (1, "corrupt")
        assert not (alice.folder / "out").exists()


class TestSavepoints:
    def test_create_show_restore(self, alice: Line) -> None:
        """A lineage goes out to a file, is found sound, and comes back after Redis has lost everything."""
        shard = learned(alice.settings)
        blob = publish(alice.settings, shard)
        created = alice("savepoint", "create", "a.savepoint", "--json").json
        data = (alice.folder / "a.savepoint").read_bytes()
        assert (created["file"], created["size_bytes"], created["digest"]) == ("a.savepoint", len(data), digest(data))
        assert (created["lineage"], created["partitions"]) == ("main", {"0": shard.next})
        assert (created["versions"], created["live"], created["history_entries"]) == ([1], 1, 1)
        assert alice("savepoint", "show", "a.savepoint", "--json").json == created
        with redis_py.Redis.from_url(alice.flags["redis.url"]) as client:
            client.flushdb()
        assert alice("savepoint", "restore", "a.savepoint", "--json").json == created | {"replaced": []}
        assert with_store(alice.settings, lambda store: store.get_snapshot(1)) == blob
        status = alice("status", "--json").json
        assert (status["live"]["version"], status["partitions"][0]["next"]) == (1, shard.next)
        (entry, *_) = with_store(alice.settings, lambda store: store.history())
        assert (entry.kind, entry.fields["why"]) == ("restore", "restored from a.savepoint")
        assert json.loads(entry.fields["detail"])["savepoint"]["digest"] == digest(data)

    def test_the_same_command_twice_replaces_the_file(self, alice: Line) -> None:
        """A second savepoint under the same name takes the place of the first, and leaves nothing beside it."""
        publish(alice.settings, learned(alice.settings))
        for _ in range(2):
            assert "0: " in alice("savepoint", "create", "a.savepoint").stdout
        assert [path.name for path in alice.folder.iterdir()] == ["a.savepoint"]

    def test_what_lives_is_named_and_kept(self, alice: Line) -> None:
        """Over a living lineage nothing is done without `--force`: exit code 1, what lives there, and what to do."""
        publish(alice.settings, learned(alice.settings))
        alice("savepoint", "create", "a.savepoint")
        done = alice("savepoint", "restore", "a.savepoint", "--json")
        error = done.json["error"]
        assert (done.code, error["code"]) == (1, "lineage_lives")
        assert all(words in error["message"] for words in ("lineage 'main'", "partitions 0", "host-1", "version 1"))
        assert "--force" in error["hint"]
        forced = alice("savepoint", "restore", "a.savepoint", "--force")
        assert forced.code == 0 and "replaced: held by host-1" in forced.stdout

    def test_a_lineage_that_is_not_there(self, alice: Line) -> None:
        """There is nothing to save: exit code 1, and no file."""
        done = alice("savepoint", "create", "a.savepoint", "--lineage", "nowhere", "--json")
        assert (done.code, done.json["error"]["code"]) == (1, "lineage_missing")
        assert list(alice.folder.iterdir()) == []

    def test_a_damaged_file_leaves_redis_alone(self, alice: Line) -> None:
        """A flipped byte is refused with its entry before Redis is touched, also with `--force`."""
        publish(alice.settings, learned(alice.settings))
        alice("savepoint", "create", "a.savepoint")
        data = bytearray((alice.folder / "a.savepoint").read_bytes())
        data[len(data) // 2] ^= 1
        (alice.folder / "a.savepoint").write_bytes(data)
        with redis_py.Redis.from_url(alice.flags["redis.url"]) as client:
            client.flushdb()
            done = alice("savepoint", "restore", "a.savepoint", "--force", "--json")
            assert (done.code, done.json["error"]["code"]) == (1, "corrupt")
            assert "entry " in done.json["error"]["message"]
            assert client.keys("*") == []

    def test_a_redis_that_evicts_is_refused(self, alice: Line) -> None:
        """A lineage is not restored to where it may be evicted: exit code 3."""
        publish(alice.settings, learned(alice.settings))
        alice("savepoint", "create", "a.savepoint")
        with RedisServer(maxmemory_policy="allkeys-lru") as server:
            alice.flags["redis.url"] = server.url
            done = alice("savepoint", "restore", "a.savepoint", "--json")
        assert done.code == 3 and "noeviction" in done.stderr

    def test_savepoints_are_signed_with_the_configured_key(self, alice: Line) -> None:
        """With a key configured a savepoint is signed, and one that is not is refused."""
        env = {"ALICE__SNAPSHOT__SIGNING_KEY": "s3cret"}
        publish(alice.settings, learned(alice.settings))
        assert alice("savepoint", "create", "a.savepoint", "--json", env=env).json["signed"] == "yes"
        assert alice("savepoint", "restore", "a.savepoint", "--force", env=env).code == 0
        alice("savepoint", "create", "a.savepoint")
        done = alice("savepoint", "restore", "a.savepoint", "--force", "--json", env=env)
        assert (done.code, done.json["error"]["code"]) == (1, "unsigned")


class TestConfigCheck:
    def test_the_lineage_in_redis_is_looked_at(self, alice: Line) -> None:
        """Where Redis answers, a structure that its lineage cannot go on with is exit code 2; an extension is told."""
        assert "lineage" not in alice("config", "check", "--json").json
        alice.flags["features.numerics"] = '[{"name":"text_len","transform":"log1p"}]'
        narrow = alice.settings
        publish(narrow, learned(narrow))
        assert alice("config", "check", "--json").json["lineage"] == "equal"
        del alice.flags["features.numerics"]
        assert alice("config", "check", "--json").json["lineage"] == "extends"
        assert "It extends lineage main by features confidence, " in alice("config", "check").stdout
        alice.flags["decay.bucket_seconds"] = "60"
        done = alice("config", "check", "--json")
        assert (done.code, done.json["error"]["code"]) == (2, "lineage_mismatch")
        assert "decay.bucket_seconds: 3600 -> 60" in done.json["error"]["message"]


class TestDoctor:
    def test_a_compacted_log_is_warned_of(self, alice: Line, real_kafka: KafkaBroker) -> None:
        """A topic from between whose records some are removed cannot be verified: that is told with what to set."""
        alice.flags["kafka.topic"] = f"{alice.flags['kafka.topic']}-compact"
        real_kafka.create_topic(alice.flags["kafka.topic"], 1, {"cleanup.policy": "compact"})
        checks = {check["name"]: check for check in alice("doctor", "--json").json["checks"]}
        assert checks["kafka cleanup"]["status"] == "warning"
        assert "cleanup.policy=delete" in checks["kafka cleanup"]["hint"]

    def test_all_is_well(self, alice: Line, make_topic: MakeTopic) -> None:
        """On working services every check passes or warns, nothing stays behind, and the exit code is 0."""
        alice.flags["kafka.dead_letter_topic"] = make_topic(1)
        done = alice("doctor", "--json")
        checks = {check["name"]: check["status"] for check in done.json["checks"]}
        assert (done.code, done.json["ok"]) == (0, True)
        assert {name for name, status in checks.items() if status != "ok"} <= {"redis persistence"}
        assert len(checks) == 14
        with redis_py.Redis.from_url(alice.flags["redis.url"]) as client:
            assert client.keys("*") == []

    def test_what_is_missing_is_named_with_what_to_do(self, alice: Line) -> None:
        """A topic that is not there fails with the command that makes it; exit code 1."""
        alice.flags |= {"kafka.topic": "nowhere", "kafka.dead_letter_topic": "nowhere.dead"}
        done = alice("doctor", "--json")
        checks = {check["name"]: check for check in done.json["checks"]}
        assert done.code == 1
        assert checks["kafka topic"]["status"] == "failed"
        assert "kafka-topics.sh --create --topic nowhere " in checks["kafka topic"]["hint"]
        assert checks["kafka dead letters"]["status"] == "warning"

    def test_a_changed_structure_is_found(self, alice: Line) -> None:
        """Arms that differ from the declared lineage's fail before a worker does."""
        publish(alice.settings, learned(alice.settings))
        alice.flags["tool.arms"] = "search,none"
        checks = {check["name"]: check for check in alice("doctor", "--json").json["checks"]}
        assert checks["lineage"]["status"] == "failed"
        assert 'tool.arms: -"weather.lookup" -"calendar.read"' in checks["lineage"]["message"]
        assert "alice-rl replay --lineage main-2 --from earliest" in checks["lineage"]["hint"]

    def test_an_extension_is_announced(self, alice: Line) -> None:
        """Appended numerics are a warning with what will happen; from the other side the lineage fails."""
        wide, alice.flags["features.numerics"] = alice.settings, '[{"name":"text_len","transform":"log1p"}]'
        narrow = alice.settings
        publish(narrow, learned(narrow))
        del alice.flags["features.numerics"]
        (check,) = [c for c in alice("doctor", "--json").json["checks"] if c["name"] == "lineage"]
        assert check["status"] == "warning"
        assert "extends main by features confidence, recent_latency_ms, recent_cost_usd" in check["message"]
        publish(wide, learned(wide, 400))
        alice.flags["features.numerics"] = '[{"name":"text_len","transform":"log1p"}]'
        (check,) = [c for c in alice("doctor", "--json").json["checks"] if c["name"] == "lineage"]
        assert (check["status"], check["hint"]) == ("failed", "restart this worker with the new configuration")

    def test_a_redis_that_evicts_is_found(self, alice: Line) -> None:
        """A maxmemory-policy that deletes learned state fails with the command that mends it."""
        with RedisServer(maxmemory_policy="allkeys-lru", appendonly=True) as server:
            alice.flags["redis.url"] = server.url
            done = alice("doctor", "--json")
        checks = {check["name"]: check for check in done.json["checks"]}
        assert done.code == 1
        assert (checks["redis eviction"]["status"], checks["redis persistence"]["status"]) == ("failed", "ok")
        assert "noeviction" in checks["redis eviction"]["hint"]

    def test_a_user_without_rights_is_found(self, alice: Line) -> None:
        """A user that may not write the policy's keys fails at the probe, with the rights it needs."""
        with RedisServer() as server, redis_py.Redis.from_url(server.url) as client:
            client.execute_command(
                "ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@read", "+ping", "+info", "+evalsha", "+eval"
            )
            alice.flags |= {"redis.url": server.url, "redis.username": "reader"}
            done = alice("doctor", "--json", env={"ALICE__REDIS__PASSWORD": "pw"})
        checks = {check["name"]: check for check in done.json["checks"]}
        assert done.code == 1
        assert checks["redis writes"]["status"] == "failed"
        assert "ACL user" in checks["redis writes"]["hint"]

    def test_kafka_alone_away(self, alice: Line) -> None:
        """An unreachable Kafka is exit code 3, and Redis is looked at all the same."""
        alice.flags["kafka.bootstrap_servers"] = "127.0.0.1:1"
        done = alice("doctor", "--json")
        checks = {check["name"]: check["status"] for check in done.json["checks"]}
        assert done.code == 3
        assert (checks["redis writes"], checks["kafka"], checks["kafka topic"]) == ("ok", "unreachable", "skipped")


def test_the_worker_learns_and_ends_on_a_signal(alice: Line) -> None:
    """`alice-rl worker` learns what is in the topic, publishes it, and on SIGTERM ends with 0 and a summary."""

    async def produce() -> None:
        async with AIOKafkaProducer(bootstrap_servers=alice.flags["kafka.bootstrap_servers"]) as producer:
            for record in turns(200):
                await producer.send(alice.flags["kafka.topic"], record.value, partition=record.offset % 2)
            await producer.flush()

    asyncio.run(produce())
    process = alice.start("worker", "--json", "--log-format", "json")
    try:
        deadline = time.monotonic() + WAIT_SECONDS
        while (alice("status", "--json").json["live"] or {"episodes": 0})["episodes"] < 200:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=WAIT_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0
    assert json.loads(stdout)["records"] == 200
    events = [json.loads(line)["event"] for line in stderr.splitlines()]
    assert events[0] == "config.loaded" and events[-1] == "worker.stopped"
