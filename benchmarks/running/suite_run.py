"""The suite runner: plans cells, runs those that are not finished, and keeps what happened to each.

A finished cell is reused, a killed one goes on from its checkpoint, a failed one stays visible with its
reason and is tried again by the next run. Every result lies in the cell's folder before it is shipped to the
tracking store.
"""

import dataclasses
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.protocol.edit_requests import pairs_hash
from benchmarks.running import cells
from benchmarks.running.cell_run import Produced, is_trained, produce
from benchmarks.running.cells import CellSpec, PlannedCell, claim, read_status, settle, write_status
from benchmarks.running.environment import BenchEnvironment, OpenSuite
from benchmarks.suites.methods import find_method
from benchmarks.suites.presets import preset_config
from benchmarks.suites.shipped_methods import ShippedMethod
from benchmarks.suites.suite import CROWD, SPLIT_DATASETS, TWIN, Row, Suite
from eggan import tracking
from eggan.checkpoint import STATE_FILE
from eggan.config import to_dict
from eggan.data.dataset import Dataset
from eggan.edit_cost import peak_memory_mib, reset_peak_memory
from eggan.errors import UserError, is_disk_full
from eggan.method import MethodEntry
from eggan.signals import stop_as_interrupt
from eggan.tracking import RunRecord, TrackedRun
from eggan.training import Interrupted, TrainingFailed

if TYPE_CHECKING:
    from benchmarks.suites.methods import Entry
    from eggan.tracking import Store, Synced

ARTIFACTS = [
    "cell.json",
    "config.json",
    "weights.safetensors",
    "metrics.jsonl",
    "traceback.txt",
    "scores/*",
    "images/*",
]


def plan_suite(opened: OpenSuite) -> list[PlannedCell]:
    """Return all cells of a suite in running order; without true edits there is no cell of the oracle."""
    suite, scoring = opened.suite, opened.scoring
    pairs = {data.split: pairs_hash(data.pairs) for data in scoring.splits}
    scored = {TWIN, *(SPLIT_DATASETS[split] for split in suite.protocol.splits)}
    plans = []
    for row, seed in suite.cells():
        entry = find_method(row.method, opened.bench.methods)
        if isinstance(entry, ShippedMethod):
            entry = entry.for_size(suite.image_size)
        if "truth" in entry.reads and not all(data.sources.is_synfacs for data in scoring.splits):
            continue
        spec = CellSpec(
            suite=suite.name,
            title=row.title(entry.title),
            method=row.name,
            method_version=entry.version,
            dataset=opened.dataset_label,
            image_size=suite.image_size,
            seed=seed,
            config=_settings(entry, row),
            training=to_dict(row.training) if row.training else {},
            protocol=to_dict(suite.protocol),
            datasets={
                role: dataset.content_hash
                for role, dataset in _datasets_of(row, opened).items()
                if role in (row.learns_from, *scored)
            },
            instruments=scoring.instruments.hashes,
            pairs=pairs,
        )
        plans.append(PlannedCell(row, entry, spec))
    return plans


def _datasets_of(row: Row, opened: OpenSuite) -> dict[str, Dataset]:
    """Return the suite's datasets by role, with what the row learns from in the place of the whole."""
    return {**opened.datasets, row.learns_from: opened.training_data(row)}


def _settings(entry: "Entry", row: Row) -> dict[str, Any]:
    """Return what decides a cell beside its training: a config, or which weights; nothing for a reference."""
    if isinstance(entry, ShippedMethod):
        return dict(entry.identity)
    return to_dict(preset_config(entry, row)) if isinstance(entry, MethodEntry) else {}


def with_key(plans: Sequence[PlannedCell], key: str) -> PlannedCell:
    """Return the cell with a key, which another process has named; one that is not there is a `UserError`."""
    for plan in plans:
        if plan.spec.key == key:
            return plan
    raise UserError(f"there is no cell {key}: the suite's data or instruments are others here")


def select(
    suite: Suite, plans: Sequence[PlannedCell], only: Sequence[str], seeds: Sequence[int]
) -> list[PlannedCell]:
    """Return the cells of the given methods and seeds (none: all), as `Suite.chosen` says."""
    chosen = suite.chosen(only, seeds)
    return [plan for plan in plans if (plan.row, plan.spec.seed) in chosen]


def open_suite_run(opened: OpenSuite, plans: list[PlannedCell]) -> TrackedRun:
    """Return the parent run of a suite's cells; one per suite and runs folder.

    It lists the keys of all cells of the suite, dataset by dataset: a cell that another suite has run names
    that one as its suite, and belongs to this one too.
    """
    suite = opened.suite
    folder = opened.bench.runs / "suites" / suite.name
    before = tracking.read_record(folder)
    listed = {k: v for k, v in (before.tags if before else {}).items() if k.startswith(tracking.CELL_LIST)}
    dataset = plans[0].spec.datasets[TWIN]
    listed[f"{tracking.CELL_LIST}{dataset[:12]}"] = " ".join(plan.spec.key for plan in plans)
    record = RunRecord(
        name=suite.name,
        tags={"suite": suite.name, "kind": "suite", **tracking.code_version(), **listed},
        params=tracking.flat_params({"protocol": to_dict(suite.protocol), "seeds": list(suite.seeds)}),
    )
    return TrackedRun(folder, record, opened.store)


def state_of_cells(plans: Sequence[PlannedCell], bench: BenchEnvironment) -> tuple[str, str]:
    """Return the state of a run of these cells, and its reason: how many of them are not finished."""
    states = [read_status(bench.cell_folder(plan.spec.key)).state for plan in plans]
    open_cells = sum(state != "finished" for state in states)
    if not open_cells:
        return "finished", ""
    state = "interrupted" if {"interrupted", "pending", "running"} & set(states) else "failed"
    return state, f"{open_cells} of {len(states)} cells are not finished"


def run_cell(plan: PlannedCell, opened: OpenSuite) -> str:
    """Run one cell if it is not finished and return its state (`busy` where another process runs it).

    A failure is recorded and returned as `failed`; an interruption is recorded and raised, so is a full disk.
    """
    folder = opened.bench.cell_folder(plan.spec.key)
    with claim(folder) as ours:
        if not ours:
            return "busy"
        if read_status(folder).state == "finished":
            settle(folder, opened.store)
            return "finished"
        return _run_claimed(folder, plan, opened)


def record_death(plan: PlannedCell, bench: BenchEnvironment, how: str) -> None:
    """Give a cell whose worker ended before it began the cell a reason."""
    folder = bench.cell_folder(plan.spec.key)
    with claim(folder) as ours:
        if ours and read_status(folder).state == "pending":
            reason = f"its process {how} before the cell began; it has printed why"
            spec = dataclasses.asdict(plan.spec)
            write_status(folder, "failed", reason=reason, spec=spec, name=plan.spec.name)


def _run_claimed(folder: Path, plan: PlannedCell, opened: OpenSuite) -> str:
    started, device = time.monotonic(), opened.bench.device
    before = float(read_status(folder).values.get("seconds", 0.0))
    if not is_trained(folder) and not (folder / STATE_FILE).is_file():
        before = 0.0  # nothing of what was done is used
        tracking.put_aside(folder)
    write_status(folder, "running", spec=dataclasses.asdict(plan.spec), name=plan.spec.name)
    tracked = TrackedRun(folder, _record(plan, opened), opened.store)
    state, reason = "finished", ""
    error: BaseException | None = None
    produced: Produced | None = None
    reset_peak_memory(device)
    try:
        with stop_as_interrupt():
            produced = produce(plan, folder, opened, tracked.log)
        reason = f"alarm: {', '.join(produced.alarms)}" if produced.alarms else ""
    except (Interrupted, KeyboardInterrupt) as stop:
        state, reason, error = "interrupted", str(stop) or "stopped by the user", stop
    except (UserError, TrainingFailed) as known:
        state, reason, error = "failed", str(known), known
    except Exception as unexpected:  # a bug in one method must not take the other cells with it
        state, reason, error = "failed", f"{type(unexpected).__name__}: {unexpected}", unexpected
        _keep_traceback(folder)
    measured = {"seconds": before + time.monotonic() - started, "peak_memory_mib": peak_memory_mib(device)}
    _conclude(folder, tracked, state, reason, measured, produced)
    if isinstance(error, Interrupted):
        raise KeyboardInterrupt from error
    if error is not None and (state == "interrupted" or is_disk_full(error)):
        raise error
    return state


def _keep_traceback(folder: Path) -> None:
    try:
        (folder / "traceback.txt").write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:  # a full disk is what is being reported
        return


def _conclude(
    folder: Path,
    tracked: TrackedRun,
    state: str,
    reason: str,
    measured: dict[str, float],
    produced: Produced | None,
) -> None:
    """Write the end of a cell: costs, summary metrics, state. The state `finished` comes last."""
    try:
        if produced is not None:
            costs = {"cost/peak_memory_mib": measured["peak_memory_mib"], **produced.costs}
            produced.scores.summary |= costs
            produced.scores.write(folder / "scores")
            tracked.log(0, produced.scores.summary)
            (folder / "traceback.txt").unlink(missing_ok=True)
        run_id = tracking.run_id_in(folder, tracked.store.uri) if tracked.store else None
        write_status(folder, state, reason=reason, mlflow_run_id=run_id, **measured)
        tracked.finish(state, reason)
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise UserError(
            f"the disk is full: finished cells are kept; free some space and run again ({error})"
        ) from None


def _record(plan: PlannedCell, opened: OpenSuite) -> RunRecord:
    spec, row, datasets = plan.spec, plan.row, _datasets_of(plan.row, opened)
    params = {"config": spec.config, "training": spec.training, "protocol": spec.protocol}
    plain = {"seed": spec.seed, "image_size": spec.image_size, "method_version": spec.method_version}
    hashes = {"instrument": spec.instruments, "pairs": spec.pairs}
    return RunRecord(
        name=spec.name,
        tags={
            "kind": "cell",
            "suite": spec.suite,
            "dataset": spec.dataset,
            "method": spec.method,
            "title": spec.title,
            "seed": str(spec.seed),
            "cell": spec.key,
            "state": "running",
            "learns_from": _learns_from(row, plan.entry, datasets[row.learns_from]),
            **({"budget": opened.budget} if opened.budget else {}),
            **tracking.code_version(),
            **tracking.describe_machine(opened.bench.device),
        },
        params=tracking.flat_params(params | plain | hashes),
        datasets=[_dataset_entry(role, datasets[role], row) for role in spec.datasets],
        artifacts=ARTIFACTS,
        parent=f"../../suites/{spec.suite}",
    )


def _learns_from(row: Row, entry: "Entry", dataset: Dataset) -> str:
    """Return what a table says of a method's training data, empty for a reference."""
    if isinstance(entry, ShippedMethod):
        return entry.learns_from
    if row.training is None or not isinstance(entry, MethodEntry):
        return ""
    people = dataset.manifest["identity"].iloc[dataset.rows(*row.training.splits)].nunique()
    edits = " and true edits" if entry.learns_from_true_edits else ""
    return f"{people:,} people{edits}{', labelled images' if row.labelled else ''}"


def _dataset_entry(role: str, dataset: Dataset, row: Row) -> dict[str, str]:
    contexts = {TWIN: "train and test" if row.learns_from == TWIN else "test", CROWD: "train"}
    return {
        "name": f"{dataset.name}-{dataset.size}",
        "digest": dataset.content_hash,
        "context": contexts.get(role, role),
        "version": str(dataset.info["version"]),
        "seed": str(dataset.info["seed"]),
    }


def sync(runs: Path, store: "Store", folders: Sequence[Path] = ()) -> "Synced":
    """Ship every run below `runs` and the further `folders`; cells whose process died say so first.

    A store that stops answering is a `UserError`.
    """
    for folder in cells.all_cells(runs):
        if not cells.is_claimed(folder):
            settle(folder, None)
    return tracking.sync([runs, *folders], store, runs)
