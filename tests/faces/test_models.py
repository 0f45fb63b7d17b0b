"""The converted models compute what the originals do, and damaged ones are refused."""

import hashlib
import importlib.util
import json
import os
from pathlib import Path

import numpy as np
import pytest

from eggan.errors import UserError
from eggan.faces import models
from eggan.faces.models import CARD, DETECTOR, FOLDER, LANDMARKS, read_model
from tests.faces.golden import GOLDEN, deviation

TOLERANCE = 1e-4
NAMES = (DETECTOR, LANDMARKS)
ARCHIVE = "EGGAN_FACE_MESH_ARCHIVE"  # the npm package, for the test that converts again
ROOT = FOLDER.parents[1]


def card() -> dict[str, dict[str, object]]:
    return json.loads((FOLDER / CARD).read_text())["models"]


@pytest.mark.parametrize("name", NAMES)
def test_the_models_compute_what_the_originals_do(name):
    with np.load(GOLDEN) as stored:
        expected = [stored[f"{name}:{number}"] for number in range(2)]
    assert deviation(name, FOLDER / f"{name}.onnx", expected) < TOLERANCE


def test_a_model_that_computes_something_else_is_noticed():
    with np.load(GOLDEN) as stored:
        expected = [stored[f"{LANDMARKS}:{number}"] for number in range(2)]
    expected[0] = expected[0] + 0.05  # pixels of 192
    assert deviation(LANDMARKS, FOLDER / f"{LANDMARKS}.onnx", expected) > TOLERANCE


@pytest.mark.skipif(
    ARCHIVE not in os.environ
    or not all(importlib.util.find_spec(name) for name in ("ai_edge_litert", "tflite", "onnx")),
    reason=f"needs ai-edge-litert, tflite and onnx, and {ARCHIVE} that names the npm package",
)
@pytest.mark.parametrize("name", NAMES)
def test_conversion_of_the_original_gives_the_committed_file(name, tmp_path):
    from tests.faces.convert_models import convert, originals, run_original
    from tests.faces.golden import inputs_of

    content = originals(Path(os.environ[ARCHIVE]))[name]
    assert hashlib.sha256(content).hexdigest() == card()[name]["original_sha256"]
    again = tmp_path / "again.onnx"
    again.write_bytes(convert(content, name).SerializeToString())
    assert deviation(name, again, run_original(content, inputs_of(name))) < TOLERANCE
    assert again.read_bytes() == (FOLDER / f"{name}.onnx").read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_card_and_notice_name_the_files_that_are_there(name):
    digest = hashlib.sha256((FOLDER / f"{name}.onnx").read_bytes()).hexdigest()
    notice = (ROOT / "NOTICE").read_text()
    assert card()[name]["sha256"] == digest
    assert card()[name]["largest_deviation"] < TOLERANCE
    assert digest in notice
    assert str(card()[name]["original_sha256"]) in notice


def test_a_damaged_or_missing_model_is_refused(tmp_path):
    (tmp_path / CARD).write_bytes((FOLDER / CARD).read_bytes())
    with pytest.raises(UserError, match=r"lack face_landmark\.onnx"):
        read_model(LANDMARKS, tmp_path)
    (tmp_path / f"{LANDMARKS}.onnx").write_bytes((FOLDER / f"{LANDMARKS}.onnx").read_bytes()[:-1])
    with pytest.raises(UserError, match="not the file that"):
        read_model(LANDMARKS, tmp_path)
    (tmp_path / CARD).write_text("[]")
    with pytest.raises(UserError, match=r"valid models\.json"):
        read_model(LANDMARKS, tmp_path)


def test_sessions_take_one_thread_and_do_not_spin():
    options = models._session(DETECTOR).get_session_options()
    assert options.intra_op_num_threads == options.inter_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
