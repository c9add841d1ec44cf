"""A snapshot compiled for decisions: the exact distribution of each slot, for a context and what is available."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec
import numpy as np

from alice_rl.events import Context
from alice_rl.features import query_class
from alice_rl.online import epsilon_greedy
from alice_rl.online.exploration import draw, greedy, igw, linear_thompson, with_floor
from alice_rl.online.thompson import probability_best
from alice_rl.snapshot.format import Snapshot
from alice_rl.snapshot.menu import Menu, Menus, Spread
from alice_rl.snapshot.route import RouteScorer
from alice_rl.vocabulary import OTHER

__all__ = ["Policy"]

_SPREADS_MAX = 4096  # per slot; the table starts anew beyond it
_WARMED_MAX = 256  # of each table, the latest: what a new policy prepares before it serves

_convert = msgspec.convert


class Policy:
    """Distributions over arms, from one snapshot. Does not change, and is safe to share between threads.

    Parameters
    ----------
    snapshot : Snapshot

    Attributes
    ----------
    manifest : Manifest
    menus : dict of str to Menus
        Per slot, what a decision may choose from.
    spreads : dict of str to callable
        Per slot, the distribution for a context and a menu.

    Notes
    -----
    Everything that depends on few values is made once and kept in bounded tables. Two threads may make the
    same entry at the same time: both make the same one.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        manifest, how = snapshot.manifest, snapshot.manifest.exploration
        self.manifest = manifest
        self.menus = {
            slot: Menus(slot, getattr(manifest.arms, slot), manifest.max_share, manifest.guardian)
            for slot in ("route", "tool", "cache")
        }
        self.spreads = {"route": self.route_spread, "tool": self.tool_spread, "cache": self.cache_spread}
        self._route_menus = self.menus["route"]
        self._how = how
        self._is_ucb = how.route_rule == "ucb"
        scale = snapshot.route_alpha**2 if self._is_ucb else snapshot.route_noise
        self._scorer = RouteScorer(snapshot, scale, bounds_only=self._is_ucb)
        self._intent_rows = {name: row for row, name in enumerate(manifest.intents)}
        self._tool_a, self._tool_b = snapshot.tool_a, snapshot.tool_b
        self._class_rows = {name: row for row, name in enumerate(manifest.classes)}
        self._cache_mean, self._cache_n = snapshot.cache_mean, snapshot.cache_n
        self._class_fields = manifest.cache_class
        self._by_intent = manifest.cache_class == ("intent",)
        self._tool_spreads: dict[tuple[int, Menu], Spread] = {}
        self._cache_spreads: dict[tuple[int, Menu], Spread] = {}

    def route(
        self, context: Mapping[str, object] | Context, u: float, available: Sequence[str] | None = None
    ) -> tuple[str, float]:
        """The route's arm that `u` draws, and its probability.

        Parameters
        ----------
        context : mapping or Context
            As on the wire.
        u : float in [0, 1)
            Uniform.
        available : sequence of str, optional
            All arms by default.

        Raises
        ------
        msgspec.ValidationError
            The context is not as on the wire; `PolicyClient.decide` mends it instead.
        ValueError
            None of the available arms is known.
        """
        known = context if type(context) is Context else _convert(context, Context)
        menu = self._route_menus.get(None if available is None else tuple(available), known.guardian_state)
        if menu is None:
            raise ValueError(f"no arm of the route is among {available}")
        spread = self.route_spread(known, menu)
        k = draw(spread.pi, u)
        return menu.arms[k], spread.pi[k]

    def distribution(self, slot: str, context: Context, available: Sequence[str] | None = None) -> dict[str, float]:
        """The probability of each arm of a slot; empty when none of the available arms is known."""
        menu = self.menus[slot].get(None if available is None else tuple(available), context.guardian_state)
        return {} if menu is None else dict(zip(menu.arms, self.spreads[slot](context, menu).pi, strict=True))

    def route_spread(self, context: Context, menu: Menu) -> Spread:
        """The route: linear scores by the configured rule, with a floor."""
        if not self._is_ucb:
            return menu.spread(with_floor(self._route_posterior(context, menu), self._how.route_floor))
        bounds = self._scorer.bounds(context)
        if not menu.everything:
            bounds = [bounds[k] for k in menu.index]
        best = max(bounds)
        if bounds.count(best) == 1:
            at = bounds.index(best)
            return menu.winners[at] or self._route_winner(menu, at)
        return menu.spread(with_floor(greedy(bounds), self._how.route_floor))

    def tool_spread(self, context: Context, menu: Menu) -> Spread:
        """The tool: the exact probability of each to be the best for the intent, with a floor."""
        row = self._intent_rows.get(context.intent)
        if row is None:
            row = self._intent_rows.get(OTHER, len(self._intent_rows))
        return self._tool_spreads.get((row, menu)) or self._make_tool_spread(row, menu)

    def cache_spread(self, context: Context, menu: Menu) -> Spread:
        """The cache: the best tier for the query class, with the class's epsilon."""
        name = context.intent if self._by_intent else query_class(context, self._class_fields)
        row = self._class_rows.get(name)
        if row is None:
            row = self._class_rows.get(OTHER, len(self._class_rows))
        return self._cache_spreads.get((row, menu)) or self._make_cache_spread(row, menu)

    def warm(self, old: Policy) -> None:
        """Prepare what `old` was asked for lately, so that the first decisions are as quick as the later ones."""
        if old.manifest.features == self.manifest.features:
            for key in old._scorer.keys[-_WARMED_MAX:]:
                self._scorer.learn(key)
        for intent, arms in old.tools_asked():
            menu = self.menus["tool"].get(arms, None)
            if menu is not None:
                self.tool_spread(Context(intent), menu)

    def tools_asked(self) -> Iterable[tuple[str, tuple[str, ...]]]:
        """Intents and sets of tools that were asked for, the latest last; an intent without a row is empty."""
        names = {row: name for name, row in self._intent_rows.items()}
        return [(names.get(row, ""), menu.arms) for row, menu in list(self._tool_spreads)[-_WARMED_MAX:]]

    def _route_winner(self, menu: Menu, best: int) -> Spread:
        alone = [float(k == best) for k in range(len(menu.arms))]
        spread = menu.winners[best] = menu.spread(with_floor(alone, self._how.route_floor))
        return spread

    def _route_posterior(self, context: Context, menu: Menu) -> list[float]:
        means, sds = self._scorer.posteriors(context)
        means, sds = [means[k] for k in menu.index], [sds[k] for k in menu.index]
        if self._how.route_rule == "thompson":
            return linear_thompson(means, sds)
        return igw(means, sds, self._how.route_gamma)

    def _make_tool_spread(self, row: int, menu: Menu) -> Spread:
        at = list(menu.index)
        pi = probability_best(self._tool_a[row, at], self._tool_b[row, at]).tolist()
        spread = menu.spread(with_floor(pi, self._how.tool_floor))
        self._tool_spreads = _kept(self._tool_spreads, (row, menu), spread)
        return spread

    def _make_cache_spread(self, row: int, menu: Menu) -> Spread:
        how, means = self._how, self._cache_mean[row, list(menu.index)].tolist()
        n = float(np.sum(self._cache_n[row]))
        eps = epsilon_greedy.epsilon(n, how.cache_epsilon_start, how.cache_epsilon_floor, how.cache_half_after)
        spread = menu.spread(epsilon_greedy.distribution(means, eps))
        self._cache_spreads = _kept(self._cache_spreads, (row, menu), spread)
        return spread


def _kept(
    table: dict[tuple[int, Menu], Spread], key: tuple[int, Menu], spread: Spread
) -> dict[tuple[int, Menu], Spread]:
    """The table with one more entry; a new table when it is full."""
    if len(table) >= _SPREADS_MAX:
        table = {}
    table[key] = spread
    return table
