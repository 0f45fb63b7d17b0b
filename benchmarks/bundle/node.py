"""A bundle's command on the node: it starts the suites, ends them in time, and packs what there is.

They run in a process of its own, which is asked to stop, and then made to, before the minutes are over:
whatever an estimate said, the results of what was finished are packed within them.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from benchmarks.bundle.gpu_sharing import gpu_shared_at_once
from benchmarks.bundle.packing import pack
from benchmarks.running.bench_console import status_text
from benchmarks.running.cells import all_cells, settle
from eggan import cli, startup
from eggan.child_process import child_environment, end_with_parent, how_ended
from eggan.command_call import call_command, write_call
from eggan.errors import UserError
from eggan.files import check_writable
from eggan.machine import allowed_cores, default_workers
from eggan.tracking.presence import close_dead

LEAST_RESERVE, RESERVE_SHARE = 6.0, 0.04  # seconds, and share of all, that ending and packing may take
STOPPING_SHARE = 0.6  # of the reserve: how long a process that is asked to stop may take
CELL_STOPPING_SHARE = 0.8  # of that: how long the processes of cells may take, where there are some
MOST_AT_ONCE = 8  # cells on one GPU
UNFINISHED = 1


def run(arguments: argparse.Namespace) -> int:
    """Run suites within `arguments.minutes` and pack its results; 0 where every cell is finished."""
    startup.prepare()
    return cli.reported(lambda: _run(arguments, time.monotonic()))


def _run(arguments: argparse.Namespace, began: float) -> int:
    for name in ("processes", "workers"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise UserError(f"--{name} must be at least 1")
    seconds = 60.0 * arguments.minutes
    reserve = LEAST_RESERVE + RESERVE_SHARE * seconds
    if not 2 * reserve < seconds:
        raise UserError(f"--minutes {arguments.minutes:g} are too few: give more")
    arguments.suites = list(dict.fromkeys(arguments.suites))
    if len(arguments.suites) > 1 and arguments.images is None:
        raise UserError("what fits is measured for one suite: give --images own, or a number, for several")
    out: Path = arguments.out
    data: Path = arguments.data or out / "data"
    check_writable(out)
    if not data.exists():
        check_writable(data)
    if arguments.dry_run:
        return _list_cells(arguments)
    out.mkdir(parents=True, exist_ok=True)
    arguments.until = began + seconds - reserve
    arguments.stopping = CELL_STOPPING_SHARE * STOPPING_SHARE * reserve
    arguments.run = work
    with tempfile.TemporaryDirectory(prefix="eggan-node-") as folder:
        call = Path(folder, "call.json")
        write_call(arguments, call)
        with gpu_shared_at_once() if _wants_gpu(arguments) else nullcontext():
            left = arguments.until - time.monotonic()
            status = _within(call_command(call), left, STOPPING_SHARE * reserve)
    if not all_cells(out / "runs"):
        print("no cell was begun: there is nothing to pack")
        return cli.USER_MISTAKE if status == cli.USER_MISTAKE else UNFINISHED
    settle_all(out / "runs")
    print(status_text(out / "runs"))
    packed = pack(out)
    for name in packed.not_begun:
        print(f"not begun: {name}")
    for name in packed.left_out:
        print(f"left out, the archive would be too large: {name}")
    spent = (time.monotonic() - began) / 60
    print(f"{spent:.1f} of {arguments.minutes:g} minutes; bring home: {' '.join(map(str, packed.parts))}")
    print(f"there: eggan bench sync {' '.join(part.name for part in packed.parts)}")
    return UNFINISHED if status else 0


def _wants_gpu(arguments: argparse.Namespace) -> bool:
    """Return whether several processes may share a GPU; torch, which could tell, is not imported here."""
    return arguments.processes != 1 and arguments.device.startswith(("auto", "cuda"))


def settle_all(runs: Path) -> None:
    """Let the records of cells, and of suites, whose processes are gone say how they ended."""
    for cell in all_cells(runs):
        settle(cell, None)
    close_dead([runs])


def _list_cells(arguments: argparse.Namespace) -> int:
    from benchmarks.bundle.node_run import NodeRun, listed_cells
    from benchmarks.bundle.node_suite import checked
    from benchmarks.suites.methods import all_methods
    from benchmarks.suites.suite import find_suite
    from eggan.options import resolve_device

    resolve_device(arguments.device)
    run = NodeRun.of(arguments, until=0.0)
    print(listed_cells(checked([find_suite(name) for name in arguments.suites], run, all_methods()), run))
    return 0


def _within(command: Sequence[str], seconds: float, stopping: float) -> int:
    """Run a process for at most `seconds` and then `stopping` more; return its exit status."""
    with subprocess.Popen(command, env=os.environ | child_environment()) as child:
        try:
            return child.wait(seconds)
        except KeyboardInterrupt:
            print("stopping", flush=True)
        except subprocess.TimeoutExpired:
            print("the minutes are over: what runs is asked to stop", flush=True)
        child.terminate()
        try:
            return child.wait(stopping)
        except subprocess.TimeoutExpired:
            child.kill()
            print(f"the process of the suites {how_ended(child.wait())}")
            return child.returncode


def work(arguments: argparse.Namespace) -> int:
    """Run the suites, in this process or from it, until `arguments.until`."""
    from benchmarks.bundle.cell_workers import InTurn, SideBySide, bench_of, reads_landmarks
    from benchmarks.bundle.node_run import NodeRun
    from benchmarks.bundle.node_suite import run_within
    from benchmarks.suites.suite import find_suite
    from eggan.options import resolve_device

    end_with_parent()
    startup.set_threads(1)
    arguments.device = resolve_device(arguments.device)
    arguments.workers = arguments.workers or default_workers()
    processes = arguments.processes or default_processes(arguments.device)
    if not reads_landmarks():
        print("not measured: AUs off landmarks, for which this Python lacks onnxruntime", file=sys.stderr)
    workers = SideBySide(arguments, processes) if processes > 1 else InTurn()
    run = NodeRun.of(arguments, arguments.until)
    suites = [find_suite(name) for name in arguments.suites]
    finished = run_within(suites, bench_of(arguments), run, workers)
    return 0 if finished else UNFINISHED


def default_processes(device: str) -> int:
    """Return how many cells run at a time: on a GPU one per two cores and up to 8, on a CPU one."""
    return max(1, min(allowed_cores() // 2, MOST_AT_ONCE)) if device.startswith("cuda") else 1
