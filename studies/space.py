"""Search spaces: named parameters of a study, and the config fields of a method that they set."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from eggan.config import from_dict, to_dict
from eggan.errors import UserError, known_names

FACTOR = 10.0  # ours: a weight is searched from a tenth to ten times the paper's, or its method's own
NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class Parameter:
    """One parameter of a space: its name in the study, the config field it sets, and where it may lie."""

    name: str
    field: str
    distribution: BaseDistribution


@dataclass(frozen=True)
class Space:
    """A named set of parameters.

    `options` are sets that may be added by name. `defaults` are settings of a study of this space that differ
    from `StudyConfig`'s own: the method whose fields it sets, for one. `reference` is the trial that others
    are compared with: the paper's weights, or the preset's where no paper gives any.
    """

    name: str
    parameters: tuple[Parameter, ...]
    options: Mapping[str, tuple[Parameter, ...]] = field(default_factory=lambda: NOTHING)
    defaults: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    reference: Literal["paper", "preset"] = "paper"

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Return the distribution of every parameter by name."""
        return {parameter.name: parameter.distribution for parameter in self.parameters}

    def apply(self, config: Any, params: Mapping[str, Any]) -> Any:
        """Return `config` with the values of `params`, strictly: a value of a wrong type is a `UserError`."""
        values = to_dict(config)
        for parameter in self.parameters:
            values[parameter.field] = params[parameter.name]
        return from_dict(type(config), values, where=f"space {self.name}")

    def values_of(self, config: Any) -> dict[str, Any]:
        """Return the parameters that a config stands for.

        A config without such a field, or with a value that the space does not hold, is a `UserError`.
        """
        known = {field.name for field in dataclasses.fields(config)}
        missing = [parameter.field for parameter in self.parameters if parameter.field not in known]
        if missing:
            raise UserError(
                f"the space {self.name} sets {', '.join(missing)}, which this method does not have"
            )
        values = {parameter.name: getattr(config, parameter.field) for parameter in self.parameters}
        for parameter in self.parameters:
            self._check(parameter, values[parameter.name])
        return values

    def describe(self) -> dict[str, Any]:
        """Return the space as plain values: what a study's identity depends on."""
        return {p.name: [p.field, json.loads(distribution_to_json(p.distribution))] for p in self.parameters}

    def _check(self, parameter: Parameter, value: Any) -> None:
        distribution = parameter.distribution
        try:
            held = distribution._contains(distribution.to_internal_repr(value))
        except ValueError:
            held = False
        if not held:
            raise UserError(
                f"{parameter.field} = {value} lies outside the space {self.name}, which searches "
                f"{_range_text(distribution)}"
            )


def _range_text(distribution: BaseDistribution) -> str:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices))
    assert isinstance(distribution, FloatDistribution | IntDistribution)
    return f"{distribution.low:g} to {distribution.high:g}"


def _around(name: str, field: str, centre: float) -> Parameter:
    return Parameter(name, field, FloatDistribution(centre / FACTOR, centre * FACTOR, log=True))


LOSS_WEIGHTS = Space(
    "loss-weights",
    (  # around the paper's values, Sec. 4.1
        _around("lambda_au", "weight_au", 100.0),
        _around("lambda_id", "weight_id", 60.0),
        _around("lambda_per", "weight_per", 20.0),
        _around("lambda_rec", "weight_rec", 100.0),
        _around("lambda_gp", "weight_gp", 20.0),
    ),
    options={
        "critic_steps": (Parameter("critic_steps", "critic_steps", IntDistribution(1, 5)),),
        "latent_dim": (Parameter("latent_dim", "latent_dim", CategoricalDistribution((64, 128, 256, 512))),),
        "learning_rate": (
            _around("learning_rate", "learning_rate", 1e-4),
            _around("learning_rate_cexp", "learning_rate_cexp", 2e-4),
        ),
    },
)
WARP_WEIGHTS = Space(
    "warp-weights",
    (  # around the preset's values; `weight_pixels` stays 1: it is the scale of the others
        _around("weight_changed", "weight_changed", 1.0),
        _around("weight_gradient", "weight_gradient", 1.0),
        _around("weight_ssim", "weight_ssim", 0.5),
        _around("weight_paint", "weight_paint", 0.01),
        _around("weight_features", "weight_features", 0.5),
    ),
    options={"learning_rate": (_around("learning_rate", "learning_rate", 1e-3),)},
    defaults={
        "method": "eggan-w",
        "preset": "cpu",
        "identity_floor": 95.0,  # percent: moved pixels keep the person, so less says that something is wrong
        "min_resource": 6_400,  # images: the learning rate rises for the first 4,800
    },
    reference="preset",
)
SPACES: Mapping[str, Space] = MappingProxyType({space.name: space for space in (LOSS_WEIGHTS, WARP_WEIGHTS)})


def find_space(name: str, also: Sequence[str] = ()) -> Space:
    """Return the space called `name` with its options `also`; an unknown name is a `UserError`."""
    if name not in SPACES:
        raise UserError(f"unknown search space {name!r}{known_names(name, SPACES)}")
    space = SPACES[name]
    unknown = [option for option in also if option not in space.options]
    if unknown:
        known = known_names(unknown[0], space.options)
        raise UserError(f"unknown option {unknown[0]!r} of the space {name}{known}")
    added = [parameter for option, its in space.options.items() if option in also for parameter in its]
    return replace(space, parameters=(*space.parameters, *added))
