"""Did training end because its curve was flat? The AU error of validation people, as the runs probed it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.style.figure_style import FAINT, INK, Picture, style
from reports.style.finding import Finding
from reports.style.ranges import ROUND, Range, range_of
from reports.style.sheet import Sheet
from reports.style.sides import ALONG, write_beneath, write_values
from reports.suite.frame import Frame
from reports.suite.method_names import ABLATIONS, method_rank
from reports.suite.suite_figures import write_legend

METRIC = "train/val/au_mse"
LAST_PART = 0.25  # of the training: what the error changes by in it decides
FLAT = 0.03  # share of the error; less is flat
LEAST_PROBES = 4  # of a run: fewer say nothing of its last quarter


@dataclass(frozen=True)
class Flattening:
    """A method's validation error (mean over seeds) at three quarters of its training, and at its end."""

    method: str
    before: float
    end: float

    @property
    def change(self) -> float:
        """Relative change over the last quarter; negative while the error falls."""
        return (self.end - self.before) / self.before

    @property
    def flat(self) -> bool:
        """Whether the curve has flattened."""
        return abs(self.change) < FLAT


def flattenings(frame: Frame, dataset: str) -> list[Flattening]:
    """Return what the finished trainings on a dataset did in their last quarter, method by method."""
    found: dict[str, list[tuple[float, float]]] = {}
    for (method, _), line in _probes(frame, dataset).groupby(["method", "run_id"]):
        if len(line) >= LEAST_PROBES:
            steps, values = line["step"].to_numpy(float), line["value"].to_numpy(float)
            before = float(np.interp((1 - LAST_PART) * steps[-1], steps, values))
            found.setdefault(str(method), []).append((before, float(values[-1])))
    means = {method: np.mean(ends, axis=0) for method, ends in found.items()}
    return [Flattening(method, *map(float, means[method])) for method in sorted(means, key=method_rank)]


def _probes(frame: Frame, dataset: str) -> pd.DataFrame:
    """Return run_id, method, step and value of every probe of finished runs, by step."""
    cells = frame.cells[(frame.cells["dataset"] == dataset) & (frame.cells["state"] == "finished")]
    logged = frame.curves[frame.curves["metric"] == METRIC].dropna(subset=["value"])
    return (
        logged[["run_id", "step", "value"]]
        .merge(cells[["run_id", "method"]], on="run_id")
        .sort_values("step")
    )


def flattening_findings(frame: Frame) -> list[Finding]:
    """Say which trainings had flattened when they ended, and what ended the others."""
    findings = []
    for dataset in sorted(set(frame.cells["dataset"])):
        found = [own for own in flattenings(frame, dataset) if own.method not in ABLATIONS]
        for flat in (True, False):
            changes = [_change_text(frame, own) for own in found if own.flat == flat]
            if changes:
                start = (
                    f"In the last quarter of training the AU MSE of validation people ({dataset}) changed by "
                    f"{'less' if flat else 'more'} than {FLAT:.0%}"
                )
                findings.append(
                    Finding("good" if flat else "open", f"{start}: {'; '.join(changes)}. {_end(frame, flat)}")
                )
    return findings


def _change_text(frame: Frame, own: Flattening) -> str:
    return f"{frame.names.title(own.method)} {own.change:+.1%} ({own.before:.3f} to {own.end:.3f})"


def _end(frame: Frame, flat: bool) -> str:
    if flat:
        return "These curves have flattened."
    budgets = "; ".join(frame.budgets)
    return f"The budget{f' ({budgets})' if budgets else ''} ended these trainings, not a flat curve."


def validation_figures(frame: Frame) -> list[Picture]:
    """Return a figure per dataset whose trainings were probed more than once: the error against the step."""
    datasets = sorted(set(frame.cells["dataset"]))
    probed = {dataset: _probes(frame, dataset) for dataset in datasets}
    return [_figure(frame, name, probes) for name, probes in probed.items() if probes["step"].nunique() > 1]


def _figure(frame: Frame, dataset: str, probes: pd.DataFrame) -> Picture:
    methods = sorted(set(probes["method"]), key=method_rank)
    steps, values = (probes[name].to_numpy(np.float64) for name in ("step", "value"))
    with style():
        sheet = Sheet(9.4, 3.4)
        top = write_legend(sheet, methods, frame.names) - 0.05
        x = range_of([steps], 0.52, sheet.width - 0.05)
        y = Range(0.0, range_of([values, np.zeros(1)], 0.0, 1.0).high, 0.44, top)
        write_beneath(sheet, y, x.ticks(ALONG, ROUND))
        sheet.write((x.start + x.end) / 2, 0.08, "training step", align=0.5)
        sheet.write(0.16, (y.start + y.end) / 2, "AU MSE (lower is better)", align=0.5, upwards=True)
        last = steps.max()
        part = x.inches(np.array([[(1 - LAST_PART) * last], [last]]))
        sheet.boxes(part[0], np.array([y.start]), part[1], np.array([y.end]), FAINT, 0.35)
        write_values(sheet, x, y)
        sheet.frame(x.start, y.start, x.end, y.end)
        for method in methods:
            _lines(sheet, x, y, probes[probes["method"] == method], frame.names.colour(method))
        sheet.lines([np.array([[x.start, y.start], [x.end, y.start]])], INK, 0.8)
    changes = "; ".join(_change_text(frame, own) for own in flattenings(frame, dataset))
    caption = (
        "AU error of edits of validation people while training, by the instrument, on targets with an "
        "expression's name, the same edits for all that learn from one dataset or a part of it; thin: seeds, "
        "thick: their mean; shaded: the last quarter. Changes in it: "
        f"{changes or 'too few probes to say'}. Below {FLAT:.0%} is flat."
    )
    return Picture(f"training-validation-{dataset}", f"Validation curves ({dataset})", caption, sheet.figure)


def _lines(sheet: Sheet, x: Range, y: Range, probes: pd.DataFrame, colour: str) -> None:
    """Draw a method's seeds, and their mean over them."""
    mean = probes.groupby("step")["value"].mean().reset_index()
    seeds, (thick,) = (
        [
            np.column_stack([x.inches(line["step"].to_numpy()), y.inches(line["value"].to_numpy())])
            for line in lines
        ]
        for lines in ([own for _, own in probes.groupby("run_id")], [mean])
    )
    sheet.lines(seeds, colour, 0.5, 0.45)
    sheet.lines([thick], colour, 1.4)
