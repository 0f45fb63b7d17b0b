"""`eggan bench speed`: what training steps, edits and rendered pictures cost on this machine, in one run.

Ratios of one run can be compared; times of two runs on a shared machine cannot.
"""

import dataclasses
import gc
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.official_stargan import OfficialStarGAN
from benchmarks.suites.methods import installed_method
from benchmarks.suites.presets import sized_preset
from eggan.aus import AU_COUNT
from eggan.conformance.faces import drawn_faces
from eggan.data.dataset import Dataset
from eggan.data.training_set import load_training_set
from eggan.edit_cost import LATENCY_BATCHES, median_seconds, peak_memory_mib, reset_peak_memory
from eggan.errors import UserError
from eggan.kept_memory import memory_as_usual
from eggan.method import Batch, EditRequest, Method, MethodEntry
from eggan.precision import autocast, resolve_precision
from eggan.progress import working
from eggan.randomness import numpy_generator, torch_generator
from eggan.recorded_steps import LAUNCHED, Recordable, Steps
from eggan.training import TrainingConfig, make_batch
from eggan.training_run import TrainingRun

BATCHES = {64: 16, 128: 8}  # images of a step: as the suites at 64 px; half of them at 128 px
LONGEST_CYCLE = 60  # steps, of what is looked for
OFFICIAL_STEPS = 5  # one generator step in five, as the official code and StarGAN's defaults have it
PROBE_CHANNELS = 64  # of the machine's own ceiling
MATRIX = {"cuda": 8192}  # likewise: a GPU is done with less before it is fully at work
SMALL_MATRIX = 1024
RENDERED = 24  # AU vectors of one person


@dataclass(frozen=True)
class SpeedSettings:
    """What is measured: `rounds` blocks of training steps; the median block counts.

    A block holds `steps` steps, or a few more: a method's whole cycles, as `Stepper.block_of` says.
    """

    methods: Sequence[str]
    preset: str = "cpu"
    image_size: int = 64
    batch_size: int = 16
    precision: str = "auto"
    steps: int = OFFICIAL_STEPS
    rounds: int = 5

    def check(self) -> None:
        """Raise a `UserError` for what cannot be timed, before anything is."""
        if self.image_size not in BATCHES:
            raise UserError(f"--size {self.image_size}: choose {' or '.join(map(str, BATCHES))}")
        if min(self.batch_size, self.steps, self.rounds) < 1:
            raise UserError("--batch, --steps and --rounds must be at least 1")
        for name in self.methods:
            sized_preset(trained_entry(name), self.preset, self.image_size)


Speed = dict[str, float]


class Stepper:
    """A method in the middle of its training, after any warm-up; `block` takes some steps of it.

    `cycle` is after how many steps their kinds come again: a generator step may be every second or third one.
    """

    def __init__(self, run: TrainingRun) -> None:
        self.method, self.run = run.build(), run
        self.device = torch.device(run.device)
        self.data = load_training_set(run.dataset, run.training.splits, self.device)
        self.precision = resolve_precision(run.training.autocast, self.device)
        self.taken = Steps(self.method, self.precision, self.device)
        self.step = settled_step(run.config)
        self.cycle = cycle_of(self.method, self.step)

    def warm_up(self) -> None:
        """Take steps of every kind until no first one is left: kernels are chosen, and a GPU's recorded."""
        self.block(self.block_of(OFFICIAL_STEPS) * (LAUNCHED + 1 if self.device.type == "cuda" else 1))

    def block_of(self, steps: int) -> int:
        """Return the least number of steps, `steps` or more, that is a multiple of the cycle.

        Of other blocks some hold more of the dear steps than others: the median is of those with most.
        """
        return -(-steps // self.cycle) * self.cycle

    def block(self, steps: int, launched: bool = False) -> float:
        """Take training steps and return the seconds of one; `launched` ones are not replayed on a GPU."""
        started = time.perf_counter()
        for _ in range(steps):
            self._launch() if launched else self._take()
            self.step += 1
        _wait(self.device)
        return (time.perf_counter() - started) / steps

    def flops(self, steps: int) -> float:
        """Take training steps and return the operations of one: convolutions, products, their gradients."""
        with _Operations() as counted:
            self.block(steps, launched=True)
        return counted.total / steps

    def _take(self) -> None:
        self.taken.take(self._batch(self.taken.generator), self.step)

    def _launch(self) -> None:
        with autocast(self.precision, self.device):
            self.method.update(self._batch(), self.step)

    def _batch(self, generator: torch.Generator | None = None) -> Batch:
        run = self.run
        return make_batch(self.data, run.training, run.seed, self.step, generator=generator)


class _Operations(TorchDispatchMode):
    """Counts by torch's formulas; torch's own counter follows modules, and fails at gradient penalties."""

    total = 0

    def __torch_dispatch__(self, kernel: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        done = kernel(*args, **(kwargs or {}))
        formula = flop_registry.get(kernel.overloadpacket)
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=done)
        return done


def cycle_of(method: Method, first: int) -> int:
    """Return after how many steps from `first` on their kinds come again; 1 for a method that tells none."""
    if not isinstance(method, Recordable):
        return 1
    kinds = [method.kind_of_step(first + k) for k in range(2 * LONGEST_CYCLE)]
    for cycle in range(1, LONGEST_CYCLE):
        if kinds[cycle:] == kinds[:-cycle]:
            return cycle
    return LONGEST_CYCLE


def settled_step(config: Any) -> int:
    """Return a step after all that a config calls a warm-up, and after what it says begins later.

    The fields are those named `..warm.._steps` and `.._after`: EGGAN-W's `disturb_after`, say.
    """
    names = (field.name for field in dataclasses.fields(config))
    later = (
        name for name in names if ("warm" in name and name.endswith("_steps")) or name.endswith("_after")
    )
    return sum(int(getattr(config, name)) for name in later)


def training_run(
    entry: MethodEntry, config: Any, settings: SpeedSettings, folder: Path, device: str
) -> TrainingRun:
    """Return a training on drawn faces: what they show does not change what a step costs."""
    faces = _faces(folder / "faces", settings.image_size)
    training = TrainingConfig(batch_size=settings.batch_size, autocast=settings.precision)  # type: ignore[arg-type]
    return TrainingRun(entry, config, training, faces, 0, device, folder / "cache", _quiet)


def trained_entry(name: str) -> MethodEntry:
    """Return the entry of a method that has training steps; another one is a `UserError`."""
    entry = installed_method(name)
    if not isinstance(entry, MethodEntry):
        raise UserError(f"{name} is not trained and has no training steps")
    return entry


def measure_method(name: str, settings: SpeedSettings, device: str) -> Speed:
    """Return a method's `step_ms`, `images_per_second`, `edit_ms_b1`, `edit_ms_b64`, `peak_memory_mib`."""
    entry = trained_entry(name)
    with tempfile.TemporaryDirectory() as folder, working(f"timing {entry.title}"):
        run = training_run(
            entry, sized_preset(entry, settings.preset, settings.image_size), settings, Path(folder), device
        )
        gc.collect()
        reset_peak_memory(device)
        stepper = Stepper(run)
        stepper.warm_up()
        steps = stepper.block_of(settings.steps)
        seconds = median(stepper.block(steps) for _ in range(settings.rounds))
        speed = {"step_ms": 1000 * seconds, "images_per_second": settings.batch_size / seconds}
        speed |= edit_latency(stepper.method, settings.image_size, device)
        return speed | {"peak_memory_mib": peak_memory_mib(device)}


def edit_latency(method: Method, size: int, device: str) -> Speed:
    """Return the median milliseconds of an edit call for one image and for a full batch."""
    return {
        f"edit_ms_b{count}": 1000
        * median_seconds(partial(method.edit, _request(count, size, device)), device)
        for count in LATENCY_BATCHES
    }


def compare_with_official(folder: Path, settings: SpeedSettings, device: str) -> Speed:
    """Time StarGAN's official code beside ours with the official networks and losses, block by block in turn.

    `ratio` is how many of our steps fit into one of theirs; `folder` is a checkout of the official code.
    """
    from baselines.stargan import ENTRY

    config = dataclasses.replace(ENTRY.presets["paper"], image_size=settings.image_size)
    official = OfficialStarGAN(folder, settings.image_size, settings.batch_size)
    with tempfile.TemporaryDirectory() as place, working("timing StarGAN and its official code in turn"):
        ours = Stepper(training_run(ENTRY, config, settings, Path(place), device))
        ours.warm_up()
        blocks: dict[str, list[float]] = {"ours": [], "official": []}
        for _ in range(settings.rounds + 1):
            blocks["ours"].append(ours.block(OFFICIAL_STEPS))
            with memory_as_usual():
                blocks["official"].append(official.block(OFFICIAL_STEPS))
        seconds = {name: median(times[1:]) for name, times in blocks.items()}
    return {
        "ours_step_ms": 1000 * seconds["ours"],
        "official_step_ms": 1000 * seconds["official"],
        "ratio": seconds["official"] / seconds["ours"],
    }


def machine_ceiling(device: str) -> Speed:
    """Return what this machine reaches at best, in GFLOP/s: a convolution with its gradients, a matmul."""
    place = torch.device(device)
    generator = torch_generator("speed", "ceiling", device=place)
    images = torch.randn(16, PROBE_CHANNELS, 64, 64, generator=generator, device=place)
    images = images.contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(PROBE_CHANNELS, PROBE_CHANNELS, 3, 3, generator=generator, device=place)
    kernel.requires_grad_()
    side = MATRIX.get(place.type, SMALL_MATRIX)
    square = torch.randn(side, side, generator=generator, device=place)
    speed = {}
    for name, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        if name == "bf16" and resolve_precision("auto", place) != "bf16":
            continue
        given = images.to(kind).requires_grad_()
        matrix = square.to(kind)

        def convolve(given: torch.Tensor = given, kind: torch.dtype = kind) -> None:
            F.conv2d(given, kernel.to(kind), padding=1).sum().backward()

        flops = 3 * 2 * 9 * PROBE_CHANNELS**2 * images.shape[0] * 64 * 64  # forward, and two gradients
        speed[f"conv_{name}_gflops"] = flops / median_seconds(convolve, device) / 1e9
        seconds = median_seconds(lambda matrix=matrix: matrix @ matrix, device)  # type: ignore[misc]
        speed[f"matmul_{name}_gflops"] = 2 * side**3 / seconds / 1e9
    return speed


def renderer_rate(size: int) -> Speed:
    """Return rendered pictures per CPU second: one by one of many people, and a group of one person."""
    from eggan.data.synfacs.nuisance import draw_nuisance
    from eggan.data.synfacs.picture import render, render_group
    from eggan.data.synfacs.plan import person

    aus = numpy_generator("speed", "renderer").uniform(0, 5, (RENDERED, AU_COUNT))
    people = [person(0, "speed", index) for index in range(RENDERED // 4)]
    with working("timing the renderer"):
        render(people[0], aus[0], draw_nuisance("speed", 0), "frontal", size)  # compiled or loaded
        single = _cpu_seconds(
            lambda: [
                render(who, aus[k], draw_nuisance("speed", k), "frontal", size)
                for k, who in enumerate(people)
            ]
        )
        group = _cpu_seconds(lambda: render_group(people[0], aus, draw_nuisance("speed", 0), "frontal", size))
    return {
        "pictures_per_cpu_second": len(people) / single,
        "grouped_pictures_per_cpu_second": RENDERED / group,
    }


def flat(measured: Mapping[str, Speed]) -> Speed:
    """Return all measurements under `what/name`, as a run logs them."""
    return {f"{what}/{name}": value for what, speed in measured.items() for name, value in speed.items()}


def _cpu_seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _faces(folder: Path, size: int) -> Dataset:
    return drawn_faces(folder, identities=9, per_identity=8, size=size, grouped=True)


def _request(count: int, size: int, device: str) -> EditRequest:
    rng = numpy_generator("speed", "request", count)
    images = torch.from_numpy(rng.uniform(-1, 1, (count, 3, size, size)).astype(np.float32)).to(device)
    aus = torch.from_numpy(rng.uniform(0, 5, (2, count, AU_COUNT)).astype(np.float32)).to(device)
    return EditRequest(images, aus[0], aus[1], torch.ones(count, dtype=torch.int64, device=device), images)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _quiet(values: Any, *_: Any, **__: Any) -> Any:
    return values
