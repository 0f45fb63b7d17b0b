"""Tracked runs -> one tidy frame. Everything else in this package is a function of that frame.

A frame can be exported to a folder of parquet files and read back: tables can be rebuilt without runs.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from eggan.aus import AU_COLUMNS
from eggan.errors import UserError, one_line
from eggan.files import check_replaceable, read_json, read_whole_json, replaced_folder, restore_folder
from eggan.options import command
from eggan.tables import read_table
from eggan.tracking.record import LATER_COMMITS
from eggan.tracking.tracked_cell import TrackedCell
from reports.suite.former_suite import cells_of, with_present_name
from reports.suite.instrument_names import all_cards
from reports.suite.known_suites import no_runs_of
from reports.suite.method_names import MethodNames, names_in
from reports.suite.showcase_files import of_lowest_seeds, read_arrays, read_showcases, write_showcases
from reports.suite.superseded import FIRST_VERSION, superseded_records, without_superseded

if TYPE_CHECKING:
    from eggan.tracking.read import Readable

Progress = Callable[[Iterable[Any], int, str], Iterable[Any]]
FORMAT_VERSION = 3
EARLIER_VERSIONS = (2,)  # in which every method has all pictures of its own
MOST_COMPRESSION = 19  # of zstd without much more memory; tables are written once and kept with the project
REPEATS = 20  # how often a value occurs, on average, for a dictionary of the column's values to pay
READING_STEP = 2.0**-12  # of AUs in kept pairs: finer digits are a third of a table and say nothing
SETTINGS = ("config.", "training.")  # the parameters of a run that say how its method was trained


def _text(*columns: str) -> dict[str, str]:
    return dict.fromkeys(columns, "text")


def _numbers(*columns: str) -> dict[str, str]:
    return dict.fromkeys(columns, "number")


OWNER = ("run_id", "suite", "dataset", "method", "seed", "state")  # of a row: columns of its run's cell
_RUN = _text("run_id", "suite", "dataset", "method") | _numbers("seed")
# Columns that each table has, in this order, and what they hold; others may follow.
TABLES: Mapping[str, Mapping[str, str]] = {
    "cells": _text("run_id", "suite", "dataset", "method", "title", "learns_from")
    | _numbers("seed")
    | _text("state", "reason", "cell", "commit", "dirty", "machine", "budget", "ran_as")
    | _text("dataset_digest", "instruments")
    | _numbers("protocol_version", "started_ms", "seconds"),
    "metrics": _RUN | _text("state", "metric") | _numbers("value"),
    "pairs": _RUN | _text("split") | _numbers("pair"),
    "response": _text("run_id", "split") | _numbers("probed_au", "read_au", "change"),
    "control": _text("run_id", "split") | _numbers("sequence", "spearman", "slope", "monotone"),
    "curves": _text("run_id", "metric") | _numbers("step", "value"),
    "not_measured": _text("run_id", "metric", "reason"),
    "settings": _text("run_id", "setting", "value"),
    "notes": _text("run_id", "note"),
    "reconstruction": _text("run_id", "dataset", "method")
    | _numbers("seed")
    | _text("split")
    | _numbers("source_row")
    | _text("source_identity"),
}
HEAD = "frame.json"
FILES = (HEAD, *(f"{name}.parquet" for name in TABLES), "showcases/*.zip", "showcases/*.npz")
# What frames of earlier versions lack: a table, and columns of `cells`, with the value that stands for them.
LATER_TABLE = "reconstruction"
LATER_COLUMNS: Mapping[str, int | str] = {
    "protocol_version": FIRST_VERSION,
    "title": "",
    "learns_from": "",
    "budget": "",
    "ran_as": "",
}


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
    def budgets(self) -> list[str]:
        """What bounded the number of training images, in the words of the runs that trained."""
        return sorted(set(self._trained["budget"].fillna("")) - {""})

    @cached_property
    def timed_on(self) -> str:
        """The machine whose times are compared: that of most trained methods, then of most of their runs."""
        done = self._trained[self._trained["state"] == "finished"].groupby("machine")
        found = done.agg(methods=("method", "nunique"), runs=("method", "size"))
        return str(found.sort_values(["methods", "runs"]).index[-1]) if len(found) else ""

    def timed_runs(self, run_ids: Iterable[str]) -> tuple[str, ...]:
        """Return those of the runs whose times are compared: all of them where all ran on one machine."""
        there = set(self.cells.loc[self.cells["machine"] == self.timed_on, "run_id"])
        return tuple(run for run in run_ids if run in there or not self.timed_on)

    @property
    def machines(self) -> int:
        """On how many machines methods were trained."""
        return int(self._trained["machine"].nunique())

    @cached_property
    def _trained(self) -> pd.DataFrame:
        return self.cells[self.cells["run_id"].isin(set(self.curves["run_id"]))]  # thousands of points

    @property
    def suite(self) -> str:
        """The suite's name."""
        return str(self.cells["suite"].iloc[0])

    def under(self, suite: str) -> "Frame":
        """Return the frame under another suite's name; `cells` keeps which suite ran them as `ran_as`."""
        ran_as = self.cells["ran_as"].where(self.cells["ran_as"].fillna("") != "", self.suite)
        owned = {name: table for name in TABLES if "suite" in (table := getattr(self, name))}
        renamed: dict[str, Any] = {name: table.assign(suite=suite) for name, table in owned.items()}
        return replace(self, **renamed | {"cells": renamed["cells"].assign(ran_as=ran_as)})

    @cached_property
    def names(self) -> MethodNames:
        """What the suite's methods are called, and their colours."""
        return names_in(self.cells)

    def metric_names(self, split: str) -> set[str]:
        """Return the metrics that runs recorded, or said why not, without the name of this split."""
        names = pd.concat([self.metrics["metric"], self.not_measured["metric"]])
        return set(names.str.removeprefix(f"{split}/"))

    def values(self, run_ids: Iterable[str], metric: str) -> list[float]:
        """Return the values of a metric that these of the finished runs have."""
        return [self._values[run, metric] for run in run_ids if (run, metric) in self._values]

    @cached_property
    def _values(self) -> Mapping[tuple[str, str], float]:
        """By run and metric: tables ask for some hundred of them."""
        done = self.metrics[self.metrics["state"] == "finished"].dropna(subset=["value"])
        keys = zip(done["run_id"], done["metric"], strict=True)
        return dict(zip(keys, done["value"].astype(float), strict=True))

    def reasons(self, run_ids: Iterable[str], split: str) -> pd.Series:
        """Return why some metrics of these runs have no value, by metric without the name of this split."""
        key = (tuple(run_ids), split)
        if key not in self._reasons:
            mine = self.not_measured[self.not_measured["run_id"].isin(key[0])]
            names = mine["metric"].str.removeprefix(f"{split}/")
            self._reasons[key] = mine.set_index(names)["reason"].astype(str)
        return self._reasons[key]

    @cached_property
    def _reasons(self) -> dict[tuple[tuple[str, ...], str], pd.Series]:
        return {}


def read_store(
    store: "Readable", suite: str | None, instruments: Mapping[str, Any], progress: Progress
) -> Frame:
    """Return the frame of a suite, or of the suite that ran last; no runs at all is a `UserError`."""
    chosen, cells = cells_of(store, suite)
    if chosen is None:
        raise UserError(
            f"the tracking store holds no runs of any suite: run `{command('bench run quick')}` first"
        )
    newest = newest_of_each(cells)
    if not newest:
        raise no_runs_of(chosen, store)
    with tempfile.TemporaryDirectory() as scratch:
        steps = progress(newest, len(newest), "reading runs")
        parts = [_read_cell(store, chosen, cell, Path(scratch)) for cell in steps]
    tables = {name: _stacked(name, parts) for name in TABLES}
    cards = all_cards(instruments, [part.instruments for part in parts if part.finished])
    pictures = {part.head["run_id"]: part.showcase for part in parts if part.showcase}
    shown = of_lowest_seeds(tables["cells"], pictures)
    return without_superseded(Frame(**tables, showcases=shown, instruments=cards))


def newest_of_each(cells: Iterable[TrackedCell]) -> list[TrackedCell]:
    """Keep the run that started last of each (dataset, method, seed), ordered by these."""
    kept: dict[tuple[str, str, int], TrackedCell] = {}
    for cell in sorted(cells, key=lambda cell: cell.started_ms):
        kept[(cell.tags.get("dataset", ""), cell.tags.get("method", ""), _seed(cell))] = cell
    return [kept[key] for key in sorted(kept)]


def _seed(cell: TrackedCell) -> int:
    return int(cell.tags.get("seed", "0"))


@dataclass(frozen=True)
class _CellPart:
    """What one cell adds to a frame: what its rows say of it, rows of its tables, pictures, and the cards of
    its instruments.
    """

    head: Mapping[str, Any]
    tables: dict[str, pd.DataFrame]
    finished: bool
    showcase: dict[str, np.ndarray]
    instruments: Mapping[str, Mapping[str, Any]]


def _read_cell(store: "Readable", suite: str, cell: TrackedCell, scratch: Path) -> _CellPart:
    head = _cell_row(suite, cell)
    values = {k: v for k, v in sorted(cell.metrics.items()) if not k.startswith(("train/", "system/"))}
    logged = [name for name in sorted(cell.metrics) if name.startswith("train/")]
    curves = [(name, *point) for name in logged for point in store.history(cell.run_id, name)]
    settings = {k: v for k, v in sorted(cell.params.items()) if k.startswith(SETTINGS)}
    tables = {
        "cells": pd.DataFrame([head]),
        "metrics": pd.DataFrame(values.items(), columns=["metric", "value"]),
        "curves": pd.DataFrame(curves, columns=["metric", "step", "value"]),
        "settings": pd.DataFrame(settings.items(), columns=["setting", "value"]),
    }
    showcase: dict[str, np.ndarray] = {}
    basis: dict[str, Any] = {}
    if head["state"] == "finished":
        scores = _scores(store, cell, scratch)
        tables |= _score_tables(scores)
        showcase = read_arrays(scores / "showcase.npz")
        basis = _json_object(scores / "laboratory.json")  # runs of before have none
        if basis and not {"notes", "instruments"} <= set(basis):
            raise UserError(f"laboratory.json of run {cell.run_id} is damaged: run its cell again")
        notes = [*basis.get("notes", []), *_sittings(head, cell.tags)]
        tables["notes"] = pd.DataFrame({"note": notes}, dtype=object)
    return _CellPart(head, tables, head["state"] == "finished", showcase, basis.get("instruments", {}))


def _sittings(head: Mapping[str, Any], tags: Mapping[str, str]) -> list[str]:
    """Return a note on a cell that more than one commit worked on; its row names the first."""
    commits = [tags.get("commit", ""), *tags.get(LATER_COMMITS, "").split()]
    if len(commits) == 1:
        return []
    listed = ", then ".join(commit[:12] for commit in commits)
    return [f"{head['title']}, seed {head['seed']}, was made in several sittings, by {listed}"]


def _scores(store: "Readable", cell: TrackedCell, scratch: Path) -> Path:
    """Return the folder with a finished cell's scores."""
    folder = store.artifact(cell.run_id, "scores", scratch / cell.run_id)
    if folder is None:
        raise UserError(
            f"the files of {cell.tags.get('method', '')} (run {cell.run_id}) are not where the store says "
            f"({cell.artifact_uri}): bring them there, or ship them with `{command('bench sync')}`"
        )
    return folder


def _score_tables(folder: Path) -> dict[str, pd.DataFrame]:
    splits = {path.stem.removeprefix("pairs-"): path for path in sorted(folder.glob("pairs-*.parquet"))}
    pairs = [read_table(path).assign(split=split) for split, path in splits.items()]
    tables = {"pairs": pd.concat(pairs, ignore_index=True)} if pairs else {}
    for path in (folder / f"{name}.parquet" for name in ("response", "control", "reconstruction")):
        if path.exists():
            tables[path.stem] = read_table(path)
    reasons = _json_object(folder / "not_measured.json")
    return tables | {"not_measured": pd.DataFrame(reasons.items(), columns=["metric", "reason"])}


def _json_object(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def _stacked(name: str, parts: Sequence[_CellPart]) -> pd.DataFrame:
    """Return the rows of all cells as one table, with the columns of `TABLES` first."""
    filled = [part for part in parts if len(part.tables.get(name, ()))]  # an empty one has no types
    first = list(TABLES[name])
    if not filled:
        return pd.DataFrame().reindex(columns=first)
    rows = [len(part.tables[name]) for part in filled]
    table = pd.concat([part.tables[name] for part in filled], ignore_index=True).assign(
        **{own: np.repeat([part.head[own] for part in filled], rows) for own in OWNER if own in first}
    )
    return table.reindex(columns=first + [column for column in table.columns if column not in first])


def _cell_row(suite: str, cell: TrackedCell) -> dict[str, Any]:
    tags = cell.tags
    as_tagged = ("dataset", "method", "title", "learns_from", "cell", "reason", "commit", "dirty", "budget")
    scorers = {
        k.removeprefix("instrument."): v for k, v in cell.params.items() if k.startswith("instrument.")
    }
    return {
        "run_id": cell.run_id,
        "suite": suite,
        "ran_as": tags.get("suite", suite),  # which suite made it: one cell may be of several
        **{name: tags.get(name, "") for name in as_tagged},
        "state": tags.get("state", "unknown"),
        "seed": _seed(cell),
        "machine": _machine(tags),
        "dataset_digest": _digests(cell.datasets),
        "instruments": _digests(scorers),
        "protocol_version": int(cell.params.get("protocol.version", FIRST_VERSION)),
        "started_ms": cell.started_ms,
        "seconds": max(0.0, (cell.ended_ms - cell.started_ms) / 1000),
    }


def _digests(by_name: Mapping[str, str]) -> str:
    return "; ".join(f"{name} {digest}" for name, digest in sorted(by_name.items()))


def _machine(tags: Mapping[str, str]) -> str:
    cores, torch_version = tags.get("machine.cores"), tags.get("version.torch")
    chip = tags.get("machine.accelerator") or tags.get("machine.device")
    known = [tags.get("machine.system"), cores and f"{cores} cores", chip]
    known.append(torch_version and f"torch {torch_version}")
    return ", ".join(filter(None, known)) or "not recorded"


def check_frame_folder(folder: Path) -> None:
    """Raise a `UserError` where a frame cannot be written, or would take the place of other files."""
    check_replaceable(folder, FILES, _has_head, "an exported frame: choose another place")


def write_frame(frame: Frame, folder: Path) -> Path:
    """Write a frame to a folder: parquet per table, a zip per showcase, `frame.json`; whole or not at all.

    Readings of AUs are rounded to `READING_STEP`, and written again they stay as they are.
    """
    check_frame_folder(folder)
    with replaced_folder(folder, FILES) as staging:
        kept = replace(frame, pairs=_rounded(frame.pairs))
        for name in TABLES:
            _write_table(getattr(kept, name), staging / f"{name}.parquet")
        write_showcases(frame.showcases, staging / "showcases")
        head = {
            "format_version": FORMAT_VERSION,
            "instruments": frame.instruments,
            "superseded": superseded_records(frame),
        }
        (staging / HEAD).write_text(json.dumps(head, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return folder


def _has_head(folder: Path) -> bool:
    head = read_whole_json(folder / HEAD)
    return isinstance(head, dict) and {"format_version", "instruments"} <= head.keys()


def _rounded(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return a table of pairs with the AUs that were read, not those asked for, in `READING_STEP`s."""
    aus = {name: name.rpartition("_") for name in pairs.columns}
    read = [name for name, (what, _, au) in aus.items() if au in AU_COLUMNS and what != "target"]
    return pairs.assign(**{name: (pairs[name] / READING_STEP).round() * READING_STEP for name in read})


def _write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table as small as it gets: a dictionary of values that hardly repeat only adds to it."""
    repeated = [name for name in table.columns if REPEATS * table[name].nunique() <= len(table)]
    floats = [name for name in table.columns if table[name].dtype.kind == "f" and name not in repeated]
    table.to_parquet(
        path,
        index=False,
        compression="zstd",
        compression_level=MOST_COMPRESSION,
        use_dictionary=repeated,
        use_byte_stream_split=floats,
    )


def read_frame(folder: Path) -> Frame:
    """Read an exported frame; a folder that is none, or of another version, is a `UserError`."""
    restore_folder(folder)
    if not (folder / HEAD).is_file():
        raise UserError(f"{folder} is not an exported frame: `{command('report export FOLDER')}` writes one")
    try:
        head = read_json(folder / HEAD)
        if not isinstance(head, dict) or not isinstance(head.get("instruments"), dict):
            raise ValueError(f"{HEAD} is no head of a frame")
        if head.get("format_version") not in (FORMAT_VERSION, *EARLIER_VERSIONS):
            found = head.get("format_version")
            raise UserError(f"{folder} has frame version {found}, this software reads {FORMAT_VERSION}")
        tables = {name: _read_table(folder, name) for name in TABLES}
    except UserError:
        raise
    except Exception as error:  # on damaged files pandas and pyarrow raise anything
        raise UserError(f"{folder} cannot be read: {one_line(error)}") from None
    pictures = read_showcases(folder / "showcases")
    frame = Frame(**tables, showcases=pictures, instruments=head["instruments"])
    return without_superseded(with_present_name(frame))


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    """Read a table and check that it has the columns of `TABLES`, and that they hold what they should."""
    path, columns = folder / f"{name}.parquet", TABLES[name]
    if name == LATER_TABLE and not path.exists():
        return pd.DataFrame(columns=list(columns))
    text, numbers = ([c for c, kind in columns.items() if kind == wanted] for wanted in ("text", "number"))
    later = LATER_COLUMNS if name == "cells" else {}
    table = read_table(path, text, numbers, required=[column for column in columns if column not in later])
    return table.assign(**{column: value for column, value in later.items() if column not in table})
