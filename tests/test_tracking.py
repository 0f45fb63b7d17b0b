import dataclasses
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from eggan import tracking
from eggan.errors import UserError
from eggan.tracking import RunRecord, TrackedRun, open_store, ship_folder
from tests.forked import ended, started

RECORD = RunRecord(
    name="painter/faces/s0",
    tags={"method": "painter", "cell": "k"},
    params={"config.rate": "0.1"},
    datasets=[{"name": "faces", "digest": "d" * 64, "context": "train", "seed": "0"}],
    artifacts=["scores/*"],
)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return open_store(None, tmp_path_factory.mktemp("store"))


def fetch(store, folder):
    return store.client.get_run(tracking.run_id_in(folder, store.uri))


def test_everything_is_local_first_and_ships_later(store, tmp_path):
    run = TrackedRun(tmp_path, RECORD, None)
    run.log(10, {"train/loss": 1.0})
    run.log(20, {"train/loss": 0.5})
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "summary.json").write_text("{}")
    run.finish("finished")
    run_id = ship_folder(tmp_path, store)
    shipped = store.client.get_run(run_id)
    assert shipped.data.metrics == {"train/loss": 0.5}
    assert shipped.data.params == RECORD.params
    assert shipped.info.status == "FINISHED"
    assert shipped.inputs.dataset_inputs[0].dataset.digest == "d" * 36
    assert [entry.path for entry in store.client.list_artifacts(run_id, "scores")] == ["scores/summary.json"]


def test_what_a_killed_upload_left_is_removed_by_the_next(store, tmp_path):
    run = TrackedRun(tmp_path, RECORD, store)
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "summary.json").write_text("{}")
    run.finish("finished")
    place = Path(urlsplit(fetch(store, tmp_path).info.artifact_uri).path)
    left = [place / ".artifact.uploading.abc", place / "scores" / ".artifact.uploading.def"]
    for path in left:
        path.write_text("half")
    ship_folder(tmp_path, store)
    assert not [path for path in left if path.exists()]
    assert (place / "scores" / "summary.json").read_text() == "{}"


def test_shipping_twice_sends_nothing_twice(store, tmp_path):
    run = TrackedRun(tmp_path, RECORD, store)
    run.log(1, {"train/loss": 1.0})
    run.ship()
    run.ship()
    run.finish("finished")
    run_id = ship_folder(tmp_path, store)
    assert len(store.client.get_metric_history(run_id, "train/loss")) == 1


def test_a_resumed_run_keeps_its_id_and_does_not_log_old_steps_again(store, tmp_path):
    first = TrackedRun(tmp_path, RECORD, store)
    first.log(1, {"train/loss": 1.0})
    first.log(2, {"train/loss": 0.9})
    first.finish("interrupted", "killed")
    assert fetch(store, tmp_path).info.status == "KILLED"
    run_id = tracking.run_id_in(tmp_path, store.uri)
    second = TrackedRun(tmp_path, RECORD, store)
    assert fetch(store, tmp_path).data.tags["state"] == "running"
    assert fetch(store, tmp_path).info.status == "RUNNING"
    second.log(2, {"train/loss": 0.9})
    second.log(3, {"train/loss": 0.8})
    second.finish("finished")
    assert tracking.run_id_in(tmp_path, store.uri) == run_id
    history = store.client.get_metric_history(run_id, "train/loss")
    assert [point.step for point in history] == [1, 2, 3]
    assert fetch(store, tmp_path).data.tags["state"] == "finished"


def test_a_run_names_every_commit_that_went_on_with_it(store, tmp_path):
    def sitting(commit, dirty="false"):
        record = dataclasses.replace(RECORD, tags=RECORD.tags | {"commit": commit, "dirty": dirty})
        TrackedRun(tmp_path, record, store).finish("interrupted", "killed")
        return fetch(store, tmp_path).data.tags

    assert "later_commits" not in sitting("a1") | sitting("a1")
    assert sitting("b2", dirty="true")["later_commits"] == "b2"
    assert sitting("b2")["later_commits"] == "b2"
    tags = sitting("a1")
    assert (tags["commit"], tags["later_commits"], tags["dirty"]) == ("a1", "b2 a1", "true")


def test_a_run_that_went_on_from_a_changed_tree_of_its_commit_says_so(store, tmp_path):
    for dirty in ("false", "true", "false"):
        record = dataclasses.replace(RECORD, tags=RECORD.tags | {"commit": "a1", "dirty": dirty})
        TrackedRun(tmp_path, record, store).finish("interrupted", "killed")
    tags = fetch(store, tmp_path).data.tags
    assert tags["dirty"] == "true"
    assert "later_commits" not in tags


def test_a_failed_run_says_so_with_its_reason(store, tmp_path):
    TrackedRun(tmp_path, RECORD, store).finish("failed", "loss is not finite")
    run = fetch(store, tmp_path)
    assert run.info.status == "FAILED"
    assert run.data.tags["state"] == "failed"
    assert run.data.tags["reason"] == "loss is not finite"


def test_a_line_cut_off_by_a_kill_is_dropped(tmp_path):
    TrackedRun(tmp_path, RECORD, None).log(1, {"train/loss": 1.0})
    with (tmp_path / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 2, "val')
    TrackedRun(tmp_path, RECORD, None).log(2, {"train/loss": 0.5})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]


def test_a_reader_leaves_the_line_that_is_being_written(store, tmp_path):
    run = TrackedRun(tmp_path, RECORD, None)
    run.log(1, {"train/loss": 1.0})
    log = tmp_path / "metrics.jsonl"
    with log.open("a") as writer:
        writer.write('{"step": 2, "time_ms": 5, "val')
        writer.flush()
        run_id = ship_folder(tmp_path, store)
        writer.write('ues": {"train/loss": 0.5}}\n')
    ship_folder(tmp_path, store)
    history = store.client.get_metric_history(run_id, "train/loss")
    assert sorted((point.step, point.value) for point in history) == [(1, 1.0), (2, 0.5)]
    assert len(log.read_text().splitlines()) == 2


def test_a_training_that_begins_anew_is_a_run_of_its_own(store, tmp_path):
    first = TrackedRun(tmp_path, RECORD, store)
    first.log(5, {"train/loss": 1.0})
    old = tracking.run_id_in(tmp_path, store.uri)
    tracking.put_aside(tmp_path)
    second = TrackedRun(tmp_path, RECORD, store)
    second.log(1, {"train/loss": 9.0})
    second.finish("finished")
    new = tracking.run_id_in(tmp_path, store.uri)
    assert new != old
    assert [point.step for point in store.client.get_metric_history(new, "train/loss")] == [1]
    (aside,) = (tmp_path / "before").iterdir()
    assert ship_folder(aside, store) == old
    assert store.client.get_run(old).data.tags["state"] == "interrupted"
    assert "took its place" in store.client.get_run(old).data.tags["reason"]


def test_a_run_that_a_kill_left_half_moved_ends_before_the_next_begins(tmp_path, monkeypatch):
    first = TrackedRun(tmp_path, RECORD, None)
    first.log(5, {"train/loss": 1.0})
    started = tracking.read_record(tmp_path).started_ms

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            tracking.put_aside(tmp_path)
    assert tracking.read_record(tmp_path) is not None
    tracking.put_aside(tmp_path)
    assert tracking.read_record(tmp_path) is None
    aside = tmp_path / "before" / str(started)
    assert tracking.read_record(aside).state == "interrupted"
    assert len((aside / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_run_without_a_trained_step_is_not_put_aside(tmp_path):
    TrackedRun(tmp_path, RECORD, None).log(0, {"test/au/mse": 1.0})
    tracking.put_aside(tmp_path)
    assert not (tmp_path / "before").exists()
    assert tracking.read_record(tmp_path) is not None


def test_a_run_says_how_it_ended_where_its_files_cannot_be_stored(store, tmp_path, monkeypatch):
    """A server whose artifact root is a path of its own disk: the client may not write there."""

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "/srv/mlartifacts")

    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "summary.json").write_text("{}")
    run = TrackedRun(tmp_path, RECORD, store)
    monkeypatch.setattr(type(store.client), "log_artifact", refuse)
    with pytest.warns(UserWarning, match="without its files .*Permission denied.*bench sync"):
        run.finish("finished")
    shipped = fetch(store, tmp_path)
    assert (shipped.info.status, shipped.data.tags["state"]) == ("FINISHED", "finished")
    assert "Permission denied" in shipped.data.tags["artifacts_missing"]
    monkeypatch.undo()
    run_id = ship_folder(tmp_path, store)
    assert [entry.path for entry in store.client.list_artifacts(run_id, "scores")] == ["scores/summary.json"]
    assert "artifacts_missing" not in store.client.get_run(run_id).data.tags
    assert tracking.missing_artifacts(tmp_path, store.uri) is None


def test_infinity_and_long_params_do_not_break_a_store(store, tmp_path):
    record = dataclasses.replace(
        RECORD, params={"long": "x" * 10_000, **{f"p{i}": str(i) for i in range(150)}}
    )
    run = TrackedRun(tmp_path, record, store)
    run.log(1, {"psnr": float("inf")})
    run.finish("finished")
    shipped = fetch(store, tmp_path)
    assert shipped.data.metrics["psnr"] != shipped.data.metrics["psnr"]
    assert len(shipped.data.params) == 151


def test_children_find_their_parent(store, tmp_path):
    TrackedRun(tmp_path / "suite", dataclasses.replace(RECORD, name="suite"), None)
    TrackedRun(tmp_path / "cell", dataclasses.replace(RECORD, parent="../suite"), store)
    parent = tracking.run_id_in(tmp_path / "suite", store.uri)
    assert fetch(store, tmp_path / "cell").data.tags["mlflow.parentRunId"] == parent


def test_a_run_deleted_from_the_store_is_shipped_anew(store, tmp_path):
    run = TrackedRun(tmp_path, RECORD, store)
    run.log(1, {"train/loss": 1.0})
    run.finish("finished")
    old = tracking.run_id_in(tmp_path, store.uri)
    store.client.delete_run(old)
    new = ship_folder(tmp_path, store)
    assert new != old
    assert store.client.get_run(new).data.metrics == {"train/loss": 1.0}


def test_a_server_that_dies_costs_seconds_and_loses_nothing(store, tmp_path):
    """Port 9 answers nobody: what a store looks like after its server has gone."""
    import mlflow

    gone = dataclasses.replace(
        store, uri="http://127.0.0.1:9", client=mlflow.MlflowClient("http://127.0.0.1:9")
    )
    started = time.monotonic()
    with pytest.warns(UserWarning, match="bench sync"):
        run = TrackedRun(tmp_path, RECORD, gone)
    for step in range(100):
        run.log(step, {"train/loss": 1.0 / (step + 1)})
    with pytest.warns(UserWarning, match="bench sync"):
        run.finish("finished")
    assert time.monotonic() - started < 15
    run_id = ship_folder(tmp_path, store)
    assert len(store.client.get_metric_history(run_id, "train/loss")) == 100


@pytest.mark.parametrize(
    "uri", ["http://127.0.0.1:9", "mlruns", "file:./mlruns", "postgresql://nobody@127.0.0.1:9/x"]
)
def test_a_store_that_cannot_be_used_is_one_line(uri, tmp_path):
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        open_store(uri, tmp_path)
    assert len(str(caught.value).splitlines()) == 1
    assert time.monotonic() - started < 10


def test_a_database_that_is_none_is_one_line(tmp_path):
    (tmp_path / "mlflow.db").write_text("this is not a database, but it has some length to it " * 50)
    with pytest.raises(UserError, match="cannot use the tracking store"):
        open_store(None, tmp_path)


def open_and_note(runs: Path, note: Path) -> None:
    note.write_text(open_store(None, runs).experiment_id)


@pytest.mark.slow
def test_two_processes_open_a_fresh_store_at_once(tmp_path):
    notes = [tmp_path / "one", tmp_path / "other"]
    processes = [started(open_and_note, tmp_path / "runs", note) for note in notes]
    assert [ended(process) for process in processes] == [0, 0]
    one, other = (note.read_text() for note in notes)
    assert one == other != ""


def test_describe_creates_nothing(tmp_path):
    assert "not there yet" in tracking.describe(None, tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_run_that_a_killed_process_created_is_taken_up_and_not_created_again(tmp_path, monkeypatch):
    store, folder = open_store(None, tmp_path / "runs"), tmp_path / "run"
    TrackedRun(folder, RunRecord(name="one", tags={"cell": "abc"}), None).log(1, {"loss": 2.0})

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("eggan.tracking.ship._ship_changing_tags", killed)
        patch.setattr("eggan.tracking.ship.write_json", lambda *_: None)  # nothing after the kill is written
        with pytest.raises(Killed):
            ship_folder(folder, store)
    run_id = ship_folder(folder, store)
    assert [run.info.run_id for run in store.client.search_runs([store.experiment_id])] == [run_id]
    other = tmp_path / "other"
    TrackedRun(other, RunRecord(name="two", tags={"cell": "abc"}), None)
    assert ship_folder(other, store) != run_id


def test_a_store_whose_making_was_killed_is_made_by_the_next_command(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.store.db.utils._upgrade_db", killed)
        with pytest.raises(Killed):
            open_store(None, tmp_path / "runs")
    assert not (tmp_path / "runs" / "mlflow.db").exists()
    assert open_store(None, tmp_path / "runs").experiment_id
