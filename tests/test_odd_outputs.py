"""A result that cannot be written where it is asked for is refused before the work, in one line."""

import errno
import os
import socket
from itertools import product
from pathlib import Path

import pytest

from eggan import files
from eggan.errors import UserError
from eggan.evaluation import make_instruments
from eggan.files import check_writable
from tests.test_foreign_files import COMMANDS, workplace  # noqa: F401

KINDS = ("pipe", "device", "long", "below a file", "full", "file or folder")
FILES = ("data head", *(name for name, (words, _) in COMMANDS.items() if any("OUT." in w for w in words)))

# A folder is where edits of several photographs go.
CASES = [pair for pair in product(COMMANDS, KINDS) if pair != ("edit", "file or folder")]


def odd_place(kind: str, folder: Path, end: str) -> Path:
    """Return a place of a kind for a result whose name ends in `end`."""
    if kind == "pipe":
        os.mkfifo(folder / f"pipe{end}")
        return folder / f"pipe{end}"
    if kind == "device":
        (folder / f"device{end}").symlink_to("/dev/full")
        return folder / f"device{end}"
    if kind == "below a file":
        (folder / "file").write_bytes(b"mine")
        return folder / "file" / f"x{end}"
    return folder / "new" / (f"{'x' * 256}{end}" if kind == "long" else f"x{end}")


def make_other(place: Path, command: str) -> None:
    """Make a folder where a command writes a file, else a file."""
    place.parent.mkdir()
    if command in FILES:
        place.mkdir()
    else:
        place.write_bytes(b"mine")


@pytest.fixture
def full_disk(monkeypatch):
    """Every file that is written to is on a full disk."""

    def full(**_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    return lambda: monkeypatch.setattr(files, "TemporaryFile", full)


@pytest.mark.parametrize(("command", "kind"), CASES)
def test_a_place_where_nothing_can_be_written_is_one_line_before_the_work(
    workplace,  # noqa: F811
    tmp_path,
    eggan,
    monkeypatch,
    full_disk,
    command,
    kind,
):
    monkeypatch.chdir(workplace)
    monkeypatch.setattr(make_instruments, "make_instrument", lambda *_: pytest.fail("it went to work"))
    given = next(word for word in COMMANDS[command][0] if word.startswith("OUT"))
    place = odd_place(kind, tmp_path, given.removeprefix("OUT"))
    if kind == "full":
        full_disk()
    if kind == "file or folder":
        make_other(place, command)
    before = sorted(tmp_path.rglob("*"))
    words = [str(place) if word == given else word for word in COMMANDS[command][0]]
    status, _, err = eggan(*words)
    assert (status, err.count("\n")) == (2, 1), err
    assert err.startswith("eggan: ")
    assert str(tmp_path) in err
    assert sorted(tmp_path.rglob("*")) == before


def test_a_check_leaves_nothing_and_says_what_is_wrong(tmp_path):
    check_writable(tmp_path / "new" / "deep")
    assert not list(tmp_path.iterdir())
    (tmp_path / "ours").write_text("x")
    check_writable(tmp_path / "ours")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        with pytest.raises(UserError, match="is a device or a pipe"):
            check_writable(tmp_path / "socket")
    for long in (
        tmp_path / ("é" * 128),
        tmp_path / "new" / ("x" * 256) / "y",
        tmp_path.joinpath(*["xx"] * 2000),
    ):
        with pytest.raises(UserError, match=r"at most 255 bytes|File name too long"):
            check_writable(long)
    check_writable(tmp_path / ("x" * 255))
