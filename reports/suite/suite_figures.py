"""Figures: frame -> matplotlib figure."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import matplotlib.image
import matplotlib.lines
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eggan.aus import AU_COUNT, AU_NUMBERS, EXPRESSIONS
from reports.style.figure_style import FAINT, INK, Picture, legend_columns, literal, style
from reports.style.image_rows import ImageRow, image_rows
from reports.style.line_panels import Line, Panel, line_panels
from reports.suite.estimates import AUMetric
from reports.suite.frame import Frame
from reports.suite.method_names import ABLATIONS, ORACLE, MethodNames, method_kind, method_rank
from reports.suite.sections import Section

ROWS = 8  # of images in one figure, about
PANELS_ACROSS = 5
CLOCKS = ("train/images_seen", "train/seconds")  # logged beside the terms; what they come to is in the costs
LEGEND_LINE = 0.3  # height of a line of a legend, in inches
SAME_FACES = "Faces and targets are the protocol's, the same for every method; lowest finished seed."
Showcase = Mapping[str, np.ndarray]


def pictures(frame: Frame, sections: Sequence[Section]) -> list[Picture]:
    """Return every figure that the frame has data for, in the order of the page."""
    datasets = sorted(set(frame.cells["dataset"]))
    made = [picture for dataset in datasets for picture in _faces(frame, dataset)]
    for section in sections:
        made += [bars(section, "mse"), bars(section, "pcc")]
        response = response_matrices(frame, section)
        made += [response] if response else []
    return made + [curve for dataset in datasets if (curve := curves(frame, dataset))]


def _faces(frame: Frame, dataset: str) -> list[Picture]:
    cases = showcases(frame, dataset)
    if not cases:
        return []
    return [expression_grid(cases, dataset, frame.names), interpolation_strips(cases, dataset, frame.names)]


def showcases(frame: Frame, dataset: str) -> dict[str, Showcase]:
    """Return method -> showcase of its lowest finished seed, in table order."""
    cells = frame.cells[(frame.cells["dataset"] == dataset) & frame.cells["run_id"].isin(frame.showcases)]
    first = cells.sort_values("seed").drop_duplicates("method").set_index("method")["run_id"]
    return {method: frame.showcases[first[method]] for method in sorted(first.index, key=method_rank)}


def expression_grid(cases: Mapping[str, Showcase], dataset: str, names: MethodNames) -> Picture:
    """Return Fig. 2: per face the source, the true edits, and each method's edits to eight expressions."""
    any_case, edited = next(iter(cases.values())), _edited(cases)
    faces = _faces_to_show(any_case["source"], len(edited) + 1)
    rows = [row for face in faces for row in _grid_rows(edited, any_case, face, names)]
    targets = target_names(any_case)
    figure = image_rows(rows, ["source", *targets], len(rows) // len(faces))
    kind = "expressions" if targets[0] in EXPRESSIONS else "targets"
    caption = (
        f"Edits of neutral test faces to {len(targets)} {kind}. "
        f"{'“True edit” is the rendered answer. ' if 'truth' in any_case else ''}{pixels_text(any_case)} "
        f"{SAME_FACES}"
    )
    return Picture(f"fig2-expressions-{dataset}", f"Fig. 2: expressions ({dataset})", caption, figure)


def target_names(case: Showcase) -> list[str]:
    """Return the names of a showcase's targets; runs that recorded none show the eight expressions."""
    return list(map(str, case.get("names", EXPRESSIONS)))


def _edited(cases: Mapping[str, Showcase]) -> dict[str, Showcase]:
    """Keep the trained methods; a suite without any shows its references. Ablations have Fig. 4."""
    kept = {method: case for method, case in cases.items() if method not in ABLATIONS}
    trained = {method: case for method, case in kept.items() if method_kind(method) == "method"}
    return trained or {method: case for method, case in kept.items() if method != ORACLE}


def _faces_to_show(sources: np.ndarray, rows_per_face: int) -> list[int]:
    return list(range(min(len(sources), max(2, ROWS // rows_per_face))))


def pixels_text(case: Showcase) -> str:
    """Return the sentence of a caption that says how large the images are."""
    size = case["source"].shape[1]
    return f"Images are {size} × {size} px, enlarged."


def _grid_rows(
    edited: Mapping[str, Showcase], case: Showcase, face: int, names: MethodNames
) -> list[ImageRow]:
    """Return a face's rows of Fig. 2; the source stands in the first alone."""
    rows = [("True edit", case["truth"][face])] if "truth" in case else []
    rows += [(names.title(method), own["edits"][face]) for method, own in edited.items()]
    source = case["source"][face]
    return [(label, [None if i else source, *images]) for i, (label, images) in enumerate(rows)]


def interpolation_strips(cases: Mapping[str, Showcase], dataset: str, names: MethodNames) -> Picture:
    """Return Fig. 3: frames along Eq. 8 per method, the rendered true frames beneath."""
    any_case, edited = next(iter(cases.values())), _edited(cases)
    faces = _faces_to_show(any_case["source"], len(edited) + 1)
    rows: list[ImageRow] = []
    for face in faces:
        rows += [(names.title(m), list(case["interpolation"][face])) for m, case in edited.items()]
        if "interpolation_truth" in any_case:
            rows.append(("True frames", list(any_case["interpolation_truth"][face])))
    headings = [f"α = {alpha:.2f}".rstrip("0").rstrip(".") for alpha in any_case["alpha"]]
    figure = image_rows(rows, headings, len(rows) // len(faces))
    caption = (
        "Interpolation from the source's AUs (α = 0) to the target's (α = 1), Eq. 8. "
        + ("The rendered true frames stand beneath. " if "interpolation_truth" in any_case else "")
        + pixels_text(any_case)
    )
    return Picture(f"fig3-interpolation-{dataset}", f"Fig. 3: interpolation ({dataset})", caption, figure)


def bars(section: Section, metric: AUMetric) -> Picture:
    """Return per-AU bars with bootstrap intervals, one colour per method, means at the right."""
    methods = [g.method for g in section.groups if (g.method, metric) in section.intervals]
    arrow = "lower is better" if metric == "mse" else "higher is better"
    places = np.append(np.arange(AU_COUNT, dtype=float), AU_COUNT + 0.6)
    width = 0.82 / max(1, len(methods))
    with style():
        figure = Figure(figsize=(9.4, 2.9), layout="constrained")
        axes = figure.add_subplot()
        for index, method in enumerate(methods):
            offset = (index - (len(methods) - 1) / 2) * width
            _bar_series(axes, places + offset, width, section, method, metric)
        axes.set_xticks(places, [f"AU{n}" for n in AU_NUMBERS] + ["Mean"])
        axes.set_xlim(-0.6, AU_COUNT + 1.2)
        axes.axvline(AU_COUNT - 0.2, color=FAINT, linewidth=0.8)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set_ylabel(f"{metric.upper()} ({arrow})")
        axes.grid(axis="y", color=FAINT, linewidth=0.5, alpha=0.6)
        axes.set_axisbelow(True)
        columns = legend_columns(len(methods), 8)
        figure.legend(loc="outside upper center", ncols=columns, handlelength=1.0, columnspacing=1.4)
    means = [section.intervals[method, metric].estimate[:AU_COUNT] for method in methods]
    absent = [section.names.title(m) for m, own in zip(methods, means, strict=True) if np.isnan(own).all()]
    caption = (
        f"{section.readers.first}. Whiskers: 95 % crossed bootstrap over source identities × targets × seeds."
        + (f" Without variation in the edits there is no PCC: {', '.join(absent)}." if absent else "")
    )
    title = f"{metric.upper()} per AU ({section.dataset}, {section.split})"
    return Picture(f"{metric}-per-au-{section.key}", title, caption, figure)


def _bar_series(
    axes: Axes, places: np.ndarray, width: float, section: Section, method: str, metric: AUMetric
) -> None:
    found, names = section.intervals[method, metric], section.names
    label, colour = literal(names.short(method)), names.colour(method)
    axes.bar(places, found.estimate, width * 0.92, color=colour, label=label)
    ends = np.stack([found.estimate - found.low, found.high - found.estimate])
    whiskers = np.nan_to_num(np.clip(ends, 0, None))
    thin: dict[str, Any] = {"elinewidth": 0.6, "capsize": 0.9, "capthick": 0.6}
    axes.errorbar(places, found.estimate, yerr=whiskers, fmt="none", ecolor=INK, **thin)


def response_matrices(frame: Frame, section: Section) -> Picture | None:
    """Return the 17 x 17 response of every trained method and the oracle; None where nothing was probed."""
    runs = frame.cells[(frame.cells["dataset"] == section.dataset) & (frame.cells["state"] == "finished")]
    probed = frame.response[frame.response["split"] == section.split]
    probed = probed.merge(runs[["run_id", "method"]], on="run_id")
    probed = probed[probed["change"].notna()]  # a method of which no probe could be read has no matrix
    ranked = sorted(set(probed["method"]), key=method_rank)
    methods = [method for method in ranked if method_kind(method) == "method" or method == ORACLE]
    if not methods:
        return None
    tables = [_matrix(probed[probed["method"] == method]) for method in methods]
    limit = max(0.5, float(np.nanmax(np.abs(np.stack(tables)))))
    with style():
        figure, grid = _panels(len(methods), (3.3, 3.5), (0.9, 0))
        for axes, method, table in zip(grid.ravel(), methods, tables, strict=False):
            drawn = _heat(axes, table, limit)
            axes.set_title(literal(frame.names.short(method)), fontsize=9)
        for axes in grid[:, 0]:
            axes.set_ylabel("AU set from 0 to 4")
        figure.colorbar(drawn, ax=list(grid.ravel()), shrink=0.8, label="change of the reading")
    caption = (
        "Each row sets one AU from 0 to 4 on neutral faces; each column is the mean change of the reading of "
        f"one AU by {section.readers.a}. A clean method is a diagonal near 4; whatever is off the diagonal "
        "is drift."
    )
    title = f"Response to single AUs ({section.dataset}, {section.split})"
    return Picture(f"response-{section.key}", title, caption, figure)


def _panels(count: int, panel: tuple[float, float], margin: tuple[float, float]) -> tuple[Figure, np.ndarray]:
    """Return a figure with a grid of axes of `panel` inches each, (rows, columns), the last ones blank."""
    across = min(PANELS_ACROSS, count)
    down = -(-count // across)
    size = (panel[0] * across + margin[0], panel[1] * down + margin[1])
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.ravel()[count:]:
        axes.set_axis_off()
    return figure, grid


def _matrix(rows: pd.DataFrame) -> np.ndarray:
    table = rows.pivot_table(index="probed_au", columns="read_au", values="change", aggfunc="mean")
    return table.reindex(index=list(AU_NUMBERS), columns=list(AU_NUMBERS)).to_numpy(dtype=np.float64)


def _heat(axes: Axes, table: np.ndarray, limit: float) -> mpl.image.AxesImage:
    drawn = axes.imshow(table, cmap="RdBu_r", vmin=-limit, vmax=limit)
    axes.set_xticks(range(AU_COUNT), list(map(str, AU_NUMBERS)), fontsize=6)
    axes.set_yticks(range(AU_COUNT), list(map(str, AU_NUMBERS)), fontsize=6)
    axes.set_xlabel("AU read")
    axes.tick_params(length=0)
    return drawn


def curves(frame: Frame, dataset: str) -> Picture | None:
    """Return the training curves, one panel per logged term; None where none were logged."""
    runs = frame.cells[frame.cells["dataset"] == dataset][["run_id", "method", "seed"]]
    logged = frame.curves[~frame.curves["metric"].isin(CLOCKS)].merge(runs, on="run_id")
    counts = logged.groupby("metric")["step"].nunique()
    terms = sorted(map(str, counts.index[counts > 1]))
    if not terms:
        return None
    methods = sorted(set(logged["method"]), key=method_rank)
    columns = legend_columns(len(methods), 8)
    panels = [_panel(term, logged[logged["metric"] == term], frame.names) for term in terms]
    with style():
        figure = line_panels(panels, PANELS_ACROSS, LEGEND_LINE * -(-len(methods) // columns))
        handles = [
            mpl.lines.Line2D([], [], color=frame.names.colour(m), label=literal(frame.names.short(m)))
            for m in methods
        ]
        figure.legend(handles=handles, loc="upper center", ncols=columns, handlelength=1.4)
    caption = "Logged training terms against the step; one line per seed."
    return Picture(f"training-{dataset}", f"Training ({dataset})", caption, figure)


def _panel(term: str, rows: pd.DataFrame, names: MethodNames) -> Panel:
    lines = [
        Line(line["step"].to_numpy(np.float64), line["value"].to_numpy(np.float64), names.colour(str(method)))
        for (method, _), line in rows.sort_values("step").groupby(["method", "seed"])
    ]
    return Panel(term.removeprefix("train/"), lines)
