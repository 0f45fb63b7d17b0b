"""What methods do alike: the check of the dataset, steps, learning rate, averages, state, weights.

It knows no loss, no order of updates and no loop; each method's file says those.
"""

import copy
import math
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from eggan.aus import EXPRESSIONS
from eggan.checkpoint import load_optimizers
from eggan.errors import UserError
from eggan.networks import parameter_count

if TYPE_CHECKING:  # an edit needs no dataset and no batch
    from eggan.data.dataset import Dataset
    from eggan.method import Batch

STATE_VERSION = 1
Schedule = Literal["shared", "last_third", "constant"]
# The loop's factor is 1, then linear to 0 over the second half of the training; stretched by 1.5 and capped
# at 1, the fall covers the last third.
STRETCH: dict[str, float] = {"shared": 1.0, "last_third": 1.5, "constant": math.inf}
DRAWS = frozenset({"kaiming_uniform_", "uniform_", "normal_"})  # of torch.nn.init and torch.Tensor
Restored = TypeVar("Restored", bound="TrainedNetworks")


def check_warm_steps(warm_steps: int) -> None:
    """Raise ValueError where a warm-up has negative length."""
    if warm_steps < 0:
        raise ValueError(f"warm_steps is {warm_steps}; it must be at least 0")


def kind_of_adversarial_step(step: int, warm_steps: int, critic_steps: int) -> str:
    """Return `warm` for the first steps, then `both` where the generator's turn has come, else `critic`."""
    if step < warm_steps:
        return "warm"
    return "both" if (step + 1) % critic_steps == 0 else "critic"


class TrainedNetworks:
    """Named networks, their optimisers, one learning-rate schedule; `edits_with` are those that `edit` needs.

    `optimizers` makes them by name, one or more networks each. `averaged` names the networks that edit with a
    running average of their weights, kept in `average`. Steps can be recorded
    (`eggan.recorded_steps`) of a method that has `take_step`, and takes one knowing no more than its kind;
    one that has an `update` of its own does without.
    """

    take_step: Callable[["Batch", Any], dict[str, Tensor]]

    def __init__(
        self,
        title: str,
        networks: Mapping[str, nn.Module],
        optimizers: Callable[[], Mapping[str, torch.optim.Optimizer]],
        edits_with: Sequence[str],
        schedule: Schedule,
        averaged: Sequence[str] = (),
    ) -> None:
        self.title, self.networks, self._make_optimizers = title, dict(networks), optimizers
        self.edits_with, self.schedule = tuple(edits_with), schedule
        self.average = {name: copy.deepcopy(networks[name]).requires_grad_(False) for name in averaged}
        self.for_editing = False
        self.rate_factor = 1.0  # of the configured learning rates; the loop sets it
        self.decay: float | Tensor = 0.0  # of the averages; `set_decay` sets it
        on = {parameter.device for network in networks.values() for parameter in network.parameters()}
        # Where numbers that change from step to step lie, for recorded steps to read; None: they are plain.
        self.numbers_on = next((device for device in on if device.type == "cuda"), None)
        self._numbers: dict[str, Tensor] = {}

    @cached_property
    def optimizers(self) -> Mapping[str, torch.optim.Optimizer]:
        """The optimisers by name; made when training first needs one: an edit does without."""
        if self.for_editing:
            raise UserError(f"this {self.title} was restored for editing; it cannot be trained further")
        return self._make_optimizers()

    @cached_property
    def _rates(self) -> dict[str, float]:
        return {name: optimizer.defaults["lr"] for name, optimizer in self.optimizers.items()}

    def update(self, batch: "Batch", step: int) -> dict[str, Tensor]:
        """Take step `step` on a batch; return raw and weighted loss terms, detached."""
        self.prepare(step)
        return self.take_step(batch, self.kind_of_step(step))

    def prepare(self, step: int) -> None:
        """Set what differs between two steps of a kind; here nothing beside what the loop sets."""

    def kind_of_step(self, step: int) -> Hashable:
        """Return which kind of step this is; here all are alike."""
        return ""

    def number(self, name: str, value: float) -> "float | Tensor":
        """Return `value`, in memory of the GPU that the networks lie on, if they do: the same each time."""
        if self.numbers_on is None:
            return value
        if name not in self._numbers:
            self._numbers[name] = torch.zeros((), device=self.numbers_on)
        return self._numbers[name].fill_(value)

    def descend(self, loss: Tensor, *names: str) -> None:
        """Take one Adam step of the named optimisers on `loss` (0-d); no other network gets a gradient.

        A parameter that the loss does not reach has the gradient 0, not none: Adam's moments still move it.
        """
        chosen = [self.optimizers[name] for name in names]
        for optimizer in chosen:
            optimizer.zero_grad(set_to_none=False)
        parameters = [p for optimizer in chosen for p in optimizer.param_groups[0]["params"]]
        loss.backward(inputs=parameters)
        for optimizer in chosen:
            optimizer.step()

    def set_learning_rate(self, factor: float) -> None:
        """Set every learning rate to its configured value times `factor`, reshaped by the schedule."""
        self.rate_factor = min(1.0, STRETCH[self.schedule] * factor) if factor else 0.0
        for name in self.optimizers:
            self.set_rate(name, self._rates[name] * self.rate_factor)

    def set_rate(self, name: str, rate: float) -> None:
        """Set the learning rate of an optimiser."""
        for group in self.optimizers[name].param_groups:
            group["lr"] = self.number(f"rate of {name}", rate)

    def scale_learning_rate(self, factor: float, *names: str) -> None:
        """Multiply the learning rates of the named optimisers, until the loop sets them for the next step."""
        for name in names:
            for group in self.optimizers[name].param_groups:
                group["lr"] *= factor

    def set_decay(self, largest: float, step: int) -> None:
        """Set the decay of the averages; young averages move faster (as in Karras et al. 2019)."""
        self.decay = self.number("decay", min(largest, (1 + step) / (10 + step)))

    @torch.no_grad()
    def move_average(self) -> None:
        """Move the averages towards the live networks."""
        for name, network in self.average.items():
            averages: list[Tensor] = list(network.parameters())
            live: list[Tensor] = list(self.networks[name].parameters())
            if isinstance(self.decay, float):
                torch._foreach_lerp_(averages, live, 1 - self.decay)
            else:  # the lerp of lists takes no number from the GPU's memory
                way = list(torch._foreach_sub(live, averages))
                torch._foreach_mul_(way, 1 - self.decay)
                torch._foreach_add_(averages, way)

    def state(self) -> dict[str, Any]:
        """Return networks, averages if any, and optimisers as plain state."""
        average = {name: network.state_dict() for name, network in self.average.items()}
        return {
            "version": STATE_VERSION,
            "networks": {name: network.state_dict() for name, network in self.networks.items()},
            **({"average": average} if average else {}),
            "optimizers": {name: _plain_state(optimizer) for name, optimizer in self.optimizers.items()},
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore `state()`; a state of another version or shape is a `UserError`."""
        if state.get("version") != STATE_VERSION:
            found = state.get("version")
            raise UserError(f"{self.title} state has version {found}, this software reads {STATE_VERSION}")
        try:
            for name, network in self.networks.items():
                network.load_state_dict(state["networks"][name])
            for name, network in self.average.items():
                network.load_state_dict(state["average"][name])
            self._load_optimizers(state["optimizers"])
        except Exception as error:  # on a state with other values torch raises anything
            raise UserError(f"{self.title} state does not fit this config: {_first_line(error)}") from None

    def _load_optimizers(self, states: Mapping[str, Any]) -> None:
        """Restore the optimisers; what a state says of its device is this one's, not the state's."""
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = self._rates[name]
        load_optimizers(self.optimizers, states)
        for optimizer in self.optimizers.values():
            if "capturable" in optimizer.defaults:
                for group in optimizer.param_groups:
                    group["capturable"] = optimizer.defaults["capturable"]

    def inference_weights(self) -> dict[str, Tensor]:
        """Return the tensors of the networks that `edit` uses, of their averages where there are some."""
        parts = {name: self.average.get(name, self.networks[name]).state_dict() for name in self.edits_with}
        return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}

    def load_inference_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Restore `inference_weights()`; other names or shapes are a `UserError`."""
        try:
            for name, network in self.editing_networks():
                start = f"{name}."
                network.load_state_dict(
                    {
                        key.removeprefix(start): value
                        for key, value in weights.items()
                        if key.startswith(start)
                    }
                )
        except RuntimeError as error:
            raise UserError(f"{self.title} weights do not fit this config: {_first_line(error)}") from None

    def editing_networks(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the networks that inference weights belong to, by name; an average after its live network."""
        for name in self.edits_with:
            yield name, self.networks[name]
            if name in self.average:
                yield name, self.average[name]

    def values(self) -> Iterator[Tensor]:
        """Yield parameters and buffers of all networks and averages."""
        for network in (*self.networks.values(), *self.average.values()):
            yield from network.state_dict().values()

    def parameter_counts(self) -> dict[str, int]:
        """Return the number of trainable parameters by network name."""
        return {name: parameter_count(network) for name, network in self.networks.items()}


class _NoDraws(TorchFunctionMode):
    """Leaves new weights as their memory was: no draw, and no memory for a network that nothing fills."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def restore_for_editing(
    make: Callable[[Any, int, torch.device], Restored],
    config: Any,
    weights: Mapping[str, Tensor],
    device: torch.device,
) -> Restored:
    """Return the method `make(config, seed, device)` with the given weights, which edits but cannot train.

    Critics and whatever else only training needs have shapes, but no values.
    """
    with _NoDraws():
        method = make(config, 0, device)
    method.load_inference_weights(weights)
    method.for_editing = True
    return method


def weighted_total(
    terms: Mapping[str, Tensor], weights: Mapping[str, float]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the weighted sum of loss terms (0-d), and what is logged: the terms raw, weighted, summed."""
    weighted = {name: weights[name] * term for name, term in terms.items()}
    total = torch.stack(list(weighted.values())).sum()
    return total, {
        **{f"loss/{name}": term for name, term in terms.items()},
        **{f"weighted/{name}": term for name, term in weighted.items()},
        "loss/total": total,
    }


def adam(
    network: nn.Module,
    learning_rate: float,
    betas: tuple[float, float],
    without: Collection[nn.Parameter] = (),
) -> torch.optim.Adam:
    """Return the fused Adam of a network, `without` those weights that step otherwise; before each step the
    processes of a training share gradients.
    """
    from eggan.adam import Adam  # an edit does without these
    from eggan.distributed import average_gradients

    others = set(without)
    parameters = [parameter for parameter in network.parameters() if parameter not in others]
    on_gpu = parameters[0].is_cuda  # there its step can be recorded
    optimizer = Adam(parameters, lr=learning_rate, betas=betas, fused=True, capturable=on_gpu)
    optimizer.register_step_pre_hook(lambda own, *_: average_gradients(own))
    return optimizer


def muon(weights: Collection[nn.Parameter], learning_rate: float) -> torch.optim.Optimizer:
    """Return the Muon of weights with two dimensions or more; the processes share gradients as for Adam."""
    from eggan.distributed import average_gradients
    from eggan.muon import Muon  # an edit does without these

    optimizer = Muon(weights, learning_rate)
    optimizer.register_step_pre_hook(lambda own, *_: average_gradients(own))
    return optimizer


def _plain_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return the state of an optimiser with learning rates as plain numbers, wherever they lie."""
    state = optimizer.state_dict()
    return state | {"param_groups": [group | {"lr": float(group["lr"])} for group in state["param_groups"]]}


def _first_line(error: Exception) -> str:
    """Return what went wrong: torch names the faulty key in the second line of its message."""
    lines = str(error).splitlines() or [type(error).__name__]
    return " ".join(line.strip() for line in lines[:2])


def check_dataset(
    title: str, image_size: int, dataset: "Dataset", splits: tuple[str, ...], labels: bool
) -> None:
    """Raise `UserError` for images of another size and, if `labels`, for training images without one."""
    if dataset.size != image_size:
        raise UserError(
            f"{title} is configured for {image_size} px but {dataset.folder} has {dataset.size} px: "
            f"choose another preset, or a dataset of {image_size} px"
        )
    if labels and (dataset.expressions(dataset.rows(*splits)) < 0).any():
        raise UserError(
            f"{title} learns from labels, but {dataset.folder} has training images with none of "
            f"{', '.join(EXPRESSIONS)}: choose another dataset, or a method that learns from AUs"
        )


def check_true_edits(title: str, dataset: "Dataset", splits: tuple[str, ...]) -> None:
    """Raise `UserError` for a dataset without groups of pictures that are true edits of each other."""
    if dataset.groups(dataset.rows(*splits)) is None:
        raise no_true_edits(title, str(dataset.folder))


def no_true_edits(title: str, data: str = "this dataset") -> UserError:
    """Return the mistake of training a method that learns from true edits on data without them."""
    return UserError(
        f"{title} learns from true edits, which {data} does not hold: "
        "`eggan data build synfacs --split crowd` builds a dataset that does"
    )
