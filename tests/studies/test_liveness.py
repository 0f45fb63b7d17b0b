import subprocess
import sys
import time

import pytest
from optuna.trial import TrialState

from studies.liveness import (
    AGAIN,
    ATTEMPT,
    BEAT,
    GONE,
    OWNER,
    REASON,
    Heart,
    LostTrial,
    count_trials,
    owner_lives,
    owner_of_this_process,
    queue_forgotten,
    reap,
    this_host,
)
from studies.storage import create_study
from studies.trials import trial_frame
from tests.studies.fakes import fake_spec

DISTRIBUTIONS = fake_spec().space.distributions
DEAD = {"host": this_host(), "pid": 2**22 + 1, "started": 0.0}
ELSEWHERE = {"host": "another:machine", "pid": 1, "started": 0.0}


@pytest.fixture
def study(tmp_path):
    return create_study(fake_spec(), tmp_path, "", {})


def start(study, owner, beat=None):
    trial = study.ask(DISTRIBUTIONS)
    trial.set_user_attr(OWNER, owner)
    trial.set_user_attr(BEAT, time.time() if beat is None else beat)
    return trial


def test_a_process_is_known_by_number_and_start():
    own = owner_of_this_process()
    assert owner_lives(own)
    assert not owner_lives({**own, "started": own["started"] - 100})
    assert not owner_lives(DEAD)


def test_a_zombie_does_not_live():
    import psutil

    child = subprocess.Popen([sys.executable, "-c", ""])
    owner = {"host": this_host(), "pid": child.pid, "started": psutil.Process(child.pid).create_time()}
    deadline = time.monotonic() + 60
    while owner_lives(owner) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not owner_lives(owner)
    child.wait()


def test_a_dead_trial_is_repeated_once_and_then_stays_failed(study):
    config = fake_spec().study
    first = start(study, DEAD)
    assert reap(study, config) == [0]
    again = study.ask(DISTRIBUTIONS)
    assert again.params == first.params
    again.set_user_attr(OWNER, DEAD)
    assert reap(study, config) == [1]
    frame = trial_frame(study)
    assert list(frame["state"]) == ["failed", "failed"]
    assert list(frame["reason"]) == [GONE, GONE]
    assert frame["retry_of"][1] == 0
    assert count_trials(study) == {"settled": 1, "running": 0, "waiting": 0}


def test_a_living_trial_is_left_alone_until_it_is_silent(study):
    config = fake_spec().study
    start(study, owner_of_this_process())
    start(study, ELSEWHERE)
    assert reap(study, config) == []
    start(study, ELSEWHERE, beat=time.time() - config.stale_seconds - 1)
    assert reap(study, config) == [2]
    assert "no word from its worker" in study.trials[2].user_attrs[REASON]


def test_a_trial_that_died_before_it_had_parameters_is_replaced_not_repeated(study):
    trial = study.ask()
    trial.set_user_attr(OWNER, DEAD)
    assert reap(study, fake_spec().study) == [0]
    assert count_trials(study) == {"settled": 0, "running": 0, "waiting": 0}


def test_a_reaper_that_died_halfway_is_made_good(study):
    trial = study.ask(DISTRIBUTIONS)
    trial.set_user_attr(AGAIN, 1)
    study.tell(trial, state=TrialState.FAIL)
    queue_forgotten(study)
    queue_forgotten(study)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[1].user_attrs[ATTEMPT] == 1


def test_a_heart_beats_and_notices_that_its_trial_was_closed(study):
    trial = study.ask(DISTRIBUTIONS)
    with Heart(trial, seconds=0.05) as heart:
        first = study.trials[0].user_attrs[BEAT]
        deadline = time.monotonic() + 30
        while study.trials[0].user_attrs[BEAT] == first and time.monotonic() < deadline:
            time.sleep(0.05)
        assert study.trials[0].user_attrs[BEAT] > first
        heart.check()
        study.tell(trial.number, state=TrialState.FAIL)
        while not heart._lost.is_set() and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(LostTrial):
            heart.check()
