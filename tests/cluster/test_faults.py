"""Faults of a cluster, with real processes: nothing that was finished is lost, nothing runs twice at once."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from eggan.cluster import jobs
from eggan.cluster.connection import ClusterChoice, connected
from eggan.cluster.jobs import ClusterRun
from eggan.errors import UserError
from tests.cluster.counting import CELL, job, notes_of
from tests.cluster.machines import DEATH_SECONDS, ROOT, Machines, children, free_port, until
from tests.kills import is_gone

pytestmark = pytest.mark.slow

UNTIL = 12


@pytest.fixture(autouse=True)
def often(monkeypatch):
    """Bring checkpoints back more often than a real run does, and wait less for a scheduler."""
    monkeypatch.setattr(jobs, "BRING_SECONDS", 0.2)
    monkeypatch.setattr(jobs, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(jobs, "ANSWER_SECONDS", 2.0)


def run(machines: Machines, given, tmp_path) -> dict[str, jobs.Outcome]:
    """Run jobs to their ends, and return those by name."""
    ended = {}
    with connected(ClusterChoice(str(machines.file))) as client:
        ClusterRun(client, iter(given), lambda job, outcome: ended.__setitem__(job.name, outcome)).run()
    return ended


def in_background(machines: Machines, given, tmp_path) -> tuple[threading.Thread, dict]:
    ended: dict = {}

    def work() -> None:
        try:
            ended.update(run(machines, given, tmp_path))
        except BaseException as error:
            ended["error"] = error

    thread = threading.Thread(target=work)
    thread.start()
    return thread, ended


def counted(folder, name: str = "count") -> int:
    try:
        return json.loads((folder / name / CELL).read_text())["number"]
    except FileNotFoundError:
        return 0


def check_one_after_the_other(notes, name: str = "count") -> None:
    """Check that no process of a job counted after the next one had begun."""
    found = notes_of(notes, name)
    for (_, before), (_, after) in itertools.pairwise(found):
        assert before[-1][1] <= after[0][1]


def test_a_job_whose_worker_is_killed_goes_on_elsewhere_from_its_last_checkpoint(machines, notes, tmp_path):
    machines.scheduler()
    first, results = machines.worker("first"), tmp_path / "results"
    thread, ended = in_background(machines, [job(results, notes, until=UNTIL, step_seconds=0.15)], tmp_path)
    until(lambda: counted(results) >= 3)
    came_back = counted(results)
    machines.worker("second", COUNT_STEP_SECONDS="0.01")
    first.kill()
    thread.join()
    assert ended["cell-count"].status == 0
    (old, _), (new, lines) = notes_of(notes)
    assert came_back < lines[0][0] <= UNTIL
    assert counted(results) == UNTIL
    assert (results / "count" / "metrics.jsonl").read_text().count("\n") == UNTIL
    assert until(lambda: is_gone(old)) < DEATH_SECONDS
    assert old != new
    assert not list(machines.folder.glob("second/**/runs/cells/count"))  # a worker keeps nothing of it


def test_a_job_that_kills_its_workers_fails_and_says_so(machines, notes, tmp_path):
    machines.scheduler()
    machines.worker("with-nanny", nanny=True)
    given = [job(tmp_path, notes, name="bad", kills=1), job(tmp_path, notes, name="good")]
    ended = run(machines, given, tmp_path)
    assert ended["cell-good"].status == 0
    assert ended["cell-bad"].status is None
    assert "died" in ended["cell-bad"].reason
    assert len(notes_of(notes, "bad")) <= 4


CLIENT = """
import sys
from pathlib import Path
from eggan.cluster import jobs
from eggan.cluster.connection import ClusterChoice, connected
from tests.cluster.counting import job
file, results, notes = map(Path, sys.argv[1:])
given = [job(results, notes, name="short"), job(results, notes, until=60, step_seconds=0.1)]
def ended(job, outcome):
    print(job.name, outcome.status, flush=True)
with connected(ClusterChoice(str(file))) as client:
    jobs.ClusterRun(client, iter(given), ended).run()
"""


def test_a_client_that_was_killed_goes_on_when_it_is_started_again(machines, notes, tmp_path):
    machines.scheduler()
    machines.worker("one")
    results = tmp_path / "results"
    words = ["-c", CLIENT, str(machines.file), str(results), str(notes)]
    client = subprocess.Popen(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert client.stdout.readline() == "cell-short 0\n"
    until(lambda: len(notes_of(notes)) == 1 and len(notes_of(notes)[0][1]) > 3)
    client.kill()
    client.wait()
    (old, _) = notes_of(notes)[0]
    assert until(lambda: is_gone(old)) < DEATH_SECONDS
    reached = notes_of(notes)[0][1][-1][0]
    assert counted(results) < reached  # the worker alone has the last checkpoint
    assert run(machines, [job(results, notes, until=60)], tmp_path)["cell-count"].status == 0
    again = notes_of(notes)[1][1]
    assert again[0][0] == reached + 1
    check_one_after_the_other(notes)
    assert len(notes_of(notes, "short")) == 1


def test_a_killed_scheduler_is_a_line_and_no_process_is_left(machines, notes, tmp_path):
    scheduler = machines.scheduler()
    worker, results = machines.worker("one"), tmp_path / "results"
    thread, ended = in_background(machines, [job(results, notes, until=200, step_seconds=0.1)], tmp_path)
    until(lambda: counted(results) >= 3)
    scheduler.kill()
    thread.join()
    assert isinstance(ended["error"], UserError)
    assert "the same command goes on" in str(ended["error"])
    (old, _) = notes_of(notes)[0]
    assert until(lambda: is_gone(old)) < DEATH_SECONDS
    worker.wait(60)


def test_a_scheduler_that_comes_back_in_time_is_found_again(machines, notes, tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "ANSWER_SECONDS", 60.0)
    port = str(free_port())
    scheduler = machines.scheduler("--port", port)
    worker, results = machines.worker("one"), tmp_path / "results"
    given = [job(results, notes, until=40, step_seconds=0.1), job(results, notes, name="other")]
    thread, ended = in_background(machines, given, tmp_path)
    until(lambda: counted(results) >= 3)
    for process in (scheduler, worker):  # left alone, the worker would end after its own time
        process.kill()
        process.wait()
    machines.file.unlink()
    machines.scheduler("--port", port)
    machines.worker("one", COUNT_STEP_SECONDS="0.01")
    thread.join()
    assert {name: outcome.status for name, outcome in ended.items()} == {"cell-count": 0, "cell-other": 0}
    (_, before), (_, after) = notes_of(notes)
    assert after[0][0] == before[-1][0] + 1  # the worker's disk had the last checkpoint
    check_one_after_the_other(notes)


def test_a_worker_with_another_version_is_refused_with_a_line(machines, notes, tmp_path, capsys):
    machines.scheduler()
    machines.worker("old", "--preload", "tests.cluster.other_version")
    with pytest.raises(UserError) as refused:
        run(machines, [job(tmp_path, notes)], tmp_path)
    assert "it runs eggan-0.0.1+0123456789, and this is eggan-" in str(refused.value)
    assert "\n" not in str(refused.value)
    machines.worker("bare", "--preload", "json")
    machines.worker("right")
    with connected(ClusterChoice(str(machines.file))) as client:
        client.wait_for_workers(3)
        given = [job(tmp_path, notes, name=f"count{number}") for number in range(4)]
        ended = []
        ClusterRun(client, iter(given), lambda job, outcome: ended.append(outcome)).run()
        names = {known["name"]: at for at, known in client.scheduler_info()["workers"].items()}
    assert {outcome.worker for outcome in ended} == {names["right"]}
    assert f"the worker {names['bare']} gets no jobs: start it as" in capsys.readouterr().err


@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_processes_of_this_machine_save_and_end_with_their_command(notes, tmp_path, number):
    words = [sys.executable, "-m", "tests.cluster.one_job", "local:1", str(tmp_path)]
    given = {**os.environ, "PYTHONPATH": str(ROOT), "COUNT_UNTIL": "1000"}
    command = subprocess.Popen(words, env=given, start_new_session=True)
    until(lambda: notes_of(notes) and len(notes_of(notes)[0][1]) > 3)
    (below,) = children(command.pid)  # no process but that of the job
    if number in (signal.SIGINT, signal.SIGHUP):  # as a terminal does
        os.killpg(command.pid, number)
    else:
        command.send_signal(number)
    assert command.wait(60) == (-number if number == signal.SIGKILL else 130)
    if number != signal.SIGKILL:
        assert is_gone(below.pid)  # it was waited for
    assert until(lambda: is_gone(below.pid)) < DEATH_SECONDS
    ((job_pid, lines),) = notes_of(notes)
    assert job_pid == below.pid
    assert counted(tmp_path / "cells") == lines[-1][0]
    assert json.loads((tmp_path / "cells" / "count" / CELL).read_text())["state"] == "interrupted"
    if number != signal.SIGKILL:
        return  # one that goes on is enough
    given["COUNT_UNTIL"] = str(lines[-1][0] + 3)
    assert subprocess.run(words, env=given).returncode == 3
    assert [count for count, _ in notes_of(notes)[1][1]] == [lines[-1][0] + step for step in (1, 2, 3)]
