"""The parser and the options that commands share, and the commands that they print: those run as printed.

A mistake in what was typed is one line that says what to do; help shows a command's own examples.

Torch is imported only when a device is asked for, so that `eggan --help` does not wait for it.
"""

import argparse
import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from eggan.errors import UserError, nearest

PASSWORD = re.compile(r"(://[^/@:\s]+):[^@\s]+@")  # in an address, also as --option=ADDRESS
CHOICE = re.compile(r"invalid choice: '(?P<word>[^']*)' \(choose from (?P<known>.*)\)$")
MISSING = "the following arguments are required: "
SEVERAL = (argparse.ONE_OR_MORE, argparse.ZERO_OR_MORE)
EXAMPLE = "  eggan "  # how an example begins, which may be another command's
AUTO = "auto"
RUNS = Path("runs")
DATA = Path("data")
# What takes --tracking-uri:
TRACKED = (
    *(
        "bench run",
        "bench sync",
        "bench photos",
        "bench speed",
        "study run",
        "study confirm",
        "study ranks",
        "study sync",
    ),
    *("report build", "report export", "train", "ui"),
)

_given: dict[str, str] = {}
_words: list[str] = []


class CommandParser(argparse.ArgumentParser):
    """A parser whose mistakes are one line each; it may learn its arguments when it is used.

    Files that a command takes several of may stand on both sides of its options. `learn`, if set, adds
    arguments whose modules take seconds to load.
    """

    learn: Callable[[argparse.ArgumentParser], None] | None = None
    _typed: Sequence[str] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; words that are left over are a mistake of this command, not of the program."""
        self._learn_once()
        self._typed = list(args or ())
        found, unknown = super().parse_known_args(args, namespace)
        unknown = self._taken_up(found, unknown)
        if unknown:
            self.error(f"does not know {' '.join(unknown)}{self._meant(unknown[0])}")
        return found, unknown

    def format_help(self) -> str:
        """Return the help, with the arguments that are learnt late."""
        self._learn_once()
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with status 2."""
        chosen = CHOICE.search(message)
        if chosen:
            known = [name.strip("' ") for name in chosen["known"].split(",")]
            message += nearest(chosen["word"], known)
        message += self._swallowed(message)
        text = " ".join(f"{self.prog}: {message}; `{self.prog} --help` shows what it takes".split())
        self.exit(2, f"{text}\n")

    def _taken_up(self, found: argparse.Namespace, words: list[str]) -> list[str]:
        """Give words that are left over to the argument that takes several; return those that it cannot take.

        `argparse` fills it from one place alone, and leaves what comes after a further option.
        """
        several = [action for action in self._get_positional_actions() if action.nargs in SEVERAL]
        first = next((place for place, word in enumerate(words) if word.startswith("-")), len(words))
        end = len(words) if words[first : first + 1] == ["--"] else first
        if not end or len(several) != 1:
            return words
        name = several[0].dest
        try:
            setattr(found, name, [*getattr(found, name), *self._get_values(several[0], words[:end])])
        except argparse.ArgumentError as error:
            self.error(str(error))
        return words[end:]

    def _swallowed(self, message: str) -> str:
        """Return what to do where an option that takes several words took a command's argument, too."""
        names = [str(action.metavar or action.dest) for action in self._get_positional_actions()]
        typed = {word.partition("=")[0] for word in self._typed}
        for action in self._get_optional_actions():
            option = "/".join(action.option_strings)
            told = message.startswith((MISSING, f"argument {option}: invalid"))
            if names and told and action.nargs in SEVERAL and typed & set(action.option_strings):
                return f" ({option} takes all words that follow it: give {' '.join(names)} before it)"
        return ""

    def _learn_once(self) -> None:
        learn, self.learn = self.learn, None
        if learn is not None:
            learn(self)

    def _meant(self, word: str) -> str:
        return nearest(word.partition("=")[0], list(self._option_string_actions)) if word[:1] == "-" else ""


def show_examples(parser: argparse.ArgumentParser, examples: str) -> None:
    """Print below a command's help those lines of `examples` that are its own, and all that are no command.

    Commands of a group share their examples; the group itself shows all of them.
    """
    own = f"  {parser.prog} "
    lines = examples.splitlines()
    kept = [line for line in lines if not line.startswith(EXAMPLE) or f"{line} ".startswith(own)]
    parser.epilog = "\n".join(kept)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter


def add_command(subparsers: Any, name: str, summary: str, examples: str) -> argparse.ArgumentParser:
    """Add a command and return its parser; its own ones of `examples` are printed below its options."""
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=summary, description=summary)
    show_examples(parser, examples)
    return parser


def add_setting_argument(parser: argparse.ArgumentParser, what: str = "change a setting") -> None:
    """Add `--set`, which may be given several times."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        dest="assignments",
        help=f"{what} (repeatable)",
    )


def folder(text: str) -> Path:
    """Return the folder that a word names, which need not be there yet; a file, or a place below one, is a
    mistake.
    """
    path = Path(text)
    for place in (path, *path.parents):
        if os.path.exists(place):  # which is false, and no error, for a name that is too long
            if not os.path.isdir(place):
                raise argparse.ArgumentTypeError(f"{place} is a file: name a folder")
            break
    return path


def number_of_images(text: str) -> int:
    """Return the value of `--images`, a number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of images, such as 48000")
    return int(text)


def add_data_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--data`, the folder in which datasets are rendered and looked for."""
    parser.add_argument(
        "--data", type=folder, default=DATA, metavar="FOLDER", help=f"folder of datasets (default: {DATA})"
    )


def add_cell_choice(parser: argparse.ArgumentParser) -> None:
    """Add `--only` and `--seed`, by which some of a suite's cells are chosen."""
    parser.add_argument(
        "--only", action="append", default=[], metavar="METHOD", help="only this method (repeatable)"
    )
    parser.add_argument(
        "--seed", action="append", default=[], type=int, metavar="N", help="only this seed (repeatable)"
    )


def add_openface_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--openface`, which `find_openface` reads."""
    parser.add_argument(
        "--openface",
        type=Path,
        metavar="PLACE",
        help="OpenFace's program or bin folder (default: looked for on PATH)",
    )


def add_runs_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--runs`, the folder that every command which makes or reads results works in."""
    parser.add_argument(
        "--runs", type=folder, default=RUNS, metavar="FOLDER", help=f"folder of results (default: {RUNS})"
    )


def add_tracking_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--tracking-uri`."""
    parser.add_argument(
        "--tracking-uri",
        metavar="URI",
        help="MLflow store (default: MLFLOW_TRACKING_URI, else mlflow.db in the folder of results)",
    )


@contextmanager
def remembered(arguments: argparse.Namespace, words: Sequence[str] = ()) -> Iterator[None]:
    """Let `command` and `this_command` repeat, inside the block, how a command was called."""
    runs, uri = getattr(arguments, "runs", RUNS), getattr(arguments, "tracking_uri", None)
    if runs != RUNS:
        _given["--runs"] = str(runs)
    if uri and "@" not in uri:  # a password is not repeated
        _given["--tracking-uri"] = uri
    _words[:] = words
    try:
        yield
    finally:
        _given.clear()
        _words.clear()


def add_offline_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--offline`, which leaves the store of `add_tracking_argument` alone."""
    parser.add_argument(
        "--offline", action="store_true", help="track in the run's folder; `eggan bench sync` ships it later"
    )


def given_words() -> list[str]:
    """Return the words after `eggan` that this command was called with."""
    return list(_words)


def this_command() -> str:
    """Return the line to type that runs this command, or for a dry run the real one; without a password."""
    words = [PASSWORD.sub(r"\1@", word) for word in _words if word != "--dry-run"]
    return shlex.join(["eggan", *words])


def command(words: str) -> str:
    """Return the line to type for `words`, such as "bench run quick".

    It has the shared options of this call, so that it works in the same folder and store.
    """
    takes = ["--runs", *(["--tracking-uri"] if words.startswith(TRACKED) else [])]
    options = [text for name in takes if name in _given for text in (name, _given[name])]
    return " ".join(["eggan", words, *([shlex.join(options)] if options else [])])


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--device`, which `resolve_device` reads."""
    parser.add_argument(
        "--device",
        default=AUTO,
        metavar="NAME",
        help="auto (CUDA where there is some, else the CPU), cpu, cuda, cuda:1, mps (default: auto)",
    )


def resolve_device(name: str) -> str:
    """Return the torch device called `name`: `auto` is the first CUDA device, or the CPU where there is none.

    A device that is not here is a `UserError` that lists those that are.
    """
    import torch

    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if name == AUTO:
        return cuda[0] if cuda else "cpu"
    if name == "cuda" and cuda:
        return cuda[0]
    here = ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]
    if name not in here:
        raise UserError(f"unknown device {name!r} (here: {', '.join(here)}; or {AUTO})")
    return name
