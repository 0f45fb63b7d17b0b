"""Fixtures of the renderer's tests: a person, a still nuisance and a small dense dataset, each made once."""

from pathlib import Path

import pytest

from eggan.data.dataset import Dataset, load_dataset
from eggan.data.synfacs import Identity, Nuisance, build, person

DENSE = {"split": "dense", "size": 64, "seed": 5, "identities": 2, "images_per_identity": 4}


@pytest.fixture(scope="session")
def someone() -> Identity:
    return person(0, "test-people", 3)


@pytest.fixture(scope="session")
def still() -> Nuisance:
    return Nuisance()


@pytest.fixture(scope="session")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    folder: Path = tmp_path_factory.mktemp("dense") / "data"
    return load_dataset(build(**DENSE, workers=1, out=folder, progress=False))
