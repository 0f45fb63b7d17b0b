"""Several processes of this machine: a cluster inside the command's own process starts them."""

import argparse
import gc
import json
import os
import socket
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import psutil
import pytest

from benchmarks.bench_commands import register as register_bench
from eggan.child_process import PARENT
from eggan.cluster import jobs, worker
from eggan.cluster.connection import ClusterChoice, connected
from eggan.cluster.jobs import NO_DISTANCE, ClusterRun, Job, Outcome, job_in_place
from eggan.machine import allowed_cores
from tests.cluster.machines import until


def bench(name: str, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    register_bench(parser.add_subparsers())
    return parser.parse_args(["bench", "run", "quick", "--cell", name, *words])


def fake_python(folder: Path, monkeypatch, body: str) -> None:
    """Let processes run `body` in the place of this program; `values` are their command's arguments."""
    fake = folder / "python"
    fake.write_text(
        f"#!{sys.executable}\nimport json, os, signal, sys, time\ncall = sys.argv[-1]\n"
        f"values = json.load(open(call))['arguments']\nname = values['cell'][0]\n{body}"
    )
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))


def run(given: list[argparse.Namespace], at_once: int, ended: dict | None = None) -> dict[str, Outcome]:
    """Run commands of one cell each, and return (and fill in) how they ended by cell."""
    ended = {} if ended is None else ended
    made = [job_in_place(arguments.cell[0], arguments, at_once) for arguments in given]
    with connected(ClusterChoice(f"local:{at_once}")) as client:
        ClusterRun(client, iter(made), lambda job, how: ended.update({job.name: how}), NO_DISTANCE).run()
    return ended


def test_processes_share_the_cores_and_run_one_job_each(tmp_path, monkeypatch):
    out = tmp_path / "seen"
    out.mkdir()
    fake_python(
        tmp_path,
        monkeypatch,
        "threads = [os.environ[key] for key in ('OMP_NUM_THREADS', 'OMP_WAIT_POLICY')]\n"
        "from eggan import startup\n"
        "startup.prepare()\n"
        "threads.append(os.environ['OMP_NUM_THREADS'])\n"
        "mode = os.stat(os.path.dirname(call)).st_mode & 0o777\n"
        "seen = [sys.argv[1:-1], mode, *threads, os.environ['EGGAN_PARENT_PROCESS'], os.getcwd()]\n"
        f"json.dump(seen, open(os.path.join({str(out)!r}, name), 'w'))\n"
        "sys.exit(name == 'bad')\n",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", str(allowed_cores()))
    monkeypatch.setenv("EGGAN_OWN_THREADS", str(allowed_cores()))
    ended = run([bench(name, "--tracking-uri", "https://me:secret@host") for name in ("good", "bad", "3")], 2)
    assert {name: outcome.status for name, outcome in ended.items()} == {"good": 0, "bad": 1, "3": 0}
    command, mode, threads, policy, kept, parent, folder = json.loads((out / "good").read_text())
    assert command == ["-P", "-m", "eggan.command_call"]
    assert mode == 0o700
    assert int(threads) == max(1, allowed_cores() // 2)
    assert policy == "PASSIVE"
    assert kept == threads  # once the process has prepared itself
    assert parent == str(os.getpid())  # whom to end with
    assert PARENT == "EGGAN_PARENT_PROCESS"
    assert folder == str(tmp_path)


def test_threads_that_the_user_chose_stay(tmp_path, monkeypatch):
    body = f"open(os.path.join({str(tmp_path)!r}, 'seen'), 'w').write(os.environ['OMP_NUM_THREADS'])"
    fake_python(tmp_path, monkeypatch, body)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("EGGAN_OWN_THREADS", raising=False)
    run([bench("a")], 2)
    assert (tmp_path / "seen").read_text() == "7"


def test_as_many_run_at_a_time_as_were_asked_for_in_their_order(tmp_path, monkeypatch):
    body = (
        f"here = {str(tmp_path)!r}\nbegan = time.time()\nopen(os.path.join(here, 'began-' + name), 'w')\n"
        "while name in '01' and not os.path.exists(os.path.join(here, 'began-' + '10'[int(name)])):\n"
        "    time.sleep(0.02)\n"
        "time.sleep(0.1)\n"
        "json.dump([began, time.time()], open(os.path.join(here, name + '.json'), 'w'))\n"
    )
    fake_python(tmp_path, monkeypatch, body)
    run([bench(f"{number}") for number in range(5)], 2)  # the first two wait for each other
    times = [json.loads((tmp_path / f"{number}.json").read_text()) for number in range(5)]
    for number, (began, _) in enumerate(times):
        assert sum(ended <= began for _, ended in times[:number]) >= number - 1


def test_what_they_print_is_seen_while_they_run(tmp_path, monkeypatch, capfd):
    body = (
        "print('train: 10 of 90 steps', file=sys.stderr, flush=True)\n"
        f"while not os.path.exists(os.path.join({str(tmp_path)!r}, 'seen')): time.sleep(0.02)\n"
    )
    fake_python(tmp_path, monkeypatch, body)
    said = []

    def look() -> None:
        def printed() -> bool:
            said.append(capfd.readouterr().err)
            return "train: 10 of 90 steps" in "".join(said)

        until(printed, 30)
        (tmp_path / "seen").touch()

    watcher = threading.Thread(target=look)
    watcher.start()
    assert run([bench("a")], 1)["a"].status == 0
    watcher.join()


def test_they_are_asked_to_stop_with_their_command_and_leave_no_file(tmp_path, monkeypatch):
    saved = "lambda *_: (time.sleep(0.5), open(os.path.join({0!r}, 'saved' + name), 'w'), sys.exit(130))"
    body = (
        f"signal.signal(signal.SIGTERM, {saved.format(str(tmp_path))})\n"
        f"open(os.path.join({str(tmp_path)!r}, 'began' + name), 'w')\ntime.sleep(600)\n"
    )
    fake_python(tmp_path, monkeypatch, body)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def stopped(self) -> None:
        if len(list(tmp_path.glob("began*"))) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(jobs.ClusterRun, "_step", stopped)
    started, below = time.monotonic(), psutil.Process().children()
    ended = {}
    with pytest.raises(KeyboardInterrupt):
        run([bench(name) for name in ("a", "b", "c")], 2, ended)
    assert {path.name for path in tmp_path.glob("saved*")} == {"saveda", "savedb"}  # both were waited for
    assert {name: outcome.stopped for name, outcome in ended.items()} == {"a": True, "b": True}
    assert psutil.Process().children() == below
    assert time.monotonic() - started < 60
    assert not list(tmp_path.glob("eggan-call-*"))


def test_a_process_that_cannot_be_started_is_a_reason_and_the_others_run(tmp_path, monkeypatch):
    fake_python(tmp_path, monkeypatch, "sys.exit(0)")
    start = worker.subprocess.Popen

    def short(command, **options):
        if "bad" in Path(command[-1]).read_text():
            raise OSError(12, "Cannot allocate memory")
        return start(command, **options)

    monkeypatch.setattr(worker.subprocess, "Popen", short)
    ended = run([bench("bad"), bench("good")], 1)
    assert ended["good"].status == 0
    assert (ended["bad"].status, "Cannot allocate memory" in ended["bad"].reason) == (None, True)


def test_nobody_reaches_it_from_outside():
    before = {(kept.laddr.ip, kept.laddr.port) for kept in psutil.Process().net_connections()}
    with connected(ClusterChoice("local:2")) as client:
        listening = {(kept.laddr.ip, kept.laddr.port) for kept in psutil.Process().net_connections()} - before
        assert {host for host, _ in listening} <= {"127.0.0.1"}
        assert client.submit(os.getpid).result() == os.getpid()
        for host, port in listening:
            with socket.create_connection((host, port), timeout=5) as stream:
                stream.sendall(b"GET /info/main/workers.html HTTP/1.0\r\n\r\n")
                assert stream.recv(100).startswith(b"HTTP/1.1 404")


def test_memory_does_not_grow_with_the_number_of_jobs(monkeypatch):
    monkeypatch.setattr(worker, "_process", lambda *_, **__: (0, True))
    sizes = []

    def ended(job: Job, outcome: Outcome) -> None:
        if len(sizes) in (20, 100):
            gc.collect()
        sizes.append(tracemalloc.get_traced_memory()[0])

    arguments = bench("0")
    made = (job_in_place(f"cell-{number}", arguments, 1) for number in range(110))
    tracemalloc.start()
    try:
        with connected(ClusterChoice("local:1")) as client:
            ClusterRun(client, made, ended, NO_DISTANCE).run()
    finally:
        tracemalloc.stop()
    assert (sizes[100] - sizes[20]) / 80 < 5000  # bytes a job; with Dask's usual histories 16,000
