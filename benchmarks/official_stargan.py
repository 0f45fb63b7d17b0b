"""StarGAN's official training code, run from a user's checkout of it (github.com/yunjey/stargan) to be timed.

None of that code is part of this project; its own `Solver.train` runs, with its losses, optimisers and loop.
"""

import contextlib
import importlib
import io
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from eggan.aus import EXPRESSIONS
from eggan.errors import UserError
from eggan.randomness import torch_generator

FILES = ("model.py", "solver.py")
MODULES = ("model", "solver")
NEVER = 10**9  # steps between logs, samples and checkpoints


def check_checkout(folder: Path) -> None:
    """Raise a `UserError` where a folder lacks what is timed."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} is no checkout of the official StarGAN: it has no {missing[0]}")


class OfficialStarGAN:
    """The official solver on random pictures, with the settings of its README for RaFD."""

    def __init__(self, folder: Path, size: int, batch_size: int) -> None:
        check_checkout(folder)
        generator = torch_generator("speed", "official")
        images = torch.rand(batch_size, 3, size, size, generator=generator) * 2 - 1
        labels = torch.arange(batch_size) % len(EXPRESSIONS)
        with _modules_of(folder), contextlib.redirect_stdout(io.StringIO()):
            solver = importlib.import_module("solver")
            self.solver = solver.Solver(None, _Batches(images, labels), settings(size, batch_size))

    def block(self, steps: int) -> float:
        """Take training steps and return the seconds of one."""
        self.solver.num_iters = steps
        started = time.perf_counter()
        with contextlib.redirect_stdout(io.StringIO()):
            self.solver.train()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return (time.perf_counter() - started) / steps


class _Batches:
    """The same batch, again and again."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor) -> None:
        self.batch = images, labels

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield self.batch


def settings(size: int, batch_size: int) -> Namespace:
    """Return the official defaults for RaFD (that code's `main.py`), without logs and checkpoints."""
    return Namespace(
        c_dim=len(EXPRESSIONS), c2_dim=8, image_size=size, g_conv_dim=64, d_conv_dim=64, g_repeat_num=6,
        d_repeat_num=6, lambda_cls=1.0, lambda_rec=10.0, lambda_gp=10.0, dataset="RaFD",
        batch_size=batch_size, num_iters=1, num_iters_decay=NEVER, g_lr=1e-4, d_lr=1e-4, n_critic=5,
        beta1=0.5, beta2=0.999, resume_iters=None, selected_attrs=[], test_iters=1,
        use_tensorboard=False, log_dir="", sample_dir="", model_save_dir="", result_dir="",
        log_step=NEVER, sample_step=NEVER, model_save_step=NEVER,
        lr_update_step=NEVER,
    )  # fmt: skip


@contextlib.contextmanager
def _modules_of(folder: Path) -> Iterator[None]:
    """Let `model` and `solver` be those of `folder` inside the block, and forget them after it."""
    kept = {name: sys.modules.pop(name) for name in MODULES if name in sys.modules}
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(kept)
