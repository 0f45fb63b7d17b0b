"""A trial trained again: with a fresh seed, which shows what being selected added, or on another budget.

Re-runs are no trials: the sampler never sees them. Each has a folder in the study's, `result.json` in it says
how it ended, and it is an MLflow run under the study's.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.trial import FrozenTrial

from benchmarks.scoring.pair_columns import au_matrix, read_mask, row_means, target_poses
from eggan import tracking
from eggan.checkpoint import STATE_FILE
from eggan.config import to_dict
from eggan.files import is_number, read_whole_json, try_lock, write_atomically, write_json
from eggan.tables import read_table
from eggan.tracking import Store, TrackedRun
from eggan.training import Interrupted, TrainingFailed
from studies.storage.trial_tracking import RUN_ID, drop_training_files, run_record
from studies.storage.trials import SCORES
from studies.study_context import StudyContext, check_finite

FOLDER, RESULT, PAIRS = "reruns", "result.json", "pairs.parquet"
SPENT = "spent.json"  # seconds of what was interrupted, until the re-run has ended
ARTIFACTS = [RESULT, PAIRS, "s*/weights.safetensors", "s*/config.json"]
KEYS = ("trial", "seed", "images")


@dataclass(frozen=True)
class Rerun:
    """One training to be done again: whose parameters, with which seed, on how many images."""

    trial: int
    seed: int
    images: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"t{self.trial:04d}-i{self.images}-s{self.seed}"

    def folder(self, study_folder: Path) -> Path:
        """Return its folder."""
        return study_folder / FOLDER / self.name


def plan_reruns(trials: Sequence[int], seeds: Sequence[int], images: int) -> list[Rerun]:
    """Return the re-runs, seed by seed, so that every trial has one early."""
    return [Rerun(trial, seed, images) for seed in dict.fromkeys(seeds) for trial in dict.fromkeys(trials)]


def read_result(folder: Path) -> dict[str, Any] | None:
    """Return what `result.json` holds; None where the re-run has not ended, or its file is broken or of
    another kind: then it is run again.
    """
    values = read_whole_json(folder / RESULT)
    return values if _is_result(values) else None


def _is_result(values: Any) -> bool:
    """Return whether a JSON value says how a re-run ended."""
    if not isinstance(values, dict) or not isinstance(values.get("scores"), dict):
        return False
    texts = (values.get("reason"), values.get("run_id") or "")
    numbers = [values.get("seconds"), *values["scores"].values()]
    known = values.get("state") in ("finished", "failed") and all(isinstance(text, str) for text in texts)
    return known and all(type(values.get(key)) is int for key in KEYS) and all(map(is_number, numbers))


def read_reruns(study_folder: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the re-runs that have ended, and their pair tables.

    Columns: trial, seed, images, state (finished, failed), reason, seconds, run_id and the final `SCORES`;
    trial, seed, images and those of `pair_scores`.
    """
    rows, tables = [], []
    for folder in sorted((study_folder / FOLDER).glob("t*")):
        result = read_result(folder)
        if result is None:
            continue
        rows.append({**result, **result["scores"]})
        if result["state"] == "finished":
            keys = {name: result[name] for name in KEYS}
            tables.append(read_table(folder / PAIRS, numbers=KEYS).assign(**keys))
    columns = [*KEYS, "state", "reason", "seconds", "run_id", *SCORES]
    frame = pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(("seconds", *SCORES), float))
    pairs = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(KEYS))
    return frame, pairs


def pair_scores(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a pair table reduced to what the scores are means of.

    Columns: pair, source_identity, target_row, target_pose (who shows which expression), error and copied
    (mean over AUs of the squared error of edit and of source; NaN where the AU estimator found no face), same
    (1: accepted as the same person), similarity (cosine).
    """
    target, edit, source = (au_matrix(frame, name) for name in ("target", "a", "source_a"))
    read = read_mask(frame)
    return frame[["pair", "source_identity", "target_row"]].assign(
        target_pose=target_poses(frame),
        error=np.where(read, row_means(np.square(edit - target)), np.nan),
        copied=np.where(read, row_means(np.square(source - target)), np.nan),
        same=frame["same"].to_numpy(np.float64),
        similarity=frame["similarity"].to_numpy(np.float64),
    )


def run_reruns(
    context: StudyContext,
    study: optuna.Study,
    reruns: Sequence[Rerun],
    store: Store | None,
    keep_weights: bool = False,
) -> list[Rerun]:
    """Run what has not ended yet; return those that another process is at work on.

    A training that fails is recorded; an interruption or a full disk is raised after the state is saved.
    """
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    held = []
    for rerun in reruns:
        folder = rerun.folder(context.folder)
        with try_lock(folder / ".lock") as alone:
            if not alone:
                held.append(rerun)
            elif read_result(folder) is not None:
                _settle(folder, store, keep_weights)
            else:
                _run(context, rerun, trials[rerun.trial], store, keep_weights)
    return held


def _settle(folder: Path, store: Store | None, keep_weights: bool) -> None:
    """Let the run of a re-run that has ended say so; a process may have died before it could."""
    (folder / SPENT).unlink(missing_ok=True)
    drop_training_files(folder, weights=not keep_weights)
    record, result = tracking.read_record(folder), read_result(folder)
    if record is None or result is None or record.state == result["state"]:
        return
    tracked = TrackedRun(folder, record, store)
    tracked.log(0, result["scores"])
    tracked.finish(result["state"], result["reason"])


def _run(
    context: StudyContext, rerun: Rerun, trial: FrozenTrial, store: Store | None, keep_weights: bool
) -> None:
    folder = rerun.folder(context.folder)
    started = time.monotonic() - _seconds_before(folder)
    config = context.spec.space.apply(context.base, trial.params)
    training = dataclasses.replace(context.training, images=rerun.images)
    tracked = _open_run(
        context, rerun, trial, store, {"config": to_dict(config), "training": to_dict(training)}
    )

    def log(step: int, values: dict[str, float]) -> None:
        tracked.log(step, {f"train/{name}": value for name, value in values.items()})

    def end(state: str, reason: str, scores: dict[str, float]) -> None:
        run_id = tracking.run_id_in(folder, store.uri) if store else None
        result = dataclasses.asdict(rerun) | {"params": trial.params, "state": state, "reason": reason}
        result |= {"scores": scores, "seconds": time.monotonic() - started, "run_id": run_id}
        write_json(result, folder / RESULT)
        _settle(folder, store, keep_weights)

    try:
        scores, frame = context.train_and_score(config, training, rerun.seed, folder / f"s{rerun.seed}", log)
        scores = check_finite(scores)
    except (Interrupted, KeyboardInterrupt) as stop:
        write_json(time.monotonic() - started, folder / SPENT)
        tracked.finish("interrupted", "interrupted by the user")
        raise KeyboardInterrupt from stop
    except TrainingFailed as failure:
        end("failed", str(failure), {})
    except Exception as error:
        tracked.finish("failed", str(error) or type(error).__name__)
        raise
    else:
        write_atomically(folder / PAIRS, pair_scores(frame).to_parquet)
        end("finished", "", scores)


def _seconds_before(folder: Path) -> float:
    """Return what was spent on a training that goes on from the state in its folder."""
    spent = read_whole_json(folder / SPENT)
    return float(spent) if is_number(spent) and any(folder.glob(f"s*/{STATE_FILE}")) else 0.0


def _open_run(
    context: StudyContext, rerun: Rerun, trial: FrozenTrial, store: Store | None, settings: dict[str, Any]
) -> TrackedRun:
    """Return the run of a training that begins, or goes on from the state in its folder."""
    folder = rerun.folder(context.folder)
    if not any(folder.glob(f"s*/{STATE_FILE}")):
        tracking.put_aside(folder)
    tags = {
        "trial": str(rerun.trial),
        "trial_run_id": trial.user_attrs.get(RUN_ID, {}).get("run_id", ""),
        "seed": str(rerun.seed),
        "images": str(rerun.images),
    }
    params = {"params": trial.params, **settings, "seed": rerun.seed}
    record = run_record(context, "rerun", f"rerun-{rerun.name}", tags, params, ARTIFACTS)
    return TrackedRun(folder, record, store)
