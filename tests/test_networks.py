import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eggan.model import EGGAN, ENTRY
from eggan.networks import (
    CLASSIFIERS,
    Classifier,
    ClassifierFeatures,
    Encoder,
    Generator,
    ImageDiscriminator,
    ImageNetFeatures,
    InstanceNorm2d,
    LatentDiscriminator,
    ModulatedNorm,
    PReLU,
    _nearest_then,
    au_levels,
    expected_intensity,
    parameter_count,
)
from tests.operations import Operations
from tests.tiny import narrow_config


@pytest.mark.parametrize("size", [64, 128])
@pytest.mark.parametrize("conditioning", ["concat", "film"])
def test_generator_starts_at_a_sixty_fourth_and_reaches_the_image_size(size, conditioning):
    generator = Generator(size, 8, (8, 8, 8, 8, 4, 4), conditioning)
    image = generator(torch.randn(2, 8), torch.rand(2, 17) * 5)
    assert generator.grid == size // 64
    assert image.shape == (2, 3, size, size)
    assert image.abs().max() <= 1


@pytest.mark.parametrize("conditioning", ["concat", "film"])
def test_generator_depends_on_the_latent_code_and_on_the_aus(conditioning):
    torch.manual_seed(0)
    generator = Generator(64, 8, (8, 8, 8, 8, 4, 4), conditioning)
    latent, aus = torch.randn(1, 8), torch.zeros(1, 17)
    base = generator(latent, aus)
    assert (generator(latent + 1, aus) - base).abs().max() > 1e-3
    assert (generator(latent, aus + 5) - base).abs().max() > 1e-3


@pytest.mark.parametrize("size", [64, 128])
def test_shapes_of_the_other_networks(size):
    images = torch.rand(2, 3, size, size) * 2 - 1
    assert Encoder(size, (4, 4, 4, 4, 8), 10)(images).shape == (2, 10)
    assert ImageDiscriminator((4, 4, 4, 4, 4, 1))(images).shape == (2,)
    assert LatentDiscriminator(10, (8, 8, 8, 8, 8, 1))(torch.randn(2, 10)).shape == (2,)
    classifier = Classifier("narrow", 0.5, size, 102)
    assert au_levels(classifier(images)).shape == (2, 17, 6)
    assert classifier.features(images, 3).shape == (2, 32, size // 4, size // 4)


def test_parameter_counts_of_the_paper_preset():
    counts = EGGAN(ENTRY.presets["paper"], 0, torch.device("cpu")).parameter_counts()
    assert counts == {
        "encoder": 1_746_416,
        "generator": 11_156_323,
        "latent_critic": 109_569,
        "image_critic": 2_796_001,
        "c_exp": 20_865_574,
    }


def test_parameter_counts_by_hand():
    # E: sum of 16 a b + b over (3, 16, 32, 64, 128, 256), then 256 * 4 * 4 inputs to 256 codes
    convs = sum(16 * a * b + b for a, b in [(3, 16), (16, 32), (32, 64), (64, 128), (128, 256)])
    assert parameter_count(Encoder(128, (16, 32, 64, 128, 256), 256)) == convs + 4096 * 256 + 256
    widths = (256, 256, 128, 64, 32, 16, 1)
    wanted = sum(a * b + b for a, b in itertools.pairwise(widths))
    assert parameter_count(LatentDiscriminator(256, widths[1:])) == wanted


def test_image_critic_treats_samples_independently():
    torch.manual_seed(0)
    critic, images = ImageDiscriminator((4, 4, 4, 4, 4, 1)), torch.randn(3, 3, 64, 64)
    torch.testing.assert_close(critic(images)[1:2], critic(images[1:2]))


def test_prelu_equals_torch_in_value_and_gradients():
    torch.manual_seed(0)
    ours, theirs = PReLU(4).double(), nn.PReLU(4).double()
    ours.slope.data = torch.randn(4).double()
    theirs.weight.data = ours.slope.data.clone()
    x = torch.randn(3, 4, 5, 5).double().requires_grad_()
    y = x.detach().clone().requires_grad_()
    weight = torch.randn(3, 4, 5, 5).double()
    (ours(x) * weight).sum().backward()
    (theirs(y) * weight).sum().backward()
    torch.testing.assert_close(x.grad, y.grad)
    torch.testing.assert_close(ours.slope.grad, theirs.weight.grad, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours(x), theirs(y))


def test_film_norm_is_instance_norm_with_a_gain_and_shift_of_its_own_sample():
    torch.manual_seed(0)
    norm = ModulatedNorm(4, 6, "film")
    x, condition = torch.randn(3, 4, 8, 8), torch.randn(3, 6)
    gain, shift = norm.film(condition)[:, :, None, None].chunk(2, dim=1)
    torch.testing.assert_close(
        norm(x, condition), F.instance_norm(x) * (1 + gain) + shift, rtol=1e-4, atol=1e-5
    )


def test_instance_norm_is_torchs_own_forth_and_back():
    torch.manual_seed(0)
    theirs, ours = nn.InstanceNorm2d(6, affine=True), InstanceNorm2d(6)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter)
    ours.load_state_dict(theirs.state_dict())
    x, wanted = 3 + torch.randn(2, 6, 5, 7), torch.randn(2, 6, 5, 7)
    found = []
    for norm in (theirs, ours):
        at = x.clone().requires_grad_(True)
        out = norm(at)
        (out * wanted).sum().backward()
        found.append([out.detach(), at.grad, *(own.grad for own in norm.parameters())])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-5)


def test_classifier_features_are_the_first_activation_of_the_block():
    torch.manual_seed(0)
    classifier = Classifier("narrow", 0.5, 64, 7).eval()
    images = torch.randn(2, 3, 64, 64)
    first = classifier.blocks[0]
    second = classifier.blocks[1]
    by_hand = second[2](second[1](second[0](F.max_pool2d(first(images), 2))))
    torch.testing.assert_close(ClassifierFeatures(classifier, 2)(images), by_hand)


def by_blocks(classifier: Classifier, images: Tensor) -> Tensor:
    x = images
    for block in classifier.blocks:
        x = F.max_pool2d(block(x), 2)
    return classifier.head(x.flatten(1))


def test_a_classifier_that_learns_is_to_the_bit_its_blocks_each_pooled_once_rectified():
    classifier = Classifier("narrow", 0.5, 64, 7)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)) * 2 - 1
    images.requires_grad_()
    logits, by_hand = classifier(images), by_blocks(classifier, images)
    assert torch.equal(logits, by_hand)
    mine, wanted = (torch.autograd.grad(value.square().sum(), images)[0] for value in (logits, by_hand))
    assert wanted.any()
    assert torch.equal(mine, wanted)


def test_norms_that_learn_no_more_are_a_part_of_the_convolutions():
    """Values and all gradients are those of the blocks, in float64; a step of training counts at once."""
    torch.manual_seed(0)
    classifier = Classifier("narrow", 0.5, 64, 7).double()
    images = torch.randn(4, 3, 64, 64, dtype=torch.float64).requires_grad_()
    for norm in classifier.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.uniform_(norm.weight, -2, 2)
            nn.init.normal_(norm.bias)
    for _ in range(2):
        classifier.train()(images)  # moves the running means
        classifier.eval()
        found = []
        for logits in (classifier(images), by_blocks(classifier, images)):
            found.append(
                [
                    logits.double(),
                    *torch.autograd.grad(logits.square().sum(), [images, *classifier.parameters()]),
                ]
            )
        for ours, wanted in zip(*found, strict=True):
            torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=1e-5)  # logits are float32
    with Operations() as computed:
        classifier(images)
    assert not [name for name in computed.names if "batch_norm" in name]


@pytest.mark.parametrize(("block", "shape"), [(1, (64, 32, 32)), (3, (256, 8, 8))])
def test_imagenet_features_stop_at_the_named_activation(block, shape):
    convolutions, before = [], 3
    for count, channels in zip(*CLASSIFIERS["vgg19"], strict=True):
        for _ in range(count):
            convolutions.append((torch.randn(channels, before, 3, 3) * 0.05, torch.zeros(channels)))
            before = channels
    features = ImageNetFeatures(convolutions, block)(torch.rand(2, 3, 32, 32) * 2 - 1)
    assert features.shape == (2, *shape)
    assert features.min() == 0


def test_expected_intensity_of_certain_logits():
    logits = torch.full((1, 17, 6), -50.0)
    levels = torch.arange(17) % 6
    logits[0, torch.arange(17), levels] = 50.0
    torch.testing.assert_close(expected_intensity(logits.flatten(1)), levels[None].float())


def test_equal_seeds_give_equal_networks_and_other_seeds_others():
    device = torch.device("cpu")
    one, same, other = (EGGAN(narrow_config(), seed, device) for seed in (1, 1, 2))
    for a, b in zip(one.encoder.parameters(), same.encoder.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(one.encoder.code.weight, other.encoder.code.weight)


def test_up_sampling_starts_as_nearest_neighbour_and_a_three_by_three_convolution():
    torch.manual_seed(0)
    kernels, x = torch.randn(4, 3, 3, 3), torch.randn(2, 4, 5, 5)
    ours = F.conv_transpose2d(x, _nearest_then(kernels), stride=2, padding=1)
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
    plain = F.conv2d(doubled, kernels.transpose(0, 1).flip(2, 3), padding=1)
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)
