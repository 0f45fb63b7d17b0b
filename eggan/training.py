"""The one training loop: keyed batches, learning-rate schedule, guards, checkpoints, exact resume.

Batch k of a run is a function of (seed, k) and the learning rate one of the images seen, so a resumed run
has the weights of an uninterrupted one bit for bit (same machine, same thread count). The loop knows no
tracker: it hands numbers to `on_log`.
"""

import math
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import FrameType
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from eggan.augment import flip_some
from eggan.checkpoint import STATE_FILE, ModelCard, load_training_state, save_checkpoint, save_training_state
from eggan.config import setting
from eggan.data.dataset import Dataset
from eggan.data.images import to_network_range
from eggan.data.training_set import TrainingSet, load_training_set
from eggan.distributed import ONE, Processes, any_process, copy_from_leader, mean_of_processes, processes
from eggan.errors import UserError
from eggan.method import Batch, EditRequest, Method
from eggan.precision import Precision, resolve_precision
from eggan.progress import progress_bar, working
from eggan.randomness import derive_seed, torch_generator
from eggan.recorded_steps import Steps
from eggan.signals import TERMINATION, handling
from eggan.trained_networks import TrainedNetworks
from eggan.training_identity import TrainingIdentity

PROBE_FACES = 8
TARGET_IGNORED = "target_ignored"  # the collapse alarm: edits hardly differ between targets


@dataclass(frozen=True)
class TrainingConfig:
    """How a method is trained; the same for every method of a suite. The defaults are the preset `paper`."""

    batch_size: int = setting(8, "paper, Sec. 4.1")
    epochs: float = setting(400.0, "paper, Sec. 4.1: RaFD")
    images: int = setting(0, "ours: images to train on; 0 takes `epochs` instead")
    decay_from: float = setting(0.5, "paper, Sec. 4.1: linear decay after half of the epochs")
    splits: tuple[str, ...] = setting(("train",), "ours: validation identities stay unseen")
    horizontal_flip: bool = setting(False, "ours: AU intensities are means of left and right")
    autocast: Literal["off", "bf16", "auto"] = setting(
        "auto", "ours: bf16 where the device has instructions for it"
    )
    log_every: int = setting(50, "ours: steps between logs, the only host synchronisations")
    probe_every: int = setting(500, "ours: steps between collapse checks and `on_probe`")
    checkpoint_every_seconds: float = setting(120.0, "ours: at most this much work is lost")
    alarm_after: float = setting(0.25, "ours: part of the training before the collapse alarm is armed")
    alarm_response: float = setting(
        0.004, "ours: least mean change of edits between targets, half a grey level"
    )
    stop_on_alarm: bool = setting(False, "ours: the alarm flags the run")

    def __post_init__(self) -> None:
        for name in ("batch_size", "log_every", "probe_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.images < 0 or (self.images == 0 and self.epochs <= 0):
            raise ValueError("there is nothing to train: set images or epochs")
        if not 0 <= self.decay_from <= 1:
            raise ValueError(f"decay_from is {self.decay_from}; it must be in [0, 1]")

    def total_images(self, training_images: int) -> int:
        """Return the number of images that the run sees, a multiple of the batch size."""
        wanted = self.images or round(self.epochs * training_images)
        return max(1, wanted // self.batch_size) * self.batch_size


@dataclass(frozen=True)
class TrainingResult:
    """What a finished training took; `alarms` names every collapse alarm that was raised."""

    steps: int
    images_seen: int
    seconds: float
    precision: Precision
    alarms: tuple[str, ...]

    @property
    def images_per_second(self) -> float:
        """Training throughput, checkpoints and probes included."""
        return self.images_seen / self.seconds if self.seconds else math.nan


class Interrupted(Exception):
    """The training was asked to stop (SIGINT, SIGTERM or SIGHUP); its state is saved, it can be resumed."""


class TrainingFailed(Exception):
    """The training cannot go on; the message is the reason."""


OnLog = Callable[[int, dict[str, float]], None]
OnProbe = Callable[[int, Method], None]


def train(
    method: Method,
    dataset: Dataset,
    config: TrainingConfig,
    card: ModelCard,
    *,
    run_folder: Path,
    seed: int,
    device: torch.device,
    on_log: OnLog | None = None,
    on_probe: OnProbe | None = None,
    progress: Callable[..., Any] = progress_bar,
) -> TrainingResult:
    """Train `method` to its budget, going on from the state in `run_folder` if there is one.

    `on_log(step, values)` gets the mean of every loss term since the last call, every `log_every` steps;
    `on_probe(step, method)` is called every `probe_every` steps and at the end.
    Raises `Interrupted` after saving, `TrainingFailed` on a non-finite loss (the last good checkpoint stays),
    `UserError` on a state that does not fit.
    """
    ours = _processes_of(method, config)
    with working("reading the training images"):
        data = load_training_set(dataset, config.splits, device)
    run = _Run(method, data, dataset.content_hash, config, card, run_folder, seed, device, on_log, on_probe)
    with working("reading the training state"):
        run.resume()
    steps = config.total_images(len(data)) // config.batch_size
    run.precision = run.precision or resolve_precision(config.autocast, device)
    taken = Steps(method, run.precision, device)
    with _stop_requests() as stop:
        for step in progress(
            range(run.step, steps), total=steps - run.step, description=f"train {card.method}"
        ):
            method.set_learning_rate(learning_rate_factor(step / steps, config.decay_from))
            batch = make_batch(data, config, seed, step, ours, taken.generator)
            run.after_step(taken.take(batch, step), last=step + 1 == steps)
            if any_process(stop.requested):
                run.save()
                raise Interrupted(f"stopped after step {run.step} of {steps}; run the same command to go on")
    run.save()
    return run.result()


def _processes_of(method: Method, config: TrainingConfig) -> Processes:
    """Return the training's processes, which then have equal weights; a method that cannot be shared is a
    `UserError`.
    """
    ours = processes()
    ours.share(config.batch_size)
    if ours.count > 1:
        if not isinstance(method, TrainedNetworks):
            raise UserError(
                f"{type(method).__name__} cannot train on several processes: only methods on "
                "eggan.trained_networks.TrainedNetworks share their gradients"
            )
        copy_from_leader(method.values())
    return ours


def learning_rate_factor(done: float, decay_from: float) -> float:
    """Return the learning-rate factor after a part `done` in [0, 1] of the training: 1, then linear to 0."""
    return 1.0 if done < decay_from else (1 - done) / max(1 - decay_from, 1e-9)


def make_batch(
    data: TrainingSet,
    config: TrainingConfig,
    seed: int,
    step: int,
    ours: Processes = ONE,
    generator: torch.Generator | None = None,
) -> Batch:
    """Return batch `step` of a run, or our process's share of it: each epoch visits every row once; targets
    are drawn independently.

    True edits have draws of their own: a dataset with groups changes nothing else of the batch. Processes
    have draws of their own too, of which the first's are those of a training of one process. `generator`, if
    given, is set to where one of the batch's own would start, and draws the same.
    """
    device = data.images.device
    whole = _batch_rows(len(data), config.batch_size, seed, step, device)
    rows, targets, draws = (part[ours.share(config.batch_size)] for part in whole)
    key = ("step", seed, step) if ours.leads else ("step", seed, step, "process", ours.rank)
    if generator is None:
        generator = torch_generator(*key, device=device)
    else:
        generator.manual_seed(derive_seed(*key))
    partners = None if data.groups is None else data.groups.partners(rows, draws)
    image = to_network_range(data.images[rows])
    true_edit = None if partners is None else to_network_range(data.images[partners])
    if config.horizontal_flip:
        image, true_edit = _flip_alike(image, true_edit, generator)
    return Batch(
        image=image.contiguous(memory_format=torch.channels_last),
        aus=data.aus[rows],
        identity=data.identity[rows],
        expression=data.expression[rows],
        target_image=to_network_range(data.images[targets]),
        target_aus=data.aus[targets],
        target_expression=data.expression[targets],
        generator=generator,
        true_edit=true_edit,
        true_edit_aus=None if partners is None else data.aus[partners],
    )


def _flip_alike(
    image: Tensor, true_edit: Tensor | None, generator: torch.Generator
) -> tuple[Tensor, Tensor | None]:
    """Mirror some images, and their true edits with them."""
    if true_edit is None:
        return flip_some(image, generator), None
    both = flip_some(torch.cat([image, true_edit], dim=1), generator)
    return both[:, :3], both[:, 3:]


def _batch_rows(
    count: int, size: int, seed: int, step: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return source rows, target rows and draws in [0, 1) of a batch; it may span the end of an epoch."""
    parts: list[list[Tensor]] = [[], [], []]
    position, missing = step * size, size
    while missing:
        epoch, start = divmod(position, count)
        taken = min(missing, count - start)
        for part, whole in zip(parts, _epoch_rows(count, seed, epoch, str(device)), strict=True):
            part.append(whole[start : start + taken])
        position, missing = position + taken, missing - taken
    sources, targets, draws = (torch.cat(part) for part in parts)
    return sources, targets, draws


@lru_cache(maxsize=4)
def _epoch_rows(count: int, seed: int, epoch: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return an epoch's permutation of the rows, a target row and a draw in [0, 1) for each, on `device`.

    Drawn on the CPU, so that every device has the same batches. The draws choose true edits.
    """
    order = torch.randperm(count, generator=torch_generator("order", seed, epoch))
    targets = torch.randint(count, (count,), generator=torch_generator("targets", seed, epoch))
    draws = torch.rand(count, generator=torch_generator("true-edits", seed, epoch))
    return order.to(device), targets.to(device), draws.to(device)


def _is_window(value: Any) -> bool:
    """Return whether a value is the sums of terms since the last log: single numbers by name."""
    return isinstance(value, dict) and all(
        isinstance(total, Tensor) and total.numel() == 1 and total.dim() == 0 for total in value.values()
    )


def _are_counts(value: Any) -> bool:
    return isinstance(value, dict) and all(type(count) is int and count > 0 for count in value.values())


# What the training itself keeps in its state, beside what identifies it, and whether a value may be that.
STATE_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "method": lambda value: isinstance(value, dict),
    "step": lambda value: type(value) is int and value >= 0,
    "precision": lambda value: value is None or value in get_args(Precision),
    "alarms": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "window": _is_window,
    "counts": _are_counts,
    "seconds": lambda value: type(value) in (int, float) and 0 <= value < math.inf,
}


def _not_finite(state: Mapping[str, Any]) -> str:
    """Return where in a method's state the first number lies that is not finite, or nothing."""
    finite = {
        name: torch.isfinite(tensor).all()
        for name, tensor in _tensors(state, ())
        if tensor.is_floating_point()
    }
    if not finite:
        return ""
    device = next(iter(finite.values())).device  # an optimiser keeps its count of steps on the CPU
    known = torch.stack([fine.to(device) for fine in finite.values()]).tolist()  # one synchronisation
    return next((name for name, fine in zip(finite, known, strict=True) if not fine), "")


def _tensors(value: Any, place: tuple[str, ...]) -> Iterator[tuple[str, Tensor]]:
    """Return every tensor of nested state with its place, such as `main.state.0.exp_avg`."""
    if isinstance(value, Tensor):
        yield ".".join(place), value
    elif isinstance(value, Mapping | list | tuple):
        for key, inner in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _tensors(inner, (*place, str(key)))


class _Run:
    """The state of one training beside the method's own: position, window of terms, alarms, clocks."""

    def __init__(
        self,
        method: Method,
        data: TrainingSet,
        data_hash: str,
        config: TrainingConfig,
        card: ModelCard,
        folder: Path,
        seed: int,
        device: torch.device,
        on_log: OnLog | None,
        on_probe: OnProbe | None,
    ) -> None:
        self.method, self.data, self.config, self.card = method, data, config, card
        self.data_hash = data_hash
        self.folder, self.seed, self.device = folder, seed, device
        self.on_log, self.on_probe = on_log, on_probe
        self.processes = processes()
        self.step = 0
        self.precision: Precision | None = None
        self.alarms: list[str] = []
        self.window: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}
        self.seconds_before, self.started, self.saved = 0.0, time.monotonic(), time.monotonic()
        self.identity = TrainingIdentity(card, config, seed, data_hash)

    def resume(self) -> None:
        """Load the state in the run folder, if there is one; all processes read the leader's."""
        state = load_training_state(self.folder, self.device)
        if state is None:
            return
        self.identity.check(state, self.folder)
        missing = [name for name, fits in STATE_FIELDS.items() if name not in state or not fits(state[name])]
        if missing:
            raise UserError(
                f"{self.folder / STATE_FILE} is corrupted ({missing[0]}): delete it to start this training "
                "again"
            )
        self.method.load_state(state["method"])
        self.step, self.precision, self.alarms = state["step"], state["precision"], list(state["alarms"])
        self.window, self.counts = dict(state["window"]), dict(state["counts"])
        self.seconds_before = state["seconds"]

    def after_step(self, terms: Mapping[str, Tensor], last: bool) -> None:
        """Count the step; log, probe and save when due."""
        self.step += 1
        self._accumulate(terms)
        if self.step % self.config.log_every == 0 or last:
            self._log()
        if self.step % self.config.probe_every == 0 or last:
            self._probe()
        if time.monotonic() - self.saved > self.config.checkpoint_every_seconds:
            self.save()

    def save(self) -> None:
        """Check that terms and weights are finite, then write the training state and the inference weights.

        A finite loss may have a gradient that is not: then only the weights say so before the next step.

        Of several processes the leader writes: what decides the rest of the training is equal in all.
        """
        if self.processes.leads:
            self._write()
        self.saved = time.monotonic()

    def _write(self) -> None:
        self._means(self._sums())
        method = self.method.state()
        if broken := _not_finite(method):
            raise TrainingFailed(f"{broken} not finite after step {self.step}: lower the learning rate")
        state = {
            "identity": self.identity.digest,
            "dataset": self.data_hash,
            "method": method,
            "step": self.step,
            "precision": self.precision,
            "alarms": list(self.alarms),
            "window": self.window,
            "counts": self.counts,
            "seconds": self._seconds(),
        }
        save_training_state(self.folder, state)
        save_checkpoint(self.folder, self.card, self.method.inference_weights())

    def result(self) -> TrainingResult:
        """Summarise the run."""
        images = self.step * self.config.batch_size
        return TrainingResult(self.step, images, self._seconds(), self.precision or "off", tuple(self.alarms))

    def _seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def _accumulate(self, terms: Mapping[str, Tensor]) -> None:
        new = {name: term.float().clone() for name, term in terms.items() if name not in self.window}
        known = [name for name in terms if name not in new]
        if known:
            sums = torch._foreach_add([self.window[n] for n in known], [terms[n].float() for n in known])
            self.window |= zip(known, sums, strict=True)
        self.window |= new
        for name in terms:
            self.counts[name] = self.counts.get(name, 0) + 1

    def _sums(self) -> Tensor:
        return torch.stack(list(self.window.values())) if self.window else torch.zeros(0)

    def _means(self, sums: Tensor) -> dict[str, float]:
        """Return the mean of each term in the window, from their sums: the only host synchronisation;
        non-finite ends the run.
        """
        totals = zip(self.window, sums.tolist(), strict=True)
        means = {name: total / self.counts[name] for name, total in totals}
        broken = [name for name, mean in means.items() if not math.isfinite(mean)]
        if broken:
            raise TrainingFailed(
                f"{', '.join(broken)} not finite by step {self.step}: lower the learning rate"
            )
        return means

    def _log(self) -> None:
        means = self._means(mean_of_processes(self._sums()))
        self.window, self.counts = {}, {}
        if self.on_log is not None:
            seconds = self._seconds()
            extra = {"images_seen": float(self.step * self.config.batch_size), "seconds": seconds}
            self.on_log(self.step, means | extra)

    def _probe(self) -> None:
        response = target_response(self.method, self.data)
        if self.on_log is not None:
            self.on_log(self.step, {"alarm/target_response": response})
        total = self.config.total_images(len(self.data))
        armed = self.step * self.config.batch_size >= self.config.alarm_after * total
        if armed and response < self.config.alarm_response and TARGET_IGNORED not in self.alarms:
            self.alarms.append(TARGET_IGNORED)
            if self.config.stop_on_alarm:
                raise TrainingFailed(
                    f"edits ignore the target: they differ by {response:.5f} between targets"
                )
        if self.on_probe is not None:
            self.on_probe(self.step, self.method)


def target_response(method: Method, data: TrainingSet) -> float:
    """Return how much edits depend on the target: mean |difference| (images in [-1, 1]) between two targets.

    The same few sources are edited to two sets of targets, taken from the ends of the AU activity in the
    data.
    """
    order = data.aus.sum(1).argsort()
    count = min(PROBE_FACES, len(data) // 2)
    calm, active = order[:count], order[-count:]
    sources = torch.arange(count, device=order.device)
    one, other = (method.edit(_request(data, sources, targets)) for targets in (calm, active))
    return float((one - other).abs().mean())


def _request(data: TrainingSet, sources: Tensor, targets: Tensor) -> EditRequest:
    return EditRequest(
        source=to_network_range(data.images[sources]),
        source_aus=data.aus[sources],
        target_aus=data.aus[targets],
        target_expression=data.expression[targets],
        reference=to_network_range(data.images[targets]),
    )


@dataclass
class _StopFlag:
    requested: bool = False


@contextmanager
def _stop_requests() -> Iterator[_StopFlag]:
    """Turn the signals that ask to stop into a flag for the loop; the old handlers come back at the end."""
    flag = _StopFlag()

    def request(_number: int, _frame: FrameType | None) -> None:
        flag.requested = True

    with handling((signal.SIGINT, *TERMINATION), request):
        yield flag
