"""Processes get their command's parsed arguments in a file: none is lost, none is seen by others."""

import argparse
import subprocess

import pytest

from benchmarks.bench_commands import register as register_bench
from benchmarks.scoring.instrument_choice import InstrumentChoice
from eggan import options
from eggan.command_call import call_command, read_call, write_call
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
    assert InstrumentChoice.of(arguments) == InstrumentChoice("openface", "lightcnn:w", tmp_path, "2.2.0")


def test_a_worker_runs_the_command_and_reports_its_mistakes_in_one_line(tmp_path):
    write_call(parsed("bench", "run", "nonsense", "--runs", str(tmp_path / "runs")), tmp_path / "call.json")
    done = subprocess.run(
        call_command(tmp_path / "call.json"), capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]  # after what a slow machine says of loading
    assert last.startswith("eggan: unknown suite 'nonsense'")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "call.json").exists()  # it may hold a password, and whoever wrote it may be killed


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
