"""Fig. 4: the same faces and targets edited by EGGAN and by EGGAN without each of its parts."""

from collections.abc import Mapping

import numpy as np

from benchmarks.suites.ablated_methods import VARIANTS
from reports.style.figure_style import Picture
from reports.suite.frame import Frame
from reports.suite.method_names import ABLATIONS, OUR_METHOD, method_title
from reports.suite.suite_figures import ROWS, image_rows, pixels_text, showcases, target_names

PER_FACE = 2  # expressions


def ablation_grids(frame: Frame) -> list[Picture]:
    """Return Fig. 4 of each dataset on which EGGAN and a variant have finished."""
    made = []
    for dataset in sorted(set(frame.cells["dataset"])):
        shown = showcases(frame, dataset)
        if OUR_METHOD in shown and set(shown) & set(ABLATIONS):
            made.append(ablation_grid(shown, dataset))
    return made


def ablation_grid(shown: Mapping[str, Mapping[str, np.ndarray]], dataset: str) -> Picture:
    """Return rows of source, true edit (where it is known), EGGAN and each variant; two targets a face."""
    full = shown[OUR_METHOD]
    variants = [variant for variant in VARIANTS if variant.name in shown]
    truth = ["true edit"] if "truth" in full else []
    headings = ["source", *truth, method_title(OUR_METHOD), *(variant.short for variant in variants)]
    rows = []
    names = target_names(full)
    for face, target in _targets(len(full["source"]), names):
        known = [full["truth"][face, target]] if truth else []
        edits = [shown[method]["edits"][face, target] for method in (OUR_METHOD, *(v.name for v in variants))]
        images: list[np.ndarray | None] = [full["source"][face], *known, *edits]
        rows.append((names[target], images))
    caption = (
        "Each row is one test face with one target. "
        f"{'“True edit” is the rendered answer. ' if truth else ''}"
        f"{'; '.join(f'{variant.short}: {variant.what}' for variant in variants)}. {pixels_text(full)} "
        "Faces and targets are the protocol's, the same for every method; lowest finished seed."
    )
    title = f"Fig. 4: without each part ({dataset})"
    return Picture(f"fig4-ablations-{dataset}", title, caption, image_rows(rows, headings, PER_FACE))


def _targets(faces: int, names: list[str]) -> list[tuple[int, int]]:
    """Return (face, target) of each row: the faces take turns through the expressions but neutral."""
    posed = [i for i, name in enumerate(names) if name != "neutral"]
    rows = min(ROWS, PER_FACE * faces)
    return [(row // PER_FACE, posed[row % len(posed)]) for row in range(rows)]
