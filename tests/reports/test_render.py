import csv
import io
from dataclasses import replace

import pytest

from reports.style import table_writers
from reports.style.table import Entry, Evidence, Table, TableRow, mark_best


@pytest.fixture
def table():
    evidence = Evidence(1392, 2, 3, ("seed 2 failed: NaN",), ("r1", "r2", "r3"))
    ours, missing = Entry(0.244, 0.2, 0.3, best=True), Entry(words="not measured: weights_x missing")
    rows = (
        TableRow("EGGAN", (ours, missing), "method", "MSE ↓", evidence),
        TableRow("EGGAN, published", (Entry(0.24), Entry(97.04)), "published", "MSE ↓"),
    )
    return Table("t", "Table", "50 % caption.", "Method", ("Avg", "B"), rows, ("a note",))


def test_markdown_golden(table):
    assert table_writers.markdown(table) == (
        "### Table\n\n50 % caption.\n\n"
        "| Method | Avg | B | n | seeds | failed |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
        "| **MSE ↓** |  |  |  |  |  |\n"
        "| EGGAN | **0.24 [0.20, 0.30]** | not measured: weights_x missing | 1,392 | 2/3 | 1 |\n"
        "| EGGAN, published | 0.24 | 97.04 | – | – | – |\n\n"
        "- a note\n"
    )


def test_latex_golden(table):
    assert table_writers.latex(table) == (
        "\\begin{table*}[t]\n\\centering\n\\caption{Table. 50 \\% caption.}\n\\label{tab:t}\n"
        "\\resizebox{\\linewidth}{!}{%\n\\begin{tabular}{lrrrrr}\n\\toprule\n"
        "Method & Avg & B & n & seeds & failed \\\\\n\\midrule\n"
        "\\multicolumn{6}{l}{\\textit{MSE $\\downarrow$}} \\\\\n"
        "EGGAN & \\textbf{0.24 [0.20, 0.30]} & not measured: weights\\_x missing & 1,392 & 2/3 & 1 \\\\\n"
        "EGGAN, published & 0.24 & 97.04 & -- & -- & -- \\\\\n"
        "\\bottomrule\n\\end{tabular}}\n\\par\\smallskip\\footnotesize a note\n\\end{table*}\n"
    )


def test_csv_has_full_precision_evidence_and_words(table):
    lines = list(csv.DictReader(io.StringIO(table_writers.csv_text(table))))
    assert [line["value"] for line in lines] == ["0.244", "", "0.24", "97.04"]
    assert lines[0]["low"] == "0.2"
    assert lines[0]["n"] == "1392"
    assert lines[0]["seeds"] == "2/3"
    assert lines[0]["run_ids"] == "r1 r2 r3"
    assert lines[1]["words"] == "not measured: weights_x missing"
    assert lines[2]["kind"] == "published"


def test_terminal_aligns_columns(table):
    lines = [line for line in table_writers.terminal(table).splitlines() if line.startswith("EGGAN")]
    assert lines[0].index("2/3") + 2 == lines[1].rindex("–")
    assert "not measured" in lines[0]
    assert "weights_x" not in lines[0]  # the reason is longer than a line


def test_undefined_value_is_never_blank():
    assert Entry().text == "undefined"
    assert Entry(-0.001, digits=2).number == "0.00"
    assert Entry(1.0, spread=0.25).text == "1.00 ± 0.25"


def test_words_are_a_status_and_a_reason_and_a_table_has_each_reason_once(table):
    missing = table.rows[0].entries[1]
    assert (missing.status, missing.reason) == ("not measured", "weights_x missing")
    assert (Entry(0.5).status, Entry(0.5).reason) == ("0.50", "")
    assert (Entry(words="failed").status, Entry(words="failed").reason) == ("failed", "")
    stopped = Entry(words="failed: NaN: step 3")
    rows = (TableRow("a", (missing, stopped)), TableRow("b", (missing, Entry(1.0))))
    assert replace(table, rows=rows).reasons == ("weights_x missing", "NaN: step 3")


def test_best_marks_ties_at_printed_precision_and_skips_the_ineligible():
    entries = [Entry(0.1), Entry(0.301), Entry(0.304), Entry(0.5), Entry(words="failed")]
    marked = mark_best(entries, [False, True, True, True, True], "min")
    assert [entry.best for entry in marked] == [False, True, True, False, False]


def test_a_single_method_is_not_the_best_of_anything():
    assert not mark_best([Entry(0.1), Entry(0.2)], [True, False], "min")[0].best
