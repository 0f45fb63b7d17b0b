"""The runs of a runs folder's own store, read from its SQLite file.

MLflow takes longer to import than a report of some cells takes to be made. What it would return is read from
its tables; whatever else it is asked for, such as a server's runs, it has to read itself.
"""

import math
import os
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eggan.errors import UserError
from eggan.files import is_writable
from eggan.tracking import local
from eggan.tracking.address import EXPERIMENT, EXPERIMENTS
from eggan.tracking.tracked_cell import TrackedCell

ACTIVE = "experiment_id = ? AND lifecycle_stage = 'active'"
TAGGED = f"SELECT runs.run_uuid FROM runs JOIN tags USING (run_uuid) WHERE {ACTIVE} AND key = "
CELLS, SUITES = f"{TAGGED} 'cell'", f"{TAGGED} 'kind' AND value = 'suite'"


@dataclass(frozen=True)
class OwnStore:
    """A store's file, and the experiment in it whose runs are read: a `read.Readable` without MLflow."""

    database: Path
    experiment_id: int

    def cells(self) -> list[TrackedCell]:
        """Return the runs that have a `cell` tag, newest first."""
        datasets = (
            "SELECT destination_id, name, digest FROM inputs JOIN datasets ON source_id = dataset_uuid "
            f"WHERE source_type = 'DATASET' AND destination_type = 'RUN' AND destination_id IN ({CELLS})"
        )
        metrics = f"SELECT run_uuid, key, value, is_nan FROM latest_metrics WHERE run_uuid IN ({CELLS})"
        runs = (
            "SELECT run_uuid, start_time, end_time, artifact_uri FROM runs "
            f"WHERE run_uuid IN ({CELLS}) ORDER BY start_time IS NULL, start_time DESC, run_uuid"
        )
        tags, params = self._texts("tags", CELLS), self._texts("params", CELLS)
        values, digests = defaultdict[str, dict[str, float]](dict), defaultdict[str, dict[str, str]](dict)
        for run, name, value, is_nan in self._rows(metrics):
            values[run][name] = math.nan if is_nan else value
        for run, name, digest in self._rows(datasets):
            digests[run][name] = digest
        return [
            TrackedCell(run, tags[run], params[run], values[run], digests[run], start or 0, end or 0, place)
            for run, start, end, place in self._rows(runs)
        ]

    def suite_tags(self) -> list[dict[str, str]]:
        """Return the tags of the runs of suites."""
        return list(self._texts("tags", SUITES).values())

    def artifact(self, run_id: str, name: str, _scratch: Path) -> Path | None:
        """Return where a run's file or folder lies; None where the run has none of that name."""
        query = "SELECT artifact_uri FROM runs WHERE run_uuid = ?"
        found = [local.path_of(place) / name for (place,) in self._rows(query, run_id)]
        return found[0] if found and found[0].exists() else None

    def history(self, run_id: str, metric: str) -> list[tuple[int, float]]:
        """Return (step, value) of one metric of a run, by step."""
        query = "SELECT step, value, is_nan FROM metrics WHERE run_uuid = ? AND key = ?"
        rows = self._rows(query, run_id, metric)
        return sorted((step, math.nan if is_nan else value) for step, value, is_nan in rows)

    def _texts(self, table: str, runs: str) -> dict[str, dict[str, str]]:
        found = defaultdict[str, dict[str, str]](dict)
        for run, name, value in self._rows(
            f"SELECT run_uuid, key, value FROM {table} WHERE run_uuid IN ({runs})"
        ):
            found[run][name] = value
        return found

    def _rows(self, query: str, *values: str) -> Iterator[tuple[Any, ...]]:
        try:
            with closing(local.connect(self.database, "rw")) as connection:
                yield from connection.execute(query, values or (self.experiment_id,)).fetchall()
        except sqlite3.Error as error:
            raise UserError(f"the tracking store {self.database} cannot be read: {error}") from None


def own_store(uri: str | None, runs: Path) -> OwnStore | None:
    """Return the store of a runs folder for reading; None where it takes MLflow to read the one at `uri`.

    That is any other store, one that is not there or has no runs yet, one that cannot be written to, and one
    whose runs have their files elsewhere than on this machine. A store of another MLflow is a `UserError`.
    """
    file = runs / local.DATABASE
    if uri or os.environ.get("MLFLOW_TRACKING_URI") or not file.is_file():
        return None
    if not (is_writable(file) and is_writable(runs)):
        return None
    with local.only_process(runs):
        if not local.check_schema(file):
            return None
        try:
            local.follow_move(file, runs, EXPERIMENTS)
            return _of_benchmark(file)
        except sqlite3.Error as error:
            raise UserError(f"the tracking store {file} cannot be read: {error}") from None


def _of_benchmark(file: Path) -> OwnStore | None:
    named = "SELECT experiment_id FROM experiments WHERE name = ? AND lifecycle_stage = 'active'"
    elsewhere = f"SELECT 1 FROM runs WHERE {ACTIVE} AND artifact_uri NOT LIKE 'file:///%'"
    with closing(local.connect(file, "rw")) as connection:
        found = connection.execute(named, (EXPERIMENT,)).fetchone()
        if found is None or connection.execute(elsewhere, found).fetchone():
            return None
    return OwnStore(file, *found)
