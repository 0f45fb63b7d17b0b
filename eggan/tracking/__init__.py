"""The only package that talks to MLflow.

Every run lives in a local folder first (`run.json`, `metrics.jsonl`, artifacts) and is shipped to a tracking
store from there. Shipping can be repeated, so that a store that is down or dies costs nothing but a later
sync.
"""

from eggan.tracking.address import first_line
from eggan.tracking.machine import code_version, describe_machine
from eggan.tracking.record import CELL_LIST, RunRecord, flat_params, read_record
from eggan.tracking.run import TrackedRun, put_aside
from eggan.tracking.ship import adopt_run, missing_artifacts, run_id_in, ship_folder
from eggan.tracking.store import (
    EXPERIMENT,
    SINGLE,
    STORE_ERRORS,
    STUDIES,
    Store,
    default_uri,
    describe,
    open_store,
    read_store,
    server_command,
)
from eggan.tracking.sync import Synced, sync

__all__ = [
    "CELL_LIST",
    "EXPERIMENT",
    "SINGLE",
    "STORE_ERRORS",
    "STUDIES",
    "RunRecord",
    "Store",
    "Synced",
    "TrackedRun",
    "adopt_run",
    "code_version",
    "default_uri",
    "describe",
    "describe_machine",
    "first_line",
    "flat_params",
    "missing_artifacts",
    "open_store",
    "put_aside",
    "read_record",
    "read_store",
    "run_id_in",
    "server_command",
    "ship_folder",
    "sync",
]
