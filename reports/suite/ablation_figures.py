"""Fig. 4: the same faces and targets edited by EGGAN and by EGGAN without each of its parts."""

from collections.abc import Mapping

from benchmarks.suites.ablated_methods import VARIANTS
from reports.style.figure_style import Picture
from reports.style.image_rows import ImageRow, image_rows
from reports.suite.frame import Frame
from reports.suite.method_names import ABLATIONS, OUR_METHOD, method_title
from reports.suite.suite_figures import (
    ROWS,
    SAME_FACES,
    Showcase,
    pixels_text,
    showcases,
    target_names,
)

PER_FACE = 2  # expressions


def ablation_grids(frame: Frame) -> list[Picture]:
    """Return Fig. 4 of each dataset on which EGGAN and a variant have finished."""
    found = {dataset: showcases(frame, dataset) for dataset in sorted(set(frame.cells["dataset"]))}
    return [
        ablation_grid(cases, dataset)
        for dataset, cases in found.items()
        if OUR_METHOD in cases and set(cases) & set(ABLATIONS)
    ]


def ablation_grid(cases: Mapping[str, Showcase], dataset: str) -> Picture:
    """Return rows of source, true edit (where it is known), EGGAN and each variant; two targets a face."""
    full, variants = cases[OUR_METHOD], [variant for variant in VARIANTS if variant.name in cases]
    true_edit = ["true edit"] if "truth" in full else []
    headings = ["source", *true_edit, method_title(OUR_METHOD), *(variant.short for variant in variants)]
    names = target_names(full)
    rows: list[ImageRow] = []
    for face, target in _targets(len(full["source"]), names):
        known = [full["truth"][face, target]] if true_edit else []
        edits = [cases[method]["edits"][face, target] for method in (OUR_METHOD, *(v.name for v in variants))]
        rows.append((names[target], [full["source"][face], *known, *edits]))
    caption = (
        "Each row is one test face with one target. "
        f"{'“True edit” is the rendered answer. ' if true_edit else ''}"
        f"{'; '.join(f'{variant.short}: {variant.what}' for variant in variants)}. {pixels_text(full)} "
        f"{SAME_FACES}"
    )
    title = f"Fig. 4: without each part ({dataset})"
    return Picture(f"fig4-ablations-{dataset}", title, caption, image_rows(rows, headings, PER_FACE))


def _targets(faces: int, names: list[str]) -> list[tuple[int, int]]:
    """Return (face, target) of each row: the faces take turns through the expressions but neutral."""
    posed = [i for i, name in enumerate(names) if name != "neutral"]
    rows = min(ROWS, PER_FACE * faces)
    return [(row // PER_FACE, posed[row % len(posed)]) for row in range(rows)]
