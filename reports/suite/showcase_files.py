"""The pictures of a frame: which ones there are, and as files, one per method and one of what is alike.

A file is a zip of `NAME.npy` and, of stacks of pictures (2, 3, H, W, 3), of `NAME.2x3.webp`: one lossless
picture, each of the stack below the one before. Frames of earlier versions have npz files.
"""

import io
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from eggan.errors import UserError, one_line

MOST_ROWS = 16_383  # of a WebP picture
EFFORT = {"method": 4, "quality": 75}  # a tenth of the time of the most, and 3 % more bytes
SHARED = "shared"  # file of arrays that several methods have alike, and in theirs the names of these
Showcases = Mapping[str, Mapping[str, np.ndarray]]


def of_lowest_seeds(cells: pd.DataFrame, showcases: Showcases) -> dict[str, Mapping[str, np.ndarray]]:
    """Return the pictures of the lowest seed of each method that has some: figures show that one."""
    has_some = cells[cells["run_id"].isin(showcases)].sort_values("seed", kind="stable")
    shown = has_some.drop_duplicates(["dataset", "method"])
    return {run_id: showcases[run_id] for run_id in shown["run_id"]}


def write_showcases(showcases: Showcases, folder: Path) -> None:
    """Write run id -> arrays to the new folder; what all that have an array have alike is written once."""
    folder.mkdir()
    shared = _alike(showcases)
    if shared:
        _write(shared, folder / f"{SHARED}.zip")
    for run_id, arrays in showcases.items():
        own = {name: array for name, array in arrays.items() if name not in shared}
        names = sorted(arrays.keys() & shared.keys())
        _write(own | ({SHARED: np.array(names)} if names else {}), folder / f"{run_id}.zip")


def read_showcases(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return run id -> arrays; files that are damaged, or lack what they share, are a `UserError`."""
    files = sorted([*folder.glob("*.npz"), *folder.glob("*.zip")])
    found = {path.stem: read_arrays(path) for path in files}
    shared = found.pop(SHARED, {})
    for run_id, arrays in found.items():
        names = [str(name) for name in arrays.pop(SHARED, ())]
        if not set(names) <= shared.keys():
            raise UserError(f"{folder}: {SHARED}.zip lacks pictures of run {run_id}: copy the folder again")
        arrays |= {name: shared[name] for name in names}
    return found


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file, none of one that is not there; a damaged one is a `UserError`."""
    if not path.exists():
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        return dict(_array(name, content) for name, content in parts.items())
    except Exception as error:  # a damaged archive raises whatever its parts' readers do
        raise UserError(f"{path.name} of a run cannot be read: {one_line(error)}") from None


def _alike(showcases: Showcases) -> dict[str, np.ndarray]:
    shared = {}
    for name in {name for arrays in showcases.values() for name in arrays}:
        first, *others = [arrays[name] for arrays in showcases.values() if name in arrays]
        if others and all(np.array_equal(first, other) and first.dtype == other.dtype for other in others):
            shared[name] = first
    return shared


def _write(arrays: Mapping[str, np.ndarray], path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            if _is_strip(array):
                strip = Image.fromarray(np.ascontiguousarray(array).reshape(-1, *array.shape[-2:]))
                strip.save(content, "WEBP", lossless=True, **EFFORT)
                part = f"{name}.{'x'.join(map(str, array.shape[:-3]))}.webp"
                archive.writestr(zipfile.ZipInfo(part), content.getvalue())
            else:
                np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_LZMA)


def _is_strip(array: np.ndarray) -> bool:
    """Return whether an array is pictures (..., H, W, 3) that make one WebP picture."""
    if array.dtype != np.uint8 or array.ndim < 3 or array.shape[-1] != 3:
        return False
    return 0 < math.prod(array.shape[:-2]) <= MOST_ROWS and 0 < array.shape[-2] <= MOST_ROWS


def _array(part: str, content: bytes) -> tuple[str, np.ndarray]:
    """Return the name and the array of a part of a file."""
    if part.endswith(".npy"):
        array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        return part.removesuffix(".npy"), array
    name, stack, _ = part.rsplit(".", 2)
    counts = [int(count) for count in stack.split("x") if count]
    with Image.open(io.BytesIO(content), formats=["WEBP"]) as strip:
        pixels = np.asarray(strip.convert("RGB"))
    return name, pixels.reshape(*counts, -1, *pixels.shape[1:]) if counts else pixels
