"""Context to feature vector `x`: hashed categoricals and quantised numerics, the same integers for learner and client.

    x = [1 | signed hashes of categoricals and interactions (feature_dim) | value and missing-indicator per numeric]

Every entry is an integer in units of 1/256, clipped to |x| <= 16, so that sums of products are sums of integers. A row
splits into a *static* part, which depends on the categoricals and on which numerics are missing and is looked up, and
the few numerics that differ from turn to turn. Learner and client share this one module, and the spec's fingerprint
travels in every snapshot: train/serve skew has nowhere to live.

Only what is known before the decision can be a feature: the numerics named here are fields of `Context`, and this
turn's own latency, cost and arms are not.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Sequence
from decimal import Decimal, localcontext
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from alice_rl.feature_spec import FeatureSettings

__all__ = ["CLIP", "UNIT", "ContextLike", "Design", "Featuriser", "query_class"]

IntArray = npt.NDArray[np.int64]

UNIT = 256  # steps per 1.0: x_int = 256 x
CLIP = 16 * UNIT  # |x_int| <= 4096 = 2^12, which bounds every product the moments add up
_CATEGORICALS = attrgetter("intent", "lang", "guardian_state")
_STATIC_ROWS_MAX = 16_384  # distinct static parts kept; the table starts anew beyond it (it is a cache, not state)


class ContextLike(Protocol):
    """What a turn looked like before it was decided: the fields that features may name."""

    @property
    def intent(self) -> str: ...
    @property
    def lang(self) -> str | None: ...
    @property
    def guardian_state(self) -> str | None: ...
    @property
    def text_len(self) -> float | None: ...
    @property
    def confidence(self) -> float | None: ...
    @property
    def recent_latency_ms(self) -> float | None: ...
    @property
    def recent_cost_usd(self) -> float | None: ...


class Design(NamedTuple):
    """The rows of a batch in factored form: `x_i = table[codes_i]`, plus `numerics_i` at the positions `columns`.

    `table` ndarray, shape (U, d), float64 holding integers, a row per combination of categoricals; `codes` (N,);
    `numerics` (N, 2q) int64, the values and then the missing-indicators; `columns` (2q,).
    """

    table: npt.NDArray[np.float64]
    codes: IntArray
    numerics: IntArray
    columns: IntArray

    def rows(self) -> IntArray:
        """The batch written out, ndarray, shape (N, d), in units of 1/256."""
        x = self.table[self.codes].astype(np.int64)
        x[:, self.columns] += self.numerics
        return x


class Featuriser:
    """Turns contexts into `x`: one at a time for a decision, as columns for the fold.

    Parameters
    ----------
    spec : FeatureSettings

    Examples
    --------
    >>> from alice_rl.events import Context
    >>> featuriser = Featuriser(FeatureSettings())
    >>> context = Context(intent="weather", lang="sv", text_len=34)
    >>> design = featuriser.design([context])
    >>> x = design.rows()[0]
    >>> int(x[0]), x.shape
    (256, (73,))
    >>> bool((featuriser.x(context) * 256 == x).all())
    True
    """

    def __init__(self, spec: FeatureSettings) -> None:
        self.spec = spec
        self._levels = tuple(_log1p_levels() if n.transform == "log1p" else None for n in spec.numerics)
        self._level_arrays = tuple(None if levels is None else np.array(levels) for levels in self._levels)
        self._steps = [(levels, n.scale) for levels, n in zip(self._levels, spec.numerics, strict=True)]
        self._values = _reader([n.name for n in spec.numerics])
        self._none_missing = "0" * len(spec.numerics)
        self._first_numeric = 1 + spec.feature_dim
        self.columns: IntArray = self._first_numeric + 2 * np.arange(len(spec.numerics), dtype=np.int64)
        self.columns.setflags(write=False)
        self._values_of = [attrgetter(n.name) for n in spec.numerics]
        self._design_columns = np.concatenate((self.columns, self.columns + 1))  # values, then missing-indicators
        self._codes: dict[tuple[str | None, ...], int] = {}
        self._table = np.zeros((64, spec.dim))

    def split(self, context: ContextLike) -> tuple[tuple[str | None, ...], list[int]]:
        """What one context's `x` is made of: the key of its static part, and its numerics.

        Returns
        -------
        tuple
            The categoricals and which numerics are missing, and the numerics in units of 1/256, length q; a missing
            one is 0.
        """
        values = self._values(context)
        key = (context.intent, context.lang, context.guardian_state, self._mask(values))
        return key, self._quantised(values)

    def _mask(self, values: tuple[float | None, ...]) -> str:
        return "".join(["01"[v is None] for v in values]) if None in values else self._none_missing

    def static(self, key: tuple[str | None, ...]) -> IntArray:
        """The static part of `x` for a key as `split` gives it, ndarray, shape (d,), in units of 1/256."""
        intent, lang, guardian_state, missing = key
        values = {"intent": intent, "lang": lang, "guardian_state": guardian_state}
        x = np.zeros(self.spec.dim, dtype=np.int64)
        x[0] = UNIT
        for names in (*((name,) for name in self.spec.categoricals), *self.spec.interactions):
            index, sign = _signed_slot("*".join(names), "*".join(values[n] or "" for n in names), self.spec.feature_dim)
            x[1 + index] += sign * UNIT
        for i, flag in enumerate(missing or ""):
            x[self._first_numeric + 2 * i + 1] = UNIT * (flag == "1")
        return np.clip(x, -CLIP, CLIP)

    def _quantised(self, values: tuple[float | None, ...]) -> list[int]:
        quantised: list[int] = []
        for value, (levels, scale) in zip(values, self._steps):  # noqa: B905  (equal lengths; the flag costs a tenth)
            if value is None:
                quantised.append(0)
            elif levels is not None:
                quantised.append(bisect_right(levels, value * scale))
            else:
                value *= scale
                # Clipping a value within the range changes nothing, and the comparison is cheaper than min and max.
                quantised.append(round(value * UNIT) if -16.0 <= value <= 16.0 else (CLIP if value > 0 else -CLIP))
        return quantised

    def x(self, context: ContextLike) -> npt.NDArray[np.float64]:
        """The feature vector of one context in natural units, ndarray, shape (d,)."""
        key, numerics = self.split(context)
        x = self.static(key).astype(np.float64)
        x[self.columns] += numerics
        return x / UNIT

    def design(self, contexts: Sequence[ContextLike]) -> Design:
        """The feature rows of a batch, in factored form.

        Notes
        -----
        The table of static parts outlives the batch: an assistant has some hundreds of them, so that a row costs one
        look-up.
        """
        q = len(self.spec.numerics)
        columns = [list(map(value_of, contexts)) for value_of in self._values_of]
        values = np.array(columns, dtype=np.float64).reshape(q, len(contexts))  # an absent one is NaN
        missing = np.isnan(values)
        steps = np.zeros((2 * q, len(contexts)), dtype=np.int64)
        steps[q:] = UNIT * missing
        for i, (numeric, levels) in enumerate(zip(self.spec.numerics, self._level_arrays, strict=True)):
            column = np.where(missing[i], 0.0, values[i]) * numeric.scale
            if levels is None:
                steps[i] = np.rint(np.clip(column, -16.0, 16.0) * UNIT)
            else:
                steps[i] = np.searchsorted(levels, column, side="right")
        codes = self._codes_of(contexts)  # may grow the table
        return Design(self._table, codes, steps.T, self._design_columns)

    def renew(self) -> None:
        """Start the table of static parts anew if it has grown too long; designs made before must be used up."""
        if len(self._codes) > _STATIC_ROWS_MAX:
            self._codes.clear()

    def _codes_of(self, contexts: Sequence[ContextLike]) -> IntArray:
        """The row of each context's categoricals in the table; ndarray, shape (N,)."""
        keys = list(map(_CATEGORICALS, contexts))
        codes = list(map(self._codes.get, keys))
        if None in codes:
            codes = [self._code(key) for key in keys]
        return np.array(codes, dtype=np.int64)

    def _code(self, key: tuple[str | None, ...]) -> int:
        """The row of a static part in the table; one that is met for the first time is given the next."""
        code = self._codes.get(key)
        if code is None:
            code = self._codes[key] = len(self._codes)
            if code == len(self._table):
                self._table = np.concatenate((self._table, np.zeros_like(self._table)))
            self._table[code] = self.static((*key, ""))
        return code


def query_class(context: object, fields: tuple[str, ...]) -> str:
    """The query class of a context: its class fields, joined.

    Examples
    --------
    >>> from alice_rl.events import Context
    >>> query_class(Context(intent="weather", lang="sv"), ("intent", "lang"))
    'weather|sv'
    """
    return "|".join(getattr(context, field) or "" for field in fields)


def _signed_slot(name: str, value: str, slots: int) -> tuple[int, int]:
    """Slot and sign of `name=value` by the signed hashing trick (Weinberger et al. 2009): low bits and the top bit."""
    digest = int.from_bytes(hashlib.blake2b(f"{name}={value}".encode(), digest_size=8).digest(), "little")
    return digest & (slots - 1), 1 if digest >> 63 else -1


def _reader(names: Sequence[str]) -> Callable[[ContextLike], tuple[float | None, ...]]:
    """A function that reads the named fields of a context, in C where there are any."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda context: tuple(getattr(context, name) for name in names)


@lru_cache(maxsize=1)
def _log1p_levels() -> list[float]:
    """Thresholds t with `round(256 log1p(v)) == bisect_right(t, v)`, clipped at 16.

    Notes
    -----
    Comparing with fixed thresholds keeps the integer features bit-identical on every machine: `log1p` itself may
    differ in the last place between a C library and a vector unit. The thresholds come from decimal arithmetic, which
    rounds the same everywhere.
    """
    with localcontext() as context:
        context.prec = 40
        step = (Decimal(1) / UNIT).exp()
        threshold = (Decimal(1) / (2 * UNIT)).exp()
        levels = []
        for _ in range(CLIP):
            levels.append(float(threshold - 1))
            threshold *= step
    return levels
