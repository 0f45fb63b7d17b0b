"""The `eggan` command: finds its sub-commands through the entry-point group `eggan.commands`.

Entries are functions `register(subparsers)`; so this module imports nothing from the packages above it, and a
third party's package can add a command. Mistakes of the user end in one line on stderr and status 2.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from eggan import __version__, options, progress, startup
from eggan.errors import UserError, is_disk_full

GROUP = "eggan.commands"
USER_MISTAKE = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells report it
EXAMPLES = """examples:
  eggan doctor                                          what works on this machine
  eggan data build synfacs --size 64                    render the dataset
  eggan bench run quick                                 train and score every method of a suite
  eggan report build                                    tables, figures and an HTML page of the tracked runs
  eggan ui                                              open the tracked runs in MLflow
  eggan train eggan --dataset data/synfacs-twin-64px-s0 --preset cpu
  eggan edit face.png --au 12=4 --au 6=3 -o smile.png   a smile: lip corners and cheeks
  eggan COMMAND --help                                  all options of a command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0, 2 for a user's mistake, 130 when interrupted."""
    startup.prepare()
    words = list(sys.argv[1:] if argv is None else argv)
    return reported(lambda: call(build_parser(words, entry_points(group=GROUP)).parse_args(words), words))


def call(arguments: argparse.Namespace, words: Sequence[str]) -> int:
    """Run a command with its parsed arguments, which were typed as `words`; return its exit status."""
    with options.remembered(arguments, words), progress.none_left():
        return int(arguments.run(arguments) or 0)


def reported(work: Callable[[], int]) -> int:
    """Return the status of `work`; a mistake of the user, or of the machine, is one line on stderr."""
    try:
        return work()
    except UserError as error:
        return _fail(str(error), USER_MISTAKE)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except Exception as error:
        reason = outside_reason(error)
        if reason is None:
            raise
        return _fail(reason, USER_MISTAKE)


def build_parser(arguments: Sequence[str], entries: Iterable[EntryPoint]) -> argparse.ArgumentParser:
    """Return the parser with the sub-command that `arguments` name, or with all when they name none."""
    parser = options.CommandParser(
        prog="eggan",
        description="Edit facial expressions by action units (EGGAN) and benchmark such methods.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"eggan {__version__}")
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", required=True)
    by_name = _unique(entries)
    asked = next((word for word in arguments if not word.startswith("-")), None)
    chosen = [asked] if asked in by_name else sorted(by_name)
    for name in chosen:
        _register(by_name[name], subparsers)
    return parser


def outside_reason(error: BaseException) -> str | None:
    """Return what to say of an error that the machine made and not the program; None of any other."""
    if is_disk_full(error):
        return f"the disk is full ({error}): free some space and run the command again"
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
        return f"there is not enough memory ({error}): use a smaller batch, or fewer workers"
    if isinstance(error, OSError) and error.filename is not None:  # no access, read-only, a name too long, ..
        return f"{error.filename}: {error.strerror}"
    return None


def _unique(entries: Iterable[EntryPoint]) -> dict[str, EntryPoint]:
    by_name: dict[str, EntryPoint] = {}
    for entry in entries:
        if entry.name in by_name and by_name[entry.name].value != entry.value:
            raise UserError(
                f"two packages offer the command {entry.name!r}: {by_name[entry.name].value} "
                f"and {entry.value}; uninstall one of them"
            )
        by_name[entry.name] = entry
    if not by_name:
        raise UserError("no commands are installed: run `pip install -e .` in the repository")
    return by_name


def _register(entry: EntryPoint, subparsers: Any) -> None:
    """Add one command; an entry that cannot be loaded stays visible and fails only when it is called."""
    try:
        register = entry.load()
    except (ImportError, AttributeError) as error:
        reason = f"the command {entry.name!r} ({entry.value}) cannot be loaded: {error}"
        # With NUL as its option prefix the stand-in takes whatever options the real command would.
        broken = subparsers.add_parser(
            entry.name, help=f"(broken: {error})", add_help=False, prefix_chars="\0"
        )
        broken.add_argument("ignored", nargs="*")
        broken.set_defaults(run=lambda _: _raise(reason))
        return
    register(subparsers)


def _raise(message: str) -> int:
    raise UserError(message)


def _fail(message: str, status: int) -> int:
    print(f"eggan: {' '.join(message.split())}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
