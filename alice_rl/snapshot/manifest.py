"""What a snapshot says about itself."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from alice_rl.feature_spec import CategoricalName, FeatureSettings
from alice_rl.lineage import Arms
from alice_rl.reward import RewardBounds
from alice_rl.slots import Exploration, GuardianSettings

__all__ = ["FORMAT", "HOLDOUT_SHARE_MAX", "Manifest"]

FORMAT = 1
"""Version of the format that is written; all up to it are read."""

HOLDOUT_SHARE_MAX = 0.5
"""The largest share of decisions that may be held out."""


class Manifest(Struct, frozen=True, kw_only=True):
    """What a snapshot says about itself: all but the numbers.

    Attributes
    ----------
    version : int
        Issued by the head it is published under.
    created_at_ms : int
        The log's clock, ms since the epoch.
    lineage, lineage_fingerprint : str
    offsets : dict of int to int
        What was folded: per partition, the offset after the last record.
    features, features_fingerprint
        How contexts become `x`. A client whose own code gives this spec another fingerprint refuses the
        snapshot.
    intents, classes : tuple of str
        Names of the rows of the tool and cache tables, which have one more, for what was never seen.
    cache_class : tuple of str
        Context fields that make a query class.
    weights : dict of str to float
        Reward weight per component.
    max_share : dict of str to float
        Largest probability per arm.
    counts : dict of str to int
        Episodes and the like, for people.
    moments_digest : str
        Digest of the sums that this was solved from.
    mean_reward : dict of str to dict of str to float
        Per slot and arm, for people; an arm without turns is absent.
    holdout_share : float
        Share of decisions that a client's rules take while this is the live policy; 0 for none.
    """

    format: int = FORMAT
    policy: str
    version: int
    created_at_ms: int
    lineage: str
    lineage_fingerprint: str
    offsets: dict[int, int]
    features: FeatureSettings
    features_fingerprint: str
    arms: Arms
    intents: tuple[str, ...]
    classes: tuple[str, ...]
    cache_class: tuple[CategoricalName, ...] = ("intent",)
    weights: dict[str, float] = {}
    bounds: RewardBounds = RewardBounds()
    exploration: Exploration = Exploration()
    max_share: dict[str, float] = {}
    guardian: GuardianSettings = {}
    counts: dict[str, int] = {}
    moments_digest: str = ""
    mean_reward: dict[str, dict[str, float]] = {}
    holdout_share: Annotated[float, Meta(ge=0, le=HOLDOUT_SHARE_MAX)] = 0.0

    def to_json(self) -> str:
        """The canonical form: equal manifests have equal texts."""
        return msgspec.json.encode(msgspec.to_builtins(self, str_keys=True), order="sorted").decode()

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape that each tensor must have."""
        n_arms, d = len(self.arms.route), self.features.dim
        tool, cache = (len(self.intents) + 1, len(self.arms.tool)), (len(self.classes) + 1, len(self.arms.cache))
        return {
            "route_theta": (n_arms, d),
            "route_factor": (n_arms, d, d),
            "route_alpha": (n_arms,),
            "route_noise": (n_arms,),
            "tool_a": tool,
            "tool_b": tool,
            "cache_mean": cache,
            "cache_n": cache,
        }
