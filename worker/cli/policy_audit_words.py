"""Entries of the audit in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import exp
from typing import Any

__all__ = ["publishes_words", "verdict_words", "words_of"]

_LOG_MOST = 700.0  # beyond it an e-value is no double any more

_Fields = Mapping[str, str]


def words_of(kind: str, fields: _Fields, detail: Mapping[str, Any] | None) -> str:
    """What happened.

    Examples
    --------
    >>> words_of("promote", {"version": "7", "stage": "canary", "share": "0.05"}, None)
    'version 7 is the canary, for 5 % of the requests'
    >>> words_of("rollback", {"stage": "prod", "from": "9", "to": "8"}, None)
    'live went back from version 9 to 8, and is pinned there'
    >>> words_of("publish", {"version": "9", "live": "8"}, {"imported": {"file": "a.safetensors"}})
    'version 9 imported from a.safetensors, as a candidate'
    """
    spoken = _KINDS.get(kind)
    return spoken(fields, detail or {}) if spoken is not None else f"{kind} {fields.get('version', '')}".rstrip()


def publishes_words(entries: int, first: int, newest: int, went_live: int) -> str:
    """Publications in a row.

    Examples
    --------
    >>> publishes_words(118, 3, 120, 0), publishes_words(2, 1, 2, 2)
    ('118 publishes, versions 3 to 120, candidates', '2 publishes, versions 1 to 2, live')
    """
    live = {0: "candidates", entries: "live"}.get(went_live, f"{went_live:,} of them live")
    return f"{entries:,} publishes, versions {first} to {newest}, {live}"


def verdict_words(detail: Mapping[str, Any] | None) -> str:
    """The numbers of the gate's verdict behind a step; empty when there was none.

    Examples
    --------
    >>> effect = {"estimate": -0.021, "lower": -0.034, "upper": -0.008}
    >>> verdict_words({"verdict": {"decision": "ROLLBACK", "requests": 24080, "canary_requests": 1204,
    ...     "policies": effect, "arms": effect, "log_e_promote": -3.0, "log_e_rollback": 3.4, "log_e_ratio": 0.0}})
    'ROLLBACK after 24,080 requests, 1,204 of them to the canary: policies differ by -0.021 [-0.034, -0.008], arms by \
-0.021 [-0.034, -0.008]; evidence to promote 0.0498, to roll back 30, of lost outcomes 1'
    """
    verdict = (detail or {}).get("verdict")
    if not isinstance(verdict, dict):
        return ""
    try:
        e_values = [exp(min(float(verdict[f"log_e_{name}"]), _LOG_MOST)) for name in ("promote", "rollback", "ratio")]
        return (
            f"{verdict['decision']} after {verdict['requests']:,} requests, "
            f"{verdict['canary_requests']:,} of them to the canary: "
            f"policies differ by {_effect(verdict['policies'])}, arms by {_effect(verdict['arms'])}; "
            f"evidence to promote {e_values[0]:.3g}, to roll back {e_values[1]:.3g}, of lost outcomes {e_values[2]:.3g}"
        )
    except (KeyError, TypeError, ValueError):  # of a version that writes down other numbers
        return str(verdict.get("decision", ""))


def _effect(effect: Mapping[str, float]) -> str:
    return f"{effect['estimate']:+.3g} [{effect['lower']:+.3g}, {effect['upper']:+.3g}]"


def _published(fields: _Fields, detail: Mapping[str, Any]) -> str:
    live = fields.get("live") == fields.get("version")
    imported = detail.get("imported")
    how = f"imported from {imported.get('file')}" if isinstance(imported, dict) else "published"
    return f"version {fields.get('version')} {how}, {'live' if live else 'as a candidate'}"


def _took_over(fields: _Fields, detail: Mapping[str, Any]) -> str:
    return f"lineage {fields.get('lineage')} took over with version {fields.get('version')}"


def _promoted(fields: _Fields, detail: Mapping[str, Any]) -> str:
    version = fields.get("version")
    if fields.get("stage") == "canary":
        share = float(fields.get("share") or 0)
        serves = f"for {100 * share:.3g} % of the requests" if share else "as a shadow that serves nobody"
        return f"version {version} is the canary, {serves}"
    return f"version {version} is live{', pinned' if fields.get('pinned') == version else ''}"


def _pinned(fields: _Fields, detail: Mapping[str, Any]) -> str:
    return f"version {fields.get('version')} pinned"


def _unpinned(fields: _Fields, detail: Mapping[str, Any]) -> str:
    return f"version {fields.get('version')} not pinned any more"


def _rolled_back(fields: _Fields, detail: Mapping[str, Any]) -> str:
    taken, to = fields.get("from"), fields.get("to")
    if fields.get("stage") == "canary":
        return f"canary withdrawn, version {taken}"
    if taken == to:
        return f"live stays version {to}, and is pinned"
    return f"live went back from version {taken} to {to}, and is pinned there"


def _restored(fields: _Fields, detail: Mapping[str, Any]) -> str:
    live = fields.get("live")
    return f"lineage {fields.get('lineage')} restored from a savepoint" + (f", version {live} is live" if live else "")


_KINDS: Mapping[str, Callable[[_Fields, Mapping[str, Any]], str]] = {
    "publish": _published,
    "takeover": _took_over,
    "promote": _promoted,
    "pin": _pinned,
    "unpin": _unpinned,
    "rollback": _rolled_back,
    "restore": _restored,
}
