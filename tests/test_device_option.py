"""One rule for `--device` in every command that computes."""

import argparse
from importlib.metadata import entry_points

import pytest
import torch

from eggan import cli
from eggan.errors import UserError
from eggan.options import resolve_device


def machine(monkeypatch, cuda: int, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "name", "device"),
    [
        (0, False, "auto", "cpu"),
        (0, True, "auto", "cpu"),
        (2, False, "auto", "cuda:0"),
        (2, False, "cuda", "cuda:0"),
        (2, False, "cuda:1", "cuda:1"),
        (2, False, "cpu", "cpu"),
        (0, True, "mps", "mps"),
    ],
)
def test_a_device_by_its_name(monkeypatch, cuda, mps, name, device):
    machine(monkeypatch, cuda, mps)
    assert resolve_device(name) == device


@pytest.mark.parametrize(
    ("cuda", "name", "here"),
    [(0, "cuda", "here: cpu;"), (1, "cuda:1", "here: cpu, cuda:0;"), (1, "mps", "here: cpu, cuda:0;")],
)
def test_a_device_that_is_not_here_is_refused(monkeypatch, cuda, name, here):
    machine(monkeypatch, cuda)
    with pytest.raises(UserError, match=here):
        resolve_device(name)


def parsers(parser: argparse.ArgumentParser):
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers(child)


def test_every_command_with_a_device_defaults_to_auto():
    found = {
        parser.prog: action.default
        for parser in parsers(cli.build_parser([], entry_points(group=cli.GROUP)))
        for action in parser._actions
        if "--device" in action.option_strings
    }
    commands = ("train", "edit", "interpolate", "bench run", "study run", "study confirm", "study ranks")
    assert {f"eggan {name}" for name in commands} <= set(found)
    assert set(found.values()) == {"auto"}


def test_bench_and_study_compute_where_auto_says(monkeypatch, tmp_path):
    from benchmarks.running.bench_session import BenchSession
    from studies.study_session import shared_choices

    machine(monkeypatch, cuda=1)
    for words, read in (
        (["bench", "run", "quick"], lambda arguments: BenchSession.of(arguments).bench),
        (["study", "run", "loss-weights"], lambda arguments: shared_choices(arguments, "s")["bench"]),
    ):
        parser = cli.build_parser(words, entry_points(group=cli.GROUP))
        arguments = parser.parse_args([*words, "--runs", str(tmp_path), "--data", str(tmp_path)])
        assert read(arguments).device == "cuda:0"
