"""Studies in milliseconds: finished ones with invented scores, and the machinery for real small ones."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
from optuna.trial import Trial, TrialState

from eggan import tracking
from eggan.config import to_dict
from eggan.files import write_json
from eggan.model_config import paper_preset, quick_preset
from eggan.tracking.record import RECORD_FILE
from studies.reruns.rerun import PAIRS, RESULT, plan_reruns
from studies.storage.study_storage import create_study
from studies.storage.trial_tracking import trial_folder
from studies.storage.trials import FLOOR
from studies.study_config import StudyConfig, StudySpec, write_spec

REFERENCES = {"paper": paper_preset(), "preset": quick_preset()}


def fake_spec(name: str = "fake", **settings) -> StudySpec:
    return StudySpec(
        name=name,
        study=StudyConfig(**settings),
        method_version=1,
        method_config=to_dict(quick_preset()),
        training={},
        dataset={"name": "painted", "size": 64, "content_hash": "d" * 64},
        instruments={"a": "a" * 64, "b": "b" * 64, "verifier": "v" * 64},
    )


def record_trial(folder: Path, number: int, machine: Mapping[str, str]) -> None:
    """Write the record that a finished trial of the study in `folder` leaves where it ran."""
    place = trial_folder(folder, number)
    place.mkdir(parents=True)
    record = tracking.RunRecord("trial", dict(machine), state="finished")
    write_json(dataclasses.asdict(record), place / RECORD_FILE)


def fake_study(folder: Path, objective: str = "constrained", trials: int = 12, **settings) -> optuna.Study:
    """Write a finished study of `trials` trials into `folder` and return it.

    Trial 0 has the paper's weights, trial 1 the preset's; trial 2 failed; trial 3 is pruned where the
    objective prunes. Skill falls with the distance from a hidden optimum, accuracy rises with lambda_id.
    """
    spec = fake_spec(folder.name, objective=objective, trials=trials, **settings)
    write_spec(spec, folder)
    references = {name: spec.space.values_of(config) for name, config in REFERENCES.items()}
    study = create_study(spec, folder, "", references)
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    for _ in range(trials):
        _finish(study, spec, study.ask(spec.space.distributions))
    return study


def _finish(study: optuna.Study, spec: StudySpec, trial: Trial) -> None:
    scores = invented_scores(trial.params, trial.number)
    skill, accuracy = scores["val/au/skill"], scores["val/identity/accuracy"]
    trial.set_user_attr("probes", [[i, {k: v * i / 3 for k, v in scores.items()}] for i in (1, 2, 3)])
    trial.set_user_attr("seconds", 60.0)
    if trial.number == 2:
        trial.set_user_attr("reason", "loss not finite by step 40: lower the learning rate")
        study.tell(trial, state=TrialState.FAIL)
        return
    if spec.study.objective == "constrained":
        trial.set_constraint(FLOOR, spec.study.identity_floor - accuracy)
    pruned = spec.study.prunes and trial.number == 3
    if spec.study.prunes:
        for images in (3200, 6400) if pruned else (3200, 6400, 9600):
            trial.report(skill * images / 9600, images)
    if pruned:
        trial.set_user_attr("reason", "pruned after 6400 images")
        study.tell(trial, state=TrialState.PRUNED)
        return
    for name, value in scores.items():
        trial.set_user_attr(name, value)
    values = skill if spec.study.objective == "constrained" else [scores["val/au/mse"], accuracy]
    study.tell(trial, values)


def invented_scores(params: dict[str, float], number: int) -> dict[str, float]:
    """Return scores as a function of the weights, with a little noise of the trial's number."""
    noise = np.random.default_rng(number).normal(0, 0.01)
    far = np.log10(params["lambda_au"] / 50) ** 2 + 0.3 * np.log10(params["lambda_per"] / 40) ** 2
    skill = float(0.6 - 0.3 * far + noise)
    accuracy = float(np.clip(40 + 25 * np.log10(params["lambda_id"] / 20) - 20 * skill + 10, 0, 100))
    return {
        "val/au/mse": 2.3 * (1 - skill),
        "val/au/pcc": max(0.0, skill + 0.1),
        "val/au/skill": skill,
        "val/au_b/mse": 2.3 * (1 - skill) + 0.05,
        "val/au_b/pcc": max(0.0, skill + 0.08),
        "val/identity/accuracy": accuracy,
        "val/identity/similarity": accuracy / 100,
        "val/own/mse": 0.5,
        "train_seconds": 55.0,
    }


def fake_reruns(folder: Path, study: optuna.Study, trials: list[int], seeds: list[int], images: int) -> None:
    """Write finished re-runs: the trial's scores less 0.05 of skill, with pairs that have these scores."""
    for rerun in plan_reruns(trials, seeds, images):
        trial = study.trials[rerun.trial]
        skill = trial.user_attrs["val/au/skill"] - 0.05 + 0.01 * (rerun.seed % 3 - 1)
        accuracy = trial.user_attrs["val/identity/accuracy"]
        rng = np.random.default_rng([rerun.trial, rerun.seed])
        copied = np.tile(np.linspace(1.8, 2.8, 24), 4)
        pairs = pd.DataFrame(
            {
                "pair": np.arange(96),
                "source_identity": np.repeat(list("abcd"), 24),
                "target_row": np.tile(np.arange(24), 4),
                "error": copied * (1 - skill) * (1 + rng.choice([-0.05, 0.05], 96)),
                "copied": copied,
                "same": (np.arange(96) % 10 < accuracy / 10).astype(float),
                "similarity": accuracy / 100,
            }
        )
        target = rerun.folder(folder)
        target.mkdir(parents=True)
        pairs.to_parquet(target / PAIRS)
        scores = {
            "val/au/skill": float(1 - pairs["error"].mean() / pairs["copied"].mean()),
            "val/au/mse": float(pairs["error"].mean()),
            "val/identity/accuracy": float(100 * pairs["same"].mean()),
        }
        keys = {"trial": rerun.trial, "seed": rerun.seed, "images": images}
        ending = {"params": trial.params, "state": "finished", "reason": "", "seconds": 60.0, "run_id": None}
        (target / RESULT).write_text(json.dumps(keys | ending | {"scores": scores}))
