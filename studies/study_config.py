"""What a study is: its settings, and the full specification that its folder and its storage hold."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from eggan.config import SIGNED, content_hash, from_dict, setting, to_dict
from eggan.errors import UserError, known_names
from eggan.files import read_json, write_json
from eggan.options import command
from studies.space import Space, find_space

SPEC_FILE = "study.json"
ERROR, SKILL, ACCURACY = "val/au/mse", "val/au/skill", "val/identity/accuracy"  # accuracy in percent
PRINTED_SCORES = (SKILL, ERROR, ACCURACY)  # of a trial, by commands
# May differ when a study is continued: they say how much is run and how it is watched, not what a trial is.
FREE = ("trials", "max_retries", "beat_seconds", "stale_seconds")


@dataclass(frozen=True)
class StudyConfig:
    """The settings of a study. Images count per trial and seed."""

    space: str = setting("loss-weights", "ours: the five weights of Eq. 7")
    also: tuple[str, ...] = setting((), "ours: options of the space")
    objective: Literal["constrained", "pareto"] = setting(
        "constrained", "ours: AU skill under a floor of identity accuracy, or AU MSE against that accuracy"
    )
    method: str = setting("eggan", "ours: the space names its fields")
    preset: str = setting("quick", "ours: what the space leaves alone")
    trials: int = setting(30, "ours: complete, pruned and failed ones, over all workers")
    images: int = setting(25_600, "ours: about six minutes of two CPU cores with the preset `quick`")
    batch_size: int = setting(16, "ours: as the suites")
    seeds: tuple[int, ...] = setting((0,), "ours: of training; a trial's scores are means over them")
    identity_floor: float = setting(
        30.0,
        "ours: percent; what the preset `quick` reaches in minutes, for `constrained` alone",
        least=SIGNED,
    )
    pairs: int = setting(464, "ours: validation pairs behind the final scores")
    validation_pairs: int = setting(144, "ours: pairs behind an intermediate validation")
    pairs_seed: int = setting(0, "ours: of the validation pairs")
    validate_every: int = setting(3_200, "ours: images between intermediate validations")
    sampler: Literal["tpe"] = setting("tpe", "Bergstra et al. 2011; Optuna's default for both objectives")
    startup_trials: int = setting(10, "Optuna's default: trials drawn at random before TPE")
    multivariate: bool = setting(True, "Falkner et al. 2018: the weights act together")
    sampler_seed: int = setting(0, "ours: base of every worker's own seed")
    pruner: Literal["successive_halving", "none"] = setting(
        "successive_halving", "Li et al. 2020; only for `constrained`: several objectives cannot be pruned"
    )
    min_resource: int = setting(3_200, "ours: images after the warm start before a trial may be pruned")
    reduction_factor: int = setting(2, "ours: half of the trials go on; few trials bear no harder cut")
    max_retries: int = setting(1, "ours: a trial whose worker died is tried once more")
    beat_seconds: float = setting(20.0, "ours: how often a running trial says that it lives")
    stale_seconds: float = setting(600.0, "ours: silence after which a trial counts as dead")

    def __post_init__(self) -> None:
        for name in ("trials", "images", "batch_size", "pairs", "validation_pairs", "startup_trials"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds is {list(self.seeds)}; a trial needs one or more, each of them once")
        if self.identity_floor > 100:
            raise ValueError(f"identity_floor is {self.identity_floor:g} percent; no trial can reach it")
        if self.reduction_factor < 2 or self.min_resource < 1:
            raise ValueError("reduction_factor must be at least 2 and min_resource at least 1")
        if self.validate_every < self.batch_size:
            raise ValueError("validate_every is smaller than a batch")
        if not 0 < self.beat_seconds < self.stale_seconds:
            raise ValueError("stale_seconds must be larger than beat_seconds, and both above 0")

    @property
    def has_floor(self) -> bool:
        """Whether a trial needs `identity_floor` to be chosen; of two objectives accuracy is one itself."""
        return self.objective == "constrained"

    @property
    def prunes(self) -> bool:
        """Whether trials may be stopped early."""
        return self.objective == "constrained" and self.pruner != "none"

    @property
    def directions(self) -> list[Literal["minimize", "maximize"]]:
        """Optuna's directions of the objective values."""
        return ["maximize"] if self.objective == "constrained" else ["minimize", "maximize"]

    @property
    def headline(self) -> tuple[str, str]:
        """The two scores that reports show: the AU score that the study optimises, and accuracy."""
        return (SKILL if self.objective == "constrained" else ERROR), ACCURACY

    def objective_values(self, scores: Mapping[str, float]) -> list[float]:
        """Return what the study optimises: [skill], or [AU MSE, identity accuracy]."""
        return [scores[SKILL]] if self.objective == "constrained" else [scores[ERROR], scores[ACCURACY]]

    def interim_value(self, scores: Mapping[str, float]) -> float:
        """Return AU skill less the accuracy's shortfall (as a part of 1): pruners know no constraints."""
        return scores[SKILL] - max(0.0, self.identity_floor - scores[ACCURACY]) / 100


@dataclass(frozen=True)
class StudySpec:
    """A study with everything resolved; all values are plain.

    `method_config` is the method's config without a trial's parameters, `training` the training's,
    `dataset` holds name, size and content_hash, `instruments` maps a role to a sha256. `storage` is the
    address of the database without its password, empty for the file journal.
    """

    name: str
    study: StudyConfig
    method_version: int
    method_config: dict[str, Any]
    training: dict[str, Any]
    dataset: dict[str, Any]
    instruments: dict[str, str]
    storage: str = ""

    @property
    def space(self) -> Space:
        """The search space with its options."""
        return find_space(self.study.space, self.study.also)

    @property
    def identity(self) -> str:
        """A hash of all that decides what a trial of this study is."""
        values = self.plain() | {"space": self.space.describe(), "storage": ""}
        values["study"] = {k: v for k, v in values["study"].items() if k not in FREE}
        return content_hash(values)

    def plain(self) -> dict[str, Any]:
        """Return the specification as plain values."""
        return json.loads(json.dumps({**asdict(self), "study": to_dict(self.study)}))


def study_folder(runs: Path, name: str) -> Path:
    """Return where a study lies."""
    return runs / "studies" / name


def _others(folder: Path) -> str:
    """Return the end of a message on a study that is not there: those that are, or how one begins."""
    known = sorted(path.parent.name for path in folder.parent.glob(f"*/{SPEC_FILE}"))
    return (
        known_names(folder.name, known)
        if known
        else f": start one with `{command('study run loss-weights')}`"
    )


def write_spec(spec: StudySpec, folder: Path) -> None:
    """Write `study.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(spec.plain(), folder / SPEC_FILE)


def read_spec(folder: Path) -> StudySpec:
    """Return the specification in a study's folder; a missing or broken one is a `UserError`."""
    path = Path(folder) / SPEC_FILE
    try:
        values = read_json(path)
        if Path(values["name"]).name != values["name"]:  # folders are named by it
            raise UserError(f"{path} has the name {values['name']!r}, which is no plain name")
        spec = StudySpec(**{**values, "study": from_dict(StudyConfig, values["study"], str(path))})
        if not _has_its_kinds(spec):
            raise TypeError
        return spec
    except (TypeError, KeyError, AttributeError):
        raise UserError(f"{path} is not a study's specification, or one of another version") from None
    except FileNotFoundError:
        raise UserError(f"{folder} holds no study{_others(folder)}") from None
    except ValueError:
        raise UserError(
            f"{path} is corrupted: restore it, or delete it and run the study's command again"
        ) from None


def _has_its_kinds(spec: StudySpec) -> bool:
    """Return whether every value of a specification that was read has the kind that is written."""
    if not all(isinstance(values, dict) for values in (spec.dataset, spec.instruments)):
        return False
    named = [spec.dataset.get(name) for name in ("name", "content_hash")]
    texts = [spec.name, spec.storage, *named, *spec.instruments.values()]
    settings = all(isinstance(values, dict) for values in (spec.method_config, spec.training))
    numbers = all(isinstance(value, int) for value in (spec.method_version, spec.dataset.get("size")))
    return settings and numbers and all(isinstance(text, str) for text in texts)
