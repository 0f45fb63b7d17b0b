"""Results against the number of training people."""

import dataclasses
import re

import numpy as np
import pytest

from reports.style.figure_style import save
from reports.style.table_writers import markdown
from reports.suite.method_names import full_method, method_rank, names_in
from reports.suite.people_results import by_people, people_figures, people_table
from reports.suite.sections import sections_of
from tests.reports.drawn import lines, texts, values_at
from tests.reports.fakes import make_frame
from tests.reports.test_tables import quiet

PEOPLE = {"eggan-52-people": "52 people", "eggan-150-people": "150 people", "eggan": "1,500 people"}
METHODS = ("eggan-s0", "eggan-s1", "eggan-s2")


@pytest.fixture(scope="module")
def section():
    """Three trainings of EGGAN, taken for ones with 52, 150 and 1,500 people."""
    frame = make_frame(seeds=3)
    named = dict(zip(METHODS, PEOPLE, strict=True))
    tables = {
        name: getattr(frame, name).assign(
            method=getattr(frame, name)["run_id"].map(named).fillna(getattr(frame, name)["method"])
        )
        for name in ("cells", "pairs", "metrics")
    }
    cells = tables["cells"]
    fewer = cells["method"].isin(list(PEOPLE)[:2])
    cells["learns_from"] = cells["method"].map(PEOPLE).fillna("")
    cells["title"] = cells["title"].mask(fewer, "EGGAN (" + cells["learns_from"] + ")")
    (made,) = sections_of(dataclasses.replace(frame, **tables), quiet)
    return made


def test_rows_go_from_few_people_to_many(section):
    found = by_people(section)
    assert list(found) == ["eggan"]
    assert [(number, group.method) for number, group in found["eggan"]] == [
        (52, "eggan-52-people"),
        (150, "eggan-150-people"),
        (1500, "eggan"),
    ]
    shown = [group.method for group in section.groups if full_method(group.method) == "eggan"]
    assert shown == list(PEOPLE)


def test_the_table_has_the_figures_of_the_other_tables(section):
    table = people_table(section)
    assert [row.label for row in table.rows] == ["EGGAN (52 people)", "EGGAN (150 people)", "EGGAN"]
    assert [row.entries[0].number for row in table.rows] == ["52", "150", "1,500"]
    for row, method in zip(table.rows, PEOPLE, strict=True):
        assert row.entries[1].value == section.intervals[method, "mse"].estimate[-1]
        assert row.entries[2].value == section.intervals[method, "pcc"].estimate[-1]
        same = next(group for group in section.groups if group.method == method).pairs["same"]
        assert row.entries[3].value == pytest.approx(100 * same.mean())
    assert "| EGGAN (52 people) | 52 |" in markdown(table)


def test_the_figure_shows_and_says_what_the_table_has(section, tmp_path):
    (picture,) = people_figures([section])
    assert [text for text in texts(picture.figure) if text in ("52", "150", "1,500")] == [
        "52",
        "150",
        "1,500",
    ] * 3
    first, *others = (own.path.vertices for own in lines(picture.figure) if own.width == 1.2)
    assert len(others) == 2
    drawn = values_at(picture.figure, first[:, 1])
    expected = [section.intervals[m, "mse"].estimate[-1] for m in PEOPLE]
    np.testing.assert_allclose(drawn, expected, rtol=1e-3)
    steps = np.diff(first[:, 0]) / np.diff(np.log([52, 150, 1500]))  # people are on a scale of logarithms
    assert steps[0] == pytest.approx(steps[1])
    rows = people_table(section).rows
    assert f"EGGAN {rows[0].entries[1].number} to {rows[-1].entries[1].number}" in picture.caption
    assert [path.suffix for path in save(picture, tmp_path)] == [".png", ".pdf"]


def test_a_suite_with_one_number_of_people_has_neither():
    (plain,) = sections_of(make_frame(seeds=1), quiet)
    assert people_table(plain) is None
    assert people_figures([plain]) == []


def test_rows_with_fewer_people_have_paler_colours_of_their_method(section):
    names = [
        "eggan",
        *(f"eggan-{n}-people" for n in (52, 150, 500)),
        "stargan-52-people",
        "eggan-w-52-people",
    ]
    cells = make_frame(seeds=1).cells.iloc[:1].loc[[0] * len(names)].assign(method=names)
    shown = names_in(cells)
    colours = [shown.colour(name) for name in names]
    assert len(set(colours)) == len(colours)
    brightness = [sum(int(c) for c in bytes.fromhex(colour[1:])) for colour in colours[:4]]
    assert brightness[1] > brightness[2] > brightness[3] > brightness[0]
    assert all(re.fullmatch(r"#[0-9A-F]{6}", colour) for colour in colours)
    assert sorted(names[:4], key=method_rank) == [*names[1:4], names[0]]
