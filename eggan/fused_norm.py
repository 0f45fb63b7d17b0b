"""InstanceNorm, its gain and shift, the sum with an enlarged shortcut, and PReLU: one operation on a CPU.

Torch's own operations go over the pictures some twenty times forth and back, and the CPU waits for memory;
this one goes five times. EGGAN's generator, forth and back, 32 pictures of 64 px on one core with AMX (torch
2.14): 188 ms before and 119 in bf16, 332 and 215 in float32, a part of it since pictures stay
channels-last, as convolutions want them. numba compiles it at the first use and keeps it.
"""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eggan.progress import working

LAYOUT = torch.channels_last


def norm_prelu(
    x: Tensor, half: Tensor | None, gain: Tensor, shift: Tensor, slope: Tensor, eps: float = 1e-5
) -> Tensor:
    """Return PReLU(InstanceNorm(x) * gain + shift + half), `half` enlarged to twice its side by repetition.

    x: (B, C, H, W) of even sides, half: (B, C, H / 2, W / 2); gain, shift: (B, C) and slope: (C,) are
    float32. The result has the type of `x`, channels-last; sums are float32. Differentiable once.
    """
    return _NormPReLU.apply(x, half, gain.contiguous(), shift.contiguous(), slope, eps)


@cache
def _kernels(dtype: torch.dtype) -> Any:
    """Return `eggan.norm_kernels`, compiled for pictures of a type: some seconds where that is new."""
    from eggan import norm_kernels  # numba: an edit does without

    pictures = _rows(torch.zeros(1, 2, 2, 2, dtype=dtype).contiguous(memory_format=LAYOUT))
    numbers = np.zeros((1, 2), np.float32)
    with working("compiling the norms of the training"):
        forth = (pictures, pictures[:0], numbers, numbers, numbers[0], 1.0, pictures, numbers, numbers)
        norm_kernels.forward(0, 0, *forth)
        back = (pictures, pictures, pictures[:0], numbers, numbers, numbers[0], numbers, numbers)
        norm_kernels.backward(0, 0, *back, pictures, pictures[:0], numbers, numbers, numbers)
    return norm_kernels


class _NormPReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, half: Tensor | None, gain: Tensor, shift: Tensor, slope: Tensor, eps: float
    ) -> Tensor:
        x = x.contiguous(memory_format=LAYOUT)
        half = x.new_empty(0, 0, 0, 0) if half is None else half.to(x.dtype).contiguous(memory_format=LAYOUT)
        y = torch.empty_like(x)
        mean, scale = torch.empty_like(gain), torch.empty_like(gain)
        numbers = [_shared(part) for part in (gain, shift, slope)]
        _over_pictures(
            _kernels(x.dtype).forward,
            len(x),
            _rows(x),
            _rows(half),
            *numbers,
            eps,
            _rows(y),
            _shared(mean),
            _shared(scale),
        )
        ctx.save_for_backward(x, half, gain, shift, slope, mean, scale)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, half, *numbers = ctx.saved_tensors
        gain, slope = numbers[0], numbers[2]
        grad = grad.contiguous(memory_format=LAYOUT)
        of_x, of_half = torch.empty_like(x), torch.empty_like(half)
        of_gain, of_shift, of_slope = (torch.empty_like(gain) for _ in range(3))
        _over_pictures(
            _kernels(x.dtype).backward,
            len(x),
            *(_rows(pictures) for pictures in (grad, x, half)),
            *(_shared(part) for part in numbers),
            *(_rows(pictures) for pictures in (of_x, of_half)),
            *(_shared(part) for part in (of_gain, of_shift, of_slope)),
        )
        return of_x, of_half if half.numel() else None, of_gain, of_shift, of_slope.sum(0).to(slope), None


def _rows(pictures: Tensor) -> np.ndarray:
    """Return pictures (B, C, H, W), channels-last, as the kernels see them: (B, H, W * C)."""
    count, channels, height, width = pictures.shape
    rows = pictures.detach().permute(0, 2, 3, 1).view(count, height, width * channels)  # never a copy
    if rows.dtype == torch.bfloat16:
        return _shared(rows.view(torch.int16)).view(np.uint16)
    return _shared(rows)


def _shared(values: Tensor) -> np.ndarray:
    """Return an array on the memory of `values`; nothing is read, as `Tensor.numpy` might be taken for."""
    return np.from_dlpack(values.detach())


def _over_pictures(kernel: Callable[..., None], count: int, *arguments: Any) -> None:
    """Run a kernel over `count` pictures in as many threads as torch has."""
    threads = min(torch.get_num_threads(), count)
    if threads == 1:
        kernel(0, count, *arguments)
        return
    bounds = [count * part // threads for part in range(threads + 1)]
    runs = [_pool(threads).submit(kernel, *ends, *arguments) for ends in itertools.pairwise(bounds)]
    for run in runs:
        run.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)
