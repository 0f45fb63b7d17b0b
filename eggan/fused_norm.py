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

    pictures = torch.zeros(1, 2, 2, 2, dtype=dtype).contiguous(memory_format=LAYOUT)
    given, numbers = _rows(pictures), _shared(torch.zeros(1, 2))
    (rows, _), (found, _) = _new_pictures(pictures), _new_numbers(torch.zeros(1, 2))
    with working("compiling the norms of the training"):
        forth = (given, given[:0], numbers, numbers, numbers[0], 1.0, rows, found, found)
        norm_kernels.forward(0, 0, *forth)
        back = (given, given, given[:0], numbers, numbers, numbers[0], numbers, numbers)
        norm_kernels.backward(0, 0, *back, rows, rows[:0], found, found, found)
    return norm_kernels


class _NormPReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, half: Tensor | None, gain: Tensor, shift: Tensor, slope: Tensor, eps: float
    ) -> Tensor:
        x = x.contiguous(memory_format=LAYOUT)
        half = x.new_empty(0, 0, 0, 0) if half is None else half.to(x.dtype).contiguous(memory_format=LAYOUT)
        (rows, y), (means, mean), (scales, scale) = _new_pictures(x), _new_numbers(gain), _new_numbers(gain)
        given = [_rows(x), _rows(half), *(_shared(part) for part in (gain, shift, slope))]
        _over_pictures(_kernels(x.dtype).forward, len(x), *given, eps, rows, means, scales)
        ctx.save_for_backward(x, half, gain, shift, slope, mean, scale)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, half, *numbers = ctx.saved_tensors
        given = [_rows(part) for part in (grad.contiguous(memory_format=LAYOUT), x, half)]
        given += [_shared(part) for part in numbers]
        found = [_new_pictures(x), _new_pictures(half), *(_new_numbers(numbers[0]) for _ in range(3))]
        _over_pictures(_kernels(x.dtype).backward, len(x), *given, *(memory for memory, _ in found))
        of_x, of_half, of_gain, of_shift, of_slope = (gradient for _, gradient in found)
        return of_x, of_half if half.numel() else None, of_gain, of_shift, of_slope.sum(0), None


def _rows(pictures: Tensor) -> np.ndarray:
    """Return pictures (B, C, H, W), channels-last, as the kernels read them: (B, H, W * C)."""
    count, channels, height, width = pictures.shape
    rows = pictures.detach().permute(0, 2, 3, 1).view(count, height, width * channels)  # never a copy
    if rows.dtype == torch.bfloat16:
        return _shared(rows.view(torch.int16)).view(np.uint16)
    return _shared(rows)


def _shared(values: Tensor) -> np.ndarray:
    """Return an array on the memory of `values`, to be read alone: numpy before 2.1 lets nobody write."""
    return np.from_dlpack(values.detach())


def _new_pictures(like: Tensor) -> tuple[np.ndarray, Tensor]:
    """Return memory for pictures (B, C, H, W), as the kernels write to it and as torch sees it."""
    count, channels, height, width = like.shape
    if like.dtype == torch.bfloat16:
        rows = np.empty((count, height, width * channels), np.uint16)
        whole = torch.from_numpy(rows.view(np.int16)).view(torch.bfloat16)
    else:
        rows = np.empty((count, height, width * channels), np.float32)
        whole = torch.from_numpy(rows)
    return rows, whole.view(count, height, width, channels).permute(0, 3, 1, 2)


def _new_numbers(like: Tensor) -> tuple[np.ndarray, Tensor]:
    """Return memory for float32 numbers, as the kernels write to it and as torch sees it."""
    numbers = np.empty(tuple(like.shape), np.float32)
    return numbers, torch.from_numpy(numbers)


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
