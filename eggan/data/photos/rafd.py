"""The Radboud Faces Database (Langner et al. 2010): 67 models, 8 expressions, 3 gazes, 5 camera angles.

File names as published, such as `Rafd090_28_Caucasian_male_angry_frontal.jpg`: camera angle, model number (1
to 73, with gaps), group, gender, expression, gaze.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import pandas as pd

from eggan.aus import EXPRESSIONS, GAZES
from eggan.data.photos.records import Photographs, PhotoRecord, Problem
from eggan.errors import UserError, known_names

CAMERAS = ("000", "045", "090", "135", "180")
FRONTAL = "090"
MODELS = 67
LAST_MODEL = 73
ANY_MODEL = "any model"
IMAGES = MODELS * len(EXPRESSIONS) * len(GAZES)  # 1,608 per camera
TEST_MODELS = 9  # paper, Sec. 4.2: 1,392 targets are 58 training models
VALIDATION_MODELS = 6  # ours: of the 58, for selection

NAME = re.compile(
    r"Rafd(?P<camera>\d{3})_(?P<model>\d{1,2})_(?P<group>[A-Za-z]+)_(?P<gender>[a-z]+)"
    rf"_(?P<expression>{'|'.join(EXPRESSIONS)})_(?P<gaze>{'|'.join(GAZES)})"
)


def read_rafd(
    found: Photographs, cameras: Sequence[str] = (FRONTAL,)
) -> tuple[list[PhotoRecord], list[Problem]]:
    """Return the records of the wanted cameras, by name, and the files that cannot be used.

    Those are image files whose names are not RaFD's, and those that no program here can read.
    """
    unknown = sorted(set(cameras) - set(CAMERAS))
    if unknown:
        raise UserError(f"RaFD has no camera {unknown[0]!r}{known_names(unknown[0], CAMERAS)}")
    records, problems = [], list(found.problems)
    for file in found.files:
        record = parse(file)
        if record is None:
            problems.append(Problem(file, "not a file name of RaFD"))
        elif record.extra["camera"] in cameras:
            records.append(record)
    if not records:
        raise UserError(f"{found.root} holds no image of RaFD from camera {', '.join(cameras)}")
    return records, problems


def parse(file: str) -> PhotoRecord | None:
    """Return what a file's name says, or None for a name that is not RaFD's."""
    match = NAME.fullmatch(PurePosixPath(file).stem)
    if match is None or match["camera"] not in CAMERAS or not 1 <= int(match["model"]) <= LAST_MODEL:
        return None
    extra = {name: match[name] for name in ("camera", "group", "gender")}
    return PhotoRecord(file, f"rafd-{int(match['model']):02d}", match["expression"], match["gaze"], extra)


def missing_images(records: Sequence[PhotoRecord], cameras: Sequence[str] = (FRONTAL,)) -> pd.DataFrame:
    """Return what differs from the published set: columns identity, expression, gaze, camera, images.

    A row for each combination of a model that is there 0 or 2 and more times, and one row per model that is
    missing altogether (`ANY_MODEL`: the published model numbers have gaps that no document lists).
    """
    counts = Counter((r.identity, r.expression, r.gaze, r.extra["camera"]) for r in records)
    identities = sorted({record.identity for record in records})
    wrong = [
        (identity, expression, gaze, camera, counts[identity, expression, gaze, camera])
        for identity in identities
        for expression in EXPRESSIONS
        for gaze in GAZES
        for camera in cameras
        if counts[identity, expression, gaze, camera] != 1
    ]
    absent = [(ANY_MODEL, "all", "all", "all", 0)] * max(0, MODELS - len(identities))
    return pd.DataFrame(wrong + absent, columns=["identity", "expression", "gaze", "camera", "images"])


def report_counts(records: Sequence[PhotoRecord], cameras: Sequence[str]) -> str:
    """Return what is missing, by identity and expression: a line on all, then one per identity.

    "" for the published set. Two photographs of one combination, and more models than were published, are a
    `UserError`: no choice between them is right.
    """
    wrong = missing_images(records, cameras)
    models = {record.identity for record in records}
    if len(models) > MODELS:
        raise UserError(f"{len(models)} models, published are {MODELS}: whose photographs are the others?")
    if wrong.empty:
        return ""
    double = wrong[wrong["images"] > 1]
    if len(double):
        first = double.iloc[0]
        raise UserError(
            f"{first.identity} has {first.images} images {first.expression}/{first.gaze}: "
            "are there copies in several folders?"
        )
    published = IMAGES * len(cameras)
    head = f"{len(records)} images of {len(models)} models, published are {published} of {MODELS}"
    known = wrong[wrong["identity"] != ANY_MODEL].groupby("identity", sort=True)
    return "\n".join([head, *(f"  {identity} lacks {_by_expression(rows)}" for identity, rows in known)])


def _by_expression(rows: pd.DataFrame) -> str:
    """Return "happy (left, right), sad (frontal)"; cameras are named where there are several."""
    several = rows["camera"].nunique() > 1
    named = rows["gaze"] + (" " + rows["camera"] if several else "")
    gazes = named.groupby(rows["expression"], sort=False).agg(", ".join)
    return ", ".join(f"{expression} ({names})" for expression, names in gazes.items())
