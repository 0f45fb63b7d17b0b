"""`eggan data build rafd|mmi|folder`: arguments, labels, split, alignment, and the build."""

import argparse
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from eggan.data.align import FACE, KINDS, count_faces, current_kind, make_aligner
from eggan.data.dataset import load_dataset
from eggan.data.decoding import is_plain_image
from eggan.data.labels.openface_run import label_images, label_videos, require_openface
from eggan.data.labels.read import KINDS as LABEL_KINDS
from eggan.data.labels.read import read_labels
from eggan.data.labels.table import LabelTable, key_of
from eggan.data.photos import folder, mmi, rafd
from eggan.data.photos.build import Plan, build_photos, check_free, label_keys, summary
from eggan.data.photos.frontal import WHOLE, cut
from eggan.data.photos.records import Photographs, PhotoRecord, Problem, find_photographs, inside, read_photo
from eggan.data.photos.split import read_split, split_identities
from eggan.data.photos.video import write_changed
from eggan.errors import UserError
from eggan.files import hash_files
from eggan.pictures import save_picture
from eggan.progress import progress_bar

EXAMPLES = {
    "rafd": """examples:
  eggan data build rafd --root RaFD --openface OpenFace/build/bin     label with OpenFace, then build
  eggan data build rafd --root RaFD --labels openface-csv/            labels that are there already
  eggan data build rafd --root RaFD --dry-run                         what is there, what is missing

The database is lent after a signed agreement: rafd.nl""",
    "mmi": """examples:
  eggan data build mmi --root MMI --openface OpenFace/build/bin       label all videos, then build
  eggan data build mmi --root MMI --labels openface-csv/ --size 64

The database is lent after a signed agreement: mmifacedb.eu""",
    "folder": """examples:
  eggan data build folder --root photos --labels au.csv      a folder per person, or a column identity
  eggan data build folder --root photos --labels au.csv --align centre --name mine
  eggan data build folder --root photos --openface OpenFace/build/bin""",
}
DESCRIPTIONS = {
    "rafd": "Build a dataset of the Radboud Faces Database.",
    "mmi": "Build a dataset of the MMI Facial Expression Database: onset, apex and offset of each video.",
    "folder": "Build a dataset of any photographs with AU labels.",
}
# Test and validation people: RaFD as in the paper; elsewhere about the same parts.
TEST_SHARE, VALIDATION_SHARE = rafd.TEST_MODELS / rafd.MODELS, rafd.VALIDATION_MODELS / rafd.MODELS
NAME_CHARACTERS = 100  # a folder's name may have 255 bytes with size and hash


def add_arguments(kind: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eggan data build KIND`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTIONS[kind], EXAMPLES[kind]
    parser.add_argument(
        "--root", type=Path, required=True, metavar="FOLDER", help="folder of the photographs"
    )
    parser.add_argument("--size", type=int, choices=(64, 128), default=128, help="image side (default: 128)")
    parser.add_argument(
        "--align",
        type=current_kind,
        choices=KINDS,
        default=FACE,
        help="face: turned and scaled by the eyes; centre: the central square; none: they have the size "
        "already (default: face)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder of the dataset (default: data/NAME-SIZEpx)"
    )
    parser.add_argument("--seed", type=int, default=0, help="decides who is in which split (default: 0)")
    parser.add_argument(
        "--test", type=int, metavar="N", help="people for testing (default: 9 of 67, or that share)"
    )
    parser.add_argument(
        "--val", type=int, metavar="N", help="people for validation (default: 6 of 67, or that share)"
    )
    parser.add_argument(
        "--split",
        type=Path,
        metavar="FILE",
        help="CSV with the columns identity and split, in place of --seed, --test and --val",
    )
    parser.add_argument(
        "--allow-incomplete", action="store_true", help="build without the photographs that have a problem"
    )
    parser.add_argument("--dry-run", action="store_true", help="print what is there and build nothing")
    _add_label_arguments(kind, parser)
    if kind == "rafd":
        parser.add_argument(
            "--cameras",
            nargs="+",
            default=[rafd.FRONTAL],
            metavar="ANGLE",
            help="camera angles to take (default: 090, frontal)",
        )
    if kind == "folder":
        parser.add_argument("--name", default="folder", help="the dataset's name (default: folder)")


def _add_label_arguments(kind: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--labels", type=Path, metavar="PLACE", help="CSV file, or folder of OpenFace's CSV files"
    )
    parser.add_argument(
        "--label-kind",
        choices=LABEL_KINDS,
        default="auto",
        help="what --labels holds (default: auto, by its columns)",
    )
    parser.add_argument(
        "--openface", type=Path, metavar="PLACE", help="OpenFace's program or bin folder, to label with it"
    )
    parser.add_argument(
        "--openface-version",
        metavar="VERSION",
        help="OpenFace's version, such as 2.2.0: its files do not tell",
    )
    if kind == "mmi":
        parser.add_argument(
            "--openface-mode",
            choices=("dynamic", "static"),
            help="whether AUs are corrected by the rest of the video (default: dynamic, as OpenFace's)",
        )


@dataclass(frozen=True)
class Source:
    """What one kind of data gave: records with their labels, what cannot be used, and how a record is read.

    `parameters` go into the dataset's parameters; `split` is a split that the labels brought along; `notes`
    counts what `read` did to photographs beyond decoding.
    """

    name: str
    records: Sequence[PhotoRecord]
    problems: Sequence[Problem]
    labels: LabelTable
    read: Callable[[PhotoRecord], np.ndarray]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    split: Mapping[str, str] | None = None
    notes: Counter[str] = field(default_factory=Counter)


def run_rafd(args: argparse.Namespace) -> int:
    """Build a dataset of RaFD."""
    check_free(_out(args, "rafd"))
    found = _photographs(args)
    records, problems = rafd.read_rafd(found, args.cameras)
    missing = rafd.report_counts(records, args.cameras)
    if missing:
        print(missing)
    if args.dry_run:
        return _describe(args, records, problems, _given(args, found))
    if missing and not args.allow_incomplete:
        raise UserError(f"{missing.splitlines()[0]}: --allow-incomplete builds without the others")
    labels = _given(args, found) or _image_labels(args, [record.source_file for record in records])
    parameters, notes = {"cameras": sorted(args.cameras)}, Counter[str]()
    read = _photo_reader(args, notes)
    return _build(args, Source("rafd", records, problems, labels, read, parameters, notes=notes))


def run_folder(args: argparse.Namespace) -> int:
    """Build a dataset of a folder of photographs."""
    _check_name(args.name)
    check_free(_out(args, args.name))
    found = _photographs(args)
    given = _given(args, found)
    if given is None and args.dry_run:
        raise UserError("--dry-run of a folder needs --labels: they say who is on which photograph")
    labels = given or _image_labels(args, found.files)
    records, problems = folder.read_folder(found, labels)
    split = folder.split_column(records, labels)
    if args.dry_run:
        return _describe(args, records, problems, labels, split)
    notes = Counter[str]()
    read = _photo_reader(args, notes)
    return _build(args, Source(args.name, records, problems, labels, read, split=split, notes=notes))


def run_mmi(args: argparse.Namespace) -> int:
    """Build a dataset of MMI."""
    check_free(_out(args, "mmi"))
    sessions = mmi.read_sessions(args.root)
    if sessions.note:
        print(f"note: {sessions.note} in {args.root / 'Sessions'}")
    if args.dry_run:
        return _describe_sessions(sessions, args.split)
    given = _given(args)
    counted = progress_bar(sessions.usable, len(sessions.usable), "frontal views")
    cuts, unreadable = mmi.find_cuts(args.root, counted, count_faces)
    usable = [session for session in sessions.usable if session.file in cuts]
    labels = given or _video_labels(args, {session.file: cuts[session.file] for session in usable})
    records, unclear = mmi.choose_frames(usable, labels, cuts)
    problems = [*sessions.problems, *unreadable, *unclear]
    parameters = {"left_out": len(sessions.left_out)}
    return _build(
        args, Source("mmi", records, problems, labels, mmi.frame_reader(args.root, records), parameters)
    )


def _check_name(name: str) -> None:
    if len(name) > NAME_CHARACTERS:
        raise UserError(f"--name has {len(name)} characters: take at most {NAME_CHARACTERS}")
    if not name.replace("-", "").replace("_", "").isalnum() or name.startswith("synfacs"):
        raise UserError(
            f"--name {name!r}: use letters, digits, - and _, and not a name that begins with synfacs"
        )


def _out(args: argparse.Namespace, name: str) -> Path:
    return args.out or Path("data") / f"{name}-{args.size}px"


def _photographs(args: argparse.Namespace) -> Photographs:
    found = find_photographs(args.root)
    for note in found.notes:
        print(f"note: {note}")
    return found


def _given(args: argparse.Namespace, found: Photographs | None = None) -> LabelTable | None:
    """Return the labels that --labels names, None without it; `found`: what they are to label."""
    if args.labels is None:
        return None
    if args.openface is not None:
        raise UserError("--labels and --openface contradict each other: labels are read or made, not both")
    mode = getattr(args, "openface_mode", None)
    labels = read_labels(args.labels, args.label_kind, args.openface_version, mode).relative_to(args.root)
    if found is not None:
        folder.refuse_frames(found, labels)
    return labels


def _image_labels(args: argparse.Namespace, files: Sequence[str]) -> LabelTable:
    openface = require_openface(args.openface, args.openface_version)
    images = {key_of(file): _for_openface(inside(args.root, file), _work(args)) for file in files}
    return label_images(openface, images, _work(args))


def _for_openface(path: Path, work: Path) -> Path:
    """Return a photograph as a file that OpenFace reads as it is read here: OpenCV knows fewer forms."""
    if is_plain_image(path):
        return path
    target = work / "converted" / f"{hash_files([path])[:24]}.png"
    try:
        return target if target.exists() else save_picture(read_photo(path), target)
    except UserError:
        return path  # OpenFace fails on it too; it is listed with the reason when it is read for the dataset


def _video_labels(args: argparse.Namespace, cuts: Mapping[str, str]) -> LabelTable:
    """Label all videos, those of a dual or turned view by their frontal part only."""
    openface = require_openface(args.openface, args.openface_version)
    paths = {key_of(file): _frontal(args, file, part) for file, part in cuts.items()}
    return label_videos(openface, paths, _work(args), args.openface_mode or "dynamic")


def _frontal(args: argparse.Namespace, file: str, part: str) -> Path:
    path = inside(args.root, file)
    if part == WHOLE:
        return path
    target = _work(args) / "frontal" / f"{hash_files([path])[:24]}-{part.replace(' ', '-')}.avi"
    return target if target.exists() else write_changed(path, partial(cut, name=part), target)


def _work(args: argparse.Namespace) -> Path:
    """Where OpenFace's results are kept, so that a second run goes on from them."""
    folder_of_data = args.out.parent if args.out else Path("data")
    return folder_of_data / "openface-cache"


def _photo_reader(args: argparse.Namespace, notes: Counter[str]) -> Callable[[PhotoRecord], np.ndarray]:
    return lambda record: read_photo(inside(args.root, record.source_file), notes)


def _build(args: argparse.Namespace, source: Source) -> int:
    if not source.records:
        raise UserError(f"nothing of {source.name} can be used: {summary(source.problems)}")
    split = _split(args, source.records, source.split)
    plan = Plan(
        name=source.name,
        size=args.size,
        seed=args.seed,
        records=source.records,
        split=split,
        labels=source.labels,
        read=source.read,
        prepare=make_aligner(args.align, args.size),
        parameters={
            "align": args.align,
            "size": args.size,
            "split": dict(sorted(split.items())),
            **source.parameters,
        },
        problems=source.problems,
    )
    dataset = load_dataset(build_photos(plan, _out(args, source.name), args.allow_incomplete))
    for note, count in source.notes.items():
        print(f"note: {count} x {note}")
    counts = dataset.manifest.groupby("split")["identity"].nunique()
    people_text = ", ".join(f"{count} {part}" for part, count in counts.items())
    print(f"{dataset.folder}: {len(dataset.manifest)} images, {args.size} px, people: {people_text}")
    return 0


def _split(
    args: argparse.Namespace, records: Sequence[PhotoRecord], given: Mapping[str, str] | None
) -> Mapping[str, str]:
    """Return which person is in which split: as a file or the labels say, else drawn by the seed."""
    people = sorted({record.identity for record in records})
    folder.refuse_twins(people)
    return read_split(args.split) if args.split else given or _seeded(args, people)


def _seeded(args: argparse.Namespace, people: Sequence[str]) -> dict[str, str]:
    test = args.test if args.test is not None else max(1, round(TEST_SHARE * len(people)))
    val = args.val if args.val is not None else max(1, round(VALIDATION_SHARE * len(people)))
    return split_identities(people, test, val, args.seed)


def _describe(
    args: argparse.Namespace,
    records: Sequence[PhotoRecord],
    problems: Sequence[Problem],
    labels: LabelTable | None,
    split: Mapping[str, str] | None = None,
) -> int:
    """Print what is there; what would stop the build before it reads a picture stops this too."""
    print(f"{len(records)} images of {len({record.identity for record in records})} people")
    for name, count in sorted(Counter(record.expression for record in records).items()):
        print(f"  {name:<14} {count}")
    if labels is not None:
        usable = sum(not labels.table.at[key, "problem"] for key in label_keys(records, labels).values())
        print(f"labels of {usable} of them: {labels.origin}")
    if problems:
        print(summary(problems))
    if records:
        _describe_split({record.identity for record in records}, _split(args, records, split))
    return 0


def _describe_split(people: Collection[str], split: Mapping[str, str]) -> None:
    """Print how many people are in which split, and who is in none; nobody in any is a `UserError`."""
    unnamed = sorted(set(people) - set(split))
    if len(unnamed) == len(people):
        raise UserError(f"the split names none of the {len(people)} people here, such as {unnamed[0]}")
    counts = Counter(split[person] for person in people if person in split)
    print(f"people: {', '.join(f'{count} {part}' for part, count in sorted(counts.items()))}")
    if unnamed:
        print(f"not in the split, so the build would not take them: {', '.join(unnamed)}")


def _describe_sessions(sessions: mmi.Sessions, split: Path | None) -> int:
    people = {session.identity for session in sessions.usable}
    coded = sum(session.frames is not None for session in sessions.usable)
    print(
        f"{len(sessions.usable)} videos of {len(people)} people; of {coded} onset, apex and offset are coded"
    )
    for name, count in sorted(Counter(session.emotion for session in sessions.usable).items()):
        print(f"  {name:<14} {count}")
    for reason, count in Counter(problem.reason for problem in sessions.left_out).most_common():
        print(f"left out: {count} x {reason}")
    if sessions.problems:
        print(summary(sessions.problems))
    if split is not None and people:
        _describe_split(people, read_split(split))
    return 0
