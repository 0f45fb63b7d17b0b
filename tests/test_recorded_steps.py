"""Steps that are recorded and replayed do what steps launched kernel by kernel do."""

import dataclasses

import pytest
import torch

from eggan import networks, recorded_steps
from eggan.conformance.checks import differences, flat
from eggan.data.training_set import load_training_set
from eggan.errors import UserError
from eggan.recorded_steps import SWITCH, Recordable, Steps
from eggan.trained_networks import TrainedNetworks
from eggan.training import TrainingConfig, learning_rate_factor, make_batch
from tests.kernel_recording import Kernels, record_kernels
from tests.test_conformance import TINY, TRAINED
from tests.tiny import tiny_dataset

CPU = torch.device("cpu")
STEPS = 9
FEW = TrainingConfig(batch_size=2)
# Every kind of step comes often enough to be launched, recorded and replayed, and every number changes.
CHANGES = {
    "eggan": {"rec_warm_steps": 3, "moments_after_warm": "fresh", "ema_decay": 0.9, "critic_steps": 2},
    "stargan": {"warm_steps": 3, "critic_steps": 2},
    "homointerpgan": {"warm_steps": 3, "encoder_interval": 2},
    "ganimation": {"warm_steps": 3, "critic_steps": 2},
    "eggan-w": {"disturb_after": 2, "warm_up_steps": 5},
}
KINDS = {"eggan": 3, "stargan": 3, "homointerpgan": 3, "ganimation": 3, "eggan-w": 2, "eggan-w-unpaired": 1}


@pytest.fixture(autouse=True)
def few_launched_steps(monkeypatch):
    monkeypatch.setattr(recorded_steps, "LAUNCHED", 1)


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    """EGGAN's norms are torch's operations there, which can be recorded."""
    monkeypatch.setattr(networks, "_trains_on_a_cpu", lambda x: False)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "tiny"
    return load_training_set(tiny_dataset(folder, grouped=True), ("train",), "cpu")


def small(name):
    """A tiny method whose numbers lie in memory, as on a GPU."""
    config = dataclasses.replace(TINY[name].config, **CHANGES.get(name, {}))
    torch.manual_seed(0)  # of EGGAN's C_id
    method = TINY[name].construct(config, CPU)
    method.numbers_on = CPU
    return method


def trained(method, data, record=None, steps=STEPS):
    """Take some steps and return the steps and the terms of each."""
    taken, history = Steps(method, "off", CPU, record), []
    for step in range(steps):
        method.set_learning_rate(learning_rate_factor(step / steps, 0.5))
        batch = make_batch(data, FEW, 0, step, generator=taken.generator)
        history.append({name: float(term) for name, term in taken.take(batch, step).items()})
    return taken, history


@pytest.mark.parametrize("name", TRAINED)
def test_replayed_steps_are_launched_ones_to_the_last_bit(name, data):
    launched, replayed = small(name), small(name)
    with Kernels():  # noting kernels changes the rounding of some gradients
        _, wanted = trained(launched, data)
    taken, found = trained(replayed, data, record_kernels)
    assert set(taken.recordings) == {replayed.kind_of_step(step) for step in range(STEPS)}
    assert len(taken.recordings) == KINDS[name]
    assert found == wanted
    assert differences(flat(launched.state()), flat(replayed.state())) == []


@pytest.mark.parametrize("name", TRAINED)
def test_numbers_in_memory_and_plain_ones_train_alike(name, data):
    plain, in_memory = small(name), small(name)
    plain.numbers_on = None
    for method in (plain, in_memory):
        trained(method, data, steps=1)  # more, and a gradient that is 0 but for rounding moves a bias
    one, other = (flat(method.state()["networks"]) for method in (plain, in_memory))
    for key, value in one.items():
        torch.testing.assert_close(value, other[key], rtol=1e-4, atol=1e-5)


def test_a_number_that_a_step_works_out_itself_would_stay_as_it_was(data):
    class Forgetful(type(small("eggan-w"))):
        def take_step(self, batch, kind):
            self.set_rate("editor", 0.01 * float(self._numbers["decay"]))
            return super().take_step(batch, kind)

    launched, replayed = small("eggan-w"), small("eggan-w")
    for method in (launched, replayed):
        method.__class__ = Forgetful
    assert trained(launched, data)[1] != trained(replayed, data, record_kernels)[1]


def test_a_step_that_cannot_be_recorded_is_launched_and_said(data, capsys):
    def refuse(step, generator):
        step()
        raise RuntimeError("operation not permitted\nwhen stream is capturing")

    plain, refused = small("stargan"), small("stargan")
    _, wanted = trained(plain, data)
    taken, found = trained(refused, data, refuse)
    assert taken.recordings == {}
    assert len(found) == len(wanted)
    (line,) = capsys.readouterr().out.splitlines()
    assert line == (
        "a step (warm) cannot be recorded, so all are launched kernel by kernel: "
        "operation not permitted when stream is capturing"
    )


def test_a_method_of_ones_own_is_launched(data):
    class Plain(TrainedNetworks):
        def update(self, batch, step):
            return {"loss": batch.image.mean() + step}

    plain = Plain("Plain", {"one": torch.nn.Linear(1, 1)}, dict, ("one",), "shared")
    assert not isinstance(plain, Recordable)
    taken = Steps(plain, "off", CPU, record_kernels)
    assert taken.generator is None
    assert float(taken.take(make_batch(data, FEW, 0, 3), 3)["loss"]) > 0


def test_the_switch_has_two_values(monkeypatch):
    monkeypatch.setenv(SWITCH, "yes")
    with pytest.raises(UserError, match="EGGAN_CUDA_GRAPHS is 'yes': set it to 0 or 1"):
        Steps(small("stargan"), "off", CPU)


def test_a_state_keeps_plain_learning_rates_and_goes_on_on_another_device(data):
    method, other = small("eggan"), small("eggan")
    trained(method, data, steps=4)
    state = method.state()
    rates = [group["lr"] for part in state["optimizers"].values() for group in part["param_groups"]]
    assert all(type(rate) is float for rate in rates)
    for part in state["optimizers"].values():
        for group in part["param_groups"]:
            group["capturable"] = True  # as written on a GPU
    other.load_state(state)
    assert not any(group["capturable"] for o in other.optimizers.values() for group in o.param_groups)
    method.load_state(method.state())
    assert differences(flat(method.state()), flat(other.state())) == []
