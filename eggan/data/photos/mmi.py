"""The MMI Facial Expression Database (Pantic et al. 2005): videos of acted expressions.

The layout of its downloads, as programs that read them agree: `Sessions/<id>/` holds `session.xml`
(`<subject id>`, `<track view>`: 0 frontal, 1 profile, 2 both side by side), `<name>.avi`, `<name>.xml`
(`<Metatag Name="Emotion" Value="1..6">`) and, for a part of the sessions, `<name>-oao_aucs.xml`: for each
`<ActionUnit>` markers with a frame, counted from 1, and the phase that begins there (0 neutral, 1 onset,
2 apex, 3 offset). No official description of these files is public; a file that says otherwise is a problem
in the list, not a guess. Profiles and still pictures are left out by intent.

Of each session three frames are taken: the onset (the last neutral frame before the movement), the apex and
the offset (the first frame after it). Onset and offset count as neutral.
"""

import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from eggan.aus import AU_COLUMNS
from eggan.data.decoding import SUFFIXES
from eggan.data.file_tree import comparable, is_passed_over, passed_over_note, printable
from eggan.data.labels.table import FRAME, LabelTable
from eggan.data.photos.frontal import cut, find_cut
from eggan.data.photos.records import NOT_UTF8, UNLABELLED, FaceProblem, PhotoRecord, Problem, inside
from eggan.data.photos.video import read_frames
from eggan.errors import UserError

EMOTIONS = {"1": "angry", "2": "disgusted", "3": "fearful", "4": "happy", "5": "sad", "6": "surprised"}
PROFILE, DUAL = "profile", "dual"
VIEWS = {"0": "frontal", "1": PROFILE, "2": DUAL}
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


@dataclass(frozen=True)
class Session:
    """One usable session; `file` is its video below the root, `frames` are None where none are coded."""

    file: str
    subject: str
    view: str
    emotion: str
    frames: Frames | None

    @property
    def identity(self) -> str:
        """The subject's name in datasets."""
        return f"mmi-{self.subject}"


@dataclass(frozen=True)
class Sessions:
    """What a download holds: usable sessions, those with a problem, those left out by intent, and a note on
    hidden and system folders.
    """

    usable: Sequence[Session]
    problems: Sequence[Problem]
    left_out: Sequence[Problem]
    note: str | None = None


def read_sessions(root: Path) -> Sessions:
    """Return all sessions below `root`; a folder without any is a `UserError`."""
    entries = list((root / "Sessions").glob("*"))
    passed_over = Counter(path.name for path in entries if is_passed_over(path.name))
    folders = sorted((p for p in entries if p.is_dir() and p.name not in passed_over), key=_number)
    if not folders:
        raise UserError(f"{root} holds no folder Sessions/<id>: is it the folder of MMI's download?")
    usable, problems, left_out = [], [], []
    for folder in folders:
        name = folder.relative_to(root).as_posix()
        inside(root, name)
        try:
            if printable(name) != name:
                raise SessionProblem(NOT_UTF8)
            found = _session(root, folder, name)
        except SessionProblem as problem:
            problems.append(Problem(name, str(problem)))
            continue
        if isinstance(found, str):
            left_out.append(Problem(name, found))
        else:
            usable.append(found)
    return Sessions(usable, problems, left_out, passed_over_note(passed_over))


def choose_frames(
    sessions: Iterable[Session], labels: LabelTable, cuts: Mapping[str, str]
) -> tuple[list[PhotoRecord], list[Problem]]:
    """Return three records per session whose frames are coded or can be chosen by labels, and the others.

    `cuts` holds the frontal cut of each session's video.
    """
    records, problems = [], []
    for session in sessions:
        try:
            frames = session.frames or _labelled(session.file, labels)
        except SessionProblem as problem:
            problems.append(Problem(session.file, str(problem)))
            continue
        records += _records(session, frames, cuts[session.file])
    return records, problems


def find_cuts(
    root: Path, sessions: Iterable[Session], count_faces: Callable[[np.ndarray], int]
) -> tuple[dict[str, str], list[Problem]]:
    """Return the frontal cut of each video by file, and the videos that cannot be read or show no one cut."""
    cuts, problems = {}, []
    for session in sessions:
        try:
            first = read_frames(inside(root, session.file), [0])[0]
            cuts[session.file] = find_cut(first, session.view == DUAL, count_faces)
        except FaceProblem as problem:
            problems.append(Problem(session.file, str(problem)))
        except UserError as error:
            problems.append(Problem(session.file, f"unreadable: {error}"))
    return cuts, problems


def frame_reader(root: Path, records: Sequence[PhotoRecord]) -> Callable[[PhotoRecord], np.ndarray]:
    """Return a function that opens a record's frame; each video is decoded once, in the records' order."""
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
        return cut(cache[file][frame], record.extra["cut"])

    return read


def _place(record: PhotoRecord) -> tuple[str, int]:
    file, _, frame = record.source_file.rpartition(FRAME)
    return file, int(frame)


def _number(path: Path) -> tuple[int, str]:
    return (int(path.name) if path.name.isdigit() else 0, path.name)


def _records(session: Session, frames: Frames, part: str) -> list[PhotoRecord]:
    phases = {"onset": frames.onset, "apex": frames.apex, "offset": frames.offset}
    origin = {"chosen_by": frames.chosen_by, "view": session.view, "cut": part}
    return [
        PhotoRecord(
            f"{session.file}{FRAME}{number}",
            session.identity,
            session.emotion if phase == "apex" else "neutral",
            extra={"phase": phase, "frame": str(number), **origin},
        )
        for phase, number in phases.items()
    ]


def _session(root: Path, folder: Path, name: str) -> Session | str:
    """Return a session, or why it is left out."""
    tree = _parse(root, f"{name}/session.xml")
    subject = tree.find(".//subject")
    if subject is None or not subject.get("id"):
        raise SessionProblem("session.xml names no subject")
    files = sorted(path for path in folder.iterdir() if not is_passed_over(path.name))
    found = [path.name for path in files if path.suffix.lower() == ".avi"]
    if not found and any(path.suffix.lower() in SUFFIXES for path in files):
        return "still pictures"
    if len(found) != 1:
        raise SessionProblem(f"{len(found)} videos instead of one")
    if printable(found[0]) != found[0]:
        raise SessionProblem(NOT_UTF8)
    view = _view(tree, found[0])
    if view == PROFILE:
        return "filmed from the side"
    video = PurePosixPath(name) / found[0]
    inside(root, video.as_posix())
    emotion = _emotion(root, video.with_suffix(".xml").as_posix())
    frames = _coded(root, f"{video.with_suffix('').as_posix()}-oao_aucs.xml")
    return Session(video.as_posix(), comparable(str(subject.get("id"))), view, emotion, frames)


def _view(tree: ElementTree.Element, video: str) -> str:
    tracks = list(tree.iter("track"))
    own = [track for track in tracks if track.get("filename") == video] or tracks
    view = own[0].get("view", "") if own else ""
    if view not in VIEWS:
        raise SessionProblem(f"session.xml has the view {view!r}, not {', '.join(VIEWS)}")
    return VIEWS[view]


def _parse(root: Path, file: str) -> ElementTree.Element:
    path = inside(root, file)
    try:
        return ElementTree.parse(path).getroot()
    except FileNotFoundError:
        raise SessionProblem(f"{path.name} is missing") from None
    except (ElementTree.ParseError, OSError, ValueError, LookupError) as error:
        raise SessionProblem(f"{path.name} cannot be read: {error}") from None


def _emotion(root: Path, file: str) -> str:
    """Return the acted emotion; sessions of single AUs have none."""
    if not inside(root, file).exists():
        return UNLABELLED
    tags = {tag.get("Name"): tag.get("Value", "") for tag in _parse(root, file).iter("Metatag")}
    return EMOTIONS.get(tags.get("Emotion", ""), UNLABELLED)


def _coded(root: Path, file: str) -> Frames | None:
    """Choose frames by the coding, where there is one with an onset and an apex.

    The apex is the middle of the frames in which most AUs are at theirs.
    """
    if not inside(root, file).exists():
        return None
    units = [_markers(unit) for unit in _parse(root, file).iter("ActionUnit")]
    units = [unit for unit in units if {ONSET, APEX} <= set(unit.values())]
    if not units:
        return None
    last = max(max(unit) for unit in units)
    at_apex = np.array([sum(_phase(unit, frame) == APEX for unit in units) for frame in range(last + 1)])
    best = np.flatnonzero(at_apex == at_apex.max())
    onset = min(frame for unit in units for frame, phase in unit.items() if phase == ONSET)
    apex = int(best[len(best) // 2])
    ends = [f for unit in units for f, phase in unit.items() if phase == NEUTRAL and f > apex]
    return _in_order(Frames(max(0, onset - 1), apex, max(ends, default=last), BY_CODING))


def _markers(unit: ElementTree.Element) -> dict[int, int]:
    """Return phase by frame (from 0) of one AU, in the order of frames."""
    try:
        pairs = [(int(m.get("Frame", "")) - 1, int(m.get("Type", ""))) for m in unit.iter("Marker")]
    except ValueError:
        raise SessionProblem(f"a marker of AU {unit.get('Number')} has no frame or type") from None
    if any(frame < 0 for frame, _ in pairs):
        raise SessionProblem(f"a marker of AU {unit.get('Number')} is before frame 1")
    return dict(sorted(pairs))


def _phase(unit: Mapping[int, int], frame: int) -> int:
    begun = [phase for start, phase in unit.items() if start <= frame]
    return begun[-1] if begun else NEUTRAL


def _labelled(file: str, labels: LabelTable) -> Frames:
    """Choose frames by labels: the apex has the largest sum of AUs; first and last frame are the ends."""
    all_rows = labels.frames(file)
    rows = all_rows[all_rows["problem"] == ""]
    if len(all_rows) == 1 and rows.empty:
        raise SessionProblem(str(all_rows["problem"].iloc[0]))
    if len(rows) < 3:
        raise SessionProblem("neither an onset-apex-offset coding nor labels of its frames")
    total = rows[list(AU_COLUMNS)].to_numpy(float).sum(axis=1)
    apex = int(rows.index[int(total.argmax())])
    return _in_order(Frames(int(rows.index[0]), apex, int(rows.index[-1]), BY_LABELS))


def _in_order(frames: Frames) -> Frames:
    """Return the frames, which must be three: an apex at an end of the video is a part of a movement."""
    if not frames.onset < frames.apex < frames.offset:
        raise SessionProblem(
            f"no frame on both sides of the apex (onset {frames.onset}, apex {frames.apex}, "
            f"offset {frames.offset} by {frames.chosen_by})"
        )
    return frames
