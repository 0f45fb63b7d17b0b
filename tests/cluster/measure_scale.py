"""What a cluster costs and gains; no test, since it needs a quiet machine.

python -m tests.cluster.measure_scale overhead 1000     milliseconds a job through four workers, memory
python -m tests.cluster.measure_scale local 1000        the same in place, four at a time
python -m tests.cluster.measure_scale speed 8           two at a time against one, each job one thread
python -m tests.cluster.measure_scale start 5           seconds until two at a time can begin
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psutil
from distributed import Worker

from eggan.cluster import worker as remote
from eggan.cluster.connection import ClusterChoice, connected
from eggan.cluster.jobs import AHEAD, NO_DISTANCE, ClusterRun, Job, Outcome, job_in_place
from eggan.files import write_json
from tests.cluster.counting import CELL, METRICS, STATE, compute
from tests.cluster.machines import Machines

LOOPS = 60_000_000
WORKERS = 4
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
    remote.call_command = quick_command
    remote.dask_setup(worker)


def quick_command(path: Path) -> list[str]:
    return [sys.executable, "-S", "-E", "-c", QUICK, str(path)]


def burning(count: int, at_once: int) -> Iterator[Job]:
    for number in range(count):
        yield job_in_place(f"burn-{number}", argparse.Namespace(run=compute, loops=LOOPS), at_once)


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


def quick_in_place(count: int, folder: Path) -> Iterator[Job]:
    for number in range(count):
        own = argparse.Namespace(run=compute, place=str(folder / str(number)))
        yield job_in_place(f"cell-{number}", own, WORKERS)


def run(choice: ClusterChoice, given: Iterator[Job], on_end: Callable[[Job, Outcome], None]) -> float:
    """Return the seconds that jobs take, without the start of the workers."""
    with connected(choice) as client:
        started = time.monotonic()
        ClusterRun(client, given, on_end, NO_DISTANCE if choice.is_local else AHEAD).run()
        return time.monotonic() - started


def overhead(count: int, folder: Path) -> None:
    machines = Machines(folder)
    try:
        machines.scheduler()
        for number in range(WORKERS):
            machines.worker(f"worker-{number}", "--preload", "tests.cluster.measure_scale")
        choice = ClusterChoice(str(machines.file))
        with connected(choice) as client:
            client.wait_for_workers(WORKERS)
        measured(count, folder, choice, quick(count, folder / "results"), machines.processes)
    finally:
        machines.stop()


def local(count: int, folder: Path) -> None:
    remote.call_command = quick_command
    choice = ClusterChoice(f"local:{WORKERS}")
    measured(count, folder, choice, quick_in_place(count, folder / "results"), [])


def measured(
    count: int,
    folder: Path,
    choice: ClusterChoice,
    given: Iterator[Job],
    others: Sequence["subprocess.Popen"],
) -> None:
    memory = []

    def ended(job: Job, outcome: Outcome) -> None:
        assert outcome.status == 0, outcome
        memory.append(psutil.Process().memory_info().rss)

    def used() -> float:
        return cpu_seconds() + sum(sum(psutil.Process(other.pid).cpu_times()[:4]) for other in others)

    before = used()
    seconds = run(choice, given, ended)
    spent = (used() - before) / count * 1000
    assert len(list((folder / "results").glob("*/cell.json"))) == count
    print(f"{count} jobs: {seconds:.1f} s, {seconds / count * 1000:.0f} ms each")
    print(f"CPU of all processes: {spent:.0f} ms a job, {bare(folder):.0f} of them the job's own")
    tenths = memory[:: max(1, count // 10)] + memory[-1:]
    print(f"MiB of the client after each tenth: {[round(size / 2**20, 1) for size in tenths]}")
    print(f"KiB a job, in its second half: {(memory[-1] - memory[count // 2]) / (count / 2) / 2**10:.2f}")


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

    took = {n: run(ClusterChoice(f"local:{n}"), burning(count, n), ended) for n in (1, 2)}
    print(f"{count} jobs: {took[1]:.1f} s one at a time, {took[2]:.1f} s two: {took[1] / took[2]:.2f}")


def start(count: int, folder: Path) -> None:
    code = "import time; began = time.monotonic()\nfrom eggan.cluster import jobs\n"
    code += "from eggan.cluster.connection import ClusterChoice, connected\n"
    code += "with connected(ClusterChoice('local:2')): print(time.monotonic() - began, time.process_time())"
    for _ in range(count):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        wall, cpu = map(float, done.stdout.split())
        print(f"{wall:.2f} s, {cpu:.2f} s of them CPU (with Python's own start)")


def main(what: str, count: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        {"overhead": overhead, "local": local, "speed": speed, "start": start}[what](int(count), Path(folder))
    print(f"load of this machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main(*sys.argv[1:])
