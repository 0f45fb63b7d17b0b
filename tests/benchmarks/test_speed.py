"""Speed is measured on real training steps, and the user's checkout of other code leaves no trace."""

import dataclasses
import json
import sys
from types import SimpleNamespace

import pytest
import torch

from baselines.ganimation import GANimation
from baselines.homointerpgan import HomoInterpGAN
from baselines.stargan import StarGAN
from benchmarks import speed
from benchmarks.bundle import timing
from benchmarks.official_stargan import OfficialStarGAN
from benchmarks.speed import SpeedSettings, compare_with_official, machine_ceiling, settled_step
from benchmarks.suites.methods import METHODS
from eggan.errors import UserError
from eggan.model import EGGAN
from eggan.tracking import read_record
from eggan.warp import EGGANW

KINDS = {
    "stargan": StarGAN,
    "ganimation": GANimation,
    "homointerpgan": HomoInterpGAN,
    "eggan": EGGAN,
    "eggan-w": EGGANW,
}
SOLVER = """
from model import STEPS
class Solver:
    def __init__(self, celeba_loader, rafd_loader, config):
        self.loader, self.config, self.num_iters = rafd_loader, config, config.num_iters
    def train(self):
        batches = iter(self.loader)
        for _ in range(self.num_iters):
            images, labels = next(batches)
            STEPS.append((tuple(images.shape), float(images.abs().max()) <= 1, len(labels)))
            print("Start training...")
"""


@pytest.fixture
def checkout(tmp_path):
    (tmp_path / "model.py").write_text("STEPS = []\n")
    (tmp_path / "solver.py").write_text(SOLVER)
    return tmp_path


def test_the_official_solver_takes_the_steps_that_are_timed(checkout, capsys):
    path, known = list(sys.path), {"model", "solver"} & set(sys.modules)
    official = OfficialStarGAN(checkout, 64, 3)
    assert official.block(5) > 0
    steps = official.solver.train.__globals__["STEPS"]
    assert steps == [((3, 3, 64, 64), True, 3)] * 5
    assert capsys.readouterr().out == ""
    assert (sys.path, {"model", "solver"} & set(sys.modules)) == (path, known)
    settings = official.solver.config
    assert (settings.c_dim, settings.n_critic, settings.lambda_gp) == (8, 5, 10.0)


@pytest.mark.parametrize("missing", ["model.py", "solver.py"])
def test_another_folder_is_refused(checkout, missing):
    (checkout / missing).unlink()
    with pytest.raises(UserError, match=f"no checkout of the official StarGAN: it has no {missing}"):
        OfficialStarGAN(checkout, 64, 2)


def test_a_folder_that_is_no_checkout_is_refused_before_anything_is_measured(eggan, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "machine_ceiling", lambda device: pytest.fail("measured"))
    status, _, err = eggan("bench", "speed", "--official", f"stargan={tmp_path}", "--runs", tmp_path / "runs")
    assert status == 2
    assert "is no checkout of the official StarGAN" in err
    assert not (tmp_path / "runs").exists()


def test_operations_of_products_and_convolutions_are_counted_with_their_gradients():
    """Of a layer of 8 to 16 features and 4 rows 2 x 4 x 8 x 16, and as many for the gradient of each side."""

    class Products(speed.Stepper):
        def __init__(self):
            self.left, self.right = (
                torch.ones(4, 8, requires_grad=True),
                torch.ones(8, 16, requires_grad=True),
            )

        def block(self, steps, launched=False):
            assert launched
            for _ in range(steps):
                (self.left @ self.right).sum().backward()
            return 0.0

    class Penalty(Products):
        def block(self, steps, launched=False):
            for _ in range(steps):
                output = (self.left @ self.right).square().sum()
                (slope,) = torch.autograd.grad(output, self.left, create_graph=True)
                slope.square().sum().backward()
            return 0.0

    assert Products().flops(3) == 3 * 2 * 4 * 8 * 16
    assert Penalty().flops(3) == 6 * 2 * 4 * 8 * 16


def test_ours_and_theirs_are_timed_in_turn(checkout, monkeypatch):
    taken = []

    class Ours:
        def __init__(self, run):
            assert (run.config.width, run.config.image_size, run.training.batch_size) == (64, 64, 2)

        def warm_up(self):
            taken.clear()

        def block(self, steps):
            taken.append("ours")
            return 0.5

    monkeypatch.setattr(speed, "Stepper", Ours)
    monkeypatch.setattr(OfficialStarGAN, "block", lambda self, steps: taken.append("theirs") or 2.0)
    measured = compare_with_official(checkout, SpeedSettings(["stargan"], batch_size=2, rounds=2), "cpu")
    assert measured == {"ours_step_ms": 500.0, "official_step_ms": 2000.0, "ratio": 4.0}
    assert taken == ["ours", "theirs"] * 3


@pytest.mark.parametrize(
    ("name", "preset", "cycle"),
    [
        ("stargan", "cpu", 3),
        ("stargan", "paper", 5),
        ("ganimation", "cpu", 2),
        ("homointerpgan", "cpu", 1),
        ("homointerpgan", "faithful", 5),
        ("eggan", "cpu", 1),
        ("eggan-w", "cpu", 2),
    ],
)
def test_a_block_holds_the_kinds_of_a_methods_steps_in_proportion(name, preset, cycle):
    """Medians of five steps of StarGAN count two generator steps in five, where one in three is one."""
    entry = METHODS[name]
    config = entry.presets[preset]
    method = object.__new__(KINDS[name])
    method.config = config
    assert speed.cycle_of(method, settled_step(config)) == cycle
    stepper = object.__new__(speed.Stepper)
    stepper.cycle = cycle
    assert [stepper.block_of(steps) % cycle for steps in (1, 5, 7)] == [0, 0, 0]
    assert 5 <= stepper.block_of(5) <= 6


def test_what_is_timed_are_whole_cycles(monkeypatch):
    taken = []

    class Timed(speed.Stepper):
        def __init__(self, run):
            self.device, self.cycle, self.method, self.run = torch.device("cpu"), 3, None, run

        def block(self, steps, launched=False):
            taken.append(steps)
            return 0.1

    monkeypatch.setattr(speed, "Stepper", Timed)
    monkeypatch.setattr(timing, "Stepper", Timed)
    monkeypatch.setattr(speed, "edit_latency", lambda *_: {})
    speed.measure_method("stargan", SpeedSettings(["stargan"], rounds=2), "cpu")
    run = SimpleNamespace(entry=METHODS["stargan"], device="cpu", training=SimpleNamespace(batch_size=1))
    assert timing.timed(run).seconds == 0.1
    assert set(taken) == {6}


def test_timing_begins_after_every_warm_up_and_once_pairs_are_disturbed():
    eggan = METHODS["eggan"].presets["cpu"]
    assert settled_step(eggan) == eggan.rec_warm_steps + eggan.cexp_warm_steps > 0
    assert settled_step(METHODS["stargan"].presets["paper"]) == 0
    warp = METHODS["eggan-w"].presets["cpu"]
    assert settled_step(warp) >= max(warp.warm_up_steps, warp.disturb_after) > 0


def test_the_ceiling_is_a_plausible_number_of_operations():
    measured = machine_ceiling("cpu")
    assert {"conv_fp32_gflops", "matmul_fp32_gflops"} <= set(measured)
    assert all(0.1 < value < 1e6 for value in measured.values())


def test_the_command_measures_prints_and_tracks(eggan, tmp_path, monkeypatch):
    entry = METHODS["stargan"]
    narrow = dataclasses.replace(entry.presets["cpu"], width=8, critic_width=8, residual_blocks=1)
    known = {"stargan": dataclasses.replace(entry, presets={"cpu": narrow})}
    monkeypatch.setattr(speed, "installed_method", known.__getitem__)
    monkeypatch.setattr(speed, "machine_ceiling", lambda device: {"conv_fp32_gflops": 12.5})
    monkeypatch.setattr(speed, "RENDERED", 4)
    words = ("--methods", "stargan", "--batch", 2, "--steps", 1, "--rounds", 1, "--precision", "off")
    status, out, _ = eggan("bench", "speed", *words, "--device", "cpu", "--offline", "--runs", tmp_path)
    assert status == 0
    (folder,) = (tmp_path / "speed").iterdir()
    record = read_record(folder)
    assert (record.state, record.tags["kind"], record.params["batch_size"]) == ("finished", "speed", "2")
    logged = {}
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        logged |= json.loads(line)
    text = json.dumps(logged)
    for name in (
        "stargan/step_ms",
        "stargan/edit_ms_b64",
        "renderer/pictures_per_cpu_second",
        "machine/conv_fp32_gflops",
    ):
        assert name in text
    assert "stargan" in out
    assert "precision off" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--size", "96"), "--size 96: choose 64 or 128"),
        (("--rounds", "0"), "--batch, --steps and --rounds must be at least 1"),
        (("--batch", "0"), "--batch, --steps and --rounds must be at least 1"),
        (("--official", "somewhere"), "write stargan=FOLDER"),
    ],
)
def test_a_mistake_is_one_line(eggan, tmp_path, words, message):
    status, out, err = eggan("bench", "speed", *words, "--offline", "--runs", tmp_path)
    assert (status, out, err.count("\n"), message in err) == (2, "", 1, True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("eggan", "--preset", "paper"), "the preset 'paper' of eggan is not for 64 px"),
        (("stargan", "--preset", "gone"), "stargan has no preset 'gone'"),
        (("stargan", "oracle"), "oracle is not trained"),
    ],
)
def test_what_cannot_be_timed_is_one_line_before_anything_is(eggan, tmp_path, monkeypatch, words, message):
    monkeypatch.setattr(speed, "machine_ceiling", lambda device: pytest.fail("it went to work"))
    status, _, err = eggan("bench", "speed", "--offline", "--runs", tmp_path, "--methods", *words)
    assert (status, err.count("\n"), message in err) == (2, 1, True)
