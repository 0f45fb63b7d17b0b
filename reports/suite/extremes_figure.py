"""Failures beside successes: the best and worst edits of each trained method, as chosen by its scoring."""

from collections.abc import Mapping

import numpy as np

from reports.style.figure_style import Picture
from reports.style.image_rows import ImageRow, image_rows
from reports.suite.frame import Frame
from reports.suite.method_names import ABLATIONS, MethodNames, full_method, method_kind
from reports.suite.suite_figures import pixels_text, showcases

RULES_TEXT = (
    "Chosen by rule among all pairs of the split, each of another person: the least and the largest mean "
    "squared AU error as the first instrument reads it, source and edit most and least alike to the verifier"
)


def extremes_figures(frame: Frame) -> list[Picture]:
    """Return a figure per dataset and trained method whose runs kept such pictures; lowest finished seed."""
    return [
        _figure(method, case, dataset, frame.names)
        for dataset in sorted(set(frame.cells["dataset"]))
        for method, case in showcases(frame, dataset).items()
        if "extreme_edit" in case and method_kind(method) == "method"
        if method not in ABLATIONS and full_method(method) == method
    ]


def _figure(method: str, case: Mapping[str, np.ndarray], dataset: str, names: MethodNames) -> Picture:
    parts = [part for part in ("source", "truth", "edit") if f"extreme_{part}" in case]
    rules, values, split = (case[f"extreme_{name}"] for name in ("rule", "value", "split"))
    rows: list[ImageRow] = []
    for place, rule in enumerate(rules):
        images = [case[f"extreme_{part}"][place, k] for k in range(values.shape[1]) for part in parts]
        rows.append((str(rule), images))
    titles = {"source": "source", "truth": "true edit", "edit": "edit"}
    figure = image_rows(rows, [titles[part] for part in parts] * values.shape[1], per_face=2)
    values_text = "; ".join(
        f"{rule} {', '.join(f'{value:.2f}' for value in own)}"
        for rule, own in zip(rules, values, strict=True)
    )
    where = f"{dataset}-{split[0]}"
    return Picture(
        f"extremes-{method}-{where}",
        f"{names.title(method)}: best and worst edits ({dataset}, {split[0]})",
        f"{RULES_TEXT}: {values_text}. {pixels_text(case)}",
        figure,
    )
