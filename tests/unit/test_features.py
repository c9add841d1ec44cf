"""Features: the same integers for one context and for a column of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alice_rl.errors import ConfigError
from alice_rl.events import Context
from alice_rl.feature_spec import FeatureSettings, Numeric
from alice_rl.features import CLIP, UNIT, Featuriser

amounts = st.one_of(st.none(), st.floats(0, 1e9), st.integers(0, 100_000).map(float))
contexts = st.builds(
    Context,
    intent=st.sampled_from(("weather", "väder", "", "x" * 64)),
    lang=st.sampled_from((None, "sv", "en")),
    guardian_state=st.sampled_from((None, "NORMAL", "LOCKDOWN")),
    text_len=amounts,
    confidence=st.one_of(st.none(), st.floats(0, 1)),
    recent_latency_ms=amounts,
    recent_cost_usd=amounts,
)


@given(st.lists(contexts, max_size=20))
def test_client_and_learner_see_the_same_integers(batch: list[Context]) -> None:
    """The columns of a batch hold, row by row, what each context alone gives."""
    featuriser = Featuriser(FeatureSettings())
    rows = featuriser.design(batch).rows()
    for context, row in zip(batch, rows, strict=True):
        assert np.array_equal(Featuriser(FeatureSettings()).x(context) * UNIT, row)


@given(contexts)
def test_entries_are_bounded(context: Context) -> None:
    """No entry exceeds 16, so that products of batches stay exact."""
    assert np.abs(Featuriser(FeatureSettings()).design([context]).rows()).max() <= CLIP


@given(st.floats(0, 8e6))
def test_log1p_is_rounded_to_the_nearest_step(value: float) -> None:
    """The thresholds agree with the logarithm to within rounding at the middle between two steps."""
    featuriser = Featuriser(FeatureSettings(numerics=(Numeric("text_len", "log1p"),)))
    _, [level] = featuriser.split(Context("x", text_len=value))
    assert abs(level - min(256 * math.log1p(value), CLIP)) <= 0.5 + 1e-9


def test_missing_numerics_have_an_indicator() -> None:
    """An absent number is 0 with its indicator set; a present 0 is 0 without it."""
    featuriser = Featuriser(FeatureSettings())
    first = featuriser.spec.dim - 8
    assert featuriser.x(Context("x"))[first:].tolist() == [0, 1] * 4
    present = Context("x", text_len=0, confidence=0, recent_latency_ms=0, recent_cost_usd=0)
    assert featuriser.x(present)[first:].tolist() == [0] * 8


def test_fingerprint_is_fixed() -> None:
    """The default specification has the fingerprint it was released with: a change of it is a new lineage."""
    assert FeatureSettings().fingerprint == "59f07acb44e77afa67bd9cd21fd58c8969f6a22de02549d59dc932e3cef4b039"


def test_hash_is_fixed() -> None:
    """The hashed slots of a known context never move."""
    x = Featuriser(FeatureSettings()).x(Context("weather", "sv", "NORMAL"))[1:65]
    assert {int(i): int(x[i]) for i in np.flatnonzero(x)} == {6: -1, 10: 1, 13: 1, 16: 1, 60: -1}


def test_appended_numerics_keep_the_rest_in_place() -> None:
    """A new numeric goes to the end: the entries before it stay what they were."""
    short = FeatureSettings(numerics=(Numeric("text_len", "log1p"),))
    long = FeatureSettings(numerics=(Numeric("text_len", "log1p"), Numeric("confidence")))
    context = Context("weather", "sv", text_len=34, confidence=0.5)
    assert Featuriser(long).x(context)[: short.dim].tolist() == Featuriser(short).x(context).tolist()


def test_unusable_settings_are_refused() -> None:
    """A hash size that is no power of two, and a field named twice, are refused with what to do."""
    with pytest.raises(ConfigError, match="use 64 or 128"):
        FeatureSettings(feature_dim=100)
    with pytest.raises(ConfigError, match="twice"):
        FeatureSettings(numerics=(Numeric("text_len"), Numeric("text_len", "log1p")))
