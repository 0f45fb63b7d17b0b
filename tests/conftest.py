"""Fixtures that every room's tests share: a tiny dataset and the command line in-process.

Libraries are imported where they are used: the process that deals tests out to others loads this file, too,
and they begin only when it has.
"""

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from eggan import progress
from tests.copied_tables import tables_are_made_once  # noqa: F401
from tests.spared_work import no_wait_for_the_disk, spare_old_garbage  # noqa: F401

if TYPE_CHECKING:
    import pandas as pd

    from eggan.data.dataset import Dataset

TINY_TRAINING = [
    word
    for setting in (
        "training.batch_size=2",
        "training.images=4",
        "cid_epochs=1",
        "cexp_warm_steps=0",
        "rec_warm_steps=0",
        "latent_dim=16",
        "encoder_channels=[4,4,8,8,16]",
        "generator_channels=[16,8,8,8,8,8]",
        "image_critic_channels=[4,4,8,8,16,1]",
        "classifier_width=0.25",
    )
    for word in ("--set", setting)
]


def tiny_manifest(identities: int = 4, train: int = 3) -> "pd.DataFrame":
    """Two expressions per identity; the first `train` identities train, the others test."""
    import numpy as np
    import pandas as pd

    from eggan.aus import AU_COLUMNS, EXPRESSIONS

    random = np.random.default_rng(0)
    rows = []
    for identity in range(identities):
        for expression in EXPRESSIONS[:2]:
            aus = random.uniform(0, 5, len(AU_COLUMNS)).round(2)
            rows.append(
                {
                    "identity": f"id{identity:02d}",
                    "expression": expression,
                    "gaze": "frontal",
                    "split": "train" if identity < train else "test",
                    **dict(zip(AU_COLUMNS, aus, strict=True)),
                    "label_tool": "exact",
                    "label_version": "1",
                    "confidence": 1.0,
                    "source_file": "",
                }
            )
    return pd.DataFrame(rows)


def write_tiny(folder: Path, manifest: "pd.DataFrame") -> Path:
    """Write a valid dataset of random images of 64 pixels, one for each row."""
    import numpy as np

    from eggan.data.dataset import write_dataset

    images = np.random.default_rng(1).integers(0, 256, (len(manifest), 64, 64, 3), dtype=np.uint8)
    return write_dataset(folder, "tiny", manifest, images, seed=0, parameters={}, version="1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with modules that have slow tests, end with the smallest: no process is left alone for long."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    sizes = {path: path.stat().st_size for path in {item.path for item in items}}
    items.sort(key=lambda item: (item.path not in slow, -sizes[item.path]))


def pytest_collection_finish() -> None:
    spare_old_garbage()


@pytest.fixture
def manifest() -> "pd.DataFrame":
    return tiny_manifest()


@pytest.fixture
def dataset_folder(tmp_path: Path, manifest: "pd.DataFrame") -> Path:
    """A valid dataset folder of 8 random images of 64 pixels."""
    return write_tiny(tmp_path / "tiny", manifest)


@pytest.fixture
def dataset(dataset_folder: Path) -> "Dataset":
    from eggan.data.dataset import load_dataset

    return load_dataset(dataset_folder)


@pytest.fixture
def heeded_signals() -> Iterator[None]:
    """Ctrl-C and a hang-up, as a terminal gives them, to tests and to the processes that they start.

    A shell in the background has its commands ignore the one, `nohup` the other.
    """
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A device that only pretends."""
    from tests.fake_device import pretended

    with pretended(monkeypatch):
        yield


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset `tiny`, a photograph `face.png` and a checkpoint `m` of two steps."""
    import numpy as np
    from PIL import Image

    from eggan.cli import main

    folder = tmp_path_factory.mktemp("trained")
    images = np.load(write_tiny(folder / "tiny", tiny_manifest()) / "images.npy")
    Image.fromarray(images[-1]).save(folder / "face.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        command = ["train", "eggan", "--dataset", "tiny", "--preset", "quick", "--offline", "--out", "m"]
        assert main([*command, *TINY_TRAINING]) == 0
    return folder


@pytest.fixture(scope="module")
def shipped_read_once() -> Iterator[None]:
    """Commands in this process take shipped weights from memory: to read them is a fifth of a small edit."""
    from eggan.edit import editing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(editing, "load_shipped_model", functools.cache(editing.load_shipped_model))
        yield


@pytest.fixture(autouse=True)
def _no_variable_left() -> Iterator[None]:
    """Take back what a test has the environment say: processes of later tests would go by it.

    One that is told of another place for compiled code compiles the renderer again, ten seconds each.
    """
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture(autouse=True)
def _no_progress_left():
    """Stop what a test that raised has left under way, before it prints into another one's output."""
    with progress.none_left():
        yield


@pytest.fixture
def eggan(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run `eggan ARGS` in this process; returns (exit status, stdout, stderr).

    Of progress nothing is printed, however slow the machine is: stderr holds what the command has to say.
    """
    from eggan.cli import main

    monkeypatch.setattr(progress, "QUIET_SECONDS", 600.0)

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as exit:  # argparse's own way out
            status = int(exit.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
