"""What all methods share: the form of their training states, restoring for edits, weights by name."""

from dataclasses import dataclass, replace

import pytest
import torch
from torch import nn

from benchmarks.suites.methods import METHODS
from eggan.adam import Adam
from eggan.conformance.checks import differences, flat
from eggan.errors import UserError
from tests.test_conformance import TINY, TRAINED
from tests.tiny import context, tiny_dataset


@dataclass(frozen=True)
class Form:
    """The keys of a method's training state, version 1, as files in use have them."""

    networks: tuple[str, ...]
    average: tuple[str, ...]
    optimizers: dict[str, tuple[str, ...]]  # the networks of each, in the order of its parameters


ADVERSARIES = Form(("generator", "critic"), (), {"generator": ("generator",), "critic": ("critic",)})
HOMO_PARTS = ("encoder", "interpolator", "decoder", "critic", "guidance")
FORMS = {
    "eggan": Form(
        ("encoder", "generator", "latent_critic", "image_critic", "c_exp"),
        ("encoder", "generator"),
        {"main": ("encoder", "generator"), "critic": ("latent_critic", "image_critic"), "c_exp": ("c_exp",)},
    ),
    "eggan-w": Form(("editor", "reader"), ("editor",), {"": ("editor", "reader")}),
    "eggan-w-unpaired": Form(
        ("editor", "image_critic", "c_exp"),
        ("editor",),
        {name: (name,) for name in ("editor", "image_critic", "c_exp")},
    ),
    "stargan": ADVERSARIES,
    "ganimation": ADVERSARIES,
    "homointerpgan": Form(HOMO_PARTS, (), {name: (name,) for name in HOMO_PARTS}),
}
# Muon came later; what its states hold is tested with it.
CONFIGS = {name: tiny.config for name, tiny in TINY.items()}
CONFIGS["eggan-w"] = replace(CONFIGS["eggan-w"], muon=False)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny", grouped=True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def make(dataset, cache):
    return lambda name: METHODS[name].build(CONFIGS[name], context(dataset, cache))


def written_out(name, method):
    """A training state built key by key, with drawn values, in the form that files in use have."""
    generator = torch.Generator().manual_seed(1)

    def drawn(tensor):
        values = torch.rand(tensor.shape, generator=generator)
        return values if tensor.is_floating_point() else torch.full(tensor.shape, 7)

    form, modules = FORMS[name], method.networks
    state = {
        "version": 1,
        "networks": {n: {k: drawn(v) for k, v in modules[n].state_dict().items()} for n in form.networks},
    }
    if form.average:
        state["average"] = {
            n: {k: drawn(v) for k, v in modules[n].state_dict().items()} for n in form.average
        }
    optimizers = {}
    for optimizer, parts in form.optimizers.items():
        parameters = [p for part in parts for p in modules[part].parameters()]
        moments = {
            index: {"step": torch.tensor(3.0), "exp_avg": drawn(p), "exp_avg_sq": drawn(p)}
            for index, p in enumerate(parameters)
        }
        options = torch.optim.Adam(parameters, fused=True).state_dict()["param_groups"][0]
        optimizers[optimizer] = {"state": moments, "param_groups": [options | {"lr": 0.25}]}
    return state | ({"optimizer": optimizers[""]} if "" in optimizers else {"optimizers": optimizers})


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_state_of_version_1_loads_and_is_written_in_the_same_form(name, make):
    method = make(name)
    old = written_out(name, method)
    method.load_state(old)
    new = method.state()
    assert list(new) == list(old)
    assert differences(flat(old), flat(new)) == []


@pytest.mark.parametrize("name", TRAINED)
def test_moments_of_another_shape_are_refused(name, make):
    method = make(name)
    state = written_out(name, method)
    optimizer = state.get("optimizer") or next(iter(state["optimizers"].values()))
    optimizer["state"][0]["exp_avg"] = torch.zeros(5, 5)
    with pytest.raises(UserError, match=r"does not fit this config: .*moments"):
        method.load_state(state)


@pytest.mark.parametrize("name", TRAINED)
def test_restoring_draws_nothing_and_edits_need_only_the_weights(name, make, dataset, monkeypatch):
    """Whatever the memory of critics holds, NaN here, the edit is the trained method's."""
    trained = make(name)
    weights = {key: value.clone() for key, value in trained.inference_weights().items()}
    empty, random = torch.empty, torch.get_rng_state()

    def poisoned(*size, **options):
        values = empty(*size, **options)
        return values.fill_(torch.nan) if values.is_floating_point() else values

    monkeypatch.setattr(torch, "empty", poisoned)
    restored = METHODS[name].restore(CONFIGS[name], weights, torch.device("cpu"))
    monkeypatch.undo()
    left = sorted(set(restored.networks) - set(restored.edits_with))
    assert all(restored.networks[part].state_dict() for part in left)
    assert all(
        any(bool(v.isnan().any()) for v in restored.networks[part].state_dict().values()) for part in left
    )
    assert restored.parameter_counts() == trained.parameter_counts()
    assert torch.equal(random, torch.get_rng_state())
    assert differences(flat(weights), flat(restored.inference_weights())) == []
    with pytest.raises(UserError, match="restored for editing"):
        restored.set_learning_rate(0.5)


def test_the_average_of_a_young_training_follows_faster(make):
    method = make("eggan")
    start = {key: value.clone() for key, value in method.average["encoder"].state_dict().items()}
    with torch.no_grad():
        for parameter in method.encoder.parameters():
            parameter.add_(1.0)
    method.set_decay(0.999, step=0)  # (1 + 0) / (10 + 0)
    method.move_average()
    for key, value in method.average["encoder"].named_parameters():
        torch.testing.assert_close(value, start[key] + 0.9)
        assert not value.requires_grad


def test_adam_steps_as_torchs_own_to_the_last_bit():
    ours, theirs = (nn.Linear(3, 2) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    options = {"lr": 0.1, "betas": (0.5, 0.9), "fused": True}
    one, other = Adam(ours.parameters(), **options), torch.optim.Adam(theirs.parameters(), **options)
    for step in range(4):
        for network, optimizer in ((ours, one), (theirs, other)):
            optimizer.zero_grad(set_to_none=False)
            network(torch.full((1, 3), float(step))).square().sum().backward()
            optimizer.step()
        if step == 1:  # states go from one to the other
            state, its = one.state_dict(), other.state_dict()
            assert differences(flat(state), flat(its)) == []
            one.load_state_dict(its)
            other.load_state_dict(state)
    assert all(torch.equal(*pair) for pair in zip(ours.parameters(), theirs.parameters(), strict=True))
    assert one.step(lambda: torch.tensor(3.0)) == 3
