"""Golden values: official modules of AlfredXiangWu/LightCNN at 7b38a6f, filled by the rule of filling.py."""

import pytest
import torch
import torch.nn.functional as F

from baselines.lightcnn import build_network, embed, load_lightcnn, to_grey
from eggan.checkpoint import ModelCard, save_checkpoint
from eggan.errors import UserError
from eggan.networks import channels_last, parameter_count
from tests.baselines.filling import agrees, fill, filled

GREY = (filled(2, 1, 128, 128) + 1) / 2
GOLDEN = {
    "9": (5_480_864, 3.157773, 5.500292, (0.88833, 1.25774, -1.03895), 0.935695),
    "29": (12_573_280, 27030.08, 44057.03, (53939.23, 32203.13, 13505.36), 0.953534),
    "29v2": (10_475_872, -62557.09, 572780.87, (-132808.26, 126983.30, -279435.91), 0.966718),
}


@pytest.mark.parametrize("variant", GOLDEN)
def test_networks_agree_with_the_official_ones(variant):
    count, mean, std, first, cosine = GOLDEN[variant]
    network = fill(build_network(variant))
    assert parameter_count(network) == count
    with torch.no_grad():
        embedding = network(GREY)
    assert embedding.shape == (2, 256)
    assert agrees(embedding, mean, std, first)
    assert F.cosine_similarity(*embedding[:, None])[0].item() == pytest.approx(cosine, abs=1e-4)


def test_grey_is_the_luma_of_the_image_in_unit_range():
    assert to_grey(torch.ones(1, 3, 128, 128)).unique().tolist() == pytest.approx([1.0])
    red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(1, 3, 64, 64)
    grey = to_grey(red)
    assert grey.shape == (1, 1, 128, 128)
    assert grey.mean().item() == pytest.approx(0.299, abs=1e-5)


def test_embeddings_have_unit_norm():
    vectors = embed(build_network("9"), torch.rand(3, 3, 64, 64) * 2 - 1)
    assert vectors.shape == (3, 256)
    assert vectors.norm(dim=1).tolist() == pytest.approx([1.0] * 3, abs=1e-5)


def test_an_imported_folder_loads_frozen(tmp_path):
    network = build_network("9")
    save_checkpoint(tmp_path, ModelCard("lightcnn", 1, {"variant": "9"}, 128), network.state_dict())
    loaded = load_lightcnn(tmp_path)
    assert not any(p.requires_grad for p in loaded.parameters())
    assert torch.equal(loaded(GREY), channels_last(network)(GREY))


def test_other_folders_are_refused(tmp_path):
    with pytest.raises(UserError, match="missing"):
        load_lightcnn(tmp_path)
    save_checkpoint(tmp_path / "a", ModelCard("eggan", 1, {}, 128), {"x": torch.zeros(1)})
    with pytest.raises(UserError, match="holds eggan"):
        load_lightcnn(tmp_path / "a")
    save_checkpoint(tmp_path / "b", ModelCard("lightcnn", 1, {"variant": "7"}, 128), {"x": torch.zeros(1)})
    with pytest.raises(UserError, match="variants are 9, 29 and 29v2"):
        load_lightcnn(tmp_path / "b")
