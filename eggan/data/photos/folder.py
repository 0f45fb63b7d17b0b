"""Any folder of photographs with a table of labels."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from eggan.aus import EXPRESSIONS, GAZES
from eggan.data.dataset import SPLITS
from eggan.data.labels.table import LabelTable
from eggan.data.photos.records import UNLABELLED, PhotoRecord, Problem, image_files, inside
from eggan.errors import UserError

OTHER = "no image file of that name"


def read_folder(root: Path, labels: LabelTable) -> tuple[list[PhotoRecord], list[Problem]]:
    """Return a record per image file below `root`, and the label rows whose file is not there.

    Identity is the label table's column `identity`, else the name of the photograph's folder directly below
    `root`; expression and gaze come from the columns of these names. A file without an identity, directly in
    `root` or in a folder of a folder, is a `UserError`.
    """
    files = image_files(root)
    if not files:
        raise UserError(f"{root} holds no image file")
    for named in labels.table.get("file", ()):
        inside(root, str(named))
    records = [_record(root, file, labels) for file in files]
    used = {labels.find(file) for file in files}
    problems = [Problem(_file_of(labels, key), OTHER) for key in labels.table.index if key not in used]
    return records, problems


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
            raise UserError(f"{record.source_file}: unknown split {part!r} (known: {', '.join(SPLITS)})")
        if split.setdefault(record.identity, part) != part:
            raise UserError(f"{record.identity!r} is in the splits {split[record.identity]!r} and {part!r}")
    return split


def _record(root: Path, file: str, labels: LabelTable) -> PhotoRecord:
    inside(root, file)
    key = labels.find(file)
    row = {} if key is None else {name: labels.table.at[key, name] for name in labels.table.columns}
    folders = PurePosixPath(file).parent.parts
    identity = str(row.get("identity", "") or (folders[0] if len(folders) == 1 else ""))
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
        raise UserError(f"{file}: unknown {column} {value!r} (known: {', '.join(known)})")
    return value


def _file_of(labels: LabelTable, key: str) -> str:
    return str(labels.table.at[key, "file"]) if "file" in labels.table else key
