"""Renders that the tests of real data sets are made of: two people with 8 expressions x 3 gazes."""

import numpy as np
import pytest

from eggan.data.dataset import Dataset, load_dataset, write_dataset
from eggan.data.synfacs import build
from tests.data.published import MODELS, rafd_identity


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """SynFACS, built as users build it: 48 images of 64 pixels."""
    folder = tmp_path_factory.mktemp("photos") / "twin"
    return load_dataset(
        build("twin", 64, 0, identities=2, population="photos", workers=1, out=folder, progress=False)
    )


@pytest.fixture(scope="session")
def direct(twin: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The same images and labels with RaFD's names of people, in the order of RaFD's file names."""
    manifest = twin.manifest.copy()
    people = list(dict.fromkeys(manifest["identity"]))
    manifest["split"] = np.where(manifest["identity"] == people[0], "train", "test")
    manifest["identity"] = [rafd_identity(MODELS[people.index(name)]) for name in manifest["identity"]]
    order = manifest.sort_values(["identity", "expression", "gaze"]).index.to_numpy()
    folder = tmp_path_factory.mktemp("direct") / "data"
    write_dataset(folder, "direct", manifest.iloc[order], twin.images[order], 0, {}, "1")
    return load_dataset(folder)
