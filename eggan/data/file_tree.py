"""What lies below a folder that a user names: their files, without what systems and programs put beside them.

Hidden files and folders and the folders of file servers, trash cans and notebooks are passed over at every
depth, and counted. Folders that are links are followed; each file is taken once, whatever leads to it.
"""

import os
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from eggan.errors import UserError

SYSTEM_NAMES = (  # in small letters; whatever begins with a point is hidden anyway
    *("@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "lost+found"),
    *("system volume information", "network trash folder", "temporary items", "__macosx", "__pycache__"),
    *("thumbs.db", "ehthumbs.db", "desktop.ini"),
)


@dataclass
class FileTree:
    """Files below a root as POSIX paths relative to it, sorted.

    `passed_over` counts hidden and system entries by name; `again` maps a path that leads to a file which is
    there already to the path that counts; `unreadable` maps a path to why it cannot be read; `linked` names
    the folders that links have brought in.
    """

    files: list[str] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)
    again: dict[str, str] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    linked: list[str] = field(default_factory=list)


def is_passed_over(name: str) -> bool:
    """Return whether an entry of that name belongs to the system or a program, not to the user's data."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def read_tree(root: Path) -> FileTree:
    """Return the files below `root`; a root that is no readable folder is a `UserError`."""
    if not os.path.isdir(root):
        raise UserError(f"no such folder: {root}")
    found = FileTree()
    followed = {os.path.realpath(root): "."}  # the first path to each folder that a link leads to
    folders = [""]
    while folders:
        _read_folder(root, folders.pop(), found, folders, followed)
    if "" in found.unreadable:
        raise UserError(f"{root}: {found.unreadable['']}")
    _take_files_once(root, found)
    return found


def below(root: Path, named: str) -> str:
    """Return a path as POSIX, relative to `root` where it is an absolute one in it."""
    path = PurePosixPath(named.replace("\\", "/"))
    if path.is_absolute():
        for home in (os.path.abspath(root), os.path.realpath(root)):
            if PurePosixPath(composed(str(path))).is_relative_to(composed(home)):
                return "/".join(path.parts[len(PurePosixPath(home).parts) :])
    return path.as_posix()


def composed(name: str) -> str:
    """Return a name with its letters composed: macOS writes one with an accent as two characters."""
    return unicodedata.normalize("NFC", name)


def comparable(name: str) -> str:
    """Return a name by which spellings that look the same are equal: composed letters, single spaces."""
    return " ".join(composed(name).split())


def printable(name: str) -> str:
    r"""Return a file's name as text that any file can hold: bytes that are no UTF-8 become \xff."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def passed_over_note(passed_over: Mapping[str, int]) -> str | None:
    """Return in one line what was passed over, None where it was nothing."""
    if not passed_over:
        return None
    total = sum(passed_over.values())
    names = sorted(passed_over, key=lambda name: (-passed_over[name], name))
    more = ", .." if len(names) > 5 else ""
    listed = ", ".join(printable(name) for name in names[:5])
    return f"{total} hidden or system {'entry' if total == 1 else 'entries'} passed over ({listed}{more})"


def _read_folder(
    root: Path, name: str, found: FileTree, folders: list[str], followed: dict[str, str]
) -> None:
    """Add the files of one folder to `found` and its folders, in order, to `folders`."""
    try:
        with os.scandir(root / name) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name, reverse=True)
    except OSError as error:
        found.unreadable[name] = f"the folder cannot be read: {error.strerror}"
        return
    for entry in ordered:
        path = f"{name}/{entry.name}" if name else entry.name
        if is_passed_over(entry.name):
            found.passed_over[entry.name] += 1
        elif os.path.isdir(root / path):  # unlike the entry's own method, False for links in a loop
            if entry.is_symlink():
                first = followed.setdefault(os.path.realpath(root / path), path)
                if first != path:
                    found.again[path] = first
                    continue
                found.linked.append(path)
            folders.append(path)
        elif os.path.isfile(root / path):
            found.files.append(path)
        elif entry.is_symlink():
            found.unreadable[path] = f"a link to {printable(os.readlink(root / path))}, which is not there"


def _take_files_once(root: Path, found: FileTree) -> None:
    """Keep one path of each file: the shortest, its own rather than a link's, then the first by name."""

    def rank(path: str) -> tuple[int, bool, bool, str]:
        through_link = any(path.startswith(f"{folder}/") for folder in found.linked)
        return path.count("/"), os.path.islink(root / path), through_link, path

    owners: dict[str, str] = {}
    for path in sorted(found.files, key=rank):
        owner = owners.setdefault(os.path.realpath(root / path), path)
        if owner != path:
            found.again[path] = owner
    found.files = sorted(owners.values())
