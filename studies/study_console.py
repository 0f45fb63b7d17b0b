"""What `eggan study` prints: plans and states. Functions return text; only the commands print."""

from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.trial import FrozenTrial

from benchmarks.running.bench_console import table
from eggan.errors import UserError
from eggan.options import command
from studies.sampling import expected_part
from studies.storage.liveness import REASON, Watch, why_dead
from studies.storage.study_storage import open_study
from studies.storage.trials import STATES, count_trials, retried_numbers, trial_frame
from studies.study_config import SPEC_FILE, StudyConfig, read_spec

if TYPE_CHECKING:  # it brings torch, and a state is read without it
    from benchmarks.running.environment import BenchEnvironment

GUESSED_RATE = 70.0  # images per second of two CPU cores with the presets `quick` and `cpu`
RUNNING_MIB = 60.0  # training state of a trial on its way
TRIAL_MIB, WEIGHTS_MIB = 0.2, 15.0
SHOWN = ("val/au/skill", "val/au/mse", "val/identity/accuracy")


def trial_seconds(
    study: StudyConfig, finished: optuna.Study | None, bench: "BenchEnvironment"
) -> tuple[float, str]:
    """Return the expected seconds of a whole trial and where the number comes from."""
    if finished is not None:
        frame = trial_frame(finished)
        known = frame.loc[frame["state"] == "complete", "seconds"].dropna()
        if len(known):
            return float(known.median()), f"median of {len(known)} finished trials"
    from benchmarks.running.measured_speed import TrainingRate, known_rate
    from benchmarks.suites.presets import resolve, trainable

    entry = trainable(study.method, bench.methods)
    settings = resolve(entry, study.preset, None, ())
    found = known_rate(bench.runs, entry, settings.method, settings.training.autocast, bench.device)
    speed = found or TrainingRate(GUESSED_RATE, f"a guess: {GUESSED_RATE:.0f} images per second")
    return len(study.seeds) * study.images / speed.images_per_second, speed.source


def plan_text(
    name: str,
    study: StudyConfig,
    existing: optuna.Study | None,
    bench: "BenchEnvironment",
    workers: int,
    keep: bool,
    warm_images: int,
) -> str:
    """Return what a run of a study would do: trials, hours, disk. `warm_images`: before pruning can begin."""
    settled = count_trials(existing)["settled"] if existing is not None else 0
    left = max(0, study.trials - settled)
    seconds, source = trial_seconds(study, existing, bench)
    # Workers share the cores: side by side they take about as long as one after another.
    part = expected_part(study, warm_images)
    hours = left * seconds * part / 3600
    pruning = f"; pruning leaves about {part:.0%} of it on average" if study.prunes else ""
    disk = workers * RUNNING_MIB + left * (TRIAL_MIB + (WEIGHTS_MIB if keep else 0.0))
    lines = [
        f"study {name}: {study.objective}, {study.method} preset {study.preset}, "
        f"{study.images} images x {len(study.seeds)} seed(s) per trial",
        f"trials: {study.trials} in all, {settled} done, {left} to run with {workers} worker(s)",
        f"time: about {hours:.1f} h on this machine "
        f"({seconds / 60:.1f} min for a whole trial: {source}{pruning})",
        f"disk: about {disk:.0f} MiB",
    ]
    return "\n".join(lines)


def studies_text(runs: Path) -> str:
    """Return one line per study; one whose storage does not answer says so."""
    rows = [_study_row(path.parent) for path in sorted((runs / "studies").glob(f"*/{SPEC_FILE}"))]
    if not rows:
        return f"no study in {runs / 'studies'}: start with `{command('study run loss-weights --dry-run')}`"
    return table(["study", "objective", "done", "running", "waiting", "storage"], rows)


def _study_row(folder: Path) -> list[str]:
    spec = read_spec(folder)
    labels = [spec.name, spec.study.objective]
    try:
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
    names = [name.removeprefix("val/") for name in SHOWN]
    return table(["trial", "state", "reference", *names, "reason"], rows)


def _trial_row(trial: FrozenTrial, study: StudyConfig, watch: Watch, retried: bool) -> list[str]:
    attrs = trial.user_attrs
    state, reason = STATES[trial.state], str(attrs.get(REASON, ""))
    if state == "running":
        reason = why_dead(trial, study, watch) or ""
    if retried:
        reason = f"{reason} (repeated by another trial)"
    scores = [f"{attrs[name]:.3f}" if name in attrs else "-" for name in SHOWN]
    return [str(trial.number), state, attrs.get("reference", ""), *scores, reason]
