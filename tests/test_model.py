import hashlib
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save

from eggan import losses
from eggan.config import from_dict, to_dict
from eggan.data.dataset import GROUP_COLUMN
from eggan.data.images import to_network_range
from eggan.data.training_set import load_training_set
from eggan.errors import UserError
from eggan.method import EditRequest, Method, ReconstructionRequest
from eggan.model import ENTRY, build
from eggan.model_config import EGGANConfig, quick_preset
from eggan.networks import CLASSIFIERS
from eggan.published_weights import VGG19_FILE, find_weights, require_weights
from eggan.training import TrainingConfig, _request, make_batch
from tests.tiny import context, narrow_config, tiny_dataset

BATCH = TrainingConfig(batch_size=4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def data(dataset):
    return load_training_set(dataset, ("train",), "cpu")


def request_of(data, sources, targets) -> EditRequest:
    return _request(data, torch.tensor(sources), torch.tensor(targets))


def snapshot(model):
    nets = {**model.networks, "c_id": model.c_id}
    return {f"{n}.{k}": v.clone() for n, net in nets.items() for k, v in net.named_parameters()}


def changed(before, after):
    return {key.split(".")[0] for key in before if not torch.equal(before[key], after[key])}


def test_eggan_is_a_method_with_presets(dataset, cache):
    assert isinstance(build(narrow_config(), context(dataset, cache)), Method)
    assert set(ENTRY.presets) == {"paper", "cpu", "quick", "minutes", "crowd"}
    for preset in ENTRY.presets.values():
        assert from_dict(EGGANConfig, to_dict(preset)) == preset


def test_the_paper_preset_holds_the_papers_numbers():
    paper = ENTRY.presets["paper"]
    assert paper.image_size == 128
    assert (paper.weight_au, paper.weight_id, paper.weight_per) == (100, 60, 20)
    assert (paper.weight_rec, paper.weight_gp) == (100, 20)
    assert (paper.weight_adv_z, paper.weight_adv_img) == (1, 1)
    assert (paper.learning_rate, paper.learning_rate_cexp) == (1e-4, 2e-4)
    training = TrainingConfig()
    assert (training.batch_size, training.epochs, training.decay_from) == (8, 400, 0.5)


def test_an_update_changes_every_network_but_c_id(dataset, cache, data):
    model = build(narrow_config(), context(dataset, cache))
    before = snapshot(model)
    model.update(make_batch(data, BATCH, 0, 0), 0)
    after = snapshot(model)
    assert changed(before, after) == set(model.networks)
    for name, network in model.networks.items():
        still = [k for k in network.state_dict() if f"{name}.{k}" in before]
        assert any(not torch.equal(before[f"{name}.{k}"], after[f"{name}.{k}"]) for k in still)


def test_each_step_changes_its_own_networks_only(dataset, cache, data):
    model = build(narrow_config(), context(dataset, cache))
    batch = make_batch(data, BATCH, 0, 0)
    latent, edit, rebuilt = model._generate(batch)
    steps = {
        ("latent_critic", "image_critic"): lambda: model._critic_step(batch, latent.detach(), edit.detach()),
        ("c_exp",): lambda: model._classifier_step(batch),
        ("encoder", "generator"): lambda: model._main_step(batch, latent, edit, rebuilt),
    }
    for own, step in steps.items():
        before = snapshot(model)
        step()
        assert changed(before, snapshot(model)) == set(own)


def test_scoring_an_edit_leaves_c_exp_untouched_buffers_included(dataset, cache, data):
    model = build(narrow_config(), context(dataset, cache))
    batch = make_batch(data, BATCH, 0, 0)
    latent, edit, rebuilt = model._generate(batch)
    before = {k: v.clone() for k, v in model.c_exp.state_dict().items()}
    model._main_step(batch, latent, edit, rebuilt)
    assert all(torch.equal(before[k], v) for k, v in model.c_exp.state_dict().items())
    assert all(p.grad is None for p in model.c_exp.parameters())
    assert all(p.requires_grad for p in model.c_exp.parameters())


def test_every_term_is_reported_raw_and_weighted(dataset, cache, data):
    config = narrow_config(weight_id=60.0)
    terms = build(config, context(dataset, cache)).update(make_batch(data, BATCH, 0, 0), 0)
    weights = {
        "adv_z": 1.0,
        "adv_img": 1.0,
        "au": config.weight_au,
        "id": 60.0,
        "per": 20.0,
        "rec_l1": 100.0,
        "rec_ssim": 100.0,
    }
    for name, weight in weights.items():
        torch.testing.assert_close(terms[f"weighted/{name}"], weight * terms[f"loss/{name}"])
    total = sum(terms[f"weighted/{name}"] for name in weights)
    torch.testing.assert_close(terms["loss/total"], total)
    assert {"critic/wasserstein", "critic/gradient_penalty", "critic/latent", "c_exp/au"} <= set(terms)
    assert not any(term.requires_grad for term in terms.values())


def test_ablations_drop_their_term(dataset, cache, data):
    config = narrow_config(weight_per=0.0, weight_ssim=0.0)
    terms = build(config, context(dataset, cache)).update(make_batch(data, BATCH, 0, 0), 0)
    assert "loss/per" not in terms
    assert "loss/rec_ssim" not in terms


def test_critic_steps_hold_the_generator_back(dataset, cache, data):
    model = build(narrow_config(critic_steps=3), context(dataset, cache))
    moved = []
    for step in range(6):
        before = snapshot(model)
        model.update(make_batch(data, BATCH, 0, step), step)
        moved.append("generator" in changed(before, snapshot(model)))
    assert moved == [False, False, True, False, False, True]


def test_the_first_steps_can_train_the_autoencoder_alone(dataset, cache, data):
    model = build(narrow_config(rec_warm_steps=2), context(dataset, cache))
    moved, reported = [], []
    for step in range(3):
        before = snapshot(model)
        terms = model.update(make_batch(data, BATCH, 0, step), step)
        moved.append(changed(before, snapshot(model)))
        reported.append({name for name in terms if name.startswith("loss/")})
    assert moved == [{"encoder", "generator"}] * 2 + [set(model.networks)]
    assert reported[0] == {"loss/rec_l1", "loss/rec_ssim", "loss/per", "loss/total"}
    assert reported[2] > reported[0]


def test_a_warm_step_sees_each_image_once_through_phi(dataset, cache, data):
    """The image stands for its own edit in Eq. 5, so its features are needed once; the loss is the same."""
    model, batch = (
        build(narrow_config(rec_warm_steps=1), context(dataset, cache)),
        make_batch(data, BATCH, 0, 0),
    )
    phi, seen = model.perceptual, []
    model.perceptual = lambda images: seen.append(len(images)) or phi(images)
    with torch.no_grad():
        rebuilt = model.generator(model.encoder(batch.image), batch.aus)
    terms = model.update(batch, 0)
    assert sum(seen) == 2 * len(batch.image)
    wanted = losses.eq5_perceptual_squared(phi(batch.image), phi(batch.image), phi(rebuilt))
    torch.testing.assert_close(terms["loss/per"], wanted.detach(), rtol=1e-5, atol=1e-6)
    assert terms["loss/per"] > 0


def test_the_warm_rate_falls_to_the_learning_rate(dataset, cache, data):
    config = narrow_config(rec_warm_steps=2, rec_warm_learning_rate=9e-4, learning_rate=1e-4)
    model, rates = build(config, context(dataset, cache)), []
    for step in range(3):
        model.set_learning_rate(0.5)
        model.update(make_batch(data, BATCH, 0, step), step)
        rates.append(model.optimizers["main"].param_groups[0]["lr"])
    assert rates == pytest.approx([4.5e-4, 2.5e-4, 0.5e-4])


@pytest.mark.parametrize("choice", ["kept", "fresh"])
def test_adam_forgets_its_moments_where_eq_7_begins_if_asked_to(dataset, cache, data, choice):
    config = narrow_config(rec_warm_steps=2, moments_after_warm=choice)
    model = build(config, context(dataset, cache))
    steps = []
    for step in range(4):
        model.update(make_batch(data, BATCH, 0, step), step)
        steps.append(int(model.optimizers["main"].state[model.generator.to_image.bias]["step"]))
    assert steps == ([1, 2, 3, 4] if choice == "kept" else [1, 2, 1, 2])


def test_latent_noise_is_relative_to_the_spread_of_the_codes(dataset, cache):
    model = build(narrow_config(latent_noise=0.5), context(dataset, cache))
    codes = torch.randn(4000, 2) * torch.tensor([1.0, 10.0])
    added = model._noisy(codes, torch.Generator().manual_seed(0)) - codes
    torch.testing.assert_close(added.std(0), torch.tensor([0.5, 5.0]), rtol=0.05, atol=0.01)


@pytest.mark.parametrize(
    "reading",
    [
        {"latent_adversary": "wgan_gp"},
        {"gp_at": "real"},
        {"conditioning": "concat"},
        {"perceptual_norm": "l2", "perceptual_layer": "relu2_1"},
        {"cexp_augment": "none", "latent_noise": 0.1, "ema_decay": 0.99},
    ],
)
def test_each_reading_trains(dataset, cache, data, reading):
    model = build(narrow_config(**reading), context(dataset, cache))
    terms = model.update(make_batch(data, BATCH, 0, 0), 0)
    assert all(term.isfinite() for term in terms.values())


@pytest.fixture(scope="module")
def groups(tmp_path_factory):
    """The tiny dataset as groups of true edits: all pictures of a person at one gaze."""
    plain = tiny_dataset(tmp_path_factory.mktemp("groups") / "plain")
    number = plain.manifest.groupby(["identity", "gaze"]).ngroup()
    return replace(plain, manifest=plain.manifest.assign(**{GROUP_COLUMN: number}))


def with_true_edits(**changes) -> EGGANConfig:
    return narrow_config(weight_true_edit=50.0, **changes)


def test_true_edits_are_compared_with_edits_to_their_aus(groups, cache):
    data = load_training_set(groups, ("train",), "cpu")
    batch = make_batch(data, BATCH, 0, 0)
    assert not torch.equal(batch.true_edit_aus, batch.aus)
    model = build(with_true_edits(), context(groups, cache))
    with torch.no_grad():
        edit = model.generator(model.encoder(batch.image), batch.true_edit_aus)
    terms = model.update(batch, 0)
    torch.testing.assert_close(terms["loss/true_l1"], losses.eq6_l1(edit, batch.true_edit))
    torch.testing.assert_close(terms["weighted/true_l1"], 50 * terms["loss/true_l1"])
    torch.testing.assert_close(terms["loss/true_ssim"], losses.eq6_ms_ssim(edit, batch.true_edit, 3))
    total = sum(value for name, value in terms.items() if name.startswith("weighted/"))
    torch.testing.assert_close(terms["loss/total"], total)


def test_with_true_edits_the_warm_steps_learn_to_edit(groups, cache):
    data = load_training_set(groups, ("train",), "cpu")
    batch = make_batch(data, BATCH, 0, 0)
    model = build(with_true_edits(rec_warm_steps=9), context(groups, cache))
    with torch.no_grad():
        edit = model.generator(model.encoder(batch.image), batch.true_edit_aus)
    terms = model.update(batch, 0)
    torch.testing.assert_close(terms["loss/rec_l1"], losses.eq6_l1(edit, batch.true_edit))


def test_true_edits_of_a_dataset_without_groups_are_a_user_error(dataset, cache, data):
    with pytest.raises(UserError, match="EGGAN with weight_true_edit learns from true edits"):
        build(with_true_edits(), context(dataset, cache))
    model = build(narrow_config(), context(dataset, cache))
    model.config = with_true_edits()
    with pytest.raises(UserError, match="EGGAN with weight_true_edit learns from true edits"):
        model.update(make_batch(data, BATCH, 0, 0), 0)


def test_edit_and_reconstruct_and_interpolate_agree(dataset, cache, data):
    model = build(narrow_config(), context(dataset, cache))
    request = request_of(data, [0, 1], [2, 3])
    frames = model.interpolate(request, torch.tensor([0.0, 0.5, 1.0]))
    assert frames.shape == (2, 3, 3, 64, 64)
    own = ReconstructionRequest(request.source, request.source_aus, request.target_expression)
    torch.testing.assert_close(frames[:, 0], model.reconstruct(own))
    torch.testing.assert_close(frames[:, 2], model.edit(request))
    middle = replace(request, target_aus=(request.source_aus + request.target_aus) / 2)
    torch.testing.assert_close(frames[:, 1], model.edit(middle))


def test_interpolate_encodes_each_source_once(dataset, cache, data, monkeypatch):
    model = build(narrow_config(), context(dataset, cache))
    seen = []
    encoder = model.average["encoder"]
    encoder.register_forward_pre_hook(lambda _module, args: seen.append(len(args[0])))
    model.interpolate(request_of(data, [0, 1], [2, 3]), torch.linspace(0, 1, 5))
    assert seen == [2]


def test_the_average_is_what_edits(dataset, cache, data):
    model = build(narrow_config(ema_decay=0.9), context(dataset, cache))
    for step in range(3):
        model.update(make_batch(data, BATCH, 0, step), step)
    request = request_of(data, [0], [1])
    live = model.generator(model.encoder(request.source), request.target_aus)
    assert not torch.equal(model.edit(request), live)
    plain = build(narrow_config(), context(dataset, cache))
    plain.update(make_batch(data, BATCH, 0, 0), 0)
    live = plain.generator(plain.encoder(request.source), request.target_aus)
    torch.testing.assert_close(plain.edit(request), live)


def test_inference_weights_round_trip(dataset, cache, data):
    model = build(narrow_config(ema_decay=0.9), context(dataset, cache))
    model.update(make_batch(data, BATCH, 0, 0), 0)
    weights = {k: v.clone() for k, v in model.inference_weights().items()}
    again = ENTRY.restore(narrow_config(), weights, torch.device("cpu"))
    request = request_of(data, [0, 1], [2, 3])
    assert torch.equal(again.edit(request), model.edit(request))
    assert torch.equal(again.read_aus(request.source), model.read_aus(request.source))
    with pytest.raises(UserError, match="restored for editing"):
        again.update(make_batch(data, BATCH, 0, 0), 0)
    with pytest.raises(UserError, match="do not fit"):
        ENTRY.restore(narrow_config(latent_dim=8), weights, torch.device("cpu"))


def test_state_of_another_version_or_shape_is_refused(dataset, cache):
    model = build(narrow_config(), context(dataset, cache))
    with pytest.raises(UserError, match="version"):
        model.load_state({**model.state(), "version": 99})
    other = build(narrow_config(latent_dim=8), context(dataset, cache))
    with pytest.raises(UserError, match="does not fit"):
        model.load_state(other.state())


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_c_id_is_cached_by_content_and_repaired_when_broken(dataset, tmp_path, capsys):
    trained = []

    def progress(items, total, description):
        trained.append(description)
        return items

    ctx = replace(context(dataset, tmp_path), progress=progress)
    first = build(narrow_config(), ctx)
    (file,) = tmp_path.glob("c_id-*.safetensors")
    before = digest(file)
    again = build(narrow_config(), ctx)
    assert trained == ["pre-training C_id"]
    for a, b in zip(first.c_id.parameters(), again.c_id.parameters(), strict=True):
        assert torch.equal(a, b)
    build(narrow_config(cid_epochs=1), ctx)
    assert len(list(tmp_path.glob("c_id-*.safetensors"))) == 2
    whole = load_file(file)
    for broken in (b"broken", b"", file.read_bytes()[:-1], save({**whole, max(whole): torch.zeros(1)})):
        capsys.readouterr()
        file.write_bytes(broken)
        build(narrow_config(), ctx)
        assert digest(file) == before  # trained again to the same bytes
        assert (
            capsys.readouterr().err.count(f"{file} is damaged or of another version: it is made again") == 1
        )
    assert not any(p.requires_grad for p in first.c_id.parameters())


def test_a_warm_c_exp_reads_training_faces_before_the_first_step(dataset, cache, data):
    cold = build(narrow_config(), context(dataset, cache))
    warm = build(narrow_config(cexp_warm_steps=60, pretraining_batch_size=8), context(dataset, cache))
    images = to_network_range(data.images)
    errors = [(model.read_aus(images) - data.aus).square().mean().item() for model in (cold, warm)]
    assert errors[1] < errors[0] / 2
    assert all(p.requires_grad for p in warm.c_exp.parameters())


def test_another_image_size_is_a_user_error(dataset, cache):
    with pytest.raises(UserError, match="128 px"):
        build(narrow_config(image_size=128), context(dataset, cache))


def test_missing_vgg19_weights_are_one_line(dataset, cache, tmp_path, monkeypatch):
    monkeypatch.setenv("EGGAN_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    assert find_weights(VGG19_FILE) is None
    with pytest.raises(UserError) as caught:
        build(narrow_config(perceptual_on="imagenet_vgg19"), context(dataset, cache))
    message = str(caught.value)
    assert "\n" not in message
    for part in (VGG19_FILE, str(tmp_path), "download", "perceptual_on=c_id"):
        assert part in message


def test_a_weight_file_with_another_hash_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("EGGAN_WEIGHTS", str(tmp_path))
    (tmp_path / VGG19_FILE).write_bytes(b"not the weights")
    with pytest.raises(UserError, match="sha256"):
        require_weights(VGG19_FILE, "https://example.org/", "do without")


def test_vgg19_weights_are_read_from_a_torchvision_state(tmp_path, monkeypatch):
    numbers, state, before = [], {}, 3
    position = 0
    for count, channels in zip(*CLASSIFIERS["vgg19"], strict=True):
        for _ in range(count):
            numbers.append(position)
            state[f"features.{position}.weight"] = torch.full((channels, before, 3, 3), float(position))
            state[f"features.{position}.bias"] = torch.zeros(channels)
            before, position = channels, position + 2
        position += 1
    path = tmp_path / "vgg.pth"
    torch.save(state, path)
    import eggan.published_weights

    monkeypatch.setattr(eggan.published_weights, "require_weights", lambda *_args: path)
    convolutions = eggan.published_weights.load_vgg19_convolutions("do without")
    assert [int(weight[0, 0, 0, 0]) for weight, _ in convolutions] == numbers
    assert numbers[:5] == [0, 2, 5, 7, 10]  # as in torchvision


@pytest.mark.slow
def test_ninety_steps_overfit_a_tiny_dataset(tmp_path):
    dataset = tiny_dataset(tmp_path / "data", identities=3, per_identity=2)
    data = load_training_set(dataset, ("train",), "cpu")
    config = narrow_config(generator_channels=(32, 32, 32, 16, 8, 8), learning_rate=2e-3, cid_epochs=5)
    model = build(config, context(dataset, tmp_path / "cache"))
    pairs = TrainingConfig(batch_size=2)
    history = [model.update(make_batch(data, pairs, 0, step), step) for step in range(90)]

    values = {name: torch.stack([terms[name] for terms in history]) for name in ("loss/rec_l1", "loss/au")}
    left = {name: (value[-40:].mean() / value[:10].mean()).item() for name, value in values.items()}
    assert left["loss/rec_l1"] < 1 / 4
    assert left["loss/au"] < 1 / 5


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 96},
        {"encoder_channels": (8, 8)},
        {"image_critic_channels": (8, 8, 8, 8, 8, 2)},
        {"critic_steps": 0},
        {"ema_decay": 1.0},
        {"ms_ssim_window": 4},
    ],
)
def test_an_impossible_config_is_refused(change):
    with pytest.raises(ValueError, match=r"must|need"):
        replace(quick_preset(), **change)


def test_an_unknown_key_is_a_user_error():
    with pytest.raises(UserError, match="wieght_au"):
        from_dict(EGGANConfig, {"wieght_au": 3.0})
