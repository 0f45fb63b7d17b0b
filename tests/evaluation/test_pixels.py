import hashlib
import math

import pytest
import torch
import torch.nn.functional as F

from eggan.evaluation import pixels
from tests.patterns import ROUNDING, chequers, grey, ms_ssim_of_chequers, ms_ssim_of_greys


def faces(size, count=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 8, 8, generator=generator) * 2 - 1
    return F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)


def test_psnr_of_a_known_error():
    truth = torch.zeros(2, 3, 16, 16)
    image = truth.clone()
    image[1] += 0.2  # peak-to-peak is 2: 10 log10(4 / 0.04) = 20 dB
    values = pixels.psnr(image, truth)
    assert torch.isinf(values[0])
    assert float(values[1]) == pytest.approx(20.0, abs=1e-4)


@pytest.mark.parametrize(
    ("size", "window", "name"), [(64, 3, "msssim_w3"), (128, 7, "msssim_w7"), (161, 11, "msssim_w11")]
)
def test_ms_ssim_window_is_named_and_admitted_by_the_package(size, window, name):
    assert pixels.ms_ssim_window(size) == window
    assert pixels.ms_ssim_name(size) == name
    image = faces(size)
    assert pixels.ms_ssim(image, image) == pytest.approx([1.0, 1.0], abs=1e-5)


def test_ms_ssim_falls_with_noise_and_ignores_autocast():
    image = faces(64)
    noisy = (image + 0.3 * torch.randn(image.shape, generator=torch.Generator().manual_seed(1))).clamp(-1, 1)
    plain = pixels.ms_ssim(noisy, image)
    assert float(plain.max()) < 0.95
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(pixels.ms_ssim(noisy, image), plain)


@pytest.mark.parametrize("level", [8, 64, 128, 220])
@pytest.mark.parametrize("size", [64, 128])
def test_a_uniform_offset_costs_each_metric_what_its_formula_says(level, size):
    image, truth = grey(level + 10, size), grey(level, size)
    offset = 10 / 127.5  # in [-1, 1] units
    expected = ms_ssim_of_greys(level + 10, level)
    assert pixels.ms_ssim(image, truth).item() == pytest.approx(expected, abs=ROUNDING)
    assert pixels.psnr(image, truth).item() == pytest.approx(20 * math.log10(255 / 10), abs=1e-3)
    everywhere = torch.ones(1, size, size, dtype=torch.bool)
    assert pixels.background_change(truth, image, everywhere).item() == pytest.approx(offset, abs=1e-6)
    assert not pixels.still_background(truth, image).any()


def test_ten_grey_levels_on_mid_grey_are_hardly_seen():
    assert pixels.ms_ssim(grey(138), grey(128)).item() == pytest.approx(0.9996, abs=1e-4)


@pytest.mark.parametrize("contrast", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_a_change_of_contrast_costs_each_metric_what_its_formula_says(contrast):
    truth = chequers(0.8)
    image = contrast * truth
    expected = ms_ssim_of_chequers(0.8, contrast)
    assert pixels.ms_ssim(image, truth).item() == pytest.approx(expected, abs=ROUNDING)
    change = (1 - contrast) * 0.8
    if change:
        assert pixels.psnr(image, truth).item() == pytest.approx(20 * math.log10(2 / change), abs=1e-3)
    everywhere = torch.ones(1, 64, 64, dtype=torch.bool)
    assert pixels.background_change(truth, image, everywhere).item() == pytest.approx(change, abs=1e-6)
    assert pixels.still_background(truth, image).all() == (change == 0)


def test_tiny_images_have_no_ms_ssim():
    with pytest.raises(ValueError, match="at least"):
        pixels.ms_ssim_window(32)


def test_background_change_counts_only_the_background():
    source = torch.zeros(2, 3, 4, 4)
    truth = source.clone()
    truth[:, :, :2] = 0.5  # the upper half is the face that moves
    background = pixels.still_background(source, truth)
    assert background[:, 2:].all()
    assert not background[:, :2].any()
    edit = truth.clone()
    edit[1, :, 3] += 0.4  # half of the background of the second image moves by 0.4
    assert pixels.background_change(source, edit, background) == pytest.approx([0.0, 0.2], abs=1e-6)
    nowhere = pixels.background_change(source, edit, torch.zeros(2, 4, 4, dtype=torch.bool))
    assert torch.isnan(nowhere).all()


def test_integer_images_are_refused():
    with pytest.raises(ValueError, match="float"):
        pixels.psnr(torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 3, 4, 4, dtype=torch.uint8))


def test_lpips_is_not_measured_without_its_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert "alexnet-owt-7be5be79.pth" in str(pixels.lpips_missing())
    with pytest.raises(FileNotFoundError, match="weights missing"):
        pixels.lpips(faces(64), faces(64))
    assert not list(tmp_path.rglob("*.pth"))


def test_lpips_refuses_a_backbone_with_another_hash(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "alexnet-owt-7be5be79.pth").write_bytes(b"not alexnet")
    found = hashlib.sha256(b"not alexnet").hexdigest()[:8]
    assert f"starts with {found}" in str(pixels.lpips_missing("alex"))
