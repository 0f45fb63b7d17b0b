"""Opening a tracking store: addresses, other schemas, proxies, and a runs folder that was moved."""

import json
import shutil
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache as artifact_repositories

from eggan import tracking
from eggan.errors import UserError
from eggan.tracking import RunRecord, TrackedRun, open_store, ship_folder
from eggan.tracking.store import read_store

PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def forget_places():
    """MLflow keeps the places of artifacts by run id; here copies of a store have the same ids."""
    artifact_repositories.clear()


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("sqlite://", "keeps nothing"),
        ("sqlite:///", "keeps nothing"),
        ("sqlite:///:memory:", "keeps nothing"),
        ("sqlite://runs/mlflow.db", "three slashes"),
        ("sqlite:///a%2Fmlflow.db", "cannot hold '%2F'"),
        ("sqlite:///what?/mlflow.db", r"cannot hold '\?'"),
        ("sqlite:////dev/null/mlflow.db", "/dev/null is a file"),
        ("http://127.0.0.1:9\n", "line break"),
        ("http://a\nb:5000", "line break"),
        ("http://127.0.0.1:5000%2F", "not a tracking URI"),
        ("http://127.0.0.1%2F:5000", "names no host"),
        ("http://127.0.0.1:9/a%2Fb", "plain slash"),
        ("http://127.0.0.1:9/?a=1", r"begins with \?"),
        ("http://127.0.0.1:9#runs", r"begins with \? or #"),
        ("http://", "names no host"),
        ("localhost:5000", "not a tracking URI"),
        ("http://[::1", "not a tracking URI"),
        ("http://h:99999", "not a tracking URI"),
        ("postgresql:///nowhere?host=/nowhere", "cannot use the tracking store"),
    ],
)
def test_a_mistaken_address_is_one_line_at_once_and_leaves_nothing(uri, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    for use in (
        lambda: open_store(uri, tmp_path / "runs"),
        lambda: tracking.describe(uri, tmp_path / "runs"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            use()
        assert len(str(caught.value).splitlines()) == 1
    assert time.monotonic() - started < 5
    assert list(tmp_path.rglob("*.db")) == []


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A runs folder with its store and one shipped run with a file."""
    runs = tmp_path_factory.mktemp("home") / "runs"
    store = open_store(None, runs)
    folder = runs / "single" / "one"
    record = RunRecord("one", {"kind": "cell", "cell": "k"}, artifacts=["scores/*"])
    run = TrackedRun(folder, record, store)
    (folder / "scores").mkdir()
    (folder / "scores" / "summary.json").write_text("{}")
    run.log(1, {"train/loss": 1.0})
    run.finish("finished")
    return runs


@pytest.mark.parametrize("original", ["stays", "is gone", "is elsewhere"])
def test_a_moved_or_copied_runs_folder_goes_on(tracked, tmp_path, original):
    old = tmp_path / "old" / "runs"
    shutil.copytree(tracked, old)
    run_id = tracking.run_id_in(old / "single" / "one", open_store(None, old).uri)
    new = tmp_path / "new home" / "results"
    shutil.copytree(old, new) if original == "stays" else shutil.move(old, new)
    if original == "is elsewhere":
        old.mkdir()
        (old / "mlflow.db").write_text("something else")
    artifact_repositories.clear()
    store = open_store(None, new)
    assert store.client.get_experiment(store.experiment_id).artifact_location == (new / "artifacts").as_uri()
    assert store.client.get_run(run_id).info.artifact_uri.startswith((new / "artifacts").as_uri())
    assert [entry.path for entry in store.client.list_artifacts(run_id, "scores")] == ["scores/summary.json"]
    found = store.artifact(run_id, "scores", tmp_path / "download")
    assert (found / "summary.json").read_text() == "{}"
    again = TrackedRun(new / "single" / "one", tracking.read_record(new / "single" / "one"), store)
    again.log(2, {"train/loss": 0.5})
    assert ship_folder(new / "single" / "one", store) == run_id
    history = store.client.get_metric_history(run_id, "train/loss")
    assert sorted(point.step for point in history) == [1, 2]
    assert len(store.client.search_runs([store.experiment_id])) == 1


def test_a_file_that_stayed_behind_is_still_found(tracked, tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(tracked, old)
    run_id = tracking.run_id_in(old / "single" / "one", open_store(None, old).uri)
    new.mkdir()
    shutil.copy(old / "mlflow.db", new)
    store = open_store(None, new)
    assert [entry.path for entry in store.client.list_artifacts(run_id, "scores")] == ["scores/summary.json"]


def test_another_folders_store_is_not_touched(tracked, tmp_path):
    before = (tracked / "mlflow.db").read_bytes()
    open_store(f"sqlite:///{tracked / 'mlflow.db'}", tmp_path / "runs")
    assert (tracked / "mlflow.db").read_bytes() == before


def test_what_earlier_versions_remembered_of_a_store_is_used(tracked, tmp_path):
    runs = tmp_path / "runs"
    shutil.copytree(tracked, runs)
    store, folder = open_store(None, runs), runs / "single" / "one"
    run_id = tracking.run_id_in(folder, store.uri)
    (known,) = json.loads((folder / "tracking.json").read_text()).values()
    earlier = {f"sqlite:///{tmp_path / 'elsewhere' / 'mlflow.db'}": known}
    (folder / "tracking.json").write_text(json.dumps(earlier))
    assert ship_folder(folder, store) == run_id


def test_everything_below_a_folder_is_synced_to_the_experiment_of_its_kind(tracked, tmp_path):
    home, runs = tmp_path / "store", tmp_path / "runs"
    shutil.copytree(tracked, home)
    store = open_store(None, home)
    kinds = {"suites/s": "suite", "cells/c": "cell", "single/t": "training", "studies/x": "study"}
    kinds |= {"studies/x/trials/0000": "trial", "studies/x/reruns/t0": "rerun", "old": ""}
    for name, kind in kinds.items():
        parent = {"cells/c": "../../suites/s", "studies/x/trials/0000": "../.."}.get(name)
        TrackedRun(runs / name, RunRecord(name, {"kind": kind}, parent=parent), None).finish("finished")
    (runs / "single" / "damaged").mkdir()
    (runs / "single" / "damaged" / "run.json").write_text('{"name')
    (tmp_path / "elsewhere").mkdir()
    TrackedRun(tmp_path / "elsewhere" / "m", RunRecord("m", {"kind": "training"}), None).finish(
        "failed", "why"
    )
    done = tracking.sync([runs, tmp_path / "elsewhere"], store, tracked)
    assert tracking.sync([runs, tmp_path / "elsewhere"], store, tracked) == done
    (left,) = done.left.items()
    assert "run.json is damaged" in left[0]
    assert left[1] == [runs / "single" / "damaged"]
    found = {}
    for run_id in done.runs.values():
        run = store.client.get_run(run_id)
        found[run.info.run_name] = store.client.get_experiment(run.info.experiment_id).name
    of_studies = dict.fromkeys(["studies/x", "studies/x/trials/0000", "studies/x/reruns/t0"], "eggan-studies")
    assert found == of_studies | {
        "suites/s": "eggan-benchmark", "cells/c": "eggan-benchmark",
        "single/t": "eggan-single", "old": "eggan-single", "m": "eggan-single",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("version", "remedy"),
    [("0584bdc529eb", "mlflow db upgrade sqlite:////"), ("f00dfeed0000", "the MLflow that wrote it")],
)
def test_a_store_of_another_mlflow_is_one_line(tracked, tmp_path, version, remedy):
    runs = tmp_path / "runs"
    shutil.copytree(tracked, runs)
    with sqlite3.connect(runs / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))
    for use in (open_store, read_store, lambda uri, runs: tracking.describe(uri, runs)):
        with pytest.raises(UserError, match=rf"{version}.*{remedy}") as caught:
            use(None, runs)
        assert len(str(caught.value).splitlines()) == 1


def test_reading_a_store_that_cannot_be_written_needs_no_lock(tracked, tmp_path, monkeypatch):
    """As on a medium that is read-only; the folder has been moved there, too."""
    runs = tmp_path / "runs"
    shutil.copytree(tracked, runs)
    (runs / ".store.lock").unlink()
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    monkeypatch.setattr("eggan.tracking.store.is_writable", lambda path: not path.is_relative_to(runs))
    store = read_store(None, runs)
    (run,) = store.client.search_runs([store.experiment_id])
    assert [entry.path for entry in store.client.list_artifacts(run.info.run_id)] == ["scores"]
    assert run.info.artifact_uri.startswith((runs / "artifacts").as_uri())
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before


class _Server(BaseHTTPRequestHandler):
    """Answers as an MLflow server, directly or as a proxy in front of one."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self):
        self.asked.append(self.path)
        body = {"experiment": {"experiment_id": "7", "name": "eggan-benchmark", "lifecycle_stage": "active"}}
        text = json.dumps(body if urlsplit(self.path).path.endswith("get-by-name") else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    running = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    _Server.asked.clear()
    yield running
    running.shutdown()
    running.server_close()


def test_a_server_that_only_a_proxy_reaches(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    store = open_store("http://tracking.invalid:5000", tmp_path)
    assert store.experiment_id == "7"
    assert _Server.asked[-1].startswith("http://tracking.invalid:5000/api/")
    monkeypatch.setenv("no_proxy", "tracking.invalid")
    with pytest.raises(UserError, match=r"cannot use the tracking store http://tracking\.invalid:5000"):
        open_store("http://tracking.invalid:5000", tmp_path)


def test_a_server_of_this_machine_is_asked_past_the_proxy(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    assert open_store(f"http://127.0.0.1:{server.server_port}", tmp_path).experiment_id == "7"
    assert _Server.asked[-1].startswith("/api/")


@pytest.mark.parametrize(
    "words",
    [
        ("data", "build", "synfacs", "--out", "file/data"),
        ("study", "run", "loss-weights", "--runs", "file/runs"),
        ("bench", "run", "quick", "--offline", "--runs", "file/runs"),
        ("report", "export", "file/frame"),
        ("import", "stargan", "official.ckpt", "--out", "file/weights"),
        ("instruments", "train", "--out", "file/weights"),
        ("data", "sheet", "--out", "file/x.png"),
        ("data", "head", "--out", "file/head.npz"),
        ("edit", "face.png", "--au", "12=4", "--neutral", "-o", "file/x.png"),
        ("study", "run", "loss-weights", "--name", "n" * 300),
        ("data", "build", "folder", "--root", ".", "--name", "n" * 300),
    ],
)
def test_a_place_or_name_that_cannot_be_written_is_one_line_before_the_work(
    words, eggan, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    started = time.monotonic()
    status, _, error = eggan(*words)
    assert (status, error.count("\n")) == (2, 1)
    assert "file is a file" in error or "300 characters" in error
    assert time.monotonic() - started < 20
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
