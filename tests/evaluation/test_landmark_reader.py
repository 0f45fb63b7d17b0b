"""The shipped landmark reader, and the geometry beneath it."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eggan.aus import AU_COLUMNS, AU_NUMBERS
from eggan.errors import UserError
from eggan.evaluation import instruments
from eggan.evaluation.instrument_cards import WEIGHTS
from eggan.evaluation.landmark_network import (
    LandmarkRegression,
    eye_aligned,
    mirror_of,
    symmetric,
    turned_to,
)
from eggan.evaluation.landmark_reader import NAME, load_landmark_reader
from eggan.faces.find import find_faces
from eggan.faces.framing import aligned

MEAN_FACE = (1.123, 0.718, 0.533, 0.519, 0.43, np.nan, 0.304, 0.329, 0.459, 0.178, 0.391, 0.755, 0.558, 0.12,
             0.896, 0.229, 0.048)  # fmt: skip
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reader():
    return load_landmark_reader()


def faces(reader, count=6, spread=0.02, seed=0):
    """Landmarks near the mean face, in pixels of a picture."""
    template = reader.network.template.view(468, 3).numpy()
    moved = template + np.random.default_rng(seed).normal(0, spread, (count, 468, 3))
    return (60 * moved + [100, 90, 0]).astype(np.float32)


def turn(axis, degrees):
    angle = np.radians(degrees)
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.eye(3)
    first, second = [i for i in range(3) if i != axis]
    matrix[[first, second], [first, second]] = cos
    matrix[first, second], matrix[second, first] = -sin, sin
    return matrix


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(lambda points: points + np.array([31.5, -12.25, 4.0]), id="shift"),
        pytest.param(lambda points: points * 2.5, id="scale"),
        pytest.param(lambda points: points @ turn(2, 25.0), id="roll"),
        pytest.param(lambda points: points @ turn(1, 20.0) @ turn(0, 10.0), id="yaw and pitch"),
    ],
)
def test_where_a_face_is_and_how_it_is_turned_changes_nothing(reader, changed):
    points = faces(reader)
    assert reader.read(changed(points)) == pytest.approx(reader.read(points), abs=2e-2, nan_ok=True)


def test_a_mirrored_face_reads_the_same(reader):
    points = faces(reader)
    flipped = points[:, reader.network.mirror.long().numpy()] * [-1, 1, 1]
    assert reader.read(flipped) == pytest.approx(reader.read(points), abs=2e-2, nan_ok=True)


def test_what_geometry_does_not_show_is_nan_and_nothing_else(reader):
    reading = reader.read(faces(reader))
    assert reading.dtype == np.float32
    assert (np.isnan(reading) == ~reader.readable).all()
    assert reader.card["unreadable"] == [AU_COLUMNS[i] for i in np.flatnonzero(~reader.readable)]
    seen = reading[:, reader.readable]
    assert ((seen >= 0) & (seen <= 5)).all()


def test_an_estimate_goes_on_where_a_reading_ends(reader):
    points = faces(reader)
    estimate = reader.estimate(points)
    np.testing.assert_array_equal(reader.read(points), estimate.clip(0, 5))
    assert np.nanmin(estimate) < 0


def test_unreadable_aus_are_those_below_the_threshold_on_validation_people(reader):
    pcc, least = reader.card["training"]["validation_pcc"], reader.card["recipe"]["least_pcc"]
    assert {column for column, value in pcc.items() if value < least} == set(reader.card["unreadable"])


def test_a_face_without_landmarks_is_nan_and_leaves_the_others_alone(reader):
    points = faces(reader)
    lost = points.copy()
    lost[2, 17] = np.nan
    reading = reader.read(lost)
    assert np.isnan(reading[2]).all()
    others = [0, 1, 3, 4, 5]
    np.testing.assert_allclose(reading[others], reader.read(points)[others], atol=1e-5)
    assert reader.read(np.zeros((0, 468, 3))).shape == (0, 17)


def test_the_mean_face_reads_as_ever(reader):
    """Golden values of the shipped weights."""
    mean_face = reader.network.template.view(1, 468, 3).numpy()
    expected = dict(zip(AU_COLUMNS, MEAN_FACE, strict=True))
    found = dict(zip(AU_COLUMNS, reader.read(mean_face)[0].tolist(), strict=True))
    assert found == pytest.approx(expected, abs=0.01, nan_ok=True)


def test_reading_the_same_twice_gives_the_same_bytes(reader):
    points = faces(reader)
    assert reader.read(points).tobytes() == load_landmark_reader().read(points).tobytes()


@pytest.mark.parametrize("shape", [(468, 3), (2, 478, 3), (2, 468, 2)])
def test_other_shapes_are_refused(reader, shape):
    with pytest.raises(ValueError, match=r"expected landmarks \(N, 468, 3\)"):
        reader.read(np.zeros(shape))


def test_a_smile_in_a_photograph_reads_as_one(reader):
    photograph = np.asarray(Image.open(ROOT / "eggan/edit/examples/astronaut.jpg").convert("RGB"))
    (reading,) = reader.read(find_faces(photograph)[0].landmarks[None])
    aus = dict(zip(AU_NUMBERS, reading, strict=True))
    assert aus[12] > 3.5  # lip corners up
    assert aus[25] > 2  # lips apart
    assert max(aus[number] for number in (9, 15, 17, 20, 45)) < 1


def test_an_aligned_picture_is_read_as_the_photograph_that_it_was_cut_from(reader):
    photograph = np.asarray(Image.open(ROOT / "eggan/edit/examples/astronaut.jpg").convert("RGB"))
    face = find_faces(photograph)[0]
    picture = torch.from_numpy(aligned(photograph, face, 128)).permute(2, 0, 1)[None] / 127.5 - 1
    cut, whole = reader.predict(picture)[0].numpy(), reader.read(face.landmarks[None])[0]
    assert np.abs(cut - whole)[reader.readable].mean() < 0.5


def test_an_image_without_a_face_is_nan(reader):
    noise = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert reader.predict(noise).isnan().all()
    assert reader.predict(torch.zeros(0, 3, 64, 64)).shape == (0, 17)


def test_damaged_missing_and_foreign_files_are_refused(tmp_path):
    for suffix in ("safetensors", "json"):
        shutil.copy(WEIGHTS / f"{NAME}.{suffix}", tmp_path)
    weights = tmp_path / f"{NAME}.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(UserError, match="not the file its card describes"):
        load_landmark_reader(tmp_path)
    weights.unlink()
    with pytest.raises(UserError, match=rf"{NAME}\.safetensors is missing"):
        load_landmark_reader(tmp_path)
    card = json.loads((tmp_path / f"{NAME}.json").read_text())
    instruments.save_instrument(NAME, LandmarkRegression(2, 3), card, tmp_path)
    with pytest.raises(UserError, match="does not fit this version"):
        load_landmark_reader(tmp_path)


def test_alignment_levels_the_eyes_one_unit_apart(reader):
    aligned = eye_aligned(torch.from_numpy(faces(reader)) @ torch.tensor(turn(2, 17.0)).float())
    left, right = aligned[:, [33, 133]].mean(dim=1), aligned[:, [263, 362]].mean(dim=1)
    assert (right - left)[:, :2] == pytest.approx(np.tile([1.0, 0.0], (6, 1)), abs=1e-5)
    assert (right + left) == pytest.approx(np.zeros((6, 3)), abs=1e-5)


def test_turning_to_a_template_undoes_any_turn_and_never_reflects():
    generator = torch.Generator().manual_seed(0)
    template = torch.randn(468, 3, generator=generator)
    points = (template @ torch.tensor(turn(0, 70.0) @ turn(1, -50.0)).float())[None]
    found = turned_to(points, template, list(range(30)))
    centred = template - template[:30].mean(dim=0)
    assert torch.allclose(found[0], centred, atol=1e-4)
    reflected = turned_to(points * torch.tensor([-1.0, 1.0, 1.0]), template, list(range(30)))
    assert not torch.allclose(reflected[0], centred, atol=0.1)


def test_partners_are_mutual_and_a_symmetric_face_is_its_own_mirror_image(reader):
    template = reader.network.template.view(468, 3)
    mirror = reader.network.mirror.long()
    assert torch.equal(mirror[mirror], torch.arange(468))
    assert torch.equal(mirror_of(template), mirror)
    assert torch.allclose(symmetric(template[None], mirror)[0], template, atol=1e-6)
