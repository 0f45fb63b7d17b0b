"""Several processes train as one: same gradients, same weights, one that tracks and saves."""

import dataclasses
import inspect
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, redirect_stdout
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmarks.suites.methods import METHODS
from eggan import adam
from eggan.adam import Adam
from eggan.checkpoint import load_training_state
from eggan.cli import main
from eggan.data.dataset import load_dataset
from eggan.data.training_set import load_training_set
from eggan.distributed import (
    Processes,
    any_process,
    copy_from_leader,
    joined,
    leader_first,
    processes,
    spread_of_batch,
)
from eggan.errors import UserError
from eggan.training import TrainingConfig, make_batch
from tests.conftest import TINY_TRAINING
from tests.forked import ended, started
from tests.test_conformance import TINY, TRAINED
from tests.tiny import context, tiny_dataset

COUNT, STEPS, SEED = 2, 6, 3  # six steps: every network of every method has had its turn
TRAINED_STEPS = 20
TRAINING = ["train", "eggan", "--dataset", "tiny", "--preset", "quick", "--offline", "--runs", "runs"]
TRAINING += [*TINY_TRAINING, "--set", f"training.images={COUNT * TRAINED_STEPS}"]
TRAINING += ["--set", "training.checkpoint_every_seconds=0", "--set", "training.log_every=5"]
BATCH = TrainingConfig(batch_size=4, autocast="off")
# The last digit of the pictures alone changes HomoInterpGAN's gradient by 0.7 %, a BatchNorm that is not
# shared by 130 %.
CLOSE = 1e-2


class Recorded(torch.optim.SGD):
    """In the place of Adam: keeps the gradient of each step, and leaves the weights (but EGGAN-W's) as they
    are. Trained on, tiny networks magnify the rounding of float32 tenfold with every step.
    """

    gradients: ClassVar[list[Tensor]] = []
    add_param_group, zero_grad = Adam.add_param_group, Adam.zero_grad

    def __init__(self, parameters, lr, betas, fused, capturable) -> None:
        super().__init__(parameters, lr=0.0)

    @torch.no_grad()
    def step(self, closure=None) -> None:
        parameters = [p for group in self.param_groups for p in group["params"] if p.grad is not None]
        self.gradients.append(torch.cat([p.grad.flatten() for p in parameters]))
        inspect.unwrap(torch.optim.SGD.step)(self, closure)


def config_of(name: str):
    """The tiny config, with what depends on the whole batch switched on."""
    changes = {"eggan": {"latent_noise": 0.1}, "ganimation": {"reference_batch": 0}}.get(name, {})
    return dataclasses.replace(TINY[name].config, **changes)


def gradients(name: str, folder: Path, ours: Processes, draws=lambda step: nullcontext()) -> list[Tensor]:
    """Train a few steps; return the gradient that each step of each optimiser descends."""
    dataset = load_dataset(folder / "tiny")
    data = load_training_set(dataset, ("train",), "cpu")
    with leader_first():
        method = METHODS[name].build(config_of(name), context(dataset, folder / "cache"))
    Recorded.gradients.clear()
    with patch.object(adam, "Adam", Recorded):
        for step in range(STEPS):
            batch = make_batch(data, BATCH, SEED, step, ours)
            with draws(step):
                method.update(batch, step)
    return list(Recorded.gradients)


def in_two_processes(work: Callable[..., None], *given: object) -> list[BaseProcess]:
    """Start `work(*given)` in two processes that know of each other as torchrun's do."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [started(one_of_two, rank, port, work, given) for rank in range(COUNT)]


def one_of_two(rank: int, port: int, work: Callable[..., None], given: tuple[object, ...]) -> None:
    torch.set_num_threads(1)
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), WORLD_SIZE=str(COUNT))
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), GLOO_SOCKET_IFNAME="lo")
    work(rank, *given)


def work_together(rank: int, folder: Path) -> None:
    """Train every method with the other process, and keep the gradients and what was exchanged."""
    with joined("cpu") as device:
        assert (device, processes()) == ("cpu", Processes(rank, COUNT))
        found = {name: gradients(name, folder, processes()) for name in TRAINED}
        found["flags"] = {"one": any_process(rank == 1), "none": any_process(False)}
        found["spread"] = spread_of_batch(torch.arange(8.0).view(4, 2)[processes().share(4)])
        found["copied"] = torch.full((2, 3), float(rank))
        copy_from_leader(iter([found["copied"]]))
    torch.save(found, folder / f"{rank}.pt")


def train_by_command(rank: int, folder: Path, *words: str) -> None:
    """Train as a process that torchrun starts; what it prints is in `printed-RANK`."""
    os.chdir(folder)
    with Path(f"printed-{rank}").open("w") as printed, redirect_stdout(printed):
        status = main([*TRAINING, *words])
    sys.exit(status)


class DrawsOfBoth(TorchFunctionMode):
    """In one process with the whole batch, the draws of the processes that share it.

    Permutations of a batch stay within a share, as they do there.
    """

    def __init__(self, step: int) -> None:
        super().__init__()
        self.generators = [make_generator(step, rank) for rank in range(COUNT)]
        self.share = BATCH.batch_size // COUNT

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in (torch.rand, torch.randn) and kwargs.get("generator") is not None:
            shape = args[0] if isinstance(args[0], tuple) else args
            return self._drawn(func, torch.Size(shape), kwargs)
        if func is Tensor.argsort and args[0].shape == (BATCH.batch_size,):
            return torch.cat([part.argsort() + k * self.share for k, part in enumerate(args[0].chunk(COUNT))])
        return func(*args, **kwargs)

    def _drawn(self, func, shape, kwargs):
        """Draws of each process, ordered as the whole batch: parts such as [real, edit] in turn."""
        rows = shape[0] // COUNT
        drawn = [func((rows, *shape[1:]), **{**kwargs, "generator": own}) for own in self.generators]
        starts = range(0, rows, self.share)
        return torch.cat([own[start : start + self.share] for start in starts for own in drawn])


def make_generator(step: int, rank: int) -> torch.Generator:
    data = load_training_set(DATASET[0], ("train",), "cpu")
    return make_batch(data, BATCH, SEED, step, Processes(rank, COUNT)).generator


DATASET = []


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared")
    DATASET.append(tiny_dataset(folder / "tiny", grouped=True))
    return folder


@pytest.fixture(scope="module")
def both(folder):
    """What two processes have after training every method together."""
    assert [ended(process) for process in in_two_processes(work_together, folder)] == [0] * COUNT
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(COUNT)]


@pytest.mark.parametrize("name", TRAINED)
def test_processes_that_share_a_batch_descend_the_gradient_of_the_whole(name, both, folder):
    whole = gradients(name, folder, Processes(), DrawsOfBoth)
    assert len(whole) >= STEPS
    for expected, *shared in zip(whole, *(found[name] for found in both), strict=True):
        assert expected.abs().max() > 0
        assert torch.equal(*shared)
        assert (shared[0] - expected).norm() < CLOSE * expected.norm()


def test_what_one_process_knows_reaches_the_others(both):
    for found in both:
        assert found["flags"] == {"one": True, "none": False}
        assert torch.equal(found["copied"], torch.zeros(2, 3))
        assert torch.allclose(found["spread"], torch.arange(8.0).view(4, 2).std(0, correction=0))


def test_alone_nothing_is_shared(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("cpu") as device:
        assert (device, processes()) == ("cpu", Processes(0, 1))
    assert processes().leads
    assert any_process(True)
    assert not any_process(False)


def test_a_batch_that_cannot_be_shared_equally_is_refused():
    assert Processes(1, 2).share(4) == slice(2, 4)
    with pytest.raises(UserError, match="multiple of 3"):
        Processes(0, 3).share(4)


def torchrun(*words: object, cwd: Path) -> subprocess.Popen[str]:
    """Start `eggan WORDS` on two processes, each with one thread, as the documents say."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={COUNT}"]
    quiet = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "GLOO_SOCKET_IFNAME": "lo"}
    command = [*start, "-m", "--", "eggan", *map(str, words)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, cwd=cwd, env={**os.environ, **quiet}, text=True, **pipes)


def saved_step(folder: Path) -> int:
    state = load_training_state(folder, torch.device("cpu"))
    return 0 if state is None else state["step"]


@pytest.mark.slow
def test_torchrun_trains_tracks_once_and_goes_on_after_an_interruption(folder):
    whole = in_two_processes(train_by_command, folder, "--out", "whole")
    halves = torchrun(*TRAINING, "--out", "halves", cwd=folder)
    deadline = time.monotonic() + 300
    while saved_step(folder / "halves") < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    halves.terminate()
    halves.communicate(timeout=60)
    assert 3 <= saved_step(folder / "halves") < TRAINED_STEPS
    assert [ended(process) for process in whole] == [0] * COUNT
    rest = in_two_processes(train_by_command, folder, "--out", "halves", "--resume")
    assert [ended(process) for process in rest] == [0] * COUNT
    printed = "".join((folder / f"printed-{rank}").read_text() for rank in range(COUNT))
    assert printed.count(f"{COUNT * TRAINED_STEPS} images in") == 1  # the leader speaks for both
    assert len(list((folder / "halves").glob("**/metrics*"))) == 1
    ends = [(folder / name / "weights.safetensors").read_bytes() for name in ("whole", "halves")]
    assert ends[0] == ends[1]
