"""CSV files as spreadsheets and tools write them, read as text by column.

Read without asking: UTF-8 with or without a byte order mark, UTF-16; commas, semicolons, tabs or bars;
a first line `sep=;`; decimal commas where the comma separates no columns; blank lines; empty columns at the
end; the unnamed index column that pandas and R put first. What could mean two things is a `UserError`.
"""

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

from eggan.errors import UserError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?", re.ASCII)
INDEX_NAMES = ("", "Unnamed: 0")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class CsvRow(dict[str, str]):
    """The cells of one line by column, without outer spaces; `where` is "FILE, line N" for messages."""

    def __init__(self, header: Sequence[str], cells: Sequence[str], path: Path, line: int) -> None:
        super().__init__(zip(header, cells, strict=True))
        self._path, self._line = path, line

    @property
    def where(self) -> str:
        """The file and the line."""
        return f"{self._path}, line {self._line}"

    def number(self, name: str) -> float:
        """Return a finite number of this row; anything else is a `UserError` that says where it stands."""
        text = self[name]
        try:
            # Python would read 1_5 as 15.
            value = float(text.replace(",", ".") if DECIMAL_COMMA.fullmatch(text) else text.replace("_", "?"))
        except ValueError:
            raise UserError(f"{self.where}: {name} is {text!r}, not a number") from None
        if not math.isfinite(value):
            raise UserError(f"{self.where}: {name} is {text}")
        return value


def read_rows(path: Path) -> tuple[list[str], list[CsvRow]]:
    """Return header and rows of a CSV file; an empty, cut or ambiguous one is a `UserError`."""
    text = _text(path)
    first, _, rest = text.partition("\n")
    declared = SEPARATOR_LINE.fullmatch(first.strip("\r"))
    separator = declared[1] if declared else _separator(path, text)
    lines = _lines(path, rest if declared else text, separator, 2 if declared else 1)
    if not lines:
        raise UserError(f"{path} is empty")
    header, body = _without_empty_columns(lines)
    for number, cells in body:
        if len(cells) != len(header):
            raise UserError(_misfit(path, number, len(cells), len(header), separator))
    header, body = _without_index(path, header, body)
    _check_names(path, header)
    return header, [CsvRow(header, cells, path, number) for number, cells in body]


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
        text = content.decode(_encoding(content))
    except FileNotFoundError:
        raise UserError(f"no such label file: {path}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8: save it as UTF-8"
        raise UserError(f"{path} cannot be read as CSV: {reason}") from None
    text = text.removeprefix("\ufeff")
    if "\0" in text or "\ufeff" in text:
        raise UserError(f"{path} cannot be read as CSV: it is not a text file")
    return text


def _encoding(content: bytes) -> str:
    if content.startswith(UTF16_MARKS):
        return "utf-16"
    head = content[:200]
    # Without a mark: every second byte of ASCII text in UTF-16 is zero.
    if len(head) > 1 and not any(head[1::2]):
        return "utf-16-le"
    if len(head) > 1 and not any(head[::2]):
        return "utf-16-be"
    return "utf-8"


def _separator(path: Path, text: str) -> str:
    """Return what separates the columns: the one that gives every line as many cells as the header."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    present = [separator for separator in SEPARATORS if separator in header]
    if len(present) < 2:
        return present[0] if present else ","
    fitting = [separator for separator in present if _fits(path, text, separator)]
    if len(fitting) != 1:
        names = " and ".join(SEPARATORS[separator] for separator in (fitting or present)[:2])
        raise UserError(
            f"{path}: columns could be separated by {names}: save it with one of them, or name it in a first "
            "line such as sep=;"
        )
    return fitting[0]


def _fits(path: Path, text: str, separator: str) -> bool:
    try:
        header, body = _without_empty_columns(_lines(path, text, separator, 1))
    except UserError:
        return False
    return len(header) > 1 and all(len(cells) == len(header) for _, cells in body)


Line = tuple[int, list[str]]  # the number in the file, and the cells


def _lines(path: Path, text: str, separator: str, first: int) -> list[Line]:
    """Return the lines that hold anything."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=separator != " ", strict=True
    )
    found: list[Line] = []
    try:
        for cells in reader:
            stripped = [cell.strip() for cell in cells]
            if any(stripped):
                found.append((reader.line_num + first - 1, stripped))
    except csv.Error as error:
        line = reader.line_num + first - 1
        raise UserError(f"{path} cannot be read as CSV: line {line}: {error}") from None
    return found


def _without_empty_columns(lines: list[Line]) -> tuple[list[str], list[Line]]:
    """Drop columns at the end that have neither a name nor, in any line, a value."""
    header, body = (lines[0][1], lines[1:]) if lines else ([], [])
    used = max((len(_trimmed(cells)) for _, cells in lines), default=0)
    named = len(_trimmed(header))
    width = max(used, named)
    longest = max((len(cells) for _, cells in lines), default=0)
    if longest <= width:
        return header, body
    return header[:width], [(number, cells[:width]) for number, cells in body]


def _trimmed(cells: list[str]) -> list[str]:
    end = len(cells)
    while end and not cells[end - 1]:
        end -= 1
    return cells[:end]


def _without_index(path: Path, header: list[str], body: list[Line]) -> tuple[list[str], list[Line]]:
    """Drop a first column without a name that only counts the rows."""
    if len(header) < 2 or header[0] not in INDEX_NAMES:
        return header, body
    cells = [line[0] for _, line in body]
    if not all(cell.isdecimal() for cell in cells) or len(set(cells)) != len(cells):
        raise UserError(f"{path}: the first column has no name, and does not only count the rows: name it")
    return header[1:], [(number, line[1:]) for number, line in body]


def _check_names(path: Path, header: list[str]) -> None:
    for name in header:
        if header.count(name) > 1:
            raise UserError(f"{path} has the column {name!r} twice: which one counts?")


def _misfit(path: Path, line: int, values: int, columns: int, separator: str) -> str:
    counted = f"{path}, line {line}: {values} values under a header of {columns}"
    if values < columns:
        return f"{counted}: the file is cut"
    if separator == ",":
        return f"{counted}: decimal commas need another separator: save it with semicolons, or with points"
    return f"{counted}: a value holds the separator ({SEPARATORS.get(separator, separator)})"
