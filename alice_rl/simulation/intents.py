"""What users ask for: the numbers per intent, the one place where the world's shape is chosen.

The rows are hand-set so that the world's targets hold on every seed (the tests of `world.py` state them): a
seed jitters them by a few per cent and never reorders the arms.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = [
    "GUARDIAN_STATES",
    "INTENTS",
    "LANGUAGES",
    "NO_TOOL",
    "ROUTES",
    "TIERS",
    "TOOLS",
    "ZIPF_EXPONENT",
    "Intent",
    "Repeats",
    "RouteFit",
    "Shift",
    "Text",
    "ToolFit",
    "drifted",
]

ROUTES = ("micro", "planner", "deep")
TIERS = ("L1", "L2", "L3")
LANGUAGES = ("sv", "en")
GUARDIAN_STATES = ("NORMAL", "BROWNOUT", "LOCKDOWN")
NO_TOOL = "none"
TOOLS = (
    NO_TOOL,
    "search.web",
    "search.docs",
    "weather.lookup",
    "home.control",
    "music.play",
    "email.api",
    "calendar.api",
    "code.run",
)


class Text(NamedTuple):
    """What users write.

    Attributes
    ----------
    chars : float
        Median length of a short text, characters.
    long_share : float
        Share of long texts, those with pasted material.
    confidence : float
        Mean confidence of the intent classifier.
    terse : bool
        Whether texts are so short that semantic neighbours are noise.
    """

    chars: float
    long_share: float
    confidence: float
    terse: bool = False


class ToolFit(NamedTuple):
    """The tool that does the job and the plausible one usually offered beside it, with how often each works.

    `right_ok` says nothing where `right` is `none`: no tool runs then.
    """

    right: str
    right_ok: float
    second: str
    second_ok: float


class Shift(NamedTuple):
    """What is added to micro's and planner's chance of success, and the factor on micro's latency."""

    micro: float
    planner: float
    micro_slower: float


class RouteFit(NamedTuple):
    """How each route does on a short English text whose tool worked: chance of success, median latency (ms).

    `by_length` is what changes on a long text, `by_swedish` what changes in Swedish.
    """

    micro: float
    planner: float
    deep: float
    by_length: Shift
    by_swedish: Shift
    micro_ms: float
    planner_ms: float
    deep_ms: float


class Repeats(NamedTuple):
    """Shares of turns that repeat a query to the letter or in other words, or meet a known dead end."""

    exact: float
    near: float
    dead: float


class Intent(NamedTuple):
    """One intent: its texts, and what suits it in each of the three slots."""

    name: str
    text: Text
    tools: ToolFit
    routes: RouteFit
    repeats: Repeats


# The k-th intent of _TEXTS has a share of the turns proportional to k ** -ZIPF_EXPONENT.
ZIPF_EXPONENT = 0.8
_TEXTS = {
    #                 chars  long  confidence
    "knowledge": Text(55.0, 0.40, 0.80),
    "weather":   Text(34.0, 0.00, 0.90),
    "home":      Text(38.0, 0.00, 0.88),
    "music":     Text(32.0, 0.00, 0.87),
    "email":     Text(70.0, 0.45, 0.82),
    "calendar":  Text(48.0, 0.00, 0.84),
    "greeting":  Text(12.0, 0.00, 0.95, terse=True),
    "summarise": Text(90.0, 0.55, 0.83),
    "time":      Text(18.0, 0.00, 0.93, terse=True),
    "translate": Text(60.0, 0.35, 0.89),
    "code":      Text(110., 0.00, 0.76),
    "travel":    Text(80.0, 0.00, 0.78),
    "math":      Text(40.0, 0.00, 0.86),
    "analysis":  Text(120., 0.00, 0.74),
}  # fmt: skip

_TOOL_FITS = {
    "knowledge": ToolFit("search.web", 0.90, "search.docs", 0.50),
    "weather": ToolFit("weather.lookup", 0.92, "search.web", 0.30),
    "home": ToolFit("home.control", 0.90, "calendar.api", 0.15),
    "music": ToolFit("music.play", 0.91, "search.web", 0.25),
    "email": ToolFit("email.api", 0.89, "search.docs", 0.25),
    "calendar": ToolFit("calendar.api", 0.90, "email.api", 0.35),
    "greeting": ToolFit(NO_TOOL, 0.0, "search.web", 0.05),
    "summarise": ToolFit(NO_TOOL, 0.0, "search.docs", 0.10),
    "time": ToolFit(NO_TOOL, 0.0, "calendar.api", 0.20),
    "translate": ToolFit(NO_TOOL, 0.0, "search.web", 0.05),
    "code": ToolFit("code.run", 0.90, "search.docs", 0.30),
    "travel": ToolFit("search.web", 0.90, "calendar.api", 0.40),
    "math": ToolFit("code.run", 0.91, "search.web", 0.15),
    "analysis": ToolFit("code.run", 0.90, "search.docs", 0.35),
}

# Where length or Swedish matters it turns the tables: micro tries again and again, planner has work to plan.
_EVEN = Shift(0.0, 0.0, 1.0)
_LONG = Shift(-0.58, 0.56, 4.0)
_SWEDISH = Shift(-0.58, 0.56, 3.0)
_ROUTE_FITS = {
    #                     success of each route | by length, Swedish | median ms of each route
    "knowledge": RouteFit(0.67, 0.15, 0.45, _LONG, _EVEN,     270.0,  450.0, 6500.0),
    "weather":   RouteFit(0.66, 0.18, 0.45, _EVEN, _EVEN,     280.0,  800.0, 6250.0),
    "home":      RouteFit(0.15, 0.72, 0.45, _EVEN, _EVEN,     700.0,  430.0, 6400.0),
    "music":     RouteFit(0.66, 0.18, 0.45, _EVEN, _EVEN,     280.0,  800.0, 6300.0),
    "email":     RouteFit(0.67, 0.15, 0.45, _LONG, _EVEN,     280.0,  460.0, 6550.0),
    "calendar":  RouteFit(0.67, 0.15, 0.45, _EVEN, _SWEDISH,  270.0,  450.0, 6500.0),
    "greeting":  RouteFit(0.84, 0.35, 0.50, _EVEN, _EVEN,     150.0,  640.0, 6050.0),
    "summarise": RouteFit(0.82, 0.26, 0.50, _LONG, _EVEN,     240.0,  480.0, 6750.0),
    "time":      RouteFit(0.84, 0.35, 0.50, _EVEN, _EVEN,     150.0,  650.0, 6150.0),
    "translate": RouteFit(0.82, 0.26, 0.50, _LONG, _EVEN,     210.0,  440.0, 6400.0),
    "code":      RouteFit(0.12, 0.20, 0.76, _EVEN, _EVEN,    1700.0, 2300.0,  520.0),
    "travel":    RouteFit(0.15, 0.74, 0.45, _EVEN, _EVEN,     740.0,  460.0, 6800.0),
    "math":      RouteFit(0.67, 0.15, 0.45, _EVEN, _SWEDISH,  270.0,  440.0, 6400.0),
    "analysis":  RouteFit(0.10, 0.18, 0.76, _EVEN, _EVEN,    1800.0, 2400.0,  540.0),
}  # fmt: skip

_REPEATS = {
    "knowledge": Repeats(0.03, 0.77, 0.04),
    "weather": Repeats(0.04, 0.81, 0.03),
    "home": Repeats(0.04, 0.79, 0.03),
    "music": Repeats(0.04, 0.79, 0.03),
    "email": Repeats(0.02, 0.75, 0.03),
    "calendar": Repeats(0.03, 0.77, 0.03),
    "greeting": Repeats(0.81, 0.05, 0.02),
    "summarise": Repeats(0.02, 0.77, 0.03),
    "time": Repeats(0.81, 0.05, 0.02),
    "translate": Repeats(0.03, 0.79, 0.02),
    "code": Repeats(0.02, 0.06, 0.62),
    "travel": Repeats(0.02, 0.77, 0.04),
    "math": Repeats(0.04, 0.77, 0.03),
    "analysis": Repeats(0.02, 0.06, 0.62),
}

INTENTS = tuple(
    Intent(name, text, _TOOL_FITS[name], _ROUTE_FITS[name], _REPEATS[name]) for name, text in _TEXTS.items()
)
"""The intents, most frequent first."""

# What a drift does: in these intents micro and planner change places (a model was replaced), and the two
# search tools change places everywhere (an index moved).
_DRIFT_ROUTES = ("weather", "home", "music")
_DRIFT_TOOLS = {"search.web": "search.docs", "search.docs": "search.web"}


def drifted(intent: Intent) -> Intent:
    """The intent as it is after the drift.

    Examples
    --------
    >>> weather = INTENTS[1]
    >>> drifted(weather).routes.planner_ms == weather.routes.micro_ms
    True
    """
    tools, routes = intent.tools, intent.routes
    tools = tools._replace(
        right=_DRIFT_TOOLS.get(tools.right, tools.right), second=_DRIFT_TOOLS.get(tools.second, tools.second)
    )
    if intent.name in _DRIFT_ROUTES:
        routes = routes._replace(
            micro=routes.planner, planner=routes.micro, micro_ms=routes.planner_ms, planner_ms=routes.micro_ms
        )
    return intent._replace(tools=tools, routes=routes)
