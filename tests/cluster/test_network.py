"""A network that is cut and comes back, between a scheduler and a worker in a network namespace."""

import os
import shutil
import subprocess
import time

import pytest

from eggan.cluster import jobs
from tests.cluster.counting import job, notes_of
from tests.cluster.machines import until
from tests.cluster.test_faults import counted, in_background
from tests.kills import is_gone

HERE, THERE = "10.213.77.1", "10.213.77.2"
# EGGAN_TEST_CUT_SECONDS=60 cuts for that long, with the time-outs that users have; takes five minutes.
BY_HAND = float(os.environ.get("EGGAN_TEST_CUT_SECONDS", "0"))
TCP_SECONDS = 30 if BY_HAND else 11  # Dask's usual time, and the least that it takes
CUT_SECONDS = BY_HAND or 2 * TCP_SECONDS
# A machine behind the wire, with a name of its own.
OTHER_NAME = ("unshare", "--uts", "sh", "-c", 'hostname cut-off; exec "$@"', "sh")


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def wire():
    """A namespace `eggan-test` with a wire to it; yields its name and the name of this end of the wire."""
    name, here, there = "eggan-test", "eggan-here", "eggan-there"
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    try:
        ip("netns", "add", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    try:
        ip("link", "add", here, "type", "veth", "peer", "name", there)
        ip("link", "set", there, "netns", name)
        ip("addr", "add", f"{HERE}/30", "dev", here)
        ip("link", "set", here, "up")
        for words in (("addr", "add", f"{THERE}/30", "dev", there), ("link", "set", there, "up")):
            ip("-n", name, *words)
        ip("-n", name, "link", "set", "lo", "up")
        yield name, here
    finally:
        ip("netns", "del", name)


@pytest.fixture
def users_times(monkeypatch):
    """By hand those that users have; else the shortest, and more frequent checkpoints."""
    if not BY_HAND:
        monkeypatch.setattr(jobs, "BRING_SECONDS", 0.2)
        monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP", f"{TCP_SECONDS}s")


@pytest.mark.slow
@pytest.mark.usefixtures("users_times")
def test_a_job_behind_a_cut_network_goes_on_elsewhere_and_its_process_ends(wire, machines, notes, tmp_path):
    name, here = wire
    machines.host = HERE
    machines.scheduler()
    machines.prefix = ("ip", "netns", "exec", name, *(OTHER_NAME if BY_HAND else ()))
    cut_off, results = machines.worker("cut-off", "--host", THERE), tmp_path / "results"
    machines.prefix = ()
    until_number = int(4 * CUT_SECONDS)
    given = [job(results, notes, "short"), job(results, notes, until=until_number, step_seconds=0.4)]
    thread, ended = in_background(machines, given, tmp_path)
    until(lambda: counted(results) >= 3)
    machines.worker("near", "--host", HERE, COUNT_STEP_SECONDS="0.01")
    cut = time.monotonic()
    ip("link", "set", here, "down")
    (old, _) = notes_of(notes)[0]
    assert until(lambda: is_gone(old), CUT_SECONDS) < TCP_SECONDS + 5
    time.sleep(max(0.0, cut + BY_HAND - time.monotonic()))
    if BY_HAND:
        ip("link", "set", here, "up")
    thread.join(2 * CUT_SECONDS)
    ip("link", "set", here, "up")
    assert {name: outcome.status for name, outcome in ended.items()} == {"cell-short": 0, "cell-count": 0}
    (_, before), (_, after) = notes_of(notes)
    assert before[-1][1] < after[0][1]  # never two at once
    assert 3 < after[0][0] <= before[-1][0] + 1
    assert after[-1][0] == counted(results) == until_number
    assert len(notes_of(notes, "short")) == 1  # what was finished is not run again
    cut_off.wait(60)


@pytest.mark.skipif(not BY_HAND, reason="takes two minutes: EGGAN_TEST_CUT_SECONDS=60")
def test_a_client_behind_a_cut_network_goes_on_or_says_that_the_same_command_does(
    wire, machines, notes, tmp_path
):
    name, here = wire
    machines.host = HERE
    machines.scheduler()
    machines.worker("one", "--host", HERE)
    prefix = ("ip", "netns", "exec", name, *OTHER_NAME)
    words = ("-m", "tests.cluster.one_job", str(machines.file), str(tmp_path))
    client = machines.start(*words, prefix=prefix, COUNT_UNTIL="100000")
    until(lambda: len(notes_of(notes)) == 1 and len(notes_of(notes)[0][1]) > 3)
    cut = time.monotonic()
    ip("link", "set", here, "down")
    (old, _) = notes_of(notes)[0]
    assert until(lambda: is_gone(old), CUT_SECONDS) < TCP_SECONDS + 5  # nobody's any more
    time.sleep(max(0.0, cut + BY_HAND - time.monotonic()))
    ip("link", "set", here, "up")
    reached = notes_of(notes)[0][1][-1][0]
    until(lambda: len(notes_of(notes)) == 2 or client.poll() is not None, 120)
    if client.poll() is not None:
        assert "the same command goes on" in (machines.folder / "log-2").read_text()
        client = machines.start(*words, prefix=prefix, COUNT_UNTIL="100000")
        until(lambda: len(notes_of(notes)) == 2)
    until(lambda: len(notes_of(notes)[1][1]) > 3)
    client.terminate()
    assert client.wait(60) == 130
    (_, before), (_, after) = notes_of(notes)
    assert before[-1][1] < after[0][1]
    assert after[0][0] == reached + 1
