"""Any folder of photographs with a table of labels."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from eggan.aus import EXPRESSIONS, GAZES
from eggan.data.dataset import SPLITS
from eggan.data.file_tree import comparable, printable
from eggan.data.labels.table import LabelTable
from eggan.data.photos.records import UNLABELLED, Photographs, PhotoRecord, Problem, inside
from eggan.errors import UserError, known_names

OTHER = "no image file of that name"


def read_folder(found: Photographs, labels: LabelTable) -> tuple[list[PhotoRecord], list[Problem]]:
    """Return a record per photograph, and what cannot be used: files, and label rows without a file.

    Identity is the label table's column `identity`, else the name of the photograph's folder directly below
    the root; expression and gaze come from the columns of these names. A file without an identity, directly
    in the root or in a folder of a folder, is a `UserError`.
    """
    if not found.files:
        raise UserError(f"{found.root} holds no image file that can be read{_reasons(found.problems)}")
    for named in labels.table.get("file", ()):
        inside(found.root, str(named))
    records = [_record(found.root, file, labels) for file in found.files]
    return records, [*found.problems, *_without_file(found, labels)]


def refuse_frames(found: Photographs, labels: LabelTable) -> None:
    """Refuse OpenFace's files of videos, or of `-fdir`, as labels of photographs: their rows are frames."""
    if labels.has_frames() and all(labels.find(file) is None for file in found.files):
        raise UserError(
            f"the labels are of a sequence ({labels.origin}), as FeatureExtraction writes it, with -fdir "
            f"too: its rows are numbered frames, not photographs. Run `FaceLandmarkImg -fdir {found.root} "
            "-out_dir CSV -aus` and pass --labels CSV, or let --openface do it"
        )


def refuse_twins(people: Iterable[str]) -> None:
    """Refuse people whose names differ in letter case only: one person would be in two splits."""
    names: dict[str, str] = {}
    for name in sorted(people):
        first = names.setdefault(name.casefold(), name)
        if first != name:
            raise UserError(
                f"{first!r} and {name!r} differ in letter case only: write one person's name one way, "
                "or name two people apart"
            )


def split_column(records: list[PhotoRecord], labels: LabelTable) -> dict[str, str] | None:
    """Return the split by identity that the label table has, or None; a person in two is a `UserError`."""
    if "split" not in labels.table:
        return None
    split: dict[str, str] = {}
    for record in records:
        key = labels.find(record.source_file)
        if key is None:
            continue
        part = str(labels.table.at[key, "split"])
        if part not in SPLITS:
            raise UserError(f"{record.source_file}: unknown split {part!r}{known_names(part, SPLITS)}")
        if split.setdefault(record.identity, part) != part:
            raise UserError(f"{record.identity!r} is in the splits {split[record.identity]!r} and {part!r}")
    return split


def _reasons(problems: Sequence[Problem]) -> str:
    return f": {printable(problems[0].source_file)}: {problems[0].reason}" if problems else ""


def _without_file(found: Photographs, labels: LabelTable) -> list[Problem]:
    """Return the label rows that no photograph has, each with the near match that explains it, if any."""
    used = {labels.find(file) for file in found.files}
    reported = {labels.find(problem.source_file) for problem in found.problems}
    near = {labels.near(file): file for file in found.files if labels.find(file) is None}
    near = {key: f"{OTHER}, but {file!r} differs in letter case only" for key, file in near.items()}
    return [
        Problem(_file_of(labels, key), near.get(key) or _taken_once(found, _file_of(labels, key)) or OTHER)
        for key in labels.table.index
        if key not in used and key not in reported
    ]


def _taken_once(found: Photographs, file: str) -> str | None:
    """Return where a file counts to which a label's path only leads by a link, None for any other."""
    for link, first in found.again.items():
        if file == link or file.startswith(f"{link}/"):
            return f"a link to {first}{file.removeprefix(link)}, which is taken once"
    return None


def _record(root: Path, file: str, labels: LabelTable) -> PhotoRecord:
    inside(root, file)
    key = labels.find(file)
    row = {} if key is None else {name: labels.table.at[key, name] for name in labels.table.columns}
    folders = PurePosixPath(file).parent.parts
    identity = comparable(str(row.get("identity", "") or (folders[0] if len(folders) == 1 else "")))
    if not identity:
        raise UserError(
            f"{file}: whose face is it? Put each person's photographs into one folder directly below {root}, "
            "or add the column `identity` to the labels"
        )
    expression = _known(row, "expression", EXPRESSIONS, file)
    return PhotoRecord(file, identity, expression, _known(row, "gaze", GAZES, file))


def _known(row: Mapping[Any, Any], column: str, known: tuple[str, ...], file: str) -> str:
    value = str(row.get(column, "") or UNLABELLED)
    if value not in (*known, UNLABELLED):
        raise UserError(f"{file}: unknown {column} {value!r}{known_names(value, known)}")
    return value


def _file_of(labels: LabelTable, key: str) -> str:
    return str(labels.table.at[key, "file"]) if "file" in labels.table else key
