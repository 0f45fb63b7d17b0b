"""Who a process is, in words that another process of its machine can check later."""

import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import Any

import psutil


@lru_cache(maxsize=1)
def this_host() -> str:
    """Return a name of this machine since its last start: process numbers mean nothing beyond it."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    start = boot.read_text(encoding="utf-8").strip() if boot.exists() else psutil.boot_time()
    return f"{socket.gethostname()}:{start}"


def owner_of(pid: int) -> dict[str, Any]:
    """Return what names a process of this machine, even after its number was given to another."""
    return {"host": this_host(), "pid": pid, "started": psutil.Process(pid).create_time()}


def owner_of_this_process() -> dict[str, Any]:
    """Return what names this process."""
    return owner_of(os.getpid())


def owner_lives(owner: dict[str, Any]) -> bool:
    """Return whether a process of this machine still runs."""
    try:
        process = psutil.Process(int(owner["pid"]))
        same = abs(process.create_time() - float(owner["started"])) < 1.0
        return same and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
