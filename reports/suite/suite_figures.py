"""Figures: frame -> matplotlib figure."""

import textwrap
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import matplotlib.image
import matplotlib.lines
import matplotlib.ticker
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from eggan.aus import AU_COUNT, AU_NUMBERS, EXPRESSIONS
from reports.style.figure_style import FAINT, INK, Picture, literal, style
from reports.suite.frame import Frame
from reports.suite.method_names import ABLATIONS, ORACLE, MethodNames, method_kind, method_rank
from reports.suite.sections import Section

ROWS = 8  # of images in one figure, about
PANELS_ACROSS = 5
LABEL_CHARACTERS = 24  # in one line of the label of a row of images


def pictures(frame: Frame, sections: Sequence[Section]) -> list[Picture]:
    """Return every figure that the frame has data for, in the order of the page."""
    made = [picture for dataset in sorted(set(frame.cells["dataset"])) for picture in _faces(frame, dataset)]
    for section in sections:
        made += [bars(section, "mse"), bars(section, "pcc")]
        response = response_matrices(frame, section)
        made += [response] if response else []
    made += [curve for dataset in sorted(set(frame.cells["dataset"])) if (curve := curves(frame, dataset))]
    return made


def _faces(frame: Frame, dataset: str) -> list[Picture]:
    shown = showcases(frame, dataset)
    if not shown:
        return []
    return [expression_grid(shown, dataset, frame.names), interpolation_strips(shown, dataset, frame.names)]


def showcases(frame: Frame, dataset: str) -> dict[str, Mapping[str, np.ndarray]]:
    """Return method -> showcase of its lowest finished seed, in table order."""
    cells = frame.cells[(frame.cells["dataset"] == dataset) & frame.cells["run_id"].isin(frame.showcases)]
    first = cells.sort_values("seed").drop_duplicates("method").set_index("method")["run_id"]
    return {method: frame.showcases[first[method]] for method in sorted(first.index, key=method_rank)}


def expression_grid(
    shown: Mapping[str, Mapping[str, np.ndarray]], dataset: str, names: MethodNames
) -> Picture:
    """Return Fig. 2: per face the source, the true edits, and each method's edits to eight expressions."""
    any_case = next(iter(shown.values()))
    edited = _edited(shown)
    faces = _faces_to_show(any_case["source"], len(edited) + 1)
    rows = [row for face in faces for row in _grid_rows(edited, any_case, face, names)]
    targets = target_names(any_case)
    figure = image_rows(rows, ["source", *targets], len(rows) // len(faces))
    kind = "expressions" if targets[0] in EXPRESSIONS else "targets"
    caption = (
        f"Edits of neutral test faces to {len(targets)} {kind}. "
        f"{'“True edit” is the rendered answer. ' if 'truth' in any_case else ''}{pixels_text(any_case)} "
        "Faces and targets are the protocol's, the same for every method; lowest finished seed."
    )
    return Picture(f"fig2-expressions-{dataset}", f"Fig. 2: expressions ({dataset})", caption, figure)


def target_names(case: Mapping[str, np.ndarray]) -> list[str]:
    """Return the names of a showcase's targets; runs that do not tell showed the eight expressions."""
    return list(map(str, case.get("names", EXPRESSIONS)))


def _edited(shown: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Mapping[str, np.ndarray]]:
    """Keep the trained methods; a suite without any shows its references. Ablations have Fig. 4."""
    kept = {method: case for method, case in shown.items() if method not in ABLATIONS}
    trained = {method: case for method, case in kept.items() if method_kind(method) == "method"}
    return trained or {method: case for method, case in kept.items() if method != ORACLE}


def _faces_to_show(sources: np.ndarray, rows_per_face: int) -> list[int]:
    return list(range(min(len(sources), max(2, ROWS // rows_per_face))))


def pixels_text(case: Mapping[str, np.ndarray]) -> str:
    """Return the sentence of a caption that says how large the images are."""
    size = case["source"].shape[1]
    return f"Images are {size} × {size} px, enlarged."


def _grid_rows(
    shown: Mapping[str, Mapping[str, np.ndarray]],
    case: Mapping[str, np.ndarray],
    face: int,
    names: MethodNames,
) -> list[tuple[str, list[np.ndarray | None]]]:
    source = case["source"][face]
    rows: list[tuple[str, list[np.ndarray | None]]] = []
    if "truth" in case:
        rows.append(("True edit", [source, *case["truth"][face]]))
    rows += [
        (names.title(m), [None if rows or i else source, *c["edits"][face]])
        for i, (m, c) in enumerate(shown.items())
    ]
    return rows


def interpolation_strips(
    shown: Mapping[str, Mapping[str, np.ndarray]], dataset: str, names: MethodNames
) -> Picture:
    """Return Fig. 3: frames along Eq. 8 per method, the rendered true frames beneath."""
    any_case = next(iter(shown.values()))
    edited = _edited(shown)
    faces = _faces_to_show(any_case["source"], len(edited) + 1)
    rows: list[tuple[str, list[np.ndarray | None]]] = []
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


def image_rows(
    rows: Sequence[tuple[str, list[np.ndarray | None]]], headings: Sequence[str], per_face: int
) -> Figure:
    """Draw labelled rows of images; every `per_face` rows a gap."""
    tile, label, gap, top = 0.82, 1.15, 0.12, 0.26
    groups = (len(rows) - 1) // per_face
    width, height = label + tile * len(headings), top + tile * len(rows) + gap * groups
    with style():
        figure = Figure(figsize=(width, height))
        for down, (name, images) in enumerate(rows):
            bottom = height - top - tile * (down + 1) - gap * (down // per_face)
            figure.text(
                (label - 0.08) / width,
                (bottom + tile / 2) / height,
                literal(textwrap.fill(name, LABEL_CHARACTERS)),
                ha="right",
                va="center",
                fontsize=7.5,
            )
            for across, image in enumerate(images):
                if image is not None:
                    box = (
                        (label + tile * across) / width,
                        bottom / height,
                        (tile - 0.03) / width,
                        (tile - 0.03) / height,
                    )
                    _image(figure, box, image)
        for across, heading in enumerate(headings):
            place = (label + tile * (across + 0.5) - 0.015) / width
            figure.text(
                place,
                (height - top + 0.06) / height,
                literal(heading),
                ha="center",
                va="bottom",
                fontsize=7.5,
            )
    return figure


def _image(figure: Figure, box: tuple[float, float, float, float], image: np.ndarray) -> None:
    axes = figure.add_axes(box)
    axes.imshow(image, interpolation="bicubic", aspect="auto")
    axes.set_axis_off()


def bars(section: Section, metric: str) -> Picture:
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
        figure.legend(
            loc="outside upper center",
            ncols=min(8, max(1, len(methods))),
            handlelength=1.0,
            columnspacing=1.4,
        )
    what = f"{metric.upper()} per AU ({section.dataset}, {section.split})"
    caption = (
        f"{section.readers.first}. Whiskers: 95 % crossed bootstrap over source identities × targets × seeds."
    )
    absent = [
        section.names.title(m)
        for m in methods
        if np.isnan(section.intervals[m, metric].estimate[:AU_COUNT]).all()
    ]
    if absent:
        caption += f" Without variation in the edits there is no PCC: {', '.join(absent)}."
    return Picture(f"{metric}-per-au-{section.key}", what, caption, figure)


def _bar_series(
    axes: Axes, places: np.ndarray, width: float, section: Section, method: str, metric: str
) -> None:
    found = section.intervals[method, metric]
    below = np.clip(found.estimate - found.low, 0, None)
    above = np.clip(found.high - found.estimate, 0, None)
    axes.bar(
        places,
        found.estimate,
        width * 0.92,
        color=section.names.colour(method),
        label=literal(section.names.short(method)),
    )
    whiskers = np.nan_to_num(np.stack([below, above]))
    axes.errorbar(
        places,
        found.estimate,
        yerr=whiskers,
        fmt="none",
        ecolor=INK,
        elinewidth=0.6,
        capsize=0.9,
        capthick=0.6,
    )


def response_matrices(frame: Frame, section: Section) -> Picture | None:
    """Return the 17 x 17 response of every trained method and the oracle; None where nothing was probed."""
    runs = frame.cells[(frame.cells["dataset"] == section.dataset) & (frame.cells["state"] == "finished")]
    probed = frame.response[frame.response["split"] == section.split].merge(
        runs[["run_id", "method"]], on="run_id"
    )
    probed = probed[probed["change"].notna()]  # a method of which no probe could be read has no matrix
    methods = [
        m for m in sorted(set(probed["method"]), key=method_rank) if method_kind(m) == "method" or m == ORACLE
    ]
    if not methods:
        return None
    tables = [_matrix(probed[probed["method"] == method]) for method in methods]
    limit = max(0.5, float(np.nanmax(np.abs(np.stack(tables)))))
    across = min(PANELS_ACROSS, len(methods))
    down = -(-len(methods) // across)
    with style():
        figure = Figure(figsize=(0.9 + 3.3 * across, 3.5 * down), layout="constrained")
        grid = figure.subplots(down, across, squeeze=False)
        panels = grid.ravel()
        for axes, method, table in zip(panels, methods, tables, strict=False):
            drawn = _heat(axes, table, limit)
            axes.set_title(literal(frame.names.short(method)), fontsize=9)
        for axes in panels[len(methods) :]:
            axes.set_axis_off()
        for axes in grid[:, 0]:
            axes.set_ylabel("AU set from 0 to 4")
        figure.colorbar(drawn, ax=list(panels), shrink=0.8, label="change of the reading")
    caption = (
        "Each row sets one AU from 0 to 4 on neutral faces; each column is the mean change of the reading of "
        f"one AU by {section.readers.a}. A clean method is a diagonal near 4; whatever is off the diagonal "
        "is drift."
    )
    return Picture(
        f"response-{section.key}",
        f"Response to single AUs ({section.dataset}, {section.split})",
        caption,
        figure,
    )


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
    logged = frame.curves.merge(runs, on="run_id")
    counts = logged.groupby("metric")["step"].nunique()
    names = sorted(str(name) for name in counts.index[counts > 1])
    if not names:
        return None
    across = min(PANELS_ACROSS, len(names))
    down = -(-len(names) // across)
    with style():
        figure = Figure(figsize=(1.95 * across, 1.45 * down + 0.35), layout="constrained")
        panels = figure.subplots(down, across, squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            _curve_panel(axes, logged[logged["metric"] == name], name.removeprefix("train/"), frame.names)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        methods = sorted(set(logged["method"]), key=method_rank)
        handles = [
            mpl.lines.Line2D([], [], color=frame.names.colour(m), label=literal(frame.names.short(m)))
            for m in methods
        ]
        figure.legend(
            handles=handles, loc="outside upper center", ncols=max(1, min(8, len(methods))), handlelength=1.4
        )
    caption = "Logged training terms against the step; one line per seed."
    return Picture(f"training-{dataset}", f"Training ({dataset})", caption, figure)


def _curve_panel(axes: Axes, rows: pd.DataFrame, name: str, names: MethodNames) -> None:
    for (method, _), line in rows.groupby(["method", "seed"]):
        ordered = line.sort_values("step")
        axes.plot(
            ordered["step"], ordered["value"], color=names.colour(str(method)), linewidth=0.9, alpha=0.85
        )
    axes.set_title(name, fontsize=7, loc="left")
    axes.tick_params(labelsize=6)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(3))
    axes.yaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
    axes.grid(color=FAINT, linewidth=0.4, alpha=0.6)
