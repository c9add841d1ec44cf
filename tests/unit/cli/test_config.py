"""`alice-rl config`: what is wrong, what is in force, and where it comes from."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from alice_rl.lineage_change import LineageChange, Relation
from alice_rl.settings import load
from tests.unit.cli.runner import run
from worker.settings import Settings

SECRETS = {
    "ALICE__REDIS__PASSWORD": "s3cret-1",
    "ALICE__KAFKA__SASL_PASSWORD": "s3cret-2",
    "ALICE__SNAPSHOT__SIGNING_KEY": "s3cret-3",
}


@pytest.fixture(autouse=True)
def lineage(monkeypatch: pytest.MonkeyPatch) -> list[LineageChange]:
    """What Redis would say of the lineage, instead of whatever runs on this machine; nothing, when it is empty."""
    told: list[LineageChange] = []

    async def change_of_lineage(settings: Settings) -> LineageChange | None:
        return told[0] if told else None

    monkeypatch.setattr("worker.cli.lineage_check.change_of_lineage", change_of_lineage)
    return told


class TestCheck:
    def test_a_right_configuration_passes(self) -> None:
        """Exit code 0, and what was looked at."""
        done = run("config", "check", "--set", "kafka.topic=x")
        assert done == (0, "ok: no configuration file, 1 value set, the rest are defaults\n", "")

    def test_json_tells_the_lineage(self) -> None:
        """With `--json` the lineage's fingerprint is there to compare machines by."""
        expected = {"ok": True, "file": None, "changed": 0, "lineage_fingerprint": Settings().lineage.fingerprint}
        assert run("config", "check", "--json").json == expected

    def test_an_extension_of_the_lineage_is_told(self, lineage: list[LineageChange]) -> None:
        """When the lineage in Redis has fewer numerics, what a restart of the workers will append is named."""
        lineage.append(LineageChange(Relation.EXTENDS, ("recent_cost_usd",)))
        told = "It extends lineage main by features recent_cost_usd: restart all workers with it."
        assert run("config", "check").stdout.splitlines()[1:] == [told]
        assert run("config", "check", "--json").json["lineage"] == "extends"

    def test_an_unknown_key_names_the_nearest(self, nowhere: Path) -> None:
        """A slip in a key exits with 2, says where it stands and which key was probably meant."""
        (nowhere / "config.toml").write_text('[kafka]\ntopc = "x"\n')
        done = run("config", "check")
        assert (done.code, done.stdout) == (2, "")
        assert done.stderr == "error: unknown key 'kafka.topc' (config.toml:2)\n hint: did you mean 'kafka.topic'?\n"

    def test_all_mistakes_are_named_at_once(self, nowhere: Path) -> None:
        """Nobody has to mend a file one mistake at a time."""
        (nowhere / "config.toml").write_text('[kafka]\ntopc = "x"\n[redis]\nretries_max = -1\n')
        done = run("config", "check")
        assert "kafka.topc" in done.stderr and "redis.retries_max = -1 (config.toml:4)" in done.stderr

    @pytest.mark.parametrize(
        ("share", "why"),
        [("0.001", "too little to measure"), ("0.6", "0 to 0.5"), ("-0.1", "0 to 0.5")],
    )
    def test_a_hold_out_that_measures_nothing_is_refused(self, nowhere: Path, share: str, why: str) -> None:
        """More than half is no hold-out, and what is rarer than any trial's side would never be counted."""
        done = run("config", "check", "--set", f"rules.holdout_share={share}")
        assert done.code == 2
        assert "rules.holdout_share" in done.stderr and why in done.stderr
        assert run("config", "check", "--set", "rules.holdout_share=0.05").code == 0


class TestShow:
    def test_it_loads_to_the_same_settings(self, nowhere: Path) -> None:
        """What is shown is a configuration file for what is in force."""
        changes = ("--set", "kafka.topic=x", "--set", "rules.route_by_intent.weather=micro")
        path = nowhere / "shown.toml"
        path.write_text(run("config", "show", "--comments", *changes).stdout)
        assert (
            load(Settings, path=path).settings
            == load(Settings, flags={"kafka.topic": "x", "rules.route_by_intent.weather": "micro"}).settings
        )

    def test_origins_are_told(self, nowhere: Path) -> None:
        """With `--origin` each line ends with where its value comes from."""
        (nowhere / "config.toml").write_text('[kafka]\ntopic = "x"\n')
        lines = run("config", "show", "--origin", env={"ALICE__REDIS__RETRIES_MAX": "5"}).stdout.splitlines()
        assert 'topic = "x"  # config.toml:2' in lines
        assert "retries_max = 5  # environment ALICE__REDIS__RETRIES_MAX" in lines
        assert 'group_id = "alice-rl"  # default' in lines

    def test_secrets_are_never_printed(self) -> None:
        """Neither form shows a secret, nor a password in an address."""
        env = SECRETS | {"ALICE__REDIS__URL": "redis://u:s3cret-4@h/0"}
        for arguments in (
            ("show",),
            ("show", "--origin"),
            ("show", "--comments"),
            ("show", "--json", "--origin"),
            ("check",),
        ):
            done = run("config", *arguments, env=env)
            assert done.code == 0
            assert "s3cret" not in done.stdout + done.stderr

    def test_json_masks_secrets_that_are_set(self) -> None:
        """A secret that is set shows as ***, one that is not as nothing."""
        env = {"ALICE__REDIS__PASSWORD": "s3cret"}
        settings = run("config", "show", "--json", env=env).json["settings"]
        assert (settings["redis"]["password"], settings["kafka"]["sasl_password"]) == ("***", "")

    def test_toml_and_json_say_the_same(self) -> None:
        """Both forms hold the same values, but for what TOML has no word for."""
        settings = run("config", "show", "--json").json["settings"]
        table = tomllib.loads(run("config", "show").stdout)
        for section, values in table.items():
            for key, value in values.items() if isinstance(values, dict) else ():
                assert settings[section][key] == (None if value == "none" and settings[section][key] is None else value)
