"""Kernels of `eggan.fused_norm`: a row of a picture at a time, widened to float32.

Pictures are (B, H, W * C), the channels of a place side by side: float32, or bf16 as uint16. A row is a whole
line of places, so that its loops are long whatever C is.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

Float = np.float32
FAST = {"reassoc", "nsz", "contract"}  # sums in any order; what is not a number stays one
Array = Any  # of numpy, or its type while numba compiles: both kinds of function must say the same


def widen(row: Array, out: Array) -> None:
    """Write a stored row to a float32 one."""
    raise NotImplementedError("compiled code alone calls this")


def narrow(row: Array, out: Array) -> None:
    """Write a float32 row to a stored one, rounded to the nearest, ties to even."""
    raise NotImplementedError("compiled code alone calls this")


@overload(widen)
def _widen(row: Array, out: Array) -> Callable:
    def from_bf16(row: Array, out: Array) -> None:
        bits = out.view(np.uint32)
        for i in range(len(row)):
            bits[i] = np.uint32(row[i]) << np.uint32(16)

    return from_bf16 if row.dtype == types.uint16 else _copy


@overload(narrow)
def _narrow(row: Array, out: Array) -> Callable:
    def to_bf16(row: Array, out: Array) -> None:
        bits = row.view(np.uint32)
        for i in range(len(row)):
            odd = (bits[i] >> np.uint32(16)) & np.uint32(1)
            out[i] = np.uint16((bits[i] + np.uint32(0x7FFF) + odd) >> np.uint32(16))

    return to_bf16 if out.dtype == types.uint16 else _copy


def _copy(row: Array, out: Array) -> None:
    for i in range(len(row)):
        out[i] = row[i]


@njit(cache=True)
def _sums(lanes: Array, out: Array) -> None:
    """Sum a row over its places: (W * C,) -> (C,)."""
    channels = len(out)
    out[:] = 0
    for i in range(0, len(lanes), channels):
        for c in range(channels):
            out[c] += lanes[i + c]


@njit(cache=True)
def _repeat(values: Array, out: Array) -> None:
    """Fill a row with the values of its channels: (C,) -> (W * C,)."""
    channels = len(values)
    for i in range(0, len(out), channels):
        for c in range(channels):
            out[i + c] = values[c]


@njit(cache=True)
def _twice(half: Array, channels: int, out: Array) -> None:
    """Write each place of a row twice: (W / 2 * C,) -> (W * C,)."""
    for w in range(len(half) // channels):
        for c in range(channels):
            value = half[w * channels + c]
            out[2 * w * channels + c] = value
            out[(2 * w + 1) * channels + c] = value


@njit(cache=True, inline="always")
def _enlarge(half: Array, n: int, h: int, channels: int, half_row: Array, out: Array) -> None:
    """Write row `h` of picture `n` of `half`, doubled, to `out`: (W * C,); an odd row is the one before it.

    Inlined: what a loop adds is not vectorised where a call may have kept it.
    """
    if half.size and h % 2 == 0:
        widen(half[n, h // 2], half_row)
        _twice(half_row, channels, out)


@njit(cache=True, fastmath=FAST)
def _halved(lanes: Array, channels: int, out: Array) -> None:
    """Sum each two places of a row: (W * C,) -> (W / 2 * C,)."""
    for w in range(len(out) // channels):
        for c in range(channels):
            i = 2 * w * channels + c
            out[w * channels + c] = lanes[i] + lanes[i + channels]


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def forward(
    first: int,
    last: int,
    x: Array,
    half: Array,
    gain: Array,
    shift: Array,
    slope: Array,
    eps: float,
    y: Array,
    mean: Array,
    scale: Array,
) -> None:
    """Write PReLU(norm(x) * gain + shift + half, doubled) of pictures `first` to `last` to `y`.

    x, y: (B, H, W * C); half: (B, H / 2, W / 2 * C), or without elements; gain, shift: (B, C); slope: (C,).
    What the norm takes away and multiplies with goes to `mean` and `scale`: (B, C).
    """
    height, width = x.shape[1:]
    channels = len(slope)
    places = Float(height * (width // channels))
    # each an array of its own: what may overlap is not vectorised
    row, lanes, added = np.zeros(width, Float), np.zeros(width, Float), np.zeros(width, Float)
    factor, offset = np.zeros(width, Float), np.zeros(width, Float)
    leak, centre = np.zeros(width, Float), np.zeros(width, Float)
    half_row = np.zeros(width // 2, Float)
    _repeat(slope, leak)
    for n in range(first, last):
        lanes[:] = 0
        for h in range(height):
            widen(x[n, h], row)
            for i in range(width):
                lanes[i] += row[i]
        _sums(lanes, mean[n])
        mean[n] /= places
        _repeat(mean[n], centre)
        lanes[:] = 0
        for h in range(height):
            widen(x[n, h], row)
            for i in range(width):
                lanes[i] += (row[i] - centre[i]) ** 2
        _sums(lanes, scale[n])
        scale[n] = 1 / np.sqrt(scale[n] / places + Float(eps))
        _repeat(gain[n] * scale[n], factor)
        _repeat(shift[n], offset)
        for h in range(height):
            widen(x[n, h], row)
            _enlarge(half, n, h, channels, half_row, added)
            for i in range(width):
                before = (row[i] - centre[i]) * factor[i] + offset[i] + added[i]
                row[i] = before if before > 0 else before * leak[i]
            narrow(row, y[n, h])


@njit(cache=True, nogil=True, fastmath=FAST, error_model="numpy")
def backward(
    first: int,
    last: int,
    grad: Array,
    x: Array,
    half: Array,
    gain: Array,
    shift: Array,
    slope: Array,
    mean: Array,
    scale: Array,
    grad_x: Array,
    grad_half: Array,
    grad_gain: Array,
    grad_shift: Array,
    grad_slope: Array,
) -> None:
    """Write the gradients of `forward`'s arguments for the gradient `grad` of its `y`.

    Shapes are theirs, but for `grad_slope`, (B, C): of each picture.
    """
    height, width = x.shape[1:]
    channels = len(slope)
    places = Float(height * (width // channels))
    row, added, above, upper = (
        np.zeros(width, Float),
        np.zeros(width, Float),
        np.zeros(width, Float),
        np.zeros(width, Float),
    )
    factor, offset = np.zeros(width, Float), np.zeros(width, Float)
    leak, centre = np.zeros(width, Float), np.zeros(width, Float)
    of_shift, of_gain, of_slope = np.zeros(width, Float), np.zeros(width, Float), np.zeros(width, Float)
    half_row = np.zeros(width // 2, Float)
    _repeat(slope, leak)
    for n in range(first, last):
        _repeat(gain[n] * scale[n], factor)
        _repeat(shift[n], offset)
        _repeat(mean[n], centre)
        of_shift[:], of_gain[:], of_slope[:] = 0, 0, 0
        for h in range(height):
            widen(x[n, h], row)
            widen(grad[n, h], above)
            _enlarge(half, n, h, channels, half_row, added)
            for i in range(width):
                before = (row[i] - centre[i]) * factor[i] + offset[i] + added[i]
                inner = above[i] if before > 0 else above[i] * leak[i]
                of_slope[i] += Float(0) if before > 0 else above[i] * before
                of_shift[i] += inner
                of_gain[i] += inner * (row[i] - centre[i])
        _sums(of_slope, grad_slope[n])
        _sums(of_shift, grad_shift[n])
        _sums(of_gain, grad_gain[n])
        grad_gain[n] *= scale[n]
        # of x: factor * (inner - mean of inner - normed x * mean of (inner * normed x))
        _repeat(gain[n] * scale[n] * grad_shift[n] / places, of_shift)
        _repeat(gain[n] * scale[n] ** 2 * grad_gain[n] / places, of_gain)
        for h in range(height):
            widen(x[n, h], row)
            widen(grad[n, h], above)
            _enlarge(half, n, h, channels, half_row, added)
            for i in range(width):
                before = (row[i] - centre[i]) * factor[i] + offset[i] + added[i]
                inner = above[i] if before > 0 else above[i] * leak[i]
                above[i] = inner
                row[i] = factor[i] * inner - of_shift[i] - of_gain[i] * (row[i] - centre[i])
            narrow(row, grad_x[n, h])
            if half.size and h % 2 == 0:
                upper[:] = above
            elif half.size:
                for i in range(width):
                    upper[i] += above[i]
                _halved(upper, channels, half_row)
                narrow(half_row, grad_half[n, h // 2])
