"""Fig. 4: the same faces and targets edited by EGGAN, or EGGAN-W, and by it without each of its parts."""

from collections.abc import Mapping, Sequence

from benchmarks.suites.ablated_methods import EGGAN, Ablation
from reports.style.figure_style import Picture
from reports.style.image_rows import ImageRow, image_rows
from reports.suite.ablation_tables import ablations_among
from reports.suite.frame import Frame
from reports.suite.method_names import method_title
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
    """Return Fig. 4 of each dataset on which EGGAN, or EGGAN-W, and a variant of it have finished."""
    pictures = []
    for dataset in sorted(set(frame.cells["dataset"])):
        cases = showcases(frame, dataset)
        found = ablations_among(cases.keys())
        if found is not None and found[0] in cases:
            pictures.append(ablation_grid(cases, dataset, *found))
    return pictures


def ablation_grid(
    cases: Mapping[str, Showcase], dataset: str, of: str, variants: Sequence[Ablation]
) -> Picture:
    """Return rows of source, true edit (where it is known), the method `of` and each variant; two targets a
    face.
    """
    full = cases[of]
    true_edit = ["true edit"] if "truth" in full else []
    headings = ["source", *true_edit, method_title(of), *(variant.short for variant in variants)]
    names = target_names(full)
    rows: list[ImageRow] = []
    for face, target in _targets(len(full["source"]), names):
        known = [full["truth"][face, target]] if true_edit else []
        edits = [cases[method]["edits"][face, target] for method in (of, *(v.name for v in variants))]
        rows.append((names[target], [full["source"][face], *known, *edits]))
    caption = (
        "Each row is one test face with one target. "
        f"{'“True edit” is the rendered answer. ' if true_edit else ''}"
        f"{'; '.join(f'{variant.short}: {variant.what}' for variant in variants)}. {pixels_text(full)} "
        f"{SAME_FACES}"
    )
    title = f"{'Fig. 4: ' if of == EGGAN else f'{method_title(of)} '}without each part ({dataset})"
    return Picture(f"fig4-ablations-{dataset}", title, caption, image_rows(rows, headings, PER_FACE))


def _targets(faces: int, names: list[str]) -> list[tuple[int, int]]:
    """Return (face, target) of each row: the faces take turns through the expressions but neutral."""
    posed = [i for i, name in enumerate(names) if name != "neutral"]
    rows = min(ROWS, PER_FACE * faces)
    return [(row // PER_FACE, posed[row % len(posed)]) for row in range(rows)]
