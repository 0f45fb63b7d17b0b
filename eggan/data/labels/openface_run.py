"""Running OpenFace's own programs: FaceLandmarkImg on images, FeatureExtraction on videos.

Inputs are named by their content in a work folder, so a second run takes up what is done, whatever the images
are called and wherever they lie. FaceLandmarkImg exits at the first image that it cannot open, so a batch
that failed is tried image by image: what fails alone is listed with the program's words, and is tried again
by the next run. Programs get lists of arguments, never a shell line.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from eggan.data.labels.openface import NO_FACE, TOOL, Mode, read_openface
from eggan.data.labels.read import UNKNOWN_VERSION
from eggan.data.labels.table import FRAME, LabelTable, make_table, unlabelled
from eggan.errors import UserError
from eggan.files import hash_files, staging_folder
from eggan.progress import progress_bar

IMAGES = "FaceLandmarkImg"
VIDEOS = "FeatureExtraction"
BATCH = 32  # images per call: loading the models takes seconds, a crash costs one batch
MOST_FAILURES = 3  # inputs one after the other, before any success: then it is not the inputs
TIMEOUT = 3600.0  # seconds of one call
Progress = Callable[..., Iterable[Any]]


class ProgramFailed(Exception):
    """A program of OpenFace ended with an error; the message is its status and last line."""


@dataclass(frozen=True)
class OpenFace:
    """An installation: the folder of its programs and the version that its user says it has."""

    folder: Path
    version: str = UNKNOWN_VERSION

    def program(self, name: str) -> Path:
        """Return the path of a program; a missing one is a `UserError`."""
        path = self.folder / name
        if not (path.is_file() and os.access(path, os.X_OK)):
            raise UserError(
                f"OpenFace's program {name} is not in {self.folder}: name its folder with --openface"
            )
        return path

    @cached_property
    def sha256(self) -> str:
        """Hash of FaceLandmarkImg's file."""
        return hash_files([self.program(IMAGES)])

    @property
    def full_version(self) -> str:
        """The stated version and the start of the program's hash, which nobody can misstate."""
        return f"{self.version} ({self.sha256[:12]})"


def find_openface(given: Path | None, version: str | None = None) -> OpenFace | None:
    """Return the installation that `given` names (a program or its folder), else the one on PATH, else None.

    A given path without FaceLandmarkImg is a `UserError`.
    """
    version = version or UNKNOWN_VERSION
    if given is not None:
        folder = given if given.is_dir() else given.parent
        found = OpenFace(folder.resolve(), version)
        found.program(IMAGES)
        return found
    on_path = shutil.which(IMAGES)
    return OpenFace(Path(on_path).resolve().parent, version) if on_path else None


def require_openface(given: Path | None, version: str | None = None) -> OpenFace:
    """Return `find_openface`, or raise a `UserError` that says how to get it."""
    found = find_openface(given, version)
    if found is None:
        raise UserError(
            f"OpenFace is not here: {IMAGES} is not on PATH; build OpenFace 2.2 and pass its bin folder "
            "with --openface, or pass labels that are there already with --labels"
        )
    return found


def label_images(
    openface: OpenFace, images: Mapping[str, Path], work: Path, progress: Progress = progress_bar
) -> LabelTable:
    """Return static labels of images by key; images without exactly one face have a problem instead.

    So have images on which the program fails; one that fails on the first `MOST_FAILURES` is a `UserError`.
    """
    if not images:
        raise UserError("there is no image to label")
    names = {key: f"{_content(path)}{path.suffix.lower()}" for key, path in images.items()}
    paths = {name: images[key] for key, name in names.items()}
    results = _results(work, openface, IMAGES)
    todo = [name for name in sorted(paths) if not _done(results, name)]
    batches = [todo[start : start + BATCH] for start in range(0, len(todo), BATCH)]
    failed: dict[str, str] = {}
    for batch in progress(batches, len(batches), "OpenFace"):
        failed |= _run_batch(openface, {name: paths[name] for name in batch}, results)
    tables = [
        unlabelled([key], failed[name]) if name in failed else _image_row(results, name, key, openface)
        for key, name in names.items()
    ]
    return make_table(TOOL, openface.full_version, "static", pd.concat(tables), "OpenFace")


def label_videos(
    openface: OpenFace,
    videos: Mapping[str, Path],
    work: Path,
    mode: Mode = "dynamic",
    progress: Progress = progress_bar,
) -> LabelTable:
    """Return labels of all frames, by "key#frame", counted from 0.

    A video on which the program fails has one row, for frame 0, with the problem; failing on the first
    `MOST_FAILURES` is a `UserError`.
    """
    if not videos:
        raise UserError("there is no video to label")
    results = _results(work, openface, f"{VIDEOS}-{mode}")
    tables, failures = [], 0
    for done, (key, path) in enumerate(progress(list(videos.items()), len(videos), "OpenFace"), start=1):
        name = f"{_content(path)}{path.suffix.lower()}"
        try:
            if not _done(results, name):
                _run_video(openface, path, name, mode, results)
            tables.append(_video_table(results / f"{Path(name).stem}.csv", key, openface, mode))
        except ProgramFailed as failure:
            tables.append(unlabelled([f"{key}{FRAME}0"], str(failure)))
            failures += 1
            _stop_if_broken(done, failures, failure)
    return make_table(TOOL, openface.full_version, mode, pd.concat(tables), work)


def _results(work: Path, openface: OpenFace, what: str) -> Path:
    folder = work / f"openface-{openface.sha256[:12]}-{what}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _content(path: Path) -> str:
    return hash_files([path])[:24]


def _done(results: Path, name: str) -> bool:
    stem = Path(name).stem
    return (results / f"{stem}.csv").exists() or (results / f"{stem}.none").exists()


def _run_batch(openface: OpenFace, images: Mapping[str, Path], results: Path) -> dict[str, str]:
    """Label a batch and return, by name, why images failed: those that fail alone, too."""
    try:
        _run_images(openface, images, results)
        return {}
    except ProgramFailed as failure:
        if len(images) == 1:
            return dict.fromkeys(images, str(failure))
    failed: dict[str, str] = {}
    for done, (name, path) in enumerate(images.items(), start=1):
        failed |= _run_batch(openface, {name: path}, results)
        if name in failed:
            _stop_if_broken(done, len(failed), failed[name])
    return failed


def _stop_if_broken(done: int, failures: int, failure: ProgramFailed | str) -> None:
    if failures == done == MOST_FAILURES:
        raise UserError(f"OpenFace failed on each of the first {done} inputs: {failure}")


def _run_images(openface: OpenFace, images: Mapping[str, Path], results: Path) -> None:
    """Run one batch in a folder of its own; its files move to `results` when the program has ended well."""
    with staging_folder(results) as staging:
        arguments: list[str] = []
        for name, path in images.items():
            (staging / name).symlink_to(path.resolve())
            arguments += ["-f", str(staging / name)]
        _call([str(openface.program(IMAGES)), *arguments, "-out_dir", str(staging / "out"), "-aus"])
        for name in images:
            _keep(staging / "out", Path(name).stem, results)


def _run_video(openface: OpenFace, path: Path, name: str, mode: Mode, results: Path) -> None:
    with staging_folder(results) as staging:
        (staging / name).symlink_to(path.resolve())
        static = ["-au_static"] if mode == "static" else []
        program = str(openface.program(VIDEOS))
        _call([program, "-f", str(staging / name), "-out_dir", str(staging / "out"), "-aus", *static])
        _keep(staging / "out", Path(name).stem, results)


def _keep(produced: Path, stem: str, results: Path) -> None:
    """Move a result into place; no file means no face, which is remembered too."""
    made = produced / f"{stem}.csv"
    if made.exists():
        os.replace(made, results / made.name)
    else:
        (results / f"{stem}.none").touch()


def _call(command: Sequence[str]) -> None:
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise UserError(
            f"OpenFace did not end within {TIMEOUT:g} s; the same command goes on from here"
        ) from None
    except OSError as error:
        raise UserError(f"OpenFace cannot be started: {error.strerror or error}") from None
    if ended.returncode:
        said = (ended.stderr.strip() or ended.stdout.strip() or "no message").splitlines()[-1]
        raise ProgramFailed(f"{Path(command[0]).name} ended with status {ended.returncode}: {said}")


def _image_row(results: Path, name: str, key: str, openface: OpenFace) -> pd.DataFrame:
    path = results / f"{Path(name).stem}.csv"
    if not path.exists():
        return unlabelled([key], NO_FACE)
    return read_openface(path, openface.full_version, "static").table.set_axis(pd.Index([key], dtype=object))


def _video_table(path: Path, key: str, openface: OpenFace, mode: Mode) -> pd.DataFrame:
    if not path.exists():
        return unlabelled([f"{key}{FRAME}0"], NO_FACE)
    table = read_openface(path, openface.full_version, mode).table
    frames = [name.rpartition(FRAME)[2] for name in table.index]
    return table.set_axis(pd.Index([f"{key}{FRAME}{frame}" for frame in frames], dtype=object))
