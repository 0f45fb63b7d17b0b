"""Several processes on one GPU at the same time: NVIDIA's Multi-Process Service (MPS), where a node has it.

Without it a GPU turns from one process to the next, and the short kernels of one leave most of it idle:
eight trainings of EGGAN-W on an H100 took 56 ms a step each, with it 20 ms.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CONTROL = "nvidia-cuda-mps-control"
DRIVER_PLACES = ("/usr/local/nvidia/bin",)  # of programs that come with the driver
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
RUNNING = Path(tempfile.gettempdir(), "nvidia-mps", f"{CONTROL}.pid")  # of a service whose place nobody named
ANSWER_SECONDS = 20.0
# A context is what needs the service: exit status 0 where there is one.
OPEN_CONTEXT = """
import ctypes, sys
cuda, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
sys.exit(bool(cuda.cuInit(0) or cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0)))
"""


@contextmanager
def gpu_shared_at_once() -> Iterator[bool]:
    """Let the processes that are started inside the block compute on the GPU at the same time.

    Yields whether this started the service; it ends with the block. Nothing is started where there is no such
    program, and where a service runs already: its processes share as its owner wants.
    """
    control = control_program()
    if control is None or PIPES in os.environ or RUNNING.exists():
        yield False
        return
    with tempfile.TemporaryDirectory(prefix="eggan-mps-", ignore_cleanup_errors=True) as folder:
        os.environ |= {PIPES: folder, LOGS: folder}
        try:
            started = _answers([control, "-d"]) and _answers([sys.executable, "-c", OPEN_CONTEXT])
            if not started:
                _forget(control)
                print("MPS does not work here: the GPU turns from one process to the next", file=sys.stderr)
            yield started
        finally:
            _forget(control)


def control_program() -> str | None:
    """Return the program that starts the service, None where there is none."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), *DRIVER_PLACES])
    return shutil.which(CONTROL, path=places)


def _forget(control: str) -> None:
    """End the service, if any, and let processes that are started from now on do without it."""
    if PIPES in os.environ:
        _answers([control], "quit\n")
        del os.environ[PIPES], os.environ[LOGS]


def _answers(command: Sequence[str], told: str = "") -> bool:
    """Run a command, telling it something; return whether it ended well, and in time."""
    output = subprocess.DEVNULL
    try:
        done = subprocess.run(
            command, input=told, text=True, timeout=ANSWER_SECONDS, stdout=output, stderr=output
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
