"""Who runs a trial, whether they live, and what becomes of a trial whose worker died.

Optuna's own heartbeat knows neither the journal nor ask and tell. Here a running trial carries its owner and
a count of beats; anybody who finds its process gone, or sees the count stand still for long by a clock of
their own, closes it and puts it back into the queue. Clocks of two machines are never compared.
"""

import json
import socket
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from eggan.files import write_json
from eggan.process_owner import owner_lives, owner_of_this_process, this_host
from eggan.tracking.presence import DIED
from studies.sampling import standing_study
from studies.space import find_space
from studies.storage.study_storage import STORAGE_ERRORS, set_trial_attr, set_trial_running
from studies.storage.trials import AGAIN, ATTEMPT, SECONDS, SECONDS_BEFORE, Attempts, queue_again
from studies.study_config import StudyConfig

REASON = "reason"
OWNER, BEAT = "owner", "beat"
TAKER = "taker"  # who is about to run a waiting trial: it may die before it is the owner
OF_PROCESSES = (OWNER, TAKER, BEAT)  # attributes that mean nothing on another machine
# What Optuna raises on a trial that was closed by somebody else.
CLOSED_ERRORS = (ValueError, RuntimeError, KeyError)


class LostTrial(Exception):
    """Somebody else closed this trial, because it seemed dead; its result is not wanted any more."""


class Watch:
    """How long the beats of running trials have stood still, by this machine's monotonic clock.

    What was seen is kept in a study's folder, since a command may end long before a trial counts as dead. It
    means nothing to another machine, or after a restart of this one.
    """

    def __init__(self, study_folder: Path) -> None:
        self._path = study_folder / f".beats-{socket.gethostname()}.json"
        self._seen: dict[str, list[float]] = self._read()

    def _read(self) -> dict[str, list[float]]:
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            return dict(kept["seen"]) if kept["host"] == this_host() else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def silent_seconds(self, trial: FrozenTrial) -> float:
        """Return since how many seconds a trial has been seen with the beat that it has now."""
        beat, now = float(trial.user_attrs.get(BEAT, -1)), time.monotonic()
        before = self._seen.get(str(trial.number))
        if before is None or before[0] != beat or before[1] > now:
            self._seen[str(trial.number)] = [beat, now]
            return 0.0
        return now - before[1]

    def keep(self, running: Iterable[FrozenTrial]) -> None:
        """Store what was seen of the trials that still run."""
        numbers = {str(trial.number) for trial in running}
        self._seen = {number: seen for number, seen in self._seen.items() if number in numbers}
        if self._seen or self._path.exists():
            write_json({"host": this_host(), "seen": self._seen}, self._path)


def begin_trial(study: optuna.Study, config: StudyConfig) -> Trial:
    """Return the waiting trial whose turn it is, a new one where none waits; its parameters are drawn.

    Optuna's own `ask` takes a repeat after all that waited before it, and runs a new trial before it has an
    owner: killed in between, nobody would know that it is dead.
    """
    taker = owner_of_this_process()
    while True:
        trials = study.get_trials(deepcopy=False)
        waiting = [trial for trial in trials if trial.state == TrialState.WAITING]
        if not waiting:
            study.enqueue_trial({}, user_attrs={TAKER: taker})
        attempts = Attempts(trials)
        for trial in sorted(waiting, key=lambda known: (attempts.first(known).number, known.number)):
            if _take(study, trial, taker):
                begun = Trial(standing_study(study, config, trial), trial._trial_id)
                for name, distribution in find_space(config.space, config.also).distributions.items():
                    begun._suggest(name, distribution)
                return begun


def _take(study: optuna.Study, trial: FrozenTrial, taker: dict[str, Any]) -> bool:
    try:
        set_trial_attr(study, trial, TAKER, taker)
        return set_trial_running(study, trial)
    except UpdateFinishedTrialError:  # another worker was quicker
        return False


def seconds_spent(trial: FrozenTrial, config: StudyConfig) -> float:
    """Return what a closed trial has taken, with the attempts that it went on with.

    Of one whose worker died the last beat tells.
    """
    attrs = trial.user_attrs
    if SECONDS in attrs:
        return float(attrs[SECONDS])
    return float(attrs[SECONDS_BEFORE]) + max(0, int(attrs.get(BEAT, 0))) * config.beat_seconds


class Heartbeat:
    """Beats for a trial while the block runs; `check` raises `LostTrial` once the trial was closed."""

    def __init__(self, trial: Trial, seconds: float) -> None:
        self._trial, self._seconds, self._beats = trial, seconds, 0
        self._stop, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._trial.set_user_attr(OWNER, owner_of_this_process())
        self._beat()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def check(self) -> None:
        """Raise `LostTrial` if the trial was closed by somebody else."""
        if self._lost.is_set():
            raise LostTrial(f"trial {self._trial.number} was closed by another worker")

    def _run(self) -> None:
        while not self._stop.wait(self._seconds) and not self._lost.is_set():
            self._beat()

    def _beat(self) -> None:
        try:
            self._trial.set_user_attr(BEAT, self._beats)
            self._beats += 1
        except STORAGE_ERRORS:
            return  # a database that is away for a moment; the next beat tries again
        except CLOSED_ERRORS:
            self._lost.set()


def why_dead(trial: FrozenTrial, config: StudyConfig, watch: Watch) -> str | None:
    """Return why a running trial counts as dead, None where it does not."""
    owner = trial.user_attrs.get(OWNER) or trial.user_attrs.get(TAKER)
    if owner and owner["host"] == this_host() and not owner_lives(owner):
        return DIED
    silent = watch.silent_seconds(trial)
    if silent > config.stale_seconds:
        return f"no word from its worker for {silent:.0f} s"
    return None


def close_stale(study: optuna.Study, config: StudyConfig, watch: Watch) -> list[int]:
    """Close the dead trials of a study, queue each once more, and return their numbers."""
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    dead = [(trial, why_dead(trial, config, watch)) for trial in running]
    watch.keep(trial for trial, reason in dead if not reason)
    return [trial.number for trial, reason in dead if reason and _close(study, config, trial, reason)]


def _close(study: optuna.Study, config: StudyConfig, trial: FrozenTrial, reason: str) -> bool:
    attempt = int(trial.user_attrs.get(ATTEMPT, 0)) + 1
    return close_trial(study, config, trial, reason, attempt if attempt <= config.max_retries else None)


def close_trial(
    study: optuna.Study, settings: StudyConfig, trial: FrozenTrial, reason: str, attempt: int | None
) -> bool:
    """Close a running trial as failed; with `attempt` it is queued again under that number of attempts.

    Returns False where another worker was quicker.
    """
    try:
        set_trial_attr(study, trial, REASON, reason)
        if attempt is not None:
            set_trial_attr(study, trial, AGAIN, attempt)
        study.tell(trial.number, state=TrialState.FAIL)
        if attempt is not None:
            queue_again(study, settings, trial, attempt)
        return True
    except CLOSED_ERRORS:
        return False
