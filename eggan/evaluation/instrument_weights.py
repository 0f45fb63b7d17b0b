"""The weights of an instrument as its file keeps them: matrices in fp16, vectors in fp32."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from eggan.errors import UserError
from eggan.evaluation.instrument_cards import WEIGHTS, missing_file, read_card
from eggan.files import hash_files

Network = TypeVar("Network", bound=nn.Module)


def to_storage(network: nn.Module) -> dict[str, Tensor]:
    """Return the network's state with matrices in fp16 and vectors in fp32, integer counters left out."""
    state = {
        name: value.detach().cpu()
        for name, value in network.state_dict().items()
        if value.is_floating_point()
    }
    return {
        name: (value.half() if value.ndim > 1 else value.float()).contiguous()
        for name, value in state.items()
    }


def from_storage(network: Network, state: dict[str, Tensor]) -> Network:
    """Load `to_storage` weights; an entry that does not fit raises `KeyError` or `RuntimeError`."""
    wanted = {name for name, value in network.state_dict().items() if value.is_floating_point()}
    if wanted != set(state):
        raise KeyError(sorted(wanted ^ set(state))[0])
    network.load_state_dict({name: value.float() for name, value in state.items()}, strict=False)
    return network.eval().requires_grad_(False)


def load_network(
    name: str, kind: type[Network], device: torch.device | str = "cpu", folder: Path | None = None
) -> tuple[dict[str, Any], Network]:
    """Return card and network, a `kind`, of an instrument; weights missing or altered: `UserError`."""
    folder = folder or WEIGHTS
    card, path = read_card(name, folder), folder / f"{name}.safetensors"
    if not path.is_file():
        raise missing_file(path)
    if hash_files([path]) != card["sha256"]:
        raise UserError(f"{path.name} is not the file its card describes: run `eggan instruments train`")
    try:
        network = from_storage(kind(**card.get("sizes", {})), load_file(path))
    except (SafetensorError, KeyError, RuntimeError, TypeError) as error:
        raise UserError(
            f"{path.name} does not fit this version ({error}): run `eggan instruments train`"
        ) from None
    return card, network.to(device).to(memory_format=torch.channels_last)
