"""Cells in several processes: each worker is `eggan bench run SUITE --cell KEY`, with its share of the
cores.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

POLL_SECONDS = 0.5


def threads_per_process(processes: int) -> int:
    """Return the cores' share of one process, at least 1."""
    return max(1, (os.cpu_count() or 1) // processes)


def set_threads(processes: int) -> None:
    """Give this process its share of the cores, unless OMP_NUM_THREADS says otherwise."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads_per_process(processes))


def launch(
    keys: Sequence[str], arguments: Sequence[str], processes: int, on_end: Callable[[str, int], None]
) -> None:
    """Run one worker per cell key, `processes` at a time; `on_end(key, exit status)` is called as each ends.

    When this process is interrupted its workers are told to stop, and waited for.
    """
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads_per_process(processes)),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    waiting, running = list(keys), dict[str, subprocess.Popen[bytes]]()
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                key = waiting.pop(0)
                command = [sys.executable, "-m", "eggan.cli", "bench", "run", *arguments, "--cell", key]
                running[key] = subprocess.Popen(command, env=environment)
            time.sleep(POLL_SECONDS)
            for key in [key for key, worker in running.items() if worker.poll() is not None]:
                on_end(key, running.pop(key).returncode)
    finally:
        for worker in running.values():
            worker.terminate()
        for worker in running.values():
            worker.wait()
