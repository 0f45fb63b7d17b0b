import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from optuna.trial import TrialState

from eggan.tracking import DIED
from studies.sampling import trial_key
from studies.storage import liveness, trials
from studies.storage.liveness import (
    BEAT,
    OWNER,
    REASON,
    Heartbeat,
    LostTrial,
    Watch,
    begin_trial,
    close_stale,
    owner_lives,
    owner_of_this_process,
    this_host,
    why_dead,
)
from studies.storage.study_storage import create_study, open_journal
from studies.storage.trials import AGAIN, ATTEMPT, count_trials, queue_again, queue_forgotten, trial_frame
from tests.studies.fakes import REFERENCES, fake_spec

DISTRIBUTIONS = fake_spec().space.distributions
DEAD = {"host": this_host(), "pid": 2**22 + 1, "started": 0.0}
ELSEWHERE = {"host": "another:machine", "pid": 1, "started": 0.0}


@pytest.fixture
def study(tmp_path):
    return create_study(fake_spec(), tmp_path, "", {})


@pytest.fixture
def watch(tmp_path):
    return Watch(tmp_path)


def start(study, owner, beat=0):
    trial = study.ask(DISTRIBUTIONS)
    trial.set_user_attr(OWNER, owner)
    trial.set_user_attr(BEAT, beat)
    return trial


def open_study_again(study):
    """Return the study as another process reads it."""
    journal = Path(study._storage._backend._file_path)
    return optuna.load_study(study_name=study.study_name, storage=open_journal(journal))


@pytest.fixture
def clock(monkeypatch):
    """The machine's monotonic clock, to be moved by hand."""

    class Clock:
        now = 1000.0

        def monotonic(self):
            return self.now

    moved = Clock()
    monkeypatch.setattr(liveness.time, "monotonic", moved.monotonic)
    return moved


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


def test_a_dead_trial_is_repeated_once_and_then_stays_failed(study, watch):
    config = fake_spec().study
    first = start(study, DEAD)
    assert close_stale(study, config, watch) == [0]
    again = study.ask(DISTRIBUTIONS)
    assert again.params == first.params
    again.set_user_attr(OWNER, DEAD)
    assert close_stale(study, config, watch) == [1]
    frame = trial_frame(study)
    assert list(frame["state"]) == ["failed", "failed"]
    assert list(frame["reason"]) == [DIED, DIED]
    assert frame["retry_of"][1] == 0
    assert count_trials(study) == {"settled": 1, "running": 0, "waiting": 0}


def test_a_living_trial_is_left_alone_until_it_is_silent(study, watch, clock):
    config = fake_spec().study
    start(study, owner_of_this_process())
    beating, silent = start(study, ELSEWHERE), start(study, ELSEWHERE)
    for beat in range(5):
        beating.set_user_attr(BEAT, beat)
        assert close_stale(study, config, watch) == []
        clock.now += config.stale_seconds / 4
    beating.set_user_attr(BEAT, 5)
    assert close_stale(study, config, watch) == [
        0,
        silent.number,
    ]  # a process that lives but hangs is silent too
    assert "no word from its worker for 750 s" in study.trials[2].user_attrs[REASON]


@pytest.mark.parametrize("minutes", [-60 * 24 * 365, -11, 0, 11, 60 * 24 * 365])
def test_clocks_of_two_machines_are_never_compared(study, watch, clock, minutes):
    start(study, ELSEWHERE, beat=time.time() + 60 * minutes)  # what earlier versions wrote as a beat
    assert close_stale(study, fake_spec().study, watch) == []
    clock.now += fake_spec().study.stale_seconds - 1
    assert close_stale(study, fake_spec().study, watch) == []
    clock.now += 2
    assert close_stale(study, fake_spec().study, watch) == [0]


def test_silence_is_counted_over_several_commands_of_one_machine(study, tmp_path, clock, monkeypatch):
    config = fake_spec().study
    start(study, ELSEWHERE)
    assert close_stale(study, config, Watch(tmp_path)) == []
    clock.now += config.stale_seconds + 1
    monkeypatch.setattr(liveness, "this_host", lambda: "after a restart")
    assert why_dead(study.trials[0], config, Watch(tmp_path)) is None
    monkeypatch.undo()
    clock.now = 1000 + config.stale_seconds + 1
    monkeypatch.setattr(liveness.time, "monotonic", clock.monotonic)
    assert close_stale(study, config, Watch(tmp_path)) == [0]


def test_a_trial_that_died_before_it_had_parameters_is_drawn_again_as_it_would_have_been(study, watch):
    config = fake_spec().study
    trial = study.ask()
    trial.set_user_attr(OWNER, DEAD)
    assert close_stale(study, config, watch) == [0]
    assert count_trials(study) == {"settled": 0, "running": 0, "waiting": 1}
    again = begin_trial(study, config)
    other = create_study(fake_spec("other"), watch._path.parent / "other", "", {})
    assert again.params == begin_trial(other, config).params


def die_after(monkeypatch, study, writes):
    """Let the storage take so many more writes, as if the process were killed then."""
    backend, left = study._storage._backend, [writes]
    append = type(backend).append_logs

    def append_logs(self, logs):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        append(self, logs)

    monkeypatch.setattr(type(backend), "append_logs", append_logs)


@pytest.mark.parametrize("startup_trials", [10, 2])
@pytest.mark.parametrize("writes", range(8))  # queued, taken, started, five parameters
def test_a_trial_that_died_while_it_was_drawn_is_drawn_as_it_would_have_been(
    tmp_path, monkeypatch, writes, startup_trials
):
    """Of its parameters all are queued again or none: with a part the random numbers would be shifted."""
    drawn = []
    for name, dies in (("whole", False), ("killed", True)):
        config = fake_spec(startup_trials=startup_trials).study
        study = create_study(fake_spec(name, startup_trials=startup_trials), tmp_path / name, "", {})
        for value in (0.1, 0.3, 0.2):
            study.tell(begin_trial(study, config), value)
        if dies:
            with monkeypatch.context() as patch:
                patch.setattr(liveness, "owner_of_this_process", lambda: DEAD)
                die_after(patch, study, writes)
                with pytest.raises(KeyboardInterrupt):
                    begin_trial(study, config)
            study = open_study_again(study)
            close_stale(study, config, Watch(tmp_path / name))
        again = begin_trial(study, config)
        study.tell(again, 0.0)
        drawn.append([again.params, begin_trial(study, config).params])
    assert drawn[0] == drawn[1]
    assert len(drawn[0][0]) == 5


def test_a_reference_that_died_while_it_was_drawn_is_that_reference(tmp_path, watch, monkeypatch):
    spec = fake_spec("references")
    paper = spec.space.values_of(REFERENCES["paper"])
    preset = spec.space.values_of(REFERENCES["preset"]) | {"lambda_gp": 30.0}
    study = create_study(spec, tmp_path / "r", "", {"paper": paper, "preset": preset})
    with monkeypatch.context() as patch:
        patch.setattr(liveness, "owner_of_this_process", lambda: DEAD)
        die_after(patch, study, 4)  # taken, started, two of five parameters
        with pytest.raises(KeyboardInterrupt):
            begin_trial(study, spec.study)
    study = open_study_again(study)
    assert len(study.trials[0].params) == 2
    assert close_stale(study, spec.study, watch) == [0]
    first, second = begin_trial(study, spec.study), begin_trial(study, spec.study)
    assert first.params == paper
    assert first.user_attrs["reference"] == "paper"
    assert second.params == preset  # the repeat did not wait for it


def test_no_two_trials_share_their_random_numbers_and_a_repeat_has_those_of_its_first(study, watch):
    config = fake_spec().study
    drawn = []
    for _ in range(8):
        trial = begin_trial(open_study_again(study), config)  # as each worker on each machine has its own
        trial.set_user_attr(OWNER, DEAD)
        drawn.append(trial.params)
    study = open_study_again(study)
    assert len({tuple(params.values()) for params in drawn}) == 8
    assert close_stale(study, config, watch) == list(range(8))
    known = study.get_trials(deepcopy=False)
    assert [trial_key(known, trial) for trial in known] == [*range(8), *range(8)]
    assert trial_key(known, study.trials[8]) == 0


def test_a_study_that_stops_and_goes_on_draws_what_it_would_have_drawn(tmp_path):
    config = fake_spec().study

    def draw(name, restarts):
        study = create_study(fake_spec(name), tmp_path / name, "", {})
        drawn = []
        for _ in range(6):
            study = open_study_again(study) if restarts else study
            drawn.append(begin_trial(study, config).params)
        return drawn

    assert draw("one", restarts=False) == draw("two", restarts=True)


@pytest.mark.parametrize("reaper", ["dead", "alive"])
def test_a_reaper_that_died_halfway_is_made_good_and_a_living_one_left_alone(study, monkeypatch, reaper):
    trial = study.ask(DISTRIBUTIONS)
    trial.set_user_attr(AGAIN, 1)
    study.tell(trial, state=TrialState.FAIL)

    def meanwhile(seconds):
        if reaper == "alive":
            queue_again(study, fake_spec().study, study.trials[0], 1)

    monkeypatch.setattr(trials, "time", SimpleNamespace(sleep=meanwhile))
    queue_forgotten(study, fake_spec().study)
    queue_forgotten(study, fake_spec().study)
    assert [t.state for t in study.trials] == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[1].user_attrs[ATTEMPT] == 1


def test_a_heart_beats_and_notices_that_its_trial_was_closed(study):
    trial = study.ask(DISTRIBUTIONS)
    with Heartbeat(trial, seconds=0.05) as heartbeat:
        first = study.trials[0].user_attrs[BEAT]
        deadline = time.monotonic() + 30
        while study.trials[0].user_attrs[BEAT] == first and time.monotonic() < deadline:
            time.sleep(0.05)
        assert study.trials[0].user_attrs[BEAT] > first
        heartbeat.check()
        study.tell(trial.number, state=TrialState.FAIL)
        while not heartbeat._lost.is_set() and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(LostTrial):
            heartbeat.check()
