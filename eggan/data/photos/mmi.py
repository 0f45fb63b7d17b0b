"""The MMI Facial Expression Database (Pantic et al. 2005): videos of acted expressions.

The layout of its downloads, as programs that read them agree: `Sessions/<id>/` holds `session.xml`
(`<subject id>`, `<track view>`: 0 frontal, 1 profile, 2 both side by side), `<name>.avi`, `<name>.xml`
(`<Metatag Name="Emotion" Value="1..6">`) and, for a part of the sessions, `<name>-oao_aucs.xml`: for each
`<ActionUnit>` markers with a frame, counted from 1, and the phase that begins there (0 neutral, 1 onset,
2 apex, 3 offset). No official description of these files is public; a file that says otherwise is a problem
in the list, not a guess.

Of each session three frames are taken: the onset (the last neutral frame before the movement), the apex and
the offset (the first frame after it). Onset and offset count as neutral.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eggan.aus import AU_COLUMNS
from eggan.data.labels.table import FRAME, LabelTable, key_of
from eggan.data.photos.records import UNLABELLED, FaceProblem, PhotoRecord, Problem, inside
from eggan.data.photos.video import read_frames
from eggan.errors import UserError

EMOTIONS = {"1": "angry", "2": "disgusted", "3": "fearful", "4": "happy", "5": "sad", "6": "surprised"}
FRONTAL, PROFILE, DUAL = "0", "1", "2"
NEUTRAL, ONSET, APEX, OFFSET = range(4)
BY_CODING, BY_LABELS = "onset-apex-offset coding", "largest sum of AU labels"


class SessionProblem(Exception):
    """A session cannot be used; the message says why."""


@dataclass(frozen=True)
class Frames:
    """The chosen frames of a video, counted from 0, and how they were chosen."""

    onset: int
    apex: int
    offset: int
    chosen_by: str


def read_mmi(root: Path, labels: LabelTable) -> tuple[list[PhotoRecord], list[Problem]]:
    """Return three records per usable session and the sessions that cannot be used; none: `UserError`."""
    folders = sorted((path for path in (root / "Sessions").glob("*") if path.is_dir()), key=_number)
    if not folders:
        raise UserError(f"{root} holds no folder Sessions/<id>: is it the folder of MMI's download?")
    records, problems = [], []
    for folder in folders:
        name = folder.relative_to(root).as_posix()
        inside(root, name)
        try:
            records += _session(root, folder, labels)
        except SessionProblem as problem:
            problems.append(Problem(name, str(problem)))
    return records, problems


def videos(root: Path) -> dict[str, Path]:
    """Return the path of every session's video by its key, for labelling them."""
    return {key_of(p.relative_to(root).as_posix()): p for p in sorted((root / "Sessions").glob("*/*.avi"))}


def frame_reader(
    root: Path, records: Sequence[PhotoRecord], frontal_half: Callable[[np.ndarray], np.ndarray]
) -> Callable[[PhotoRecord], np.ndarray]:
    """Return a function that opens a record's frame; each video is decoded once, in the records' order.

    `frontal_half` cuts a dual view (uint8 (H, W, 3)) to the half that shows the face from the front.
    """
    wanted: dict[str, list[int]] = {}
    for record in records:
        file, frame = _place(record)
        wanted.setdefault(file, []).append(frame)
    cache: dict[str, dict[int, np.ndarray]] = {}

    def read(record: PhotoRecord) -> np.ndarray:
        file, frame = _place(record)
        if file not in cache:
            cache.clear()
            cache[file] = read_frames(inside(root, file), wanted[file])
        image = cache[file][frame]
        return frontal_half(image) if record.extra["view"] == DUAL else image

    return read


def half_with_face(image: np.ndarray, count_faces: Callable[[np.ndarray], int]) -> np.ndarray:
    """Return the half of a dual view in which the detector of frontal faces finds one; else `FaceProblem`."""
    middle = image.shape[1] // 2
    halves = [image[:, :middle], image[:, middle:]]
    found = [half for half in halves if count_faces(np.ascontiguousarray(half)) == 1]
    if len(found) != 1:
        raise FaceProblem(f"dual view: a frontal face in {len(found)} of 2 halves")
    return np.ascontiguousarray(found[0])


def _place(record: PhotoRecord) -> tuple[str, int]:
    file, _, frame = record.source_file.partition(FRAME)
    return file, int(frame)


def _number(path: Path) -> tuple[int, str]:
    return (int(path.name) if path.name.isdigit() else 0, path.name)


def _session(root: Path, folder: Path, labels: LabelTable) -> list[PhotoRecord]:
    session = _parse(folder / "session.xml")
    subject, track = session.find(".//subject"), session.find(".//track")
    if subject is None or not subject.get("id"):
        raise SessionProblem("session.xml names no subject")
    view = track.get("view", FRONTAL) if track is not None else FRONTAL
    if view == PROFILE:
        raise SessionProblem("filmed from the side")
    found = sorted(folder.glob("*.avi"))
    if len(found) != 1:
        raise SessionProblem(f"{len(found)} videos instead of one")
    video = found[0]
    file = video.relative_to(root).as_posix()
    inside(root, file)
    emotion = _emotion(video.with_suffix(".xml"))
    frames = _choose(video.with_name(f"{video.stem}-oao_aucs.xml"), key_of(file), labels)
    phases = {"onset": frames.onset, "apex": frames.apex, "offset": frames.offset}
    return [
        PhotoRecord(
            f"{file}{FRAME}{number}",
            f"mmi-{subject.get('id')}",
            emotion if phase == "apex" else "neutral",
            extra={"phase": phase, "frame": str(number), "chosen_by": frames.chosen_by, "view": view},
        )
        for phase, number in phases.items()
    ]


def _parse(path: Path) -> ElementTree.Element:
    try:
        return ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise SessionProblem(f"{path.name} is missing") from None
    except (ElementTree.ParseError, OSError) as error:
        raise SessionProblem(f"{path.name} cannot be read: {error}") from None


def _emotion(path: Path) -> str:
    """Return the acted emotion; sessions of single AUs have none."""
    if not path.exists():
        return UNLABELLED
    tags = {tag.get("Name"): tag.get("Value", "") for tag in _parse(path).iter("Metatag")}
    return EMOTIONS.get(tags.get("Emotion", ""), UNLABELLED)


def _choose(coding: Path, key: str, labels: LabelTable) -> Frames:
    if coding.exists():
        units = [_markers(unit) for unit in _parse(coding).iter("ActionUnit")]
        units = [unit for unit in units if {ONSET, APEX} <= set(unit.values())]
        if units:
            return _coded(units)
    return _labelled(key, labels)


def _markers(unit: ElementTree.Element) -> dict[int, int]:
    """Return phase by frame (from 0) of one AU, in the order of frames."""
    try:
        pairs = [(int(m.get("Frame", "")) - 1, int(m.get("Type", ""))) for m in unit.iter("Marker")]
    except ValueError:
        raise SessionProblem(f"a marker of AU {unit.get('Number')} has no frame or type") from None
    return dict(sorted(pairs))


def _coded(units: Sequence[Mapping[int, int]]) -> Frames:
    """Choose frames by the coding: the apex is the middle of the frames in which most AUs are at theirs."""
    last = max(max(unit) for unit in units)
    at_apex = np.array([sum(_phase(unit, frame) == APEX for unit in units) for frame in range(last + 1)])
    best = np.flatnonzero(at_apex == at_apex.max())
    onset = min(frame for unit in units for frame, phase in unit.items() if phase == ONSET)
    apex = int(best[len(best) // 2])
    ends = [f for unit in units for f, phase in unit.items() if phase == NEUTRAL and f > apex]
    return Frames(max(0, onset - 1), apex, max(ends, default=last), BY_CODING)


def _phase(unit: Mapping[int, int], frame: int) -> int:
    begun = [phase for start, phase in unit.items() if start <= frame]
    return begun[-1] if begun else NEUTRAL


def _labelled(key: str, labels: LabelTable) -> Frames:
    """Choose frames by labels: the apex has the largest sum of AUs; first and last frame are the ends."""
    read = labels.table[labels.table["problem"] == ""]
    start = (f"{key}{FRAME}", f"{key.rpartition('/')[2]}{FRAME}")
    rows = read[[str(name).startswith(start) for name in read.index]]
    if len(rows) < 3:
        raise SessionProblem("neither an onset-apex-offset coding nor labels of its frames")
    numbers = np.array([int(str(name).rpartition(FRAME)[2]) for name in rows.index])
    total = rows[list(AU_COLUMNS)].to_numpy(float).sum(axis=1)
    return Frames(int(numbers.min()), int(numbers[total.argmax()]), int(numbers.max()), BY_LABELS)
