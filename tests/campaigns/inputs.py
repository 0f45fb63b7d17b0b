"""Damaged inputs, many of them: each must be read, or refused in one line with status 2, within 1.5 GiB.

    python -m tests.campaigns.inputs                      100,000 inputs, seed 0, half an hour on a free core
    python -m tests.campaigns.inputs --count 2000 --only Images --seed 7
    python -m tests.campaigns.inputs --only Tables --number 1234     one input again; its files stay

What is damaged and which calls read it is in the docstrings of `subjects.py`, how it is damaged in
`mutations.py`. Input N of a subject is a function of seed, subject and N alone.

Forked children, each for a batch, read the inputs in their process. Every one must end within 20 s with
success or a `UserError` (or an error of the machine, such as a missing permission, that the command line
turns into its one line). Nothing else may be on stderr but lines that begin with "warning: ". The highest
resident size is read after every input. A child that dies is a failure of the input that it read, and the
next child goes on behind it.

Prints a table and every failure once per kind with the numbers to run it again; status 1 with any failure.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import NoReturn

import torch

from eggan import cli
from eggan.errors import UserError
from eggan.randomness import numpy_generator
from tests.campaigns.home import prepare
from tests.campaigns.subjects import SUBJECTS, Refused, Subject

BATCH = 1000
SECONDS = 20
LIMIT = 1.5 * 2**30  # bytes
SPARE = 4 * 2**30  # bytes of address space beyond what is mapped at the start: nothing may eat the machine
READ, REFUSED = "read", "refused"


@dataclass
class Tally:
    """The outcomes of one subject; `failures` maps a kind of failure to the numbers of its inputs."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    peak: int = 0
    seconds: float = 0.0
    count: int = 0


class TooSlow(BaseException):
    """An input took longer than `SECONDS`; no `except Exception` may swallow it."""


def main() -> int:
    """Run the campaign."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=[subject.__name__ for subject in SUBJECTS])
    parser.add_argument("--number", type=int, help="run this input alone, and keep its files")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # The list of installed commands takes longer to read than most inputs.
    cli.entry_points = lru_cache(maxsize=1)(cli.entry_points)  # type: ignore[attr-defined]
    work = Path(tempfile.mkdtemp(prefix="eggan-inputs-"))
    prepare(work / "home")
    chosen = [subject for subject in SUBJECTS if arguments.only in (None, subject.__name__)]
    if arguments.number is not None:
        place = work / "place"
        place.mkdir()
        print(place, flush=True)
        _attempt(chosen[0](work / "home"), arguments.seed, arguments.number, place)
        return 0
    shares = sum(subject.share for subject in chosen)
    tallies = {}
    try:
        for subject in chosen:
            count = round(arguments.count * subject.share / shares)
            tallies[subject.__name__] = run(subject(work / "home"), arguments.seed, count, work)
            print(_line(subject.__name__, tallies[subject.__name__]), flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return report(tallies)


def run(subject: Subject, seed: int, count: int, work: Path) -> Tally:
    """Read inputs 0 to `count` - 1 of a subject in children."""
    tally, began, number = Tally(count=count), time.monotonic(), 0
    results = work / "results"
    getattr(subject, "seeds", None)  # made once, before the children are
    while number < count:
        end = min(number + BATCH, count)
        results.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            _child(subject, seed, range(number, end), work, results)
        _, status = os.waitpid(child, 0)
        lines = results.read_text().splitlines() if results.exists() else []
        for line in lines:
            outcome = json.loads(line)
            _count(tally, number, outcome)
            number += 1
        if status:
            how = (
                signal.Signals(os.WTERMSIG(status)).name
                if os.WIFSIGNALED(status)
                else f"status {status >> 8}"
            )
            _count(tally, number, {"kind": f"the process died: {how}", "peak": 0})
            number += 1
    tally.seconds = time.monotonic() - began
    return tally


def _count(tally: Tally, number: int, outcome: dict[str, object]) -> None:
    kind, peak = str(outcome["kind"]), int(str(outcome["peak"]))
    tally.peak = max(tally.peak, peak)
    if kind in (READ, REFUSED):
        tally.outcomes[kind] += 1
    else:
        tally.failures[kind].append(number)
    if peak > LIMIT:
        tally.failures[f"{peak / 2**30:.1f} GiB"].append(number)


def _child(subject: Subject, seed: int, numbers: range, work: Path, results: Path) -> NoReturn:
    place, words = work / "place", work / "stderr"
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + SPARE, mapped + SPARE))
    signal.signal(signal.SIGALRM, _too_slow)
    os.dup2(os.open(words, os.O_RDWR | os.O_CREAT | os.O_TRUNC), 2)
    with results.open("w") as stream:
        for number in numbers:
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            os.truncate(words, 0)
            os.lseek(2, 0, os.SEEK_SET)
            kind = _outcome(subject, seed, number, place)
            sys.stderr.flush()
            said = [line for line in words.read_text(errors="replace").splitlines() if line.strip()]
            told = [line for line in said if not line.startswith(("eggan: ", "warning: "))]
            if kind in (READ, REFUSED) and (
                told or sum("eggan: " in line for line in said) > (kind == REFUSED)
            ):
                kind = f"more than one line: {(told or said)[0][:120]}"
            stream.write(json.dumps({"kind": kind, "peak": _peak()}) + "\n")
            stream.flush()
    os._exit(0)


def _outcome(subject: Subject, seed: int, number: int, place: Path) -> str:
    signal.alarm(SECONDS)
    try:
        _attempt(subject, seed, number, place)
        return READ
    except Refused:
        return REFUSED
    except UserError as error:
        return REFUSED if str(error).strip() else "a refusal without a word"
    except TooSlow:
        return f"longer than {SECONDS} s"
    except BaseException as error:
        return REFUSED if cli.outside_reason(error) else _kind(error)
    finally:
        signal.alarm(0)


def _attempt(subject: Subject, seed: int, number: int, place: Path) -> None:
    subject.attempt(numpy_generator("campaign", type(subject).__name__, seed, number), place)


def _kind(error: BaseException) -> str:
    """Return what an error is and where in this project it passed last: findings of one cause are one."""
    here = [
        frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename
    ]
    last = next((f for f in reversed(here) if "/lib/python" not in f.filename), None)
    place = f"{'/'.join(Path(last.filename).parts[-3:])}:{last.lineno}" if last else "?"
    return f"{type(error).__name__} at {place}: {' '.join(str(error).split())[:100]}"


def _peak() -> int:
    """Return the highest resident size, in bytes, since the last call."""
    status = Path("/proc/self/status").read_text()
    Path("/proc/self/clear_refs").write_text("5")
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow


def _line(name: str, tally: Tally) -> str:
    failed = sum(map(len, tally.failures.values()))
    return (
        f"{name:<12} {tally.count:>8,} {tally.outcomes[READ]:>8,} {tally.outcomes[REFUSED]:>8,} {failed:>7,} "
        f"{tally.peak / 2**20:>8,.0f} {tally.seconds:>7,.0f}"
    )


def report(tallies: dict[str, Tally]) -> int:
    """Print the table and the failures by kind; return the exit status."""
    print(f"\n{'subject':<12} {'inputs':>8} {'read':>8} {'refused':>8} {'failed':>7} {'peak MiB':>8} seconds")
    total = Tally()
    for name, tally in tallies.items():
        print(_line(name, tally))
        total.outcomes += tally.outcomes
        total.count, total.seconds = total.count + tally.count, total.seconds + tally.seconds
        total.peak = max(total.peak, tally.peak)
        for kind, numbers in tally.failures.items():
            total.failures[f"{name}: {kind}"] += numbers
    print(_line("all", total))
    for kind, numbers in sorted(total.failures.items(), key=lambda item: -len(item[1])):
        print(f"{len(numbers):>6} x {kind}  (numbers {', '.join(map(str, numbers[:3]))})")
    return 1 if total.failures else 0


if __name__ == "__main__":
    sys.exit(main())
