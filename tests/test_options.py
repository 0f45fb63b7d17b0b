"""Options that all commands share, and printed commands that run as they are printed."""

import argparse
import re
import shlex
from collections.abc import Iterator
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
    "aus",
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


PROGRAM = build_parser([], entry_points(group=GROUP))
COMMANDS = leaves(PROGRAM)


def every_parser(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Yield a parser and all below it."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from every_parser(child)


def examples(help_text: str) -> list[str]:
    """Return the commands among the examples of a help text, without what is said of them."""
    lines = help_text.partition("\nexample")[2].splitlines()
    return [re.split(r"\s{2,}", line.strip())[0] for line in lines if re.match(r"  (eggan|torchrun) ", line)]


def test_the_help_of_every_command_says_what_it_does_and_has_examples_of_its_own_that_parse():
    for parser in list(every_parser(PROGRAM))[1:]:
        text = parser.format_help()
        assert parser.description, parser.prog
        lines = examples(text)
        assert lines, f"{parser.prog} --help has no example"
        for line in lines:
            own = line.partition(" -m -- ")[2] if line.startswith("torchrun") else line
            assert own.startswith(parser.prog), f"{parser.prog} --help has an example of another: {line}"
            PROGRAM.parse_args(shlex.split(own)[1:])


def test_torchrun_as_documented_takes_no_option_of_ours_for_its_own():
    from torch.distributed.run import parse_args

    ours = [option for action in COMMANDS["train"]._actions for option in action.option_strings]
    assert "--start" in ours  # torchrun's `--start-method` is written so, too
    parsed = parse_args(["--nproc-per-node=2", "-m", "--", "eggan", "train", *ours])
    assert (parsed.training_script, parsed.training_script_args) == ("eggan", ["train", *ours])


def every_argument() -> Iterator[tuple[str, argparse.Action]]:
    """Yield each command's arguments with the command's name."""
    for parser in every_parser(PROGRAM):
        parser.format_help()  # which learns arguments, too
        for action in parser._actions:
            if not isinstance(action, argparse._SubParsersAction):
                yield parser.prog, action


def test_every_option_says_what_it_is_for_before_it_says_its_default():
    silent = {
        (command, name)
        for command, action in every_argument()
        if not action.help or action.help.startswith("default")
        for name in action.option_strings or [action.dest]
    }
    assert silent == set()


def test_the_help_of_an_option_that_names_a_place_says_what_kind_of_place():
    """And not its own name in capitals."""
    places = [
        (command, action)
        for command, action in every_argument()
        if action.option_strings and action.type in (Path, options.folder)
    ]
    assert {name for name, action in places if action.metavar is None} == set()
    assert len(places) > 50
    folders = {action.metavar for _, action in places if action.type is options.folder}
    assert folders == {"FOLDER"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("edti",), "did you mean edit?"),
        (("data", "biuld"), "did you mean build?"),
        (("edit", "a.jpg", "--strenght", "2"), "does not know --strenght 2: did you mean --strength?"),
        (("edit", "a.jpg", "--strenght=2"), "did you mean --strength?"),
        (("data", "sheet", "--knd", "aus"), "did you mean --kind?"),
        (("interpolate", "a.jpg", "b.jpg", "--au", "12=4"), "does not know b.jpg;"),
        (("interpolate", "a.jpg", "--au", "12=4", "b.jpg"), "does not know b.jpg;"),
        (("edit", "a.jpg", "--au", "12=4", "b.jpg", "--strenght", "2"), "does not know --strenght 2:"),
        (("study", "confirm", "--trials", "1", "2", "mine"), "give name before it)"),
        (("study", "run", "--also", "learning_rate", "loss-weights"), "(--also takes all words that follow"),
        (("study", "run", "--trials", "3"), "required: space;"),
        (("edit",), "required: image"),
        (("interpolate", "a.jpg", "--steps", "few"), "invalid int value: 'few'"),
        (("train", "eggan"), "required: --dataset"),
        (("bench", "run", "quick", "--seed"), "--seed: expected one argument"),
        (("bench", "run", "quik"), "did you mean quick? (known: quick, standard"),
        (("bench", "run", "quick", "--only", "egan", "--dry-run"), "did you mean eggan? (known"),
        (("data", "build", "synfacs", "--split", "crwd"), "did you mean crowd? (known: twin"),
        (("study", "run", "loss-wights", "--dry-run"), "did you mean loss-weights?"),
        (("check-method", "egan"), "did you mean eggan? (known"),
    ],
)
def test_a_word_typed_wrongly_is_one_line_that_says_what_may_have_been_meant(
    eggan, tmp_path, monkeypatch, words, said
):
    monkeypatch.chdir(tmp_path)
    status, out, err = eggan(*words)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


SEVERAL = {
    name: action.dest
    for name, parser in COMMANDS.items()
    for action in parser._get_positional_actions()
    if action.nargs in ("+", "*") and parser._option_string_actions.keys() > {"-h", "--help"}
}
AN_OPTION = {
    "edit": ["--au", "12=3"],
    "aus": ["--csv"],
    "import": ["-o", "folder"],
    "bench sync": ["--runs", "folder"],
}


@pytest.mark.parametrize("name", SEVERAL)
def test_files_may_stand_on_both_sides_of_options(name):
    first, option = name.split() + ["stargan"] * (name == "import"), AN_OPTION[name]
    for words, files in (
        (["a", "b", *option], "a b"),
        ([*option, "a", "b"], "a b"),
        (["a", *option, "b", "c"], "a b c"),
        (["a", *option, "b", *option, "c"], "a b c"),
        (["a", *option, "--", "-b", "c"], "a -b c"),
        (["a", *option, "b", "--", "-c"], "a b -c"),
    ):
        found = getattr(PROGRAM.parse_args([*first, *words]), SEVERAL[name])
        assert found == [Path(file) for file in files.split()], words


@pytest.mark.parametrize("name", [n for n in COMMANDS if not f"{n} ".startswith(WITHOUT_RESULTS)])
def test_every_command_with_results_takes_runs(name):
    action = COMMANDS[name]._option_string_actions["--runs"]
    assert (action.default, action.type) == (Path("runs"), options.folder)


@pytest.mark.parametrize("option", ["--runs", "--data"])
def test_a_file_in_the_place_of_a_folder_is_said_by_every_command_whatever_it_would_do(
    eggan, tmp_path, monkeypatch, option
):
    monkeypatch.chdir(tmp_path)
    Path("file").write_bytes(b"mine")
    Path("loop").symlink_to("loop")
    for name, parser in COMMANDS.items():
        if option not in parser._option_string_actions:
            continue
        needed = ["x" for action in parser._get_positional_actions() if action.nargs not in ("?", "*")]
        for place in ("file", "file/below/it"):
            status, out, err = eggan(*name.split(), *needed, option, place)
            assert (status, out, err.count("\n")) == (2, "", 1), err
            assert f"argument {option}: file is a file: name a folder" in err
    for place in (
        ".",
        "new",
        "new/one",
        "loop",
        "x" * 5000,
    ):  # what is wrong with it is said where it is used
        assert options.folder(place) == Path(place)
    with pytest.raises(argparse.ArgumentTypeError):
        options.folder("/dev/null")


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
