"""Published weight files: where they are looked for, and that only the right file is used."""

import hashlib
import os

import numpy as np
import pytest
import torch

from eggan import published_weights as weights
from eggan.errors import UserError
from eggan.evaluation import inception, pixels, realism


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


def test_a_missing_a_wrong_and_a_replaced_file_are_kept_apart(folder):
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


@pytest.fixture
def inception_file(folder, monkeypatch):
    """Random weights of KID's Inception under a name with their hash, found in place of the published ones.

    torch-fidelity has no way to build the network without weights: it downloads them, which is cut off here.
    """
    from torch_fidelity import feature_extractor_inceptionv3 as original

    def no_download(*arguments, **options):
        raise AssertionError("weights must never be downloaded")

    monkeypatch.setattr(original, "load_state_dict_from_url", no_download)
    with monkeypatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(original.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        patch.setattr(original, "load_state_dict_from_url", lambda *a, **o: {})
        network = original.FeatureExtractorInceptionV3("random", [inception.LAYER])
        for module in network.modules():  # torch's default draws shrink from layer to layer, down to 0
            if isinstance(module, torch.nn.Conv2d):
                torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    name = publish(network.state_dict(), folder, "inception")
    monkeypatch.setattr(inception, "INCEPTION_FILE", name)
    inception._network.cache_clear()
    yield network
    inception._network.cache_clear()


@pytest.mark.slow
def test_kid_is_the_one_that_torch_fidelity_computes(inception_file):
    """On the same images, from pixels to the number: all samples as the one subset that it draws."""
    from torch_fidelity.metric_kid import kid_features_to_metric

    assert inception.missing() is None
    generator = np.random.default_rng(0)
    real, edit = (generator.integers(low, 256, (2, 64, 64, 3), dtype=np.uint8) for low in (0, 96))
    found = [inception.features(images, "cpu") for images in (real, edit)]
    with torch.no_grad():
        theirs = [inception_file(torch.from_numpy(x).permute(0, 3, 1, 2))[0] for x in (real, edit)]
    for ours, their in zip(found, theirs, strict=True):
        assert ours.shape == (2, 2048)
        np.testing.assert_allclose(ours, their.numpy(), rtol=1e-3, atol=1e-3)
    whole = {"kid_subsets": 1, "kid_subset_size": 2, "verbose": False, "rng_seed": 0}
    expected = kid_features_to_metric(*theirs, **whole)["kernel_inception_distance_mean"]
    assert realism.kid(*found) == pytest.approx(expected, rel=1e-3)
    assert expected > 1e-3


def test_inception_is_never_downloaded_and_the_file_is_verified(folder, inception_file):
    path = folder / inception.INCEPTION_FILE
    path.write_bytes(path.read_bytes() + b"changed")
    assert "weights wrong" in str(inception.missing())
    with pytest.raises(UserError, match="not the published file"):
        inception.features(np.zeros((1, 64, 64, 3), np.uint8), "cpu")
    path.unlink()
    assert str(inception.missing()).startswith("weights missing")
    with pytest.raises(UserError, match="torch-fidelity/releases"):
        inception.features(np.zeros((1, 64, 64, 3), np.uint8), "cpu")
