"""A small random dataset, a two-parameter method and colour-reading instruments: a benchmark in seconds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.protocol.protocol_config import Protocol
from benchmarks.running.environment import BenchEnvironment
from benchmarks.suites.methods import METHODS
from benchmarks.suites.suite import REFERENCES, Row, Suite
from eggan.aus import AU_COLUMNS, AU_COUNT, EXPRESSIONS, GAZES
from eggan.config import setting
from eggan.data.dataset import Dataset, load_dataset, write_dataset
from eggan.evaluation.reading import Instruments
from eggan.method import MethodEntry
from eggan.training import TrainingConfig

SIZE = 64
BAND = SIZE // AU_COUNT  # rows of pixels that carry one AU


def painted(aus: np.ndarray, face: np.ndarray) -> np.ndarray:
    """Paint AU vectors (N, 17) as bands of brightness into the first channel of faces (N, 64, 64, 3)."""
    images = face.copy()
    for index in range(AU_COUNT):
        level = np.clip(aus[:, index] * 50, 0, 255).astype(np.uint8)
        images[:, index * BAND : (index + 1) * BAND, :, 0] = level[:, None, None]
    return images


def identity_face(identity: str) -> np.ndarray:
    """Return a person's colours in the channels that no AU is painted into."""
    rng = np.random.default_rng(list(identity.encode()))
    return np.broadcast_to(rng.integers(0, 255, (1, SIZE, 3), dtype=np.uint8), (SIZE, SIZE, 3)).copy()


def make_dataset(
    folder: Path,
    splits: dict[str, int],
    seed: int = 0,
    name: str = "synfacs-fake",
    gazes: Sequence[str] = GAZES,
    parameters: dict[str, Any] | None = None,
    **columns: str,
) -> Dataset:
    """Write a dataset with the given number of identities per split, 8 expressions x 3 gazes each.

    `columns` replace whole columns of the manifest, such as expression="unlabelled".
    """
    rng = np.random.default_rng(seed)
    rows, faces = [], []
    for split, count in splits.items():
        for number in range(count):
            identity = f"{split}{number:02d}"
            for expression in EXPRESSIONS:
                for gaze in gazes:
                    level = 0.0 if expression == "neutral" else 1.0
                    aus = level * rng.choice([0.0, 1.0, 2.0, 3.0, 4.0], AU_COUNT)
                    rows.append({"identity": identity, "expression": expression, "gaze": gaze, "split": split,
                                 **dict(zip(AU_COLUMNS, aus, strict=True)), "label_tool": "fake",
                                 "label_version": "1", "confidence": 1.0, "source_file": ""})  # fmt: skip
                    faces.append(identity_face(identity))
    manifest = pd.DataFrame(rows)
    images = painted(manifest[list(AU_COLUMNS)].to_numpy(), np.stack(faces))
    write_dataset(folder, name, manifest.assign(**columns), images, seed, parameters or {}, "1")
    return load_dataset(folder)


def render(dataset: Dataset, rows: np.ndarray, target_aus: np.ndarray, workers: int) -> np.ndarray:
    """Paint the true edits."""
    return painted(target_aus, np.asarray(dataset.images[rows]))


@dataclass(frozen=True)
class BandReader:
    """Reads AUs back from the painted bands."""

    sha256: str

    def predict(self, images: torch.Tensor) -> torch.Tensor:
        levels = (images[:, 0] + 1) * 127.5 / 50
        return torch.stack([levels[:, i * BAND : (i + 1) * BAND].mean((1, 2)) for i in range(AU_COUNT)], 1)


@dataclass(frozen=True)
class ColourVerifier:
    """Embeds the colours of the unpainted channels."""

    sha256: str = "v" * 64
    threshold: float = 0.95

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(images[:, 1:].mean(2).flatten(1), dim=1)


def fake_instruments(device: str = "cpu") -> Instruments:
    return Instruments(BandReader("a" * 64), BandReader("b" * 64), ColourVerifier())


@dataclass(frozen=True)
class FakeConfig:
    strength: float = setting(1.0, "ours: test")
    fail: str = setting("", "ours: test")


class PaintingMethod:
    """Learns one gain: how much of the target to paint. `fail` makes its update raise or diverge."""

    def __init__(self, config: FakeConfig) -> None:
        self.config = config
        self.gain = torch.zeros(2)

    def update(self, batch, step):
        if self.config.fail == "nan":
            return {"loss": torch.tensor(float("nan"))}
        if self.config.fail == "crash":
            raise RuntimeError("a bug in the method")
        self.gain += 0.5 * (self.config.strength - self.gain)
        return {"loss": (self.config.strength - self.gain).abs().mean()}

    def set_learning_rate(self, factor):
        pass

    def edit(self, request):
        images = request.source.clone()
        wanted = request.source_aus + self.gain[0] * (request.target_aus - request.source_aus)
        for index in range(AU_COUNT):
            images[:, 0, index * BAND : (index + 1) * BAND] = (wanted[:, index] * 50 / 127.5 - 1)[
                :, None, None
            ]
        return images

    def read_aus(self, images):
        return BandReader("").predict(images)

    def state(self):
        return {"gain": self.gain.clone()}

    def load_state(self, state):
        self.gain = state["gain"].clone()

    def inference_weights(self):
        return {"gain": self.gain.clone()}

    def load_inference_weights(self, weights):
        self.gain = weights["gain"].clone()

    def parameter_counts(self):
        return {"gain": 2}


def restore(config, weights, device):
    method = PaintingMethod(config)
    method.load_inference_weights(weights)
    return method


def fake_entry(version: int = 1) -> MethodEntry:
    return MethodEntry(
        name="painter",
        title="Painter",
        config=FakeConfig,
        presets={
            "good": FakeConfig(),
            "nan": FakeConfig(fail="nan"),
            "crash": FakeConfig(fail="crash"),
        },
        build=lambda config, context: PaintingMethod(config),
        restore=restore,
        reads=("source", "source_aus", "target_aus"),
        version=version,
    )


PROTOCOL = Protocol(
    name="tiny", splits=("test",), pairs=24, probe_sources=2, sequences=6, alphas=3, showcase=2
)
TRAINING = TrainingConfig(batch_size=4, images=32, log_every=2, probe_every=4, autocast="off")


def tiny_suite(preset: str = "good", training: TrainingConfig = TRAINING, references: bool = True) -> Suite:
    rows = (Row("painter", preset, training), *(REFERENCES if references else ()))
    return Suite("tiny", "test", SIZE, (0,), rows, PROTOCOL)


def silent(iterable, total=None, description=""):
    return iterable


def make_bench(root: Path, version: int = 1) -> BenchEnvironment:
    """Return an environment over `root` with a painted dataset in place of the suite's."""
    if not (root / "faces").exists():
        make_dataset(root / "faces", {"train": 2, "val": 1, "test": 3})
    return BenchEnvironment(
        runs=root / "runs",
        data=root / "data",
        dataset=root / "faces",
        workers=1,
        progress=silent,
        methods={**METHODS, "painter": fake_entry(version)},
        instruments=fake_instruments,
        render=render,
    )
