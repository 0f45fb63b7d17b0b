"""A photograph seen through an affine map: one antialiased resampling for every crop of a face."""

import numpy as np
from PIL import Image

MARGIN = 2  # around what is read, for the interpolation, in pixels of the reduced source


def resampled(photograph: np.ndarray, places: np.ndarray, size: int, quick: bool = False) -> np.ndarray:
    """Return float32 (size, size, 3), in the photograph's range, of uint8 (H, W, 3).

    `places` (2, 3) maps x, y of the result to those of the photograph, pixel centres at .5. Each pixel is a
    mean over what it covers, so that reduction does not alias; a `quick` one over whole pixels only, in half
    the time. Outside of the photograph its edge is repeated: a constant colour would be an edge that no face
    has.
    """
    step = float(np.sqrt(abs(np.linalg.det(places[:, :2]))))
    factor = max(1, int(step + 1e-6))
    part, corner = _read(photograph, places, size, MARGIN * factor)
    if factor > 1:
        part = part.reduce(factor)
    samples = 1 if quick or step / factor < 1 + 1e-6 else 2  # what is left of the step is below 2
    moved = np.column_stack([places[:, :2] / samples, places[:, 2] - corner]) / factor
    sampled = (
        channel.convert("F").transform(
            (size * samples, size * samples),
            Image.Transform.AFFINE,
            moved.ravel().tolist(),
            Image.Resampling.BILINEAR,
        )
        for channel in part.split()
    )  # in floats: on integers this transform rounds down
    return np.stack([np.asarray(channel.reduce(samples)) for channel in sampled], -1)


def _read(
    photograph: np.ndarray, places: np.ndarray, size: int, margin: int
) -> tuple[Image.Image, np.ndarray]:
    """Return the part that the result shows, with a margin and repeated edges, and its corner (x, y)."""
    corners = places @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]])
    low = np.floor(corners.min(axis=1)).astype(int) - margin
    high = np.ceil(corners.max(axis=1)).astype(int) + margin
    columns, rows = (
        np.clip(np.arange(low[axis], high[axis]), 0, photograph.shape[1 - axis] - 1) for axis in (0, 1)
    )
    inside = photograph[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if len(inside) != len(rows) or len(inside[0]) != len(columns):
        inside = inside[rows - rows[0]][:, columns - columns[0]]
    return Image.fromarray(np.ascontiguousarray(inside)), low
