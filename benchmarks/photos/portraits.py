"""The faces that are edited: those of a folder, or the ones that come with packages and some renders."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from eggan.aus import AU_COUNT
from eggan.data.decoding import decode_rgb, looks_like_image
from eggan.edit import EXAMPLE_PHOTOGRAPH
from eggan.edit.photo_faces import LEAST_EYES
from eggan.errors import UserError
from eggan.faces.face import PROFILE_YAW, Face
from eggan.faces.find import find_faces
from eggan.files import is_litter

PORTRAITS = "portraits"  # where `make portraits` puts photographs of packages, in the folder of datasets
RENDERED_PEOPLE = 3
RENDER_SIZE = 512
POPULATION = "photos"  # nothing learns from these people

Kind = Literal["photograph", "render"]


@dataclass(frozen=True)
class Portrait:
    """A picture, uint8 (H, W, 3), and the face in it that is edited.

    `person` is empty where nobody says who it is; `faces` counts all that were found, in `seconds`.
    `truth` draws the picture of a render for any AUs (17,): what a perfect edit would show.
    """

    name: str
    kind: Kind
    person: str
    pixels: np.ndarray
    face: Face
    faces: int = 1
    seconds: float = 0.0
    truth: Callable[[np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True)
class Unmeasured:
    """A file that is not edited, and why."""

    name: str
    reason: str


def example() -> Portrait | Unmeasured:
    """Return the photograph that comes with this package."""
    pixels = np.asarray(decode_rgb(EXAMPLE_PHOTOGRAPH).image)
    return portrait_of(EXAMPLE_PHOTOGRAPH.stem, "photograph", EXAMPLE_PHOTOGRAPH.stem, pixels)


def portrait_files(folder: Path) -> list[Path]:
    """Return the images below a folder; a folder without any, or none at all, is a `UserError`."""
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not is_litter(path.name))
    images = [path for path in files if looks_like_image(path)]
    if not images:
        raise UserError(f"{folder} holds no image")
    return images


def photographs(folder: Path, files: Sequence[Path]) -> Iterator[Portrait | Unmeasured]:
    """Read photographs one by one, each with its largest face; those in one sub-folder show one person."""
    for path in files:
        name = path.relative_to(folder)
        try:
            pixels = np.asarray(decode_rgb(path).image)
        except UserError as error:
            yield Unmeasured(name.as_posix(), str(error))
            continue
        person = name.parent.as_posix() if len(name.parts) > 1 else ""
        yield portrait_of(name.as_posix(), "photograph", person, pixels)


def renders(count: int = RENDERED_PEOPLE) -> Iterator[Portrait | Unmeasured]:
    """Draw neutral people, as a photograph would frame them: a face in a picture of `RENDER_SIZE`."""
    from eggan.data.synfacs.nuisance import draw_nuisance
    from eggan.data.synfacs.picture import render
    from eggan.data.synfacs.plan import person

    for index in range(count):
        someone, nuisance = person(0, POPULATION, index), draw_nuisance(POPULATION, index)
        truth = partial(render, someone, nuisance=nuisance, gaze="frontal", size=RENDER_SIZE)
        name = f"render {index + 1}"
        drawn = portrait_of(name, "render", name, truth(np.zeros(AU_COUNT)))
        yield replace(drawn, truth=truth) if isinstance(drawn, Portrait) else drawn


def portrait_of(name: str, kind: Kind, person: str, pixels: np.ndarray) -> Portrait | Unmeasured:
    """Find the largest face; a picture that shows none that can be edited is not measured."""
    started = time.perf_counter()
    faces = find_faces(pixels)
    seconds = time.perf_counter() - started
    if not faces:
        return Unmeasured(name, "no face was found")
    face = faces[0]
    if face.eye_distance < LEAST_EYES:
        return Unmeasured(name, f"the eyes are {face.eye_distance:.0f} pixels apart: too small a face")
    if abs(face.yaw) > PROFILE_YAW:
        return Unmeasured(name, f"a profile, turned by {abs(face.yaw):.0f} degrees")
    return Portrait(name, kind, person, pixels, face, len(faces), seconds)
