"""A table of AU labels: which tool read which intensities from which image.

Labels of different tools, versions or modes never share a table: their numbers are not on one scale.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from eggan.aus import AU_COLUMNS, MAX_INTENSITY
from eggan.errors import UserError

COLUMNS = (*AU_COLUMNS, "confidence", "problem")
FRAME = "#"  # separates a video's path from the number of a frame


@dataclass(frozen=True)
class LabelTable:
    """AU intensities by image.

    `table` is indexed by key (a path relative to the photographs' root without its suffix, "#12" appended for
    frame 12 of a video); columns au01 .. au45 in [0, 5], confidence in [0, 1], problem (why a row has no
    label; its AUs are then NaN), and whatever further columns the source had. `mode` is static, dynamic or
    exact: OpenFace's dynamic mode corrects intensities by the rest of the video, so the two differ.
    """

    tool: str
    version: str
    mode: str
    table: pd.DataFrame

    @property
    def origin(self) -> str:
        """Tool, version and mode in one line."""
        return " ".join(part for part in (self.tool, self.version, self.mode) if part)

    def find(self, source_file: str) -> str | None:
        """Return the key of an image's row, or None.

        OpenFace names its CSV after the image, without its folders: a bare name is accepted where the full
        path is not there.
        """
        key = key_of(source_file)
        bare = PurePosixPath(key).name
        return next((name for name in (key, bare) if name in self.table.index), None)


def key_of(source_file: str) -> str:
    """Return a source file's key: "a/b.avi#7" -> "a/b#7", "a/b.jpg" -> "a/b"."""
    path, mark, frame = source_file.partition(FRAME)
    return PurePosixPath(path).with_suffix("").as_posix() + mark + frame


def make_table(tool: str, version: str, mode: str, rows: pd.DataFrame, where: Path | str) -> LabelTable:
    """Check rows (indexed by key) and return them as a table; a duplicate, NaN or bad range: `UserError`."""
    if rows.index.has_duplicates:
        twice = rows.index[rows.index.duplicated()][0]
        raise UserError(f"{where}: {twice!r} is labelled twice")
    read = rows[rows["problem"] == ""]
    values = read[list(AU_COLUMNS)].to_numpy(dtype=np.float64)
    bad = np.argwhere(~((values >= 0) & (values <= MAX_INTENSITY)))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"{where}: {read.index[row]!r} has {AU_COLUMNS[column]} = {values[row, column]:g}, "
            f"outside [0, {MAX_INTENSITY:g}]"
        )
    return LabelTable(tool, version, mode, rows)


def merge(tables: Sequence[LabelTable], where: Path | str) -> LabelTable:
    """Return one table of several; tables of another tool, version or mode are a `UserError`."""
    if not tables:
        raise UserError(f"{where}: no label was found")
    origins = sorted({table.origin for table in tables})
    if len(origins) > 1:
        raise UserError(
            f"{where}: labels of {origins[0]} and of {origins[1]} cannot be mixed: their scales differ"
        )
    first = tables[0]
    rows = pd.concat([table.table for table in tables])
    return make_table(first.tool, first.version, first.mode, rows, where)


def unlabelled(keys: Iterable[str], problem: str) -> pd.DataFrame:
    """Return rows without a label, all for the same reason."""
    index = pd.Index(list(keys), dtype=object)
    rows = pd.DataFrame(np.nan, index=index, columns=list(AU_COLUMNS))
    return rows.assign(confidence=0.0, problem=problem)
