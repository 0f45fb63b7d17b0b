"""The pictures of a frame: which ones there are, and as files, one per method and one of what is alike."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from eggan.errors import UserError, one_line

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
        _write(shared, folder / f"{SHARED}.npz")
    for run_id, arrays in showcases.items():
        own = {name: array for name, array in arrays.items() if name not in shared}
        names = sorted(arrays.keys() & shared.keys())
        _write(own | ({SHARED: np.array(names)} if names else {}), folder / f"{run_id}.npz")


def read_showcases(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Return run id -> arrays; files that are damaged, or lack what they share, are a `UserError`."""
    found = {path.stem: read_arrays(path) for path in sorted(folder.glob("*.npz"))}
    shared = found.pop(SHARED, {})
    for run_id, arrays in found.items():
        names = [str(name) for name in arrays.pop(SHARED, ())]
        if not set(names) <= shared.keys():
            raise UserError(f"{folder}: {SHARED}.npz lacks pictures of run {run_id}: copy the folder again")
        arrays |= {name: shared[name] for name in names}
    return found


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file, none of one that is not there; a damaged one is a `UserError`."""
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
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
    """Write arrays as `np.load` reads them, by LZMA: two thirds of what numpy's own compression leaves."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue(), zipfile.ZIP_LZMA)
