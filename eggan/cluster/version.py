"""Which program a machine has: only the same program, on the same libraries, takes part in a run."""

import hashlib
import platform
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from eggan import __version__

PACKAGES = ("eggan", "baselines", "benchmarks", "studies")
SOURCES = Path(__file__).resolve().parents[2]
LIBRARIES = ("torch", "distributed")
PREFIX = "eggan-"
DIGITS = 10


@lru_cache(maxsize=1)
def program_version() -> str:
    """Return one word that names this program: its version, a hash of its sources, what it stands on."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted((SOURCES / package).rglob("*.py")):
            digest.update(path.relative_to(SOURCES).as_posix().encode() + b"\0")
            digest.update(path.read_bytes() + b"\0")
    libraries = [f"{name}-{version(name).partition('+')[0]}" for name in LIBRARIES]
    python = "python-" + ".".join(platform.python_version_tuple()[:2])
    return "/".join([f"{PREFIX}{__version__}+{digest.hexdigest()[:DIGITS]}", *libraries, python])
