"""Figures: frame -> matplotlib figure."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from eggan.aus import AU_COUNT, AU_NUMBERS, EXPRESSIONS
from eggan.evaluation.statistics import Interval
from reports.style.au_matrices import matrices
from reports.style.figure_style import FAINT, INK, Picture, legend_columns, style
from reports.style.image_rows import ImageRow, image_rows
from reports.style.line_panels import Line, Panel, line_panels
from reports.style.ranges import ROOM, Range
from reports.style.sheet import LEGEND_LINE, Sheet
from reports.style.sides import write_beneath, write_values
from reports.suite.estimates import AUMetric
from reports.suite.frame import Frame
from reports.suite.method_names import ABLATIONS, ORACLE, MethodNames, method_kind, method_rank
from reports.suite.sections import Section
from reports.suite.showcase_files import of_lowest_seeds

ROWS = 8  # of images in one figure, about
PANELS_ACROSS = 5
CLOCKS = ("train/images_seen", "train/seconds")  # logged beside the terms; what they come to is in the costs
BAR_PLACES = np.append(np.arange(AU_COUNT, dtype=float), AU_COUNT + 0.6)  # the mean stands apart
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
    cells = frame.cells[frame.cells["dataset"] == dataset]
    shown = of_lowest_seeds(cells, frame.showcases)
    methods = cells.set_index("run_id")["method"]
    return {
        methods[run_id]: shown[run_id] for run_id in sorted(shown, key=lambda run: method_rank(methods[run]))
    }


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
    shown = [section.intervals[method, metric] for method in methods]
    arrow = "lower is better" if metric == "mse" else "higher is better"
    with style():
        sheet = Sheet(9.4, 2.9)
        top = write_legend(sheet, methods, section.names) - 0.05
        x = Range(-0.6, AU_COUNT + 1.2, 0.52, sheet.width - 0.05)
        y = _bar_heights(shown, 0.24, top)
        _bar_ticks(sheet, x, y)
        width = 0.82 / max(1, len(methods))
        for index, (method, found) in enumerate(zip(methods, shown, strict=True)):
            offset = (index - (len(methods) - 1) / 2) * width
            _bar_series(sheet, x, y, found, section.names.colour(method), offset, width * 0.92)
        sheet.write(0.16, (y.start + y.end) / 2, f"{metric.upper()} ({arrow})", align=0.5, upwards=True)
    absent = [section.names.title(m) for m, own in zip(methods, shown, strict=True) if _undefined(own)]
    caption = (
        f"{section.readers.first}. Whiskers: 95 % crossed bootstrap over source identities × targets × seeds."
        + (f" Without variation in the edits there is no PCC: {', '.join(absent)}." if absent else "")
    )
    title = f"{metric.upper()} per AU ({section.dataset}, {section.split})"
    return Picture(f"{metric}-per-au-{section.key}", title, caption, sheet.figure)


def _undefined(found: Interval) -> bool:
    return bool(np.isnan(found.estimate[:AU_COUNT]).all())


def write_legend(sheet: Sheet, methods: Sequence[str], names: MethodNames) -> float:
    """Write the methods' names beside their colours, and return where they end."""
    columns = legend_columns(len(methods), 8)
    return sheet.legend([(names.short(method), names.colour(method)) for method in methods], columns)


def _bar_heights(shown: Sequence[Interval], bottom: float, top: float) -> Range:
    """Return the range of bars that stand on 0, with their whiskers."""
    values = np.concatenate([np.zeros(1), *(end for f in shown for end in (f.estimate, f.low, f.high))])
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    room = ROOM * (high - low) or ROOM
    return Range(low - room * (low < 0), high + room, bottom, top)


def _bar_ticks(sheet: Sheet, x: Range, y: Range) -> None:
    labels = [*(f"AU{n}" for n in AU_NUMBERS), "Mean"]
    write_beneath(sheet, y, zip(map(float, x.inches(BAR_PLACES)), labels, strict=True))
    write_values(sheet, x, y)
    (before_mean,), (zero,) = x.inches(np.array([AU_COUNT - 0.2])), y.inches(np.zeros(1))
    sheet.lines([np.array([[before_mean, y.start], [before_mean, y.end]])], FAINT, 0.8)
    sheet.frame(x.start, y.start, x.end, y.end)
    sheet.lines([np.array([[x.start, zero], [x.end, zero]])], INK, 0.8)


def _bar_series(
    sheet: Sheet, x: Range, y: Range, found: Interval, colour: str, offset: float, width: float
) -> None:
    left, middle, right = (x.inches(BAR_PLACES + offset + share * width) for share in (-0.5, 0, 0.5))
    ends = (np.zeros(len(BAR_PLACES)), found.estimate, found.low, found.high)
    zero, top, low, high = map(y.inches, ends)
    sheet.boxes(left, zero, right, top, colour)
    sheet.whiskers(middle, low, high, INK, 0.6)


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
    with style():
        figure = matrices([frame.names.short(method) for method in methods], tables)
    caption = (
        "Each row sets one AU from 0 to 4 on neutral faces; each column is the mean change of the reading of "
        f"one AU by {section.readers.a}. A clean method is a diagonal near 4; whatever is off the diagonal "
        "is drift."
    )
    title = f"Response to single AUs ({section.dataset}, {section.split})"
    return Picture(f"response-{section.key}", title, caption, figure)


def _matrix(rows: pd.DataFrame) -> np.ndarray:
    table = rows.pivot_table(index="probed_au", columns="read_au", values="change", aggfunc="mean")
    return table.reindex(index=list(AU_NUMBERS), columns=list(AU_NUMBERS)).to_numpy(dtype=np.float64)


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
        sheet = line_panels(panels, PANELS_ACROSS, LEGEND_LINE * (-(-len(methods) // columns) + 0.6))
        write_legend(sheet, methods, frame.names)
    caption = "Logged training terms against the step; one line per seed."
    return Picture(f"training-{dataset}", f"Training ({dataset})", caption, sheet.figure)


def _panel(term: str, rows: pd.DataFrame, names: MethodNames) -> Panel:
    lines = [
        Line(line["step"].to_numpy(np.float64), line["value"].to_numpy(np.float64), names.colour(str(method)))
        for (method, _), line in rows.sort_values("step").groupby(["method", "seed"])
    ]
    return Panel(term.removeprefix("train/"), lines)
