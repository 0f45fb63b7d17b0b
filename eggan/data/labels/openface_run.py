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

from eggan.data.labels.csv_rows import read_rows
from eggan.data.labels.openface import (
    INTENSITIES,
    NO_FACE,
    TOOL,
    Mode,
    missing_intensities,
    read_openface,
)
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

    So have images on which the program fails; one that fails on the first `MOST_FAILURES`, or writes no
    intensities, is a `UserError`.
    """
    if not images:
        raise UserError("there is no image to label")
    names = {key: f"{_content(path)}{path.suffix.lower()}" for key, path in images.items()}
    paths = {name: images[key] for key, name in names.items()}
    results = _results(work, openface, IMAGES)
    answers = {name: _kept_answer(results, name, openface, "static") for name in sorted(paths)}
    todo = [name for name, answer in answers.items() if answer is None]
    batches = [todo[start : start + BATCH] for start in range(0, len(todo), BATCH)]
    failed: dict[str, str] = {}
    for batch in progress(batches, len(batches), "OpenFace"):
        failed |= _run_batch(openface, {name: paths[name] for name in batch}, results)
    answers |= {name: _answer(results, name, openface, "static") for name in todo if name not in failed}
    tables = []
    for key, name in names.items():
        answer = answers[name]
        found = unlabelled([key], failed.get(name, NO_FACE)) if answer is None else answer.table
        tables.append(found.set_axis(pd.Index([key], dtype=object)))
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
            answer = _kept_answer(results, name, openface, mode)
            if answer is None:
                _run_video(openface, path, name, mode, results)
                answer = _answer(results, name, openface, mode)
            tables.append(_video_rows(answer, key))
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


def _kept_answer(results: Path, name: str, openface: OpenFace, mode: Mode) -> LabelTable | None:
    """Return the answer of an earlier run; None where OpenFace is to be asked.

    It is asked again where it wrote nonsense, and where it has never found a face in anything: an
    installation without its models says "no face" of every image.
    """
    stem = Path(name).stem
    if (results / f"{stem}.none").exists() and any(results.glob("*.csv")):
        return LabelTable(TOOL, openface.full_version, mode, unlabelled([f"{stem}{FRAME}0"], NO_FACE))
    try:
        return _answer(results, name, openface, mode)
    except UserError:
        (results / f"{stem}.csv").unlink()
        return None


def _answer(results: Path, name: str, openface: OpenFace, mode: Mode) -> LabelTable | None:
    """Return what OpenFace wrote, None where it wrote nothing."""
    path = results / f"{Path(name).stem}.csv"
    return read_openface(path, openface.full_version, mode) if path.exists() else None


def _run_batch(openface: OpenFace, images: Mapping[str, Path], results: Path) -> dict[str, str]:
    """Label a batch and return, by name, why images failed: those that fail alone, too."""
    try:
        return _run_images(openface, images, results)
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


def _run_images(openface: OpenFace, images: Mapping[str, Path], results: Path) -> dict[str, str]:
    """Run one batch in a folder of its own; its files move to `results` when the program has ended well.

    Returns why an answer cannot be used, by name.
    """
    with staging_folder(results) as staging:
        arguments: list[str] = []
        for name, path in images.items():
            (staging / name).symlink_to(path.resolve())
            arguments += ["-f", str(staging / name)]
        _call([str(openface.program(IMAGES)), *arguments, "-out_dir", str(staging / "out"), "-aus"])
        reasons = {name: _keep(staging / "out", Path(name).stem, results) for name in images}
        return {name: reason for name, reason in reasons.items() if reason is not None}


def _run_video(openface: OpenFace, path: Path, name: str, mode: Mode, results: Path) -> None:
    with staging_folder(results) as staging:
        (staging / name).symlink_to(path.resolve())
        static = ["-au_static"] if mode == "static" else []
        program = str(openface.program(VIDEOS))
        _call([program, "-f", str(staging / name), "-out_dir", str(staging / "out"), "-aus", *static])
        reason = _keep(staging / "out", Path(name).stem, results)
        if reason is not None:
            raise ProgramFailed(reason)


def _keep(produced: Path, stem: str, results: Path) -> str | None:
    """Move a result into place; no file means no face, which is remembered too.

    An answer that cannot be used is not kept, so that OpenFace is asked again; the reason is returned. One
    without intensities is a `UserError`: that is the installation, not the image.
    """
    made = produced / f"{stem}.csv"
    if not made.exists():
        (results / f"{stem}.none").touch()
        return None
    try:
        missing = missing_intensities(read_rows(made)[0])
        if not missing:
            read_openface(made, UNKNOWN_VERSION)
    except UserError as error:
        return f"OpenFace's answer cannot be used: {str(error).removeprefix(str(made)).lstrip(', :')}"
    if missing:
        raise UserError(
            f"OpenFace wrote no {missing[0]} ({len(missing)} of {len(INTENSITIES)} intensities are missing): "
            "are its AU models (AU_predictors) beside the program? The same command asks it again"
        )
    os.replace(made, results / made.name)
    (results / f"{stem}.none").unlink(missing_ok=True)
    return None


def _call(command: Sequence[str]) -> None:
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"OpenFace did not end within {TIMEOUT:g} s; the same command goes on from here"
        ) from None
    except OSError as error:
        raise UserError(f"OpenFace cannot be started: {error.strerror or error}") from None
    if ended.returncode:
        message = (ended.stderr.strip() or ended.stdout.strip() or "no message").splitlines()[-1]
        raise ProgramFailed(f"{Path(command[0]).name} ended with status {ended.returncode}: {message}")


def _video_rows(answer: LabelTable | None, key: str) -> pd.DataFrame:
    if answer is None:
        return unlabelled([f"{key}{FRAME}0"], NO_FACE)
    frames = [str(name).rpartition(FRAME)[2] for name in answer.table.index]
    return answer.table.set_axis(pd.Index([f"{key}{FRAME}{frame}" for frame in frames], dtype=object))
