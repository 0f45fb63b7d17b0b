"""A table of AU labels: which tool read which intensities from which image.

Labels of different tools, versions or modes never share a table: their numbers are not on one scale.
"""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from eggan.aus import AU_COLUMNS, MAX_INTENSITY
from eggan.data.file_tree import below, composed
from eggan.errors import UserError

COLUMNS = (*AU_COLUMNS, "confidence", "problem")
FRAME = "#"  # separates a video's path from the number of a frame
FRAME_OF_VIDEO = re.compile(rf"(?P<video>.+){FRAME}(?P<frame>\d+)")


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
        """Return the key of an image's row, or None; see `match`."""
        return self.match(key_of(source_file))

    def match(self, key: str) -> str | None:
        """Return the row for an image's key, or None.

        OpenFace names its CSV after the image, without its folders, and py-feat writes absolute paths: where
        the full path is not there, the path without its first folders is looked up.
        """
        return _longest_ending(key, self.table.index)

    def near(self, source_file: str) -> str | None:
        """Return the row that an image would have if letter case did not count, or None."""
        ending = _longest_ending(key_of(source_file).casefold(), self._folded)
        return None if ending is None else self._folded[ending]

    def relative_to(self, root: Path) -> "LabelTable":
        """Return the table with keys that are absolute paths in `root` made relative to it."""
        keys = pd.Index([composed(below(root, str(key))) for key in self.table.index], dtype=object)
        if keys.equals(self.table.index):
            return self
        return make_table(self.tool, self.version, self.mode, self.table.set_axis(keys), root)

    def has_frames(self) -> bool:
        """Return whether rows are of a video's frames."""
        return bool(self._videos)

    def frames(self, source_file: str) -> pd.DataFrame:
        """Return the rows of a video's frames, indexed by the number of the frame (from 0), in order."""
        key = _longest_ending(key_of(source_file), self._videos.keys())
        return self.table.iloc[:0] if key is None else self._videos[key]

    @cached_property
    def _folded(self) -> dict[str, str]:
        return {str(key).casefold(): str(key) for key in self.table.index}

    @cached_property
    def _videos(self) -> dict[str, pd.DataFrame]:
        places = [FRAME_OF_VIDEO.fullmatch(str(key)) for key in self.table.index]
        rows = [row for row, place in enumerate(places) if place is not None]
        named = self.table.iloc[rows].set_axis(pd.Index([int(p["frame"]) for p in places if p is not None]))
        owners = np.array([p["video"] for p in places if p is not None], dtype=object)
        return {str(owner): group.sort_index() for owner, group in named.groupby(owners, sort=False)}


def _longest_ending(key: str, known: Collection[str] | pd.Index) -> str | None:
    parts = key.split("/")
    endings = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((ending for ending in endings if ending in known), None)


def key_of(source_file: str) -> str:
    """Return a source file's key: "a/b.avi#7" -> "a/b#7", "a/b.jpg" -> "a/b"; no name: `UserError`.

    Letters are `composed`.
    """
    named = composed(source_file).replace("\\", "/")
    place = FRAME_OF_VIDEO.fullmatch(named)
    path = PurePosixPath(place["video"] if place else named)
    if not path.name:
        raise UserError(f"{source_file!r} names no file")
    return path.with_suffix("").as_posix() + (f"{FRAME}{place['frame']}" if place else "")


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
