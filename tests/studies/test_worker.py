import dataclasses
import itertools
import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache as artifact_repositories
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState

from benchmarks.scoring.scores import NothingRead
from eggan import tracking
from eggan.errors import UserError
from studies.reruns.rerun import Rerun, read_result, run_reruns
from studies.storage.study_storage import open_study
from studies.storage.trial_tracking import RUN_ID, open_study_run, settle_all, ship_study, trial_folder
from studies.storage.trials import AGAIN, RETRY_OF, queue_again, trial_frame
from studies.study_config import read_spec
from studies.study_context import check_settings, study_dataset, validate
from studies.study_export import read_study
from studies.worker import Worker
from tests.benchmarks.fakes import make_bench, make_dataset
from tests.studies.fakes import fake_study
from tests.studies.study_context import (
    SMALL,
    TRAINING,
    PainterConfig,
    make_context,
    make_study,
    painter_entry,
)


def run_study(root, store=None, **settings):
    context = make_context(root, **settings)
    study = make_study(context)
    Worker(context, study, store).run()
    return context, study


def invent(monkeypatch, scores):
    """Let validations, in between and at the end, return what `scores` says."""
    for module in ("worker", "study_context"):
        monkeypatch.setattr(f"studies.{module}.validate", lambda *scoring: (scores(*scoring), None))


def record(context, number):
    return json.loads((trial_folder(context.folder, number) / "trial.json").read_text())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run_study(tmp_path_factory.mktemp("constrained"), trials=8)


def test_the_papers_settings_come_first_then_the_presets(finished):
    frame = trial_frame(finished[1])
    assert len(frame) == 8
    assert list(frame["params_strength"][:2]) == [0.5, 1.0]
    assert list(frame["reference"][:3]) == ["paper", "preset", ""]
    assert list(frame["state"][:2]) == ["complete", "complete"]  # references are never pruned
    assert frame["val/au/skill"][1] == pytest.approx(1, abs=1e-3)
    assert frame["val/au/skill"][0] == pytest.approx(0.75, abs=1e-3)  # half the way: a quarter of the error


def test_bad_trials_are_pruned_and_say_so(finished):
    context, study = finished
    frame = trial_frame(study)
    pruned = frame[frame["state"] == "pruned"]
    assert len(pruned)
    assert pruned["reason"].str.match(r"pruned after \d+ images").all()
    number = int(pruned["number"].iloc[0])
    assert record(context, number)["state"] == "pruned"
    assert tracking.read_record(trial_folder(context.folder, number)).state == "pruned"
    assert study.trials[number].constraints  # or it would count as keeping the floor


def test_what_is_kept_of_a_trial(finished):
    context, study = finished
    values = record(context, 1)
    assert values["state"] == "complete"
    assert values["params"] == {"strength": 1.0}
    assert [images for images, _ in values["intermediate"]] == [8, 16, 24, 32]
    assert values["scores"]["val/identity/accuracy"] == 100.0
    assert [probe[0] for probe in study.trials[1].user_attrs["probes"]] == [8, 16, 24, 32]
    assert not list(context.folder.glob("trials/*/s*"))  # weights and training states are gone


def test_one_worker_proposes_the_same_points_again(finished, tmp_path):
    _, again = run_study(tmp_path, trials=8)
    assert [t.params for t in again.trials] == [t.params for t in finished[1].trials]


def test_a_finished_study_takes_no_further_trial_until_it_is_asked_for_more(finished):
    context, study = finished
    assert Worker(context, study).run() == 0
    assert len(study.trials) == 8


def test_a_failing_trial_is_recorded_and_the_study_goes_on(tmp_path):
    context = make_context(tmp_path, trials=3)
    context = dataclasses.replace(context, base=dataclasses.replace(context.base, fail_from=0.9))
    study = make_study(context)
    Worker(context, study).run()
    frame = trial_frame(study)
    assert list(frame["state"][:2]) == ["complete", "failed"]
    assert "loss not finite" in frame["reason"][1]
    assert record(context, 1)["reason"] == frame["reason"][1]
    assert len(frame) == 3


def test_a_bug_in_the_method_fails_its_trial_alone_and_keeps_the_traceback(tmp_path):
    context = make_context(tmp_path, trials=2)
    context = dataclasses.replace(context, base=dataclasses.replace(context.base, fail="crash"))
    study = make_study(context)
    Worker(context, study).run()
    assert list(trial_frame(study)["reason"]) == ["RuntimeError: a bug in the method"] * 2
    assert "a bug in the method" in (trial_folder(context.folder, 0) / "traceback.txt").read_text()


def test_scores_that_are_not_numbers_fail_the_trial(tmp_path, monkeypatch):
    broken = {"val/au/mse": float("nan"), "val/au/skill": 0.1, "val/identity/accuracy": 50.0}
    invent(monkeypatch, lambda method, entry, scoring: broken)
    _, study = run_study(tmp_path, trials=1, objective="pareto")
    assert "val/au/mse not finite" in study.trials[0].user_attrs["reason"]
    assert study.trials[0].state == TrialState.FAIL


def test_edits_in_which_no_face_is_found_yet_cost_no_trial(tmp_path, monkeypatch):
    calls = itertools.count()

    def blind_at_first(*scoring):
        if next(calls) < 2:
            raise NothingRead("no face in any edit")
        return validate(*scoring)

    monkeypatch.setattr("studies.worker.validate", blind_at_first)
    _, study = run_study(tmp_path, trials=1)
    assert study.trials[0].state == TrialState.COMPLETE
    assert [images for images, _ in study.trials[0].user_attrs["probes"]] == [24, 32]


def test_several_objectives_are_not_pruned(tmp_path):
    _, study = run_study(tmp_path, trials=5, objective="pareto")
    assert {t.state for t in study.trials} <= {TrialState.COMPLETE, TrialState.FAIL}
    mse, accuracy = study.trials[1].values
    assert mse == pytest.approx(0, abs=1e-2)
    assert accuracy == 100.0
    assert study.trials[0].user_attrs["probes"]


def test_scores_are_means_over_seeds(tmp_path, monkeypatch):
    values = iter([0.2, 0.2, 0.2, 0.2, 0.4, 0.8])  # four probes and the end of the first seed, the second

    def scores(method, entry, scoring):
        return {"val/au/mse": 1.0, "val/au/skill": next(values), "val/identity/accuracy": 50.0}

    invent(monkeypatch, scores)
    _, study = run_study(tmp_path, trials=1, seeds=(0, 1))
    assert study.trials[0].value == pytest.approx(0.6)


def test_the_floor_is_a_constraint(tmp_path, monkeypatch):
    def scores(method, entry, scoring):
        return {"val/au/mse": 1.0, "val/au/skill": 0.5, "val/identity/accuracy": 20.0}

    invent(monkeypatch, scores)
    context, study = run_study(tmp_path, trials=1)
    assert study.trials[0].constraints == {"identity_floor": pytest.approx(30.0)}
    assert not trial_frame(study)["feasible"][0]
    assert context.study.interim_value(scores(0, 0, 0)) == pytest.approx(0.5 - 0.3)


def test_an_interrupted_trial_goes_back_into_the_queue(tmp_path, monkeypatch):
    context = make_context(tmp_path, trials=2)
    study = make_study(context)

    def stopped(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("studies.worker.TrialRun.scores", stopped)
        with pytest.raises(KeyboardInterrupt):
            Worker(context, study).run()
    study = open_study(context.folder)
    Worker(context, study).run()
    frame = trial_frame(study)
    assert list(frame["state"]) == ["failed", "complete", "complete"]
    assert frame["reason"][0] == "interrupted by the user"
    repeated = frame[frame["retry_of"] == 0].iloc[0]
    assert (repeated["reference"], repeated["params_strength"]) == ("paper", 0.5)


@pytest.mark.slow
def test_a_study_whose_folder_was_moved_in_the_middle_goes_on_as_if_it_had_stayed(tmp_path, monkeypatch):
    def opened(root):
        context = make_context(root, trials=2)
        return context, tracking.open_store(None, context.bench.runs, tracking.STUDIES)

    def stopped(self):
        raise KeyboardInterrupt

    _, stayed = run_study(tmp_path / "stayed", trials=2)
    context, store = opened(tmp_path / "old")
    study = make_study(context)
    run = open_study_run(context, study, store)
    with monkeypatch.context() as patch:
        patch.setattr("studies.worker.TrialRun.scores", stopped)
        with pytest.raises(KeyboardInterrupt):
            Worker(context, study, store).run()
    run.finish("interrupted")
    (tmp_path / "old").rename(tmp_path / "new")
    artifact_repositories.clear()  # MLflow keeps them by run id for the life of a process

    context, store = opened(tmp_path / "new")
    study = open_study(context.folder)
    run = open_study_run(context, study, store)
    Worker(context, study, store).run()
    settle_all(study, context.folder, store, False)
    run.finish("finished")
    assert run_reruns(context, study, [Rerun(0, 101, context.study.images)], store) == []
    complete = [trial for trial in study.get_trials() if trial.state == TrialState.COMPLETE]
    found, wanted = ({t.params["strength"]: t.values for t in trials} for trials in (complete, stayed.trials))
    assert found == wanted
    runs = store.client.search_runs([store.experiment_id])
    assert sorted(run.data.tags["state"] for run in runs) == ["failed", *["finished"] * 4]
    home = (tmp_path / "new").as_uri()
    assert all(run.info.artifact_uri.startswith(home) for run in runs)
    assert all(store.client.list_artifacts(run.info.run_id) for run in runs)
    assert ship_study(context.folder, store).left == {}
    data = read_study(context.folder)
    assert (len(data.trials), list(data.reruns["state"])) == (2, ["finished"])
    assert not (tmp_path / "old").exists()


@pytest.mark.parametrize("when", ["before the scores", "before a probe"])
def test_a_trial_that_another_worker_closed_is_dropped(tmp_path, monkeypatch, capsys, when):
    context = make_context(tmp_path, trials=1, beat_seconds=30.0)
    study = make_study(context)

    def closed(self):
        open_study(context.folder).tell(0, state=TrialState.FAIL)
        if when == "before a probe":
            self._add_probe(8, {"val/au/mse": 1.0, "val/au/skill": 0.5, "val/identity/accuracy": 60.0})
        return {"val/au/mse": 1.0, "val/au/skill": 0.5, "val/identity/accuracy": 60.0}

    monkeypatch.setattr("studies.worker.TrialRun.scores", closed)
    Worker(context, study).run()
    assert study.trials[0].state == TrialState.FAIL
    assert "closed by another worker" in capsys.readouterr().err
    assert not (trial_folder(context.folder, 0) / "traceback.txt").exists()
    assert record(context, 0)["state"] == "failed"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "the disk is full"),
        (StorageInternalError("server closed the connection"), "the study's storage did not answer"),
    ],
)
def test_what_a_trial_is_not_to_blame_for_stops_the_worker_and_costs_no_trial(
    tmp_path, monkeypatch, error, reason
):
    context = make_context(tmp_path, trials=1)
    study = make_study(context)

    def fail(self):
        raise error

    monkeypatch.setattr("studies.worker.TrialRun.scores", fail)
    with pytest.raises(type(error)):
        Worker(context, study).run()
    assert [t.state for t in study.trials][:2] == [TrialState.FAIL, TrialState.WAITING]
    assert study.trials[0].user_attrs["reason"] == reason


def test_a_clock_that_is_set_back_shortens_nothing(tmp_path, monkeypatch):
    clock = itertools.count(time.time(), -3600.0)
    monkeypatch.setattr(time, "time", lambda: next(clock))
    context, study = run_study(tmp_path, trials=1)
    run_reruns(context, study, [Rerun(0, 1, 8)], None)
    again = read_result(Rerun(0, 1, 8).folder(context.folder))
    attrs = study.trials[0].user_attrs
    for seconds in (attrs["seconds"], attrs["train_seconds"], again["seconds"]):
        assert 0 < seconds < 600


def test_a_budget_in_which_the_weights_do_nothing_is_refused(tmp_path):
    study = dataclasses.replace(make_context(tmp_path).study, min_resource=32)
    with pytest.raises(UserError, match="only 32 images"):
        check_settings(study, PainterConfig(), TRAINING)
    assert SMALL["min_resource"] < 32


def test_two_studies_that_want_a_missing_dataset_render_it_once(tmp_path):
    rendered = []

    def build(split, size, seed, workers, out):
        if not out.exists():  # the renderer, too, keeps one that is there
            rendered.append((split, size, seed))
            time.sleep(0.2)
            make_dataset(out, {"train": 2, "val": 1, "test": 1})
        return out

    bench = dataclasses.replace(make_bench(tmp_path), dataset=None, build=build)
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: study_dataset(bench, painter_entry(), PainterConfig()), range(2))
    assert rendered == [("twin", 64, 0)]
    assert one.folder == other.folder == bench.data / "synfacs-twin-64px-s0"


def test_a_study_that_begins_anew_beside_what_another_left_mixes_nothing_with_it(tmp_path):
    context, _ = run_study(tmp_path, trials=1)
    folder = trial_folder(context.folder, 0)
    before = (folder / "metrics.jsonl").read_bytes()
    (folder / "traceback.txt").write_text("of the one before")
    (context.folder / "journal.log").unlink()  # as a message advises where it cannot be read
    run_study(tmp_path, trials=1)
    (aside,) = folder.glob("before/*/metrics.jsonl")
    assert aside.read_bytes() == before
    steps, again = ([json.loads(line)["step"] for line in path.read_text().splitlines()]
                    for path in (aside, folder / "metrics.jsonl"))  # fmt: skip
    assert steps == again
    assert not (folder / "traceback.txt").exists()


def test_every_trial_is_a_run_under_the_studys_run(tmp_path):
    store = tracking.open_store(None, tmp_path / "store", tracking.STUDIES)
    context = make_context(tmp_path, trials=4)
    study = make_study(context)
    parent = open_study_run(context, study, store)
    Worker(context, study, store).run()
    parent.finish("finished")
    ids = [trial.user_attrs[RUN_ID]["run_id"] for trial in study.trials]
    runs = [store.client.get_run(run_id) for run_id in ids]
    assert {run.data.tags["mlflow.parentRunId"] for run in runs} == {study.user_attrs[RUN_ID]["run_id"]}
    states = {"complete": "finished", "pruned": "pruned", "failed": "failed"}
    assert [r.data.tags["state"] for r in runs] == [states[s] for s in trial_frame(study)["state"]]
    assert [run.data.tags["reason"] for run in runs] == list(trial_frame(study)["reason"])
    assert runs[1].data.tags["trial"] == "1"
    assert runs[1].data.params["params.strength"] == "1.0"
    assert runs[1].data.metrics["val/au/skill"] == pytest.approx(1, abs=1e-3)
    history = store.client.get_metric_history(ids[1], "interim/val/au/skill")
    assert [point.step for point in history] == [2, 4, 6, 8]


def test_a_store_that_was_down_gets_everything_later(tmp_path):
    context = make_context(tmp_path, trials=2)
    study = make_study(context)
    parent = open_study_run(context, study, None)
    Worker(context, study).run()
    parent.finish("finished")
    store = tracking.open_store(None, tmp_path / "store", tracking.STUDIES)
    first, again = (ship_study(context.folder, store).runs for _ in range(2))
    assert first == again
    assert len(first) == 3
    run_id = tracking.run_id_in(trial_folder(context.folder, 1), store.uri)
    assert store.client.get_run(run_id).data.tags["state"] == "finished"


def test_what_a_killed_worker_left_is_removed_but_for_what_somebody_needs(tmp_path):
    folder = tmp_path / "s"
    study = fake_study(folder, trials=4)
    waiting = study.ask()
    waiting.set_user_attr(AGAIN, 1)
    study.tell(waiting, state=TrialState.FAIL)
    queue_again(study, read_spec(folder).study, study.trials[waiting.number], 1)
    seeds = {number: folder / "trials" / f"{number:04d}" / "s0" for number in (0, 2, waiting.number)}
    for seed in seeds.values():
        seed.mkdir(parents=True)
        for name in ("training_state.pt", "weights.safetensors", "config.json"):
            (seed / name).write_text("x")
        (seed / ".eggan-0123456789abcdef.tmp").mkdir()  # it was killed while it wrote
        (seed / ".eggan-0123456789abcdef.tmp" / "training_state.pt").write_text("half")
    settle_all(study, folder, None, keep_weights=True)
    kept = {n: sorted(path.name for path in seed.iterdir()) for n, seed in seeds.items()}
    weights = ["config.json", "weights.safetensors"]
    # Trial 2 failed by itself: nobody repeats it. The repeat of the last one needs the state alone.
    assert kept == {0: weights, 2: weights, waiting.number: ["training_state.pt"]}
    settle_all(study, folder, None)
    assert [seed.exists() for seed in seeds.values()] == [False, False, True]
    repeat = study.ask(read_spec(folder).space.distributions)
    assert repeat.user_attrs[RETRY_OF] == waiting.number
    settle_all(study, folder, None)
    assert seeds[waiting.number].exists()  # its repeat may not have taken it over yet
    study.tell(repeat, state=TrialState.FAIL)
    settle_all(study, folder, None)
    assert not seeds[waiting.number].exists()
