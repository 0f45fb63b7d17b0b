"""Folders that reports are made of: where one is given in the place of another, which command reads it."""

import shlex
from pathlib import Path

from eggan.errors import UserError

FRAME, STUDY, PHOTOS, RUNS = "frame.json", "trials.json", "photos.json", "mlflow.db"
# By a file that no other folder has: what it is, and the command that reports it.
KINDS = {
    FRAME: ("the exported frame of a suite", "report build --frame {}"),
    STUDY: ("an exported study", "study report --frame {}"),
    PHOTOS: ("a measurement on photographs", "report photos {}"),
    RUNS: ("a folder of results", "report build --runs {}"),
}


def refuse_other_kind(folder: Path, wanted: str) -> None:
    """Raise a `UserError` for a folder of another kind than `wanted`, a key of `KINDS`; no other is one."""
    if (folder / wanted).is_file():
        return
    for file, (what, words) in KINDS.items():
        if (folder / file).is_file():
            line = f"eggan {words.format(shlex.quote(str(folder)))}"
            raise UserError(f"{folder} is {what}: `{line}` reads it")
    if (folder / "study.json").is_file():
        place = folder.resolve()
        line = shlex.join(["eggan", "study", "report", place.name, "--runs", str(place.parent.parent)])
        raise UserError(f"{folder} is the folder of a study: `{line}` reads it")
