"""What a cluster costs and gains; no test, since it needs a quiet machine.

export PYTHONPATH=.                                     workers find this module there
python -m tests.cluster.measure_scale overhead 1000     milliseconds a job through four workers, memory
python -m tests.cluster.measure_scale speed 8           two workers against one, each job one thread
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from distributed import Worker

from eggan.cluster import connection
from eggan.cluster import worker as remote
from eggan.cluster.connection import ClusterChoice, connected
from eggan.cluster.jobs import ClusterRun, Job, Outcome
from eggan.files import write_json
from tests.cluster.counting import CELL, METRICS, STATE, compute

LOOPS = 60_000_000
# A cell's files as a process writes them that starts in no time: 12 of 20 KB.
QUICK = """
import json, os, sys
place = json.load(open(sys.argv[-1]))["arguments"]["place"]
os.makedirs(place)
for name in ["training_state.pt", "metrics.jsonl", *map(str, range(9)), "cell.json"]:
    open(os.path.join(place, name), "wb").write(os.urandom(20_000))
"""


def dask_setup(worker: Worker) -> None:
    """Preload workers that start `QUICK` in the place of this program."""
    remote.call_command = lambda path: [sys.executable, "-S", "-E", "-c", QUICK, str(path)]
    remote.dask_setup(worker)


def burning(count: int) -> Iterator[Job]:
    for number in range(count):
        yield Job(f"burn-{number}", argparse.Namespace(run=compute, loops=LOOPS), {"threads": 1})


def quick(count: int, folder: Path) -> Iterator[Job]:
    for number in range(count):
        name, place = f"cell-{number}", f"runs/cells/{number}"
        own = argparse.Namespace(run=compute, place=place)
        yield Job(
            name,
            own,
            {"threads": 1},
            folder=folder / str(number),
            place=place,
            brought=(STATE, METRICS, CELL),
            state_file=STATE,
            lock=f"{place}/.lock",
            last=CELL,
        )


def run(workers: int, given: Iterator[Job], on_end: Callable[[Job, Outcome], None], scratch: Path) -> float:
    """Return the seconds that jobs take, without the start of the workers."""
    with connected(ClusterChoice(f"local:{workers}"), scratch) as client:
        client.wait_for_workers(workers)
        started = time.monotonic()
        ClusterRun(client, given, on_end).run()
        return time.monotonic() - started


def overhead(count: int, folder: Path) -> None:
    memory = []

    def ended(job: Job, outcome: Outcome) -> None:
        assert outcome.status == 0, outcome
        memory.append(psutil.Process().memory_info().rss >> 20)

    connection.PRELOAD = "tests.cluster.measure_scale"
    before = cpu_seconds()
    seconds = run(4, quick(count, folder / "results"), ended, folder / "scratch")
    used = (cpu_seconds() - before) / count * 1000
    assert len(list((folder / "results").glob("*/cell.json"))) == count
    print(f"{count} jobs: {seconds:.1f} s, {seconds / count * 1000:.0f} ms each")
    print(f"CPU of all processes: {used:.0f} ms a job, {bare(folder):.0f} of them the job's own")
    print(f"MiB of the client after each tenth: {memory[:: max(1, count // 10)]}")


def cpu_seconds() -> float:
    """Return the CPU time of this process and of those of its children that have ended."""
    kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, kinds))


def bare(folder: Path, count: int = 50) -> float:
    """Return the CPU milliseconds of a quick job that is started by nobody else."""
    before = cpu_seconds()
    for number in range(count):
        path = folder / "call.json"
        write_json({"arguments": {"place": str(folder / "bare" / str(number))}}, path)
        subprocess.run([sys.executable, "-S", "-E", "-c", QUICK, path], check=True)
    return (cpu_seconds() - before) / count * 1000


def speed(count: int, folder: Path) -> None:
    def ended(job: Job, outcome: Outcome) -> None:
        assert outcome.status == 0, outcome

    took = {workers: run(workers, burning(count), ended, folder) for workers in (1, 2)}
    print(f"{count} jobs: {took[1]:.1f} s with one worker, {took[2]:.1f} s with two: {took[1] / took[2]:.2f}")


def main(what: str, count: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        {"overhead": overhead, "speed": speed}[what](int(count), Path(folder))
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main(*sys.argv[1:])
