"""Did training end because its curve was flat? The AU error of validation people, as the runs probed it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from reports.style.figure_style import FAINT, INK, Picture, legend_columns, literal, style
from reports.style.finding import Finding
from reports.suite.frame import Frame
from reports.suite.method_names import ABLATIONS, method_rank

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
    budgets = "; ".join(sorted(set(frame.cells["budget"].fillna("")) - {""}))
    return f"The budget{f' ({budgets})' if budgets else ''} ended these trainings, not a flat curve."


def validation_figures(frame: Frame) -> list[Picture]:
    """Return a figure per dataset whose trainings were probed more than once: the error against the step."""
    datasets = sorted(set(frame.cells["dataset"]))
    probed = {dataset: _probes(frame, dataset) for dataset in datasets}
    return [_figure(frame, name, probes) for name, probes in probed.items() if probes["step"].nunique() > 1]


def _figure(frame: Frame, dataset: str, probes: pd.DataFrame) -> Picture:
    with style():
        figure = Figure(figsize=(9.4, 3.4), layout="constrained")
        axes = figure.add_subplot()
        for method in sorted(set(probes["method"]), key=method_rank):
            own = probes[probes["method"] == method]
            colour, mean = frame.names.colour(method), own.groupby("step")["value"].mean()
            for _, line in own.groupby("run_id"):
                axes.plot(line["step"], line["value"], color=colour, linewidth=0.5, alpha=0.45)
            axes.plot(mean.index, mean, color=colour, linewidth=1.4, label=literal(frame.names.short(method)))
        last = float(probes["step"].max())
        axes.axvspan((1 - LAST_PART) * last, last, color=FAINT, alpha=0.35, linewidth=0)
        axes.set_ylim(bottom=0)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_xlabel("training step")
        axes.set_ylabel("AU MSE (lower is better)")
        axes.grid(axis="y", color=FAINT, linewidth=0.5, alpha=0.6)
        columns = legend_columns(probes["method"].nunique(), 6)
        figure.legend(loc="outside upper center", ncols=columns, handlelength=1.4)
    changes = "; ".join(_change_text(frame, own) for own in flattenings(frame, dataset))
    caption = (
        "AU error of edits of validation people while training, by the instrument, on targets with an "
        "expression's name, the same edits for all that learn from one dataset or a part of it; thin: seeds, "
        "thick: their mean; shaded: the last quarter. Changes in it: "
        f"{changes or 'too few probes to say'}. Below {FLAT:.0%} is flat."
    )
    return Picture(f"training-validation-{dataset}", f"Validation curves ({dataset})", caption, figure)
