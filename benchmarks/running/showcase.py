"""The same faces and targets in every cell of a suite: arrays for figures, and one picture to compare runs
by eye.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.protocol.edit_requests import EditSet, path_request, showcase_request, showcase_targets
from benchmarks.scoring.evaluate import Editor, ScoringContext
from eggan.files import write_atomically

GAP = 2  # pixels between tiles of the sheet
INTERPOLATION_FRAMES = 7


def showcase(editor: Editor, scoring: ScoringContext) -> dict[str, np.ndarray]:
    """Return the arrays of `showcase.npz`, uint8 images (..., H, W, 3) of S faces of the first split.

    `names` are those of the targets, one per edit of a face.
    """
    data = scoring.splits[0]
    grid, ends, path = _shown(scoring)
    names = list(showcase_targets(scoring.protocol, data))
    alphas = _alphas()
    faces, size = len(ends), data.sources.size
    shapes = {
        "": (faces, len(names), size, size, 3),
        "interpolation": (faces, len(alphas), size, size, 3),
    }
    arrays = {
        "source": np.ascontiguousarray(data.sources.images[ends.rows]),
        "edits": scoring.edits(editor, grid, "edit showcase").reshape(shapes[""]),
        "target_aus": grid.target_aus.reshape(faces, len(names), -1),
        "names": np.array(names),
        "interpolation": scoring.edits(editor, path, "interpolate showcase").reshape(shapes["interpolation"]),
        "alpha": alphas,
    }
    truth, path_truth = true_showcase(scoring)
    if truth is not None and path_truth is not None:
        arrays["truth"] = np.asarray(truth).reshape(shapes[""])
        arrays["interpolation_truth"] = np.asarray(path_truth).reshape(shapes["interpolation"])
    return arrays


def true_showcase(scoring: ScoringContext) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Return the true edits of the faces in every showcase and of their interpolations, uint8 (N, H, W, 3);
    None for a dataset that is not SynFACS.
    """
    grid, _, path = _shown(scoring)
    return scoring.truth.of(grid, "true showcase"), scoring.truth.of(path, "true interpolation")


def _shown(scoring: ScoringContext) -> tuple[EditSet, EditSet, EditSet]:
    """Return the edits of a showcase, the end points of its interpolations, and their frames."""
    grid, ends = showcase_request(scoring.protocol, scoring.splits[0])
    return grid, ends, path_request(ends, _alphas())


def _alphas() -> np.ndarray:
    return np.linspace(0.0, 1.0, INTERPOLATION_FRAMES)


def write_showcase(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Write the arrays atomically as a compressed npz."""
    write_atomically(path, lambda staging: np.savez_compressed(staging, allow_pickle=False, **arrays))


def probe_sheet(arrays: dict[str, np.ndarray]) -> Image.Image:
    """Return one picture: per face the source and its edits, beneath them the true edits."""
    rows = []
    for face, source in enumerate(arrays["source"]):
        rows.append([source, *arrays["edits"][face]])
        if "truth" in arrays:
            rows.append([np.full_like(source, 255), *arrays["truth"][face]])
    return _tiled(rows)


def _tiled(rows: list[list[np.ndarray]]) -> Image.Image:
    height, width = rows[0][0].shape[:2]
    sheet = Image.new("RGB", (len(rows[0]) * (width + GAP) - GAP, len(rows) * (height + GAP) - GAP), "white")
    for down, row in enumerate(rows):
        for across, tile in enumerate(row):
            sheet.paste(Image.fromarray(tile), (across * (width + GAP), down * (height + GAP)))
    return sheet
