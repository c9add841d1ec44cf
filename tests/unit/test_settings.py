"""Settings: precedence, origins, refusals that say what to do, secrets, and TOML written back."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct, field

from alice_rl.errors import ConfigError
from alice_rl.settings import SECRET, Loaded, describe, load, render_toml, undocumented_keys


class Assignor(enum.Enum):
    RANGE = "range"
    STICKY = "sticky"


class Quota(Struct, frozen=True, forbid_unknown_fields=True):
    share_max: Annotated[float, Meta(ge=0, le=1)] = 1.0


class Kafka(Struct, frozen=True, forbid_unknown_fields=True):
    topic: Annotated[str, Meta(min_length=1, description="topic of the telemetry")] = "alice.telemetry"
    brokers: Annotated[list[str], Meta(min_length=1, description="host:port of each broker")] = field(
        default_factory=lambda: ["127.0.0.1:9092"]
    )
    partitions: Annotated[int, Meta(ge=1, le=1000, description="partitions of a new topic")] = 6
    assignor: Annotated[Assignor, Meta(description="how partitions are shared out")] = Assignor.STICKY
    sasl_password: Annotated[str | None, Meta(extra=SECRET, description="SASL password")] = None


class Redis(Struct, frozen=True, forbid_unknown_fields=True):
    url: Annotated[str, Meta(description="where Redis is")] = "redis://127.0.0.1:6379/0"
    timeout_seconds: Annotated[float, Meta(gt=0, le=60, description="bound of one call")] = 1.0


class Weights(Struct, frozen=True, forbid_unknown_fields=True):
    success: Annotated[float, Meta(description="weight of success")] = 2.0


class Reward(Struct, frozen=True, forbid_unknown_fields=True):
    weights: Weights = Weights()
    preset: Annotated[Literal["balanced", "speed"], Meta(description="weights to start from")] = "balanced"
    latency_ms_max: Annotated[float, Meta(gt=0, description="clip")] = 30_000.0
    latency_ms_min: Annotated[float, Meta(ge=0, description="clip")] = 0.0

    def __post_init__(self) -> None:
        if self.latency_ms_min >= self.latency_ms_max:
            raise ConfigError("latency_ms_min must be below latency_ms_max", hint="swap them")


class Decay(Struct, frozen=True, forbid_unknown_fields=True):
    half_life_hours: Annotated[Annotated[float, Meta(gt=0)] | None, Meta(description="none: for ever")] = None
    enabled: Annotated[bool, Meta(description="forget at all")] = True


class Rules(Struct, frozen=True, forbid_unknown_fields=True):
    routes: Annotated[dict[str, str], Meta(description="route by intent")] = field(
        default_factory=lambda: {"weather": "micro"}
    )
    quotas: Annotated[dict[str, Quota], Meta(description="bounds by arm")] = field(default_factory=dict)
    fallback_tool: Annotated[str | None, Meta(description="tool of the rules")] = None

    def __post_init__(self) -> None:
        if "deep" in self.quotas and "deep" not in self.routes.values():
            raise ValueError("quotas name an arm that no rule uses")


class Root(Struct, frozen=True, forbid_unknown_fields=True):
    kafka: Kafka = Kafka()
    redis: Redis = Redis()
    reward: Reward = Reward()
    decay: Decay = Decay()
    rules: Rules = Rules()


class OtherDefault(Struct, frozen=True):
    kafka: Kafka = Kafka(topic="own")


class Needed(Struct, frozen=True):
    count: Annotated[int, Meta(ge=1)]


class Required(Struct, frozen=True):
    needed: Needed


class Signing(Struct, frozen=True):
    hmac_key: Annotated[str, Meta(min_length=16, extra=SECRET)] = ""


class Signed(Struct, frozen=True):
    signing: Signing = Signing()


def loaded(tmp_path: Path, toml: str = "", **sources: Any) -> Loaded[Root]:
    path = tmp_path / "config.toml"
    path.write_text(toml, encoding="utf-8")
    return load(Root, path=path, **sources)


def refusal(tmp_path: Path, toml: str = "", **sources: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, toml, **sources)
    return caught.value


class TestPrecedence:
    def test_without_sources_the_defaults_hold(self) -> None:
        """Nothing given gives the model's own defaults, each with the origin "default"."""
        result = load(Root)
        assert result.settings == Root()
        assert set(result.origins.values()) == {"default"}

    def test_each_source_is_laid_over_the_one_before(self, tmp_path: Path) -> None:
        """The file beats the default, the environment the file, a flag the environment, key by key."""
        result = loaded(
            tmp_path,
            '[kafka]\ntopic = "file"\npartitions = 1\n\n[redis]\ntimeout_seconds = 2',
            environ={"ALICE__KAFKA__TOPIC": "environment", "ALICE__KAFKA__PARTITIONS": "2"},
            flags={"kafka.topic": "flag"},
        )
        assert result.settings.kafka == Kafka(topic="flag", partitions=2)
        assert result.settings.redis.timeout_seconds == 2.0
        assert result.origins["kafka.topic"] == "flag --set kafka.topic"
        assert result.origins["kafka.partitions"] == "environment ALICE__KAFKA__PARTITIONS"
        assert result.origins["redis.timeout_seconds"] == f"{tmp_path / 'config.toml'}:6"
        assert result.origins["redis.url"] == "default"

    def test_flags_that_were_not_given_are_passed_over(self) -> None:
        """A flag of None, as command-line parsers hand in, changes nothing."""
        assert load(Root, flags={"kafka.topic": None}).origins["kafka.topic"] == "default"

    def test_other_variables_are_passed_over(self) -> None:
        """Only variables that begin with ALICE__ are settings."""
        assert load(Root, environ={"ALICE_KAFKA_TOPIC": "x", "PATH": "/bin"}).settings == Root()

    def test_nested_tables_are_sections_too(self, tmp_path: Path) -> None:
        """A Struct inside a section is set by its own table, by dotted keys and by the environment."""
        for toml in (
            "[reward.weights]\nsuccess = 3",
            "[reward]\nweights.success = 3",
            "[reward]\nweights = {success = 3}",
        ):
            result = loaded(tmp_path, toml)
            assert result.settings.reward.weights.success == 3.0
            assert result.origins["reward.weights.success"].endswith(":2")
        assert load(Root, environ={"ALICE__REWARD__WEIGHTS__SUCCESS": "4"}).settings.reward.weights.success == 4.0

    def test_a_section_may_have_other_defaults_than_its_type(self) -> None:
        """The default of a section is the instance that the root gives it."""
        assert load(OtherDefault, flags={"kafka.partitions": 2}).settings.kafka == Kafka(topic="own", partitions=2)

    def test_defaults_are_not_shared(self) -> None:
        """Two loads never hand out the same list or table."""
        assert load(Root).settings.kafka.brokers is not load(Root).settings.kafka.brokers


class TestTexts:
    @pytest.mark.parametrize(
        ("variable", "text", "section", "name", "value"),
        [
            ("KAFKA__TOPIC", "12", "kafka", "topic", "12"),
            ("KAFKA__ASSIGNOR", "range", "kafka", "assignor", Assignor.RANGE),
            ("KAFKA__BROKERS", "a:1, b:2", "kafka", "brokers", ["a:1", "b:2"]),
            ("KAFKA__BROKERS", '["a:1"]', "kafka", "brokers", ["a:1"]),
            ("KAFKA__BROKERS", "5", "kafka", "brokers", ["5"]),
            ("KAFKA__PARTITIONS", " 3 ", "kafka", "partitions", 3),
            ("REDIS__TIMEOUT_SECONDS", "1e-1", "redis", "timeout_seconds", 0.1),
            ("DECAY__ENABLED", "False", "decay", "enabled", False),
            ("DECAY__HALF_LIFE_HOURS", "24", "decay", "half_life_hours", 24.0),
            ("DECAY__HALF_LIFE_HOURS", "None", "decay", "half_life_hours", None),
            ("DECAY__HALF_LIFE_HOURS", "", "decay", "half_life_hours", None),
            ("RULES__ROUTES", '{"math": "deep"}', "rules", "routes", {"math": "deep"}),
            ("RULES__ROUTES__MATH", "7", "rules", "routes", {"weather": "micro", "math": "7"}),
            ("RULES__QUOTAS__MICRO", '{"share_max": 0.5}', "rules", "quotas", {"micro": Quota(0.5)}),
            ("RULES__FALLBACK_TOOL", "none", "rules", "fallback_tool", "none"),
        ],
    )
    def test_texts_are_read_by_the_declared_type(
        self, variable: str, text: str, section: str, name: str, value: object
    ) -> None:
        """A variable's text becomes what its field declares; a text field takes it as it is."""
        settings = load(Root, environ={f"ALICE__{variable}": text}).settings
        assert getattr(getattr(settings, section), name) == value

    def test_flags_may_be_texts_or_values(self) -> None:
        """A flag's text is read as a variable's is, any other value as the file's."""
        assert load(Root, flags={"kafka.brokers": "a:1,b:2"}).settings.kafka.brokers == ["a:1", "b:2"]
        assert load(Root, flags={"kafka.brokers": ["a:1"]}).settings.kafka.brokers == ["a:1"]

    def test_an_entry_keeps_the_case_of_the_table(self, tmp_path: Path) -> None:
        """A variable has no case, so it sets the entry that is there already, and says so in the origins."""
        result = loaded(
            tmp_path,
            '[rules.routes]\nSmallTalk = "micro"',
            environ={"ALICE__RULES__ROUTES__SMALLTALK": "deep"},
        )
        assert result.settings.rules.routes == {"SmallTalk": "deep"}
        assert result.origins["rules.routes.SmallTalk"] == "environment ALICE__RULES__ROUTES__SMALLTALK"
        assert result.origins["rules.routes"].endswith("config.toml:1")

    def test_a_table_that_replaces_another_takes_its_entries_origins(self) -> None:
        """Once a whole table is set, origins of single entries set before are gone."""
        environ = {"ALICE__RULES__ROUTES__MATH": "deep"}
        result = load(Root, environ=environ, flags={"rules.routes": {"a": "b"}})
        assert [key for key in result.origins if key.startswith("rules.routes")] == ["rules.routes"]

    def test_toml_has_words_for_none(self, tmp_path: Path) -> None:
        """An optional field is unset by "none", an optional text by the empty text."""
        settings = loaded(tmp_path, '[decay]\nhalf_life_hours = "none"\n[rules]\nfallback_tool = ""').settings
        assert settings.decay.half_life_hours is None
        assert settings.rules.fallback_tool is None


class TestUnknownKeys:
    def test_the_nearest_key_is_offered(self, tmp_path: Path) -> None:
        """A slip in a name is answered with the name, the line and what was probably meant."""
        error = refusal(tmp_path, '[kafka]\n\ntopc = "a"')
        assert str(error) == f"unknown key 'kafka.topc' ({tmp_path / 'config.toml'}:3) (did you mean 'kafka.topic'?)"
        assert error.code == "config_key_unknown"

    def test_a_key_in_the_wrong_section_is_found(self, tmp_path: Path) -> None:
        """A key that another section has is answered with that section."""
        assert "'redis.url'" in refusal(tmp_path, '[kafka]\nurl = "redis://"').hint
        assert "'redis.timeout_seconds'" in refusal(tmp_path, "timeout_seconds = 2").hint

    def test_a_key_like_no_other_is_answered_with_the_sections_keys(self, tmp_path: Path) -> None:
        """Where nothing is near, the section's keys are listed."""
        assert refusal(tmp_path, "[redis]\nzzz = 1").hint == "[redis] has url, timeout_seconds"

    def test_an_unknown_section_is_refused_once(self, tmp_path: Path) -> None:
        """A slip in a section's name is said once, not for each key in it."""
        error = refusal(tmp_path, '[kafak]\ntopic = "a"\npartitions = 2')
        assert error.message.startswith("unknown section 'kafak' (")
        assert error.message.endswith("config.toml:1)")
        assert error.hint == "did you mean 'kafka'?"

    def test_variables_are_answered_in_their_own_spelling(self, tmp_path: Path) -> None:
        """An unknown variable is answered with a variable, not with a dotted key."""
        error = refusal(tmp_path, environ={"ALICE__KAFKA_TOPIC": "a"})
        assert "environment ALICE__KAFKA_TOPIC" in error.message
        assert "'ALICE__KAFKA__TOPIC'" in error.hint

    def test_flags_are_checked_too(self, tmp_path: Path) -> None:
        """An unknown dotted key among the flags is refused."""
        assert "'kafka.topic'" in refusal(tmp_path, flags={"kafka.topik": "a"}).hint

    def test_a_section_is_not_a_key(self, tmp_path: Path) -> None:
        """A value in place of a section is answered with the section's keys."""
        assert refusal(tmp_path, "redis = 3").hint == "it is a section; its keys are redis.url, redis.timeout_seconds"

    def test_all_that_is_wrong_is_said_at_once(self, tmp_path: Path) -> None:
        """Several problems of several sources make one error that lists them all."""
        message = str(refusal(tmp_path, "[kafka]\ntopc = 1\npartitions = 0", flags={"redis.timeout_seconds": -1}))
        assert message.startswith("3 problems:\n- unknown key 'kafka.topc'")
        assert "- kafka.partitions = 0" in message
        assert "- redis.timeout_seconds = -1" in message


class TestValues:
    def test_a_refusal_names_key_value_origin_and_what_is_allowed(self, tmp_path: Path) -> None:
        """A number outside its range is told with its line and its range."""
        error = refusal(tmp_path, "[kafka]\npartitions = 0")
        place = tmp_path / "config.toml"
        assert str(error) == f"kafka.partitions = 0 ({place}:2) is refused: it must be whole number, 1 to 1000"
        assert error.code == "config_value_refused"

    @pytest.mark.parametrize(
        ("toml", "words"),
        [
            ('[kafka]\npartitions = "6"', 'kafka.partitions = "6"'),
            ("[kafka]\ntopic = 5", "it must be text, not empty"),
            ('[kafka]\nassignor = "robin"', 'one of "range", "sticky"'),
            ('[reward]\npreset = "fast"', 'one of "balanced", "speed"'),
            ("[redis]\ntimeout_seconds = 0", "number, above 0 and at most 60"),
            ("[redis]\ntimeout_seconds = nan", "number, above 0 and at most 60"),
            ("[decay]\nhalf_life_hours = inf", 'number, or "none" for none, above 0; numbers must be finite'),
            ("[decay]\nenabled = 1", "it must be true or false"),
            ('[kafka]\nbrokers = "a:1"', "list of text"),
            ('[kafka]\nbrokers = ["a:1", 2]', "`$[1]`"),
            ("[rules.quotas.micro]\nshare_max = 2", "<= 1.0"),
            ("[rules.quotas.micro]\nshare_mx = 0.2", "share_mx"),
        ],
    )
    def test_wrong_values_are_refused(self, tmp_path: Path, toml: str, words: str) -> None:
        """A wrong type, an unknown choice, a number that is not finite, a wrong item in a list."""
        assert words in str(refusal(tmp_path, toml))

    @pytest.mark.parametrize(
        ("variable", "text"),
        [
            ("KAFKA__PARTITIONS", "many"),
            ("KAFKA__BROKERS", "[1"),
            ("DECAY__ENABLED", "maybe"),
            ("RULES__ROUTES", "a=b"),
            ("REDIS__TIMEOUT_SECONDS", "nan"),
        ],
    )
    def test_wrong_texts_are_refused(self, tmp_path: Path, variable: str, text: str) -> None:
        """A variable that cannot be read is shown as it was written, with the variable's name."""
        error = refusal(tmp_path, environ={f"ALICE__{variable}": text})
        assert f'"{text}" (environment ALICE__{variable})' in str(error)

    def test_a_password_inside_a_url_is_never_shown(self, tmp_path: Path) -> None:
        """A refused URL is shown without its user and password."""
        message = str(refusal(tmp_path, '[kafka]\npartitions = "redis://me:s3cret@host"'))
        assert "s3cret" not in message
        assert "redis://***@host" in message

    def test_a_check_across_fields_keeps_its_words(self, tmp_path: Path) -> None:
        """What a section's own check raises is told with the section, the hint and the values' origins."""
        error = refusal(tmp_path, "[reward]\nlatency_ms_min = 9", flags={"reward.latency_ms_max": 3})
        place = tmp_path / "config.toml"
        assert error.message == (
            "[reward] latency_ms_min must be below latency_ms_max"
            f" (latency_ms_max: flag --set reward.latency_ms_max, latency_ms_min: {place}:2)"
        )
        assert error.hint == "swap them"

    def test_a_value_error_of_a_section_becomes_a_config_error(self, tmp_path: Path) -> None:
        """A ValueError in a section's own check is a mistake in the configuration, too."""
        error = refusal(tmp_path, "[rules.quotas.deep]\nshare_max = 0.1")
        assert error.message.startswith("[rules] quotas name an arm that no rule uses (quotas: ")

    def test_a_required_field_must_be_given(self) -> None:
        """A field without a default is asked for by name, and not again when it was given wrongly."""
        with pytest.raises(ConfigError, match=r"^needed\.count is required \(set it, or ALICE__NEEDED__COUNT\)$"):
            load(Required)
        with pytest.raises(ConfigError, match=r"^needed\.count = 0 \(flag --set needed\.count\) is refused"):
            load(Required, flags={"needed.count": 0})
        assert load(Required, flags={"needed.count": "3"}).settings.needed.count == 3


class TestFile:
    def test_a_missing_file_is_refused(self, tmp_path: Path) -> None:
        """A file that was named must be there."""
        with pytest.raises(ConfigError, match=r"cannot read the configuration file '.*no\.toml': No such file"):
            load(Root, path=tmp_path / "no.toml")

    @pytest.mark.parametrize(
        ("toml", "line"),
        [("[kafka]\ntopic = ", 2), ("[kafka\n", 1), ('[kafka]\n\ntopic = "a\n', 3), ('a = """\n\n', 3)],
    )
    def test_a_syntax_error_is_told_with_its_line(self, tmp_path: Path, toml: str, line: int) -> None:
        """Broken TOML is refused with the file and the line."""
        error = refusal(tmp_path, toml)
        assert error.message.startswith(f"{tmp_path / 'config.toml'}:{line} is not valid TOML: ")

    def test_a_file_that_is_not_utf8_is_refused(self, tmp_path: Path) -> None:
        """Bytes that are no text are refused, not crashed on."""
        (tmp_path / "bad.toml").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(ConfigError, match="not UTF-8"):
            load(Root, path=tmp_path / "bad.toml")

    def test_windows_files_are_read(self, tmp_path: Path) -> None:
        """A byte-order mark and carriage returns do no harm."""
        (tmp_path / "config.toml").write_bytes(b'\xef\xbb\xbf[kafka]\r\ntopic = "a"\r\n')
        result = load(Root, path=tmp_path / "config.toml")
        assert result.settings.kafka.topic == "a"
        assert result.origins["kafka.topic"].endswith(":2")

    def test_lines_are_right_after_values_of_several_lines(self, tmp_path: Path) -> None:
        """Text that looks like a key, or a bracket like a header, does not mislead the line count."""
        toml = '[kafka]\ntopic = """\n[redis]\nurl = 1"""\nbrokers = [\n  "a:1", # one\n  "b:2",\n]\n'
        origins = loaded(tmp_path, f'{toml}[redis]\nurl = "x"').origins
        lines = [origins[key].rpartition(":")[2] for key in ("kafka.topic", "kafka.brokers", "redis.url")]
        assert lines == ["2", "5", "10"]


class TestSecrets:
    @pytest.mark.parametrize("source", ["file", "flag"])
    def test_a_secret_is_refused_where_others_can_read_it(self, tmp_path: Path, source: str) -> None:
        """A secret in the file or on the command line is refused, unshown, with the variable to set."""
        if source == "file":
            error = refusal(tmp_path, '[kafka]\nsasl_password = "s3cret"')
        else:
            error = refusal(tmp_path, flags={"kafka.sasl_password": "s3cret"})
        assert "s3cret" not in str(error)
        assert error.hint == (
            "set ALICE__KAFKA__SASL_PASSWORD in the environment, or ALICE__KAFKA__SASL_PASSWORD_FILE naming a file"
        )

    def test_a_secret_comes_from_the_environment(self) -> None:
        """The variable's text is the secret; a representation of the settings masks it."""
        settings = load(Root, environ={"ALICE__KAFKA__SASL_PASSWORD": "s3cret"}).settings
        assert settings.kafka.sasl_password == "s3cret"
        assert "s3cret" not in repr(settings)

    def test_a_secret_comes_from_a_file_that_the_environment_names(self, tmp_path: Path) -> None:
        """A mounted file is read without its last newline."""
        (tmp_path / "password").write_text("s3cret\n")
        result = load(Root, environ={"ALICE__KAFKA__SASL_PASSWORD_FILE": str(tmp_path / "password")})
        assert result.settings.kafka.sasl_password == "s3cret"
        assert result.origins["kafka.sasl_password"] == "environment ALICE__KAFKA__SASL_PASSWORD_FILE"

    def test_a_missing_secret_file_is_refused(self, tmp_path: Path) -> None:
        """The variable and the file that it names are told."""
        error = refusal(tmp_path, environ={"ALICE__KAFKA__SASL_PASSWORD_FILE": "/nowhere/password"})
        assert "ALICE__KAFKA__SASL_PASSWORD_FILE" in error.message
        assert "/nowhere/password" in error.message

    def test_a_secret_given_twice_is_refused(self, tmp_path: Path) -> None:
        """The variable and the file at once are a contradiction."""
        environ = {"ALICE__KAFKA__SASL_PASSWORD": "a", "ALICE__KAFKA__SASL_PASSWORD_FILE": "b"}
        assert "given twice" in str(refusal(tmp_path, environ=environ))

    def test_an_empty_secret_is_not_set(self) -> None:
        """A variable that a compose file passes on empty leaves the default."""
        result = load(Root, environ={"ALICE__KAFKA__SASL_PASSWORD": ""})
        assert result.settings.kafka.sasl_password is None
        assert result.origins["kafka.sasl_password"] == "default"

    def test_a_plain_field_has_no_file_variable(self, tmp_path: Path) -> None:
        """Only secrets may be named by a _FILE variable."""
        assert "unknown key" in str(refusal(tmp_path, environ={"ALICE__KAFKA__TOPIC_FILE": "x"}))

    def test_a_refused_secret_is_not_shown(self) -> None:
        """A secret of the wrong shape is refused without being repeated."""
        with pytest.raises(ConfigError, match=r"hmac_key = \*\*\* .*at least 16 characters$"):
            load(Signed, environ={"ALICE__SIGNING__HMAC_KEY": "s3cret"})


class TestReport:
    def test_fields_are_described_in_words(self) -> None:
        """Each row has the key, type, default, range and description that a person reads."""
        rows = {row.key: row for row in describe(Root)}
        topic = rows["kafka.topic"]
        assert (topic.type, topic.default, topic.range) == (
            "text",
            '"alice.telemetry"',
            "not empty",
        )
        assert topic.description == "topic of the telemetry"
        assert rows["kafka.partitions"].range == "1 to 1000"
        assert rows["kafka.brokers"].type == "list of text"
        assert rows["decay.half_life_hours"].type == 'number, or "none" for none'
        assert rows["decay.half_life_hours"].range == "above 0"
        assert rows["decay.half_life_hours"].description == "none: for ever"
        assert rows["rules.quotas"].type == "table of table with share_max"
        assert [row.key for row in rows.values() if row.secret] == ["kafka.sasl_password"]

    def test_rendered_settings_load_to_the_same_settings(self, tmp_path: Path) -> None:
        """TOML that was written back is read back, in every combination of comments and origins."""
        before = load(
            Root,
            flags={
                "kafka.topic": 'a "quoted" \\ text\n\x7f',
                "rules.routes": {"small talk": "micro", "x.y": "deep"},
                "rules.quotas": {"deep": {"share_max": 0.25}},
                "redis.timeout_seconds": 1e-05,
            },
        )
        for with_origin in (False, True):
            for with_comments in (False, True):
                text = render_toml(before, with_origin=with_origin, with_comments=with_comments)
                assert loaded(tmp_path, text).settings == before.settings

    def test_origins_end_the_lines(self) -> None:
        """With origins, each line says where its value came from, entries of tables by name."""
        environ = {"ALICE__KAFKA__PARTITIONS": "9", "ALICE__RULES__ROUTES__MATH": "deep"}
        text = render_toml(load(Root, environ=environ), with_origin=True)
        assert "\npartitions = 9  # environment ALICE__KAFKA__PARTITIONS\n" in text
        assert '"deep"}  # default; math: environment ALICE__RULES__ROUTES__MATH\n' in text

    def test_secrets_are_masked(self) -> None:
        """A secret is rendered as *** in a comment, and so is a password inside a URL."""
        environ = {"ALICE__KAFKA__SASL_PASSWORD": "s3cret", "ALICE__REDIS__URL": "redis://:s3cret@host/0"}
        text = render_toml(load(Root, environ=environ), with_origin=True, with_comments=True)
        assert "s3cret" not in text
        assert '# sasl_password = "***"' in text
        assert 'url = "redis://***@host/0"' in text

    def test_a_rendered_default_file_is_documented(self) -> None:
        """What is rendered with comments explains every key."""
        assert undocumented_keys(Root, render_toml(load(Root), with_comments=True)) == []

    def test_keys_without_a_comment_are_found(self) -> None:
        """A key needs a comment beside it or right above it; a blank line or another key parts them."""
        text = """
            # Not about topic.
            [kafka]
            topic = "a # b"
            # Above.
            brokers = ["#"]
            partitions = 6  # Beside.
            # Not above: a blank line.

            assignor = "range"
            [decay]
            # Above what is commented out.
            # half_life_hours = 24
            enabled = true
            [rules] # rules
            routes = {weather = "micro"} # Beside.
            # Above the table.
            [rules.quotas]
            micro = {share_max = 1}
        """
        missing = undocumented_keys(Root, text)
        assert [key for key in missing if key.startswith(("kafka", "decay", "rules"))] == [
            "kafka.topic",
            "kafka.assignor",
            "decay.enabled",
            "rules.fallback_tool",
        ]
        assert "redis.url" in missing

    def test_only_an_unset_default_may_be_commented_out(self) -> None:
        """A commented-out key counts for a field that is None by default and for no other."""
        assert "kafka.partitions" in undocumented_keys(Root, "[kafka]\n# Above.\n# partitions = 6")
        assert "rules.fallback_tool" not in undocumented_keys(Root, '[rules]\n# Above.\n# fallback_tool = "x"')


def test_secrets_cannot_be_encoded() -> None:
    """A secret that would leave the process inside a snapshot or a fingerprint is an error, not a leak."""
    settings = load(Root, environ={"ALICE__KAFKA__SASL_PASSWORD": "s3cret"}).settings
    with pytest.raises(TypeError):
        msgspec.json.encode(settings)
