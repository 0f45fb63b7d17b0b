"""What this process may use of the machine: cores, memory.

A container or `taskset` may allow less than the machine has, and what is started beyond that is throttled or
killed. Read without torch, so that thread counts can be set before it is imported.
"""

import os
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")
RENDERER_GIB = 0.8  # of one process that renders SynFACS
MEMORY_RESERVE_GIB = 1.0  # for the process that starts them


def allowed_cores() -> int:
    """Return the number of cores that this process may use, at least 1.

    The smallest of the cores it is bound to (`taskset`) and the processor time that its control groups allow.
    """
    return max(1, int(min([_bound_cores(), *_cpu_quotas()])))


def default_workers(gib_each: float = RENDERER_GIB) -> int:
    """Return how many worker processes fit: one per allowed core, fewer where memory is short, at least 1."""
    fitting = (available_gib() - MEMORY_RESERVE_GIB) / gib_each
    return max(1, min(allowed_cores(), int(fitting)))


def available_gib() -> float:
    """Return the memory in GiB that can be taken without swapping, within what the control groups allow."""
    import psutil

    free = psutil.virtual_memory().available
    return max(0, min([free, *_memory_left()])) / 2**30


def _bound_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_quotas() -> Iterator[float]:
    """Yield the cores' worth of time that each control group above this process allows."""
    for folder in _own_groups(""):
        yield from _quota(*(_read(folder / "cpu.max") or "max 0").split())
    for folder in _own_groups("cpu"):
        yield from _quota(_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us"))


def _quota(microseconds: str | None, period: str | None) -> Iterator[float]:
    """Yield the cores' worth of a quota, nothing where there is none: "max", or -1 in version 1."""
    if microseconds and period and microseconds != "max" and int(microseconds) > 0 and int(period) > 0:
        yield int(microseconds) / int(period)


def _memory_left() -> Iterator[int]:
    """Yield the bytes that each control group above this process leaves."""
    names = {
        "": ("memory.max", "memory.current"),
        "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    }
    for controller, (limit, used) in names.items():
        for folder in _own_groups(controller):
            most, now = _read(folder / limit), _read(folder / used)
            if most and now and most != "max":
                yield int(most) - int(now)


def _own_groups(controller: str) -> Iterator[Path]:
    """Yield the folders of this process's control groups, innermost first: `""` is version 2's hierarchy."""
    for line in (_read(OWN_CGROUPS) or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controller not in controllers.split(",") or (controllers and not controller):
            continue
        root = CGROUPS / controllers if controller else CGROUPS
        folder = root / path.lstrip("/")
        while True:
            if folder.is_dir():  # a container sees its own group as the root, whatever the path says
                yield folder
            if folder == root or root not in folder.parents:
                break
            folder = folder.parent


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
