"""Files that a user names for a result: nothing of the user's is written over.

What a command writes carries a mark with a hash of its content. A file that still is what a command wrote may
be replaced by the next result; any other one, one that was changed since included, only with `--force`, and
an input of the same command never.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from eggan.errors import UserError
from eggan.files import check_writable

SEAL = "# eggan, sha256 of the lines below: "


def add_force_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--force`, which `check_output` takes."""
    parser.add_argument(
        "--force", action="store_true", help="replace what is there though it is no earlier result"
    )


def check_output(
    path: Path, inputs: Iterable[Path], is_own: Callable[[Path], bool], force: bool = False
) -> None:
    """Raise a `UserError` where writing `path` would lose a file of the user's, or fail.

    `inputs` are what the command reads, by whatever names; `is_own` says whether a file is an earlier result.
    """
    for given in inputs:
        if _same(path, given):
            raise UserError(f"{path} is the input {given}: choose another name for the result")
    check_writable(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file for the result")
    if path.exists() and not force and not is_own(path):
        raise UserError(f"{path} exists and is no earlier result: choose another name, or add --force")


def check_output_folder(folder: Path) -> None:
    """Raise a `UserError` where `folder`, which need not be there, is a file or cannot be written into."""
    check_writable(folder)
    if folder.is_file():
        raise UserError(f"{folder} is a file: name a folder with --out")


def refuse_existing(folder: Path, names: Iterable[str], writer: str) -> None:
    """Raise a `UserError` where `folder` has one of the files `names`; `writer` is what did not write it."""
    for name in names:
        if (folder / name).exists() or (folder / name).is_symlink():
            raise UserError(f"{folder} holds a {name} that no {writer} wrote: choose another --out")


def _same(path: Path, given: Path) -> bool:
    try:
        return path.samefile(given)
    except OSError:  # one of them is not there
        return False


def sealed(text: str) -> str:
    """Return a text with a first line that holds its hash: a comment in TOML."""
    return f"{SEAL}{hashlib.sha256(text.encode()).hexdigest()}\n{text}"


def is_sealed(path: Path) -> bool:
    """Return whether a file holds a `sealed` text that nobody has changed."""
    try:
        seal, _, text = path.read_text(encoding="utf-8").partition("\n")
    except (OSError, ValueError):
        return False
    return sealed(text).partition("\n")[0] == seal
