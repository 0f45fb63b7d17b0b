import json

import pytest
import torch

from eggan.errors import UserError
from eggan.evaluation import instrument_weights, instruments
from eggan.evaluation.instrument_cards import read_card
from eggan.evaluation.instrument_commands import describe
from eggan.evaluation.instrument_networks import FaceEmbedder, MixerAUNet, ResidualAUNet, to_input_size

KINDS = ("au_a", "au_b", "verifier")
CARD = {
    "title": "made for a test",
    "parameters": 1,
    "seed": 0,
    "training": {"seconds": 1.0},
    "threshold": {"cosine": 0.25, "false_accept_rate": 0.015, "equal_error_rate": 0.015, "identities": 3},
    "held_out": {},
}


@pytest.fixture
def folder(tmp_path):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for kind in KINDS:
            instruments.save_instrument(kind, instruments.NETWORKS[kind](), CARD, tmp_path)
    return tmp_path


def images(count, size, seed=0):
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("which", ["a", "b"])
@pytest.mark.parametrize("size", [64, 128])
def test_estimators_read_intensities_in_range_at_both_sizes(folder, which, size):
    estimator = instruments.load_au_estimator(which, folder=folder)
    reading = estimator.predict(20 * images(5, size))
    assert reading.shape == (5, 17)
    assert reading.dtype == torch.float32
    assert not reading.requires_grad
    assert float(reading.min()) >= 0
    assert float(reading.max()) <= 5


def test_estimators_are_of_different_families_with_their_own_weights(folder):
    a, b = (instruments.load_au_estimator(which, folder=folder) for which in ("a", "b"))
    assert type(a.network) is not type(b.network)
    assert a.sha256 != b.sha256
    assert (a.name, b.name) == ("au_a", "au_b")


@pytest.mark.parametrize("kind", KINDS)
def test_readings_do_not_depend_on_the_batch(folder, kind, monkeypatch):
    monkeypatch.setattr(instruments, "CHUNK", 3)
    loaded = load(kind, folder)
    batch = images(7, 64)
    together, alone = read(loaded, batch), torch.cat([read(loaded, image[None]) for image in batch])
    assert torch.allclose(together, alone, atol=1e-4)


def test_a_mirrored_face_reads_the_same(folder):
    estimator = instruments.load_au_estimator("a", folder=folder)
    batch = images(3, 64)
    assert torch.allclose(estimator.predict(batch), estimator.predict(batch.flip(-1)), atol=1e-5)
    assert not torch.allclose(estimator.network(batch), estimator.network(batch.flip(-1)), atol=1e-5)


def test_a_card_names_the_hash_of_the_weights_that_were_written(folder):
    card = read_card("verifier", folder)
    again = instruments.save_instrument(
        "verifier", instruments.load_verifier(folder=folder).network, card, folder
    )
    assert again == card
    other = instruments.save_instrument("verifier", FaceEmbedder(), card, folder)
    assert other["sha256"] != card["sha256"]


def test_a_large_image_is_read_as_its_area_average(folder):
    large = images(2, 128)
    small = torch.nn.functional.avg_pool2d(large, 2)
    assert torch.allclose(to_input_size(large), small, atol=1e-6)
    estimator = instruments.load_au_estimator("a", folder=folder)
    assert torch.allclose(estimator.predict(large), estimator.predict(small), atol=1e-4)


def test_embeddings_have_unit_norm_and_the_card_holds_the_threshold(folder):
    verifier = instruments.load_verifier(folder=folder)
    embedding = verifier.embed(images(4, 64))
    assert embedding.norm(dim=1) == pytest.approx(torch.ones(4), abs=1e-5)
    assert (verifier.threshold, verifier.false_accept_rate) == (0.25, 0.015)


def test_empty_and_malformed_batches(folder):
    estimator = instruments.load_au_estimator("b", folder=folder)
    assert estimator.predict(images(0, 64)).shape == (0, 17)
    with pytest.raises(ValueError, match="float"):
        estimator.predict(torch.zeros(1, 3, 64, 64, dtype=torch.uint8))


@pytest.mark.parametrize("kind", KINDS)
def test_missing_weights_name_the_file_and_the_command(folder, kind):
    (folder / f"{kind}.safetensors").unlink()
    with pytest.raises(UserError, match=rf"{kind}\.safetensors.*eggan instruments train"):
        load(kind, folder)
    (folder / f"{kind}.json").unlink()
    with pytest.raises(UserError, match=rf"{kind}\.json.*eggan instruments train"):
        load(kind, folder)


def test_altered_weights_are_refused(folder):
    path = folder / "au_a.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match="not the file its card describes"):
        instruments.load_au_estimator("a", folder=folder)


def test_weights_of_another_network_are_refused(folder):
    instruments.save_instrument("au_a", FaceEmbedder(), CARD, folder)
    with pytest.raises(UserError, match="does not fit this version"):
        instruments.load_au_estimator("a", folder=folder)


def test_a_card_of_another_version_or_no_card_at_all(folder):
    card = json.loads((folder / "au_b.json").read_text())
    (folder / "au_b.json").write_text(json.dumps({**card, "card_version": 99}))
    with pytest.raises(UserError, match="card version 99"):
        instruments.load_au_estimator("b", folder=folder)
    (folder / "au_b.json").write_text("{")
    with pytest.raises(UserError, match="not a valid card"):
        instruments.load_au_estimator("b", folder=folder)
    with pytest.raises(UserError, match="choose a or b"):
        instruments.load_au_estimator("c", folder=folder)  # type: ignore[arg-type]


def test_storage_rounds_matrices_to_half_and_keeps_vectors():
    network = ResidualAUNet()
    state = instrument_weights.to_storage(network)
    assert {value.dtype for value in state.values() if value.ndim > 1} == {torch.float16}
    assert {value.dtype for value in state.values() if value.ndim == 1} == {torch.float32}
    back = instrument_weights.from_storage(ResidualAUNet(), state)
    again = instrument_weights.to_storage(back)
    assert all(torch.equal(state[name], again[name]) for name in state)


def test_together_the_instruments_stay_below_twelve_megabytes(folder):
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) < 12e6


@pytest.mark.parametrize(
    ("network", "expected"), [(ResidualAUNet, 1_047_921), (MixerAUNet, 1_027_041), (FaceEmbedder, 657_760)]
)
def test_parameter_counts(network, expected):
    assert sum(parameter.numel() for parameter in network().parameters()) == expected


def test_a_card_is_described_in_plain_lines(folder):
    figures = {
        "images": 8,
        "identities": 2,
        "size": 64,
        "mean_pcc": 0.9612,
        "mean_mse": 0.08,
        "mean_mae": 0.2,
        "mean_icc": 0.95,
        "per_au": {"au01": {"pcc": 0.9, "mse": 0.1}, "au45": {"pcc": None, "mse": 0.2}},
    }
    text = describe({**read_card("au_a", folder), "held_out": {"dense-64": figures}})
    assert "PCC 0.961, MSE 0.080" in text
    assert "AU45 undefined/0.200" in text


def load(kind, folder):
    if kind == "verifier":
        return instruments.load_verifier(folder=folder)
    return instruments.load_au_estimator("a" if kind == "au_a" else "b", folder=folder)


def read(loaded, batch):
    return loaded.embed(batch) if isinstance(loaded, instruments.NetworkVerifier) else loaded.predict(batch)
