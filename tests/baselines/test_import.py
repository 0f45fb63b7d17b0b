"""The key patterns of the official state dictionaries are written out here, apart from the key maps."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import torch
from torch import Tensor, nn

from baselines import ganimation, homointerpgan, official, stargan
from baselines.homointerpgan import Decoder, HomoInterpGANConfig, Interpolator
from baselines.lightcnn import build_network, load_lightcnn
from baselines.vgg import VGGTrunk
from eggan.aus import EXPRESSIONS
from eggan.checkpoint import load_checkpoint
from eggan.config import from_dict
from eggan.errors import UserError
from eggan.method import EditRequest
from tests.baselines.filling import images

NORM = "{weight,bias}"
STATISTICS = "{running_mean,running_var,num_batches_tracked}"
TRUNK = ["main.{0,3,6,15,18}.weight", "main.{9..14}.main.{0,3}.weight"]
NORMS = ["main.{1,4,7,16,19}.", "main.{9..14}.main.{1,4}."]
BATCH_NORMS = "{1,5,8,11,14,18,21,24,27,31,34,38}"
PATTERNS = {
    "stargan": [*TRUNK, *(start + NORM for start in NORMS), "main.21.weight"],
    "ganimation": [*TRUNK, *(start + NORM for start in NORMS), "img_reg.0.weight", "attetion_reg.0.weight"],
    "encoder": [
        "model.features_1.conv{1_1,1_2,2_1,2_2,3_1}.{weight,bias}",
        "model.features_2.conv{3_2,3_3,3_4,4_1}.{weight,bias}",
        "model.features_3.conv{4_2,4_3,4_4,5_1}.{weight,bias}",
    ],
    "interp_net": ["branch.{0..1}.model.{0,2,4}.{weight,bias}"],
    "decoder": [
        "model.{0,4,7,10,13,17,20,23,26,30,33,37,40}.{weight,bias}",
        f"model.{BATCH_NORMS}.{{weight,bias,running_mean,running_var,num_batches_tracked}}",
    ],
    "lightcnn-9": [
        "features.0.filter.{weight,bias}",
        "features.{2,4,6,7}.{conv_a,conv}.filter.{weight,bias}",
        "fc1.filter.{weight,bias}",
    ],
    "lightcnn-29": [
        "conv1.filter.{weight,bias}",
        "block1.0.{conv1,conv2}.filter.{weight,bias}",
        "block2.{0..1}.{conv1,conv2}.filter.{weight,bias}",
        "block3.{0..2}.{conv1,conv2}.filter.{weight,bias}",
        "block4.{0..3}.{conv1,conv2}.filter.{weight,bias}",
        "group{1..4}.{conv_a,conv}.filter.{weight,bias}",
        "fc.filter.{weight,bias}",
    ],
}
PATTERNS["lightcnn-29v2"] = [*PATTERNS["lightcnn-29"][:-1], "fc.{weight,bias}"]


def expand(pattern: str) -> Iterator[str]:
    """Expand `{a,b}` and `{0..3}` as a shell does."""
    found = re.search(r"\{([^}]*)\}", pattern)
    if not found:
        yield pattern
        return
    first, _, last = found[1].partition("..")
    options = map(str, range(int(first), int(last) + 1)) if last else found[1].split(",")
    for option in options:
        yield from expand(pattern[: found.start()] + option + pattern[found.end() :])


def official_keys(name: str) -> set[str]:
    return {key for pattern in PATTERNS[name] for key in expand(pattern)}


def networks() -> dict[str, tuple[nn.Module, Callable[[str], str]]]:
    return {
        "stargan": (stargan.StarGANGenerator(8, 64, 6), official.stargan_key),
        "ganimation": (ganimation.GANimationGenerator(64, 6), official.ganimation_key),
        "encoder": (VGGTrunk(5, 1.0), official.vgg_key),
        "interp_net": (Interpolator(512, 2), official.interpolator_key),
        "decoder": (Decoder(HomoInterpGANConfig()), official.decoder_key),
        "lightcnn-9": (build_network("9"), official.lightcnn_key),
        "lightcnn-29": (build_network("29"), official.lightcnn_key),
        "lightcnn-29v2": (build_network("29v2"), official.lightcnn_key),
    }


@pytest.fixture(scope="module")
def ours():
    return networks()


def official_state(network: nn.Module, to_official: Callable[[str], str]) -> dict[str, Tensor]:
    return {to_official(key): value for key, value in network.state_dict().items()}


@pytest.fixture
def save(tmp_path):
    def write(state, name="file.pth"):
        torch.save(state, tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize("name", PATTERNS)
def test_key_maps_give_the_official_names(ours, name):
    assert set(official_state(*ours[name])) == official_keys(name)


def test_known_shapes_have_the_right_names(ours):
    shapes = {
        name: {k: tuple(v.shape) for k, v in official_state(*pair).items()} for name, pair in ours.items()
    }
    assert shapes["stargan"]["main.0.weight"] == (64, 11, 7, 7)
    assert shapes["stargan"]["main.15.weight"] == (256, 128, 4, 4)
    assert shapes["stargan"]["main.9.main.0.weight"] == (256, 256, 3, 3)
    assert shapes["ganimation"]["img_reg.0.weight"] == (3, 64, 7, 7)
    assert shapes["ganimation"]["attetion_reg.0.weight"] == (1, 64, 7, 7)
    assert shapes["encoder"]["model.features_2.conv4_1.weight"] == (512, 256, 3, 3)
    assert shapes["decoder"]["model.4.weight"] == (256, 512, 3, 3)
    assert shapes["decoder"]["model.40.bias"] == (3,)
    assert shapes["lightcnn-9"]["fc1.filter.weight"] == (512, 8192)
    assert shapes["lightcnn-29"]["group3.conv.filter.weight"] == (256, 192, 3, 3)
    assert shapes["lightcnn-29v2"]["block3.2.conv1.filter.weight"] == (384, 192, 3, 3)


def with_statistics(state):
    """Add what instance norms of older PyTorch versions saved."""
    norms = {key.rsplit(".", 1)[0] for key in state if key.endswith(".bias")}
    for norm in norms:
        size = state[f"{norm}.bias"]
        state |= {f"{norm}.running_mean": size, f"{norm}.running_var": size}
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)
    return state


def test_stargan_follows_the_official_order_of_expressions(eggan, ours, save, tmp_path):
    network, to_official = ours["stargan"]
    path = save(with_statistics(official_state(network, to_official)))
    status, out, _ = eggan("import", "stargan", path, "-o", tmp_path / "out")
    assert (status, "52 tensors" in out) == (0, True)
    checkpoint = load_checkpoint(tmp_path / "out")
    config = from_dict(stargan.StarGANConfig, checkpoint.card.config)
    model = stargan.ENTRY.restore(config, checkpoint.weights, torch.device("cpu"))
    source, alphabetical = images(1, 64), sorted(EXPRESSIONS)
    aus = torch.zeros(1, 17)
    for name in ("happy", "neutral"):
        label = torch.tensor([EXPRESSIONS.index(name)])
        with torch.no_grad():
            theirs = network(source, stargan.one_hot(torch.tensor([alphabetical.index(name)])))
        edit = model.edit(EditRequest(source, aus, aus, label, source))
        assert torch.allclose(edit, theirs, atol=1e-5)


def test_ganimation_and_its_misspelt_head(eggan, ours, save, tmp_path):
    network, to_official = ours["ganimation"]
    path = save({f"module.{k}": v for k, v in official_state(network, to_official).items()})
    assert eggan("import", "ganimation", path, "-o", tmp_path / "out")[0] == 0
    checkpoint = load_checkpoint(tmp_path / "out")
    config = from_dict(ganimation.GANimationConfig, checkpoint.card.config)
    model = ganimation.ENTRY.restore(config, checkpoint.weights, torch.device("cpu"))
    with torch.no_grad():
        colour, mask = network(images(1, 64), torch.ones(1, 17))
        again = model.generator(images(1, 64), torch.ones(1, 17))
    assert torch.equal(colour, again[0])
    assert torch.equal(mask, again[1])


def test_homointerpgan_is_three_files_in_any_order(eggan, ours, save, tmp_path):
    files = [
        save({f"module.{k}": v for k, v in official_state(*ours[name]).items()}, f"{name}-latest.pth")
        for name in ("decoder", "encoder", "interp_net")
    ]
    assert eggan("import", "homointerpgan", *files, "-o", tmp_path / "out")[0] == 0
    checkpoint = load_checkpoint(tmp_path / "out")
    config = from_dict(HomoInterpGANConfig, checkpoint.card.config)
    assert (config.groups, config.strength) == ((8,), (1.0, 0.0))
    model = homointerpgan.ENTRY.restore(config, checkpoint.weights, torch.device("cpu"))
    with torch.no_grad():
        assert torch.equal(model.encoder(images(1, 64)), ours["encoder"][0](images(1, 64)))


def test_a_folder_without_the_decoder_says_so(eggan, ours, save, tmp_path):
    for name in ("encoder", "interp_net"):
        save(official_state(*ours[name]), f"{name}-latest.pth")
    status, _, message = eggan("import", "homointerpgan", tmp_path, "-o", tmp_path / "out")
    assert status == 2
    assert "no decoder" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("variant", ["9", "29", "29v2"])
def test_lightcnn_of_every_variant(eggan, ours, save, tmp_path, variant):
    network, to_official = ours[f"lightcnn-{variant}"]
    state = official_state(network, to_official) | {"fc2.weight": torch.zeros(10, 256)}
    wrapped = {"epoch": 80, "arch": "x", "prec1": 97.5}
    path = save(wrapped | {"state_dict": {f"module.{k}": v for k, v in state.items()}})
    assert eggan("import", "lightcnn", path, "-o", tmp_path / "out")[0] == 0
    loaded = load_lightcnn(tmp_path / "out").state_dict()
    assert all(torch.equal(value, loaded[key]) for key, value in network.state_dict().items())


def test_a_partial_file_names_its_missing_keys(eggan, ours, save, tmp_path):
    state = official_state(*ours["stargan"])
    for key in ("main.3.weight", "main.9.main.1.bias", "main.21.weight", "main.6.weight"):
        del state[key]
    status, _, message = eggan("import", "stargan", save(state), "-o", tmp_path / "out")
    assert status == 2
    assert "lacks main.3.weight, main.6.weight, main.9.main.1.bias and 1 more" in message
    assert not (tmp_path / "out").exists()


def test_wrong_files_are_refused_in_one_line(eggan, ours, save, tmp_path):
    generator = official_state(*ours["stargan"])
    celeba = generator | {"main.0.weight": torch.zeros(64, 8, 7, 7)}
    narrow = generator | {"main.3.weight": torch.zeros(32, 64, 4, 4)}
    for name in ("text.pth", "text.safetensors"):
        (tmp_path / name).write_text("not a checkpoint")
    cases = [
        ("stargan", save(celeba, "a"), "edits 5 other attributes"),
        ("stargan", save(narrow, "b"), r"main.3.weight has shape \(32, 64, 4, 4\)"),
        ("stargan", save(generator | {"surprise": torch.zeros(1)}, "c"), "unknown keys: surprise"),
        ("stargan", save([1, 2], "d"), "not a state dictionary"),
        ("ganimation", save(generator, "e"), "lacks img_reg.0.weight"),
        ("lightcnn", save(generator, "f"), "lacks conv1.filter.weight"),
        ("lightcnn", tmp_path / "text.pth", "not a torch checkpoint"),
        ("lightcnn", tmp_path / "text.safetensors", "not a torch checkpoint"),
        ("lightcnn", tmp_path / "absent", "no such file"),
    ]
    for name, path, expected in cases:
        status, _, message = eggan("import", name, path, "-o", tmp_path / "out")
        assert status == 2
        assert re.search(expected, message), message
        assert message.count("\n") == 1


def test_branch_counts_without_a_meaning_are_refused(eggan, ours, save, tmp_path):
    save(official_state(*ours["encoder"]), "encoder.pth")
    save(official_state(*ours["decoder"]), "decoder.pth")
    three = {f"branch.{k}.model.0.weight": torch.zeros(1) for k in range(3)}
    save(three, "interp.pth")
    status, _, message = eggan("import", "homointerpgan", tmp_path, "-o", tmp_path / "out")
    assert (status, "3 branches" in message) == (2, True)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "of 2019"])
def test_damaged_files_are_refused_in_one_line(tmp_path, new):
    """Whatever byte is lost or changed: torch's readers raise a dozen kinds of errors on such pickles."""
    path = tmp_path / "200000-G.ckpt"
    torch.save({"main.0.weight": torch.zeros(3, 4)}, path, _use_new_zipfile_serialization=new)
    content = path.read_bytes()
    for place in range(0, len(content), 3):
        for damaged in (
            content[:place],
            content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :],
            content[:place] + content[place + 1 :],
        ):
            path.write_bytes(damaged)
            with suppress(UserError):
                official.read_state(path)


def test_names_that_are_no_text_are_refused(tmp_path):
    torch.save({1: torch.zeros(2)}, tmp_path / "x.pth")
    with pytest.raises(UserError, match="not a state dictionary"):
        official.read_state(tmp_path / "x.pth")


def test_a_pickle_that_runs_code_is_refused(eggan, tmp_path):
    class Payload:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"x": Payload()}, tmp_path / "evil.pth")
    status, out, message = eggan("import", "stargan", tmp_path / "evil.pth", "-o", tmp_path / "out")
    assert (status, out) == (2, "")
    assert "loads safely" in message
    assert "weights_only" not in message  # torch's own text advises to load it unsafely


def test_an_import_writes_over_no_other_checkpoint(eggan, ours, save, tmp_path):
    path, other = (save(official_state(*ours[name]), f"{name}.pth") for name in ("stargan", "ganimation"))
    for _ in range(2):  # the same import again changes nothing
        assert eggan("import", "stargan", path, "-o", tmp_path / "out")[0] == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    status, _, err = eggan("import", "ganimation", other, "-o", tmp_path / "out")
    assert (status, "add --force" in err, err.count("\n")) == (2, True, 1)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert eggan("import", "ganimation", other, "-o", tmp_path / "out", "--force")[0] == 0
    assert load_checkpoint(tmp_path / "out").card.method == "ganimation"


def test_an_import_writes_over_no_official_file_and_no_notes(eggan, ours, save, tmp_path):
    official = save(official_state(*ours["ganimation"]), "config.json")
    status, _, err = eggan("import", "ganimation", official, "-o", official.parent, "--force")
    assert (status, "is the input" in err) == (2, True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text("my own")
    assert eggan("import", "ganimation", official, "-o", tmp_path / "mine")[0] == 2
    assert (tmp_path / "mine" / "config.json").read_text() == "my own"
    (tmp_path / "file").write_text("my own")
    assert eggan("import", "ganimation", official, "-o", tmp_path / "file")[0] == 2
