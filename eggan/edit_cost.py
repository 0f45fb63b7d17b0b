"""What a method costs: edit latency, parameters, peak memory."""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from eggan.method import EditRequest, Method

LATENCY_BATCHES = (1, 64)
REPEATS = 5


def edit_costs(method: Method, request: EditRequest, device: str) -> dict[str, float]:
    """Return `cost/edit_ms_b1`, `cost/edit_ms_b64` (median ms per call) and `cost/parameters`.

    A size of which `request` has too few edits is left out.
    """
    costs = {"cost/parameters": float(sum(method.parameter_counts().values()))}
    for size in LATENCY_BATCHES:
        if len(request.source) < size:
            continue
        part = EditRequest(**{name: tensor[:size] for name, tensor in vars(request).items()})
        costs[f"cost/edit_ms_b{size}"] = 1000 * median_seconds(partial(method.edit, part), device)
    return costs


def median_seconds(call: Callable[[], object], device: str) -> float:
    """Return the median wall time of `call` after one warm-up call."""
    seconds = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        call()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return sorted(seconds[1:])[REPEATS // 2]


def reset_peak_memory(device: str) -> None:
    """Start measuring the peak anew: of the accelerator, or of the process where the system can (Linux)."""
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
    elif sys.platform == "linux":
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_memory_mib(device: str) -> float:
    """Return the peak since `reset_peak_memory` in MiB: accelerator memory on CUDA, else resident memory."""
    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "linux":
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
