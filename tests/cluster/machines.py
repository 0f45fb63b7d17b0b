"""A scheduler and workers as processes of their own on loopback, each worker with a disk of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
DEATH_SECONDS = 5


@dataclass
class Machines:
    """Processes of a cluster below a folder."""

    folder: Path
    prefix: tuple[str, ...] = ()  # before the command of a worker
    host: str = "127.0.0.1"
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def file(self) -> Path:
        return self.folder / "scheduler.json"

    def start(self, *words: str, prefix: tuple[str, ...] = (), **environment: str) -> subprocess.Popen:
        command = [*prefix, sys.executable, "-P", *words]
        path = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with (self.folder / f"log-{len(self.processes)}").open("w") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **path, **environment}, stdout=log, stderr=log
            )
        self.processes.append(process)
        return process

    def scheduler(self, *words: str) -> subprocess.Popen:
        options = ("--host", self.host, "--no-dashboard", "--scheduler-file", str(self.file), *words)
        process = self.start("-m", "dask", "scheduler", *((words and options) or (*options, "--port", "0")))
        until(self.file.exists)
        return process

    def worker(self, name: str, *words: str, nanny: bool = False, **environment: str) -> subprocess.Popen:
        disk = self.folder / name
        disk.mkdir(exist_ok=True)
        if "--preload" not in words:
            words = (*words, "--preload", "eggan.cluster.worker")
        options = ["--no-dashboard", "--nthreads", "1", "--name", name, "--local-directory", str(disk)]
        options += ["--death-timeout", str(DEATH_SECONDS), *([] if nanny else ["--no-nanny"]), *words]
        return self.start(
            *("-m", "dask", "worker", "--scheduler-file", str(self.file), *options),
            prefix=self.prefix,
            **environment,
        )

    @property
    def address(self) -> str:
        return json.loads(self.file.read_text())["address"]

    def stop(self) -> None:
        for process in self.processes:
            for one in [*children(process.pid), process]:
                with_kill(one)
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def with_kill(process: psutil.Process | subprocess.Popen) -> None:
    try:
        process.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return


def until(holds: Callable[[], bool], seconds: float = 60.0) -> float:
    """Wait until something holds, and return how long that took."""
    started = time.monotonic()
    while not holds():
        if time.monotonic() - started > seconds:
            raise TimeoutError
        time.sleep(0.05)
    return time.monotonic() - started
