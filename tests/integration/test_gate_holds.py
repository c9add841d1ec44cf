"""An equal canary on real services: it serves its share, climbs the ramp, and is neither promoted nor rolled back."""

from __future__ import annotations

from msgspec import structs

from tests.integration.conftest import MakeSettings
from tests.integration.test_gate import all_the_same, gated, played
from worker.settings import Settings

__all__ = ["MakeSettings", "gated"]


async def test_an_equal_canary_is_held(gated: Settings) -> None:
    """Where no arm is better, thousands of requests and hundreds of looks lead to no verdict, and live stays."""
    # At the usual alpha one run in some thirty would end by chance; this is about what the gate does, not how often.
    patient = structs.replace(gated, canary=structs.replace(gated.canary, alpha=1e-5))
    async with played(patient) as stage:
        stage.users = all_the_same
        serving = await stage.until_serving()
        await stage.play_until(lambda: stage.state is not None and stage.state.share == 0.5)
        await stage.play(3_000)
        state = stage.state
        assert state is not None and state.verdict is not None
        assert (state.phase, state.version) == ("trial", serving.version)
        assert state.verdict["decision"] == "HOLD" and "undecided" in state.reason
        assert state.verdict["policies"]["lower"] < 0 < state.verdict["policies"]["upper"]
        head = await stage.store.read_head()
        assert (head.live, head.canary, head.canary_share) == (serving.live_version, serving.version, 0.5)
