"""Suites: named, immutable lists of cells and the protocol that scores them.

Times are of two CPU cores; they serve `--dry-run` until this machine has finished a cell of the same row.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from benchmarks.protocol.protocol_config import Protocol
from benchmarks.suites.ablated_methods import EGGAN, EGGAN_W, UNPAIRED, variants_of
from benchmarks.suites.former_names import FORMER_SUITES
from benchmarks.suites.pairs_method import PAIRS
from benchmarks.suites.tuned_methods import NAME as TUNED
from eggan.errors import UserError, known_names
from eggan.training import TrainingConfig

TWIN, CROWD = "twin", "crowd"
# Protocol split -> which SynFACS build holds its sources.
SPLIT_DATASETS = {"val": TWIN, "test": TWIN, "wide": "wide"}
CROWD_IMAGES = 88_000
MINUTES_IMAGES = 8_000  # three minutes of two quiet cores without bf16
QUICK_IMAGES = 38_400
CPU_IMAGES = 32_000  # a cell trains in less than 20 minutes beside another one on two quiet cores
# Mirrored faces have the same AUs, and 52 identities are few.
MINUTES_TRAINING = TrainingConfig(batch_size=16, images=MINUTES_IMAGES, horizontal_flip=True, log_every=20)
QUICK_TRAINING = TrainingConfig(batch_size=16, images=QUICK_IMAGES, horizontal_flip=True, log_every=20)
CPU_TRAINING = TrainingConfig(batch_size=16, images=CPU_IMAGES, horizontal_flip=True)
# Half of the images or more go into the warm-up of the preset `crowd`; all methods see as many.
CROWD_TRAINING = TrainingConfig(batch_size=16, images=CROWD_IMAGES, horizontal_flip=True, decay_from=0.875)
# 9,000 steps: of GANimation, the slowest method, 0.595 CPU seconds each on one core with bf16.
STANDARD_IMAGES = 144_000
STANDARD_TRAINING = TrainingConfig(
    batch_size=16, images=STANDARD_IMAGES, horizontal_flip=True, decay_from=0.875
)
# EGGAN-W's losses hardly fall from 3,500 steps on as long as the rate stays what it is.
FALLING_TRAINING = replace(STANDARD_TRAINING, decay_from=0.4)
STANDARD_BUDGET = f"{STANDARD_IMAGES:,} images for all: 90 core-minutes of the slowest method's cell"
HEADLINE_SEEDS = (0, 1, 2, 3, 4)
# What a preset is trained for where nobody says otherwise; `paper` and others as the paper.
BUDGETS: Mapping[str, TrainingConfig] = MappingProxyType(
    {
        "minutes": MINUTES_TRAINING,
        "quick": QUICK_TRAINING,
        "cpu": CPU_TRAINING,
        "crowd": CROWD_TRAINING,
        "wide": FALLING_TRAINING,
    }
)
STANDARD_PROTOCOL = Protocol(name="standard")


@dataclass(frozen=True)
class Row:
    """One method of a suite; `preset` and `training` are None for references, which run once, with seed 0.

    `seeds` replace the suite's. `learns_from` is the SynFACS build that the method is trained on, `people`
    how many of its training people, None for all, `labelled` whether of them only the images with an
    expression's name. `variant` tells two rows of one method apart.
    """

    method: str
    preset: str | None = None
    training: TrainingConfig | None = None
    expected_minutes: float = 0.5
    seeds: tuple[int, ...] | None = None
    learns_from: str = TWIN
    people: int | None = None
    variant: str = ""
    labelled: bool = False

    @property
    def name(self) -> str:
        """What the row is called in cells, runs and reports."""
        return f"{self.method}-{self.variant.replace(' ', '-')}" if self.variant else self.method

    def title(self, method: str) -> str:
        """Return the row's display name, given its method's."""
        return f"{method} ({self.variant})" if self.variant else method


@dataclass(frozen=True)
class Suite:
    """Methods x seeds on SynFACS at one image size."""

    name: str
    title: str
    image_size: int
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    protocol: Protocol
    dataset_seed: int = 0
    budget: str = ""  # what bounds the number of training images, for readers of its report

    def chosen(self, methods: Sequence[str], seeds: Sequence[int]) -> list[tuple[Row, int]]:
        """Return the cells of the given methods and seeds (none: all), in order.

        A method or seed that the suite does not have, and no cell with both, is a `UserError`.
        """
        known, there = [row.name for row in self.rows], ", ".join(map(str, self.all_seeds))
        for name in methods:
            if name not in known:
                raise UserError(f"unknown method {name!r} in suite {self.name}{known_names(name, known)}")
        for seed in seeds:
            if seed not in self.all_seeds:
                raise UserError(f"suite {self.name} has no seed {seed} (known: {there})")
        cells = [
            (row, seed)
            for row, seed in self.cells()
            if (not methods or row.name in methods) and (not seeds or seed in seeds)
        ]
        if not cells:
            raise UserError(f"no cell of this suite is left by --only and --seed (seeds: {there})")
        return cells

    @property
    def roles(self) -> tuple[str, ...]:
        """The SynFACS builds that the suite needs: the twin for its targets, sources, training people."""
        sources = (SPLIT_DATASETS[split] for split in self.protocol.splits)
        return tuple(dict.fromkeys([TWIN, *sources, *(row.learns_from for row in self.rows)]))

    @property
    def dataset(self) -> str:
        """The dataset's label in run names."""
        return f"synfacs-{self.image_size}"

    @property
    def all_seeds(self) -> tuple[int, ...]:
        """The suite's seeds, and further ones that some of its rows have."""
        return tuple(sorted({*self.seeds, *(seed for row in self.rows for seed in row.seeds or ())}))

    def cells(self) -> Iterable[tuple[Row, int]]:
        """Yield (row, seed) of every cell, seed by seed: a suite that is stopped has whole comparisons."""
        for seed in self.all_seeds:
            for row in self.rows:
                if row.training:
                    if seed in (self.seeds if row.seeds is None else row.seeds):
                        yield row, seed
                elif seed == self.seeds[0]:
                    yield row, 0


LEARN_FROM_LABELS = ("stargan", "homointerpgan")  # of the crowd's images, 45 % have an expression's name
UNPAIRED_MINUTES = 105.0
FEWER_PEOPLE = (52, 150, 500)  # the first as many as the twin has
REFERENCES = tuple(Row(name) for name in ("copy-source", "target-passthrough", "mean-au", "oracle"))
CPU_ROWS = tuple(
    Row(method, "cpu", CPU_TRAINING, minutes)
    for method, minutes in (("eggan", 12.0), ("stargan", 14.0), ("homointerpgan", 11.0), ("ganimation", 20.0))
)


def on_crowd(
    method: str, minutes: float, seeds: tuple[int, ...] | None = None, people: int | None = None
) -> Row:
    """Return a row that learns from the crowd, or from some of its people, on the images of `standard`."""
    warps = method == EGGAN_W or method.startswith(f"{EGGAN_W}-")
    preset = "crowd" if method.startswith(EGGAN) and not warps else "cpu"
    variant = "" if people is None else f"{people} people"
    labelled = method in LEARN_FROM_LABELS
    return Row(method, preset, STANDARD_TRAINING, minutes, seeds, CROWD, people, variant, labelled)


SUITES: Mapping[str, Suite] = MappingProxyType(
    {
        "quick": Suite(
            name="quick",
            title="64 px, one seed, three minutes of training: shows that everything works",
            image_size=64,
            seeds=(0,),
            rows=(
                *REFERENCES,
                Row("eggan", "minutes", MINUTES_TRAINING, 3.5),
                Row("eggan-shipped"),
                Row("eggan-w-shipped"),
            ),
            protocol=Protocol(
                name="quick", splits=("test",), pairs=464, probe_sources=6, sequences=28, alphas=5, showcase=4
            ),
        ),
        # Rows with a variant, EGGAN with pairs and EGGAN-W without say what people and true edits do.
        "standard": Suite(
            name="standard",
            title="64 px, three seeds, headline rows five: all methods learn from 1,500 people",
            image_size=64,
            seeds=(0, 1, 2),
            rows=(
                *REFERENCES,
                on_crowd("eggan", 65.0, HEADLINE_SEEDS),
                on_crowd("eggan-w", 45.0, HEADLINE_SEEDS),
                Row("eggan-w", "wide", FALLING_TRAINING, 65.0, learns_from=CROWD, variant="wide"),
                on_crowd(UNPAIRED.name, UNPAIRED_MINUTES, (0,)),
                on_crowd("stargan", 65.0),
                on_crowd("homointerpgan", 55.0),
                on_crowd("ganimation", 90.0),
                on_crowd(PAIRS, 75.0, (0,)),
                Row("eggan", "crowd", STANDARD_TRAINING, 65.0, (0,), variant=TWIN),
            ),
            protocol=STANDARD_PROTOCOL,
            budget=STANDARD_BUDGET,
        ),
        "twin": Suite(
            name="twin",
            title="64 px, three seeds: what can be learnt from the paper's 52 people, protocol as standard",
            image_size=64,
            seeds=(0, 1, 2),
            rows=(
                *REFERENCES,
                *CPU_ROWS,
                Row(TUNED, "cpu", CPU_TRAINING, 12.0),
            ),
            protocol=STANDARD_PROTOCOL,
        ),
        "paper": Suite(
            name="paper",
            title="128 px, the paper's settings, three seeds: a GPU and VGG19 weights",
            image_size=128,
            seeds=(0, 1, 2),
            rows=(
                *REFERENCES,
                *(
                    Row(method, "paper", TrainingConfig(), 20 * 60.0)
                    for method in ("eggan", "stargan", "homointerpgan", "ganimation")
                ),
            ),
            protocol=Protocol(name="paper"),
        ),
        # EGGAN and the references are the cells of `twin`: whichever suite runs first makes them.
        "ablations": Suite(
            name="ablations",
            title="EGGAN without each of its parts (Fig. 4), as twin; beyond the paper one seed",
            image_size=64,
            seeds=(0, 1, 2),
            rows=(
                *REFERENCES,
                Row("eggan", "cpu", CPU_TRAINING, 12.0),
                *(
                    Row(v.name, "cpu", CPU_TRAINING, 12.0, seeds=None if v.in_paper else (0,))
                    for v in variants_of(EGGAN)
                ),
            ),
            protocol=STANDARD_PROTOCOL,
        ),
        # For a GPU node: a bundle replaces the images of a training by what fits into its minutes.
        "node": Suite(
            name="node",
            title="64 px, every method, one seed, protocol as standard: what fits into a node's minutes",
            image_size=64,
            seeds=(0,),
            rows=(
                *REFERENCES,
                Row("eggan-shipped"),
                Row("eggan-w-shipped"),
                *CPU_ROWS,
                Row("eggan-w", "cpu", CPU_TRAINING, 12.0, learns_from=CROWD),
            ),
            protocol=STANDARD_PROTOCOL,
        ),
        # The rows of all 1,500 people are cells of `standard`.
        "people": Suite(
            name="people",
            title="64 px, results against the number of training people, from 52 to 1,500, at equal images",
            image_size=64,
            seeds=(0,),
            rows=(
                *REFERENCES,
                *(
                    on_crowd(method, minutes, seeds, people)
                    for people in (*FEWER_PEOPLE, None)
                    for method, minutes, seeds in (
                        ("eggan", 65.0, (0, 1, 2)),
                        ("eggan-w", 45.0, None),
                        ("stargan", 65.0, None),
                        ("homointerpgan", 55.0, None),
                    )
                ),
            ),
            protocol=STANDARD_PROTOCOL,
            budget=STANDARD_BUDGET,
        ),
        # EGGAN and the references are the cells of `standard`.
        "ablations-crowd": Suite(
            name="ablations-crowd",
            title="EGGAN without each of the paper's three parts (Fig. 4), learnt from 1,500 people",
            image_size=64,
            seeds=(0, 1, 2),
            rows=(
                *REFERENCES,
                on_crowd("eggan", 65.0),
                *(on_crowd(variant.name, 65.0) for variant in variants_of(EGGAN) if variant.in_paper),
            ),
            protocol=STANDARD_PROTOCOL,
            budget=STANDARD_BUDGET,
        ),
        # EGGAN-W, the row without true edits and the references are the cells of `standard`.
        "ablations-w": Suite(
            name="ablations-w",
            title="EGGAN-W without each of its parts, and without true edits, learnt from 1,500 people",
            image_size=64,
            seeds=(0,),
            rows=(
                *REFERENCES,
                on_crowd(EGGAN_W, 45.0),
                on_crowd(UNPAIRED.name, UNPAIRED_MINUTES),
                *(on_crowd(variant.name, 45.0) for variant in variants_of(EGGAN_W)),
            ),
            protocol=STANDARD_PROTOCOL,
            budget=STANDARD_BUDGET,
        ),
    }
)


def find_suite(name: str) -> Suite:
    """Return the suite called `name`, or formerly called so; an unknown name is a `UserError` that lists the
    known ones.
    """
    name = FORMER_SUITES.get(name, name)
    if name not in SUITES:
        raise UserError(f"unknown suite {name!r}{known_names(name, SUITES)}")
    return SUITES[name]
