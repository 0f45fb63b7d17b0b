"""Which device a command computes on: one option and one rule for all of them.

Torch is imported only when a device is asked for, so that `eggan --help` does not wait for it.
"""

import argparse

from eggan.errors import UserError

AUTO = "auto"


def add_device_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--device`, which `resolve_device` reads."""
    parser.add_argument(
        "--device",
        default=AUTO,
        help="auto (CUDA where there is some, else the CPU), cpu, cuda, cuda:1, mps (default: auto)",
    )


def resolve_device(name: str) -> str:
    """Return the torch device called `name`: `auto` is the first CUDA device, or the CPU where there is none.

    A device that is not here is a `UserError` that lists those that are.
    """
    import torch

    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if name == AUTO:
        return cuda[0] if cuda else "cpu"
    if name == "cuda" and cuda:
        return cuda[0]
    here = ["cpu", *cuda, *(["mps"] if torch.backends.mps.is_available() else [])]
    if name not in here:
        raise UserError(f"unknown device {name!r} (here: {', '.join(here)}; or {AUTO})")
    return name
