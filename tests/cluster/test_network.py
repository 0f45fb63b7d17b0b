"""A network that is cut and comes back, between a scheduler and a worker in a network namespace."""

import os
import shutil
import subprocess

import pytest

from eggan.cluster import jobs
from tests.cluster.counting import job, notes_of
from tests.cluster.machines import until
from tests.cluster.test_faults import counted, in_background, is_gone

HERE, THERE = "10.213.77.1", "10.213.77.2"
# The least that Dask takes; a real cluster has 30. EGGAN_TEST_TCP_SECONDS=30 cuts for as long as 60 s.
TCP_SECONDS = int(os.environ.get("EGGAN_TEST_TCP_SECONDS", "11"))
CUT_SECONDS = 2 * TCP_SECONDS


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


@pytest.mark.slow
def test_a_job_behind_a_cut_network_goes_on_elsewhere_and_its_process_ends(
    wire, machines, notes, tmp_path, monkeypatch
):
    name, here = wire
    monkeypatch.setattr(jobs, "BRING_SECONDS", 0.2)
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP", f"{TCP_SECONDS}s")
    machines.host = HERE
    machines.scheduler()
    machines.prefix = ("ip", "netns", "exec", name)
    cut_off, results = machines.worker("cut-off", "--host", THERE), tmp_path / "results"
    machines.prefix = ()
    until_number = 4 * CUT_SECONDS
    given = job(results, notes, until=until_number, step_seconds=0.4)
    thread, ended = in_background(machines, [given], tmp_path)
    until(lambda: counted(results) >= 3)
    machines.worker("near", "--host", HERE, COUNT_STEP_SECONDS="0.01")
    ip("link", "set", here, "down")
    (old, _) = notes_of(notes)[0]
    assert until(lambda: is_gone(old), CUT_SECONDS) < TCP_SECONDS + 5
    until(lambda: len(notes_of(notes)) == 2, CUT_SECONDS)
    thread.join(CUT_SECONDS)
    ip("link", "set", here, "up")
    assert ended["cell-count"].status == 0
    (_, before), (_, after) = notes_of(notes)
    assert before[-1][1] - after[0][1] < 2  # of both no more than what two clocks differ in noticing
    assert 3 < after[0][0] <= before[-1][0] + 1
    assert after[-1][0] == counted(results) == until_number
    cut_off.wait(60)
