"""How each of the shipped weights is made: data, trainings, and the selection among them, as commands.

A training says where the one behind the shipped file ran, how long it took and in what it differed from its
command: first parts are older than the options that repeat them. The cards hold these records.
"""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eggan.shipped.weights import Storage, check_name

DATA = "data"  # folders of a recipe that is run
CACHE = "runs"
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
    """The data and trainings of one file; of the trainings' weights those with the least AU MSE are kept."""

    method: str
    size: int
    data: tuple[str, ...]  # words of `eggan data build synfacs`, beside the size
    parts: tuple[Training, ...]
    storage: Storage = "fp16"

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
FOR_PHOTOGRAPHS = (
    *("--preset", "paper"),
    *ADAM,
    *_set("disturb_after=0", "disturb_share=0.6", "disturbance.bend=0.025", "disturbance.shade=0.4"),
    *_set("weight_changed=1.5", "change_full=0.2", "weight_mixed=0.2"),
)
BY_16 = _set("training.batch_size=16")
FASTER = _set("learning_rate=0.0005", "warm_up_steps=100")
OWN_COLOUR = _set("colour_on_moved=false", "weight_paint=0.04", "disturbance.stain=0.35")
BESIDE_OTHERS = "CPU, one thread, bf16, beside other work"
RECIPES = {
    "eggan_w_128": Recipe(
        method="eggan-w",
        size=128,
        data=CROWD,
        parts=(
            Training(
                folder="part-1",
                settings=(
                    *FOR_PHOTOGRAPHS,
                    *BY_16,
                    *NO_READER,
                    *FASTER,
                    *_set("training.images=24416", "training.decay_from=1"),
                ),
                start="eggan_w_64",
                images=24_416,
                what="from the weights of 64 px, grown; bent and shaded pairs, no half-transparent paint",
                ran_on=BESIDE_OTHERS,
                seconds=2_775,
                code="commit f2f8b1d",
                difference="it was stopped after that number of images, at a constant learning rate; it "
                "began with the weights of 64 px before their third part",
            ),
            Training(
                folder="part-2",
                settings=(
                    *FOR_PHOTOGRAPHS,
                    *BY_16,
                    *NO_READER,
                    *FASTER,
                    *_set("weight_paint=0.04", "training.images=35200", "training.decay_from=0.2"),
                ),
                start="part-1",
                images=35_200,
                what="paint weighed four times as much, so that a photograph keeps its own pixels",
                ran_on=BESIDE_OTHERS,
                seconds=1_979,
                code="commit 215d495",
            ),
            Training(
                folder="part-3",
                settings=(
                    *FOR_PHOTOGRAPHS,
                    *BY_16,
                    *NO_READER,
                    *_set("learning_rate=0.0003", "warm_up_steps=50", "weight_paint=0.04"),
                    *_set("disturbance.stain=0.35", "training.images=11200", "training.decay_from=0"),
                ),
                start="part-2",
                images=11_200,
                what="sources stained where their true edits differ, so that less of eyes and teeth is left",
                ran_on=BESIDE_OTHERS,
                seconds=612,
                code="commit 0512b3e",
            ),
            Training(
                folder="part-4",
                settings=(
                    *FOR_PHOTOGRAPHS,
                    *BY_16,
                    *NO_READER,
                    *OWN_COLOUR,
                    *_set("learning_rate=0.0006", "warm_up_steps=100"),
                    *_set("training.images=96000", "training.decay_from=0.35"),
                ),
                start="part-3",
                images=96_000,
                what="colour that is not the moved picture's, so that nothing shines through what is painted",
                ran_on=BESIDE_OTHERS,
                seconds=5_291,
                code="commit b9e3bae",
                difference="it began with part 3 as stored in fp16",
            ),
            Training(
                folder="part-5",
                settings=(
                    *FOR_PHOTOGRAPHS,
                    *OWN_COLOUR,
                    *_set("weight_features=0.5", "learning_rate=0.0006", "warm_up_steps=100"),
                    *_set("training.batch_size=64"),
                    *_set("training.images=150000", "training.decay_from=0.2"),
                ),
                start="part-4",
                images=150_000,
                what="features of a reader of AUs, which learns beside, on the training pictures alone",
                ran_on="one H100, bf16, beside seven other trainings",
                seconds=300,
                code="commit f3223fc",
                difference="it began with part 4 as stored in fp16, was to see some 220,000 images and was "
                "stopped by the clock at about 150,000, its learning rate at about half; stored as fp16",
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
