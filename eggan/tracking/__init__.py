"""The only package that talks to MLflow.

Every run lives in a local folder first (`run.json`, `metrics.jsonl`, artifacts) and is shipped to a tracking
store from there. Shipping can be repeated, so that a store that is down or dies costs nothing but a later
sync.

MLflow takes more than a second to import, and most commands need only a run's folder: each name is imported
from its module when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from eggan.progress import working

if TYPE_CHECKING:
    from eggan.tracking.address import EXPERIMENT, SINGLE, STUDIES, first_line
    from eggan.tracking.presence import DIED, close_dead
    from eggan.tracking.provenance import code_version, describe_machine
    from eggan.tracking.record import CELL_LIST, RunRecord, flat_params, read_record
    from eggan.tracking.run import TrackedRun, put_aside, ship_or_warn
    from eggan.tracking.ship import adopt_run, missing_artifacts, run_id_in, ship_folder
    from eggan.tracking.store import (
        STORE_ERRORS,
        Store,
        default_uri,
        describe,
        open_store,
        read_store,
        server_command,
    )
    from eggan.tracking.syncing import Synced, sync

MODULES = {
    "address": ("EXPERIMENT", "SINGLE", "STUDIES", "first_line"),
    "provenance": ("code_version", "describe_machine"),
    "presence": ("DIED", "close_dead"),
    "record": ("CELL_LIST", "RunRecord", "flat_params", "read_record"),
    "run": ("TrackedRun", "put_aside", "ship_or_warn"),
    "ship": ("adopt_run", "missing_artifacts", "run_id_in", "ship_folder"),
    "store": (
        "STORE_ERRORS",
        "Store",
        "default_uri",
        "describe",
        "open_store",
        "read_store",
        "server_command",
    ),
    "syncing": ("Synced", "sync"),
}
MODULE_OF = {name: module for module, names in MODULES.items() for name in names}

__all__ = [
    "CELL_LIST",
    "DIED",
    "EXPERIMENT",
    "SINGLE",
    "STORE_ERRORS",
    "STUDIES",
    "RunRecord",
    "Store",
    "Synced",
    "TrackedRun",
    "adopt_run",
    "close_dead",
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
    "ship_or_warn",
    "sync",
]


def __getattr__(name: str) -> Any:
    """Import a public name from its module; no module has the name of what it offers."""
    if name not in MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with working("loading MLflow"):
        return getattr(import_module(f"{__name__}.{MODULE_OF[name]}"), name)
