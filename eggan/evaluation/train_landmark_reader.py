"""Fit of the landmark reader, in closed form: same recipe, seed and data, same bits on one machine."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eggan.aus import AU_COLUMNS
from eggan.config import setting
from eggan.evaluation import metrics
from eggan.evaluation.landmark_data import LandmarkTable
from eggan.evaluation.landmark_network import (
    COORDINATES,
    LANDMARKS,
    LandmarkRegression,
    eye_aligned,
    mirror_of,
    symmetric,
    without_pose,
)
from eggan.randomness import torch_generator

LEAST_SPREAD = 1e-3  # eye distances: added to the spread of each coordinate


@dataclass(frozen=True)
class LandmarkRecipe:
    """How the landmark reader is fitted."""

    components: int = setting(250, "ours: of 120, 250 the better on validation people")
    whitening: float = setting(0.3, "ours: power of the components' variance they are divided by")
    features: int = setting(1500, "ours")
    width: float = setting(1.5, "ours: of the Gaussian kernel; a face's components have the mean size 1")
    penalties: tuple[float, ...] = setting(
        (0.03, 0.1, 0.3, 1.0, 3.0), "ours: the one with the best mean PCC on validation people is taken"
    )
    least_pcc: float = setting(0.5, "ours: an AU below it on validation people, in any view, is not read")

    def __post_init__(self) -> None:
        if self.features < 1 or not 1 <= self.components <= COORDINATES:
            raise ValueError(f"features must be at least 1, and components 1 to {COORDINATES}")
        if not self.penalties or min(self.penalties) <= 0 or self.width <= 0:
            raise ValueError("penalties, at least one of them, and width must be above 0")


def fit(
    training: LandmarkTable, validation: LandmarkTable, recipe: LandmarkRecipe, seed: int
) -> tuple[LandmarkRegression, dict[str, object]]:
    """Return the fitted regression and a record: the chosen penalty, PCC per AU on validation people in the
    view in which it is least, and which AUs are `unreadable` for it.
    """
    network = LandmarkRegression(recipe.components, recipe.features).eval()
    shapes = _learn_components(network, torch.from_numpy(training.landmarks), recipe, seed)
    inputs, aus = _design(network, shapes), torch.from_numpy(training.aus).double()
    tried = []
    for penalty in recipe.penalties:
        solution = _solve(inputs, aus, penalty)
        _set(network, *solution)
        pcc = metrics.pcc(validation.aus, read_table(network, validation))
        tried.append((metrics.mean_defined(pcc)[0], penalty, solution))
    _, chosen, solution = max(tried, key=lambda one: one[0])
    _set(network, *solution)
    least = dict(zip(AU_COLUMNS, least_pcc_of_views(network, validation).tolist(), strict=True))
    record = {
        "penalty": chosen,
        "validation_pcc": {column: round(value, 5) for column, value in least.items()},
        "unreadable": [column for column, value in least.items() if not value >= recipe.least_pcc],
    }
    return network, record


def least_pcc_of_views(network: LandmarkRegression, table: LandmarkTable) -> np.ndarray:
    """Return PCC per AU (17,) in the view of the table in which it is least."""
    reading, views = read_table(network, table), np.unique(table.view)
    by_view = [metrics.pcc(table.aus[table.view == v], reading[table.view == v]) for v in views]
    return np.min(by_view, axis=0)


@torch.no_grad()
def read_table(network: LandmarkRegression, table: LandmarkTable) -> np.ndarray:
    """Return clamped readings (N, 17) of a table, of all AUs."""
    return network(torch.from_numpy(table.landmarks)).clamp(0, 5).numpy()


def _learn_components(
    network: LandmarkRegression, landmarks: Tensor, recipe: LandmarkRecipe, seed: int
) -> Tensor:
    """Set everything but the regression's weights; return the faces without pose (N, 468, 3)."""
    mean_face = eye_aligned(landmarks).mean(dim=0)
    mirror = mirror_of(mean_face)
    template = symmetric(mean_face[None], mirror)[0]
    shapes = symmetric(without_pose(landmarks, template), mirror)
    flat = shapes.flatten(1).double()
    mean, spread = flat.mean(dim=0), flat.std(dim=0) + LEAST_SPREAD
    standard = (flat - mean) / spread
    variance, directions = torch.linalg.eigh(standard.T @ standard / len(standard))
    leading = torch.arange(COORDINATES - 1, COORDINATES - 1 - recipe.components, -1)
    basis = directions[:, leading] * variance[leading] ** -recipe.whitening / spread[:, None]
    generator = torch_generator("landmark-reader", "features", seed)
    basis /= ((flat - mean) @ basis).square().sum(dim=1).mean().sqrt()  # a face is of size 1
    frequencies = torch.randn(recipe.components, recipe.features, generator=generator)
    network.template.copy_(template.flatten())
    network.mirror.copy_(mirror)
    network.mean.copy_(mean)
    network.basis.copy_(basis.half())  # rounded as it is stored, before anything rests on it
    network.frequencies.copy_((frequencies / recipe.width).half())
    network.phases.copy_(2 * torch.pi * torch.rand(recipe.features, generator=generator))
    assert mirror.shape == (LANDMARKS,)
    return shapes


@torch.no_grad()
def _design(network: LandmarkRegression, shapes: Tensor) -> Tensor:
    """Return the inputs of the linear fit, float64 (N, K + D)."""
    components = network.components(shapes)
    return torch.cat([components, network.lifted(components)], dim=1).double()


def _solve(inputs: Tensor, aus: Tensor, penalty: float) -> tuple[Tensor, ...]:
    """Return weights (K + D, 17) and bias (17,) of ridge regression."""
    middle, level = inputs.mean(dim=0), aus.mean(dim=0)
    centred = inputs - middle
    system = centred.T @ centred + penalty * torch.eye(inputs.shape[1], dtype=torch.float64)
    weights = torch.linalg.solve(system, centred.T @ (aus - level))
    return weights, level - middle @ weights


def _set(network: LandmarkRegression, weights: Tensor, bias: Tensor) -> None:
    components = network.linear.shape[0]
    network.linear.copy_(weights[:components])
    network.weights.copy_(weights[components:])
    network.bias.copy_(bias)
