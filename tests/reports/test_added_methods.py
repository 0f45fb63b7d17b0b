"""Rows that a user added to a suite are shown under their titles, each in a colour of its own."""

import dataclasses
import itertools
import re
import sqlite3
from contextlib import closing

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from benchmarks.running.bench_session import BenchSession
from benchmarks.suites.added_rows import with_added_rows
from reports import report_commands
from reports.style import figure_style
from reports.suite import estimates, suite_figures
from reports.suite.frame import read_frame, read_store, write_frame
from reports.suite.method_names import METHOD_TITLES, PALETTE, SPARE_COLOURS, names_in
from reports.suite.sections import sections_of
from reports.suite.suite_figures import bars, curves, pictures
from tests.benchmarks.fakes import fake_entry, make_bench, tiny_suite
from tests.reports.drawn import fillings, lines, texts
from tests.reports.fakes import make_frame
from tests.reports.test_tables import quiet

ADDED = {"mine": "Mine | a_b & $\\oops$ <i>", "twin": "EGGAN", "plain": ""}


def cells(*rows: tuple[str, str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["method", "title", "started_ms"])


@pytest.fixture(scope="module", autouse=True)
def coarse():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(estimates, "RESAMPLES", 50)
        patch.setattr(estimates, "DIFFERENCE_RESAMPLES", 50)
        patch.setattr(figure_style, "DPI", 40)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A suite with two added rows, run and tracked."""
    root = tmp_path_factory.mktemp("added")
    entries = {
        name: dataclasses.replace(fake_entry(), name=name, title=ADDED[name]) for name in ("mine", "twin")
    }
    bench = make_bench(root)
    bench = dataclasses.replace(bench, methods={**bench.methods, **entries})
    words = ("mine:good", "twin:good")
    suite = with_added_rows(tiny_suite(references=False), words, bench.methods)
    assert BenchSession(suite, bench, [], [], []).run() == 0
    return root / "runs"


def test_added_rows_that_ran_have_their_titles_in_every_table_and_on_the_page(
    runs, eggan, tmp_path, monkeypatch
):
    monkeypatch.setattr(suite_figures, "pictures", lambda _, sections: [bars(sections[0], "mse")])
    words = ("report", "build", "--runs", runs, "--out", tmp_path / "report")
    status, out, _ = eggan(*words)
    assert status == 0
    check_reading(words, out, runs, eggan, monkeypatch)
    assert all(title in out for title in ("Painter", "EGGAN (twin)", ADDED["mine"]))
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Mine | a_b &amp; $\\oops$ &lt;i&gt;" in page
    assert "<i>" not in page
    assert not re.findall(r"<t[hd][^>]*>(mine|twin|painter)<", page)
    for name in ("table1", "table2", "summary", "cost"):
        (table,) = (tmp_path / "report" / "tables").glob(f"{name}-synfacs-fake-test.md")
        text = table.read_text()
        assert "Mine \\| a_b & $\\oops$ <i>" in text, name
        assert "EGGAN (twin)" in text, name
        lines = [line for line in text.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1, name


def check_reading(words, first, runs, eggan, monkeypatch):
    """Runs are read again where their store or their scores differ, and where that cannot be seen."""
    tracked, read = report_commands._tracked, []
    monkeypatch.setattr(report_commands, "_tracked", lambda *given: read.append(1) or tracked(*given))
    status, out, _ = eggan(*words)
    assert (status, len(read)) == (0, 0)
    kept = "  (kept: made of the same runs by the same code)"
    assert out.replace(kept, "") == first
    assert kept in out
    with closing(sqlite3.connect(runs / "mlflow.db")) as store, store:
        store.execute("UPDATE tags SET value = 'other' WHERE key = 'mlflow.runName'")
    assert eggan(*words)[0] == 0
    assert len(read) == 1
    scores = next((runs / "artifacts").glob("*/artifacts/scores/summary.json"))
    content = scores.read_bytes()
    scores.write_bytes(content + b" ")
    status, out, _ = eggan(*words)
    assert (status, len(read)) == (0, 2)
    assert kept in out  # no table shows what the file was changed by
    assert eggan(*words)[0] == 0
    assert len(read) == 2
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{runs / 'mlflow.db'}")
    assert eggan(*words)[0] == 0
    assert len(read) == 3


def test_the_titles_survive_an_export(runs, tmp_path):
    from eggan.tracking import read_store as open_runs

    frame = read_store(open_runs(None, runs), None, {}, quiet)
    write_frame(frame, tmp_path / "kept")
    for kept in (frame, read_frame(tmp_path / "kept")):
        assert [kept.names.title(m) for m in ("mine", "twin", "painter")] == [
            ADDED["mine"],
            "EGGAN (twin)",
            "Painter",
        ]


def added_frame():
    """Return the made-up suite with two of its methods under other names, as if a user had added them."""
    frame = make_frame(failed=False)
    new = {"mean-au": "mine", "oracle": "yours"}
    tables = {
        name: table.assign(method=table["method"].replace(new))
        for name in ("cells", "pairs", "metrics")
        for table in [getattr(frame, name)]
    }
    return dataclasses.replace(frame, **tables)


def test_each_figure_gives_an_added_method_the_same_colour_and_no_two_share_one():
    frame = added_frame()
    (section,) = sections_of(frame, quiet)
    figure, count = bars(section, "mse").figure, len(section.groups)
    legend, series = fillings(figure)[:count], fillings(figure)[count:]
    assert legend == series
    drawn = dict(zip(texts(figure)[:count], legend, strict=True))
    assert drawn == {frame.names.short(m): frame.names.colour(m) for m in set(frame.cells["method"])}
    assert len(set(drawn.values())) == len(drawn) == 5
    logged = frame.curves.assign(run_id="mean-au-s0")
    figure = curves(dataclasses.replace(frame, curves=logged), frame.cells["dataset"].iloc[0]).figure
    assert lines(figure)[-1].colour == frame.names.colour("mine")
    assert set(fillings(figure)) == {frame.names.colour("mine")}
    assert texts(figure)[-1] == "mine"


def test_figures_bear_any_title():
    frame = added_frame()
    titles = frame.cells["method"].map({"mine": ADDED["mine"] * 3, "yours": "a $ and a $"}).fillna("")
    frame = dataclasses.replace(frame, cells=frame.cells.assign(title=titles))
    for picture in pictures(frame, sections_of(frame, quiet)):
        picture.figure.draw_without_rendering()  # a formula that is none raises here


def test_a_frame_kept_without_titles_says_the_methods_names(tmp_path):
    write_frame(added_frame(), tmp_path / "kept")
    path = tmp_path / "kept" / "cells.parquet"
    pd.read_parquet(path).drop(columns="title").to_parquet(path)
    names = read_frame(tmp_path / "kept").names
    assert [names.title(m) for m in ("mine", "yours", "eggan")] == ["mine", "yours", "EGGAN"]


def test_the_newest_recorded_title_counts_and_twins_are_told_apart():
    names = names_in(
        cells(
            ("m", "New", 2),
            ("m", "Old", 1),
            ("m", None, 4),
            ("m", "", 3),
            ("n", "New", 1),
            ("eggan", "Mine", 1),
        )
    )
    assert [names.title(m) for m in ("m", "n", "eggan")] == ["New (m)", "New (n)", "EGGAN"]
    assert len(names_in(cells(("m", "A long title " * 5, 1))).short("m")) <= 24


def test_listed_methods_have_colours_and_spare_ones_differ_from_all():
    assert set(METHOD_TITLES) == set(PALETTE)
    every = [*PALETTE.values(), *SPARE_COLOURS]
    distances = [np.linalg.norm(oklab(a) - oklab(b)) for a, b in itertools.combinations(every, 2)
                 if b in SPARE_COLOURS]  # fmt: skip
    assert min(distances) > 0.13


def oklab(colour: str) -> np.ndarray:
    """Return Ottosson's perceptual coordinates of a colour: 0.02 is about the least visible difference."""
    rgb = np.array(matplotlib.colors.to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    cones = [[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]]
    axes = [[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]]
    return np.array(axes) @ np.cbrt(np.array(cones) @ linear)


@pytest.mark.parametrize("count", [2, 8, 30])
def test_any_number_of_added_methods_has_colours_of_its_own(count):
    names = names_in(cells(*((f"method-{i}", "", 0) for i in range(count))))
    assert len({names.colour(f"method-{i}") for i in range(count)} | set(PALETTE.values())) == count + len(
        PALETTE
    )


def test_a_method_keeps_its_colour_when_one_that_comes_after_it_is_added():
    alone, both = names_in(cells(("a", "", 0))), names_in(cells(("a", "", 0), ("b", "", 0)))
    assert alone.colour("a") == both.colour("a")
