"""What a run record says about the code and the machine."""

import importlib.metadata
import os
import platform
import subprocess
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from eggan import __version__
from eggan.files import read_json
from eggan.machine import allowed_cores

LIBRARIES = ("torch", "torchvision", "numpy", "mlflow", "pytorch-msssim", "numba")
SOURCE = Path(__file__).resolve().parents[2]
STAMP = "bundle.json"  # beside the packages of a bundle: what it was made of


def _git(*arguments: str) -> str | None:
    # A hook or an alias that calls us has GIT_DIR set to a repository of its own.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=SOURCE,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@lru_cache(maxsize=1)
def code_version() -> dict[str, str]:
    """Return `version.eggan`, `commit` and `dirty` ("true"/"false") of its checkout.

    A bundle has them written down. Both are "unknown" where the package runs from no checkout of its own: an
    installed wheel may lie inside any other repository, whose commit says nothing of this code.
    """
    stamp = SOURCE / STAMP
    if stamp.is_file():
        written = read_json(stamp)
        return {name: str(written[name]) for name in ("version.eggan", "commit", "dirty")}
    unknown = {"version.eggan": __version__, "commit": "unknown", "dirty": "unknown"}
    root = _git("rev-parse", "--show-toplevel")
    if root is None or Path(root).resolve() != SOURCE or not _git("ls-files", "--", "eggan/__init__.py"):
        return unknown
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    if commit is None or changes is None:
        return unknown
    return {"version.eggan": __version__, "commit": commit, "dirty": str(bool(changes)).lower()}


def describe_machine(device: str) -> dict[str, str]:
    """Return tags that name processor, cores, threads, load, accelerator and library versions."""
    import psutil
    import torch

    tags = {
        "machine.system": f"{platform.system()} {platform.machine()}",
        "machine.python": platform.python_version(),
        "machine.cores": str(allowed_cores()),
        "machine.threads": str(torch.get_num_threads()),
        "machine.omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", "unset"),
        "machine.memory_gib": f"{psutil.virtual_memory().total / 2**30:.1f}",
        "machine.load": f"{os.getloadavg()[0]:.2f}",
        "machine.device": device,
    }
    if device.startswith("cuda"):
        tags["machine.accelerator"] = torch.cuda.get_device_name(device)
    return tags | library_versions()


def library_versions() -> dict[str, str]:
    """Return the versions of those libraries that are installed."""
    installed = {}
    for library in LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            installed[f"version.{library}"] = importlib.metadata.version(library)
    return installed
