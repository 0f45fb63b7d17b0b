"""A real study of the painting method: painted faces, colour-reading instruments, three hundred images."""

import dataclasses
from pathlib import Path

import optuna
from optuna.distributions import FloatDistribution

from benchmarks.suites.methods import METHODS
from eggan.config import setting
from eggan.method import MethodEntry
from eggan.training import TrainingConfig
from studies import space as spaces
from studies.space import Parameter, Space
from studies.storage.study_storage import create_study
from studies.study_config import StudyConfig, study_folder, write_spec
from studies.study_context import StudyContext, make_spec, open_study_context, resolved_training
from tests.benchmarks import fakes

TRAINING = TrainingConfig(log_every=2, autocast="off")
SMALL = {
    "space": "painting",
    "method": "painter",
    "preset": "good",
    "images": 32,
    "batch_size": 4,
    "pairs": 16,
    "validation_pairs": 8,
    "validate_every": 8,
    "min_resource": 8,
    "startup_trials": 4,
    "identity_floor": 50.0,
    "beat_seconds": 0.2,
    "stale_seconds": 60.0,
}


@dataclasses.dataclass(frozen=True)
class PainterConfig(fakes.FakeConfig):
    """The strength is searched; from `fail_from` on the training diverges."""

    fail_from: float = setting(9.0, "ours: test")


class StudiedPainter(fakes.PaintingMethod):
    """Paints as strongly as its config says, and fails where that is too much."""

    def update(self, batch, step):
        if self.config.strength >= self.config.fail_from:
            self.config = dataclasses.replace(self.config, fail="nan")
        return super().update(batch, step)


def painter_entry() -> MethodEntry:
    return dataclasses.replace(
        fakes.fake_entry(),
        config=PainterConfig,
        presets={"paper": PainterConfig(strength=0.5), "good": PainterConfig(strength=1.0)},
        build=lambda config, context: StudiedPainter(config),
        restore=None,
    )


SPACE = Space("painting", (Parameter("strength", "strength", FloatDistribution(0.1, 10.0, log=True)),))


def add_space() -> None:
    """Make the painter's space known; production has only its own."""
    spaces.SPACES = {**spaces.SPACES, "painting": SPACE}


def make_context(root: Path, storage: str = "", **settings) -> StudyContext:
    """Return the context of a small study under `root`, and write its specification."""
    add_space()
    bench = dataclasses.replace(fakes.make_bench(root), methods={**METHODS, "painter": painter_entry()})
    study = StudyConfig(**{**SMALL, **settings})
    entry, instruments = bench.methods["painter"], fakes.fake_instruments()
    dataset = fakes.load_dataset(root / "faces")
    base = entry.presets[study.preset]
    training = resolved_training(study, TRAINING)
    spec = make_spec("small", study, entry, base, training, dataset, instruments, storage)
    context = open_study_context(spec, study_folder(bench.runs, spec.name), bench, dataset, instruments)
    write_spec(spec, context.folder)
    return context


def make_study(context: StudyContext, url: str = "") -> optuna.Study:
    return create_study(context.spec, context.folder, url, context.references())
