"""Constants made on the device that uses them: copies from the host wait for the device."""

from collections.abc import Sequence

import torch
from torch import Tensor


def constants(values: Sequence[float], device: torch.device) -> Tensor:
    """Return float32 (len(values),) on `device`, equal to `torch.tensor(values)`, and not copied there."""
    return torch.cat([torch.full((1,), value, dtype=torch.float32, device=device) for value in values])
