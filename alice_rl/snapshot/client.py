"""What an orchestrator decides with: policies from Redis, distributions in process, decisions in microseconds.

    client = PolicyClient.from_url("redis://127.0.0.1:6379/0")
    decision = client.decide({"intent": "weather", "lang": "sv", "text_len": 34}, tools=["weather.lookup", "none"])
    decision.route.arm, decision.route.p, decision.to_event()

`decide` does no I/O and does not raise. A background thread (`refresher.py`) keeps the policies fresh;
without Redis the last good ones stay, and before the first one the rules decide.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from time import monotonic, time_ns
from typing import Any, Self

from alice_rl.events import Context, Decision, PolicyStamp, SlotChoice
from alice_rl.lineage import Arms
from alice_rl.log import get_logger
from alice_rl.online.exploration import draw, uniform, uniforms
from alice_rl.slots import GuardianSettings
from alice_rl.snapshot.contexts import ContextReader
from alice_rl.snapshot.fallbacks import Fallbacks
from alice_rl.snapshot.format import Snapshot
from alice_rl.snapshot.inputs import Offer, is_identity, is_session, is_time, offered_names
from alice_rl.snapshot.policy import Policy
from alice_rl.snapshot.reader import HeadReader
from alice_rl.snapshot.refresher import Refresher, SnapshotReader
from alice_rl.snapshot.rules import Rules, RulesSettings
from alice_rl.snapshot.serving import Loaded, Serving, Side
from alice_rl.snapshot.uuid7 import uuid7

__all__ = ["PolicyClient"]

_FALLBACK = PolicyStamp("fallback")
_HOLDOUT = b"holdout"
_log = get_logger(__name__)


class PolicyClient:
    """Decides; may be shared between threads.

    Parameters
    ----------
    reader : SnapshotReader, optional
        Where policies come from; closed with the client. None decides by the rules alone, or by what `serve`
        is given.
    policy : str
        Name of the policy; it also salts the draws.
    rules : Rules or RulesSettings, optional
        What decides while no policy can, and on the turns that the live policy holds out.
    arms : Arms, optional
        The configured arms, for the rules before the first snapshot; without them, what is offered is
        believed.
    guardian : dict of str to Restriction, optional
        What guardian states allow before the first snapshot brings its own restrictions.
    signing_key : bytes or str, optional
        With one, only snapshots that were signed with it are adopted.
    poll_seconds : float
        Mean time between two looks at the head; each lies within a third of it.

    Notes
    -----
    Make the client after a fork: the refresher's thread does not live on in a child process, which would keep
    deciding by the policy it was born with (`stats()["refreshing"]` is then False).
    """

    def __init__(
        self,
        reader: SnapshotReader | None = None,
        policy: str = "alice",
        *,
        rules: Rules | RulesSettings | None = None,
        arms: Arms | None = None,
        guardian: GuardianSettings | None = None,
        signing_key: bytes | str | None = None,
        poll_seconds: float = 0.75,
    ) -> None:
        self.policy = policy
        self._salt = policy.encode()[:64]
        self._rules = rules if isinstance(rules, Rules) else Rules(rules)
        self._arms = arms
        self._guardian = guardian if guardian is not None else {}
        self._contexts = ContextReader()
        self._fallbacks = Fallbacks()
        self._lock = threading.Lock()
        self._decided = self._held_out = 0
        self._closed = False
        self._serving: Serving | None = None
        self._ready = threading.Event()
        self._refresher: Refresher | None = None
        if reader is not None:
            key = (signing_key.encode() if isinstance(signing_key, str) else signing_key) or None
            self._refresher = Refresher(reader, self._adopt, signing_key=key, poll_seconds=poll_seconds)
            _log.info("client.started", policy=policy, poll_seconds=poll_seconds)
            self._refresher.start()

    @classmethod
    def from_url(cls, url: str, policy: str = "alice", *, timeout_seconds: float = 0.5, **options: Any) -> Self:
        """A client of the policies in a Redis; `options` as for the class.

        Raises
        ------
        ConfigError
            The URL cannot be used. A Redis that is away is no error: the rules decide until it comes.
        """
        return cls(HeadReader.from_url(url, policy, timeout_seconds=timeout_seconds), policy, **options)

    @classmethod
    def from_snapshot(
        cls, snapshot: Snapshot, *, canary: Snapshot | None = None, canary_share: float = 0.0, **options: Any
    ) -> Self:
        """A client of one snapshot (and perhaps a canary), without Redis; `options` as for the class."""
        client = cls(None, options.pop("policy", snapshot.manifest.policy), **options)
        client._adopt(Serving(Loaded.of(snapshot), Loaded.of(canary) if canary is not None else None, canary_share))
        return client

    def decide(
        self,
        context: Mapping[str, Any],
        tools: Iterable[str] | None = None,
        *,
        routes: Iterable[str] | None = None,
        caches: Iterable[str] | None = None,
        decision_id: str | None = None,
        session_id: str | None = None,
        ts_ms: int | None = None,
    ) -> Decision:
        """Decide all three slots of one turn.

        Parameters
        ----------
        context : mapping
            As on the wire. Bad values are dropped or clamped; without a usable intent the rules decide.
        tools, routes, caches : iterable of str, optional
            What is available now; all configured arms by default. Unknown names are passed over; where
            nothing known is left, the rules decide the slot.
        decision_id, session_id : str, optional
            A new UUID (version 7), and none.
        ts_ms : int, optional
            The clock's time.

        Returns
        -------
        Decision
            What the worker accepts, in any case; `policy.stage` says who decided, `stats()` and the log say
            why.
        """
        serving = self._serving
        known, mended = self._contexts.read(context)
        now_ms = ts_ms if ts_ms is not None and self._is(is_time, ts_ms, "time_replaced") else time_ns() // 1_000_000
        if decision_id is None or not self._is(is_identity, decision_id, "id_replaced"):
            decision_id = uuid7(now_ms)
        if session_id is not None and not self._is(is_session, session_id, "session_dropped"):
            session_id = None
        with self._lock:
            self._decided += 1
        if serving is None or known is None:
            self._fallbacks.note("not_loaded" if serving is None else "context_unusable", detail=mended)
            left = known if known is not None else self._contexts.remains(context)
            choices = self._by_rules(serving, left, (routes, tools, caches))
            return Decision(decision_id, now_ms, left, _FALLBACK, session_id, *choices)
        if mended:
            self._fallbacks.note("context_mended", detail=mended)
        if serving.holdout_share and uniform(decision_id, self._salt, _HOLDOUT) < serving.holdout_share:
            with self._lock:
                self._held_out += 1
            choices = self._by_rules(serving, known, (routes, tools, caches))
            return Decision(decision_id, now_ms, known, serving.held_out, session_id, *choices)
        u_canary, u_route, u_tool, u_cache = uniforms(decision_id, self._salt)
        side = serving.canary_side if u_canary < serving.canary_share else serving.live_side
        return Decision(
            decision_id,
            now_ms,
            known,
            side.stamp,
            session_id,
            self._choice("route", side, known, routes, u_route),
            self._choice("tool", side, known, tools, u_tool),
            self._choice("cache", side, known, caches, u_cache),
        )

    @property
    def version(self) -> int | None:
        """Version of the live policy, None while the rules decide."""
        return None if (serving := self._serving) is None else serving.live.version

    @property
    def digest(self) -> str | None:
        """Digest of the live policy, None while the rules decide."""
        return None if (serving := self._serving) is None else serving.live.digest

    @property
    def age_seconds(self) -> float | None:
        """Time since the live policy was loaded, None while the rules decide."""
        return None if (serving := self._serving) is None else monotonic() - serving.live.loaded_at

    def wait_ready(self, timeout: float | None = None) -> bool:
        """Whether a policy is loaded, waiting for it up to `timeout` seconds."""
        return self._ready.wait(timeout)

    def stats(self) -> dict[str, Any]:
        """How things stand: policies, counts of decisions and of what fell back by reason, state of the refresher."""
        serving = self._serving
        counts = self._fallbacks.counts
        canary = serving.canary if serving is not None else None
        return {
            "policy": self.policy,
            "version": self.version,
            "digest": self.digest,
            "age_seconds": self.age_seconds,
            "created_at_ms": serving.live.policy.manifest.created_at_ms if serving is not None else None,
            "canary_version": canary.version if canary is not None else None,
            "canary_share": serving.canary_share if serving is not None else 0.0,
            "holdout_share": serving.holdout_share if serving is not None else 0.0,
            "decisions_total": self._decided,
            "held_out_total": self._held_out,
            "fallbacks_total": sum(counts.values()),
            "fallbacks": counts,
            "last_fallback": self._fallbacks.last_reason,
            **(self._refresher.stats() if self._refresher is not None else {"refreshing": False}),
        }

    def close(self) -> None:
        """End the refresher and give its connections back. The client goes on deciding with what it has."""
        with self._lock:
            closed, self._closed = self._closed, True
        if closed:
            return
        if self._refresher is not None:
            self._refresher.close()
        fallen = sum(self._fallbacks.counts.values())
        _log.info("client.closed", policy=self.policy, decisions_total=self._decided, fallbacks_total=fallen)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _adopt(self, serving: Serving) -> None:
        """Serve from now on; what the old policies were asked for lately is prepared first."""
        if self._serving is not None:
            serving.warm(self._serving)
        self._serving = serving
        self._ready.set()

    def _choice(self, slot: str, side: Side, context: Context, arms: Iterable[str] | None, u: float) -> SlotChoice:
        """One slot by a policy; by the rules where it knows none of the arms."""
        offered = None if arms is None else offered_names(arms)
        policy = side.policy
        menu = policy.menus[slot].get(offered, context.guardian_state)
        if menu is None:
            names = ", ".join(repr(arm[:64]) for arm in (offered or ())[:8])
            self._fallbacks.note("arms_unknown", slot=slot, detail=names)
            arm = self._rule(slot, policy, context)
            choice = SlotChoice(arm, (arm,), 1.0, 1.0)
        else:
            if menu.unmet:
                self._fallbacks.note("guardian_unmet", slot=slot, detail=str(context.guardian_state))
            spread = policy.spreads[slot](context, menu)
            choice = spread.choices[draw(spread.pi, u)]
        if side.other is None:
            return choice
        p_other = self._probability(slot, side.other, context, offered, choice.arm)
        p_live, p_canary = (p_other, choice.p) if side.is_canary else (choice.p, p_other)
        return SlotChoice(choice.arm, choice.available, choice.p, p_live, p_canary)

    def _probability(self, slot: str, policy: Policy, context: Context, offered: Offer, arm: str) -> float:
        """How likely `policy` would have been to serve `arm`."""
        menu = policy.menus[slot].get(offered, context.guardian_state)
        if menu is None:
            return float(self._rule(slot, policy, context) == arm)
        return policy.spreads[slot](context, menu).p(arm)

    def _rule(self, slot: str, policy: Policy, context: Context) -> str:
        """The rules' arm where nothing known was offered: one of the configured arms that the guardian leaves."""
        everything = policy.menus[slot].get(None, context.guardian_state)
        return self._rules.choose(slot, context.intent, everything.arms if everything is not None else ())

    def _by_rules(
        self, serving: Serving | None, context: Context, offers: tuple[Iterable[str] | None, ...]
    ) -> list[SlotChoice]:
        """The whole turn by the rules, among the arms of the live policy, if there is one."""
        if serving is None:
            return self._rules.turn(context, offers, self._arms, self._guardian)
        manifest = serving.live.policy.manifest
        return self._rules.turn(context, offers, manifest.arms, manifest.guardian)

    def _is(self, check: Callable[[object], bool], value: object, otherwise: str) -> bool:
        """Whether the value passes; noted under the reason `otherwise` if not."""
        if check(value):
            return True
        self._fallbacks.note(otherwise, detail=repr(value[:64]) if isinstance(value, str) else type(value).__name__)
        return False
