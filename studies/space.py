"""Search spaces: named parameters of a study, and the config fields of a method that they set."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from eggan.config import from_dict, to_dict
from eggan.errors import UserError, known_names

FACTOR = 10.0  # ours: a weight is searched from a tenth to ten times the paper's


@dataclass(frozen=True)
class Parameter:
    """One parameter of a space: its name in the study, the config field it sets, and where it may lie."""

    name: str
    field: str
    distribution: BaseDistribution


@dataclass(frozen=True)
class Space:
    """A named set of parameters."""

    name: str
    parameters: tuple[Parameter, ...]

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
                f"{parameter.field} = {value} lies outside the space {self.name}: {distribution} of "
                f"{parameter.name}"
            )


def _around(name: str, field: str, centre: float) -> Parameter:
    return Parameter(name, field, FloatDistribution(centre / FACTOR, centre * FACTOR, log=True))


SPACES: Mapping[str, tuple[Parameter, ...]] = MappingProxyType(
    {
        "loss-weights": (  # around the paper's values, Sec. 4.1
            _around("lambda_au", "weight_au", 100.0),
            _around("lambda_id", "weight_id", 60.0),
            _around("lambda_per", "weight_per", 20.0),
            _around("lambda_rec", "weight_rec", 100.0),
            _around("lambda_gp", "weight_gp", 20.0),
        )
    }
)

OPTIONS: Mapping[str, tuple[Parameter, ...]] = MappingProxyType(
    {
        "critic_steps": (Parameter("critic_steps", "critic_steps", IntDistribution(1, 5)),),
        "latent_dim": (Parameter("latent_dim", "latent_dim", CategoricalDistribution((64, 128, 256, 512))),),
        "learning_rate": (
            _around("learning_rate", "learning_rate", 1e-4),
            _around("learning_rate_cexp", "learning_rate_cexp", 2e-4),
        ),
    }
)


def find_space(name: str, also: Sequence[str] = ()) -> Space:
    """Return the space called `name` with the options `also`; an unknown name is a `UserError`."""
    if name not in SPACES:
        raise UserError(f"unknown search space {name!r}{known_names(name, SPACES)}")
    unknown = [option for option in also if option not in OPTIONS]
    if unknown:
        raise UserError(f"unknown option {unknown[0]!r} of a space{known_names(unknown[0], OPTIONS)}")
    added = [parameter for option in OPTIONS if option in also for parameter in OPTIONS[option]]
    return Space(name, (*SPACES[name], *added))
