"""Keyed randomness: every random draw comes from a generator named by what it is for.

A key is any sequence of strings and integers, such as `("batch", seed, step)`. Equal keys give equal
streams on every platform; a new purpose never shifts the draws of another.
"""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # reports draw from NumPy alone, and torch takes seconds to import
    import torch

Key = str | int


def derive_seed(*key: Key) -> int:
    """Return a 63-bit seed that depends on the whole key and on nothing else."""
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in key)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(*key: Key) -> np.random.Generator:
    """Return a NumPy generator for this key."""
    return np.random.default_rng(derive_seed(*key))


def torch_generator(*key: Key, device: "torch.device | str" = "cpu") -> "torch.Generator":
    """Return a torch generator for this key on `device`; streams differ between device types."""
    import torch

    return torch.Generator(device=device).manual_seed(derive_seed(*key))
