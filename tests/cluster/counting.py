"""A job in a fraction of a second: it counts, saves after each number, and notes who counted what when."""

import argparse
import json
import os
import signal
import time
from pathlib import Path

from eggan.child_process import end_with_parent
from eggan.cluster.jobs import Job, job_in_place
from eggan.files import try_lock, write_json, write_text

STATE, METRICS, CELL, LOCK = "training_state.pt", "metrics.jsonl", "cell.json", ".lock"


def job(folder: Path, notes: Path, name: str = "count", **options) -> Job:
    """Return a job that counts to `until`; options: until, step_seconds, kills (its worker, at this number),
    status, files, needs.
    """
    files, needs = options.pop("files", {}), options.pop("needs", {"threads": 1})
    usual = {"until": 10, "step_seconds": 0.0, "kills": None, "status": 0}
    place = f"runs/cells/{name}"
    return Job(
        name=f"cell-{name}",
        arguments=argparse.Namespace(run=count, place=Path(place), notes=notes, **(usual | options)),
        needs=needs,
        files=files,
        folder=folder / name,
        place=place,
        brought=(STATE, METRICS, CELL),
        state_file=STATE,
        lock=f"{place}/{LOCK}",
        last=CELL,
    )


def in_place(away: Job) -> Job:
    """Return a job like `away` that counts in the client's own folder, in no worker's."""
    own = argparse.Namespace(**{**vars(away.arguments), "place": away.folder})
    return job_in_place(away.name, own, 1)


def count(arguments: argparse.Namespace) -> int:
    """Count from where the folder's checkpoint is."""
    end_with_parent()
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    folder = arguments.place
    with try_lock(folder / LOCK) as ours:
        assert ours
        state = folder / STATE
        number = int(state.read_text()) if state.exists() else 0
        metrics = folder / METRICS
        logged = metrics.read_text().count("\n") if metrics.exists() else 0
        while number < arguments.until and not stopped:
            number += 1
            if number == arguments.kills:
                note(arguments, number)
                os.kill(os.getppid(), signal.SIGKILL)
                return 1
            if number > logged:  # as trainings do: a kill may come between the line and its checkpoint
                with metrics.open("a") as stream:
                    stream.write(json.dumps({"step": number}) + "\n")
            write_text(str(number), state)
            write_json({"state": "running", "number": number}, folder / CELL)
            note(arguments, number)
            time.sleep(float(os.environ.get("COUNT_STEP_SECONDS", arguments.step_seconds)))
        done = number >= arguments.until
        write_json({"state": "finished" if done else "interrupted", "number": number}, folder / CELL)
    return arguments.status if done else 130


def note(arguments: argparse.Namespace, number: int) -> None:
    """Append a line to what this process did; the notes are for the test alone."""
    with (arguments.notes / f"{arguments.place.name}-{os.getpid()}").open("a") as stream:
        stream.write(json.dumps([number, time.time()]) + "\n")


def notes_of(notes: Path, name: str = "count") -> list[tuple[int, list[tuple[int, float]]]]:
    """Return, in the order in which they began, the processes of a job with the numbers they counted."""
    found = []
    for path in notes.glob(f"{name}-*"):
        lines = [tuple(json.loads(line)) for line in path.read_text().splitlines()]
        found.append((int(path.name.rpartition("-")[2]), lines))
    return sorted(found, key=lambda one: one[1][0][1])


def compute(arguments: argparse.Namespace) -> int:
    """Be busy on one thread."""
    end_with_parent()
    total = 0
    for number in range(arguments.loops):
        total += number & 7
    return 0 if total else 1
