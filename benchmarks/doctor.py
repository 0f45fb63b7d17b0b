"""`eggan doctor`: what works on this machine, in one screen."""

import argparse
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eggan.errors import UserError

# Published weight files and what each unlocks; the names carry the start of their sha256.
WEIGHT_FILES = {
    "vgg19-dcbb9e9d.pth": "the preset `paper` (ImageNet perceptual loss)",
    "alexnet-owt-7be5be79.pth": "LPIPS",
    "inception_v3_google-0cc3c7bd.pth": "KID on Inception features",
}
BYTES_PER_GIB = 2**30
SQLITE = "sqlite:///"
Line = tuple[str, str]


def register(subparsers: Any) -> None:
    """Add `eggan doctor`."""
    parser = subparsers.add_parser("doctor", help="what works on this machine, in one screen")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of datasets (default: data)")
    parser.add_argument(
        "--tracking-uri", help="MLflow store (default: MLFLOW_TRACKING_URI or runs/mlflow.db)"
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of runs (default: runs)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report and return 0: something missing is a finding here, not a failure."""
    for title, lines in (
        ("machine", machine()),
        ("instruments", instruments()),
        ("weights", weights()),
        ("datasets", datasets(arguments.data)),
        ("tracking", tracking(arguments.tracking_uri, arguments.runs)),
    ):
        print(title)
        for name, finding in lines:
            print(f"  {name:<24} {finding}")
    return 0


def machine() -> Iterator[Line]:
    """Yield versions, devices, threads, bf16 support and free disk space."""
    import torch

    yield "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield "PyTorch", torch.__version__
    yield "devices", ", ".join(_devices())
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    yield "threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores (OMP_NUM_THREADS {threads})"
    fast = bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    yield "bf16", f"CPU {'native' if fast else 'emulated, slow'}" + _cuda_bf16()
    yield "disk", f"{shutil.disk_usage(Path.cwd()).free / BYTES_PER_GIB:.1f} GiB free here"


def _devices() -> Iterator[str]:
    import torch

    yield "cpu"
    for index in range(torch.cuda.device_count()):
        gib = torch.cuda.get_device_properties(index).total_memory / BYTES_PER_GIB
        yield f"cuda:{index} ({torch.cuda.get_device_name(index)}, {gib:.0f} GiB)"


def _cuda_bf16() -> str:
    import torch

    if not torch.cuda.is_available():
        return ""
    return f", CUDA {'native' if torch.cuda.is_bf16_supported() else 'not supported'}"


def instruments() -> Iterator[Line]:
    """Yield the frozen scorers: name, hash and what each is for, or what is missing."""
    from eggan.evaluation.instruments import load_au_estimator, load_verifier

    for label, load, purpose in (
        ("AU estimator a", lambda: load_au_estimator("a"), "Table 1"),
        ("AU estimator b", lambda: load_au_estimator("b"), "second opinion on Table 1"),
        ("face verifier", load_verifier, "Table 2"),
    ):
        try:
            yield label, f"found, sha256 {load().sha256[:12]}: {purpose}"
        except UserError as error:
            yield label, f"missing ({purpose}): {error}"


def weights() -> Iterator[Line]:
    """Yield each optional published weight file: where it is, or that it is missing, and what it unlocks."""
    from eggan.data.dataset import hash_files
    from eggan.weights import find_weights, weight_folders

    for name, purpose in WEIGHT_FILES.items():
        path = find_weights(name)
        if path is None:
            yield name.split("-")[0], f"missing; unlocks {purpose}"
        elif hash_files([path]).startswith(path.stem.rpartition("-")[2]):
            yield name.split("-")[0], f"found, {path}: {purpose}"
        else:
            yield name.split("-")[0], f"wrong file, its sha256 differs from its name: {path}"
    yield "looked in", " and ".join(map(str, weight_folders()))


def datasets(folder: Path) -> Iterator[Line]:
    """Yield the datasets in `folder` with their size, or the defect of each."""
    from eggan.data.dataset import load_dataset

    found = sorted(path.parent for path in folder.glob("*/dataset.json"))
    if not found:
        yield str(folder), "no dataset yet: run `eggan data build synfacs`"
    for path in found:
        try:
            dataset = load_dataset(path)
            yield (
                path.name,
                f"{len(dataset.manifest)} images of {dataset.size} px, {dataset.content_hash[:12]}",
            )
        except UserError as error:
            yield path.name, f"broken: {error}"


def tracking(uri: str | None, runs: Path) -> Iterator[Line]:
    """Yield the tracking store and whether it answers."""
    from eggan.tracking import default_uri, open_store

    uri = uri or default_uri(runs)
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).exists():
        yield "store", f"{uri} (the first run creates it)"
        return
    try:
        yield "store", f"answers, {open_store(uri, runs).uri}"
    except UserError as error:
        yield "store", f"{uri} does not answer: {error}"
