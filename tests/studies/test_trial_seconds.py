"""A trial's seconds are those of all attempts whose training it goes on with."""

import dataclasses
import time

import optuna
import pytest
from optuna.trial import TrialState

from studies.storage.liveness import BEAT, seconds_spent
from studies.storage.study_storage import open_study
from studies.storage.trials import SECONDS, SECONDS_BEFORE, trial_frame
from studies.worker import Worker
from tests.studies.study_context import StudiedPainter, make_context, make_study

PAUSE = 0.3  # seconds that each of two attempts takes at least


def often_saving(root):
    context = make_context(root, trials=1)
    return dataclasses.replace(
        context, training=dataclasses.replace(context.training, checkpoint_every_seconds=0.0)
    )


def stopped_at(step: int, monkeypatch):
    """Let the training pause, and stop once, before a step."""
    stops = []

    def update(self, batch, number, update=StudiedPainter.update):
        if number == step:
            time.sleep(PAUSE)
            if not stops:
                stops.append(number)
                raise KeyboardInterrupt
        return update(self, batch, number)

    monkeypatch.setattr(StudiedPainter, "update", update)


def test_a_trial_that_goes_on_counts_what_was_done_before(tmp_path, monkeypatch):
    context = often_saving(tmp_path)
    stopped_at(3, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        Worker(context, make_study(context)).run()
    study = open_study(context.folder)
    Worker(context, study).run()
    first, _, second = (trial.user_attrs for trial in study.trials)  # the other reference waits
    assert first[SECONDS] > PAUSE
    assert second[SECONDS_BEFORE] == first[SECONDS]
    assert second[SECONDS] > first[SECONDS] + PAUSE
    assert trial_frame(study)["seconds"][2] == second[SECONDS]


def test_a_trial_that_begins_anew_counts_nothing_of_what_is_lost(tmp_path, monkeypatch):
    context = make_context(tmp_path, trials=1)
    stopped_at(0, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        Worker(context, make_study(context)).run()
    for state in context.folder.rglob("training_state.pt"):
        state.unlink()
    study = open_study(context.folder)
    Worker(context, study).run()
    assert study.trials[2].user_attrs[SECONDS_BEFORE] == 0.0


def test_the_last_beat_tells_what_an_attempt_took_whose_worker_died(tmp_path):
    settings = dataclasses.replace(make_context(tmp_path).study, beat_seconds=20.0)

    def spent(**attrs):
        trial = optuna.trial.create_trial(state=TrialState.FAIL, user_attrs=attrs)
        return seconds_spent(trial, settings)

    assert spent(**{SECONDS_BEFORE: 50.0, BEAT: 3}) == 110.0
    assert spent(**{SECONDS_BEFORE: 50.0}) == 50.0
    assert spent(**{SECONDS_BEFORE: 50.0, BEAT: 3, SECONDS: 117.0}) == 117.0
