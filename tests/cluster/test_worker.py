"""When a worker may begin what another one had begun."""

import os
import subprocess
import sys
import threading
import time

import pytest

from eggan.cluster import worker as remote
from eggan.cluster.worker import Call
from eggan.files import try_lock
from eggan.process_owner import owner_of, owner_of_this_process, this_host

GONE = {"host": this_host(), "pid": 2**22 + 1, "started": 0.0}  # beyond the largest process number


@pytest.fixture
def begin(tmp_path, monkeypatch):
    """Return a function of who had a call: whether it may begin, and after how many seconds."""

    def may_begin(owner, call=None, wanted_seconds=60.0) -> tuple[bool, float]:
        started = time.monotonic()
        monkeypatch.setattr(remote, "LOOK_SECONDS", 0.02)
        monkeypatch.setattr(remote, "cut_seconds", lambda: 0.4)
        monkeypatch.setattr(remote, "_ask", lambda *_, **__: owner)
        monkeypatch.setattr(remote, "_is_wanted", lambda *_: time.monotonic() < started + wanted_seconds)
        may = remote._is_alone(tmp_path, call or Call(""), None, "cell")
        return may, time.monotonic() - started

    return may_begin


def test_it_begins_at_once_where_nobody_had_it_or_its_process_is_gone(begin):
    for owner in (None, GONE):
        may, seconds = begin(owner)
        assert may
        assert seconds < 0.3


def test_it_waits_for_a_process_of_this_machine_to_end(begin):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    owner = owner_of(process.pid)
    threading.Timer(0.5, process.kill).start()
    may, seconds = begin(owner)
    process.wait()
    assert may
    assert seconds > 0.4


def test_it_gives_another_machine_the_time_in_which_that_notices_a_cut(begin):
    may, seconds = begin({"host": "other", "pid": os.getpid(), "started": 0.0})
    assert may
    assert 0.4 <= seconds < 5


def test_it_waits_for_a_lock_that_is_held_here(begin, tmp_path):
    with try_lock(tmp_path / "runs" / ".lock"):
        assert begin(None, Call("", lock="runs/.lock"), wanted_seconds=0.3)[0] is False
    assert begin(None, Call("", lock="runs/.lock"))[0]


def test_it_does_not_begin_what_is_not_wanted_any_more(begin):
    for owner in (owner_of_this_process(), {**GONE, "host": "other"}):
        assert begin(owner, wanted_seconds=0.1)[0] is False


def test_a_cut_is_noticed_within_dasks_own_time(monkeypatch):
    import dask

    assert remote.cut_seconds() == 30
    with dask.config.set({"distributed.comm.timeouts.tcp": "2 minutes"}):
        assert remote.cut_seconds() == 120
