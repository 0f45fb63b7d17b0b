"""The dataset format: a folder with `manifest.parquet`, `images.npy` and `dataset.json`.

Without pyarrow the manifest is `manifest.csv`, see `eggan.tables`.

`images.npy` is uint8, (N, H, W, 3), RGB, memory-mapped; row *i* belongs to row *i* of the manifest.
`dataset.json` holds name, version, seed, parameters and the content hash of the other two files. A folder
appears whole or not at all: it is written beside its place and moved there.

A manifest may have the integer column `edit_group`: rows of one group show one person under one nuisance and
one gaze, so any two of them are each other's true edit. Datasets of photographs have no such column.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eggan.aus import AU_COLUMNS, EXPRESSIONS, MAX_INTENSITY
from eggan.data.file_tree import comparable, composed
from eggan.errors import UserError, known_names
from eggan.files import hash_files, read_json, replaced_folder, restore_folder
from eggan.tables import CSV, read_csv_table, read_table, table_file, write_table

if TYPE_CHECKING:  # seconds to import, which an edit or a process that renders need not wait for
    import pandas as pd
    import torch
    from torch import Tensor

FORMAT_VERSION = 1
MANIFEST = "manifest.parquet"
FILES = ("dataset.json", MANIFEST, "images.npy")
WRITTEN = (*FILES, Path(MANIFEST).with_suffix(CSV).name)
TRAIN, VALIDATION = "train", "val"  # splits that methods may see while they learn and are chosen
SPLITS = (TRAIN, VALIDATION, "test", "wide", "dense")
REQUIRED_COLUMNS = (
    "identity",
    "expression",
    "gaze",
    "split",
    *AU_COLUMNS,
    "label_tool",
    "label_version",
    "confidence",
    "source_file",
)
GROUP_COLUMN = "edit_group"  # RaFD's column `group` says something else
TEXT_COLUMNS = ("identity", "expression", "gaze", "split", "label_tool", "label_version", "source_file")
INFO: dict[str, type | tuple[type, ...]] = {
    "name": str,
    "version": str,
    "seed": int,
    "parameters": dict,
    "content_hash": str,
}


@dataclass(frozen=True)
class Dataset:
    """A loaded dataset: `manifest` (N rows), `images` uint8 (N, H, W, 3), `info` (dataset.json)."""

    folder: Path
    manifest: "pd.DataFrame"
    images: np.ndarray
    info: dict[str, Any]

    @property
    def name(self) -> str:
        """The dataset's name, such as `synfacs-twin`."""
        return str(self.info["name"])

    @property
    def size(self) -> int:
        """Image side in pixels."""
        return int(self.images.shape[1])

    @property
    def content_hash(self) -> str:
        """sha256 over manifest and images, from `dataset.json`."""
        return str(self.info["content_hash"])

    @property
    def is_synfacs(self) -> bool:
        """Whether the faces are rendered, so that their true edits can be rendered too."""
        return self.name.startswith("synfacs")

    def rows(self, *splits: str) -> np.ndarray:
        """Return the row numbers of the given splits, in manifest order, int64."""
        return np.flatnonzero(self.manifest["split"].isin(splits).to_numpy())

    def aus(self, rows: np.ndarray) -> np.ndarray:
        """Return the AU vectors of `rows`: float32 (n, 17) in [0, 5]."""
        return self.manifest.iloc[rows][list(AU_COLUMNS)].to_numpy(dtype=np.float32, copy=True)

    def expressions(self, rows: np.ndarray) -> np.ndarray:
        """Return the expression index of `rows` in `EXPRESSIONS`: int64 (n,); -1 for any other name."""
        lookup = {name: index for index, name in enumerate(EXPRESSIONS)}
        return (
            self.manifest.iloc[rows]["expression"]
            .map(lambda name: lookup.get(name, -1))
            .to_numpy(np.int64, copy=True)
        )

    def groups(self, rows: np.ndarray) -> np.ndarray | None:
        """Return the group of `rows`, int64 (n,): equal numbers are true edits; None without that column."""
        if GROUP_COLUMN not in self.manifest.columns:
            return None
        return self.manifest.iloc[rows][GROUP_COLUMN].to_numpy(np.int64, copy=True)

    def tensor(self, rows: np.ndarray, device: "torch.device | str" = "cpu") -> "Tensor":
        """Return the images of `rows` as uint8 (n, 3, H, W) on `device`."""
        import torch

        array = np.ascontiguousarray(self.images[rows])
        return torch.from_numpy(array).permute(0, 3, 1, 2).to(device)


def load_dataset(folder: Path) -> Dataset:
    """Open a dataset folder; every defect is a `UserError` with one line that names it."""
    folder = Path(folder)
    restore_folder(folder)
    for name in FILES:
        if not table_file(folder / name).is_file():
            raise UserError(
                f"{folder} is not a dataset: {name} is missing (build one with `eggan data build synfacs`)"
            )
    try:
        info = read_json(folder / "dataset.json")
        table = table_file(folder / MANIFEST)
        manifest = read_csv_table(table) if table.suffix == CSV else read_table(table)
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
    except UserError:
        raise
    except Exception as error:  # on damaged files numpy raises anything
        raise UserError(f"{folder} cannot be read: {_reason(error)}") from None
    _check_info(info, folder)
    _check_images(images, folder)
    check_manifest(manifest, len(images), folder)
    return Dataset(folder, manifest, images, info)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _check_info(info: Any, folder: Path) -> None:
    """Raise a `UserError` unless `dataset.json` holds what a `Dataset` is asked for."""
    version = info.get("format_version") if isinstance(info, dict) else None
    if version != FORMAT_VERSION:
        raise UserError(f"{folder} has format version {version}, this software reads {FORMAT_VERSION}")
    for key, kind in INFO.items():
        if not isinstance(info.get(key), kind) or isinstance(info[key], bool):
            raise UserError(f"{folder}: dataset.json has {key} = {info.get(key)!r}: build the dataset again")
    if Path(info["name"]).name != info["name"]:  # folders of trainings are named by it
        raise UserError(f"{folder}: dataset.json has name = {info['name']!r}, which is no plain name")


def _check_images(images: Any, folder: Path) -> None:
    shape: tuple[int, ...] = getattr(images, "shape", ())
    if len(shape) != 4 or shape[1] != shape[2] or shape[1] == 0 or shape[3] != 3 or images.dtype != np.uint8:
        found = f"{getattr(images, 'dtype', type(images).__name__)} {shape}"
        raise UserError(f"{folder}: images.npy is {found}, not square uint8 RGB images (N, S, S, 3)")


def check_manifest(manifest: "pd.DataFrame", image_count: int, where: Path | str) -> None:
    """Raise a `UserError` for missing columns, bad AUs, unknown splits, overlaps, duplicates, bad groups.

    People and files that are spelt with other characters for the same letters are the same.
    """
    missing = [column for column in REQUIRED_COLUMNS if column not in manifest.columns]
    if missing:
        raise UserError(f"{where}: manifest lacks the column {missing[0]!r}")
    if manifest.columns.has_duplicates:
        twice = manifest.columns[manifest.columns.duplicated()][0]
        raise UserError(f"{where}: manifest has the column {twice!r} twice")
    if len(manifest) != image_count:
        raise UserError(f"{where}: manifest has {len(manifest)} rows but there are {image_count} images")
    if not image_count:
        raise UserError(f"{where} holds no image")
    _check_values(manifest, where)
    unknown = set(manifest["split"]) - set(SPLITS)
    if unknown:
        raise UserError(
            f"{where}: unknown split {sorted(unknown)[0]!r}{known_names(sorted(unknown)[0], SPLITS)}"
        )
    splits_per_identity = manifest.groupby(manifest["identity"].map(comparable))["split"].nunique()
    if (splits_per_identity > 1).any():
        raise UserError(f"{where}: identity {splits_per_identity.idxmax()!r} is in more than one split")
    named = manifest.loc[manifest["source_file"] != "", "source_file"].map(composed)
    if named.duplicated().any():
        twice = named[named.duplicated()].iloc[0]
        raise UserError(f"{where}: {twice!r} occurs twice in the manifest")
    if GROUP_COLUMN in manifest.columns:
        check_groups(manifest, where)


def _check_values(manifest: "pd.DataFrame", where: Path | str) -> None:
    import pandas as pd

    for column in TEXT_COLUMNS:
        other = [row for row, value in enumerate(manifest[column]) if not isinstance(value, str)]
        if other:
            value = manifest[column].iloc[other[0]]
            raise UserError(f"{where}: row {other[0]} has {column} = {value}, which is no text")
    for column in ("confidence", *AU_COLUMNS):
        if not pd.api.types.is_numeric_dtype(manifest[column].dtype):
            raise UserError(f"{where}: the column {column!r} holds other things than numbers")
    aus = manifest[list(AU_COLUMNS)].to_numpy(dtype=np.float64, na_value=np.nan)
    bad = np.argwhere(~((aus >= 0) & (aus <= MAX_INTENSITY)))
    if len(bad):
        row, column = bad[0]
        raise UserError(
            f"{where}: row {row} has {AU_COLUMNS[column]} = {aus[row, column]}, "
            f"outside [0, {MAX_INTENSITY:g}]"
        )


def check_groups(manifest: "pd.DataFrame", where: Path | str) -> None:
    """Raise a `UserError` for groups that are no integers or hold more than one person or gaze."""
    import pandas as pd

    if not pd.api.types.is_integer_dtype(manifest[GROUP_COLUMN]) or manifest[GROUP_COLUMN].isna().any():
        raise UserError(f"{where}: the column {GROUP_COLUMN!r} must hold an integer in every row")
    for column in ("identity", "gaze"):
        kinds = manifest.groupby(GROUP_COLUMN)[column].nunique()
        if (kinds > 1).any():
            raise UserError(
                f"{where}: group {kinds.idxmax()} has more than one {column}: its rows are no true edits"
            )


def write_dataset(
    folder: Path,
    name: str,
    manifest: "pd.DataFrame",
    images: np.ndarray,
    seed: int,
    parameters: dict[str, Any],
    version: str,
) -> Path:
    """Write a dataset atomically and return its folder; images are uint8 (N, H, W, 3).

    An existing dataset is replaced in one step after the new one is complete; a folder that holds anything
    else is a `UserError`, so is a full disk.
    """
    folder = Path(folder)
    check_manifest(manifest, len(images), folder)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images must be uint8 (N, H, W, 3), not {images.dtype} {images.shape}")
    with replaced_folder(folder, WRITTEN) as staging:
        table = write_table(manifest.reset_index(drop=True), staging / MANIFEST)
        np.save(staging / "images.npy", images, allow_pickle=False)
        info = {
            "format_version": FORMAT_VERSION,
            "name": name,
            "version": version,
            "seed": seed,
            "parameters": parameters,
            "content_hash": hash_files([table, staging / "images.npy"]),
        }
        (staging / "dataset.json").write_text(
            json.dumps(info, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )
    return folder
