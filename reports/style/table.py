"""The shape of a table, free of any output format: entries with intervals, rows with their evidence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["method", "reference", "published"]


@dataclass(frozen=True)
class Entry:
    """One value with its interval or spread, or the words that stand in its place (never blank)."""

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    spread: float = math.nan  # standard deviation over seeds (ddof = 1)
    digits: int = 2
    words: str = ""  # in the place of a value: "failed", "undefined", "not measured: ..."
    remark: str = ""  # short addition, such as "16 AUs" where the mean leaves one out
    best: bool = False

    @property
    def measured(self) -> bool:
        """Whether there is a number to show."""
        return not self.words and math.isfinite(self.value)

    @property
    def number(self) -> str:
        """The value as text, or the words in its place."""
        return _fixed(self.value, self.digits) if self.measured else self.words or "undefined"

    @property
    def status(self) -> str:
        """The number, or the words in its place without the reason: "not measured"."""
        return self.number.partition(": ")[0]

    @property
    def reason(self) -> str:
        """Why there is no number; empty where there is one, or none was given."""
        return self.number.partition(": ")[2]

    @property
    def interval(self) -> str:
        """`[low, high]`, `± sd`, or nothing."""
        if self.measured and math.isfinite(self.low) and math.isfinite(self.high):
            return f"[{_fixed(self.low, self.digits)}, {_fixed(self.high, self.digits)}]"
        return f"± {_fixed(self.spread, self.digits)}" if self.measured and math.isfinite(self.spread) else ""

    @property
    def text(self) -> str:
        """Number, interval and remark on one line."""
        return " ".join(filter(None, (self.number, self.interval, f"({self.remark})" if self.remark else "")))


@dataclass(frozen=True)
class Evidence:
    """What a row rests on: pairs per seed, finished seeds, owed seeds, reasons of failures, run ids."""

    pairs: int = 0
    seeds: int = 0
    owed: int = 0
    failures: tuple[str, ...] = ()
    run_ids: tuple[str, ...] = ()

    @property
    def seeds_text(self) -> str:
        """`2/3` where seeds are missing, `3` where all are there."""
        return str(self.seeds) if self.seeds == self.owed else f"{self.seeds}/{self.owed}"


@dataclass(frozen=True)
class TableRow:
    """One line of a table; `group` is the heading it stands under."""

    label: str
    entries: tuple[Entry, ...]
    kind: Kind = "method"
    group: str = ""
    evidence: Evidence | None = None


@dataclass(frozen=True)
class Table:
    """A table: `columns` name the entries of each row; `wide` leaves per-entry intervals to HTML and CSV."""

    key: str
    title: str
    caption: str
    corner: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = ()
    wide: bool = False

    @property
    def has_evidence(self) -> bool:
        """Whether rows carry n, seeds and failures of their own."""
        return any(row.evidence for row in self.rows)

    @property
    def groups(self) -> tuple[str, ...]:
        """Headings in order of first appearance."""
        return tuple(dict.fromkeys(row.group for row in self.rows))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why there are no numbers, each reason once, in order of first appearance."""
        return tuple(dict.fromkeys(e.reason for row in self.rows for e in row.entries if e.reason))


def mark_best(entries: Sequence[Entry], eligible: Sequence[bool], direction: str) -> tuple[Entry, ...]:
    """Mark the best of two or more eligible measured entries, with ties at printed precision."""
    scored = [(i, round(e.value, e.digits)) for i, e in enumerate(entries) if eligible[i] and e.measured]
    if direction not in ("min", "max") or len(scored) < 2:
        return tuple(entries)
    top = (min if direction == "min" else max)(value for _, value in scored)
    winners = {index for index, value in scored if value == top}
    return tuple(replace(e, best=True) if i in winners else e for i, e in enumerate(entries))


def mark_best_of_columns(rows: Sequence[TableRow], directions: Sequence[str]) -> list[TableRow]:
    """Mark the best trained method of each column."""
    eligible = [row.kind == "method" for row in rows]
    columns = [
        mark_best([row.entries[i] for row in rows], eligible, direction)
        for i, direction in enumerate(directions)
    ]
    return [replace(row, entries=tuple(column[i] for column in columns)) for i, row in enumerate(rows)]


def _fixed(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"  # counts and seconds get thousands separators
    return text.removeprefix("-") if round(value, digits) == 0 else text
