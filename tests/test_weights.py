"""Published weight files: where they are looked for, and that only the right file is used."""

import hashlib
import os

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from benchmarks import inception
from eggan import weights
from eggan.evaluation import pixels


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder that EGGAN_WEIGHTS names; torch's own cache is elsewhere and empty."""
    monkeypatch.setenv("EGGAN_WEIGHTS", str(tmp_path / "mine"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def publish(state, folder, stem):
    """Save a state under a name that carries the start of its sha256, and return the name."""
    staging = folder / "staging"
    torch.save(state, staging)
    name = f"{stem}-{hashlib.sha256(staging.read_bytes()).hexdigest()[:8]}.pth"
    staging.rename(folder / name)
    return name


def test_the_named_folder_comes_before_torchs_own(folder, tmp_path):
    own = tmp_path / "torch" / "hub" / "checkpoints"
    own.mkdir(parents=True)
    (own / weights.VGG19_FILE).write_bytes(b"one")
    assert weights.find_weights(weights.VGG19_FILE) == own / weights.VGG19_FILE
    (folder / weights.VGG19_FILE).write_bytes(b"other")
    assert weights.find_weights(weights.VGG19_FILE) == folder / weights.VGG19_FILE


def test_a_missing_a_wrong_and_a_replaced_file_are_told_apart(folder):
    name = weights.INCEPTION_FILE
    assert weights.weights_missing(name).startswith(f"weights missing: {name}")
    (folder / name).write_bytes(b"wrong")
    assert "weights wrong" in weights.weights_missing(name)
    right = publish({"x": torch.zeros(1)}, folder, "right")
    assert weights.weights_missing(right) is None
    (folder / right).write_bytes(b"replaced")
    os.utime(folder / right, ns=(1, 1))
    assert "weights wrong" in weights.weights_missing(right)


def test_lpips_is_the_packages_own_on_the_verified_file(folder, monkeypatch):
    import lpips
    from torchvision.models import alexnet

    torch.manual_seed(3)
    backbone = alexnet(weights=None)
    name = publish({k: v for k, v in backbone.state_dict().items() if "features" in k}, folder, "alexnet")
    monkeypatch.setitem(weights.LPIPS_FILES, "alex", name)
    torch.manual_seed(3)  # the package's random backbone is the same draw
    expected = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    before = torch.get_rng_state()
    image, truth = (torch.rand(2, 3, 64, 64) * 2 - 1 for _ in range(2))
    torch.set_rng_state(before)
    assert pixels.lpips_missing() is None
    assert torch.equal(pixels.lpips(image, truth), expected(image, truth).flatten())
    unit = expected((image + 1) / 2, (truth + 1) / 2, normalize=True).flatten()
    torch.testing.assert_close(pixels.lpips(image, truth), unit)
    assert torch.equal(torch.get_rng_state(), before)


def test_inception_sees_what_torchvision_shows_it(folder, monkeypatch):
    """torchvision normalises for ImageNet and undoes it inside; ours goes straight from [-1, 1]."""
    from torchvision.models import inception_v3

    torch.manual_seed(0)
    network = inception_v3(weights=None, init_weights=False, transform_input=True).eval()
    monkeypatch.setattr(inception, "INCEPTION_FILE", publish(network.state_dict(), folder, "inception"))
    assert inception.missing() is None
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    found = inception.features(images, "cpu")
    assert found.shape == (2, 2048)
    network.fc = torch.nn.Identity()
    unit = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    large = interpolate(unit, size=(299, 299), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        np.testing.assert_allclose(found, network((large - mean) / std).numpy(), rtol=1e-3, atol=1e-4)
