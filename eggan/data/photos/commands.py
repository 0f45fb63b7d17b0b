"""`eggan data build rafd|mmi|folder`: arguments, labels, split, alignment, and the build."""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from eggan.data.align import KINDS, count_faces, make_aligner
from eggan.data.dataset import load_dataset
from eggan.data.labels.openface_run import label_images, label_videos, require_openface
from eggan.data.labels.read import KINDS as LABEL_KINDS
from eggan.data.labels.read import read_labels
from eggan.data.labels.table import LabelTable, key_of
from eggan.data.photos import folder, mmi, rafd
from eggan.data.photos.build import Plan, build_photos, summary
from eggan.data.photos.records import PhotoRecord, Problem, inside, read_photo
from eggan.data.photos.split import read_split, split_identities
from eggan.errors import UserError

EXAMPLES = {
    "rafd": """examples:
  eggan data build rafd --root RaFD --openface OpenFace/build/bin     label with OpenFace, then build
  eggan data build rafd --root RaFD --labels openface-csv/            labels that are there already
  eggan data build rafd --root RaFD --dry-run                         what is there, what is missing""",
    "mmi": """examples:
  eggan data build mmi --root MMI --openface OpenFace/build/bin       label all videos, then build
  eggan data build mmi --root MMI --labels openface-csv/ --size 64""",
    "folder": """examples:
  eggan data build folder --root photos --labels au.csv      a folder per person, or a column identity
  eggan data build folder --root photos --labels au.csv --align centre --name mine""",
}
DESCRIPTIONS = {
    "rafd": "Build a dataset of the Radboud Faces Database.",
    "mmi": "Build a dataset of the MMI Facial Expression Database: onset, apex and offset of each video.",
    "folder": "Build a dataset of any photographs with AU labels.",
}
# Test and validation people: RaFD as in the paper; elsewhere about the same parts.
TEST_SHARE, VALIDATION_SHARE = rafd.TEST_MODELS / rafd.MODELS, rafd.VALIDATION_MODELS / rafd.MODELS


def add_arguments(kind: str, parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `eggan data build KIND`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.description, parser.epilog = DESCRIPTIONS[kind], EXAMPLES[kind]
    parser.add_argument("--root", type=Path, required=True, help="folder of the photographs")
    parser.add_argument("--size", type=int, choices=(64, 128), default=128, help="image side (default: 128)")
    parser.add_argument("--align", choices=KINDS, default="dlib", help="default: dlib, by the eyes")
    parser.add_argument("--out", type=Path, help="folder of the dataset (default: data/NAME-SIZEpx)")
    parser.add_argument("--seed", type=int, default=0, help="of the split (default: 0)")
    parser.add_argument("--test", type=int, help="people for testing (default: 9 of 67, or that share)")
    parser.add_argument("--val", type=int, help="people for validation (default: 6 of 67, or that share)")
    parser.add_argument("--split", type=Path, help="CSV with the columns identity, split instead")
    parser.add_argument("--allow-incomplete", action="store_true", help="build without what has a problem")
    parser.add_argument("--dry-run", action="store_true", help="print what is there and build nothing")
    _add_label_arguments(kind, parser)
    if kind == "rafd":
        parser.add_argument("--cameras", nargs="+", default=[rafd.FRONTAL], help="default: 090, frontal")
    if kind == "folder":
        parser.add_argument("--name", default="folder", help="the dataset's name (default: folder)")


def _add_label_arguments(kind: str, parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--labels", type=Path, required=kind == "folder", help="CSV file, or folder of OpenFace's CSV files"
    )
    parser.add_argument("--label-kind", choices=LABEL_KINDS, default="auto", help="default: auto")
    parser.add_argument("--openface", type=Path, help="OpenFace's program or bin folder, to label with it")
    parser.add_argument(
        "--openface-version", help="version of OpenFace, such as 2.2.0: its files do not tell"
    )


def run_rafd(args: argparse.Namespace) -> int:
    """Build a dataset of RaFD."""
    records, problems = rafd.read_rafd(args.root, args.cameras)
    text = rafd.check_counts(records, args.cameras, args.allow_incomplete or args.dry_run)
    if text:
        print(text)
    if args.dry_run:
        return _describe(records, problems)
    return _build("rafd", args, records, problems, _photo_labels(args, records))


def run_folder(args: argparse.Namespace) -> int:
    """Build a dataset of a folder of photographs."""
    labels = read_labels(args.labels, args.label_kind, args.openface_version)
    records, problems = folder.read_folder(args.root, labels)
    if args.dry_run:
        return _describe(records, problems)
    return _build(args.name, args, records, problems, labels, folder.split_column(records, labels))


def run_mmi(args: argparse.Namespace) -> int:
    """Build a dataset of MMI."""
    labels = _given(args) or _video_labels(args)
    records, problems = mmi.read_mmi(args.root, labels)
    if args.dry_run:
        return _describe(records, problems)
    return _build("mmi", args, records, problems, labels)


def _given(args: argparse.Namespace) -> LabelTable | None:
    if args.labels is None:
        return None
    if args.openface is not None:
        raise UserError("--labels and --openface contradict each other: labels are read or made, not both")
    return read_labels(args.labels, args.label_kind, args.openface_version)


def _photo_labels(args: argparse.Namespace, records: Sequence[PhotoRecord]) -> LabelTable:
    given = _given(args)
    if given is not None:
        return given
    openface = require_openface(args.openface, args.openface_version)
    paths = {key_of(record.source_file): inside(args.root, record.source_file) for record in records}
    return label_images(openface, paths, _work(args))


def _video_labels(args: argparse.Namespace) -> LabelTable:
    openface = require_openface(args.openface, args.openface_version)
    return label_videos(openface, mmi.videos(args.root), _work(args))


def _work(args: argparse.Namespace) -> Path:
    """Where OpenFace's results are kept, so that a second run goes on from them."""
    folder_of_data = args.out.parent if args.out else Path("data")
    return folder_of_data / "openface-cache"


def _build(
    name: str,
    args: argparse.Namespace,
    records: Sequence[PhotoRecord],
    problems: Sequence[Problem],
    labels: LabelTable,
    split: Mapping[str, str] | None = None,
) -> int:
    people = sorted({record.identity for record in records})
    split = read_split(args.split) if args.split else split or _seeded(args, people)
    out = args.out or Path("data") / f"{name}-{args.size}px"
    plan = Plan(
        name=name,
        size=args.size,
        seed=args.seed,
        records=records,
        split=split,
        labels=labels,
        read=_reader(args, records),
        prepare=make_aligner(args.align, args.size),
        parameters={"align": args.align, "size": args.size, "split": dict(sorted(split.items()))},
        problems=problems,
    )
    dataset = load_dataset(build_photos(plan, out, args.allow_incomplete))
    counts = dataset.manifest.groupby("split")["identity"].nunique()
    people_text = ", ".join(f"{count} {part}" for part, count in counts.items())
    print(f"{dataset.folder}: {len(dataset.manifest)} images, {args.size} px, people: {people_text}")
    return 0


def _reader(args: argparse.Namespace, records: Sequence[PhotoRecord]) -> Any:
    if any("view" in record.extra for record in records):
        return mmi.frame_reader(args.root, records, partial(mmi.half_with_face, count_faces=count_faces))
    return lambda record: read_photo(inside(args.root, record.source_file))


def _seeded(args: argparse.Namespace, people: Sequence[str]) -> dict[str, str]:
    test = args.test if args.test is not None else max(1, round(TEST_SHARE * len(people)))
    val = args.val if args.val is not None else max(1, round(VALIDATION_SHARE * len(people)))
    return split_identities(people, test, val, args.seed)


def _describe(records: Sequence[PhotoRecord], problems: Sequence[Problem]) -> int:
    people = {record.identity for record in records}
    print(f"{len(records)} images of {len(people)} people")
    for name, count in sorted(Counter(record.expression for record in records).items()):
        print(f"  {name:<14} {count}")
    if problems:
        print(summary(problems))
    return 0
