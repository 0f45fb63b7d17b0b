"""Studies of several processes: killed workers, shared journals, PostgreSQL."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from eggan.tracking import DIED
from studies.storage.study_storage import open_study
from studies.storage.trials import trial_frame
from tests.forked import ended, started
from tests.studies import study_context as small
from tests.studies import work
from tests.studies.study_context import make_context, make_study

pytestmark = pytest.mark.slow


def worker(
    root: Path, number: int, settings: dict, url: str = "", kill_at: int = -1, together: int = 1
) -> BaseProcess:
    return started(work.main, root, number, settings, url, kill_at, together)


def prepare(root: Path, monkeypatch, url: str = "", **settings):
    """Create the study that workers join, with a checkpoint after every step."""
    import dataclasses

    frequent = dataclasses.replace(small.TRAINING, checkpoint_every_seconds=0.0)
    monkeypatch.setattr(small, "TRAINING", frequent)
    context = make_context(root, storage=url, **settings)
    return context, make_study(context, url)


def check_complete(study, trials: int) -> None:
    """Every number once, every parameter set but the references' different, nothing lost."""
    frame = trial_frame(study)
    assert sorted(frame["number"]) == list(range(len(frame)))
    settled = frame[~frame["number"].isin(frame["retry_of"].dropna())]
    assert len(settled) == trials
    assert settled["state"].isin(["complete", "pruned", "failed"]).all()
    assert settled["params_strength"].nunique() == trials


def test_the_same_command_continues_a_study_whose_worker_was_killed(tmp_path, monkeypatch):
    settings = {"trials": 3}
    context, _ = prepare(tmp_path, monkeypatch, **settings)
    assert ended(worker(tmp_path, 0, settings, kill_at=5)) == -signal.SIGKILL
    assert list(trial_frame(open_study(context.folder))["state"]) == ["running", "waiting"]
    assert (context.folder / "trials" / "0000" / "s0" / "training_state.pt").exists()
    assert ended(worker(tmp_path, 0, settings)) == 0
    study = open_study(context.folder)
    frame = trial_frame(study)
    assert (frame["state"][0], frame["reason"][0]) == ("failed", DIED)
    (repeated,) = frame.index[frame["retry_of"] == 0]
    assert frame["state"][repeated] == "complete"
    assert frame["is_paper"][repeated]
    check_complete(study, 3)
    lines = (context.folder / "trials" / f"{repeated:04d}" / "metrics.jsonl").read_text().splitlines()
    logged = [json.loads(line)["step"] for line in lines if "train/loss" in line]
    assert logged == [2, 4, 6, 8]  # it went on after step 5 with what the dead trial had logged
    assert sorted(study.trials[repeated].intermediate_values) == [8, 16, 24, 32]


def test_two_workers_share_a_journal(tmp_path, monkeypatch):
    settings = {"trials": 6}
    context, _ = prepare(tmp_path, monkeypatch, **settings)
    both = [worker(tmp_path, number, settings, together=2) for number in (0, 1)]
    assert [ended(process) for process in both] == [0, 0]
    study = open_study(context.folder)
    check_complete(study, 6)
    assert len({trial.user_attrs["owner"]["pid"] for trial in study.trials}) == 2


def unprivileged() -> str | None:
    """Return a user for PostgreSQL, which refuses to run as root; None: the present one will do."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in names)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def server_programs() -> Path | None:
    """Return the folder of initdb and postgres: from PATH, or where Debian keeps its newest version."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else (debian[-1] if debian else None)


@pytest.fixture(scope="module")
def postgresql():
    """A PostgreSQL server of its own on localhost; yields the address of an empty database."""
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (Debian: apt-get install postgresql)")
    psycopg = pytest.importorskip("psycopg")
    user, port = unprivileged(), free_port()
    folder = Path(tempfile.mkdtemp(prefix="eggan-postgresql-"))
    as_user = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if user:
        shutil.chown(folder, user)
        as_user |= {"user": user, "extra_groups": []}
    data = folder / "data"
    initialise = [programs / "initdb", "-D", data, "-A", "trust", "-U", "eggan", "--no-sync"]
    subprocess.run(initialise, check=True, **as_user)
    options = ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "fsync=off"]
    server = subprocess.Popen([programs / "postgres", "-D", data, "-p", str(port), *options], **as_user)
    address = f"postgresql://eggan@127.0.0.1:{port}"
    try:
        _create_database(psycopg, f"{address}/postgres")
        yield f"{address}/studies".replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.send_signal(signal.SIGINT)  # its "fast" shutdown
        server.wait(60)
        shutil.rmtree(folder)


def _create_database(psycopg, address: str) -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            with psycopg.connect(address, autocommit=True) as connection:
                connection.execute("CREATE DATABASE studies")
                return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def test_workers_share_postgresql_and_survive_a_kill(tmp_path, monkeypatch, postgresql):
    settings = {"trials": 5}
    context, _ = prepare(tmp_path, monkeypatch, postgresql, **settings)
    assert ended(worker(tmp_path, 0, settings, postgresql, kill_at=5)) == -signal.SIGKILL
    both = [worker(tmp_path, number, settings, postgresql) for number in (0, 1)]
    assert [ended(process) for process in both] == [0, 0]
    study = open_study(context.folder)
    check_complete(study, 5)
    assert trial_frame(study)["reason"][0] == DIED
    assert not (context.folder / "journal.log").exists()
