"""Each ablation is EGGAN, or EGGAN-W, but for the settings that it names, and what it drops is dropped."""

import dataclasses

import pytest
import torch

from benchmarks.suites.ablated_methods import EGGAN, EGGAN_W, UNPAIRED, VARIANTS, variants_of
from benchmarks.suites.methods import METHODS, varied_methods
from benchmarks.suites.pairs_method import PAIRS
from benchmarks.suites.presets import preset_config
from benchmarks.suites.suite import find_suite
from benchmarks.suites.tuned_methods import NAME
from eggan import model, warp
from eggan.config import from_dict, to_dict
from eggan.data.training_set import load_training_set
from eggan.pretraining import warm_expression_classifier
from eggan.training import TrainingConfig, make_batch
from tests.tiny import context, narrow_config, tiny_dataset

BATCH = TrainingConfig(batch_size=4)
OF_EGGAN, OF_EGGAN_W = variants_of(EGGAN), variants_of(EGGAN_W)
NAMES = [variant.name for variant in VARIANTS]
ABLATIONS = {name: entry for name, entry in varied_methods().items() if name not in (NAME, PAIRS)}
# Terms that the full EGGAN reports and the variant does not.
DROPPED = {
    "eggan-wtp": {"loss/per"},
    "eggan-wti": {"loss/id"},
    "eggan-wts": {"loss/rec_ssim"},
    "eggan-no-dz": {"loss/adv_z", "critic/latent", "critic/latent_penalty"},
    "eggan-no-dimg": {"loss/adv_img", "critic/wasserstein", "critic/gradient_penalty"},
    "eggan-l1-only": {"loss/per", "loss/rec_ssim"},
    "eggan-unrounded": set(),
}
# What EGGAN-W's variants leave out: terms that weigh nothing, or what an update does not make.
WITHOUT = {
    "eggan-w-no-flow": {"flow", "paint"},
    "eggan-w-no-colour": {"colour"},
    "eggan-w-no-disturbance": {"disturbance"},
    "eggan-w-unweighted": {"changed", "gradient"},
    "eggan-w-no-gradient": {"gradient"},
    "eggan-w-no-ssim": {"ssim"},
    "eggan-w-no-features": {"features"},
    "eggan-w-free": {"rough", "paint"},
}
# Networks that the variant has no use for: they never move.
STILL = {"eggan-no-dz": {"latent_critic"}, "eggan-no-dimg": {"image_critic"}}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny", grouped=True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(dataset):
    return load_training_set(dataset, ("train",), "cpu")


def terms_of(method, data) -> set[str]:
    batch = make_batch(data, BATCH, 0, 0)
    return {name for name in method.update(batch, 0) if not name.startswith("weighted/")}


def narrow(**changes):
    return narrow_config(latent_adversary="wgan_gp", **changes)


def test_the_papers_three_and_what_else_is_asked():
    assert list(ABLATIONS) == NAMES == [*DROPPED, *WITHOUT]
    assert [v.name for v in VARIANTS if v.in_paper] == ["eggan-wtp", "eggan-wti", "eggan-wts"]
    assert not set(ABLATIONS) & set(METHODS)


@pytest.mark.parametrize("variant", VARIANTS, ids=NAMES)
def test_every_preset_is_the_methods_own_but_for_the_named_settings(variant):
    entry, full = ABLATIONS[variant.name], METHODS[variant.of]
    assert entry.learns_from_true_edits == full.learns_from_true_edits
    assert (entry.build, entry.restore, entry.reads, entry.version) == (
        full.build, full.restore, full.reads, full.version,
    )  # fmt: skip
    assert set(entry.presets) == set(full.presets)
    for name, preset in entry.presets.items():
        before, after = to_dict(full.presets[name]), to_dict(preset)
        new = {k for k, value in variant.changes.items() if before.get(k) != value}
        assert {k for k in after if k not in before or before[k] != after[k]} == new
        assert new == set(variant.changes) or name == "quick"  # whose pairs are undisturbed already
        assert {k: after[k] for k in variant.changes} == dict(variant.changes)
        assert from_dict(entry.config, after) == preset  # a checkpoint's card can be read back
    assert all(field.metadata.get("source") for field in dataclasses.fields(entry.config))


@pytest.mark.parametrize("variant", OF_EGGAN, ids=list(DROPPED))
def test_an_update_lacks_the_dropped_terms_and_nothing_else(variant, dataset, cache, data):
    full = terms_of(model.build(narrow(), context(dataset, cache)), data)
    built = ABLATIONS[variant.name].build(variant.config(narrow()), context(dataset, cache))
    before = {n: [p.detach().clone() for p in net.parameters()] for n, net in built.networks.items()}
    assert full - terms_of(built, data) == DROPPED[variant.name]
    still = {
        name
        for name, network in built.networks.items()
        if all(torch.equal(a, b) for a, b in zip(before[name], network.parameters(), strict=True))
    }
    assert still == STILL.get(variant.name, set())
    assert set(built.parameter_counts()) == set(built.networks) - still


def test_without_rounding_c_exp_and_generator_see_the_intensities_as_they_are(dataset, cache, data):
    unrounded = next(v for v in VARIANTS if v.name == "eggan-unrounded")
    batch, again = (make_batch(data, BATCH, 0, 0) for _ in range(2))
    nearby = dataclasses.replace(again, aus=batch.aus * 0.95, target_aus=batch.target_aus * 0.95)
    for config, same in ((narrow(), True), (unrounded.config(narrow()), False)):
        methods = [model.build(config, context(dataset, cache)) for _ in range(2)]
        for method in methods:  # G reads the AUs themselves: only what the losses see may differ
            method._generate = lambda _, method=method: model.EGGAN._generate(method, batch)
        one, two = (m.update(b, 0) for m, b in zip(methods, (batch, nearby), strict=True))
        assert torch.equal(one["c_exp/au"], two["c_exp/au"]) == same
        assert torch.equal(one["loss/au"], two["loss/au"]) == same


def test_the_warm_start_of_c_exp_is_made_without_rounding_too(dataset, tmp_path):
    unrounded = next(v for v in VARIANTS if v.name == "eggan-unrounded")
    base = narrow(cexp_warm_steps=1)
    for config in (base, unrounded.config(base)):
        warm_expression_classifier(config, context(dataset, tmp_path))
    assert len(list(tmp_path.glob("c_exp-*"))) == 2


def test_the_full_row_is_the_cell_of_the_suite_twin():
    twin, ablations = find_suite("twin"), find_suite("ablations")
    assert ablations.protocol == twin.protocol
    assert ablations.image_size == twin.image_size
    for row in ablations.rows:
        if row.method in ABLATIONS:
            full = next(r for r in twin.rows if r.method == "eggan")
            assert (row.preset, row.training) == (full.preset, full.training)
        else:
            assert row in twin.rows
    assert preset_config(METHODS["eggan"], full) == METHODS["eggan"].presets["cpu"]


def test_the_papers_variants_have_three_seeds_and_the_others_one():
    seeds: dict[str, list[int]] = {}
    for row, seed in find_suite("ablations").cells():
        seeds.setdefault(row.method, []).append(seed)
    assert seeds["eggan"] == [0, 1, 2]
    for variant in OF_EGGAN:
        assert seeds[variant.name] == ([0, 1, 2] if variant.in_paper else [0])
    assert seeds["oracle"] == [0]


SMALL = dataclasses.replace(
    warp.CPU,
    **{"channels": (8, 8), "blocks": 1, "detail_channels": 6, "embedding": 8},
    **{"reader_channels": (8, 8, 8), "disturb_after": 0, "disturb_share": 1.0},
)


def seen_by_the_losses(config, data, monkeypatch) -> tuple[set[str], bool]:
    """Return the terms of weight 0 and the parts that stay as they start, and whether pairs are disturbed."""
    method = warp.EGGANW(config, 0, torch.device("cpu"))
    disturbed = []
    monkeypatch.setattr(
        "eggan.disturb.disturb", lambda *pair_and_more: disturbed.append(1) or pair_and_more[:2]
    )
    for step in range(3):
        method.update(make_batch(data, BATCH, 0, step), step)
    batch = make_batch(data, BATCH, 0, 0)
    parts = method.editor(batch.image, batch.target_aus)
    lacks = {name for name, weight in method.weights().items() if not weight}
    lacks |= set() if (parts.flow != 0).any() else {"flow"}
    lacks |= set() if (parts.paint != 0).any() else {"colour"}
    return lacks, bool(disturbed)


@pytest.mark.parametrize("variant", OF_EGGAN_W, ids=list(WITHOUT))
def test_a_variant_of_eggan_w_does_without_what_it_names(variant, data, monkeypatch):
    full, disturbs = seen_by_the_losses(SMALL, data, monkeypatch)
    assert disturbs
    lacks, disturbs = seen_by_the_losses(variant.config(SMALL), data, monkeypatch)
    lost = {"disturbance"} if not disturbs else set()
    assert lacks - full | lost == WITHOUT[variant.name]


def test_the_suite_of_eggan_w_takes_its_full_rows_from_standard():
    """EGGAN-W and the row without true edits with seed 0, and as many images for every variant."""
    suite, standard = find_suite("ablations-w"), find_suite("standard")
    assert (suite.protocol, suite.image_size) == (standard.protocol, standard.image_size)
    own = {row.name: row for row in standard.rows}
    trained = [row for row in suite.rows if row.training]
    names = [EGGAN_W, UNPAIRED.name, *(variant.name for variant in OF_EGGAN_W)]
    assert [row.name for row in trained] == names
    for row in trained:
        assert (row.preset, row.training, row.learns_from) == ("cpu", own[EGGAN_W].training, "crowd")
        if row.name in own:
            assert dataclasses.replace(row, seeds=own[row.name].seeds) == own[row.name]
    assert [row for row in suite.rows if not row.training] == [r for r in standard.rows if not r.training]
    assert {seed for _, seed in suite.cells()} == {0}
