"""Training steps on a GPU as CUDA graphs: a step is launched whole, not kernel by kernel.

A step of these networks is a thousand short kernels, and launching them takes a CPU many times longer than
the GPU needs to run them. A method whose steps can be recorded says so (`Recordable`): its steps are of a few
kinds, all steps of one kind run the same kernels, and what else differs from step to step - the batch, draws,
learning rates - lies in memory of the GPU that a recorded step reads. The first steps of each kind are
launched one kernel at a time, as on a CPU; then one is recorded, and from there on it is replayed.
"""

import os
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from eggan.distributed import processes
from eggan.errors import UserError, one_line
from eggan.kept_memory import keep_freed_memory
from eggan.method import Batch, Method
from eggan.precision import Precision, autocast

LAUNCHED = 3  # steps of each kind, which choose kernels and lay out memory before one is recorded
SWITCH = "EGGAN_CUDA_GRAPHS"  # environment variable: 0 launches every kernel of every step
Terms = dict[str, Tensor]


@runtime_checkable
class Recordable(Protocol):
    """What a `Method` offers too where its steps can be recorded; `update` then is these three together."""

    def prepare(self, step: int) -> None:
        """Set what differs between two steps of a kind: learning rates, decays."""
        ...

    def kind_of_step(self, step: int) -> Hashable:
        """Return which kind of step this is; all steps of a kind run the same kernels."""
        ...

    def take_step(self, batch: Batch, kind: Any) -> Terms:
        """Take one step of a kind and return what `update` returns."""
        ...


@dataclass(frozen=True)
class Recording:
    """A recorded step: `replay` runs it again on what its inputs hold then, and fills `terms` anew."""

    replay: Callable[[], None]
    terms: Terms


Record = Callable[[Callable[[], Terms], torch.Generator], Recording]


class Steps:
    """The steps of one training. `generator` is what batches must draw from; None: from one of their own."""

    def __init__(
        self, method: Method, precision: Precision, device: torch.device, record: "Record | None" = None
    ) -> None:
        self.method, self.precision, self.device = method, precision, device
        if device.type == "cpu":
            keep_freed_memory()
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self.record = record or _recorder_for(device, self.stream)
        self.generator = torch.Generator(device) if self._records() else None
        self.taken: Counter[Hashable] = Counter()
        self.recordings: dict[Hashable, Recording] = {}
        self.inputs: Batch | None = None

    def take(self, batch: Batch, step: int) -> Terms:
        """Take a step and return its terms, which hold until the next step."""
        if self.stream is None:
            return self._take(batch, step)
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            terms = self._take(batch, step)
        current.wait_stream(self.stream)
        return terms

    def _records(self) -> bool:
        return self.record is not None and isinstance(self.method, Recordable) and processes().count == 1

    def _take(self, batch: Batch, step: int) -> Terms:
        if self.generator is None or not isinstance(self.method, Recordable):
            with autocast(self.precision, self.device):
                return self.method.update(batch, step)
        self.method.prepare(step)
        kind = self.method.kind_of_step(step)
        self.taken[kind] += 1
        if self.taken[kind] <= LAUNCHED:
            return self._launch(batch, kind)
        if kind not in self.recordings and not self._recorded(batch, kind):
            # What was being recorded may have left the old generator unusable.
            fresh = torch.Generator(self.device).manual_seed(batch.generator.initial_seed())
            return self._launch(replace(batch, generator=fresh), kind)
        assert self.inputs is not None
        _copy(batch, self.inputs)
        self.recordings[kind].replay()
        return self.recordings[kind].terms

    def _launch(self, batch: Batch, kind: Hashable) -> Terms:
        assert isinstance(self.method, Recordable)
        with autocast(self.precision, self.device):
            return self.method.take_step(batch, kind)

    def _recorded(self, batch: Batch, kind: Hashable) -> bool:
        """Record a step of this kind; return whether that went well. If not, none is recorded from now on."""
        assert self.record is not None
        assert self.generator is not None
        if self.inputs is None:
            self.inputs = _own_copy(batch, self.generator)
        inputs = self.inputs
        try:
            self.recordings[kind] = self.record(lambda: self._launch(inputs, kind), self.generator)
        except RuntimeError as error:  # what ends a recording comes after what broke it
            why = one_line(error.__context__ or error)
            print(f"a step ({kind}) cannot be recorded, so all are launched kernel by kernel: {why}")
            self.recordings, self.generator = {}, None
            for network in getattr(self.method, "networks", {}).values():
                network.zero_grad(set_to_none=True)  # gradients may lie in memory of the broken recording
            return False
        return True


def _recorder_for(device: torch.device, stream: "torch.cuda.Stream | None") -> "Record | None":
    wanted = os.environ.get(SWITCH, "1")
    if wanted not in ("0", "1"):
        raise UserError(f"{SWITCH} is {wanted!r}: set it to 0 or 1")
    if device.type != "cuda" or wanted == "0":
        return None

    def record(step: Callable[[], Terms], generator: torch.Generator) -> Recording:
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        with torch.cuda.graph(graph, stream=stream):
            terms = step()
        return Recording(graph.replay, terms)

    return record


def _tensors(batch: Batch) -> dict[str, Tensor]:
    values = {field.name: getattr(batch, field.name) for field in fields(batch)}
    return {name: value for name, value in values.items() if isinstance(value, Tensor)}


def _own_copy(batch: Batch, generator: torch.Generator) -> Batch:
    """Return a batch in memory of its own, which draws from `generator`."""
    own: dict[str, Any] = {name: tensor.clone() for name, tensor in _tensors(batch).items()}
    return replace(batch, **own, generator=generator)


def _copy(batch: Batch, into: Batch) -> None:
    for name, tensor in _tensors(into).items():
        tensor.copy_(getattr(batch, name))
