"""Workers as processes of this machine: each is the study's own command with a hidden option."""

import os
import subprocess
import time
from collections.abc import Sequence

from benchmarks.running.cell_workers import POLL_SECONDS
from eggan.child_process import child_environment, python_command
from eggan.startup import thread_environment

WORKER_OPTION = "--as-worker"


def run_workers(command: Sequence[str], workers: int, secrets: dict[str, str]) -> list[int]:
    """Run `command` once per worker and return their exit statuses.

    The cores are shared out; `secrets` are environment variables, since anybody can read a command line. When
    this process is interrupted its workers are told to stop, and waited for: they save and give back trials.
    """
    environment = os.environ | thread_environment(os.environ, workers) | child_environment() | secrets
    running = [subprocess.Popen([*command, WORKER_OPTION], env=environment) for _ in range(workers)]
    try:
        while any(worker.poll() is None for worker in running):
            time.sleep(POLL_SECONDS)
    finally:
        for worker in running:
            if worker.poll() is None:
                worker.terminate()
        for worker in running:
            worker.wait()
    return [worker.returncode for worker in running]


def own_command() -> list[str]:
    """Return how this program is called, whatever its name on the path."""
    return python_command("eggan.cli")
