"""Tables as Markdown, LaTeX (booktabs), CSV and terminal text; functions return text, only commands print."""

import csv
import io
import math
from collections.abc import Sequence

from reports.style.table import Entry, Row, Table

EVIDENCE_COLUMNS = ("n", "seeds", "failed")
CSV_COLUMNS = (
    "table",
    "group",
    "row",
    "kind",
    "column",
    "value",
    "low",
    "high",
    "sd_over_seeds",
    "words",
    "remark",
    "n",
    "seeds",
    "failed",
    "run_ids",
)
_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "α": r"$\alpha$",
    "±": r"$\pm$",
    "−": "$-$",
    "–": "--",
    "×": r"$\times$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
}


def markdown(table: Table) -> str:
    """Return the table as GitHub Markdown with title, caption and notes; best entries are bold."""
    header = [table.corner, *table.columns, *(EVIDENCE_COLUMNS if table.has_evidence else ())]
    lines = [
        f"### {table.title}",
        "",
        table.caption,
        "",
        _bar(list(map(_md, header))),
        _bar(["---"] + ["---:"] * (len(header) - 1)),
    ]
    for group in table.groups:
        if group:
            lines.append(_bar([f"**{_md(group)}**"] + [""] * (len(header) - 1)))
        lines += [_bar([_md(row.label), *_md_cells(table, row)]) for row in table.rows if row.group == group]
    lines += ["", *(f"- {_md(note)}" for note in table.notes)]
    return "\n".join(lines).rstrip() + "\n"


def latex(table: Table) -> str:
    """Return the table as a LaTeX `table*` float for the packages booktabs and graphicx."""
    header = [table.corner, *table.columns, *(EVIDENCE_COLUMNS if table.has_evidence else ())]
    lines = [r"\begin{table*}[t]", r"\centering", rf"\caption{{{_tex(table.title)}. {_tex(table.caption)}}}"]
    lines += [
        rf"\label{{tab:{table.key}}}",
        r"\resizebox{\linewidth}{!}{%",
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
    ]
    lines += [r"\toprule", " & ".join(map(_tex, header)) + r" \\"]
    for group in table.groups:
        lines.append(r"\midrule")
        if group:
            lines.append(rf"\multicolumn{{{len(header)}}}{{l}}{{\textit{{{_tex(group)}}}}} \\")
        lines += [
            " & ".join([_tex(row.label), *_tex_cells(table, row)]) + r" \\"
            for row in table.rows
            if row.group == group
        ]
    lines += [r"\bottomrule", r"\end{tabular}}"]
    lines += [rf"\par\smallskip\footnotesize {_tex(note)}" for note in table.notes]
    return "\n".join([*lines, r"\end{table*}"]) + "\n"


def csv_text(table: Table) -> str:
    """Return the table in long form: one line per entry, full precision, n, seeds, failures and run ids."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for row in table.rows:
        for column, entry in zip(table.columns, row.entries, strict=True):
            writer.writerow(_csv_line(table, row, column, entry))
    return stream.getvalue()


def terminal(table: Table) -> str:
    """Return the table as aligned plain text for an 80-120 column terminal."""
    header = [table.corner, *table.columns, *(("n", "seeds") if table.has_evidence else ())]
    body = [
        [row.label, *(e.text for e in row.entries), *_evidence(row)[: 2 * table.has_evidence]]
        for row in table.rows
    ]
    widths = [max(len(line[i]) for line in [header, *body]) for i in range(len(header))]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [table.title, rule, _aligned(header, widths), rule]
    previous = table.rows[0].group if table.rows else ""
    for row, cells in zip(table.rows, body, strict=True):
        if row.group != previous:
            lines.append("")
            previous = row.group
        lines.append(_aligned(cells, widths))
    return "\n".join([*lines, rule])


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = [
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join([first, *rest]).rstrip()


def _evidence(row: Row) -> list[str]:
    if row.evidence is None:
        return ["–", "–", "–"]
    return [f"{row.evidence.pairs:,}", row.evidence.seeds_text, str(len(row.evidence.failures))]


def _shown(table: Table, index: int, entry: Entry) -> str:
    """A wide table keeps only its last interval, the mean's; all are in CSV, HTML and the by-AU table."""
    return entry.number if table.wide and index < len(table.columns) - 1 else entry.text


def _md_cells(table: Table, row: Row) -> list[str]:
    shown = [_md(_shown(table, i, entry)) for i, entry in enumerate(row.entries)]
    cells = [f"**{text}**" if entry.best else text for text, entry in zip(shown, row.entries, strict=True)]
    return cells + (_evidence(row) if table.has_evidence else [])


def _tex_cells(table: Table, row: Row) -> list[str]:
    shown = [_tex(_shown(table, i, entry)) for i, entry in enumerate(row.entries)]
    cells = [
        rf"\textbf{{{text}}}" if entry.best else text for text, entry in zip(shown, row.entries, strict=True)
    ]
    return cells + ([_tex(text) for text in _evidence(row)] if table.has_evidence else [])


def _csv_line(table: Table, row: Row, column: str, entry: Entry) -> list[str]:
    numbers = [
        f"{v:.8g}" if math.isfinite(v) else "" for v in (entry.value, entry.low, entry.high, entry.spread)
    ]
    words = "" if entry.measured else entry.number
    evidence = (
        [str(row.evidence.pairs), row.evidence.seeds_text, str(len(row.evidence.failures))]
        if row.evidence
        else [""] * 3
    )
    runs = " ".join(row.evidence.run_ids) if row.evidence else ""
    return [table.key, row.group, row.label, row.kind, column, *numbers, words, entry.remark, *evidence, runs]


def _bar(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _md(text: str) -> str:
    return text.replace("|", r"\|").replace("\n", " ")


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
