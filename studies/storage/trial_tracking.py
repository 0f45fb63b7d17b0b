"""What is kept of a trial outside the storage: its folder (`trial.json`, training files) and its MLflow run.

Everything here follows from the trial in the storage, so that it can be written again after a crash.
"""

import json
import os
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from eggan import tracking
from eggan.checkpoint import CONFIG_FILE, STATE_FILE, WEIGHTS_FILE
from eggan.config import to_dict
from eggan.files import read_whole_json, sweep, write_atomically, write_json
from eggan.tracking import RunRecord, Store, Synced, TrackedRun
from eggan.tracking.record import METRICS_FILE
from studies.storage.liveness import REASON
from studies.storage.trials import RETRY_OF, SCORES, STATES, Attempts, is_owed_another, params_of
from studies.study_config import StudySpec, read_spec
from studies.study_context import StudyContext

RUN_ID = "mlflow_run_id"
RECORD = "trial.json"
TRACEBACK = "traceback.txt"
ARTIFACTS = [RECORD, TRACEBACK, "s*/weights.safetensors", "s*/config.json"]
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


def open_study_run(context: StudyContext, study: optuna.Study, store: Store | None) -> TrackedRun:
    """Return the study's run, the parent of its trials' runs; all machines with one store share it."""
    spec, folder = context.spec, context.folder
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


def open_trial_run(
    context: StudyContext,
    trial: FrozenTrial,
    earlier: Sequence[FrozenTrial],
    config: Any,
    store: Store | None,
) -> TrackedRun:
    """Return the run of a trial that begins, after taking over what `earlier` attempts at it had done."""
    folder = trial_folder(context.folder, trial.number)
    _put_aside(folder)
    take_over([trial_folder(context.folder, attempt.number) for attempt in earlier], folder)
    write_json(trial_values(trial), folder / RECORD)
    params = {
        "params": params_of(trial),
        "config": to_dict(config),
        "training": context.spec.training,
        "seeds": list(context.study.seeds),
    }
    tags = {
        "trial": str(trial.number),
        "storage": context.spec.storage or "journal",
        "reference": trial.user_attrs.get("reference", ""),
        "retry_of": str(trial.user_attrs.get(RETRY_OF, "")),
    }
    record = run_record(context, "trial", f"trial-{trial.number:04d}", tags, params, ARTIFACTS)
    return TrackedRun(folder, record, store)


def _put_aside(folder: Path) -> None:
    """Clear the folder of a trial that begins: what lies there another study left, whose journal is gone."""
    if folder.exists():
        tracking.put_aside(folder)
        drop_training_files(folder)
        (folder / TRACEBACK).unlink(missing_ok=True)


def run_record(
    context: StudyContext,
    kind: str,
    name: str,
    tags: dict[str, str],
    params: dict[str, Any],
    artifacts: list[str],
) -> RunRecord:
    """Return the record of a training that belongs to a study: a run under the study's own."""
    spec = context.spec
    return RunRecord(
        name=f"{spec.name}/{name}",
        tags={
            "kind": kind,
            "study": spec.name,
            "method": spec.study.method,
            "state": "running",
            **tags,
            **tracking.code_version(),
            **tracking.describe_machine(context.bench.device),
        },
        params=tracking.flat_params(params),
        datasets=[dataset_input(spec)],
        artifacts=artifacts,
        parent="../..",
    )


def dataset_input(spec: StudySpec) -> dict[str, str]:
    """Return the study's dataset as a run records it."""
    name = f"{spec.dataset['name']}-{spec.dataset['size']}"
    return {"name": name, "digest": spec.dataset["content_hash"], "context": "train and validation"}


def take_over(earlier: Sequence[Path], new: Path) -> None:
    """Move the training state of dead trials, the last one first, to the trial that repeats them.

    Training is a function of config and seed, so that the new trial goes on bit for bit, and has logged what
    they have. Without their folders (another machine's) it trains from the start.
    """
    new.mkdir(parents=True, exist_ok=True)
    for old in earlier:
        if (old / METRICS_FILE).exists() and not (new / METRICS_FILE).exists():
            write_atomically(new / METRICS_FILE, partial(shutil.copyfile, old / METRICS_FILE))
        for state in old.glob(f"s*/{STATE_FILE}"):
            target = new / state.parent.name
            target.mkdir(exist_ok=True)
            if not (target / STATE_FILE).exists():
                os.replace(state, target / STATE_FILE)
        drop_training_files(old)


def settle(
    trial: FrozenTrial,
    trials: Sequence[FrozenTrial],
    study_folder: Path,
    store: Store | None,
    keep_weights: bool = False,
) -> None:
    """Let a closed trial's folder and MLflow run say how it ended; nothing happens without a folder here.

    What its training left goes: of a trial that waits for its repeat, all but the state, from which the
    weights follow.
    """
    folder = trial_folder(study_folder, trial.number)
    if not folder.exists():
        return
    waits = is_owed_another(trial) and not Attempts(trials).is_over(trial)
    drop_training_files(folder, state=not waits, weights=is_owed_another(trial) or not keep_weights)
    values = trial_values(trial)
    if read_whole_json(folder / RECORD) != json.loads(json.dumps(values)):
        write_json(values, folder / RECORD)
    record = tracking.read_record(folder)
    if record is None:
        return
    state, reason = TRACKED_STATE[STATES[trial.state]], values["reason"]
    run = TrackedRun(folder, record, store)
    if (record.state, record.reason) != (state, reason):
        constraints = {f"constraint/{name}": value for name, value in values["constraints"].items()}
        run.log(0, values["scores"] | constraints)
        run.finish(state, reason)


def settle_all(study: optuna.Study, folder: Path, store: Store | None, keep_weights: bool = False) -> None:
    """Settle every finished trial whose folder tells another story, as after a crash."""
    trials = study.get_trials(deepcopy=False)
    for trial in trials:
        if trial.state.is_finished():
            settle(trial, trials, folder, store, keep_weights)


def drop_training_files(folder: Path, state: bool = True, weights: bool = True) -> None:
    """Remove what trainings left in a folder: their states, and their weights with what describes them."""
    names = [STATE_FILE] if state else []
    names += [WEIGHTS_FILE, CONFIG_FILE] if weights else []
    for name in names:
        for path in folder.glob(f"s*/{name}"):
            path.unlink()
    for seed in folder.glob("s*"):
        sweep(seed)  # a process may have been killed while it wrote there
        if seed.is_dir() and not any(seed.iterdir()):
            seed.rmdir()


def ship_study(folder: Path, store: Store) -> Synced:
    """Ship the runs of a study, its trials and re-runs. A failing store is a `UserError`."""
    read_spec(folder)
    return tracking.sync([folder], store, folder.parents[1])
