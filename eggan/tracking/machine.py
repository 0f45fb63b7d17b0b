"""What a run record says about the code and the machine."""

import importlib.metadata
import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

LIBRARIES = ("torch", "torchvision", "numpy", "mlflow", "pytorch-msssim", "anny")


def _git(*arguments: str) -> str | None:
    source = Path(__file__).resolve().parent
    try:
        done = subprocess.run(["git", *arguments], cwd=source, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@lru_cache(maxsize=1)
def code_version() -> dict[str, str]:
    """Return `commit` and `dirty` ("true"/"false") of the source tree, "unknown" outside a git checkout."""
    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain", "--untracked-files=no")
    dirty = "unknown" if changes is None else str(bool(changes)).lower()
    return {"commit": commit or "unknown", "dirty": dirty}


def describe_machine(device: str) -> dict[str, str]:
    """Return tags that name processor, cores, threads, load, accelerator and library versions."""
    import psutil
    import torch

    tags = {
        "machine.system": f"{platform.system()} {platform.machine()}",
        "machine.python": platform.python_version(),
        "machine.cores": str(os.cpu_count()),
        "machine.threads": str(torch.get_num_threads()),
        "machine.omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "unset"),
        "machine.memory_gib": f"{psutil.virtual_memory().total / 2**30:.1f}",
        "machine.load": f"{os.getloadavg()[0]:.2f}",
        "machine.device": device,
    }
    if device.startswith("cuda"):
        tags["machine.accelerator"] = torch.cuda.get_device_name(device)
    for library in LIBRARIES:
        tags[f"version.{library}"] = importlib.metadata.version(library)
    return tags
