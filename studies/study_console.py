"""What `eggan study` prints: plans and states. Functions return text; only the commands print."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial

from benchmarks.running.bench_console import table
from eggan.errors import UserError
from eggan.options import command, this_command
from studies.storage.liveness import REASON, Watch, why_dead
from studies.storage.study_storage import open_study
from studies.storage.trials import STATES, count_trials, retried_numbers, trial_frame
from studies.study_config import PRINTED_SCORES, SPEC_FILE, StudyConfig, read_spec

if TYPE_CHECKING:  # it brings torch, and a state is read without it
    from benchmarks.running.environment import BenchEnvironment

GUESSED_RATE = 70.0  # images per second of two CPU cores with the presets `quick` and `cpu`
RUNNING_MIB = 60.0  # training state of a trial on its way
TRIAL_MIB, WEIGHTS_MIB = 0.2, 15.0
SCORE_TITLES = [name.removeprefix("val/") for name in PRINTED_SCORES]


def trial_seconds(
    study: StudyConfig, finished: optuna.Study | None, bench: "BenchEnvironment", folder: Path
) -> tuple[float, str]:
    """Return the expected seconds of a whole trial and where the number comes from.

    Trials of the study count that were finished on a machine like this one; their records are in `folder`.
    """
    from benchmarks.running.expected_cost import guess
    from benchmarks.running.measured_speed import TrainingRate, known_rate
    from benchmarks.suites.presets import resolve, trainable

    known, elsewhere = _known_seconds(finished, bench.device, folder)
    if known:
        return median(known), f"median of {len(known)} finished trials"
    entry = trainable(study.method, bench.methods)
    settings = resolve(entry, study.preset, None, ())
    training = replace(settings.training, batch_size=study.batch_size)
    found = known_rate(bench.runs, entry, settings.method, training, bench.device)
    guessed = f"{guess(bench.device)}: {GUESSED_RATE:.0f} images per second"
    speed = found or TrainingRate(GUESSED_RATE, guessed)
    others = f"; {elsewhere} finished trials are of another machine" if elsewhere else ""
    return len(study.seeds) * study.images / speed.images_per_second, f"{speed.source}{others}"


def _known_seconds(finished: optuna.Study | None, device: str, folder: Path) -> tuple[list[float], int]:
    """Return how long complete trials took on a machine like this one, and how many others there are."""
    from benchmarks.running.measured_speed import of_this_machine
    from studies.storage.trial_tracking import trial_folder

    if finished is None:
        return [], 0
    frame = trial_frame(finished)
    complete = frame.loc[frame["state"] == "complete", ["number", "seconds"]].dropna()
    seconds = {
        trial_folder(folder, int(number)): float(taken)
        for number, taken in zip(complete["number"], complete["seconds"], strict=True)
    }
    mine, elsewhere = of_this_machine(seconds, device)
    return [seconds[trial] for trial in mine], elsewhere


def cost_lines(hours: float, each: str, at_once: int, left: int, keep_weights: bool) -> list[str]:
    """Return the end of a plan: hours, with what `each` takes, disk, and the line to type that runs it.

    `left` trainings are to be run, `at_once` of them side by side.
    """
    mib = at_once * RUNNING_MIB + left * (TRIAL_MIB + (WEIGHTS_MIB if keep_weights else 0.0))
    return [
        f"time: about {hours:.1f} h on this machine ({each})",
        f"disk: about {mib:.0f} MiB",
        f"run or continue it: {this_command()}",
    ]


def studies_text(runs: Path) -> str:
    """Return one line per study; one that cannot be read, or whose storage does not answer, says so."""
    rows = [_study_row(path.parent) for path in sorted((runs / "studies").glob(f"*/{SPEC_FILE}"))]
    if not rows:
        return f"no study in {runs / 'studies'}: start with `{command('study run loss-weights --dry-run')}`"
    return table(["study", "objective", "done", "running", "waiting", "storage"], rows)


def _study_row(folder: Path) -> list[str]:
    labels = [folder.name, "?"]
    try:
        spec = read_spec(folder)
        labels = [folder.name, spec.study.objective]
        count = count_trials(open_study(folder))
    except UserError as error:
        return [*labels, "?", "?", "?", str(error)]
    done = f"{count['settled']}/{spec.study.trials}"
    return [*labels, done, str(count["running"]), str(count["waiting"]), spec.storage or "journal"]


def status_text(folder: Path, storage: str | None = None) -> str:
    """Return one line per trial of a study."""
    study, spec = open_study(folder, storage), read_spec(folder)
    trials = study.get_trials(deepcopy=False)
    retried = retried_numbers(trials)
    watch = Watch(folder)
    rows = [_trial_row(trial, spec.study, watch, trial.number in retried) for trial in trials]
    return table(["trial", "state", "reference", *SCORE_TITLES, "reason"], rows)


def _trial_row(trial: FrozenTrial, study: StudyConfig, watch: Watch, retried: bool) -> list[str]:
    attrs = trial.user_attrs
    state, reason = STATES[trial.state], str(attrs.get(REASON, ""))
    if state == "running":
        reason = why_dead(trial, study, watch) or ""
    if retried:
        reason = f"{reason} (repeated by another trial)"
    return [str(trial.number), state, attrs.get("reference", ""), *score_texts(attrs), reason]


def score_texts(scores: Mapping[str, Any]) -> list[str]:
    """Return the scores under `SCORE_TITLES`, "-" for one that is not there."""
    return [f"{scores[name]:.3f}" if name in scores else "-" for name in PRINTED_SCORES]
