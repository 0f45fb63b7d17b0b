"""What every entry of METHODS must do. A new method is tested by adding its tiny config to TINY."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from baselines.ganimation import GANimation
from baselines.homointerpgan import HomoInterpGAN
from baselines.references import Reference
from baselines.stargan import StarGAN
from benchmarks.suites.methods import METHODS
from eggan.config import from_dict, to_dict
from eggan.conformance.checks import (
    CHECKS,
    ROUND,
    Subject,
    differences,
    failure_of,
    flat,
    modes_of,
    parameters_of,
)
from eggan.data.training_set import load_training_set
from eggan.errors import UserError
from eggan.method import EditRequest, Method, MethodEntry, ReconstructionRequest, Reconstructs
from eggan.model import EGGAN
from eggan.networks import Classifier, ClassifierFeatures
from eggan.training import TrainingConfig, make_batch
from eggan.warp import EGGANW
from eggan.warp_unpaired import UnpairedEGGANW
from tests.fake_device import META, NoUploads, fake_data
from tests.tiny import context, narrow_config, tiny_dataset

BATCH = TrainingConfig(batch_size=4)
FIELDS = {field.name for field in dataclasses.fields(EditRequest)}


@dataclass(frozen=True)
class Tiny:
    """A small config at 64 px, and the method made from it alone, without a dataset, on a device.

    `inert` are parameters without a gradient by construction: the last bias of a Wasserstein critic cancels
    in the difference of its means.
    """

    config: Any
    construct: Callable[[Any, torch.device], Method]
    inert: frozenset[str] = frozenset()


def tiny_eggan(config, device):
    c_id = Classifier(config.classifier, config.classifier_width, 64, 3).to(device).requires_grad_(False)
    return EGGAN(config, 0, device, c_id, ClassifierFeatures(c_id, 3))


def tiny_unpaired(config, device):
    c_id = Classifier(config.classifier, config.classifier_width, 64, 3).to(device).requires_grad_(False)
    return UnpairedEGGANW(config, 0, device, c_id)


def smaller(name: str, **changes):
    return dataclasses.replace(METHODS[name].presets["cpu"], **changes)


TINY: dict[str, Tiny] = {
    "eggan": Tiny(narrow_config(), tiny_eggan, frozenset({"image_critic.convs.5.bias"})),
    "stargan": Tiny(
        smaller("stargan", width=4, critic_width=2, residual_blocks=1, warm_steps=0),
        lambda c, d: StarGAN(c, 0, d),
    ),
    "homointerpgan": Tiny(
        smaller("homointerpgan", width=1 / 32, warm_steps=0),
        lambda c, d: HomoInterpGAN(c, 0, d),
        frozenset({"critic.score.bias"}),
    ),
    "ganimation": Tiny(
        smaller("ganimation", width=4, critic_width=2, residual_blocks=1, warm_steps=0),
        lambda c, d: GANimation(c, 0, d),
    ),
    "eggan-w": Tiny(
        smaller(
            "eggan-w",
            channels=(8, 8),
            blocks=1,
            detail_channels=6,
            embedding=8,
            reader_channels=(8, 8),
            disturb_after=2,
            warm_up_steps=0,
        ),
        lambda c, d: EGGANW(c, 0, d),
    ),
    "eggan-w-unpaired": Tiny(
        smaller(
            "eggan-w-unpaired",
            channels=(8, 8),
            blocks=1,
            detail_channels=6,
            embedding=8,
            image_critic_channels=(4, 8, 8, 8, 8, 1),
            classifier_width=0.25,
            cid_epochs=2,
            cexp_warm_steps=0,
            pretraining_batch_size=4,
            learning_rate=0.02,  # at once far from the sources: of two like batches a critic learns nothing
        ),
        tiny_unpaired,
        frozenset({"image_critic.convs.5.bias"}),
    ),
}
TRAINED = [name for name, entry in METHODS.items() if isinstance(entry, MethodEntry)]
REFERENCES = [name for name, entry in METHODS.items() if isinstance(entry, Reference)]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny", grouped=True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def data(dataset):
    return load_training_set(dataset, ("train",), "cpu")


@pytest.fixture
def make(dataset, cache):
    """Build a tiny method by name: `make(name, seed=0)`."""

    def build(name: str, seed: int = 0) -> Method:
        return METHODS[name].build(TINY[name].config, context(dataset, cache, seed))

    return build


@pytest.fixture
def subject(data, make):
    """Return a tiny method as the checks take it: `subject(name)`."""

    def of(name: str) -> Subject:
        return Subject(METHODS[name], TINY[name].config, lambda seed: make(name, seed), data)

    return of


def test_every_method_has_a_tiny_config():
    assert set(TINY) == set(TRAINED)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", TRAINED)
def test_a_method_keeps_its_contract(name, check, subject):
    assert failure_of(CHECKS[check], subject(name)) == ""


@pytest.mark.parametrize("name", METHODS)
def test_an_entry_says_what_it_is(name):
    entry = METHODS[name]
    assert entry.name == name
    assert entry.title
    assert entry.version >= 1
    assert set(entry.reads) <= FIELDS | ({"truth"} if name in REFERENCES else set())


@pytest.mark.parametrize("name", TRAINED)
def test_presets_are_configs_with_a_source_for_every_value(name):
    entry = METHODS[name]
    assert {"paper", "cpu"} <= set(entry.presets)
    assert entry.presets["paper"].image_size == 128
    assert entry.presets["cpu"].image_size == 64
    for preset in entry.presets.values():
        assert from_dict(entry.config, to_dict(preset)) == preset
    assert all(field.metadata.get("source") for field in dataclasses.fields(entry.config))


@pytest.mark.parametrize("name", [n for n in REFERENCES if METHODS[n].edit is not None])
@pytest.mark.parametrize("count", [1, 3])
def test_a_reference_keeps_shape_and_range(name, count, subject):
    request = subject(TRAINED[0]).request(*range(count))
    answer = METHODS[name].edit(request, request.reference)
    assert answer.shape == request.source.shape
    assert answer.abs().max() <= 1


def as_they_are(request: EditRequest, expression: Tensor) -> ReconstructionRequest:
    return ReconstructionRequest(request.source, request.source_aus, expression)


@pytest.mark.parametrize("name", TRAINED)
def test_reconstructions_keep_shape_and_range_for_any_batch_and_leave_no_trace(name, make, data, subject):
    method = make(name)
    if not isinstance(method, Reconstructs):
        pytest.skip(f"{name} offers no self-reconstruction")
    subject(name).train(method, 0, 1)
    modes = modes_of(method)
    before, random = flat(method.state()), torch.get_rng_state()
    many = method.reconstruct(as_they_are(subject(name).request(0, 1, 2), data.expression[:3]))
    one = method.reconstruct(as_they_are(subject(name).request(1), data.expression[1:2]))
    assert (many.shape, one.shape) == ((3, 3, 64, 64), (1, 3, 64, 64))
    assert many.dtype == torch.float32
    assert not many.requires_grad
    assert many.abs().max() <= 1
    assert torch.allclose(many[1:2], one, atol=1e-4)
    assert not differences(before, flat(method.state()))
    assert modes_of(method) == modes
    assert torch.equal(random, torch.get_rng_state())


@pytest.mark.parametrize("name", TRAINED)
def test_a_reconstruction_is_the_edit_that_asks_for_what_is_there(name, make, data, subject):
    """HomoInterpGAN is not asked by a reference: there it is the edit at v = 0."""
    method, request, own = make(name), subject(name).request(0, 1, 2), data.expression[:3]
    subject(name).train(method, 0, 1)
    still = dataclasses.replace(request, target_aus=request.source_aus, target_expression=own)
    if name == "homointerpgan":
        method.config = dataclasses.replace(method.config, strength=(0.0,) * len(method.config.strength))
    assert torch.allclose(method.reconstruct(as_they_are(request, own)), method.edit(still), atol=1e-5)


@pytest.mark.parametrize("name", TRAINED)
def test_updates_change_all_of_the_methods_own_parameters_and_no_others(name, subject):
    method = subject(name).build(0)
    own, held = parameters_of(method, trainable=True), parameters_of(method, trainable=False)
    random = torch.get_rng_state()
    subject(name).train(method, 0, ROUND)
    still = set(own) - set(differences(own, parameters_of(method, trainable=True)))
    assert {key.removeprefix("networks.").replace("..", ".") for key in still} == TINY[name].inert
    assert differences(held, parameters_of(method, trainable=False)) == []
    assert torch.equal(random, torch.get_rng_state())  # every draw comes from the batch's generator


@pytest.mark.parametrize("name", TRAINED)
def test_states_that_do_not_fit_are_refused(name, make):
    method = make(name)
    with pytest.raises(UserError, match="version"):
        method.load_state(method.state() | {"version": -1})
    with pytest.raises(UserError, match="does not fit"):
        method.load_state(method.state() | {"networks": {}})


@pytest.mark.parametrize("name", TRAINED)
def test_inference_weights_that_lack_one_are_refused(name, make):
    weights = {key: value.contiguous() for key, value in make(name).inference_weights().items()}
    # A weight, not batch norm's counter of batches, which torch fills in where old files lack it.
    weights.pop(min(key for key in weights if key.endswith(".weight")))
    with pytest.raises(UserError, match="do not fit"):
        METHODS[name].restore(TINY[name].config, weights, torch.device("cpu"))


@pytest.mark.parametrize("name", TRAINED)
def test_parameters_are_counted_by_network(name, make):
    counts = make(name).parameter_counts()
    assert len(counts) >= 2
    assert all(isinstance(count, int) and count > 0 for count in counts.values())


def steps_of_each_kind(method: Method) -> list[int]:
    """Return two steps of each kind, as far as there are: the first makes the optimisers' moments, and of
    further ones the method knows nothing but their kind.
    """
    kinds = [method.kind_of_step(step) for step in range(ROUND)]
    return [step for step, kind in enumerate(kinds) if kinds[:step].count(kind) < 2]


@pytest.mark.parametrize("name", TRAINED)
def test_updates_stay_on_their_device_and_never_wait_for_it(name, fake):
    method = TINY[name].construct(TINY[name].config, META)
    for step in steps_of_each_kind(method):
        batch = make_batch(fake_data(grouped=True), BATCH, 0, step)
        with NoUploads():
            terms = method.update(batch, step)
        method.set_learning_rate(0.5)
    assert {term.device.type for term in terms.values()} == {"meta"}
