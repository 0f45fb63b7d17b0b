"""Tables of ready texts, for pages of one kind of row, as Markdown and CSV."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reports.style.table_writers import csv_lines, markdown_grid


@dataclass(frozen=True)
class TextTable:
    """A table of texts; `key` names its files."""

    key: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def write_text_tables(tables: Iterable[TextTable], folder: Path) -> None:
    """Write each table as `<key>.md` and `<key>.csv` into a new folder."""
    folder.mkdir(parents=True)
    for table in tables:
        grid = [table.header, ("---",) * len(table.header), *table.rows]
        (folder / f"{table.key}.md").write_text(markdown_grid(grid), encoding="utf-8")
        (folder / f"{table.key}.csv").write_text(csv_lines([table.header, *table.rows]), encoding="utf-8")
