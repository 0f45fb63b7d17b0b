"""What a kill at each step of a write leaves, tried in a small process.

To fork one that has libraries loaded, as tests have, takes as long as all else that is done here at a step.
"""

import json
import os
import sys
from pathlib import Path

from eggan import files
from tests.kills import each_kill

PATTERNS = ("a.txt", "parts/*.txt")


def write_folder(folder: Path, text: str) -> None:
    """Replace a folder by one of two files that hold `text`."""
    with files.replaced_folder(folder, PATTERNS) as staged:
        (staged / "a.txt").write_text(text)
        (staged / "parts").mkdir()
        (staged / "parts" / f"{text}.txt").write_text(text)


def contents(folder: Path) -> dict[str, str]:
    """Return what the files of a folder hold, by name."""
    return {name: (folder / name).read_text() for name in files.files_in(folder)}


def whole(text: str) -> dict[str, str]:
    """Return the contents of a folder that `write_folder` has written."""
    return {"a.txt": text, f"parts/{text}.txt": text}


def leftovers(folder: Path) -> list[Path]:
    """Return what of a write was not brought to its end."""
    return list(folder.rglob(files.STAGING))


def of_a_folder(folder: Path, in_two_steps: bool = False) -> list[dict[str, str]]:
    """Return what a reader finds in a folder after each kill; the next write must mend everything."""
    if in_two_steps:
        files._exchange = lambda one, other: False
    write_folder(folder, "old")
    found = []
    for _ in each_kill(lambda: write_folder(folder, "new")):
        if in_two_steps:
            files.restore_folder(folder)  # what a reader does first
        found.append(contents(folder))
        write_folder(folder, "old")
        assert contents(folder) == whole("old")
        assert leftovers(folder.parent) == []
        files._sweep_once.cache_clear()
    assert contents(folder) == whole("new")
    return found


def of_a_folder_in_two_steps(folder: Path) -> list[dict[str, str]]:
    """As `of_a_folder`, where a file system cannot exchange two folders."""
    return of_a_folder(folder, in_two_steps=True)


def of_a_file(path: Path) -> list[str]:
    """Return what a file holds after each kill; the next write must leave nothing else beside it."""
    files.write_text("old", path)
    found = []
    for _ in each_kill(lambda: files.write_text("new", path)):
        found.append(path.read_text())
        files.write_text("old", path)
        assert os.listdir(path.parent) == [path.name]
        files._sweep_once.cache_clear()
    return found


if __name__ == "__main__":
    os.fsync = lambda file: None  # a killed process leaves the same with or without
    print(json.dumps(globals()[sys.argv[1]](Path(sys.argv[2]))))
