"""Tables as Markdown, LaTeX (booktabs), CSV and terminal text; functions return text, only commands print."""

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from reports.style.table import Entry, Table, TableRow

EVIDENCE_COLUMNS = ("n", "seeds", "failed")
CSV_COLUMNS = (
    *("table", "group", "row", "kind", "column", "value", "low", "high", "sd_over_seeds", "words", "remark"),
    *("n", "seeds", "failed", "run_ids"),
)
_TEX = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "–": "--",
        "−": "$-$",
    }
    | {"↓": r"$\downarrow$", "↑": r"$\uparrow$", "α": r"$\alpha$", "±": r"$\pm$", "×": r"$\times$"}
    | {"≤": r"$\leq$", "≥": r"$\geq$"}
)


def write_tables(tables: Iterable[Table], folder: Path) -> None:
    """Write each table as `<key>.md`, `<key>.tex` and `<key>.csv` into a new folder."""
    folder.mkdir(parents=True)
    for table in tables:
        for suffix, writer in (("md", markdown), ("tex", latex), ("csv", csv_text)):
            (folder / f"{table.key}.{suffix}").write_text(writer(table), encoding="utf-8")


def markdown(table: Table) -> str:
    """Return the table as GitHub Markdown with title, caption and notes; best entries are bold."""
    header = _header(table)
    grid = [header, ["---", *["---:"] * (len(header) - 1)]]
    for group in table.groups:
        grid += [[f"**{group}**", *[""] * (len(header) - 1)]] if group else []
        grid += [_cells(table, row, str, ("**", "**")) for row in table.rows if row.group == group]
    notes = "".join(f"- {_one_cell(note)}\n" for note in table.notes)
    text = f"### {table.title}\n\n{table.caption}\n\n{markdown_grid(grid)}\n{notes}"
    return text.rstrip() + "\n"


def markdown_grid(lines: Iterable[Sequence[str]]) -> str:
    """Return lines of cells as those of a Markdown table; bars and line ends inside cells are escaped."""
    return "".join(f"| {' | '.join(map(_one_cell, line))} |\n" for line in lines)


def latex(table: Table) -> str:
    """Return the table as a LaTeX `table*` float for the packages booktabs and graphicx."""
    header = _header(table)
    lines = [
        *(r"\begin{table*}[t]", r"\centering", rf"\caption{{{_tex(table.title)}. {_tex(table.caption)}}}"),
        *(rf"\label{{tab:{table.key}}}", r"\resizebox{\linewidth}{!}{%"),
        *(rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}", r"\toprule", _tex_line(map(_tex, header))),
    ]
    for group in table.groups:
        heading = rf"\multicolumn{{{len(header)}}}{{l}}{{\textit{{{_tex(group)}}}}}"
        lines += [r"\midrule", *([_tex_line([heading])] if group else [])]
        rows = (row for row in table.rows if row.group == group)
        lines += [_tex_line(_cells(table, row, _tex, (r"\textbf{", "}"))) for row in rows]
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines += [rf"\par\smallskip\footnotesize {_tex(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table*}"]) + "\n"


def csv_text(table: Table) -> str:
    """Return the table in long form: one line per entry, full precision, n, seeds, failures and run ids."""
    lines = [
        _csv_line(table, row, column, entry)
        for row in table.rows
        for column, entry in zip(table.columns, row.entries, strict=True)
    ]
    return csv_lines([CSV_COLUMNS, *lines])


def csv_lines(lines: Iterable[Sequence[str]]) -> str:
    """Return lines of cells as CSV."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(lines)
    return stream.getvalue()


def terminal(table: Table) -> str:
    """Return the table as aligned plain text for an 80-120 column terminal: why something was not measured
    stands in the other forms.
    """
    header = [table.corner, *table.columns, *(("n", "seeds") if table.has_evidence else ())]
    body = [
        [row.label, *map(_short, row.entries), *_evidence(row)[: 2 * table.has_evidence]]
        for row in table.rows
    ]
    widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [table.title, rule, _aligned(header, widths), rule]
    previous = table.rows[0].group if table.rows else ""
    for row, cells in zip(table.rows, body, strict=True):
        lines += [""] if row.group != previous else []
        lines.append(_aligned(cells, widths))
        previous = row.group
    return "\n".join([*lines, rule])


def _short(entry: Entry) -> str:
    return entry.text if entry.measured else entry.status


def _header(table: Table) -> list[str]:
    return [table.corner, *table.columns, *(EVIDENCE_COLUMNS if table.has_evidence else ())]


def _cells(table: Table, row: TableRow, escape: Callable[[str], str], bold: tuple[str, str]) -> list[str]:
    """Return the cells of a line: label, entries with the best in `bold`, evidence.

    A wide table keeps only its last interval, the mean's; all are in CSV, HTML and the by-AU table.
    """
    last = len(table.columns) - 1
    texts = [escape(e.number if table.wide and i < last else e.text) for i, e in enumerate(row.entries)]
    marked = [
        f"{bold[0]}{text}{bold[1]}" if e.best else text for text, e in zip(texts, row.entries, strict=True)
    ]
    return [escape(row.label), *marked, *(map(escape, _evidence(row)) if table.has_evidence else ())]


def _evidence(row: TableRow) -> list[str]:
    if row.evidence is None:
        return ["–", "–", "–"]
    return [f"{row.evidence.pairs:,}", row.evidence.seeds_text, str(len(row.evidence.failures))]


def _csv_line(table: Table, row: TableRow, column: str, entry: Entry) -> list[str]:
    values = (entry.value, entry.low, entry.high, entry.spread)
    numbers = [f"{value:.8g}" if math.isfinite(value) else "" for value in values]
    words = "" if entry.measured else entry.number
    evidence = row.evidence
    rests_on = (
        [*(str(evidence.pairs), evidence.seeds_text, str(len(evidence.failures)), " ".join(evidence.run_ids))]
        if evidence
        else [""] * 4
    )
    return [table.key, row.group, row.label, row.kind, column, *numbers, words, entry.remark, *rests_on]


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first = cells[0].ljust(widths[0])
    rest = (cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True))
    return "  ".join([first, *rest]).rstrip()


def _one_cell(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _tex(text: str) -> str:
    return text.translate(_TEX)


def _tex_line(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"
