"""The checks of a method, each a function of a `Subject` that raises `CheckFailed`; `CHECKS` names them.

A method is only asked for what `eggan.method` promises: nothing here knows its networks or its losses.
"""

import dataclasses
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from eggan.config import from_dict, to_dict
from eggan.conformance.host_reads import HostRead, no_host_reads
from eggan.data.images import to_network_range
from eggan.data.training_set import TrainingSet
from eggan.errors import UserError
from eggan.method import EditRequest, Method, MethodEntry
from eggan.training import TrainingConfig, make_batch

ROUND = 5  # updates after which every network of the methods here has had its turn
ALIKE = 1e-4  # edits of one image in batches of different sizes differ by rounding alone
FIELDS = tuple(entry.name for entry in dataclasses.fields(EditRequest))


class CheckFailed(Exception):
    """The method does not keep its contract; the message says how."""


@dataclass(frozen=True)
class Subject:
    """A method under check: its entry, a small config, how it is built from a seed, and training images."""

    entry: MethodEntry
    config: Any
    build: Callable[[int], Method]
    data: TrainingSet
    rounds: int = ROUND
    training: TrainingConfig = field(default_factory=lambda: TrainingConfig(batch_size=4))

    @cached_property
    def device(self) -> torch.device:
        """Where the training images lie."""
        return self.data.images.device

    def train(self, method: Method, first: int, last: int) -> None:
        """Give `method` the batches `first` to `last` - 1."""
        for step in range(first, last):
            method.update(make_batch(self.data, self.training, 0, step), step)

    def request(self, *rows: int) -> EditRequest:
        """Return a request for some training images; targets are other training images."""
        sources = torch.tensor(rows, device=self.device)
        targets = (sources + 5) % len(self.data)
        return EditRequest(
            source=to_network_range(self.data.images[sources]),
            source_aus=self.data.aus[sources],
            target_aus=self.data.aus[targets],
            target_expression=self.data.expression[targets],
            reference=to_network_range(self.data.images[targets]),
        )

    def restore(self, weights: Mapping[str, Tensor]) -> Method:
        """Return the method made from its config and inference weights alone."""
        return self.entry.restore(self.config, weights, self.device)


def expect(holds: bool, message: str) -> None:
    """Raise `CheckFailed` unless `holds`."""
    if not holds:
        raise CheckFailed(message)


def entry_is_complete(subject: Subject) -> None:
    """The entry has a title, a version and presets that survive a file; `reads` names request fields."""
    entry = subject.entry
    expect(bool(entry.title), "the entry has no title")
    expect(entry.version >= 1, f"the entry's version is {entry.version}; it counts from 1")
    unknown = [name for name in entry.reads if name not in FIELDS]
    expect(not unknown, f"reads names {', '.join(unknown)}, which is no field of EditRequest")
    expect(bool(entry.presets), "the entry has no presets")
    for name, preset in entry.presets.items():
        again: Any = from_dict(entry.config, to_dict(preset), where=f"preset {name}")
        expect(again == preset, f"the preset {name!r} does not come back from a file as it was")


def seed_decides_the_start(subject: Subject) -> None:
    """Two builds with one seed are equal, other seeds differ, and torch's global state is left alone."""
    first = flat(subject.build(0).state())
    torch.rand(3)
    same = differences(first, flat(subject.build(0).state()))
    expect(not same, f"two builds with seed 0 differ in {_named(same)}")
    expect(bool(differences(first, flat(subject.build(1).state()))), "seeds 0 and 1 start alike")
    before = torch.get_rng_state()
    subject.build(0)
    expect(torch.equal(before, torch.get_rng_state()), "building changes torch's global random state")


def edits_keep_shape_and_range(subject: Subject) -> None:
    """Edits are float32 images in [-1, 1] without gradient, the same in batches of any size."""
    method = subject.build(0)
    expect(isinstance(method, Method), "the built object lacks a function of eggan.method.Method")
    request = subject.request(0, 1, 2)
    many, one = method.edit(request), method.edit(subject.request(1))
    expect(many.shape == request.source.shape, f"three edits have shape {tuple(many.shape)}")
    expect(one.shape == request.source[1:2].shape, f"one edit has shape {tuple(one.shape)}")
    expect(many.dtype == torch.float32, f"edits are {many.dtype}, not float32")
    expect(not many.requires_grad, "edits carry a gradient")
    expect(float(many.abs().max()) <= 1, f"edits reach {float(many.abs().max()):.3f}, outside [-1, 1]")
    expect(torch.allclose(many[1:2], one, atol=ALIKE), "an edit depends on the other images of its batch")


def edits_read_what_the_entry_says(subject: Subject) -> None:
    """Edits change with each field that `reads` names, and with no other one."""
    method, request = subject.build(0), subject.request(0, 1, 2)
    subject.train(method, 0, subject.rounds)  # a first edit may be the source, whatever the target
    edit = method.edit(request)
    other = {
        "source": request.source.flip(2),
        "source_aus": 5 - request.source_aus,
        "target_aus": 5 - request.target_aus,
        "target_expression": (request.target_expression + 1) % 8,
        "reference": request.reference.flip(2),
    }
    for name, value in other.items():
        changes = not torch.equal(edit, method.edit(dataclasses.replace(request, **{name: value})))
        expect(changes or name not in subject.entry.reads, f"edits ignore {name}, which `reads` names")
        expect(not changes or name in subject.entry.reads, f"edits read {name}, which `reads` does not name")


def edits_leave_no_trace(subject: Subject) -> None:
    """Editing leaves state, gradients, training mode and torch's random state as they were."""
    method = subject.build(0)
    subject.train(method, 0, 1)
    before, random, modes = flat(method.state()), torch.get_rng_state(), modes_of(method)
    gradients = gradients_of(method)
    method.edit(subject.request(0, 1))
    changed = differences(before, flat(method.state()))
    expect(not changed, f"editing changes {_named(changed)} of the state")
    expect(modes_of(method) == modes, "editing leaves a network in another mode (train or eval)")
    expect(not differences(gradients, gradients_of(method)), "editing changes gradients")
    expect(torch.equal(random, torch.get_rng_state()), "editing changes torch's global random state")


def updates_learn(subject: Subject) -> None:
    """A few updates change the inference weights, draw only from the batch, and leave the batch alone."""
    method = subject.build(0)
    before, random = flat(dict(method.inference_weights())), torch.get_rng_state()
    for step in range(subject.rounds):
        batch = make_batch(subject.data, subject.training, 0, step)
        tensors = {name: value for name, value in vars(batch).items() if isinstance(value, Tensor)}
        copies = flat(tensors)
        terms = method.update(batch, step)
        changed = differences(copies, flat(tensors))
        expect(not changed, f"an update changes its batch: {_named(changed)}")
        _check_terms(terms)
    expect(bool(differences(before, flat(dict(method.inference_weights())))), "updates change no weight")
    expect(torch.equal(random, torch.get_rng_state()), "updates draw from torch's global random state")


def _check_terms(terms: Mapping[str, Tensor]) -> None:
    expect(bool(terms), "an update returns no loss term")
    for name, term in terms.items():
        expect(isinstance(term, Tensor) and term.shape == (), f"the term {name} is no 0-d tensor")
        expect(not term.requires_grad, f"the term {name} carries a gradient")
        expect(bool(term.isfinite()), f"the term {name} is not finite")


def no_learning_rate_no_learning(subject: Subject) -> None:
    """With the learning rate 0 updates change no parameter."""
    method = subject.build(0)
    before = parameters_of(method)
    method.set_learning_rate(0.0)
    subject.train(method, 0, subject.rounds)
    changed = differences(before, parameters_of(method))
    expect(not changed, f"with learning rate 0 updates change {_named(changed)}")


def resumed_equals_uninterrupted(subject: Subject) -> None:
    """State goes through a file that loads with `weights_only=True`, and training goes on bit for bit."""
    whole, first, second = subject.build(0), subject.build(0), subject.build(0)
    subject.train(whole, 0, 7)
    subject.train(first, 0, 3)
    second.load_state(through_a_file(first.state()))
    changed = differences(flat(first.state()), flat(second.state()))
    expect(not changed, f"load_state does not restore {_named(changed)}")
    subject.train(second, 3, 7)
    changed = differences(flat(whole.state()), flat(second.state()))
    expect(not changed, f"a resumed training differs from an uninterrupted one in {_named(changed)}")


def foreign_state_is_refused(subject: Subject) -> None:
    """A state that is none of this method's is a `UserError`."""
    try:
        subject.build(0).load_state({})
    except UserError:
        return
    raise CheckFailed("load_state takes an empty state; it must raise UserError")


def inference_weights_restore_the_edits(subject: Subject) -> None:
    """Weights go through safetensors, and `restore` gives the same edits; too few are a `UserError`."""
    method = subject.build(0)
    subject.train(method, 0, subject.rounds)
    weights = {key: value.contiguous() for key, value in method.inference_weights().items()}
    expect(bool(weights), "there are no inference weights")
    weights = {key: value.to(subject.device) for key, value in load(save(weights)).items()}
    request = subject.request(0, 1)
    expect(
        torch.equal(method.edit(request), subject.restore(weights).edit(request)),
        "the restored method edits otherwise",
    )
    try:
        subject.restore({})
    except UserError:
        return
    raise CheckFailed("restore takes a file without weights; it must raise UserError")


def parameters_are_counted(subject: Subject) -> None:
    """`parameter_counts` gives positive integers by network name."""
    counts = subject.build(0).parameter_counts()
    expect(bool(counts), "parameter_counts is empty")
    for name, count in counts.items():
        expect(isinstance(count, int) and count > 0, f"parameter_counts says {count!r} for {name}")


def updates_never_wait_for_the_device(subject: Subject) -> None:
    """Updates read no tensor on the host: no `.item()`, `.cpu()`, `float(tensor)` or condition on one."""
    method = subject.build(0)
    batches = [make_batch(subject.data, subject.training, 0, step) for step in range(subject.rounds)]
    try:
        with no_host_reads():
            for step, batch in enumerate(batches):
                method.update(batch, step)
                method.set_learning_rate(0.5)
    except HostRead as read:
        raise CheckFailed(f"an update reads a tensor on the host: {read}") from None


def a_step_works_under_mixed_precision(subject: Subject) -> None:
    """Under bf16 autocast weights stay finite, and all parameters of the types that they had."""
    method = subject.build(0)
    kinds = _types(method)
    with torch.autocast(subject.device.type, torch.bfloat16, cache_enabled=False):
        subject.train(method, 0, subject.rounds)
    finite = all(bool(value.isfinite().all()) for value in method.inference_weights().values())
    expect(finite, "weights are not finite")
    expect(_types(method) == kinds, "weights change their type")


def _types(method: Method) -> dict[str, torch.dtype]:
    tensors = dict(method.inference_weights()) | parameters_of(method) | parameters_of(method, False)
    return {key: value.dtype for key, value in tensors.items()}


Check = Callable[[Subject], None]
CHECKS: Mapping[str, Check] = MappingProxyType(
    {
        "the entry is complete": entry_is_complete,
        "the seed decides the start": seed_decides_the_start,
        "edits keep shape and range": edits_keep_shape_and_range,
        "edits read what the entry says": edits_read_what_the_entry_says,
        "editing leaves mode, gradients and state alone": edits_leave_no_trace,
        "updates learn, and draw only from their batch": updates_learn,
        "no learning rate, no learning": no_learning_rate_no_learning,
        "a resumed training is the uninterrupted one": resumed_equals_uninterrupted,
        "a foreign state is refused": foreign_state_is_refused,
        "inference weights restore the edits": inference_weights_restore_the_edits,
        "parameters are counted": parameters_are_counted,
        "updates never wait for the device": updates_never_wait_for_the_device,
        "a step works under mixed precision": a_step_works_under_mixed_precision,
    }
)


def failure_of(check: Check, subject: Subject) -> str:
    """Return what is wrong, in one line; empty where the check holds. An error of the method is a failure."""
    try:
        check(subject)
    except (CheckFailed, UserError) as failed:
        return " ".join(str(failed).split())
    except Exception as error:  # whatever a method does wrong, the other checks are still made
        return " ".join(f"{type(error).__name__}: {error}".split())
    return ""


def modules_of(method: Method) -> dict[str, nn.Module]:
    """Return the networks that a method holds as attributes, or in dictionaries that are attributes."""
    found = {}
    for name, value in vars(method).items():
        for key, module in value.items() if isinstance(value, dict) else [("", value)]:
            if isinstance(module, nn.Module):
                found[f"{name}.{key}"] = module
    return found


def modes_of(method: Method) -> dict[str, bool]:
    """Return whether each of a method's modules is in training mode."""
    return {
        f"{path}/{name}": part.training
        for path, module in modules_of(method).items()
        for name, part in module.named_modules()
    }


def parameters_of(method: Method, trainable: bool = True) -> dict[str, Tensor]:
    """Return copies of the parameters whose `requires_grad` is `trainable`, by their path.

    Running averages of a method's own networks are left out: they follow, whatever `requires_grad` says.
    """
    return {
        f"{path}.{key}": parameter.detach().clone()
        for path, module in modules_of(method).items()
        for key, parameter in module.named_parameters()
        if parameter.requires_grad == trainable and not path.startswith("average.")
    }


def gradients_of(method: Method) -> dict[str, Any]:
    """Return copies of all gradients by path, None where there is none."""
    return {
        f"{path}.{key}": None if parameter.grad is None else parameter.grad.clone()
        for path, module in modules_of(method).items()
        for key, parameter in module.named_parameters()
    }


def flat(state: Any, path: str = "") -> dict[str, Any]:
    """Return the leaves of nested dictionaries and lists by path; tensors are copied."""
    if isinstance(state, Mapping):
        return {k: v for key, value in state.items() for k, v in flat(value, f"{path}/{key}").items()}
    if isinstance(state, list | tuple):
        return {k: v for key, value in enumerate(state) for k, v in flat(value, f"{path}/{key}").items()}
    return {path: state.clone() if isinstance(state, Tensor) else state}


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the keys whose values differ, and those that only one side has."""
    return [
        key
        for key in {**one, **other}
        if key not in one or key not in other or not _equal(one[key], other[key])
    ]


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return type(one) is type(other) and bool(one == other)


def through_a_file(state: Mapping[str, Any]) -> Any:
    """Return a state after a file, read with `weights_only=True`."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def _named(keys: list[str]) -> str:
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return f"{keys[0].strip('/')}{more}" if keys else ""
