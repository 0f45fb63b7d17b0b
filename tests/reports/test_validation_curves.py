"""Whether trainings ended because their curves were flat."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from matplotlib.path import Path

from reports.suite.validation_curves import METRIC, flattening_findings, flattenings, validation_figures
from tests.reports.drawn import lines, values_at
from tests.reports.fakes import DATASET, make_frame

STEPS = np.arange(750, 9001, 750)  # 6,750 is three quarters


def with_probes(value, runs=("eggan-s0", "eggan-s1"), steps=STEPS):
    """Return a frame whose runs were probed; `value(step)` is their validation error."""
    frame = make_frame(seeds=2)
    own = [
        pd.DataFrame({"run_id": run, "metric": METRIC, "step": steps, "value": [value(s) for s in steps]})
        for run in runs
    ]
    return dataclasses.replace(frame, curves=pd.concat([frame.curves, *own], ignore_index=True))


def falling(share):
    """Return an error that falls linearly by `share` over the last quarter of 9,000 steps."""
    return lambda step: 1.0 if step <= 6750 else 1.0 - share * (step - 6750) / 2250


@pytest.mark.parametrize(("share", "flat"), [(0.0, True), (0.029, True), (0.031, False), (-0.05, False)])
def test_the_last_quarter_decides(share, flat):
    (found,) = flattenings(with_probes(falling(share)), DATASET)
    assert (found.method, found.before) == ("eggan", pytest.approx(1.0))
    assert found.change == pytest.approx(-share)
    assert found.flat == flat


def test_three_quarters_between_two_probes_are_interpolated():
    (found,) = flattenings(
        with_probes(lambda step: step / 1000, steps=np.arange(1000, 10_001, 1000)), DATASET
    )
    assert found.before == pytest.approx(7.5)
    assert found.end == pytest.approx(10.0)


def test_seeds_are_averaged_before_they_are_compared():
    frame = with_probes(falling(0.04), ("eggan-s0",))
    other = with_probes(falling(0.0), ("eggan-s1",))
    both = dataclasses.replace(
        frame, curves=pd.concat([frame.curves, other.curves[other.curves["metric"] == METRIC]])
    )
    (found,) = flattenings(both, DATASET)
    assert found.change == pytest.approx(-0.02)


def test_the_report_says_which_curve_is_flat_and_what_ended_the_others():
    (flat,) = flattening_findings(with_probes(falling(0.01)))
    assert flat.tone == "good"
    assert "EGGAN -1.0% (1.000 to 0.990). These curves have flattened." in flat.text
    frame = with_probes(falling(0.08))
    trained = frame.cells["run_id"].isin(frame.curves["run_id"])
    assert not trained.all()
    budgets = ["90 core-minutes" if own else "a reference's" for own in trained]
    frame = dataclasses.replace(frame, cells=frame.cells.assign(budget=budgets))
    (steep,) = flattening_findings(frame)
    assert steep.tone == "open"
    assert "EGGAN -8.0%" in steep.text
    assert "The budget (90 core-minutes) ended these trainings, not a flat curve." in steep.text


def test_the_figure_has_a_line_per_seed_and_their_mean_and_says_the_changes():
    (picture,) = validation_figures(with_probes(falling(0.08)))
    drawn = lines(picture.figure)
    (seeds,) = (own for own in drawn if own.alpha == 0.45)
    (thick,) = (own.path for own in drawn if own.width == 1.4)
    np.testing.assert_allclose(
        values_at(picture.figure, thick.vertices[:, 1]), [falling(0.08)(step) for step in STEPS], atol=1e-3
    )
    assert (seeds.path.codes == Path.MOVETO).sum() == 2
    assert "EGGAN -8.0%" in picture.caption


def test_too_few_probes_say_nothing():
    frame = with_probes(falling(0.08), steps=np.array([4500, 9000]))
    assert flattening_findings(frame) == []
    assert "too few probes to say" in validation_figures(frame)[0].caption
    assert validation_figures(make_frame(seeds=1)) == []
