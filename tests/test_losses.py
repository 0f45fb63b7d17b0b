import math
import warnings

import pytest
import pytorch_msssim
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from eggan import losses
from eggan.model_config import EGGANConfig, largest_ms_ssim_window
from eggan.on_device import constants
from tests.patterns import ROUNDING, chequers, grey, ms_ssim_of_chequers, ms_ssim_of_greys


def test_eq1_by_hand():
    prior, codes = torch.tensor([0.0, 2.0]), torch.tensor([-1.0, 0.0])
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    wanted = -(math.log(sigmoid(0)) + math.log(sigmoid(2))) / 2
    wanted -= (math.log(1 - sigmoid(-1)) + math.log(1 - sigmoid(0))) / 2
    assert losses.eq1_latent_critic(prior, codes).item() == pytest.approx(wanted, rel=1e-6)
    generator = -(math.log(sigmoid(-1)) + math.log(sigmoid(0))) / 2
    assert losses.eq1_latent_generator(codes).item() == pytest.approx(generator, rel=1e-6)


def test_wasserstein_by_hand():
    real, fake = torch.tensor([3.0, 5.0]), torch.tensor([1.0, 2.0])
    assert losses.wasserstein_critic(real, fake).item() == pytest.approx(1.5 - 4.0)
    assert losses.wasserstein_generator(fake).item() == pytest.approx(-1.5)


def test_gradient_penalty_of_a_linear_critic_is_its_closed_form():
    torch.manual_seed(0)
    weight = torch.randn(3 * 8 * 8)
    penalty = losses.gradient_penalty(lambda x: x.flatten(1) @ weight, torch.randn(5, 3, 8, 8))
    assert penalty.item() == pytest.approx((weight.norm().item() - 1) ** 2, rel=1e-5)


def test_gradient_penalty_of_a_quadratic_critic_depends_on_the_points():
    points = torch.tensor([[3.0, 4.0], [0.0, 1.0]])  # grad of |x|^2 / 2 is x: norms 5 and 1
    penalty = losses.gradient_penalty(lambda x: 0.5 * x.square().sum(1), points)
    assert penalty.item() == pytest.approx(((5 - 1) ** 2 + 0) / 2)


def test_gradient_penalty_reaches_the_critic():
    critic = nn.Linear(4, 1, bias=False)
    critic.weight.data = torch.tensor([[2.0, 0.0, 0.0, 0.0]])
    losses.gradient_penalty(lambda x: critic(x).squeeze(1), torch.randn(3, 4)).backward()
    torch.testing.assert_close(critic.weight.grad, torch.tensor([[2.0, 0.0, 0.0, 0.0]]))  # d(w-1)^2/dw at 2


def test_interpolates_lie_between_real_and_fake_and_are_detached():
    real, fake = torch.zeros(3, 2, 2, 2), torch.ones(3, 2, 2, 2, requires_grad=True)
    between = losses.interpolates(real, fake, torch.tensor([0.0, 0.25, 1.0]))
    torch.testing.assert_close(between.mean((1, 2, 3)), torch.tensor([0.0, 0.25, 1.0]))
    assert not between.requires_grad


def test_eq3_is_log_six_for_flat_logits_and_zero_for_certain_ones():
    aus = torch.rand(2, 17) * 5
    assert losses.eq3_au(torch.zeros(2, 102), aus).item() == pytest.approx(math.log(6), rel=1e-6)
    certain = 100 * torch.nn.functional.one_hot(aus.round().long(), 6).float().flatten(1)
    assert losses.eq3_au(certain, aus).item() == pytest.approx(0, abs=1e-6)


def test_eq3_rounds_to_the_nearest_level():
    logits = torch.zeros(1, 17, 6)
    logits[:, :, 3] = 100.0
    for intensity in (2.6, 3.0, 3.4):
        assert losses.eq3_au(logits.flatten(1), torch.full((1, 17), intensity)).item() < 1e-6
    assert losses.eq3_au(logits.flatten(1), torch.full((1, 17), 2.4)).item() == pytest.approx(100, rel=1e-4)


def test_eq3_without_rounding_shares_an_intensity_between_its_neighbours():
    logits = torch.randn(1, 17, 6, generator=torch.Generator().manual_seed(0))
    per_level = -logits.log_softmax(2)
    shared = losses.eq3_au_unrounded(logits.flatten(1), torch.full((1, 17), 2.4))
    wanted = (0.6 * per_level[..., 2] + 0.4 * per_level[..., 3]).mean()
    torch.testing.assert_close(shared, wanted)


def test_eq3_without_rounding_is_eq3_at_whole_intensities():
    logits = torch.randn(6, 102, generator=torch.Generator().manual_seed(0))
    whole = torch.arange(6.0)[:, None].expand(6, 17)
    torch.testing.assert_close(losses.eq3_au_unrounded(logits, whole), losses.eq3_au(logits, whole))
    assert not torch.allclose(
        losses.eq3_au_unrounded(logits, whole * 0.9), losses.eq3_au(logits, whole * 0.9)
    )


def test_eq4_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]])
    wanted = (math.log(1 + math.exp(-2)) + math.log(2)) / 2
    assert losses.eq4_identity(logits, torch.tensor([0, 1])).item() == pytest.approx(wanted, rel=1e-6)


def test_eq5_by_hand():
    source = torch.zeros(1, 2, 1, 2)
    edit, rebuilt = torch.full((1, 2, 1, 2), 3.0), torch.full((1, 2, 1, 2), 1.0)
    assert losses.eq5_perceptual(source, edit, rebuilt).item() == pytest.approx((6 + 2) / 4)
    assert losses.eq5_perceptual_squared(source, edit, rebuilt).item() == pytest.approx(9 + 1)


def test_eq5_has_a_finite_gradient_where_the_features_are_equal():
    source = torch.ones(2, 4, 2, 2)
    edit = source.clone().requires_grad_()
    losses.eq5_perceptual(source, edit, source).backward()
    assert edit.grad.isfinite().all()


def test_eq6_l1_by_hand():
    assert losses.eq6_l1(torch.full((1, 3, 2, 2), 0.5), torch.zeros(1, 3, 2, 2)).item() == pytest.approx(0.5)


@pytest.mark.parametrize(("size", "window"), [(64, 3), (128, 7)])
def test_eq6_ms_ssim_is_zero_for_equal_images_and_grows_with_noise(size, window):
    torch.manual_seed(0)
    image = torch.rand(1, 3, 8, 8).repeat_interleave(size // 8, 2).repeat_interleave(size // 8, 3) * 2 - 1
    noise = torch.randn_like(image)
    values = [
        losses.eq6_ms_ssim((image + s * noise).clamp(-1, 1), image, window).item() for s in (0, 0.1, 0.4)
    ]
    assert values[0] == pytest.approx(0, abs=1e-5)
    assert values[0] < values[1] < values[2] <= 1


@pytest.mark.parametrize("level", [8, 64, 128, 220])
def test_eq6_of_a_uniform_offset_is_its_closed_form(level):
    image, rebuilt = grey(level), grey(level + 10)
    expected = 1 - ms_ssim_of_greys(level + 10, level)
    assert losses.eq6_ms_ssim(rebuilt, image, 3).item() == pytest.approx(expected, abs=ROUNDING)
    assert losses.eq6_l1(rebuilt, image).item() == pytest.approx(10 / 127.5, rel=1e-5)


@pytest.mark.parametrize("contrast", [0.0, 0.5, 0.9])
def test_eq6_of_a_change_of_contrast_is_its_closed_form(contrast):
    image = chequers(0.8)
    expected = 1 - ms_ssim_of_chequers(0.8, contrast)
    assert losses.eq6_ms_ssim(contrast * image, image, 3).item() == pytest.approx(expected, abs=ROUNDING)
    assert losses.eq6_l1(contrast * image, image).item() == pytest.approx((1 - contrast) * 0.8, rel=1e-5)


def test_the_gradient_of_eq6_asks_the_host_for_nothing():
    """That of `torch.prod` and `cumprod` asks whether a factor is 0; no tool sees it on a CPU."""
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    rebuilt = (0.9 * image).requires_grad_()
    waiting, seen = [losses.eq6_ms_ssim(rebuilt, image, 3).grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting.extend(following for following, _ in node.next_functions)
    names = {node.name() for node in seen}
    assert "MulBackward0" in names
    assert not any("prod" in name.lower() for name in names)


def test_eq6_ms_ssim_ignores_autocast():
    torch.manual_seed(0)
    image = torch.rand(2, 3, 64, 64) * 2 - 1
    other = (image + 0.05 * torch.randn_like(image)).clamp(-1, 1)
    plain = losses.eq6_ms_ssim(other, image, 3)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(losses.eq6_ms_ssim(other, image, 3), plain)


@given(st.sampled_from([64, 128, 192, 256]), st.integers(1, 21))
def test_the_ms_ssim_window_is_checked_when_the_config_is_built(size, window):
    fits = window % 2 == 1 and size > (window - 1) * 16
    assert fits == (window % 2 == 1 and window <= largest_ms_ssim_window(size))
    if fits:
        assert EGGANConfig(image_size=size, ms_ssim_window=window).ms_ssim_window == window
    else:
        with pytest.raises(ValueError, match="at most"):
            EGGANConfig(image_size=size, ms_ssim_window=window)


def true_edit_pair():
    """A grey picture and the same with a bright square of 4 x 4 pixels."""
    source = torch.zeros(2, 3, 32, 32)
    truth = source.clone()
    truth[0, :, 10:14, 10:14] = 0.5
    return source, truth


def test_change_weight_is_where_the_truth_differs():
    source, truth = true_edit_pair()
    weight = losses.change_weight(source, truth, full=0.25)
    assert weight.shape == (2, 1, 32, 32)
    assert weight[1].abs().max() == 0  # nothing to do
    assert weight[0, 0, 11, 11] == 1
    assert weight[0, 0, 9, 11] == pytest.approx(1 / 3)  # the rim of 3 x 3
    assert weight[0, 0, 9, 9] == pytest.approx(1 / 9)
    assert weight[0, 0, 8].abs().max() == 0
    assert losses.change_weight(source, truth, full=1.0)[0, 0, 11, 11] == 0.5


def test_weighted_l1_does_not_depend_on_how_many_pixels_change():
    for side in (2, 8, 24):
        source, truth = torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32)
        truth[:, :, :side, :side] = 0.5
        weight = (truth[:, :1] > 0).float()
        assert losses.weighted_l1(source, truth, weight, floor=0.0).item() == pytest.approx(0.5)
        assert losses.weighted_l1(truth, truth, weight, floor=0.0) == 0
        share = (side / 32) ** 2
        floored = losses.weighted_l1(source, truth, weight, floor=share)
        assert floored.item() == pytest.approx(0.25)  # half of the weight is the floor's


def test_weighted_l1_averages_over_images_and_ignores_what_has_no_weight():
    source, truth = true_edit_pair()
    weight = losses.change_weight(source, truth, full=0.25)
    wrong = truth.clone()
    wrong[0, :, :8] = 1.0  # where nothing changes
    assert losses.weighted_l1(wrong, truth, weight, floor=0.01) == 0
    alone = losses.weighted_l1(source[:1], truth[:1], weight[:1], floor=0.01)
    assert losses.weighted_l1(source, truth, weight, floor=0.01).item() == pytest.approx(alone.item() / 2)


def test_weighted_gradient_l1_sees_edges_and_no_offset():
    ones = torch.ones(1, 1, 8, 8)
    ramp = torch.linspace(0, 0.7, 8).expand(1, 3, 8, 8)
    flat = torch.zeros(1, 3, 8, 8)
    assert losses.weighted_gradient_l1(ramp + 0.2, ramp, ones, floor=0.0).item() == pytest.approx(0, abs=1e-6)
    assert losses.weighted_gradient_l1(ramp, flat, ones, floor=0.0).item() == pytest.approx(0.1 / 2)


def test_dissimilarity_is_zero_for_equals_and_float32_under_autocast():
    torch.manual_seed(0)
    image, other = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) * 2 - 1
    assert losses.dissimilarity(image, image, 7).item() == pytest.approx(0, abs=1e-6)
    plain = losses.dissimilarity(image, other, 7)
    assert plain > 0.5
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(losses.dissimilarity(image, other, 7), plain)


def test_flow_roughness_of_a_constant_and_of_a_slope():
    flow = torch.full((1, 2, 8, 8), 3.0)
    assert losses.flow_roughness(flow) == 0
    flow[:, 0] += torch.arange(8.0)  # one unit per pixel, horizontally, in one of two components
    assert losses.flow_roughness(flow).item() == pytest.approx(0.5)


def test_half_painted_is_nothing_but_where_two_pictures_show_at_once():
    moved, colour = torch.full((1, 3, 2, 2), -0.5), torch.full((1, 3, 2, 2), 0.3)
    paint = torch.tensor([[[[0.0, 1.0], [0.5, 0.25]]]])
    expected = 0.8 * (0 + 0 + 1 + 0.75) / 4
    assert losses.half_painted(moved, colour, paint).item() == pytest.approx(expected)
    assert losses.half_painted(moved, moved, paint) == 0


def test_feature_l1_is_relative_to_the_truth():
    truth = [torch.full((1, 2, 4, 4), 2.0), torch.full((1, 3, 2, 2), 10.0)]
    edit = [torch.full((1, 2, 4, 4), 3.0), torch.full((1, 3, 2, 2), 5.0)]
    magnitudes = losses.mean_magnitudes(truth)
    assert torch.equal(magnitudes, torch.tensor([2.0, 10.0]))
    assert losses.feature_l1(edit, truth, magnitudes).item() == pytest.approx(0.5)
    tenfold = [10 * f for f in edit], [10 * f for f in truth]
    assert losses.feature_l1(*tenfold, 10 * magnitudes).item() == pytest.approx(0.5)
    assert losses.feature_l1(truth, truth, magnitudes) == 0


def test_gradients_of_feature_l1_lie_as_the_features_do():
    truth, edit = torch.randn(2, 2, 8, 4, 4).unbind()
    laid_out = edit.contiguous(memory_format=torch.channels_last).requires_grad_()
    losses.feature_l1([laid_out], [truth], torch.ones(1)).backward()
    assert laid_out.grad.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(laid_out.grad, (laid_out - truth).sign() / truth.numel())


@pytest.mark.parametrize("window", [3, 7])
def test_structural_losses_are_the_packages_own_with_constants_made_on_the_device(window):
    """To the last bit, for images that lie alike: window and weights are the package's, in value and order of
    operations.
    """
    a, b = torch.rand(2, 2, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    halves = [((image + 1) / 2).contiguous(memory_format=torch.channels_last) for image in (a, b)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole, one = losses.eq6_ms_ssim(a, b, window), losses.dissimilarity(a, b, window)
    assert torch.equal(whole, 1 - pytorch_msssim.ms_ssim(*halves, data_range=1.0, win_size=window))
    assert torch.equal(one, 1 - pytorch_msssim.ssim(*halves, data_range=1.0, win_size=window))


def test_constants_equal_those_of_the_host():
    values = (0.1, 1 / 3, -2.5e-8)
    assert torch.equal(constants(values, torch.device("cpu")), torch.tensor(values))
