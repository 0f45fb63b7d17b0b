"""Photographs and their mirror images, and readings that differ a little: edits that do so, too."""

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.suites.methods import installed_method
from eggan.aus import AU_COUNT, AU_NUMBERS
from eggan.data.decoding import decode_rgb
from eggan.data.images import to_network_range
from eggan.data.synfacs.nuisance import draw_nuisance
from eggan.data.synfacs.picture import render
from eggan.data.synfacs.plan import person
from eggan.edit import EXAMPLE_PHOTOGRAPH
from eggan.edit.as_rendered import POWER, parts_both_ways
from eggan.edit.editing import Model, load_shipped_model
from eggan.edit.photo_faces import shown_by, steadied
from eggan.edit.photograph import PhotographEditor
from eggan.evaluation.landmark_reader import load_landmark_reader
from eggan.faces.face import Face
from eggan.faces.find import find_faces
from eggan.warp import Parts, warp

Asked = tuple[int, float]  # an AU, and what it is set to
PICTURES = ("example", "render")


@cache
def shipped() -> Model:
    return load_shipped_model(installed_method, "cpu")


@dataclass(frozen=True)
class Photograph:
    """Pixels, the face in them as edits take it, and what it shows."""

    pixels: np.ndarray
    face: Face
    shown: np.ndarray

    def edit(self, asked: Asked) -> np.ndarray:
        return self._editor.edit(with_au(self.shown, asked)).astype(int)

    @cached_property
    def _editor(self) -> PhotographEditor:
        return PhotographEditor(shipped(), self.pixels, self.face, self.shown)


def with_au(aus: np.ndarray, asked: Asked) -> np.ndarray:
    wanted = aus.copy()
    wanted[AU_NUMBERS.index(asked[0])] = asked[1]
    return wanted


def shown_in(pixels: np.ndarray, face: Face) -> np.ndarray:
    return np.nan_to_num(shown_by(face, pixels, shipped())).astype(np.float32)


@cache
def photograph(name: str, mirrored: bool = False) -> Photograph:
    if name == "example":
        pixels = np.asarray(decode_rgb(EXAMPLE_PHOTOGRAPH).image)
    else:
        nuisance = draw_nuisance("single", 0)
        pixels = render(person(3, "twin", 1), np.zeros(AU_COUNT), nuisance, "frontal", 256)
    pixels = np.ascontiguousarray(pixels[:, ::-1]) if mirrored else pixels
    face = steadied(find_faces(pixels)[0], pixels)
    return Photograph(pixels, face, shown_in(pixels, face))


@pytest.mark.parametrize("name", PICTURES)
def test_a_face_has_its_mirror_images_landmarks_and_shows_the_same(name):
    one, other = photograph(name), photograph(name, mirrored=True)
    partners, eyes = load_landmark_reader().partners, one.face.eye_distance
    back = other.face.landmarks[partners] * [-1, 1, 1] + [one.pixels.shape[1], 0, 0]
    assert np.abs(one.face.landmarks - back)[:, :2].mean() < 0.003 * eyes
    off = np.abs(one.shown - other.shown).max()
    assert off < 0.2
    found = [find_faces(each.pixels)[0] for each in (one, other)]
    apart = [shown_in(each.pixels, face) for each, face in zip((one, other), found, strict=True)]
    assert off < 0.5 * np.abs(apart[0] - apart[1]).max()
    assert one.face.landmarks.dtype == np.float32
    assert np.abs(one.face.landmarks - found[0].landmarks)[:, :2].max() < 0.15 * eyes


@pytest.mark.parametrize("name", PICTURES)
def test_an_edit_of_the_mirror_image_is_the_mirror_image_of_the_edit(name):
    one, other = photograph(name), photograph(name, mirrored=True)
    for asked in ((26, 5), (2, 5), (4, 5), (12, 1 if name == "example" else 4)):
        edit = one.edit(asked)
        changed = np.abs(edit - one.pixels).max(axis=2) > 2
        off = np.abs(edit - other.edit(asked)[:, ::-1]).max(axis=2)
        assert changed.sum() > 500, asked
        assert off[changed].mean() < 1, asked
        assert np.percentile(off[changed], 99) <= 3, asked


def test_a_reading_that_differs_a_little_makes_an_edit_that_does():
    one, away = photograph("example"), np.random.default_rng(0).choice([-1, 1], AU_COUNT)
    for jitter, mean, high in ((0.1, 0.6, 15), (0.01, 0.1, 3)):
        other = replace(one, shown=(one.shown + jitter * away).clip(0, 5).astype(np.float32))
        left, top, width, height = map(round, one.face.box)
        for asked in ((26, 5), (2, 5), (14, 5), (25, 0), (45, 5)):
            off = np.abs(other.edit(asked) - one.edit(asked))[top : top + height, left : left + width]
            assert off.mean() < mean, (asked, jitter)
            assert np.percentile(off, 99) <= high, (asked, jitter)


@pytest.mark.parametrize(("asked", "read"), [((4, 5.0), 4.95), ((45, 5.0), 4.95), ((5, 0.0), 0.05)])
def test_what_the_face_shows_but_for_a_little_is_hardly_an_edit(asked, read):
    """While a network that sees something else there would draw the face anew."""
    one = photograph("example")
    same = replace(one, shown=with_au(one.shown, asked))
    nearly = replace(one, shown=with_au(one.shown, (asked[0], read)))
    assert np.array_equal(same.edit(asked), one.pixels)
    changed = np.abs(nearly.edit(asked) - one.pixels).max(axis=2)
    assert np.percentile(changed, 99.5) <= 4


class Sided:
    """A method that moves, and paints the left half of what it sees, by the AUs."""

    def parts(self, source: torch.Tensor, target_aus: torch.Tensor) -> Parts:
        count, _, height, width = source.shape
        flow = torch.full((count, 2, height, width), 0.1)
        paint = torch.zeros(count, 1, height, width)
        paint[..., : width // 2] = target_aus.mean(1).view(-1, 1, 1, 1) / 5
        return Parts(flow, warp(source, flow), source.flip(2), paint)


def test_flows_are_means_of_both_ways_and_what_one_paints_stays():
    source = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    aus = torch.tensor([[5.0] * AU_COUNT, [2.0] * AU_COUNT])
    parts = parts_both_ways(Sided(), source, aus)
    expected = torch.tensor([0, 0.1]).view(1, 2, 1, 1).expand(2, 2, 8, 8)
    torch.testing.assert_close(parts.flow, expected)  # left and right cancel out
    kept = 0.5 ** (1 / POWER)
    torch.testing.assert_close(parts.paint[:, 0, 0], kept * torch.tensor([[1.0] * 8, [0.4] * 8]))
    assert 0.8 < kept < 0.9
    torch.testing.assert_close(parts.colour, source.flip(2))  # each half is one way's alone
    torch.testing.assert_close(parts.moved, warp(source, expected))


def test_parts_of_the_mirror_image_are_the_mirror_image_of_the_parts():
    pixels = Image.fromarray(photograph("render").pixels).resize((128, 128))
    source = to_network_range(torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None])
    aus = torch.from_numpy(with_au(np.zeros(AU_COUNT, np.float32), (26, 5)))[None]
    one = parts_both_ways(shipped().method, source, aus)
    other = parts_both_ways(shipped().method, source.flip(-1), aus)
    across = torch.tensor([-1.0, 1.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(one.flow, other.flow.flip(-1) * across, atol=1e-4, rtol=0)
    for name in ("moved", "colour", "paint"):
        torch.testing.assert_close(getattr(one, name), getattr(other, name).flip(-1), atol=1e-3, rtol=0)
    assert one.flow.abs().max() > 0.02
    assert one.paint.max() > 0.5
