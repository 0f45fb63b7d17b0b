"""Cells in several processes: each worker is `eggan bench run SUITE --cell KEY`, with its share of the
cores.
"""

import os
import subprocess
import time
from collections.abc import Callable, Sequence

from eggan.child_process import child_environment, python_command
from eggan.startup import thread_environment

POLL_SECONDS = 0.5


def launch(
    keys: Sequence[str], arguments: Sequence[str], processes: int, on_end: Callable[[str, int], None]
) -> None:
    """Run one worker per cell key, `processes` at a time; `on_end(key, exit status)` is called as each ends.

    When this process is interrupted its workers are told to stop, and waited for.
    """
    environment = os.environ | thread_environment(os.environ, processes) | child_environment()
    waiting, running = list(keys), dict[str, subprocess.Popen[bytes]]()
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                key = waiting.pop(0)
                command = [*python_command("eggan.cli"), "bench", "run", *arguments, "--cell", key]
                running[key] = subprocess.Popen(command, env=environment)
            time.sleep(POLL_SECONDS)
            for key in [key for key, worker in running.items() if worker.poll() is not None]:
                on_end(key, running.pop(key).returncode)
    finally:
        for worker in running.values():
            worker.terminate()
        for worker in running.values():
            worker.wait()
