"""How each of the shipped weights is made: data, trainings, and the selection among them, as commands.

A training says where the one behind the shipped file ran, how long it took and in what it differed from its
command: first parts are older than the options that repeat them. The cards hold these records.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from eggan.shipped.weights import Storage, check_name

DATA = "data"  # folders of a recipe that is run
CACHE = "runs"
Figure = Literal["au_mse", "changed_l1"]
FIGURES: dict[Figure, str] = {
    "au_mse": "AU MSE of estimator a",
    "changed_l1": "L1 where the truth differs from its source",
}
PICTURES = 37_440  # of crowd, at any size


@dataclass(frozen=True)
class Training:
    """One part of a recipe; `start` is an earlier part's folder or the name of shipped weights, or empty."""

    folder: str
    settings: tuple[str, ...]  # `--preset` and what follows it
    start: str
    images: int
    seed: int = field(default=0, kw_only=True)
    # The training behind the shipped file:
    what: str
    ran_on: str
    seconds: int
    code: str
    difference: str = ""


@dataclass(frozen=True)
class Recipe:
    """The data and trainings of one file; the training with the least `chosen_by` is kept."""

    method: str
    size: int
    data: tuple[str, ...]  # words of `eggan data build synfacs`, beside the size
    parts: tuple[Training, ...]
    storage: Storage = "fp16"
    chosen_by: Figure = "au_mse"

    def commands(self, folder: Path, device: str = "auto") -> Iterator[tuple[str, list[str]]]:
        """Yield the folder that each command makes, and its words after `eggan`."""
        data = str(folder / DATA)
        yield DATA, ["data", "build", "synfacs", "--size", str(self.size), *self.data, "--out", data]
        for part in self.parts:
            earlier = part.start in {other.folder for other in self.parts}
            start = str(folder / part.start) if earlier else part.start
            words = ["train", self.method, "--dataset", data, "--seed", str(part.seed), *part.settings]
            words += ["--start", start] if start else []
            words += ["--out", str(folder / part.folder), "--runs", str(folder / CACHE), "--offline"]
            yield part.folder, words + (["--device", device] if device != "auto" else [])

    @property
    def gigabytes(self) -> float:
        """Of the pictures, on the disk and, while training, in memory."""
        return PICTURES * self.size**2 * 3 / 1e9

    def record(self) -> list[dict[str, Any]]:
        """Return what a card says: one entry for each training."""
        commands = dict(self.commands(Path("FOLDER")))
        return [
            {
                "part": number,
                "what": part.what,
                "command": written(commands[part.folder]),
                "images": part.images,
                "ran_on": part.ran_on,
                "seconds": part.seconds,
                "code": part.code,
                **({"difference": part.difference} if part.difference else {}),
            }
            for number, part in enumerate(self.parts, start=1)
        ]


def written(words: Sequence[str]) -> str:
    """Return words after `eggan` as the line to type."""
    return shlex.join(["eggan", *words])


def _set(*assignments: str) -> tuple[str, ...]:
    return tuple(word for text in assignments for word in ("--set", text))


CROWD = ("--split", "crowd", "--seed", "0")
NO_READER = _set("weight_features=0")
ADAM = _set("muon=false")
BESIDE_OTHERS = "CPU, one thread, bf16, beside other work"
WIDE = (
    *("--preset", "paper"),
    *_set("channels=[64,96,128,160]", "weight_features=0.25", "disturb_after=0", "warm_up_steps=50"),
    *_set("training.batch_size=16", "training.decay_from=0"),
)
FOR_PHOTOGRAPHS = _set(
    *("disturb_share=0.5", "disturbance.bend=0.025", "disturbance.shade=0.4", "disturbance.stain=0.35"),
    *("weight_changed=1.5", "change_full=0.2", "weight_mixed=0.2", "weight_paint=0.04"),
    "colour_on_moved=false",
)
RECIPES = {
    "eggan_w_128": Recipe(
        method="eggan-w",
        size=128,
        data=CROWD,
        storage="int8",
        chosen_by="changed_l1",
        parts=(
            Training(
                folder="part-1",
                settings=(
                    *WIDE,
                    *_set("disturb_share=0.3", "learning_rate=0.0008", "training.images=128000"),
                ),
                start="eggan_w_64",
                images=128_000,
                what="from the weights of 64 px, grown and widened",
                ran_on=BESIDE_OTHERS,
                seconds=8_280,
                code="commit 66dc40a",
            ),
            Training(
                folder="part-2",
                settings=(
                    *WIDE,
                    *FOR_PHOTOGRAPHS,
                    *_set("both_ways=true", "learning_rate=0.0005", "training.images=144000"),
                ),
                start="part-1",
                images=144_000,
                what="pairs bent, shaded and stained, colour of its own; an edit is made both ways",
                ran_on="CPU, one thread for the first 1,704 steps, then two, bf16",
                seconds=5_275,
                code="commit 9a34691, its first 818 steps ffda662",
                difference="until step 1,884 the learning rate was to fall until step 6,000, not 9,000; "
                "`both_ways`, which changes edits and no training, came afterwards",
            ),
        ),
    ),
    "eggan_w_64": Recipe(
        method="eggan-w",
        size=64,
        data=CROWD,
        parts=(
            Training(
                folder="part-1",
                settings=(
                    *("--preset", "cpu"),
                    *ADAM,
                    *NO_READER,
                    *_set("learning_rate=0.0015", "training.batch_size=128", "training.images=1412864"),
                    *_set("training.decay_from=0.3"),
                ),
                start="",
                images=1_412_864,
                what="EGGAN-W from drawn weights",
                ran_on="one NVIDIA H200, bf16",
                seconds=340,
                code="shortly before commit ce14673 was made; colour was not clamped yet",
                difference=(
                    "a loop of its own over the same batches, losses and schedule, which was stopped by the "
                    "clock: the learning rate followed the time, and no run repeats it bit for bit"
                ),
            ),
            Training(
                folder="part-2",
                settings=(
                    *("--preset", "cpu"),
                    *ADAM,
                    *NO_READER,
                    *_set("learning_rate=0.0004", "warm_up_steps=100", "disturb_after=0"),
                    *_set("training.images=96000", "training.decay_from=0"),
                ),
                start="part-1",
                images=96_000,
                what="with the colour clamped, disturbed pairs from the start",
                ran_on="CPU, one thread, bf16",
                seconds=1_639,
                code="commit 71af69d",
                difference="it began with the averaged weights of part 1 by hand, as --start does now",
            ),
            Training(
                folder="part-3",
                settings=(
                    *("--preset", "cpu"),
                    *_set("learning_rate=0.0006", "warm_up_steps=100", "disturb_after=0"),
                    *_set("training.images=96000", "training.decay_from=0.5"),
                ),
                start="part-2",
                images=96_000,
                what="by Muon, with features of a reader of AUs, which learns beside",
                ran_on=BESIDE_OTHERS,
                seconds=3_099,
                code="commit 702b2b3",
                difference="it began with part 2 as stored in fp16, and was stopped and resumed once",
            ),
        ),
    ),
    "eggan_64": Recipe(
        method="eggan",
        size=64,
        data=CROWD,
        storage="int8",
        parts=(
            Training(
                folder="part-1",
                settings=(
                    *("--preset", "crowd"),
                    *_set("training.images=144000", "training.decay_from=0.875"),
                ),
                start="",
                images=144_000,
                seed=4,
                what="C_id and C_exp alone, E and G as an autoencoder (64,000 images), then Eq. 7 (80,000)",
                ran_on="one NVIDIA H100 80GB shared by MPS with 15 other trainings, bf16, torch 2.11",
                seconds=320,
                code="commit 3a348d2",
                difference="it was the cell eggan/synfacs-64/s4 of the suite standard, and came home as fp16 "
                "before it was stored as int8",
            ),
        ),
    ),
}


def find_recipe(name: str) -> Recipe:
    """Return the recipe of shipped weights; an unknown name is a `UserError`."""
    check_name(name, RECIPES)
    return RECIPES[name]
