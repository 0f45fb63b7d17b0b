"""From photographs and labels to a dataset folder.

Nothing is guessed: a photograph without a face, with several, with a broken file or without a label is listed
with its reason, and the build stops unless it was asked to go on without them.
"""

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eggan.aus import AU_COLUMNS
from eggan.data.dataset import WRITTEN, load_dataset, write_dataset
from eggan.data.file_tree import composed, printable
from eggan.data.labels.table import LabelTable
from eggan.data.photos.records import FaceProblem, PhotoRecord, Problem
from eggan.errors import UserError
from eggan.files import check_writable, refuse_foreign, write_atomically
from eggan.progress import progress_bar

VERSION = "1"  # of this builder's code; counts changes that alter pixels
NO_LABEL = "no row in the labels"
PROBLEM_COLUMNS = ["source_file", "reason"]


@dataclass(frozen=True)
class Plan:
    """What is to be built: people, their split, labels, and how a photograph becomes a square face.

    `read` opens a record's photograph (uint8 (H, W, 3)), `prepare` cuts it to uint8 (size, size, 3) and
    raises `FaceProblem` where it cannot. `problems` are those known before anything is opened.
    """

    name: str
    size: int
    seed: int
    records: Sequence[PhotoRecord]
    split: Mapping[str, str]
    labels: LabelTable
    read: Callable[[PhotoRecord], np.ndarray]
    prepare: Callable[[np.ndarray], np.ndarray]
    parameters: Mapping[str, Any]
    problems: Sequence[Problem] = field(default_factory=tuple)


def build_photos(
    plan: Plan,
    out: Path,
    allow_incomplete: bool = False,
    progress: Callable[..., Iterable[Any]] = progress_bar,
) -> Path:
    """Build the dataset and return its folder; problems go to `<out>.problems.csv` beside it.

    With any problem the build is a `UserError`, unless `allow_incomplete`.
    """
    check_place(out, plan.name, plan.seed, _parameters(plan))
    keys = label_keys(plan.records, plan.labels)
    images, rows, problems = [], [], list(plan.problems)
    for record in progress(plan.records, len(plan.records), plan.name):
        found = _face(plan, record, keys.get(record.source_file))
        if isinstance(found, Problem):
            problems.append(found)
        else:
            images.append(found)
            rows.append(_row(plan, record, keys[record.source_file]))
    report = problems_file(out)
    write_problems(problems, report)
    if problems and not allow_incomplete:
        raise UserError(f"{summary(problems)}; all are in {report}: mend them, or pass --allow-incomplete")
    if not images:
        raise UserError(
            f"no photograph of {plan.name} can be used{': ' + summary(problems) if problems else ''}"
        )
    manifest = pd.DataFrame(rows)
    parameters = {**_parameters(plan), "problems": len(problems)}
    return write_dataset(out, plan.name, manifest, np.stack(images), plan.seed, parameters, VERSION)


def check_place(out: Path, name: str, seed: int, parameters: Mapping[str, Any]) -> None:
    """Refuse a place that holds anything but an earlier build of the same name, seed and parameters.

    That one may be replaced, since photographs may have been mended; the number of problems may differ.
    """
    check_free(out)
    if not out.exists():
        return
    info = load_dataset(out).info
    before = {key: value for key, value in info["parameters"].items() if key != "problems"}
    if (info["name"], info["seed"], before) != (name, seed, dict(parameters)):
        raise UserError(
            f"{out} holds a dataset with other parameters: remove it or choose another place with --out"
        )


def check_free(out: Path) -> None:
    """Refuse a place that holds something other than a dataset, or a user's files beside one."""
    if out.exists() and not (out / "dataset.json").is_file():
        raise UserError(f"{out} is there but is no dataset: choose another place with --out")
    refuse_foreign(out, WRITTEN)
    if problems_file(out).exists() and not _is_list_of_problems(problems_file(out)):
        raise UserError(
            f"{problems_file(out)} is no earlier build's list of problems: move it away or choose another "
            "place with --out"
        )
    check_writable(out)
    if out.exists():
        load_dataset(out)  # before hours of labelling


def _parameters(plan: Plan) -> dict[str, Any]:
    return {**plan.parameters, "labels": plan.labels.origin}


def problems_file(out: Path) -> Path:
    """Return where the list of what a build could not use goes: beside the dataset's folder."""
    return out.with_name(f"{out.name}.problems.csv")


def _is_list_of_problems(path: Path) -> bool:
    with path.open(newline="", encoding="utf-8", errors="replace") as stream:
        return next(csv.reader(stream), None) == PROBLEM_COLUMNS


def write_problems(problems: Sequence[Problem], path: Path) -> None:
    """Write the list of problems, or remove an older one when there are none."""
    if not problems:
        path.unlink(missing_ok=True)
        return

    def write(staging: Path) -> None:
        with staging.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream)
            writer.writerow(PROBLEM_COLUMNS)
            writer.writerows((printable(p.source_file), printable(p.reason)) for p in problems)

    write_atomically(path, write)


def summary(problems: Sequence[Problem]) -> str:
    """Return how many photographs cannot be used, by reason, in one line."""
    counts = Counter(problem.reason for problem in problems).most_common()
    parts = [f"{count} x {reason}" for reason, count in counts[:4]]
    more = f", {len(counts) - 4} further reasons" if len(counts) > 4 else ""
    what = "1 photograph or video" if len(problems) == 1 else f"{len(problems)} photographs or videos"
    return f"{what} cannot be used ({', '.join(parts)}{more})"


def label_keys(records: Iterable[PhotoRecord], labels: LabelTable) -> dict[str, str]:
    """Return the label row of each record that has one; two with one row are a `UserError`, not a guess."""
    found = {record.source_file: labels.find(record.source_file) for record in records}
    owners: dict[str, str] = {}
    for source_file, key in found.items():
        if key is not None and owners.setdefault(key, source_file) != source_file:
            alike = composed(owners[key]) == composed(source_file)
            hint = " (their names look the same: their accents are written in two ways)" if alike else ""
            raise UserError(
                f"{owners[key]!r} and {source_file!r} would share the label row {key!r}{hint}: name "
                "photographs apart without their suffix, and label files with the photographs' folders"
            )
    return {source_file: key for source_file, key in found.items() if key is not None}


def _face(plan: Plan, record: PhotoRecord, key: str | None) -> np.ndarray | Problem:
    """Return the face of a record, or why it has none."""
    if record.identity not in plan.split:
        return Problem(record.source_file, _not_in_split(plan.split, record.identity))
    try:
        photo = plan.read(record)  # first, since a broken file explains a missing label
        if key is None:
            near = plan.labels.near(record.source_file)
            hint = f", but {near!r} differs in letter case only" if near else ""
            return Problem(record.source_file, NO_LABEL + hint)
        if plan.labels.table.at[key, "problem"]:
            return Problem(record.source_file, str(plan.labels.table.at[key, "problem"]))
        return plan.prepare(photo)
    except FaceProblem as problem:
        return Problem(record.source_file, str(problem))
    except UserError as error:
        return Problem(record.source_file, f"unreadable: {error}")


def _not_in_split(split: Mapping[str, str], identity: str) -> str:
    near = next((name for name in split if name.casefold() == identity.casefold()), None)
    hint = f", but {near!r}, which differs in letter case only" if near else ""
    return f"the split does not name {identity}{hint}"


def _row(plan: Plan, record: PhotoRecord, key: str) -> dict[str, Any]:
    label = plan.labels.table.loc[key].to_dict()
    return {
        "identity": record.identity,
        "expression": record.expression,
        "gaze": record.gaze,
        "split": plan.split[record.identity],
        **{name: float(label[name]) for name in AU_COLUMNS},
        "label_tool": plan.labels.tool,
        "label_version": f"{plan.labels.version} {plan.labels.mode}".strip(),
        "confidence": float(label["confidence"]),
        "source_file": record.source_file,
        **record.extra,
    }
