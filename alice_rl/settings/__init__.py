"""Settings from four sources, each over the one before: defaults < TOML file < environment < flags.

    config.toml                     environment                      flags
    [kafka]
    topic = "alice.telemetry"       ALICE__KAFKA__TOPIC=...          {"kafka.topic": ...}

| from -> to | where |
|---|---|
| a model (a Struct of section Structs) -> its fields, in words | `fields.py`, `words.py` |
| file (`toml_text.py`), environment, flags -> checked values with their origins | `sources.py` |
| values -> the frozen settings | `load.py` |
| what is wrong -> an error with the nearest valid key | `refusals.py` |
| settings -> TOML, table of fields | `report.py` |

Every value is checked where it is read, so a refusal names the key, the value, what is allowed and where
the value came from; all that is wrong is said at once. A list or a table is replaced as a whole; one entry
of a table may be set by its name (`ALICE__QUOTAS__SHARE_MAX__MICRO`). Secrets come from the environment
alone, or from the file that `ALICE__SECTION__KEY_FILE` names.
"""

from alice_rl.settings.fields import SECRET
from alice_rl.settings.load import Loaded, load
from alice_rl.settings.report import Row, describe, render_toml, undocumented_keys

__all__ = ["SECRET", "Loaded", "Row", "describe", "load", "render_toml", "undocumented_keys"]
