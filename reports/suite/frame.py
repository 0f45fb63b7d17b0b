"""Tracked runs -> one tidy frame. Everything else in this package is a function of that frame.

A frame can be exported to a folder of parquet files and read back: tables can be rebuilt without runs.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from eggan.errors import UserError
from eggan.files import files_in, read_json, replaced_folder, restore_folder
from eggan.options import command
from eggan.tables import read_table
from eggan.tracking.read import TrackedCell, download_artifacts, metric_history, search_cells
from reports.suite.instrument_names import all_cards
from reports.suite.method_names import MethodNames, names_in
from reports.suite.superseded import FIRST_VERSION, superseded_records, without_superseded

if TYPE_CHECKING:  # brings MLflow
    from eggan.tracking.store import Store

Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]
FORMAT_VERSION = 2
REPEATS = 20  # how often a value occurs, on average, for a dictionary of the column's values to pay
SETTINGS = ("config.", "training.")  # the parameters of a run that say how its method was trained
CELL_COLUMNS = (
    "run_id",
    "suite",
    "dataset",
    "method",
    "title",
    "learns_from",
    "seed",
    "state",
    "reason",
    "cell",
    "commit",
    "dirty",
    "machine",
    "dataset_digest",
    "instruments",
    "protocol_version",
    "started_ms",
    "seconds",
)
TABLES: Mapping[str, tuple[str, ...]] = {
    "cells": CELL_COLUMNS,
    "metrics": ("run_id", "suite", "dataset", "method", "seed", "state", "metric", "value"),
    "pairs": ("run_id", "suite", "dataset", "method", "seed", "split", "pair"),
    "response": ("run_id", "split", "probed_au", "read_au", "change"),
    "control": ("run_id", "split", "sequence", "spearman", "slope", "monotone"),
    "curves": ("run_id", "metric", "step", "value"),
    "not_measured": ("run_id", "metric", "reason"),
    "settings": ("run_id", "setting", "value"),
    "notes": ("run_id", "note"),
    "reconstruction": ("run_id", "dataset", "method", "seed", "split", "source_row", "source_identity"),
}
# The columns of `TABLES` that hold numbers, but for the value of a setting; the others hold text.
NUMBERS = frozenset(
    (
        *("seed", "protocol_version", "started_ms", "seconds", "value", "pair", "probed_au", "read_au"),
        *("change", "sequence", "spearman", "slope", "monotone", "step", "source_row"),
    )
)
HEAD = "frame.json"
FILES = (HEAD, *(f"{name}.parquet" for name in TABLES), "showcases/*.npz")
LATER = ("reconstruction",)  # tables that frames exported before them lack
LATER_COLUMNS: Mapping[str, int | str] = {
    "protocol_version": FIRST_VERSION,
    "title": "",
    "learns_from": "",
}  # columns of `cells` likewise
IDENTIFIERS = ["run_id", "suite", "dataset", "method", "seed"]


@dataclass(frozen=True)
class Frame:
    """All tracked facts of one suite; the columns of each table are in `TABLES`.

    `metrics`: one row per (run, metric). `pairs`: one row per scored pair, as the runs have it. `notes`: what
    a run's readers must know of its data and instruments. `reconstruction`: one row per source that a run was
    asked to redraw as it is.
    `showcases`: run id -> the uint8 arrays for figures, one run per method. `instruments`: card and sha256 of
    each frozen scorer.
    """

    cells: pd.DataFrame
    metrics: pd.DataFrame
    pairs: pd.DataFrame
    response: pd.DataFrame
    control: pd.DataFrame
    curves: pd.DataFrame
    not_measured: pd.DataFrame
    settings: pd.DataFrame
    notes: pd.DataFrame
    reconstruction: pd.DataFrame
    showcases: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    instruments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def suite(self) -> str:
        """The suite's name."""
        return str(self.cells["suite"].iloc[0])

    @cached_property
    def names(self) -> MethodNames:
        """What the suite's methods are called, and their colours."""
        return names_in(self.cells)

    def metric_names(self, split: str) -> set[str]:
        """Return the metrics that runs recorded, or said why not, without the name of this split."""
        names = pd.concat([self.metrics["metric"], self.not_measured["metric"]])
        return set(names.str.removeprefix(f"{split}/"))

    def reasons(self, run_ids: Iterable[str], split: str) -> pd.Series:
        """Return why some metrics of these runs have no value, by metric without the name of this split."""
        mine = self.not_measured[self.not_measured["run_id"].isin(list(run_ids))]
        return mine.set_index(mine["metric"].str.removeprefix(f"{split}/"))["reason"].astype(str)


def read_store(
    store: "Store", suite: str | None, instruments: Mapping[str, Any], progress: Progress
) -> Frame:
    """Return the frame of a suite, or of the suite that ran last; no runs at all is a `UserError`."""
    chosen = suite or _last_suite(store)
    newest = newest_of_each(search_cells(store, chosen))
    if not newest:
        raise UserError(
            f"the tracking store holds no runs of suite {chosen!r}: "
            f"run `{command(f'bench run {chosen}')}` first"
        )
    with tempfile.TemporaryDirectory() as scratch:
        parts = [
            _read_cell(store, cell, Path(scratch)) for cell in progress(newest, len(newest), "reading runs")
        ]
    return without_superseded(_assemble(chosen, newest, parts, instruments))


def _last_suite(store: "Store") -> str:
    """Return the suite whose cell started last."""
    found = search_cells(store)
    if not found:
        raise UserError(
            f"the tracking store holds no runs of any suite: run `{command('bench run quick')}` first"
        )
    return found[0].tags["suite"]


def newest_of_each(cells: Iterable[TrackedCell]) -> list[TrackedCell]:
    """Keep the run that started last of each (dataset, method, seed), ordered by these."""
    kept: dict[tuple[str, str, int], TrackedCell] = {}
    for cell in sorted(cells, key=lambda cell: cell.started_ms):
        kept[(cell.tags.get("dataset", ""), cell.tags.get("method", ""), _seed(cell))] = cell
    return [kept[key] for key in sorted(kept)]


def _seed(cell: TrackedCell) -> int:
    return int(cell.tags.get("seed", "0"))


def _read_cell(store: "Store", cell: TrackedCell, scratch: Path) -> dict[str, Any]:
    """Return the cell's part of each table, without identifiers."""
    part: dict[str, Any] = {
        "metrics": _metric_rows(cell),
        "curves": _curve_rows(store, cell),
        "settings": _setting_rows(cell),
    }
    if not _finished(cell):
        return part
    folder = download_artifacts(store, cell.run_id, "scores", scratch / cell.run_id)
    if folder is None:
        raise UserError(
            f"the files of {cell.tags.get('method', '')} (run {cell.run_id}) are not where the store says "
            f"({cell.artifact_uri}): bring them there, or ship them with `{command('bench sync')}`"
        )
    found = sorted(folder.glob("pairs-*.parquet"))
    part["pairs"] = [read_table(p).assign(split=p.stem.removeprefix("pairs-")) for p in found]
    for name in ("response", "control", "reconstruction"):
        part[name] = [read_table(p) for p in folder.glob(f"{name}.parquet")]
    reasons = folder / "not_measured.json"
    if reasons.exists():
        part["not_measured"] = pd.DataFrame(
            json.loads(reasons.read_text(encoding="utf-8")).items(), columns=["metric", "reason"]
        )
    part["showcase"] = _read_arrays(folder / "showcase.npz")
    basis = folder / "laboratory.json"
    if basis.exists():
        recorded = json.loads(basis.read_text(encoding="utf-8"))
        part["instruments"] = recorded["instruments"]
        part["notes"] = pd.DataFrame({"note": recorded["notes"]}, dtype=object)
    return part


def _finished(cell: TrackedCell) -> bool:
    return cell.tags.get("state") == "finished"


def _metric_rows(cell: TrackedCell) -> pd.DataFrame:
    values = {
        name: value
        for name, value in sorted(cell.metrics.items())
        if not name.startswith(("train/", "system/"))
    }
    return pd.DataFrame({"metric": list(values), "value": np.array(list(values.values()), dtype=np.float64)})


def _curve_rows(store: "Store", cell: TrackedCell) -> pd.DataFrame:
    rows = [
        (name, step, value)
        for name in sorted(cell.metrics)
        if name.startswith("train/")
        for step, value in metric_history(store, cell.run_id, name)
    ]
    return pd.DataFrame(rows, columns=["metric", "step", "value"])


def _setting_rows(cell: TrackedCell) -> pd.DataFrame:
    rows = [(name, value) for name, value in sorted(cell.params.items()) if name.startswith(SETTINGS)]
    return pd.DataFrame(rows, columns=["setting", "value"])


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.exists():
        return {}
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception as error:  # a damaged archive raises whatever its parts' readers do
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{path.name} of a run cannot be read: {reason}") from None


def _assemble(
    suite: str, cells: list[TrackedCell], parts: list[dict[str, Any]], instruments: Mapping[str, Any]
) -> Frame:
    heads = pd.DataFrame([_cell_row(suite, cell) for cell in cells], columns=list(CELL_COLUMNS))
    tables: dict[str, pd.DataFrame] = {"cells": heads}
    for name in [name for name in TABLES if name != "cells"]:
        pieces = []
        for (_, head), part in zip(heads.iterrows(), parts, strict=True):
            found = part.get(name, [])
            for piece in [found] if isinstance(found, pd.DataFrame) else found:
                wanted = [column for column in (*IDENTIFIERS, "state") if column in TABLES[name]]
                pieces.append(piece.assign(**{column: head[column] for column in wanted}))
        tables[name] = _complete(pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame(), name)
    finished = [part.get("instruments", {}) for part in parts if "pairs" in part]
    cards = all_cards(instruments, finished)
    return Frame(**tables, showcases=_showcases(cells, parts), instruments=cards)


def _showcases(cells: list[TrackedCell], parts: list[dict[str, Any]]) -> dict[str, dict[str, np.ndarray]]:
    """Keep the pictures of the lowest seed of each method that has some: figures show that one."""
    kept: dict[tuple[str, str], tuple[str, dict[str, np.ndarray]]] = {}
    for cell, part in sorted(zip(cells, parts, strict=True), key=lambda both: _seed(both[0])):
        if part.get("showcase"):
            owner = (cell.tags.get("dataset", ""), cell.tags.get("method", ""))
            kept.setdefault(owner, (cell.run_id, part["showcase"]))
    return dict(kept.values())


def _complete(table: pd.DataFrame, name: str) -> pd.DataFrame:
    first = list(TABLES[name])
    return table.reindex(columns=first + [column for column in table.columns if column not in first])


def _cell_row(suite: str, cell: TrackedCell) -> dict[str, Any]:
    tags = cell.tags
    return {
        "run_id": cell.run_id,
        "suite": suite,
        **{
            name: tags.get(name, "")
            for name in ("dataset", "method", "title", "learns_from", "cell", "reason", "commit", "dirty")
        },
        "state": tags.get("state", "unknown"),
        "seed": _seed(cell),
        "machine": _machine(tags),
        "dataset_digest": "; ".join(f"{name} {digest}" for name, digest in sorted(cell.datasets.items())),
        "instruments": "; ".join(
            f"{name.removeprefix('instrument.')} {digest}"
            for name, digest in sorted(cell.params.items())
            if name.startswith("instrument.")
        ),
        "protocol_version": int(cell.params.get("protocol.version", FIRST_VERSION)),
        "started_ms": cell.started_ms,
        "seconds": max(0.0, (cell.ended_ms - cell.started_ms) / 1000),
    }


def _machine(tags: Mapping[str, str]) -> str:
    system, cores = tags.get("machine.system", ""), tags.get("machine.cores", "")
    chip = tags.get("machine.accelerator") or tags.get("machine.device", "")
    torch_version = tags.get("version.torch", "")
    known = (
        system,
        f"{cores} cores" if cores else "",
        chip,
        f"torch {torch_version}" if torch_version else "",
    )
    return ", ".join(part for part in known if part) or "not recorded"


def write_frame(frame: Frame, folder: Path) -> Path:
    """Write a frame to a folder: parquet per table, npz per showcase, `frame.json`; whole or not at all."""
    if folder.exists() and (not folder.is_dir() or (files_in(folder) and not _has_head(folder))):
        raise UserError(f"{folder} exists and is not an exported frame: choose another place")
    with replaced_folder(folder, FILES) as staging:
        for name in TABLES:
            _write_table(getattr(frame, name), staging / f"{name}.parquet")
        (staging / "showcases").mkdir()
        for run_id, arrays in frame.showcases.items():
            np.savez_compressed(staging / "showcases" / f"{run_id}.npz", **dict(arrays))  # type: ignore[arg-type]
        head = {
            "format_version": FORMAT_VERSION,
            "instruments": frame.instruments,
            "superseded": superseded_records(frame),
        }
        (staging / HEAD).write_text(json.dumps(head, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return folder


def _has_head(folder: Path) -> bool:
    try:
        head = read_json(folder / HEAD)
    except (OSError, ValueError):
        return False
    return isinstance(head, dict) and {"format_version", "instruments"} <= head.keys()


def _write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as small as it gets: a dictionary of values that hardly repeat only adds to it."""
    repeated = [name for name in table.columns if REPEATS * table[name].nunique() <= len(table)]
    table.to_parquet(path, index=False, compression="zstd", use_dictionary=repeated)


def read_frame(folder: Path) -> Frame:
    """Read an exported frame; a folder that is none, or of another version, is a `UserError`."""
    restore_folder(folder)
    if not (folder / HEAD).is_file():
        raise UserError(
            f"{folder} is not an exported frame: make one with `{command(f'report export {folder}')}`"
        )
    try:
        head = read_json(folder / HEAD)
        if not isinstance(head, dict) or not isinstance(head.get("instruments"), dict):
            raise ValueError(f"{HEAD} is no head of a frame")
        if head.get("format_version") != FORMAT_VERSION:
            found = head.get("format_version")
            raise UserError(f"{folder} has frame version {found}, this software reads {FORMAT_VERSION}")
        tables = {name: _read_table(folder, name) for name in TABLES}
    except UserError:
        raise
    except Exception as error:  # on damaged files pandas and pyarrow raise anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"{folder} cannot be read: {reason}") from None
    for name, table in tables.items():
        _check_table(table, name, folder)
    shown = {path.stem: _read_arrays(path) for path in sorted((folder / "showcases").glob("*.npz"))}
    return without_superseded(Frame(**tables, showcases=shown, instruments=head["instruments"]))


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    path = folder / f"{name}.parquet"
    if name in LATER and not path.exists():
        return pd.DataFrame(columns=list(TABLES[name]))
    numbers = set(TABLES[name]) & NUMBERS - ({"value"} if name == "settings" else set())
    table = read_table(path, text=set(TABLES[name]) - numbers, numbers=numbers)
    if name == "cells":
        for column, value in LATER_COLUMNS.items():
            if column not in table:
                table[column] = value
    return table


def _check_table(table: pd.DataFrame, name: str, folder: Path) -> None:
    """Raise a `UserError` unless a table has its columns."""
    missing = [column for column in TABLES[name] if column not in table.columns]
    if missing:
        raise UserError(f"{folder}: {name}.parquet lacks the column {missing[0]!r}")
