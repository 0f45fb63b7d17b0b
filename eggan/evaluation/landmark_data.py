"""Landmarks of rendered people: what the landmark reader learns from and is measured on.

The people are of populations that nothing else learns from or is measured on. Each is drawn twice: framed as
SynFACS frames faces, and as photographs show them, with more around and the head turned further. Landmarks of
small faces are rougher: to learn from, every second picture is read at half its size or less; to measure on,
every picture is read at every size.
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
from PIL import Image

from eggan.config import content_hash, setting, to_dict
from eggan.data.workers import spread
from eggan.faces.find import LEAST_PRESENCE, find_faces, landmarks_of
from eggan.faces.framing import framed_eyes
from eggan.faces.models import CARD as MODELS_CARD
from eggan.faces.models import FOLDER as MODELS
from eggan.faces.models import LANDMARKS
from eggan.files import announce_remaking, read_json, write_atomically
from eggan.progress import progress_bar
from eggan.randomness import numpy_generator

if TYPE_CHECKING:  # importing the renderer compiles it
    from eggan.data.synfacs import Nuisance

VIEWS = ("tile-192", "tile-64", "turned-256", "turned-128", "tile-128")
TILE, TURNED = "tile", "turned"
PICTURES = 16  # of each person that is learnt from: eight as a tile, eight turned
DRAWN = {TILE: 192, TURNED: 256}  # px
LEARNT_FROM = {TILE: (192, 64), TURNED: (256, 128)}  # px: the sizes of pictures in turn
MEASURED_ON = {TILE: (192, 128, 64), TURNED: (256, 128)}  # px: the sizes of every picture
SMALLEST_SCALE, LARGEST_SCALE = 0.6, 0.8  # of a turned face, relative to SynFACS' framing


@dataclass(frozen=True)
class LandmarkData:
    """How many people are rendered, and how far their heads turn in pictures framed as photographs."""

    people: int = setting(600, "ours: 9,600 pictures")
    validation_people: int = setting(80, "ours: they choose penalty and readable AUs")
    held_out_people: int = setting(59, "ours: 944 pictures for the card's figures")
    yaw: float = setting(11.0, "ours: standard deviation, degrees; cut off at twice that")
    pitch: float = setting(7.0, "ours: standard deviation, degrees; cut off at twice that")
    roll: float = setting(6.0, "ours: standard deviation, degrees; cut off at twice that")
    seed: int = setting(0, "ours")

    def __post_init__(self) -> None:
        if min(self.people, self.validation_people, self.held_out_people) < 2:
            raise ValueError("people, validation_people and held_out_people must be at least 2")

    @property
    def populations(self) -> dict[str, tuple[str, range]]:
        """Purpose -> population and which of its people; no two share a person."""
        return {
            "training": ("landmarks-train", range(self.people)),
            "validation": ("landmarks-validation", range(self.validation_people)),
            "held_out": ("landmarks-train", range(self.people, self.people + self.held_out_people)),
        }


@dataclass(frozen=True)
class LandmarkTable:
    """Landmarks float32 (N, 468, 3) in pixels, intensities `aus` float32 (N, 17), `person` and `view` int
    (N,), positions in the population and in `VIEWS`; `lost` pictures in which no face was found.
    """

    landmarks: np.ndarray
    aus: np.ndarray
    person: np.ndarray
    view: np.ndarray
    lost: int = 0

    def __len__(self) -> int:
        return len(self.aus)

    def rows(self, chosen: np.ndarray) -> "LandmarkTable":
        """Return the chosen rows."""
        parts = (self.landmarks, self.aus, self.person, self.view)
        return LandmarkTable(*(part[chosen] for part in parts))

    @property
    def content_hash(self) -> str:
        """sha256 of the numbers."""
        digest = hashlib.sha256()
        for part in (self.landmarks, self.aus, self.person, self.view):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    @property
    def described(self) -> dict[str, Any]:
        """What a card says of the table."""
        return {
            "content_hash": self.content_hash,
            "readings": len(self),
            "identities": len(np.unique(self.person)),
            "lost": self.lost,
        }


def landmark_table(purpose: str, data: LandmarkData, folder: Path, workers: int) -> LandmarkTable:
    """Return the table of a purpose of `LandmarkData.populations`; one that `folder` holds is kept."""
    from eggan.data.synfacs import RENDERER_VERSION

    population, people = data.populations[purpose]
    facts = {
        "data": {name: value for name, value in to_dict(data).items() if "people" not in name},
        "renderer": RENDERER_VERSION,
        "model": read_json(MODELS / MODELS_CARD)["models"][LANDMARKS]["sha256"],
    }
    path = folder / f"{population}-{people.start}-{people.stop}-{content_hash(facts)[:8]}.npz"
    if path.exists():
        kept = _kept(path)
        if kept is not None:
            return kept
        announce_remaking(path)
    work = partial(landmarks_of_person, data, population, purpose == "held_out")
    results = spread(work, people, workers)
    table = joined(list(progress_bar(results, len(people), f"draw {population}", "person")))
    columns = {name: getattr(table, name) for name in _COLUMNS}
    write_atomically(path, lambda staging: _store(staging, columns | {"lost": np.array(table.lost)}))
    return table


def _kept(path: Path) -> LandmarkTable | None:
    """Return the table that a file holds; None where it is damaged."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return LandmarkTable(**{name: stored[name] for name in _COLUMNS}, lost=int(stored["lost"]))
    except (OSError, ValueError, EOFError, LookupError, AttributeError, TypeError, BadZipFile, zlib.error):
        return None


_COLUMNS = ("landmarks", "aus", "person", "view")


def _store(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def joined(tables: Sequence[LandmarkTable]) -> LandmarkTable:
    """Return the rows of all tables, in order."""
    parts = {name: np.concatenate([getattr(table, name) for table in tables]) for name in _COLUMNS}
    return LandmarkTable(**parts, lost=sum(table.lost for table in tables))


def landmarks_of_person(
    data: LandmarkData, population: str, at_every_size: bool, index: int
) -> LandmarkTable:
    """Draw the pictures of one person and return what is read off them; a pure function of its arguments."""
    from eggan.data.synfacs import draw_nuisance, person, render_group
    from eggan.data.synfacs.plan import group_pictures

    someone, found = person(data.seed, population, index), []
    as_tile = draw_nuisance(data.seed, population, index, 0)
    turned = turned_nuisance(data, population, index)
    for group, (framed, nuisance) in enumerate(((TILE, as_tile), (TURNED, turned))):
        pictures = group_pictures(someone, group)
        aus = np.stack([picture.aus for picture in pictures]).astype(np.float32)
        images = render_group(someone, aus, nuisance, pictures[0].gaze, DRAWN[framed])
        found.append(read_pictures(images, aus, index, framed, at_every_size))
    return joined(found)


def turned_nuisance(data: LandmarkData, population: str, index: int) -> "Nuisance":
    """Return the nuisance of a person's pictures that are framed as photographs."""
    from eggan.data.synfacs import draw_nuisance

    drawn = draw_nuisance(data.seed, population, index, 1)
    rng = numpy_generator("landmark-reader", "pose", data.seed, population, index)
    yaw, pitch, roll = np.clip(rng.standard_normal(3), -2, 2) * (data.yaw, data.pitch, data.roll)
    scale = drawn.scale * rng.uniform(SMALLEST_SCALE, LARGEST_SCALE)
    return replace(
        drawn,
        yaw=float(yaw),
        pitch=float(pitch),
        roll=float(roll),
        scale=float(scale),
        shift_x=2 * drawn.shift_x,
        shift_y=2 * drawn.shift_y,
    )


def read_pictures(
    images: np.ndarray, aus: np.ndarray, index: int, framed: str, at_every_size: bool
) -> LandmarkTable:
    """Return the landmarks of a person's pictures uint8 (n, S, S, 3), `framed` as tiles or turned."""
    every, in_turn = MEASURED_ON[framed], LEARNT_FROM[framed]
    wanted = [
        (position, size)
        for position in range(len(images))
        for size in (every if at_every_size else in_turn[position % 2 : position % 2 + 1])
    ]
    read = [(p, size, _read(shrunk(images[p], size), framed)) for p, size in wanted]
    kept = [(p, VIEWS.index(f"{framed}-{size}"), points) for p, size, points in read if points is not None]
    rows = np.array([p for p, _, _ in kept], int)
    return LandmarkTable(
        landmarks=np.stack([points for _, _, points in kept]) if kept else np.zeros((0, 468, 3), np.float32),
        aus=aus[rows],
        person=np.full(len(kept), index),
        view=np.array([view for _, view, _ in kept], int),
        lost=len(read) - len(kept),
    )


def _read(image: np.ndarray, framed: str) -> np.ndarray | None:
    if framed == TILE:
        face = landmarks_of(image, framed_eyes(len(image)))
        return face.landmarks if face.presence >= LEAST_PRESENCE else None
    faces = find_faces(image)
    return faces[0].landmarks if faces else None


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """Return uint8 (S, S, 3) as means over areas, uint8 (side, side, 3)."""
    times, rest = divmod(len(image), side)
    if rest:
        return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BOX))
    blocks = image.reshape(side, times, side, times, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
