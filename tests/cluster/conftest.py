"""Clusters that end with their test."""

import pytest

from tests.cluster.machines import Machines


@pytest.fixture
def machines(tmp_path):
    """A cluster's processes; all are gone after the test."""
    (tmp_path / "machines").mkdir()
    made = Machines(tmp_path / "machines")
    yield made
    made.stop()


@pytest.fixture
def notes(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder
