"""Failures beside successes on the page of a suite."""

import dataclasses

import numpy as np

from benchmarks.scoring.extremes import RULES
from reports.suite.extremes_figure import extremes_figures
from tests.reports.drawn import images, texts
from tests.reports.fakes import DATASET, make_frame


def with_extremes(truth: bool = True):
    frame, face = make_frame(seeds=1), np.zeros((4, 3, 16, 16, 3), np.uint8)
    parts = {"source": face, "edit": face + 50} | ({"truth": face + 90} if truth else {})
    values = np.arange(12, dtype=float).reshape(4, 3) / 10
    own = {"rule": np.array(RULES), "value": values, "split": np.array(["test"]), **parts}
    own = {f"extreme_{name}": array for name, array in own.items()}
    shown = {run: {**case, **own} for run, case in frame.showcases.items()}
    return dataclasses.replace(frame, showcases=shown)


def test_a_figure_per_trained_method_says_by_which_rule_its_faces_were_chosen():
    (picture,) = extremes_figures(with_extremes())
    assert picture.key == f"extremes-eggan-{DATASET}-test"
    assert picture.title == f"EGGAN: best and worst edits ({DATASET}, test)"
    assert "least AU error 0.00, 0.10, 0.20; largest AU error 0.30" in picture.caption
    shown = texts(picture.figure)
    assert shown[: len(RULES)] == list(RULES)
    assert shown[len(RULES) :] == ["source", "true edit", "edit"] * 3
    assert len(images(picture.figure)) == 36


def test_without_true_edits_there_are_source_and_edit():
    (picture,) = extremes_figures(with_extremes(truth=False))
    assert texts(picture.figure)[4:] == ["source", "edit"] * 3


def test_runs_of_before_have_no_such_figure():
    assert extremes_figures(make_frame(seeds=1)) == []
