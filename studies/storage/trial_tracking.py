"""What is kept of a trial outside the storage: its folder (`trial.json`, training files) and its MLflow run.

Everything here follows from the trial in the storage, so that it can be written again after a crash.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from eggan import tracking
from eggan.checkpoint import CONFIG_FILE, STATE_FILE, WEIGHTS_FILE
from eggan.config import to_dict
from eggan.files import write_json
from eggan.tracking import RunRecord, Store, Synced, TrackedRun
from studies.storage.liveness import REASON, RETRY_OF
from studies.storage.trial_table import SCORES, STATES, params_of
from studies.study_config import StudySpec, read_spec
from studies.study_context import Desk

RUN_ID = "mlflow_run_id"
RECORD = "trial.json"
ARTIFACTS = [RECORD, "traceback.txt", "s*/weights.safetensors", "s*/config.json"]
TRACKED_STATE = {"complete": "finished", "pruned": "pruned", "failed": "failed", "running": "running"}


def trial_folder(study_folder: Path, number: int) -> Path:
    """Return the folder of a trial."""
    return study_folder / "trials" / f"{number:04d}"


def trial_values(trial: FrozenTrial) -> dict[str, Any]:
    """Return what `trial.json` holds: number, state, reason, params, user_attrs, intermediate, scores."""
    return {
        "number": trial.number,
        "state": STATES[trial.state],
        "reason": trial.user_attrs.get(REASON, ""),
        "params": params_of(trial),
        "user_attrs": trial.user_attrs,
        "intermediate": [[images, value] for images, value in sorted(trial.intermediate_values.items())],
        "constraints": trial.constraints,
        "scores": {name: trial.user_attrs[name] for name in SCORES if name in trial.user_attrs},
    }


def open_study_run(desk: Desk, study: optuna.Study, store: Store | None) -> TrackedRun:
    """Return the study's run, the parent of its trials' runs; all machines with one store share it."""
    spec, folder = desk.spec, desk.folder()
    known = study.user_attrs.get(RUN_ID, {})
    if store is not None and known.get("uri") == store.uri:
        tracking.adopt_run(folder, store, known["run_id"])
    record = RunRecord(
        name=spec.name,
        tags={"kind": "study", "study": spec.name, **tracking.code_version()},
        params=tracking.flat_params(spec.plain()),
        datasets=[dataset_input(spec)],
        artifacts=["study.json"],
    )
    run = TrackedRun(folder, record, store)
    run_id = tracking.run_id_in(folder, store.uri) if store else None
    if store is not None and run_id and known.get("run_id") != run_id:
        study.set_user_attr(RUN_ID, {"uri": store.uri, "run_id": run_id})
    return run


def open_trial_run(desk: Desk, trial: FrozenTrial, config: Any, store: Store | None) -> TrackedRun:
    """Return the run of a trial that begins, after taking over what the trial that it repeats had done."""
    folder = trial_folder(desk.folder(), trial.number)
    if RETRY_OF in trial.user_attrs:
        take_over(trial_folder(desk.folder(), trial.user_attrs[RETRY_OF]), folder)
    write_json_file(trial_values(trial), folder)
    spec = desk.spec
    params = {"params": params_of(trial), "config": to_dict(config), "training": spec.training}
    record = RunRecord(
        name=f"{spec.name}/trial-{trial.number:04d}",
        tags={
            "kind": "trial",
            "study": spec.name,
            "trial": str(trial.number),
            "method": spec.study.method,
            "storage": spec.storage or "journal",
            "reference": trial.user_attrs.get("reference", ""),
            "retry_of": str(trial.user_attrs.get(RETRY_OF, "")),
            "state": "running",
            **tracking.code_version(),
            **tracking.describe_machine(desk.bench.device),
        },
        params=tracking.flat_params(params | {"seeds": list(spec.study.seeds)}),
        datasets=[dataset_input(spec)],
        artifacts=ARTIFACTS,
        parent="../..",
    )
    return TrackedRun(folder, record, store)


def dataset_input(spec: StudySpec) -> dict[str, str]:
    """Return the study's dataset as a run records it."""
    name = f"{spec.dataset['name']}-{spec.dataset['size']}"
    return {"name": name, "digest": spec.dataset["content_hash"], "context": "train and validation"}


def write_json_file(values: dict[str, Any], folder: Path) -> None:
    """Write `trial.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(values, folder / RECORD)


def take_over(old: Path, new: Path) -> None:
    """Move the training state of a dead trial to the one that repeats it, and copy its logged values.

    Training is a function of config and seed, so that the new trial goes on bit for bit. Without the old
    folder (another machine's) it trains from the start.
    """
    new.mkdir(parents=True, exist_ok=True)
    for state in old.glob(f"s*/{STATE_FILE}"):
        target = new / state.parent.name
        target.mkdir(exist_ok=True)
        os.replace(state, target / STATE_FILE)
    if (old / "metrics.jsonl").exists() and not (new / "metrics.jsonl").exists():
        shutil.copy(old / "metrics.jsonl", new / "metrics.jsonl")


def settle(trial: FrozenTrial, study_folder: Path, store: Store | None) -> None:
    """Let a trial's folder and MLflow run say how it ended; nothing happens where it has no folder here."""
    folder = trial_folder(study_folder, trial.number)
    record = tracking.read_record(folder)
    if record is None:
        return
    values = trial_values(trial)
    if _read(folder / RECORD) != json.loads(json.dumps(values)):
        write_json_file(values, folder)
    state, reason = TRACKED_STATE[STATES[trial.state]], values["reason"]
    run = TrackedRun(folder, record, store)
    if (record.state, record.reason) != (state, reason):
        run.log(0, {**values["scores"], **_constraints(values)})
        run.finish(state, reason)


def _constraints(values: dict[str, Any]) -> dict[str, float]:
    return {f"constraint/{name}": value for name, value in values["constraints"].items()}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def settle_all(study: optuna.Study, folder: Path, store: Store | None, keep_weights: bool = False) -> None:
    """Settle every finished trial whose folder tells another story, as after a crash."""
    for trial in study.get_trials(deepcopy=False):
        if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):  # nobody goes on with these
            drop_training_files(trial_folder(folder, trial.number), keep_weights)
        if trial.state.is_finished():
            settle(trial, folder, store)


def drop_training_files(folder: Path, keep_weights: bool) -> None:
    """Remove the training states of a scored trial, and its weights unless they are to be kept."""
    names = [STATE_FILE] if keep_weights else [STATE_FILE, WEIGHTS_FILE, CONFIG_FILE]
    for name in names:
        for path in folder.glob(f"s*/{name}"):
            path.unlink()
    for seed in folder.glob("s*"):
        if seed.is_dir() and not any(seed.iterdir()):
            seed.rmdir()


def ship_study(folder: Path, store: Store) -> Synced:
    """Ship the runs of a study, its trials and re-runs. A failing store is a `UserError`."""
    read_spec(folder)
    return tracking.sync([folder], store, folder.parents[1])
