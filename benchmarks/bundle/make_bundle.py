"""Making a bundle: one folder that runs suites where there is no network and little is installed."""

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.bundle import run_here
from eggan.errors import UserError
from eggan.files import check_writable, files_in, read_whole_json, refuse_foreign, replaced_folder, write_json
from eggan.progress import working
from eggan.tracking.provenance import SOURCE, STAMP, code_version

PACKAGES = ("eggan", "baselines", "benchmarks")
SUFFIXES = (".py", ".npz", ".safetensors", ".onnx", ".json", ".csv", ".toml", ".txt")
# Module and distribution of what training and scoring import beside torch, numpy, pandas, numba and scipy.
CARRIED = (
    ("tqdm", "tqdm"),
    ("filelock", "filelock"),
    ("pytorch_msssim", "pytorch-msssim"),
    ("safetensors", "safetensors"),
    ("psutil", "psutil"),
    ("PIL", "pillow"),
)
PLATFORM = "x86_64"
PLATFORMS = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux_2_12", "manylinux2014")
PYTHON = "3.12"
NO_WHEEL = "No matching distribution found for "  # how pip begins
MOST_MB = 40
OURS = ("run", "wheels/*", *("source" + "/*" * depth for depth in range(1, 8)))
Fetch = Callable[[Sequence[str], str, Path], None]


@dataclass(frozen=True)
class Carried:
    """A package in the bundle: its wheel, and the least version that will do where the node has its own."""

    module: str
    name: str
    wheel: str
    at_least: str
    pure: bool


def fetch_wheels(requirements: Sequence[str], python: str, folder: Path) -> None:
    """Download wheels of exact versions for Linux on x86-64 and a version of Python, such as 3.12."""
    platforms = [word for name in PLATFORMS for word in ("--platform", f"{name}_{PLATFORM}")]
    given = ["--python-version", python, "--implementation", "cp", "--only-binary=:all:", "--no-deps"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", *given, *platforms]
    with working("downloading wheels"):
        done = subprocess.run(
            [*command, "--dest", str(folder), *requirements], capture_output=True, text=True
        )
    if done.returncode:
        raise UserError(why_not_fetched(done.stderr, python))


def why_not_fetched(said: str, python: str) -> str:
    """Return why there are no wheels for a version of Python, by what pip said.

    Of an index that does not answer, too, pip says in the end that it has no such package.
    """
    errors = [line.removeprefix("ERROR: ") for line in said.splitlines() if line.startswith("ERROR")]
    last = errors[-1] if errors else "pip failed"
    if "connection broken" in said:
        return "the wheels cannot be downloaded, since the package index does not answer: try again later"
    if last.startswith(NO_WHEEL):
        package = last.removeprefix(NO_WHEEL)
        return f"there is no wheel of {package} for Python {python}: choose another --python"
    return f"the wheels for Python {python} cannot be downloaded: {last}"


def make_bundle(out: Path, python: str = PYTHON, fetch: Fetch = fetch_wheels) -> int:
    """Write the bundle for a version of Python to the folder `out` and return its size in bytes.

    A folder that holds anything else, wheels that cannot be had and a bundle above 40 MB are a `UserError`.
    """
    _refuse_what_is_no_bundle(out)
    with replaced_folder(out, OURS) as staging:
        source, wheels = staging / "source", staging / "wheels"
        for package in PACKAGES:
            _copy_sources(SOURCE / package, source / package)
        for name in ("LICENSE", "NOTICE"):
            shutil.copyfile(SOURCE / name, source / name)
        wheels.mkdir()
        fetch([f"{name}=={version(name)}" for _, name in CARRIED], python, wheels)
        carried = [asdict(_carried(module, name, wheels)) for module, name in CARRIED]
        stamp = {"python": python, "platform": PLATFORM, "packages": carried}
        write_json(stamp | code_version(), source / STAMP)
        shutil.copyfile(run_here.__file__, staging / "run")
        size = sum(path.stat().st_size for path in staging.rglob("*") if path.is_file())
        if size > MOST_MB * 1e6:
            raise UserError(f"the bundle has {size / 1e6:.0f} MB, more than {MOST_MB} MB")
    (out / "run").chmod(0o755)
    return size


def _refuse_what_is_no_bundle(out: Path) -> None:
    """Raise a `UserError` where `out` holds files that no bundle of before explains."""
    check_writable(out)
    refuse_foreign(out, OURS)
    if not out.is_dir() or not files_in(out):
        return
    stamp = read_whole_json(out / "source" / STAMP)
    if not isinstance(stamp, dict) or not {"python", "platform", "packages"} <= set(stamp):
        raise UserError(f"{out} exists and is not a bundle: choose another folder with --out")


def _copy_sources(package: Path, target: Path) -> None:
    for path in sorted(package.rglob("*")):
        if path.suffix in SUFFIXES and path.is_file():
            place = target / path.relative_to(package)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def _carried(module: str, name: str, wheels: Path) -> Carried:
    found = [
        path.name
        for path in wheels.glob("*.whl")
        if path.name.lower().startswith(f"{name.replace('-', '_')}-")
    ]
    if not found:
        raise UserError(f"there is no wheel of {name} for this Python: choose another --python")
    return Carried(module, name, found[0], _least_version(name), found[0].endswith("-none-any.whl"))


def _least_version(name: str) -> str:
    """Return the least version that pyproject.toml asks for."""
    declared = tomllib.loads((SOURCE / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "dependencies"
    ]
    wanted = next(text for text in declared if text.startswith((f"{name}>", f"{name}=")))
    return wanted.split(",")[0].removeprefix(name).lstrip("=>")
