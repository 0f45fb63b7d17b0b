"""Muon: what a step does to a matrix, beside torch's own, and what of it a training state holds."""

import pytest
import torch
from torch import nn

from eggan.errors import UserError
from eggan.muon import STEP_SIZE, Muon, orthogonal
from eggan.warp import EGGANW
from tests.test_conformance import TINY

CONFIG = TINY["eggan-w"].config


def matrices(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def stepped(weights, gradients, lr=0.1, steps=3):
    """Weights after steps along gradients that turn."""
    parameters = [nn.Parameter(weight.clone()) for weight in weights]
    optimizer = Muon(parameters, lr)
    for step in range(steps):
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.roll(step, 0)
        optimizer.step()
    return [parameter.detach() for parameter in parameters]


@pytest.mark.parametrize("shape", [(3, 8, 30), (2, 30, 8), (1, 12, 12)])
def test_singular_values_come_near_1_and_singular_vectors_stay(shape):
    given = matrices(*shape)
    u, _, v = torch.linalg.svd(given, full_matrices=False)
    made = u.mT @ orthogonal(given) @ v.mT
    values = made.diagonal(dim1=1, dim2=2)
    assert ((values > 0.6) & (values < 1.25)).all()
    assert torch.allclose(made, torch.diag_embed(values), atol=1e-4)


def test_autocast_changes_the_precision_alone():
    given = matrices(2, 8, 30)
    with torch.autocast("cpu", torch.bfloat16):
        coarse = orthogonal(given)
    exact = orthogonal(given)
    assert coarse.dtype == torch.float32
    assert 0 < (coarse - exact).norm() < 0.03 * exact.norm()


def test_nothing_stays_nothing():
    assert torch.equal(orthogonal(torch.zeros(2, 4, 9)), torch.zeros(2, 4, 9))


def test_steps_are_torchs_for_a_matrix():
    weight, gradient = matrices(6, 20), matrices(6, 20, seed=1)
    (ours,) = stepped([weight], [gradient])
    theirs = nn.Parameter(weight.clone())
    options = {"weight_decay": 0.0, "momentum": 0.95, "adjust_lr_fn": "match_rms_adamw"}
    optimizer = torch.optim.Muon([theirs], lr=0.1, **options)
    for step in range(3):
        theirs.grad = gradient.roll(step, 0)
        optimizer.step()
    moved = (ours - weight).norm()
    assert (ours - theirs).norm() < 0.03 * moved  # torch's products are bf16


def test_a_step_has_the_size_of_adams_whatever_the_gradients():
    weight, gradient = matrices(16, 4, 3, 3), matrices(16, 4, 3, 3, seed=1)
    near, far = (stepped([weight], [scale * gradient], steps=1)[0] for scale in (1, 1e4))
    assert torch.allclose(near, far, atol=1e-5)
    size = (near - weight).square().mean().sqrt()
    assert 0.7 * STEP_SIZE * 0.1 < size < 1.2 * STEP_SIZE * 0.1


def test_weights_of_one_shape_step_as_each_would_alone():
    shapes = [(8, 4, 3, 3), (4, 8, 1, 1), (8, 4, 3, 3), (8, 36)]
    weights = [matrices(*shape, seed=i) for i, shape in enumerate(shapes)]
    gradients = [matrices(*shape, seed=9 + i) for i, shape in enumerate(shapes)]
    alone = [stepped([w], [g])[0] for w, g in zip(weights, gradients, strict=True)]
    together = stepped(weights, gradients)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(alone, together, strict=True))


def test_the_layout_of_a_convolution_makes_no_difference():
    weight, gradient = matrices(8, 4, 3, 3), matrices(8, 4, 3, 3, seed=1)
    plain = stepped([weight], [gradient])[0]
    last = stepped([weight.to(memory_format=torch.channels_last)], [gradient])[0]
    assert torch.allclose(plain, last, atol=1e-6)


def test_only_convolutions_between_features_step_by_it():
    method = EGGANW(CONFIG, 0, torch.device("cpu"))
    names = {weight: name for name, weight in method.editor.named_parameters()}
    inner = {names[weight] for weight in method.optimizers["inner"].param_groups[0]["params"]}
    assert inner == {
        name
        for weight, name in names.items()
        if weight.ndim == 4 and name.split(".")[0] in ("down", "shrink", "widen", "up")
    }
    mine = method.optimizers["editor"].param_groups[0]["params"]
    assert len(inner) + len(mine) == sum(len(list(n.parameters())) for n in method.networks.values())


def test_a_state_with_another_momentum_or_none_at_all_is_refused():
    method = EGGANW(CONFIG, 0, torch.device("cpu"))
    for optimizer in method.optimizers.values():
        for weight in optimizer.param_groups[0]["params"]:
            weight.grad = torch.ones_like(weight)
        optimizer.step()
    state = method.state()
    method.load_state(state)
    state["muon"]["state"][0]["momentum"] = torch.zeros(2, 2)
    with pytest.raises(UserError, match="other moments than Muon's"):
        method.load_state(state)
    del state["muon"]
    with pytest.raises(UserError, match="does not fit this config"):
        method.load_state(state)
