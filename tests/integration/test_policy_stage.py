"""`alice-rl policy promote | rollback | pin | history` on a real Redis: what serves, what is said, what is audited."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from alice_rl.snapshot.format import digest, pack
from alice_rl.snapshot.head import Head
from alice_rl.snapshot.records import Applied, HistoryEntry, Moved, Publication, Stage
from alice_rl.snapshot.store import Store
from tests.command_line import Line
from tests.snapshots import make_snapshot
from tests.unit.cli.runner import Ran
from worker.settings import Settings


def with_store(settings: Settings, act: Callable[[Store], Awaitable[Any]]) -> Any:
    """The answer of one call to the store."""

    async def call() -> Any:
        store = Store.from_settings(settings.redis, settings.policy.name)
        try:
            return await act(store)
        finally:
            await store.close()

    return asyncio.run(call())


def publish(settings: Settings, *, candidate: bool = False) -> int:
    """Publish a policy as a worker does; its version."""

    async def steps(store: Store) -> int:
        head, lineage = await store.read_head(), settings.lineage
        await store.declare_lineage("main", lineage.fingerprint, lineage.to_json())
        await store.activate_lineage("main", only_if_none=True)
        blob = pack(make_snapshot(head.seq + 1))
        published = await store.publish(
            Publication(
                expected_seq=head.seq,
                lineage="main",
                offsets={0: head.seq},
                digest=digest(blob),
                blob=blob,
                candidate=candidate,
                who="host-1",
            )
        )
        assert published.applied is Applied.OK
        return published.version

    return int(with_store(settings, steps))


def head_of(alice: Line) -> Head:
    head = with_store(alice.settings, lambda store: store.read_head())
    assert isinstance(head, Head)
    return head


def last(alice: Line) -> HistoryEntry:
    (entry, *_) = with_store(alice.settings, lambda store: store.history())
    assert isinstance(entry, HistoryEntry)
    return entry


@pytest.fixture
def alice(alice: Line) -> Line:
    """Versions 1 and 2, of which 2 is live, and the candidate 3."""
    for candidate in (False, False, True):
        publish(alice.settings, candidate=candidate)
    return alice


def moved(done: Ran) -> tuple[bool, int | None, int | None, int | None]:
    """Whether something was done, and what serves then: live, canary, pinned."""
    assert done.code == 0, done.stderr
    serving = done.json["serving"]
    return done.json["changed"], serving["live"], serving["canary"], serving["pinned"]


class TestPromote:
    def test_a_canary_opens_grows_and_wins(self, alice: Line) -> None:
        """The newest version is the canary by default; later its share grows; then it is live for everyone."""
        canary = "policy", "promote", "--stage", "canary", "--json", "--reason", "a try"
        assert moved(alice(*canary)) == (True, 2, 3, None)
        assert head_of(alice).canary_share == 0.05
        publish(alice.settings, candidate=True)
        assert moved(alice(*canary, "--share", "0.25")) == (True, 2, 3, None)
        assert head_of(alice).canary_share == 0.25
        assert moved(alice(*canary, "--share", "0.25")) == (False, 2, 3, None)
        assert moved(alice("policy", "promote", "--stage", "prod", "--json", "--reason", "won")) == (
            True,
            3,
            None,
            None,
        )
        assert head_of(alice).previous == 2
        entry = last(alice)
        assert (entry.kind, entry.fields["stage"], entry.fields["why"]) == ("promote", "prod", "won")
        assert "@" in entry.fields["who"] and entry.fields["request"]

    def test_it_is_said_in_words(self, alice: Line) -> None:
        """Three lines: what was done, what serves now, and what happens next; nothing to do is said, too."""
        words = "policy", "promote", "newest", "--stage", "canary", "--share", "0", "--reason", "a shadow"
        done, serves, after = alice(*words).stdout.splitlines()
        assert done == "Version 3 is the canary now, for 0 % of the requests."
        assert serves.startswith("live: version 2 (") and "a shadow: serves nobody" in serves
        assert "alice-rl canary status" in after
        again = alice(*words)
        assert (again.code, "nothing to do" in again.stdout) == (0, True)

    def test_without_a_canary_it_must_be_named(self, alice: Line) -> None:
        """There is nothing to make live where no canary is: exit code 1, and the versions are a command away."""
        done = alice("policy", "promote", "--stage", "prod", "--json", "--reason", "r")
        assert (done.code, done.json["error"]["code"]) == (1, "version_missing")
        assert "policy list" in done.json["error"]["hint"]

    def test_what_is_not_stored_is_refused(self, alice: Line) -> None:
        """A number that nobody published is exit code 1."""
        for stage in ("canary", "prod"):
            done = alice("policy", "promote", "77", "--stage", stage, "--json", "--reason", "r")
            assert (done.code, done.json["error"]["code"]) == (1, "version_missing")

    def test_live_is_not_its_own_canary(self, alice: Line) -> None:
        """A comparison of a policy with itself is refused."""
        done = alice("policy", "promote", "live", "--stage", "canary", "--json", "--reason", "r")
        assert (done.code, done.json["error"]["code"]) == (1, "canary_is_live")
        assert head_of(alice).canary is None

    def test_a_pin_stands_in_the_way_until_it_is_meant(self, alice: Line) -> None:
        """Another version is pinned: refused with both ways out, and each of them works."""
        assert moved(alice("policy", "pin", "1", "--json")) == (True, 1, None, 1)
        promote = "policy", "promote", "3", "--stage", "prod", "--json", "--reason", "r"
        done = alice(*promote)
        assert (done.code, done.json["error"]["code"]) == (1, "pinned")
        assert all(option in done.json["error"]["hint"] for option in ("--unpin", "--pin"))
        assert moved(alice(*promote, "--pin")) == (True, 3, None, 3)
        assert moved(alice("policy", "promote", "2", *promote[3:], "--unpin")) == (True, 2, None, None)


class TestRollback:
    def test_the_canary_is_withdrawn(self, alice: Line) -> None:
        """The canary serves nobody, live stays and is not pinned; the audit says who and why; twice is nothing."""
        alice("policy", "promote", "--stage", "canary", "--reason", "r")
        words = "policy", "rollback", "--stage", "canary", "--reason", "angry users"
        assert moved(alice(*words, "--json")) == (True, 2, None, None)
        entry = last(alice)
        assert (entry.kind, entry.fields["stage"], entry.fields["from"]) == ("rollback", "canary", "3")
        assert (entry.fields["why"], "@" in entry.fields["who"]) == ("angry users", True)
        assert "There is no canary: nothing to do." in alice(*words).stdout

    def test_production_goes_back_and_stays_there(self, alice: Line) -> None:
        """Live is the previous version, pinned, without a canary; what is published then serves nobody."""
        alice("policy", "promote", "--stage", "canary", "--reason", "r")
        words = "policy", "rollback", "--stage", "prod", "--reason", "errors"
        done, serves, after = alice(*words).stdout.splitlines()
        assert done == "Live went back from version 2 to 1, and is pinned there."
        assert "pinned; no canary" in serves
        assert "live stays version 1 until alice-rl policy unpin" in after
        publish(alice.settings)
        assert head_of(alice).live == 1

    def test_there_is_no_way_back_twice(self, alice: Line) -> None:
        """A second rollback has no previous version to go to; a named one it has."""
        words = "policy", "rollback", "--stage", "prod", "--json", "--reason", "errors"
        alice(*words)
        done = alice(*words)
        assert (done.code, done.json["error"]["code"]) == (1, "version_missing")
        assert "--to VERSION" in done.json["error"]["hint"]
        assert moved(alice(*words, "--to", "3")) == (True, 3, None, 3)
        assert moved(alice(*words, "--to", "live")) == (False, 3, None, 3)
        missing = alice(*words, "--to", "77").json["error"]
        assert (missing["code"], "version 77" in missing["message"]) == ("version_missing", True)

    def test_before_anything_it_is_said(self, alice: Line) -> None:
        """In an empty Redis there is nothing to take back, and nothing to pin."""
        with_store(alice.settings, lambda store: store._redis.flushdb())
        assert alice("policy", "rollback", "--stage", "canary", "--reason", "r").code == 0
        assert alice("policy", "unpin").code == 0
        done = alice("policy", "rollback", "--stage", "prod", "--json", "--reason", "r")
        assert (done.code, done.json["error"]["code"]) == (1, "version_missing")
        assert alice("policy", "pin", "--json").json["error"]["code"] == "nothing_published"


class TestHistory:
    def test_it_tells_who_did_what_and_why(self, alice: Line) -> None:
        """The newest is first; publications in a row are one line, and each is one when that is asked for."""
        assert alice("policy", "history").stdout.count("3 publishes, versions 1 to 3, 2 of them live") == 1
        alice("policy", "promote", "--stage", "canary", "--reason", "a [try]")
        publish(alice.settings, candidate=True)
        alice("policy", "rollback", "--stage", "canary", "--reason", "angry users")
        alice("policy", "pin")
        told = alice("policy", "history", "--json").json
        assert [line["words"] for line in told["lines"]] == [
            "version 2 pinned",
            "canary withdrawn, version 3",
            "version 4 published, as a candidate",
            "version 3 is the canary, for 5 % of the requests",
            "3 publishes, versions 1 to 3, 2 of them live",
        ]
        assert [line["why"] for line in told["lines"]] == ["", "angry users", "", "a [try]", ""]
        assert "@" in told["lines"][0]["who"] and told["lines"][-1]["who"] == "host-1"
        assert "a [try]" in alice("policy", "history").stdout
        limited = alice("policy", "history", "--limit", "6", "--publishes", "--json").json["lines"]
        assert [line["kind"] for line in limited] == ["pin", "rollback", "publish", "promote", "publish", "publish"]

    def test_an_audit_of_many_pages_is_one_line(self, alice: Line, monkeypatch: pytest.MonkeyPatch) -> None:
        """However long the row of publications is, it is read to its end, each entry once."""
        monkeypatch.setattr("worker.cli.policy_audit._PAGE", 2)
        alice("policy", "pin")
        for _ in range(4):
            publish(alice.settings)
        words = [line["words"] for line in alice("policy", "history", "--limit", "1", "--json").json["lines"]]
        assert words == ["4 publishes, versions 4 to 7, candidates"]
        assert len(alice("policy", "history", "--publishes", "--json").json["lines"]) == 8

    def test_the_gate_s_numbers_are_shown(self, alice: Line) -> None:
        """A step with a verdict behind it is told with the verdict's numbers."""
        effect = {"estimate": -0.02, "lower": -0.03, "upper": -0.01}
        log_es = {"log_e_promote": -3.0, "log_e_rollback": 3.4, "log_e_ratio": 0.0}
        verdict = {"decision": "ROLLBACK", "requests": 24_080, "canary_requests": 1_204, "policies": effect, **log_es}
        detail = msgspec.json.encode({"verdict": verdict | {"arms": effect}}).decode()
        alice("policy", "promote", "--stage", "canary", "--reason", "r")
        with_store(
            alice.settings,
            lambda store: store.rollback(request="g", stage=Stage.CANARY, who="host-1", why="worse", detail=detail),
        )
        shown = " ".join(alice("policy", "history", "--limit", "1").stdout.split())
        assert "worse" in shown and "ROLLBACK after 24,080 requests" in shown and "to roll back 30" in shown

    def test_before_anything_it_is_said(self, alice: Line) -> None:
        """An empty audit is a state like others."""
        with_store(alice.settings, lambda store: store._redis.flushdb())
        assert alice("policy", "history").stdout == "policy alice: nothing happened yet\n"


class TestPin:
    def test_live_is_kept_and_let_go(self, alice: Line) -> None:
        """A pin keeps live whatever is published; without it the next publication may be live again."""
        assert moved(alice("policy", "pin", "--json", "--reason", "holidays")) == (True, 2, None, 2)
        assert (last(alice).kind, last(alice).fields["why"]) == ("pin", "holidays")
        assert "already: nothing to do" in alice("policy", "pin").stdout
        publish(alice.settings)
        assert head_of(alice).live == 2
        assert moved(alice("policy", "unpin", "--json")) == (True, 2, None, None)
        assert last(alice).kind == "unpin"
        assert "No version is pinned: nothing to do." in alice("policy", "unpin").stdout
        assert publish(alice.settings) == head_of(alice).live

    def test_redis_away_is_exit_code_3(self, alice: Line) -> None:
        """Without Redis nothing is moved, and it is said."""
        alice.flags["redis.url"] = "redis://127.0.0.1:1/0"
        assert alice("policy", "unpin").code == 3


async def test_a_wish_follows_live_when_it_moves(alice: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A publication between the look and the wish: the pin goes to what is live then, and never takes live back."""
    from worker.cli.policy_moves import pin_version

    read_head, published = Store.read_head, False

    async def late(store: Store) -> Head:
        nonlocal published
        head = await read_head(store)
        if not published:
            published = True
            await asyncio.to_thread(publish, alice.settings)
        return head

    monkeypatch.setattr(Store, "read_head", late)
    done = await pin_version(alice.settings, None, why="")
    assert (done.version, done.serving.live, done.serving.pinned) == (4, 4, 4)


async def test_a_lost_answer_is_no_nothing_to_do(alice: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the connection breaks after Redis did it, the repetition is told as what it is: done."""
    from worker.cli.policy_moves import pin_version, roll_back

    for name in ("promote", "rollback"):
        once = getattr(Store, name)

        async def twice(*arguments: Any, once: Any = once, **named: Any) -> Moved:
            assert (await once(*arguments, **named)).applied is Applied.OK
            again: Moved = await once(*arguments, **named)
            assert again.applied is Applied.ALREADY
            return again

        monkeypatch.setattr(Store, name, twice)
    assert (await pin_version(alice.settings, "1", why="")).said == "Version 1 is live now, and pinned."
    back = await roll_back(alice.settings, Stage.PROD, "2", why="")
    assert (back.changed, back.said) == (True, "Live went back from version 1 to 2, and is pinned there.")
