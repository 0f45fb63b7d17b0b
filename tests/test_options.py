"""Options that all commands share, and printed commands that run as they are printed."""

import argparse
import re
import shlex
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from eggan import options
from eggan.cli import GROUP, build_parser

# These neither make nor read results.
WITHOUT_RESULTS = (
    "weights",
    "data ",
    "instruments ",
    "import ",
    "bench list",
    "report merge",
    "check-method",
    "demo",
    "bench bundle",
)


def leaves(parser: argparse.ArgumentParser, name: str = "") -> dict[str, argparse.ArgumentParser]:
    """Return every command without further commands below it, by name."""
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        return {name: parser}
    found: dict[str, argparse.ArgumentParser] = {}
    for word, child in below[0].choices.items():
        found |= leaves(child, f"{name} {word}".strip())
    return found


COMMANDS = leaves(build_parser([], entry_points(group=GROUP)))


@pytest.mark.parametrize("name", [n for n in COMMANDS if not f"{n} ".startswith(WITHOUT_RESULTS)])
def test_every_command_with_results_takes_runs(name):
    action = COMMANDS[name]._option_string_actions["--runs"]
    assert (action.default, action.type) == (Path("runs"), Path)


def test_what_prints_a_store_takes_one():
    with_uri = {
        name for name, parser in COMMANDS.items() if "--tracking-uri" in parser._option_string_actions
    }
    assert {name for name in COMMANDS if name.startswith(options.TRACKED)} <= with_uri


@pytest.fixture
def _called(request):
    with options.remembered(argparse.Namespace(**request.param)):
        yield
    assert options.command("ui") == "eggan ui"


def called(**arguments):
    return pytest.mark.parametrize("_called", [arguments], indirect=True)


@pytest.mark.usefixtures("_called")
class TestCommand:
    @called(runs=Path("runs"), tracking_uri=None)
    def test_defaults_are_not_repeated(self):
        assert options.command("bench run quick") == "eggan bench run quick"

    @called(runs=Path("my runs"), tracking_uri="http://host:5000")
    def test_others_are(self):
        both = "--runs 'my runs' --tracking-uri http://host:5000"
        assert options.command("report build") == f"eggan report build {both}"
        assert options.command("bench status") == "eggan bench status --runs 'my runs'"

    @called(runs=Path("runs"), tracking_uri="postgresql://me:secret@host/db")
    def test_a_password_is_not_repeated(self):
        assert options.command("ui") == "eggan ui"


@pytest.mark.parametrize(
    "words",
    [
        ("bench", "status"),
        ("study", "status"),
        ("study", "status", "missing"),
        ("report", "build"),
        ("report", "export", "out"),
    ],
)
def test_hints_work_as_printed(eggan, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = eggan(*words, "--runs", "scratch")
    assert "Traceback" not in err
    assert status in (0, 2)
    printed = re.findall(r"`eggan ([^`]+)`", out + err)
    assert printed
    for line in printed:
        arguments = shlex.split(line)
        parsed = build_parser(arguments, entry_points(group=GROUP)).parse_args(arguments)
        assert parsed.runs == Path("scratch")
