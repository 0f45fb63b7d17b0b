"""EGGAN-W without true edits: what its losses reach, what it looks at, and what it shares with EGGAN."""

from dataclasses import replace

import pytest
import torch

from eggan import pretraining
from eggan.config import from_dict, override, to_dict
from eggan.data.training_set import load_training_set
from eggan.errors import UserError
from eggan.method import EditRequest, EditsLarge
from eggan.model_config import crowd_preset
from eggan.training import TrainingConfig, make_batch
from eggan.warp import compose
from eggan.warp_unpaired import CPU, ENTRY, UnpairedConfig, build
from tests.test_conformance import TINY
from tests.tiny import context, tiny_dataset

SMALL = TINY["eggan-w-unpaired"].config
BATCH = TrainingConfig(batch_size=4)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny", grouped=True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(dataset):
    return load_training_set(dataset, ("train",), "cpu")


def request_of(batch):
    return EditRequest(batch.image, batch.aus, batch.target_aus, batch.target_expression, batch.target_image)


def test_the_first_edit_is_the_source_and_rebuilds_it(dataset, cache, data):
    """So there is no warm-up as an autoencoder: Eq. 6 is 0 before the first step."""
    method, batch = build(SMALL, context(dataset, cache)), make_batch(data, BATCH, 0, 0)
    assert torch.allclose(method.edit(request_of(batch)), batch.image, atol=1e-6)
    terms = method.update(batch, 0)
    assert terms["loss/rec_l1"] < 1e-6
    assert terms["loss/rec_ssim"] < 1e-5
    assert terms["loss/rough"] == 0


def test_true_edits_are_not_looked_at(dataset, cache, data):
    methods = [build(SMALL, context(dataset, cache)) for _ in range(2)]
    batches = [make_batch(data, BATCH, 0, 0) for _ in range(2)]
    assert batches[0].true_edit is not None
    blind = replace(batches[1], true_edit=None, true_edit_aus=None)
    one, two = (m.update(b, 0) for m, b in zip(methods, (batches[0], blind), strict=True))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not ENTRY.learns_from_true_edits


def test_every_term_that_the_editor_learns_from_is_of_eq_7_or_of_eggan_w(dataset, cache, data):
    terms = build(SMALL, context(dataset, cache)).update(make_batch(data, BATCH, 0, 0), 0)
    names = {"adv_img", "au", "id", "per", "rec_l1", "rec_ssim", "rough", "paint"}
    assert {name.removeprefix("weighted/") for name in terms if name.startswith("weighted/")} == names
    total = sum(terms[f"weighted/{name}"] for name in names)
    assert torch.allclose(total, terms["loss/total"])


def test_the_au_loss_alone_moves_the_edits_towards_what_c_exp_reads(dataset, cache, data):
    """Held still, C_exp reads the targets better after some steps on its loss alone."""
    alone = {f"weight_{name}": 0.0 for name in ("adv_img", "id", "per", "rec", "paint", "rough")}
    rates = {"learning_rate": 3e-3, "learning_rate_cexp": 0.0}
    config = replace(SMALL, **alone, **rates, cexp_warm_steps=60)
    method = build(config, context(dataset, cache))
    losses = [float(method.update(make_batch(data, BATCH, 0, 0), step)["loss/au"]) for step in range(24)]
    assert losses[-1] < losses[0] - 0.05
    assert method.editor.flow.weight.abs().max() > 0


def test_each_network_learns_from_its_own_loss_alone(dataset, cache, data):
    """A step of the editor leaves critic and C_exp as their own steps made them."""
    frozen = replace(SMALL, learning_rate=0.0)
    method, moved = build(frozen, context(dataset, cache)), build(SMALL, context(dataset, cache))
    for one in (method, moved):
        one.update(make_batch(data, BATCH, 0, 0), 0)
    same = zip(method.c_exp.parameters(), moved.c_exp.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in same)
    assert all(p.grad is None for p in method.c_id.parameters())


def test_the_parts_compose_to_the_edit(dataset, cache, data):
    method, batch = build(SMALL, context(dataset, cache)), make_batch(data, BATCH, 0, 0)
    for step in range(3):
        method.update(make_batch(data, BATCH, 0, step), step)
    assert isinstance(method, EditsLarge)
    parts = method.parts(batch.image, batch.target_aus)
    assert torch.equal(compose(parts).clamp(-1, 1), method.edit(request_of(batch)))


def test_classifiers_are_those_of_eggan_on_the_crowd(dataset, cache):
    """One recipe, one file in the cache: whoever comes second trains none."""
    ours, eggans = CPU.classifiers(), crowd_preset()
    for name, steps in (("c_id", 7), ("c_exp", eggans.cexp_warm_steps)):
        keys = {pretraining._key(name, steps, config, context(dataset, cache)) for config in (ours, eggans)}
        assert len(keys) == 1
    assert ours.cid_epochs == eggans.cid_epochs


@pytest.mark.parametrize(
    ("assignment", "names"),
    [
        ("channels=[8,8,8,8,8,8,8]", "image_size"),
        ("ms_ssim_window=7", "ms_ssim_window"),
        ("ema_decay=1", "ema_decay"),
    ],
)
def test_a_config_that_cannot_be_built_is_one_line(assignment, names):
    with pytest.raises(UserError, match=names):
        override(CPU, [assignment])
    assert from_dict(UnpairedConfig, to_dict(CPU)) == CPU


def test_restored_for_editing_it_cannot_be_trained(dataset, cache, data):
    weights = build(SMALL, context(dataset, cache)).inference_weights()
    restored = ENTRY.restore(SMALL, weights, torch.device("cpu"))
    with pytest.raises(UserError, match="cannot be trained"):
        restored.update(make_batch(data, BATCH, 0, 0), 0)
