"""Jobs on a cluster: each is a task of its scheduler, which alone decides where and when it runs.

What a job's process writes comes back here while it runs and at its end. A job whose worker died goes on
elsewhere from the last checkpoint that came back.
"""

import argparse
import os
import queue
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed import KilledWorker
from distributed.comm import CommClosedError

from eggan.child_process import how_ended
from eggan.cluster import worker as remote
from eggan.cluster.connection import ANSWER_SECONDS, PRELOAD
from eggan.cluster.mirror import Mirror, Transport, by_hash
from eggan.cluster.version import PREFIX, program_version
from eggan.cluster.worker import STOP_SECONDS, TRIES, Call, Ended
from eggan.command_call import call_text
from eggan.errors import UserError, one_line
from eggan.startup import thread_environment

if TYPE_CHECKING:
    from distributed import Client, Future

BRING_SECONDS = 15.0
LOOK_SECONDS = 1.0
AHEAD = 2  # jobs given to the scheduler for each that can run at once: the next one is there when one ends
NO_DISTANCE = 1  # of that within one process; jobs then begin in their order
MOST_WAITING = 500  # jobs given to it at all
GONE = (OSError, CommClosedError, KeyError, TimeoutError)  # what asking a worker raises that has died


@dataclass(frozen=True)
class Job:
    """A command's parsed arguments, with paths below the folder of whatever worker runs it.

    `needs` are amounts of what workers offer. `files` maps places there to files here. `folder` is what the
    job works on, `place` where that is at a worker; `brought` are patterns of what comes back while it runs,
    in that order, all of it comes back at the end. `state_file` is the checkpoint in it, `lock` what a
    process at work there holds, and `last` the file that says what the others are. Of a job `in_place`
    nothing travels (`eggan.cluster.worker.Call`).
    """

    name: str  # also of the scheduler's task: the same job of two clients is run once
    arguments: argparse.Namespace
    needs: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)
    folder: Path | None = None
    place: str = ""
    brought: tuple[str, ...] = ()
    state_file: str = ""
    lock: str = ""
    last: str = ""
    in_place: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


def job_in_place(name: str, arguments: argparse.Namespace, at_once: int) -> Job:
    """Return the job of a worker inside this process, one of `at_once` that share the cores."""
    return Job(name, arguments, in_place=True, environment=thread_environment(os.environ, at_once))


@dataclass(frozen=True)
class Outcome:
    """How a job ended: the status of its process (negative for a signal), or None and a reason.

    `stopped` says that this run was stopped before the job was at its end.
    """

    status: int | None
    reason: str = ""
    worker: str = ""
    stopped: bool = False

    @property
    def how(self) -> str:
        """How the job's process ended, or why there was none."""
        return self.reason if self.status is None else how_ended(self.status)


@dataclass
class _Running:
    job: Job
    mirror: Mirror | None
    future: "Future | None" = None
    lost: int = 0  # how often its results went with their worker


class ClusterRun:
    """Runs jobs, which are taken from `jobs` as there is room; `on_end` is called as each ends, here.

    `ahead` jobs are given to the scheduler for each that can run at once.
    """

    def __init__(
        self,
        client: "Client",
        jobs: Iterator[Job],
        on_end: Callable[[Job, Outcome], None],
        ahead: int = AHEAD,
    ) -> None:
        self.client, self.jobs, self.on_end, self.ahead = client, jobs, on_end, ahead
        self.transport = Transport(client)
        self._running: dict[str, _Running] = {}
        self._done: queue.SimpleQueue[tuple[str, Future]] = queue.SimpleQueue()
        self._more = True
        self._noted: set[str] = set()
        self._looked = self._brought = time.monotonic()
        self._asked: tuple[float, dict[str, dict[str, Any]]] = (0.0, {})
        self._held: dict[str, dict[str, tuple[int, bool]]] = {}  # by worker, of folders there

    def run(self) -> None:
        """Run all jobs; what stops this stops them too, and brings what they had."""
        try:
            self._check_workers()
            self._fill()
            failures = 0
            while self._running:
                try:
                    self._step()
                    failures = 0
                except GONE:
                    failures += 1
                    if failures > TRIES:
                        raise
                    self._recover()
        except BaseException:
            self._stop()
            raise

    def _step(self) -> None:
        """Handle an end, or what is done once in a while."""
        with suppress(queue.Empty):
            self._handle(*self._done.get(timeout=LOOK_SECONDS))
            self._fill()
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._require_scheduler()
            self._note_workers()
            self._fill()
            self._looked = time.monotonic()
        if time.monotonic() - self._brought > BRING_SECONDS:
            self._bring_checkpoints()
            self._brought = time.monotonic()

    def _recover(self) -> None:
        """Go on after a question that nobody answered: the scheduler, or a worker, went away over it."""
        time.sleep(LOOK_SECONDS)
        self._require_scheduler()
        for running in list(self._running.values()):
            if running.future is None:
                self._begin(running.job)

    # --- workers

    def _workers(self) -> dict[str, dict[str, Any]]:
        """Return the workers by address, asked for once in a while."""
        asked, workers = self._asked
        if not workers or time.monotonic() - asked > LOOK_SECONDS:
            workers = dict(self.client.scheduler_info()["workers"])
            self._asked = time.monotonic(), workers
        return workers

    def _fit(self) -> dict[str, dict[str, Any]]:
        """Return the workers that run this program."""
        return {at: known for at, known in self._workers().items() if program_version() in known["resources"]}

    def _check_workers(self) -> None:
        """Refuse a cluster all of whose workers run another program; wait where there is none yet."""
        if not self._workers():
            print("waiting for a worker", file=sys.stderr)
        while not self._workers():
            self._require_scheduler()
            time.sleep(LOOK_SECONDS / 2)
        self._note_workers()
        if not self._fit():
            raise UserError(_refusal(*next(iter(self._workers().items()))))

    def _note_workers(self) -> None:
        """Print a line for each worker that gets no jobs, once, and for each need that none meets."""
        workers = self._workers()
        for at, known in workers.items():
            if program_version() not in known["resources"] and at not in self._noted:
                self._noted.add(at)
                print(_refusal(at, known), file=sys.stderr)
        for running in self._running.values():
            met = not workers or _offers(workers.values(), running.job)
            if not met and running.job.name not in self._noted:
                self._noted.add(running.job.name)
                needs = ", ".join(f"{name} {amount:g}" for name, amount in running.job.needs.items())
                print(f"{running.job.name} waits for a worker that offers {needs}", file=sys.stderr)

    def _require_scheduler(self) -> None:
        """Wait a while for a scheduler that does not answer; one that stays away is a `UserError`."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while self.client.status == "connecting" and time.monotonic() < deadline:
            time.sleep(0.1)
        if self.client.status != "running":
            raise UserError(
                "the scheduler went away: what was finished is kept; start it again, and the same command "
                "goes on"
            )

    # --- giving jobs to the scheduler

    def _fill(self) -> None:
        if not self._more:
            return
        workers = self._fit()
        room = self.ahead * sum(known["nthreads"] for known in workers.values())
        while self._more and len(self._running) < MOST_WAITING:
            runnable = [r for r in self._running.values() if _offers(workers.values(), r.job)]
            if len(runnable) >= room:
                return
            job = next(self.jobs, None)
            if job is None:
                self._more = False
                return
            self._begin(job)

    def _begin(self, job: Job) -> None:
        mirror = None
        if job.folder is not None:
            mirror = Mirror(self.transport, job.folder, job.place, job.state_file, job.last)
        self._running[job.name] = running = _Running(job, mirror)
        if job.state_file and mirror is not None:
            self._take_later_state(running)
        self._submit(running)

    def _take_later_state(self, running: _Running) -> None:
        """Wait for a process that an earlier client left behind, and bring a checkpoint that only it has."""
        job, mirror = running.job, running.mirror
        if mirror is None:
            return
        deadline = time.monotonic() + STOP_SECONDS
        while True:
            at_work = any(folders.get(job.place, (0, False))[1] for folders in self._holders(job).values())
            if not at_work or self._is_processed(job.name) or time.monotonic() > deadline:
                break
            self._held.clear()
            time.sleep(0.5)
        found = [(folders[job.place][0], at) for at, folders in self._held.items() if job.place in folders]
        if found and max(found)[0] > mirror.progress():
            with suppress(*GONE):
                mirror.bring(max(found)[1])

    def _holders(self, job: Job) -> dict[str, dict[str, tuple[int, bool]]]:
        if not self._held and (workers := list(self._fit())):
            pattern = str(Path(job.place).with_name("*"))
            lock = Path(job.lock).name
            self._held = self.client.run(
                remote.held, pattern, job.state_file, lock, workers=workers, on_error="ignore"
            ) or {workers[0]: {}}
        return self._held

    def _is_processed(self, name: str) -> bool:
        return any(name in names for names in self.client.processing().values())

    def _submit(self, running: _Running) -> None:
        job = running.job
        old, running.future = running.future, None
        if old is not None:
            old.release()  # or the scheduler would give its result again
        self._keep_state(running)
        call = Call(
            call_text(job.arguments),
            by_hash(self.transport, job.files),
            int(job.needs.get("threads", 1)),
            job.place,
            job.state_file,
            job.lock,
            job.in_place,
            job.environment,
        )
        running.future = self.client.submit(
            remote.run_call,
            call,
            key=job.name,
            resources={**job.needs, program_version(): 1},
            pure=False,
        )
        running.future.add_done_callback(lambda future: self._done.put((job.name, future)))

    def _keep_state(self, running: _Running) -> None:
        """Let the scheduler know what a worker goes on from; tries without a new checkpoint count anew."""
        if running.job.state_file and running.mirror is not None:
            self.client.set_metadata(
                [remote.state_key(running.job.name)], {**running.mirror.state(), "starts": 0}
            )

    # --- ends

    def _handle(self, name: str, future: "Future") -> None:
        running = self._running.get(name)
        if running is None or running.future is not future:
            return
        if future.status in ("cancelled", "lost"):
            self._require_scheduler()
            self._held.clear()
            self._begin(running.job)
        elif future.status == "error":
            error = future.exception()
            killed = isinstance(error, KilledWorker)
            reason = "the workers that ran it died, one after the other" if killed else one_line(error)
            self._end(running, Outcome(None, reason))
        else:
            self._handle_end(running, future.result())

    def _handle_end(self, running: _Running, ended: Ended) -> None:
        try:
            if ended.missing:
                self._send(running, ended)
            elif ended.stopped:
                self._submit(running)
            elif ended.status is None:
                self._end(running, Outcome(None, ended.last_words, ended.worker))
            else:
                if running.mirror is not None:
                    running.mirror.bring(ended.worker)
                    if running.job.lock:  # nobody else works there
                        self.transport.ask(ended.worker, remote.forget, running.job.place)
                self._end(running, Outcome(ended.status, _last_line(ended.last_words), ended.worker))
        except GONE as error:
            if isinstance(error, OSError) and error.errno and ended.worker in self._workers():
                self._end(running, Outcome(None, f"{ended.worker}: {one_line(error)}", ended.worker))
            else:
                self._lost(running)

    def _send(self, running: _Running, ended: Ended) -> None:
        paths = {self.transport.sha256(path): path for path in running.job.files.values()}
        if running.job.folder is not None and running.mirror is not None:
            state = running.mirror.state()["files"]
            paths |= {sha256: running.job.folder / name for name, sha256 in state.items()}
        for sha256 in ended.missing:
            if sha256 in paths:  # else it has changed since, and the next try asks for another one
                self.transport.send(ended.worker, paths[sha256], sha256)
        self._submit(running)  # at no worker of our choice: Dask would wait for one that has died

    def _lost(self, running: _Running) -> None:
        running.lost += 1
        if running.lost < TRIES:
            self._submit(running)
        else:
            self._end(running, Outcome(None, f"its results went with their worker {TRIES} times"))

    def _end(self, running: _Running, outcome: Outcome) -> None:
        del self._running[running.job.name]
        self.on_end(running.job, outcome)
        if running.future is not None:
            running.future.release()
        if not running.job.in_place:
            with suppress(*GONE):
                for key in (remote.state_key(running.job.name), remote.owner_key(running.job.name)):
                    self.client.set_metadata([key], None)

    def _bring_checkpoints(self) -> None:
        at = {name: worker for worker, names in self.client.processing().items() for name in names}
        for name, running in self._running.items():
            if running.mirror is not None and running.job.brought and name in at:
                with suppress(*GONE):
                    if running.mirror.bring(at[name], running.job.brought):
                        self._keep_state(running)

    def _stop(self) -> None:
        """Take the jobs back, wait while their processes save, and bring what they saved."""
        running, self._running = list(self._running.values()), {}
        with suppress(Exception):
            self._bring_last(running)
        for one in running:
            self.on_end(one.job, Outcome(None, "was stopped with its run", stopped=True))

    def _bring_last(self, stopped: Sequence[_Running]) -> None:
        if self.client.status != "running":
            return
        at = {name: worker for worker, names in self.client.processing().items() for name in names}
        self.client.cancel([one.future for one in stopped if one.future is not None])
        deadline = time.monotonic() + STOP_SECONDS
        for one in stopped:
            if (worker := at.get(one.job.name)) is not None:
                with suppress(*GONE):
                    self._bring_stopped(one, worker, deadline)

    def _bring_stopped(self, one: _Running, worker: str, deadline: float) -> None:
        while one.job.name in self.transport.ask(worker, remote.at_work) and time.monotonic() < deadline:
            time.sleep(0.2)
        if one.mirror is not None:
            one.mirror.bring(worker)


def _offers(workers: Any, job: Job) -> bool:
    """Return whether some worker has all that a job needs."""
    needs = {**job.needs, program_version(): 1}
    return any(
        all(known["resources"].get(name, 0) >= amount for name, amount in needs.items()) for known in workers
    )


def _refusal(at: str, known: Mapping[str, Any]) -> str:
    theirs = next((name for name in known["resources"] if name.startswith(PREFIX)), None)
    if theirs is None:
        return f"the worker {at} gets no jobs: start it as `dask worker .. --preload {PRELOAD}`"
    return (
        f"the worker {at} gets no jobs: it runs {theirs}, and this is {program_version()}: install the same"
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
