"""Single-AU probes of one photograph: an AU is set to each level, the others stay as they are there."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pandas as pd

from benchmarks.photos.portraits import Portrait
from eggan.aus import AU_COLUMNS, AU_COUNT, AU_NUMBERS
from eggan.edit.photo_faces import steadied
from eggan.evaluation.identity_distance import distance_of
from eggan.faces.face import Face
from eggan.faces.find import find_faces
from eggan.faces.framing import aligned

LEVELS = (0.0, 2.5, 5.0)
TILE = 160  # pixels of a face on the contact sheet

ReadAUs = Callable[[np.ndarray], np.ndarray]  # landmarks (N, 468, 3) -> AUs (N, 17), NaN where not readable
Describe = Callable[[np.ndarray, Face], np.ndarray]  # photograph, face -> descriptor


class PhotographEditor(Protocol):
    """A photograph that has been analysed, ready for many edits."""

    def edit(self, target_aus: np.ndarray) -> np.ndarray:
        """Return the edited photograph, uint8 (H, W, 3), for AUs (17,) in [0, 5]."""
        ...


# portrait, whose face is as `eggan edit` takes it, and its AUs (17,), NaN where unknown
MakeEditor = Callable[[Portrait, np.ndarray], PhotographEditor]


@dataclass(frozen=True)
class PhotographReaders:
    """What reads edits; without `describe` identities are not measured.

    `read` gives AUs in [0, 5], which can be asked for; `estimate` the same before they are cut off there: an
    AU that reads 0 before and after an edit may still have moved.
    """

    read: ReadAUs
    estimate: ReadAUs
    describe: Describe | None


@dataclass(frozen=True)
class Probed:
    """What came of one portrait.

    `probes` has a row for each AU and level: portrait, kind, au, asked, detected, distance (of source and
    edit), seconds, and the reading of each AU. `tiles` uint8 (18, T, T, 3): the source and the edits at the
    highest level, framed as the source is. `aus` (17,): what the portrait shows. `analysis_seconds`: until
    the first edit can begin. `descriptor` is None where identities are not measured.
    """

    probes: pd.DataFrame
    tiles: np.ndarray
    aus: np.ndarray
    analysis_seconds: float
    descriptor: np.ndarray | None


def probe(
    portrait: Portrait,
    make_editor: MakeEditor,
    instruments: PhotographReaders,
    levels: Sequence[float] = LEVELS,
) -> Probed:
    """Edit one portrait `AU_COUNT` times at each level and read what came of it.

    The edit takes its face as `eggan edit` does; source and edits are measured as the detector finds them.
    """
    started = time.perf_counter()
    taken = replace(portrait, face=steadied(portrait.face, portrait.pixels))
    shown = instruments.read(taken.face.landmarks[None])[0]
    editor = make_editor(taken, shown)
    analysis = portrait.seconds + time.perf_counter() - started
    own = None if instruments.describe is None else instruments.describe(portrait.pixels, portrait.face)
    rows = list[dict[str, Any]]()
    tiles = [aligned(portrait.pixels, portrait.face, TILE)]
    for au, level, target in targets(shown, levels):
        started = time.perf_counter()
        edited = editor.edit(target)
        seconds = time.perf_counter() - started
        rows.append(
            {"portrait": portrait.name, "kind": portrait.kind, "au": au, "asked": level, "seconds": seconds}
            | _reading(edited, portrait.face, own, instruments)
        )
        if level == max(levels):
            tiles.append(aligned(edited, portrait.face, TILE))
    return Probed(pd.DataFrame(rows), np.stack(tiles), shown, analysis, own)


def targets(shown: np.ndarray, levels: Sequence[float]) -> Iterator[tuple[int, float, np.ndarray]]:
    """Yield AU, level and target (17,) of each probe; AUs that are not known are 0 while others move."""
    base = np.nan_to_num(shown).astype(np.float32)
    for position in range(AU_COUNT):
        for level in levels:
            target = base.copy()
            target[position] = level
            yield AU_NUMBERS[position], float(level), target


def face_again(edited: np.ndarray, face: Face) -> Face | None:
    """Return the face that the detector finds where it was before the edit, None where it finds none.

    It is the same where its middle is nearer to the old one than half the distance of the eyes.
    """
    middle = face.eyes.mean(axis=0)
    found = [(float(np.hypot(*(other.eyes.mean(axis=0) - middle))), other) for other in find_faces(edited)]
    away, nearest = min(found, key=lambda entry: entry[0], default=(np.inf, None))
    return nearest if away < face.eye_distance / 2 else None


def _reading(
    edited: np.ndarray, face: Face, own: np.ndarray | None, instruments: PhotographReaders
) -> dict[str, Any]:
    again = face_again(edited, face)
    unread = dict.fromkeys(AU_COLUMNS, np.nan)
    if again is None:
        return {"detected": False, "distance": np.nan} | unread
    distance = np.nan
    if own is not None and instruments.describe is not None:
        distance = distance_of(instruments.describe(edited, again), own)
    aus = instruments.estimate(again.landmarks[None])[0]
    return {"detected": True, "distance": distance} | dict(zip(AU_COLUMNS, map(float, aus), strict=True))
