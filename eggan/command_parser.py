"""The parser of every command: a mistake is one line that says what to do, and help shows own examples."""

import argparse
import re
from collections.abc import Callable
from typing import Any, NoReturn

from eggan.errors import nearest

CHOICE = re.compile(r"invalid choice: '(?P<word>[^']*)' \(choose from (?P<known>.*)\)$")
EXAMPLE = "  eggan "  # how an example begins, which may be another command's


class CommandParser(argparse.ArgumentParser):
    """A parser whose mistakes are one line each; it may learn its arguments when it is used.

    `learn`, if set, adds arguments whose modules take seconds to load.
    """

    learn: Callable[[argparse.ArgumentParser], None] | None = None

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse; words that are left over are a mistake of this command, not of the program."""
        self._learn_once()
        found, unknown = super().parse_known_args(args, namespace)
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
        text = " ".join(f"{self.prog}: {message}; `{self.prog} --help` shows what it takes".split())
        self.exit(2, f"{text}\n")

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
