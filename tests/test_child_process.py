import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from eggan.child_process import PARENT, child_environment, how_ended, python_command
from eggan.command_call import call_command
from eggan.tracking.store import server_command
from tests.kills import is_gone

MINE = "raise SystemExit('a file of the user was executed')\n"


@pytest.mark.parametrize("name", ["statistics", "json", "random", "token", "socket"])
def test_a_file_of_the_user_is_not_taken_for_a_module(tmp_path, name):
    (tmp_path / f"{name}.py").write_text(MINE)
    ran = subprocess.run(
        [*python_command("eggan.cli"), "--version"], cwd=tmp_path, capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout[:6]) == (0, "eggan "), ran.stderr


def test_every_launcher_starts_its_pythons_so(tmp_path):
    for command in (
        call_command(tmp_path / "call.json"),
        server_command("sqlite:///x.db", tmp_path, "127.0.0.1", 5000),
    ):
        assert command[:3] == [sys.executable, "-P", "-m"]


CHILD = """
import os, signal, sys, time
from eggan.child_process import end_with_parent
def stopped(*_):
    print("stopped", flush=True)
    os._exit(0)
signal.signal(signal.SIGTERM, stopped)
end_with_parent()
print("runs", flush=True)
time.sleep(60)
"""
LAUNCHER = """
import os, subprocess, sys, time
from eggan.child_process import child_environment
subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=os.environ | child_environment())
time.sleep(60)
"""


def test_a_child_stops_when_its_parent_was_killed(tmp_path):
    launcher = subprocess.Popen([sys.executable, "-c", LAUNCHER, CHILD], stdout=subprocess.PIPE, text=True)
    assert launcher.stdout.readline() == "runs\n"
    (child,) = psutil.Process(launcher.pid).children()
    launcher.send_signal(signal.SIGKILL)
    launcher.wait()
    assert launcher.stdout.readline() == "stopped\n"
    deadline = time.monotonic() + 30
    while not is_gone(child.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert is_gone(child.pid)


def test_how_a_process_ended():
    assert child_environment() == {PARENT: str(os.getpid())}
    assert how_ended(2) == "ended with status 2"
    assert how_ended(-9) == "was killed by SIGKILL"
