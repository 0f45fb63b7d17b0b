"""`eggan study confirm` and `eggan study ranks`: from their arguments to the last re-run."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pandas as pd

from benchmarks.running.bench_console import table
from benchmarks.suites.equal_images import check_warm_start
from eggan import tracking
from eggan.config import from_dict
from eggan.errors import UserError
from eggan.files import check_writable
from eggan.signals import resumable
from eggan.tracking import Store
from eggan.tracking.address import check_named
from eggan.training import TrainingConfig
from studies import selection
from studies.reruns.rerun import Rerun, plan_reruns, read_result, run_reruns
from studies.storage.study_storage import open_study
from studies.storage.trial_tracking import open_study_run
from studies.storage.trials import trial_frame
from studies.study_config import StudyConfig, StudySpec, read_spec, study_folder
from studies.study_console import SCORE_TITLES, cost_lines, score_texts, trial_seconds
from studies.study_context import StudyContext, check_reopening, reopen_study_context, resolved_training
from studies.study_session import StudyCommand, outcome, shared_choices

CONFIRM, RANKS = "confirm", "ranks"
DONE, NOT_DONE = 0, 1


@dataclass(frozen=True, kw_only=True)
class RerunSession(StudyCommand):
    """The choices of one command. `trials` empty: the `best` so many and the references."""

    trials: tuple[int, ...] = ()
    best: int = 0
    seeds: tuple[int, ...] = ()
    images: int = 0
    storage: str | None = None

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> "RerunSession":
        """Read the arguments; what is wrong in them is found before anything is trained."""
        folder = study_folder(arguments.runs, arguments.name)
        spec = read_spec(folder)
        check_writable(folder)
        images = spec.study.images if arguments.images is None else arguments.images
        seeds = arguments.seeds or spec.study.seeds
        _check(arguments, spec.study, images, seeds)
        return cls(
            **shared_choices(arguments, arguments.name),
            trials=tuple(arguments.trials or ()),
            best=arguments.best,
            seeds=tuple(seeds),
            images=images,
            storage=arguments.storage,
        )

    def reruns(self, study: optuna.Study) -> list[Rerun]:
        """Return the re-runs that are asked for, ended ones included."""
        spec, frame = read_spec(self.folder), trial_frame(study)
        return plan_reruns(self._trials(spec, frame), self.seeds, self.images)

    def _trials(self, spec: StudySpec, frame: pd.DataFrame) -> list[int]:
        if self.trials:
            return selection.chosen(frame, self.trials)
        selection.best(spec.study, frame)  # a `UserError` where there is none
        order = selection.ranked(spec.study, frame)[: self.best]
        return list(dict.fromkeys([*order, *selection.references(frame).values()]))

    def plan(self) -> str:
        """Return what `run` would do, and the line that does it; nothing is trained or created."""
        if not self.offline:
            check_named(self.tracking_uri)
        self._check_study()
        study, spec = open_study(self.folder, self.storage), read_spec(self.folder)
        reruns = self.reruns(study)
        left = [rerun for rerun in reruns if read_result(rerun.folder(self.folder)) is None]
        whole, source = trial_seconds(spec.study, study, self.bench, self.folder)
        seconds = whole / len(spec.study.seeds) * self.images / spec.study.images
        hours, each = len(left) * seconds / 3600, f"{seconds / 60:.1f} min each: {source}"
        lines = [
            f"study {self.name}: trials {_words({r.trial for r in reruns})} again on {self.images} images "
            f"with seeds {_words(self.seeds)}",
            f"trainings: {len(reruns)} in all, {len(reruns) - len(left)} done, {len(left)} to run",
            *cost_lines(hours, each, 1, len(left), self.keep_weights),
        ]
        return "\n".join(lines)

    @resumable()
    def run(self) -> int:
        """Run what is left; return 0, or 1 where another process still holds some or a training failed."""
        self._check_study()
        study = open_study(self.folder, self.storage)
        reruns = self.reruns(study)
        context = reopen_study_context(self.folder, self.bench)
        store = self.store()
        self._ensure_parent(context, study, store)
        held = run_reruns(context, study, reruns, store, self.keep_weights)
        print(results_text(self.folder, reruns))
        if held:
            print(f"{len(held)} are being run by another process", file=sys.stderr)
        failed = [r for r in reruns if (read_result(r.folder(self.folder)) or {}).get("state") == "failed"]
        return NOT_DONE if held or failed else DONE

    def _check_study(self) -> None:
        """Refuse another version or dataset than the study's, and images that end within a warm start."""
        spec, entry = check_reopening(self.folder, self.bench)
        training = resolved_training(dataclasses.replace(spec.study, images=self.images), TrainingConfig())
        config: Any = from_dict(entry.config, spec.method_config, "method")
        check_warm_start(entry.name, spec.study.preset, config, training)

    def _ensure_parent(self, context: StudyContext, study: optuna.Study, store: Store | None) -> None:
        """Let this machine's folder stand for the study's run, where the study was run elsewhere."""
        if tracking.read_record(self.folder) is None:
            open_study_run(context, study, store).finish(*outcome(study, context.study))


def _check(arguments: argparse.Namespace, study: StudyConfig, images: int, seeds: Sequence[int]) -> None:
    action, stale = arguments.action_name, sorted(set(seeds) & set(study.seeds))
    if arguments.best < 0:
        raise UserError(f"--best {arguments.best}: 0 or more of the best trials can be run again")
    if action == CONFIRM and stale:
        raise UserError(f"seed {stale[0]} is one that the study trained with: fresh ones show selection bias")
    if action == CONFIRM and images != study.images:
        raise UserError(f"the study's trials saw {study.images} images: for another budget use `study ranks`")
    if action == RANKS and images == study.images:
        raise UserError(f"--images {images} is the study's own budget: choose another to compare it with")
    if images < study.batch_size:
        raise UserError(f"--images {images} is less than a batch of {study.batch_size}")


def _words(values: Sequence[int] | set[int]) -> str:
    return ", ".join(map(str, sorted(values)))


def results_text(folder: Path, reruns: Sequence[Rerun]) -> str:
    """Return one line per re-run: its state and scores."""
    rows = []
    for rerun in reruns:
        result = read_result(rerun.folder(folder)) or {"state": "open", "reason": "", "scores": {}}
        keys = [str(rerun.trial), str(rerun.seed), str(rerun.images)]
        rows.append([*keys, result["state"], *score_texts(result["scores"]), result["reason"]])
    return table(["trial", "seed", "images", "state", *SCORE_TITLES, "reason"], rows)
