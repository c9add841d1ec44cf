"""A canary's numbers in words that need no statistics."""

from __future__ import annotations

from math import exp

from alice_rl.online.canary import Effect
from worker.cli.output import number_words

__all__ = ["alpha_words", "chance_words", "difference_words", "evidence", "odds_words", "range_words", "share_words"]

_LOG_MOST = 700.0  # the largest whose e-value is still a number
_MILLION = 1e6


def share_words(share: float) -> str:
    """A share of the requests.

    Examples
    --------
    >>> share_words(0.05), share_words(0.0408), share_words(0.5), share_words(0.0004)
    ('5 %', '4.08 %', '50 %', '0.04 %')
    """
    return f"{100 * share:.3g} %"


def evidence(log_e: float) -> float:
    """An e-value, of its logarithm."""
    return exp(min(log_e, _LOG_MOST))


def odds_words(log_e: float) -> str:
    """An e-value: what a fair bet of 1 has become.

    Examples
    --------
    >>> odds_words(0.0), odds_words(3.4), odds_words(-9.0), odds_words(25.0)
    ('1.0', '30', 'less than 0.001', 'more than a million')
    """
    value = evidence(log_e)
    if value > _MILLION:
        return "more than a million"
    if value >= 10:
        return number_words(value)
    return f"{value:.1f}" if value >= 0.1 else f"{value:.3f}" if value >= 0.001 else "less than 0.001"


def chance_words(probability: float) -> str:
    """In how many trials something happens.

    Examples
    --------
    >>> chance_words(0.05), chance_words(0.001), chance_words(0.03)
    ('one of 20 trials', 'one of 1,000 trials', 'one of 33 trials')
    """
    return f"one of {number_words(1 / probability)} trials"


def alpha_words(alpha: float) -> str:
    """What an e-value has to reach.

    Examples
    --------
    >>> alpha_words(0.05)
    '20'
    """
    return number_words(1 / alpha)


def difference_words(effect: Effect, other: str, centre: float = 0.0) -> str:
    """A difference in reward, and what part of a centre it is.

    Examples
    --------
    >>> difference_words(Effect(0.0412, 0.01, 0.07), "another", centre=1.25)
    '0.041 more than another (3.3 % of 1.250)'
    >>> difference_words(Effect(-0.3, -0.4, -0.2), "that"), difference_words(Effect(0.0, -0.1, 0.1), "that")
    ('0.300 less than that', 'as much as that')
    """
    size = abs(effect.estimate)
    if round(size, 3) == 0.0:
        return f"as much as {other}"
    percent = 100 * size / centre if centre > 0.0 else 0.0
    part = f" ({percent:.{1 if percent < 10 else 0}f} % of {centre:.3f})" if percent else ""
    return f"{size:.3f} {'more' if effect.estimate > 0 else 'less'} than {other}{part}"


def range_words(effect: Effect) -> str:
    """Where the truth lies.

    Examples
    --------
    >>> range_words(Effect(0.0412, -0.01, 0.07))
    'between -0.010 and +0.070'
    """
    return f"between {effect.lower:+.3f} and {effect.upper:+.3f}"
