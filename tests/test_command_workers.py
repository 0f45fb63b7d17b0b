"""Workers get their command's parsed arguments in a file: none is lost, none is seen by others."""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.bench_commands import register as register_bench
from benchmarks.running.bench_session import choice_of
from benchmarks.scoring.instrument_choice import InstrumentChoice
from eggan import command_workers, options
from eggan.child_process import PARENT
from eggan.command_workers import read_call, run_workers, worker_command, write_call
from eggan.machine import allowed_cores
from studies.study_commands import register as register_study


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers()
    register_bench(commands)
    register_study(commands)
    return parser.parse_args(list(words))


BENCH = ("bench", "run", "quick", "--seed", "1", "--seed", "2", "--runs", "some where", "--offline")
STUDY = (
    "study",
    "run",
    "loss-weights",
    "--also",
    "latent_dim",
    "--set",
    "study.seeds=[0,1]",
    "--trials",
    "7",
)


@pytest.mark.parametrize("words", [BENCH, STUDY])
def test_arguments_come_back_as_they_were(words, tmp_path):
    arguments = parsed(*words)
    with options.remembered(arguments, words):
        write_call(arguments, tmp_path / "call.json")
    assert read_call(tmp_path / "call.json") == (arguments, list(words))


def test_a_worker_is_given_the_same_instruments(tmp_path):
    words = ("--au-instrument", "openface", "--verifier", "lightcnn:w", "--openface", str(tmp_path))
    write_call(parsed("bench", "run", "quick", *words, "--openface-version", "2.2.0"), tmp_path / "call.json")
    arguments, _ = read_call(tmp_path / "call.json")
    assert choice_of(arguments) == InstrumentChoice("openface", "lightcnn:w", tmp_path, "2.2.0")


def fake_python(folder: Path, monkeypatch, body: str) -> None:
    """Let workers run `body` in the place of this program; `call` is the path of the worker's file."""
    fake = folder / "python"
    fake.write_text(f"#!{sys.executable}\nimport json, os, sys, time\ncall = sys.argv[-1]\n{body}")
    fake.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(fake))


def test_workers_share_the_cores_and_run_one_job_each(tmp_path, monkeypatch):
    out = tmp_path / "seen"
    out.mkdir()
    fake_python(
        tmp_path,
        monkeypatch,
        "values = json.load(open(call))['arguments']\n"
        "threads = [os.environ[name] for name in ('OMP_NUM_THREADS', 'OMP_WAIT_POLICY')]\n"
        "from eggan import startup\n"
        "startup.prepare()\n"
        "threads.append(os.environ['OMP_NUM_THREADS'])\n"
        "mode = os.stat(os.path.dirname(call)).st_mode & 0o777\n"
        f"path = os.path.join({str(out)!r}, values['cell'][0])\n"
        "json.dump([sys.argv[1:-1], mode, *threads], open(path, 'w'))\n"
        "sys.exit(values['cell'] == ['bad'])\n",
    )
    jobs = {}
    for name in ("good", "bad", "third"):
        jobs[name] = parsed(
            "bench", "run", "quick", "--cell", name, "--tracking-uri", "https://me:secret@host"
        )
    ended = {}
    run_workers(jobs, 2, ended.__setitem__)
    assert ended == {"good": 0, "bad": 1, "third": 0}
    command, mode, threads, policy, kept = json.loads((out / "good").read_text())
    assert command == ["-P", "-m", "eggan.command_workers"]
    assert mode == 0o700
    assert int(threads) == max(1, allowed_cores() // 2)
    assert policy == "PASSIVE"
    assert kept == threads  # once the worker has prepared itself


def test_workers_are_asked_to_stop_with_their_launcher_and_leave_no_file(tmp_path, monkeypatch):
    fake_python(tmp_path, monkeypatch, "time.sleep(600)\n")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)

    def stopped(seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_workers.time, "sleep", stopped)
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_workers({"a": parsed(*BENCH), "b": parsed(*BENCH)}, 2, lambda name, status: None)
    assert time.monotonic() - started < 60
    assert not list(tmp_path.glob("eggan-workers-*"))


def test_a_worker_runs_the_command_and_reports_its_mistakes_in_one_line(tmp_path):
    write_call(parsed("bench", "run", "nonsense", "--runs", str(tmp_path / "runs")), tmp_path / "call.json")
    done = subprocess.run(
        worker_command(tmp_path / "call.json"), capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]  # after what a slow machine says of loading
    assert last.startswith("eggan: unknown suite 'nonsense'")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("bench", "run", "quick", "--dry-run", "--runs", "a b"), "eggan bench run quick --runs 'a b'"),
        (
            ("study", "run", "loss-weights", "--storage", "postgresql://me:secret@host/eggan"),
            "eggan study run loss-weights --storage postgresql://me@host/eggan",
        ),
        (
            ("study", "run", "loss-weights", "--storage=postgresql://me:secret@host/eggan"),
            "eggan study run loss-weights --storage=postgresql://me@host/eggan",
        ),
    ],
)
def test_the_line_that_runs_a_command_again_is_what_was_typed_without_a_password(words, line):
    with options.remembered(argparse.Namespace(), words):
        assert options.this_command() == line


def test_other_processes_know_whom_to_end_with(tmp_path, monkeypatch):
    body = f"open({str(tmp_path / 'parent')!r}, 'w').write(os.environ[{PARENT!r}])"
    fake_python(tmp_path, monkeypatch, body)
    run_workers({"a": parsed(*BENCH)}, 1, lambda name, status: None)
    assert (tmp_path / "parent").read_text() == str(os.getpid())
