"""Photographed faces in the tones of renders, and AUs on the scale of what a network sees."""

import numpy as np
import pytest
import torch

from eggan.data.images import to_network_range
from eggan.data.synfacs.nuisance import draw_nuisance
from eggan.data.synfacs.picture import render
from eggan.data.synfacs.plan import person
from eggan.edit.as_rendered import (
    FACE,
    LARGEST_GAIN,
    LARGEST_RATE,
    RENDERED_MEAN,
    RENDERED_SPREAD,
    as_rendered,
    in_rendered_tones,
    rescaled,
)


def test_a_face_gets_the_tones_of_renders_and_its_own_back():
    square = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 0.6 - 0.8
    known, gain = in_rendered_tones(square)
    top, bottom, left, right = (round(128 * part) for part in FACE)
    face = known[..., top:bottom, left:right]
    torch.testing.assert_close(face.mean((0, 2, 3)), torch.tensor(RENDERED_MEAN), atol=1e-5, rtol=0)
    torch.testing.assert_close(face.std((0, 2, 3)), torch.tensor(RENDERED_SPREAD), atol=1e-3, rtol=0)
    torch.testing.assert_close((known - known[..., :1, :1]) / gain, square - square[..., :1, :1])


def test_a_face_of_one_colour_stays_one():
    known, gain = in_rendered_tones(torch.full((1, 3, 64, 64), -0.3))
    assert torch.equal(gain, torch.full((1, 3, 1, 1), LARGEST_GAIN))
    torch.testing.assert_close(known[0, :, 20, 30], torch.tensor(RENDERED_MEAN), atol=1e-5, rtol=0)
    assert (known == known[..., :1, :1]).all()


def test_what_is_seen_depends_little_on_the_light():
    aus = np.zeros(17)
    aus[[8, 13]] = 4
    picture = render(person(3, "twin", 1), aus, draw_nuisance("single", 0), "frontal", 128)
    square = to_network_range(torch.from_numpy(picture).permute(2, 0, 1)[None])
    bright, dark = as_rendered(square), as_rendered(square * 0.5 - 0.4)
    torch.testing.assert_close(dark.square, bright.square, atol=1e-4, rtol=0)
    torch.testing.assert_close(dark.aus, bright.aus, atol=1e-3, rtol=0)
    assert (bright.aus[0, [8, 13]] > 3).all()


@pytest.mark.parametrize("end", [0.0, 5.0])
def test_a_reading_near_an_end_asks_for_little_of_what_differs_little_from_it(end):
    """A brow that reads 4.95 where the network sees 1 would leap to 5, while one that reads 5 stays at 1."""
    seen = torch.tensor([[abs(end - 4.0)]])
    asked = [
        rescaled(torch.tensor([[end]]), torch.tensor([[abs(end - away)]]), seen).item()
        for away in np.linspace(0, 2, 201)
    ]
    assert asked[0] == seen.item()
    assert np.abs(np.diff(asked)).max() <= 0.01 * LARGEST_RATE + 1e-4
    assert asked[100:] == pytest.approx([end] * 101, abs=1e-4)


def test_aus_are_rescaled_to_what_is_seen_without_a_leap():
    shown, seen = torch.tensor([[4.0, 0, 5, 1]]), torch.tensor([[1.0, 2, 3, 1]])
    for wanted, expected in (
        (shown, seen),
        (torch.tensor([[2.0, 2.5, 2.5, 3]]), torch.tensor([[0.5, 3.5, 1.5, 3]])),
        (torch.tensor([[0.0, 5, 0, 0]]), torch.tensor([[0.0, 5, 0, 0]])),
        (torch.tensor([[5.0, 1e-4, 5 - 1e-4, 5]]), torch.tensor([[5.0, 2, 3, 5]])),
    ):
        torch.testing.assert_close(rescaled(wanted, shown, seen), expected, atol=1e-3, rtol=0)
