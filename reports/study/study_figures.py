"""Figures of a study: history, Pareto front, intermediate values, importances, slices, contours, ranks."""

import itertools
from collections.abc import Sequence

import matplotlib.lines
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from reports.study.importance import FANOVA, MEANINGS, PED_ANOVA, Importance
from reports.study.rerun_statistics import RankCheck
from reports.style.figure_style import FAINT, INK, Picture, style
from studies import selection
from studies.study_config import ACCURACY, ERROR, SKILL
from studies.study_export import StudyData

TITLES = {ERROR: "AU MSE (less is better)", SKILL: "AU skill", ACCURACY: "identity accuracy, %"}
DONE, GREY, BAD = "#0072B2", "#9AA5B1", "#D55E00"
MARKS = {"paper": ("*", "#E69F00", 110.0), "preset": ("D", "#009E73", 34.0)}
NAMES = {"paper": "the paper's weights", "preset": "the preset's own weights"}
BEST_MARK = "#CC79A7"


def pictures(
    data: StudyData, importances: Sequence[Importance], checks: Sequence[RankCheck]
) -> list[Picture]:
    """Return every figure that the study has data for, in the order of the page."""
    made = [history(data), pareto(data)]
    made += [intermediate(data)] if any(trial.user_attrs.get("probes") for trial in data.study.trials) else []
    made += [importance_bars(importances)] if importances else []
    if len(selection.complete(data.trials)) > 1:
        made += [slices(data)]
        made += [contours(data, metric) for metric in data.spec.study.headline]
    return [*made, rank_lines(checks)] if checks else made


def _mark_special(axes: Axes, frame: pd.DataFrame, x: str, y: str, best: int | None) -> None:
    """Mark the references and ring the best trial."""
    for name, number in selection.references(frame).items():
        row = selection.row_of(frame, number)
        marker, colour, size = MARKS[name]
        axes.scatter(
            [row[x]], [row[y]], marker=marker, s=size, color=colour, edgecolors=INK, linewidths=0.6, zorder=5
        )
    if best is not None:
        row = selection.row_of(frame, best)
        axes.scatter(
            [row[x]], [row[y]], s=90, facecolors="none", edgecolors=BEST_MARK, linewidths=1.6, zorder=6
        )


def _legend(figure: Figure, data: StudyData, best: int | None, extra: Sequence[tuple[str, str, str]]) -> None:
    """Put one legend under the panels: `extra` are (label, marker, colour)."""
    handles = [_handle(label, marker, colour) for label, marker, colour in extra]
    for name in selection.references(data.trials):
        handles.append(_handle(NAMES[name], MARKS[name][0], MARKS[name][1]))
    if best is not None:
        label = "best that keeps the floor" if data.spec.study.has_floor else "knee of the front"
        handles.append(_handle(f"{label} (trial {best})", "o", BEST_MARK, hollow=True))
    across = 4 if figure.get_figwidth() > 7 else 3
    figure.legend(handles=handles, loc="outside lower center", ncols=min(across, len(handles)))


def _handle(label: str, marker: str, colour: str, hollow: bool = False) -> matplotlib.lines.Line2D:
    face = "none" if hollow else colour
    return matplotlib.lines.Line2D(
        [], [], linestyle="", marker=marker, color=colour, markerfacecolor=face, label=label
    )


def best_or_none(data: StudyData) -> int | None:
    """Return the best trial, None where none keeps the floor yet."""
    order = selection.ranked(data.spec.study, data.trials)
    return order[0] if order else None


def _grid(axes: Axes) -> None:
    axes.grid(color=FAINT, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)


def history(data: StudyData) -> Picture:
    """Return both scores by trial number, with the best so far; pruned and failed trials at the foot."""
    frame, best = data.trials, best_or_none(data)
    done = selection.complete(frame)
    with style():
        figure = Figure(figsize=(9.0, 3.4), layout="constrained")
        for axes, metric in zip(figure.subplots(1, 2), data.spec.study.headline, strict=True):
            kept = _keeps_floor(data, done)
            axes.scatter(done.loc[kept, "number"], done.loc[kept, metric], s=16, color=DONE)
            axes.scatter(
                done.loc[~kept, "number"], done.loc[~kept, metric], s=16, edgecolors=DONE, facecolors="none"
            )
            _so_far(axes, data, done[kept], metric)
            if metric == ACCURACY:
                _draw_floor(axes, data)
            _mark_special(axes, frame, "number", metric, best)
            _foot(axes, frame)
            axes.set(xlabel="trial", ylabel=TITLES[metric])
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(integer=True))
            _grid(axes)
        _legend(
            figure,
            data,
            best,
            [("complete", "o", DONE), ("pruned (foot)", "|", GREY), ("failed (foot)", "x", BAD)],
        )
    caption = "Scores on validation identities by trial. " + (
        "Hollow: below the floor of identity accuracy (dotted). Line: best so far of this score among trials "
        "that keep the floor."
        if data.spec.study.has_floor
        else "Line: best so far of this score."
    )
    return Picture("history", "Optimisation history", caption, figure)


def _keeps_floor(data: StudyData, frame: pd.DataFrame) -> pd.Series:
    """Return which trials keep the floor: all of them where there is none."""
    return (frame[ACCURACY] >= data.spec.study.identity_floor) | (not data.spec.study.has_floor)


def _draw_floor(axes: Axes, data: StudyData) -> None:
    if data.spec.study.has_floor:
        axes.axhline(data.spec.study.identity_floor, color=INK, linewidth=0.7, linestyle=":")


def _so_far(axes: Axes, data: StudyData, kept: pd.DataFrame, metric: str) -> None:
    if not len(kept):
        return
    values = kept[metric].cummin() if metric == ERROR else kept[metric].cummax()
    last = int(data.trials["number"].max())
    axes.step([*kept["number"], last], [*values, values.iloc[-1]], where="post", color=DONE, linewidth=0.9)


def _foot(axes: Axes, frame: pd.DataFrame) -> None:
    """Mark pruned and failed trials at the foot of a panel, since their scores are missing."""
    for state, marker, colour in (("pruned", "|", GREY), ("failed", "x", BAD)):
        numbers = frame.loc[frame["state"] == state, "number"]
        axes.scatter(
            numbers,
            np.full(len(numbers), 0.03),
            marker=marker,
            s=22,
            color=colour,
            linewidths=1.0,
            transform=axes.get_xaxis_transform(),
        )
    low, high = axes.get_ylim()
    axes.set_ylim(low - 0.08 * (high - low), high)
    last = int(frame["number"].max())
    axes.set_xlim(-0.7 - 0.01 * last, last + 0.7 + 0.01 * last)


def pareto(data: StudyData) -> Picture:
    """Return AU MSE against identity accuracy, with the front and the weights of paper and preset."""
    frame, best = data.trials, best_or_none(data)
    done, front = selection.complete(frame), selection.pareto_front(frame)
    with style():
        figure = Figure(figsize=(6.4, 5.0), layout="constrained")
        axes = figure.add_subplot()
        on_front = done["number"].isin(front)
        axes.scatter(done.loc[~on_front, ERROR], done.loc[~on_front, ACCURACY], s=16, color=GREY)
        line = done.set_index("number").loc[front]
        axes.step(line[ERROR], line[ACCURACY], where="post", color=DONE, linewidth=0.9)
        axes.scatter(line[ERROR], line[ACCURACY], s=22, color=DONE, zorder=4)
        for number, row in line.iterrows():
            axes.annotate(
                str(number),
                (row[ERROR], row[ACCURACY]),
                xytext=(4, 4),
                textcoords="offset points",
                fontsize=6.5,
            )
        _draw_floor(axes, data)
        _mark_special(axes, frame, ERROR, ACCURACY, best)
        axes.set(xlabel=TITLES[ERROR], ylabel=TITLES[ACCURACY])
        _grid(axes)
        _legend(figure, data, best, [("on the front", "o", DONE), ("beaten in both", "o", GREY)])
    floor = " Dotted: the floor of identity accuracy." if data.spec.study.has_floor else ""
    caption = (
        f"Every complete trial ({len(done)}) on validation identities; upper left is better. "
        f"Numbers are trials of the front.{floor}"
    )
    return Picture("pareto", "AU error against identity: the Pareto front", caption, figure)


def intermediate(data: StudyData) -> Picture:
    """Return the course of every trial over its intermediate validations."""
    study = data.spec.study
    special = {number: MARKS[name][1] for name, number in selection.references(data.trials).items()}
    colours = {"complete": DONE, "pruned": GREY, "failed": BAD}
    with style():
        figure = Figure(figsize=(9.0, 3.2), layout="constrained")
        panels = figure.subplots(1, 2)
        for _, row in data.trials.iterrows():
            number = int(row["number"])
            probes = data.study.trials[number].user_attrs.get("probes", [])
            images = [probe[0] for probe in probes]
            colour = special.get(number, colours.get(row["state"], GREY))
            line = {"color": colour, "linewidth": 1.8 if number in special else 0.7, "alpha": 0.8}
            skill = [study.interim_value(probe[1]) if study.prunes else probe[1][ERROR] for probe in probes]
            panels[0].plot(images, skill, **line)
            panels[1].plot(images, [probe[1][ACCURACY] for probe in probes], **line)
        compared = "AU skill less what is missing to the floor" if study.prunes else TITLES[ERROR]
        for axes, title in zip(panels, (compared, TITLES[ACCURACY]), strict=True):
            axes.set(xlabel="training images", ylabel=title)
            axes.xaxis.set_major_locator(matplotlib.ticker.MaxNLocator(5))
            _grid(axes)
        entries = [(state, "_", colour) for state, colour in colours.items()]
        entries += [(NAMES[name], "_", MARKS[name][1]) for name in selection.references(data.trials)]
        handles = [_handle(*entry) for entry in entries]
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    rule = (
        "The left value is what the pruner compares."
        if study.prunes
        else "No trial of this study is pruned: several objectives have no common order."
    )
    caption = f"Intermediate validations on {study.validation_pairs} pairs (one seed). {rule}"
    return Picture("intermediate", "Courses of the trials", caption, figure)


def importance_bars(importances: Sequence[Importance]) -> Picture:
    """Return the importances by both evaluators, one panel per score."""
    with style():
        figure = Figure(figsize=(9.0, 0.5 * len(next(iter(importances[0].values.values()))) + 1.3))
        figure.set_layout_engine("constrained")
        for axes, entry in zip(
            figure.subplots(1, len(importances), squeeze=False)[0], importances, strict=True
        ):
            names = list(reversed(entry.values[PED_ANOVA]))
            places = np.arange(len(names), dtype=float)
            for shift, (evaluator, colour) in zip(
                (0.2, -0.2), ((PED_ANOVA, DONE), (FANOVA, GREY)), strict=True
            ):
                widths = [entry.values[evaluator][name] for name in names]
                axes.barh(places + shift, widths, height=0.38, color=colour, label=evaluator)
            axes.set_yticks(places, names)
            axes.set(xlabel="importance (sums to 1)", title=TITLES[entry.metric], xlim=(0, 1))
            axes.grid(axis="x", color=FAINT, linewidth=0.5, alpha=0.6)
            axes.set_axisbelow(True)
        handles, labels = axes.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=2)
    meanings = ". ".join(f"{name}: {text}" for name, text in MEANINGS.items())
    first = importances[0]
    when = "at the end" if first.images is None else f"after {first.images:,} images, before any was stopped"
    caption = (
        f"Scores of {first.trials} trials {when}. {meanings}. Both are rough with few trials, drawn where "
        "the sampler hoped for good ones."
    )
    return Picture("importances", "Parameter importances, PED-ANOVA and fANOVA", caption, figure)


def _is_log(distribution: BaseDistribution) -> bool:
    return bool(getattr(distribution, "log", False))


def _positions(values: pd.Series, distribution: BaseDistribution) -> np.ndarray:
    """Return where values are drawn on their axis: as they are, or as the place among the choices."""
    if isinstance(distribution, CategoricalDistribution):
        return np.array([distribution.to_internal_repr(value) for value in values], dtype=float)
    return values.to_numpy(np.float64)


def _dress(axes: Axes, distribution: BaseDistribution, which: str) -> None:
    """Give an axis a parameter's scale and range."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    limit = axes.set_xlim if which == "x" else axes.set_ylim
    if isinstance(distribution, CategoricalDistribution):
        axis.set_ticks(range(len(distribution.choices)), list(map(str, distribution.choices)))
        limit(-0.5, len(distribution.choices) - 0.5)
        return
    low, high = float(distribution.low), float(distribution.high)  # type: ignore[attr-defined]
    if _is_log(distribution):
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        limit(low / 1.15, high * 1.15)
        return
    margin = 0.05 * (high - low)
    limit(low - margin, high + margin)


def slices(data: StudyData) -> Picture:
    """Return each score over each parameter; later trials are darker."""
    frame, best = data.trials, best_or_none(data)
    done, space = selection.complete(frame), data.spec.space.distributions
    metrics = data.spec.study.headline
    with style():
        figure = Figure(figsize=(1.75 * len(space) + 0.6, 4.3), layout="constrained")
        panels = figure.subplots(2, len(space), squeeze=False, sharey="row")
        for row, metric in enumerate(metrics):
            for axes, (name, distribution) in zip(panels[row], space.items(), strict=True):
                column = f"params_{name}"
                axes.scatter(
                    _positions(done[column], distribution),
                    done[metric],
                    c=done["number"],
                    cmap="Blues",
                    vmin=-len(frame) * 0.4,
                    s=16,
                )
                _dress(axes, distribution, "x")
                if not isinstance(distribution, CategoricalDistribution):
                    _mark_special(axes, frame, column, metric, best)
                axes.set_xlabel(name if row else "")
                _grid(axes)
            panels[row][0].set_ylabel(TITLES[metric])
        _legend(figure, data, best, [("complete; later is darker", "o", DONE)])
    caption = "Every complete trial over each parameter; the other parameters vary too."
    return Picture("slices", "Scores over each parameter", caption, figure)


def contours(data: StudyData, metric: str) -> Picture:
    """Return a score over every pair of parameters; interpolated between trials where both are continuous."""
    done, space = selection.complete(data.trials), data.spec.space.distributions
    pairs = list(itertools.combinations(space, 2))
    across = min(5, len(pairs))
    down = -(-len(pairs) // across)
    low, high = float(done[metric].min()), float(done[metric].max())
    with style():
        figure = Figure(figsize=(1.9 * across + 0.8, 1.75 * down + 0.6), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes, (first, second) in zip(panels, pairs, strict=False):
            points = _contour(axes, done, (first, second), space, metric, (low, high))
            axes.set(xlabel=first, ylabel=second)
        for axes in panels[len(pairs) :]:
            axes.set_axis_off()
        figure.colorbar(points, ax=list(panels), label=TITLES[metric], shrink=0.8)
    caption = (
        "Points are complete trials; colours between them are interpolated linearly on the drawn axes. "
        "The other parameters vary too, so neighbours may disagree."
    )
    short = metric.removeprefix("val/").replace("/", "-")
    return Picture(f"contours-{short}", f"{TITLES[metric]} over pairs of parameters", caption, figure)


def _contour(
    axes: Axes,
    done: pd.DataFrame,
    names: tuple[str, str],
    space: dict[str, BaseDistribution],
    metric: str,
    limits: tuple[float, float],
) -> matplotlib.collections.PathCollection:
    x, y = (_positions(done[f"params_{name}"], space[name]) for name in names)
    values = done[metric].to_numpy(np.float64)
    cmap = "viridis_r" if metric == ERROR else "viridis"
    if limits[1] > limits[0] and all(isinstance(space[name], FloatDistribution) for name in names):
        u, v = (np.log10(p) if _is_log(space[n]) else p for n, p in zip(names, (x, y), strict=True))
        if _spans_plane(u, v):
            mesh = matplotlib.tri.Triangulation(u, v)
            levels = np.linspace(*limits, 11)
            drawn = matplotlib.tri.Triangulation(x, y, mesh.triangles)
            axes.tricontourf(drawn, values, levels=levels, cmap=cmap, alpha=0.75)
    points = axes.scatter(
        x, y, c=values, cmap=cmap, vmin=limits[0], vmax=limits[1], s=14, edgecolors=INK, linewidths=0.4
    )
    for which, name in zip("xy", names, strict=True):
        _dress(axes, space[name], which)
    return points


def _spans_plane(u: np.ndarray, v: np.ndarray) -> bool:
    """Whether points are not all on one line, so that they can be triangulated."""
    points = np.column_stack([u, v])
    return len(np.unique(points, axis=0)) > 3 and np.linalg.matrix_rank(points - points.mean(axis=0)) == 2


def rank_lines(checks: Sequence[RankCheck]) -> Picture:
    """Return both rankings beside each other, a line per trial."""
    with style():
        figure = Figure(figsize=(min(9.0, 3.0 * len(checks)), 2.6), layout="constrained")
        panels = figure.subplots(1, len(checks), squeeze=False)[0]
        for axes, check in zip(panels, checks, strict=True):
            before, after = check.ranks(check.small), check.ranks(check.large)
            for one, two in zip(before, after, strict=True):
                axes.plot([0, 1], [one, two], color=DONE if one == two else BAD, marker="o", markersize=4)
            for side, ranks in enumerate((before, after)):
                _label_ranks(axes, check.trials, ranks, side)
            axes.set(title=TITLES[check.metric], xlim=(-0.3, 1.3), ylim=(len(check.trials) + 0.5, 0.5))
            axes.set_xticks([0, 1], ["in the study", f"{check.images} images"])
            axes.set_yticks(range(1, len(check.trials) + 1))
        panels[0].set_ylabel("rank")
    caption = "Ranks of trials in the study and on another budget; orange lines change their rank."
    return Picture("ranks", "Does the small budget rank as a larger one?", caption, figure)


def _label_ranks(axes: Axes, trials: Sequence[int], ranks: Sequence[int], side: int) -> None:
    """Write the trials of each rank beside its point, at the left (0) or right (1)."""
    for rank in sorted(set(ranks)):
        names = ", ".join(str(trial) for trial, its in zip(trials, ranks, strict=True) if its == rank)
        shift, align = ((-7, "right"), (7, "left"))[side]
        axes.annotate(names, (side, rank), xytext=(shift, -3), textcoords="offset points", ha=align)
