"""The command line as a whole: help, exit codes, errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from alice_rl import __version__
from alice_rl.errors import AliceError, ConfigError, DependencyError, EventError, SnapshotError
from tests.unit.cli.runner import run
from worker.cli.root import COMMANDS

SUBCOMMANDS = [
    "policy list",
    "policy show",
    "policy export",
    "policy import",
    "policy validate",
    "canary status",
    "canary explain",
    "policy promote",
    "policy rollback",
    "policy pin",
    "policy unpin",
    "policy history",
    "policy diff",
    "savepoint create",
    "savepoint restore",
    "savepoint show",
    "config check",
    "config show",
    "deadletters list",
    "deadletters show",
    "deadletters retry",
]
ROOT = Path(__file__).parents[3]
HEAVY = ("aiokafka", "msgspec", "numpy", "redis", "safetensors", "structlog")


class TestHelp:
    def test_it_lists_every_command(self) -> None:
        """`alice-rl --help` names every command with what it does."""
        done = run("--help")
        assert done.code == 0
        assert all(name in done.stdout and entry.summary in done.stdout for name, entry in COMMANDS.items())

    @pytest.mark.parametrize("words", [*COMMANDS, *SUBCOMMANDS])
    def test_every_command_explains_itself(self, words: str) -> None:
        """Every command has a help text and the global options."""
        done = run(*words.split(), "--help")
        assert done.code == 0
        assert f"alice-rl {words}" in done.stdout
        assert all(option in done.stdout for option in ("--config", "--json", "--set", "--log-level", "--log-format"))

    @pytest.mark.parametrize(
        "words",
        [
            "--help",
            "--version",
            "worker --help",
            "status --help",
            "policy --help",
            "replay --help",
            "verify --help",
            "savepoint --help",
            "deadletters --help",
        ],
    )
    def test_it_imports_nothing_heavy(self, words: str) -> None:
        """Help is quick: it loads none of the libraries that the work itself needs."""
        code = (
            "import sys\nfrom worker.cli import main\n"
            "try: main()\nexcept SystemExit: pass\n"
            f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
        )
        command = [sys.executable, "-c", code, *words.split()]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stderr.strip() == "[]"


class TestVersion:
    def test_it_is_printed(self) -> None:
        """`--version` prints the version."""
        assert run("--version") == (0, f"alice-rl {__version__}\n", "")

    @pytest.mark.parametrize("arguments", [("--json", "--version"), ("--version", "--json")])
    def test_it_is_printed_as_json(self, arguments: tuple[str, ...]) -> None:
        """With `--json`, in any order, it is an object."""
        assert run(*arguments).json == {"version": __version__}


class TestUsage:
    def test_an_unknown_command_names_the_nearest(self) -> None:
        """A slip in a command's name exits with 2 and names the command that was meant."""
        done = run("wroker")
        assert done.code == 2
        assert done.stdout == ""
        assert "No such command 'wroker'. Did you mean 'worker'?" in done.stderr

    def test_an_unknown_option_points_to_the_help(self) -> None:
        """A wrong option exits with 2 and says where the right ones are."""
        done = run("policy", "list", "--al")
        assert done.code == 2
        assert " hint: alice-rl policy list --help" in done.stderr

    def test_no_command_shows_the_help(self) -> None:
        """Without a command there is nothing to do: the help, and exit code 2."""
        done = run()
        assert done.code == 2
        assert "doctor" in done.stdout

    @pytest.mark.parametrize("arguments", [("--json", "stauts"), ("status", "--json", "--no"), ("--json",)])
    def test_with_json_it_is_one_object(self, arguments: tuple[str, ...]) -> None:
        """With `--json` a usage error, too, is one object on stdout."""
        done = run(*arguments)
        assert done.code == 2
        assert done.json["error"]["code"] == "usage"
        assert done.json["error"]["message"]

    @pytest.mark.parametrize("group", ["canary", "policy", "savepoint"])
    def test_a_group_without_a_command_says_so(self, group: str) -> None:
        """Its help is shown, and the error is no empty line."""
        done = run(group)
        assert done.code == 2
        assert "no command was given" in done.stderr or "Missing command" in done.stderr


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (ConfigError("m", hint="h"), 2),
            (DependencyError("m", hint="h"), 3),
            (SnapshotError("m", hint="h"), 1),
            (EventError("m", hint="h"), 1),
            (AliceError("m", hint="h"), 1),
        ],
    )
    def test_each_kind_has_its_exit_code(self, error: AliceError, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
        """Scripts tell by the exit code what kind of error it was; people read message and hint."""
        _raise_in_commands(monkeypatch, error)
        assert run("config", "check") == (code, "", "error: m\n hint: h\n")

    def test_with_json_it_is_one_object(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """With `--json` an error is one object on stdout, and still a block on stderr."""
        _raise_in_commands(monkeypatch, DependencyError("m", code="redis_unreachable", hint="h"))
        done = run("config", "check", "--json")
        assert done.json == {"error": {"code": "redis_unreachable", "message": "m", "hint": "h"}}
        assert done.stderr == "error: m\n hint: h\n"

    def test_an_interruption_exits_with_130(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Ctrl-C ends a command as shells expect it."""
        _raise_in_commands(monkeypatch, KeyboardInterrupt())
        assert run("config", "check").code == 130

    def test_a_bug_is_not_dressed_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is no operating error keeps its traceback."""
        _raise_in_commands(monkeypatch, ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            run("config", "check")

    def test_passwords_in_urls_are_not_printed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An error that quotes an address does not show its password."""
        _raise_in_commands(monkeypatch, AliceError("redis://u:s3cret@host/0 is away", hint="try redis://:s3cret@host"))
        done = run("config", "check", "--json")
        assert "s3cret" not in done.stdout + done.stderr

    def test_markup_in_a_message_is_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Brackets of a message are printed as they are."""
        _raise_in_commands(monkeypatch, AliceError("[kafka] has topic [/]"))
        assert run("config", "check").stderr == "error: [kafka] has topic [/]\n"


def _raise_in_commands(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def load_settings(*arguments: object) -> None:
        raise error

    monkeypatch.setattr("worker.settings.load_settings", load_settings)
