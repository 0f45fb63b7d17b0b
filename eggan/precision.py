"""Automatic mixed precision: which arithmetic a device is good at, and the context that switches it on.

The choice looks at the hardware, never at a stopwatch, so that equal machines give equal bits.
"""

from contextlib import AbstractContextManager
from typing import Any, Literal

import torch

Precision = Literal["off", "bf16"]


def resolve_precision(wanted: Literal["off", "bf16", "auto"], device: torch.device) -> Precision:
    """Return `wanted`, with "auto" as bf16 where the device has bf16 instructions."""
    if wanted != "auto":
        return wanted
    return "bf16" if _has_bf16(device) else "off"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context of a training step; no weight cache, since weights change within a step."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16", cache_enabled=False)


def _has_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    check = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return device.type == "cpu" and check is not None and bool(check())
