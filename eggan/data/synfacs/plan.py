"""Which pictures a split holds: the manifest before anything is rendered.

A plan row carries everything that decides its picture: the person (population, index), the AUs, the gaze and
the key of its nuisance. AUs are stored as float32, the very numbers that are rendered. A crowd holds groups:
pictures of one person under one nuisance with one gaze, so that any two of them are each other's true edit.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from eggan.aus import (
    AU_COLUMNS,
    AU_COUNT,
    AU_NUMBERS,
    EXPRESSIONS,
    GAZES,
    MAX_INTENSITY,
    PROTOTYPES,
    au_index,
)
from eggan.data.dataset import GROUP_COLUMN
from eggan.data.synfacs.head import load_head
from eggan.data.synfacs.identity import Identity, make_identity
from eggan.data.synfacs.picture import RENDERER_VERSION
from eggan.errors import UserError, known_names
from eggan.randomness import numpy_generator

LABEL_TOOL = "synfacs"
# The small crowd is a population of its own, so that its validation people are strangers to the large one.
CROWDS = ("crowd", "small-crowd")
SPLIT_NAMES = ("twin", "wide", "dense", *CROWDS)
DEFAULT_IDENTITIES = {"twin": 67, "wide": 64, "dense": 200, "crowd": 1560, "small-crowd": 208}
POSED_IMAGES = 24  # 8 expressions x 3 gazes
GROUP_SIZE = 8  # pictures of a person under one nuisance with one gaze: each other's true edits
DEFAULT_IMAGES_PER_IDENTITY = {"dense": 40, **dict.fromkeys(CROWDS, 3 * GROUP_SIZE)}
SIZES = (64, 128)

PERSON_SPREAD = 0.16  # how far one person's version of an expression leaves the mean, relative
PICTURE_SPREAD = 0.28  # how far two pictures of it differ, in intensities
EXTRA_SHARE = 0.18  # how often a person adds an AU of their own to an expression
DENSE_SHARE = 0.36  # share of dense pictures that show a given AU
DENSE_BLINK_SHARE = 0.28
# what the pictures of a crowd show; sparse: a few AUs, as users ask for
CROWD_SHARES = {"neutral": 0.2, "sparse": 0.35, "posed": 0.25, "dense": 0.2}
SPARSE_AUS = 4  # at most
SPARSE_FLOOR = 0.3  # least intensity of an AU in a sparse picture
CROWD_VALIDATION = 26  # one person in so many: 60 of 1,560


@dataclass(frozen=True)
class DatasetRequest:
    """What to build; `population` names the people, `images_per_identity` matters for dense and crowds."""

    split: str
    size: int
    seed: int
    identities: int
    images_per_identity: int
    population: str


def make_request(
    split: str,
    size: int = 128,
    seed: int = 0,
    identities: int | None = None,
    images_per_identity: int | None = None,
    population: str | None = None,
) -> DatasetRequest:
    """Check and complete what a user asked for; every mistake is a `UserError`."""
    if split not in SPLIT_NAMES:
        raise UserError(f"unknown split {split!r}{known_names(split, SPLIT_NAMES)}")
    if size not in SIZES:
        raise UserError(f"size {size} is not offered: choose 64 or 128")
    if identities is not None and identities < 1:
        raise UserError(f"--identities must be at least 1, not {identities}")
    if images_per_identity is not None and images_per_identity < 1:
        raise UserError(f"--images-per-identity must be at least 1, not {images_per_identity}")
    if split not in DEFAULT_IMAGES_PER_IDENTITY and images_per_identity not in (None, POSED_IMAGES):
        raise UserError(f"--images-per-identity: everybody of {split} is shown in {POSED_IMAGES} images")
    if split in CROWDS and (images_per_identity or 0) % GROUP_SIZE:
        raise UserError(
            f"--images-per-identity {images_per_identity} is no multiple of {GROUP_SIZE}: a crowd comes in "
            f"groups of {GROUP_SIZE} pictures that differ in their AUs alone"
        )
    if population is not None and (
        not population or not population.replace("-", "").replace("_", "").isalnum()
    ):
        raise UserError(f"population {population!r} is no name: use letters, digits, - and _")
    return DatasetRequest(
        split=split,
        size=size,
        seed=seed,
        identities=identities or DEFAULT_IDENTITIES[split],
        images_per_identity=(images_per_identity or DEFAULT_IMAGES_PER_IDENTITY[split])
        if split in DEFAULT_IMAGES_PER_IDENTITY
        else POSED_IMAGES,
        population=population or split,
    )


def person(seed: int, population: str, index: int) -> Identity:
    """Return person `index` of a population."""
    return make_identity(seed, population, index, load_head().local_labels)


@dataclass(frozen=True)
class Picture:
    """One picture of a person: its labels, its AUs (17,) and the key of its nuisance."""

    expression: str
    gaze: str
    aus: np.ndarray
    key: int


def make_manifest(request: DatasetRequest) -> pd.DataFrame:
    """Return the manifest of a request, one row per picture, identities in order.

    A crowd has the column `edit_group`: rows of a group share person, nuisance and gaze.
    """
    rows: list[dict[str, object]] = []
    splits = split_of_each(request)
    for index in range(request.identities):
        someone = person(request.seed, request.population, index)
        for picture in pictures_of(request, index, someone):
            row: dict[str, object] = {
                "identity": someone.name,
                "expression": picture.expression,
                "gaze": picture.gaze,
            }
            row["split"] = splits[index]
            row |= {column: np.float32(value) for column, value in zip(AU_COLUMNS, picture.aus, strict=True)}
            row |= {
                "label_tool": LABEL_TOOL,
                "label_version": RENDERER_VERSION,
                "confidence": 1.0,
                "source_file": "",
            }
            row |= {"population": request.population, "identity_index": index, "key": picture.key}
            if request.split in CROWDS:
                row[GROUP_COLUMN] = index * (request.images_per_identity // GROUP_SIZE) + picture.key
            rows.append(row)
    return pd.DataFrame(rows)


def pictures_of(request: DatasetRequest, index: int, someone: Identity) -> list[Picture]:
    """Return the pictures of one person of a request."""
    if request.split in CROWDS:
        groups = range(request.images_per_identity // GROUP_SIZE)
        return [picture for group in groups for picture in group_pictures(someone, group)]
    pictures = dense_pictures(request, index) if request.split == "dense" else posed_pictures(someone)
    return [Picture(*picture, key) for key, picture in enumerate(pictures)]


def split_of_each(request: DatasetRequest) -> list[str]:
    """Return the split of each identity: 9 of 67 test and 6 validation in the twin, 1 of 26 validation in a
    crowd (the last ones), one name otherwise.
    """
    if request.split in CROWDS:
        validation = max(1, round(request.identities / CROWD_VALIDATION)) if request.identities > 1 else 0
        return ["train"] * (request.identities - validation) + ["val"] * validation
    if request.split != "twin":
        return [request.split] * request.identities
    count = request.identities
    test = round(count * 9 / 67) if count > 2 else 0
    validation = max(1, round(count * 6 / 67)) if count > 2 else 0
    test = max(1, test) if count > 2 else 0
    order = numpy_generator("synfacs", "split", request.seed, request.population).permutation(count)
    names = ["train"] * count
    for index in order[:test]:
        names[index] = "test"
    for index in order[test : test + validation]:
        names[index] = "val"
    return names


def posed_pictures(someone: Identity) -> list[tuple[str, str, np.ndarray]]:
    """Return (expression, gaze, AUs (17,)) of the 8 x 3 pictures of one person."""
    pictures = []
    for expression in EXPRESSIONS:
        style = expression_style(someone, expression)
        for gaze in GAZES:
            rng = numpy_generator(
                "synfacs", "picture", someone.seed, someone.population, someone.index, expression, gaze
            )
            pictures.append((expression, gaze, posed(style, rng)))
    return pictures


def posed(style: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the AUs (17,) of one picture of an expression that a person shows with `style`."""
    jitter = rng.normal(0, PICTURE_SPREAD, AU_COUNT)
    return np.round(np.where(style > 0, np.clip(style + jitter, 0.1, MAX_INTENSITY), 0.0), 3)


def expression_style(someone: Identity, expression: str) -> np.ndarray:
    """Return how one person shows an expression: mean AUs (17,), with AUs of their own and some missing."""
    rng = numpy_generator("synfacs", "style", someone.seed, someone.population, someone.index, expression)
    aus = np.zeros(AU_COUNT)
    for number, mean, share in PROTOTYPES[expression]:
        acts, personal = rng.random() < share, rng.normal(1.0, PERSON_SPREAD)
        if acts:
            position = au_index(number)
            aus[position] = mean * someone.strength[position] * personal
    if PROTOTYPES[expression] and rng.random() < EXTRA_SHARE:
        extra = int(rng.integers(AU_COUNT - 1))  # any but AU45
        aus[extra] = max(aus[extra], rng.uniform(0.5, 1.6))
    return np.clip(aus, 0.0, MAX_INTENSITY)


def dense_pictures(request: DatasetRequest, index: int) -> list[tuple[str, str, np.ndarray]]:
    """Return pictures with random AU combinations at continuous intensities, named `mixed`."""
    pictures = []
    for key in range(request.images_per_identity):
        rng = numpy_generator("synfacs", "dense", request.seed, request.population, index, key)
        aus = dense(rng)
        pictures.append(("mixed", str(rng.choice(GAZES)), aus))
    return pictures


def dense(rng: np.random.Generator) -> np.ndarray:
    """Return a random combination of many AUs (17,).

    A closing eye hides a raised lid, so AU5 is 0 wherever AU45 is active.
    """
    active = rng.random(AU_COUNT) < DENSE_SHARE
    active[AU_NUMBERS.index(45)] = rng.random() < DENSE_BLINK_SHARE
    if active[AU_NUMBERS.index(45)]:
        active[AU_NUMBERS.index(5)] = False
    return np.round(np.where(active, rng.uniform(0.0, MAX_INTENSITY, AU_COUNT), 0.0), 3)


def sparse(rng: np.random.Generator) -> np.ndarray:
    """Return one to `SPARSE_AUS` AUs at random intensities (17,); never AU5 together with AU45."""
    aus = np.zeros(AU_COUNT)
    chosen = rng.permutation(AU_COUNT)[: rng.integers(1, SPARSE_AUS + 1)]
    aus[chosen] = rng.uniform(SPARSE_FLOOR, MAX_INTENSITY, len(chosen))
    if aus[au_index(45)]:
        aus[au_index(5)] = 0.0
    return np.round(aus, 3)


def group_pictures(someone: Identity, group: int) -> list[Picture]:
    """Return the pictures of one group of a crowd: one nuisance, one gaze, `GROUP_SIZE` AU vectors.

    Neutral and posed pictures carry their expression's name, the others are named `mixed`.
    """
    key = (someone.seed, someone.population, someone.index, group)
    gaze = str(numpy_generator("synfacs", "crowd-gaze", *key).choice(GAZES))
    pictures = []
    for number in range(GROUP_SIZE):
        rng = numpy_generator("synfacs", "crowd", *key, number)
        kind = str(rng.choice(list(CROWD_SHARES), p=list(CROWD_SHARES.values())))
        if kind == "posed":
            expression = str(rng.choice(EXPRESSIONS[1:]))
            aus = posed(expression_style(someone, expression), rng)
        elif kind == "neutral":
            expression, aus = "neutral", np.zeros(AU_COUNT)
        else:
            expression, aus = "mixed", sparse(rng) if kind == "sparse" else dense(rng)
        pictures.append(Picture(expression, gaze, aus, group))
    return pictures
