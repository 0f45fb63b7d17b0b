"""Suites: named, immutable lists of cells and the protocol that scores them.

Times are of two CPU cores; they serve `--dry-run` until a finished cell of the same row has a measured one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from benchmarks.protocol.protocol_config import Protocol
from benchmarks.suites.ablated_methods import VARIANTS
from benchmarks.suites.tuned_methods import NAME as TUNED
from eggan.errors import UserError
from eggan.training import TrainingConfig

TWIN, CROWD = "twin", "crowd"
SPLIT_DATASETS = {"test": TWIN, "wide": "wide"}  # protocol split -> which SynFACS build holds its sources
CROWD_IMAGES = 88_000
MINUTES_IMAGES = 8_000  # three minutes of two quiet cores without bf16
QUICK_IMAGES = 38_400
STANDARD_IMAGES = 32_000  # a cell trains in less than 20 minutes beside another one on two quiet cores
# Mirrored faces have the same AUs, and 52 identities are few.
MINUTES_TRAINING = TrainingConfig(batch_size=16, images=MINUTES_IMAGES, horizontal_flip=True, log_every=20)
QUICK_TRAINING = TrainingConfig(batch_size=16, images=QUICK_IMAGES, horizontal_flip=True, log_every=20)
STANDARD_TRAINING = TrainingConfig(batch_size=16, images=STANDARD_IMAGES, horizontal_flip=True)
# Half of the images or more go into the warm-up of the preset `crowd`; all methods see as many.
CROWD_TRAINING = TrainingConfig(batch_size=16, images=CROWD_IMAGES, horizontal_flip=True, decay_from=0.875)
# What a preset is trained for where nobody says otherwise; `paper` and others as the paper.
BUDGETS: Mapping[str, TrainingConfig] = MappingProxyType(
    {
        "minutes": MINUTES_TRAINING,
        "quick": QUICK_TRAINING,
        "cpu": STANDARD_TRAINING,
        "crowd": CROWD_TRAINING,
    }
)
STANDARD_PROTOCOL = Protocol(name="standard")


@dataclass(frozen=True)
class Row:
    """One method of a suite; `preset` and `training` are None for references, which run once, with seed 0.

    `seeds` are those of the suite's seeds that the method runs with, None for all of them. `learns_from` is
    the SynFACS build that it is trained on.
    """

    method: str
    preset: str | None = None
    training: TrainingConfig | None = None
    expected_minutes: float = 0.5
    seeds: tuple[int, ...] | None = None
    learns_from: str = TWIN


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

    def check_choice(self, methods: Sequence[str], seeds: Sequence[int]) -> None:
        """Raise a `UserError` for a method or seed that the suite does not have."""
        known = [row.method for row in self.rows]
        for name in methods:
            if name not in known:
                raise UserError(f"unknown method {name!r} in suite {self.name} (known: {', '.join(known)})")
        for seed in seeds:
            if seed not in self.seeds:
                there = ", ".join(map(str, self.seeds))
                raise UserError(f"suite {self.name} has no seed {seed} (known: {there})")

    @property
    def roles(self) -> tuple[str, ...]:
        """The SynFACS builds that the suite needs: the twin for its targets, sources, training people."""
        sources = (SPLIT_DATASETS[split] for split in self.protocol.splits)
        return tuple(dict.fromkeys([TWIN, *sources, *(row.learns_from for row in self.rows)]))

    @property
    def dataset(self) -> str:
        """The dataset's label in run names."""
        return f"synfacs-{self.image_size}"

    def cells(self) -> Iterable[tuple[Row, int]]:
        """Yield (row, seed) of every cell, seed by seed: a suite that is stopped has whole comparisons."""
        for seed in self.seeds:
            for row in self.rows:
                if row.training:
                    if row.seeds is None or seed in row.seeds:
                        yield row, seed
                elif seed == self.seeds[0]:
                    yield row, 0


REFERENCES = tuple(Row(name) for name in ("copy-source", "target-passthrough", "mean-au", "oracle"))

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
        "standard": Suite(
            name="standard",
            title="64 px, three seeds, all pairs, 9 and 64 unseen identities",
            image_size=64,
            seeds=(0, 1, 2),
            rows=(
                *REFERENCES,
                Row("eggan", "cpu", STANDARD_TRAINING, 12.0),
                Row("stargan", "cpu", STANDARD_TRAINING, 14.0),
                Row("homointerpgan", "cpu", STANDARD_TRAINING, 11.0),
                Row("ganimation", "cpu", STANDARD_TRAINING, 20.0),
                Row(TUNED, "cpu", STANDARD_TRAINING, 12.0),
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
        # EGGAN and the references are the cells of `standard`: whichever suite runs first makes them.
        "ablations": Suite(
            name="ablations",
            title="EGGAN without each of its parts (Fig. 4), as standard; beyond the paper one seed",
            image_size=64,
            seeds=(0, 1, 2),
            rows=(
                *REFERENCES,
                Row("eggan", "cpu", STANDARD_TRAINING, 12.0),
                *(
                    Row(v.name, "cpu", STANDARD_TRAINING, 12.0, seeds=None if v.in_paper else (0,))
                    for v in VARIANTS
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
                Row("eggan", "cpu", STANDARD_TRAINING, 12.0),
                Row("stargan", "cpu", STANDARD_TRAINING, 14.0),
                Row("homointerpgan", "cpu", STANDARD_TRAINING, 11.0),
                Row("ganimation", "cpu", STANDARD_TRAINING, 20.0),
                Row("eggan-w", "cpu", STANDARD_TRAINING, 12.0, learns_from=CROWD),
            ),
            protocol=STANDARD_PROTOCOL,
        ),
        # EGGAN on the twin differs from EGGAN on the crowd in its training people alone.
        "crowd": Suite(
            name="crowd",
            title="64 px, one seed: what more people and true edits do, protocol as standard",
            image_size=64,
            seeds=(0,),
            rows=(
                *REFERENCES,
                Row("eggan", "crowd", CROWD_TRAINING, 45.0),
                Row("eggan-crowd", "crowd", CROWD_TRAINING, 45.0, learns_from=CROWD),
                Row("eggan-pairs", "crowd", CROWD_TRAINING, 45.0, learns_from=CROWD),
                Row("eggan-w", "cpu", CROWD_TRAINING, 30.0, learns_from=CROWD),
                *(
                    Row(f"{name}-crowd", "cpu", CROWD_TRAINING, 60.0, learns_from=CROWD)
                    for name in ("stargan", "homointerpgan", "ganimation")
                ),
            ),
            protocol=STANDARD_PROTOCOL,
        ),
    }
)


def find_suite(name: str) -> Suite:
    """Return the suite called `name`; an unknown name is a `UserError` that lists the known ones."""
    if name not in SUITES:
        raise UserError(f"unknown suite {name!r} (known: {', '.join(SUITES)})")
    return SUITES[name]
