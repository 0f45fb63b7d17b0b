import os
import shutil
import signal
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from eggan.checkpoint import (
    CONFIG_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    load_checkpoint,
    load_training_state,
    model_card,
    save_checkpoint,
)
from eggan.config import from_dict
from eggan.errors import UserError
from eggan.files import write_atomically
from eggan.method import Method
from eggan.model import build
from eggan.precision import autocast, resolve_precision
from eggan.training import (
    Interrupted,
    TrainingConfig,
    TrainingFailed,
    TrainingResult,
    learning_rate_factor,
    train,
)
from tests.tiny import context, narrow_config, tiny_dataset

CPU = torch.device("cpu")
SHORT = TrainingConfig(batch_size=4, images=24, autocast="off", log_every=2, probe_every=100)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return tiny_dataset(tmp_path_factory.mktemp("data") / "tiny")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def quiet(items, total, description):
    return items


def run(dataset, cache, folder, config=SHORT, method=None, **options):
    model_config = narrow_config(ema_decay=0.9)
    method = method or build(model_config, context(dataset, cache))
    card = model_card("eggan", 1, model_config, 64)
    options = {"seed": 0, "device": CPU, "progress": quiet, **options}
    return method, train(method, dataset, config, card, run_folder=folder, **options)


def weights_of(method):
    parts = {**method.networks, **{f"average-{k}": v for k, v in method.average.items()}}
    return {f"{n}.{k}": v for n, net in parts.items() for k, v in net.state_dict().items()}


def assert_equal_weights(one, other):
    one, other = weights_of(one), weights_of(other)
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


@dataclass(frozen=True)
class Whole:
    """A training that nothing has interrupted; `logs` are the values that it logged."""

    method: Method
    result: TrainingResult
    folder: Path
    logs: list[dict[str, float]]


@pytest.fixture(scope="module")
def whole(dataset, cache, tmp_path_factory) -> Whole:
    folder, logs = tmp_path_factory.mktemp("whole"), []
    trained = run(dataset, cache, folder, on_log=lambda step, values: logs.append(values))
    return Whole(*trained, folder, logs)


@pytest.fixture
def finished(whole, tmp_path) -> Path:
    """A folder of its training, to be changed."""
    return shutil.copytree(whole.folder, tmp_path / "finished")


def test_a_training_writes_a_checkpoint_that_edits_alike(whole):
    method, result = whole.method, whole.result
    assert (result.steps, result.images_seen) == (6, 24)
    checkpoint = load_checkpoint(whole.folder)
    assert (checkpoint.card.method, checkpoint.card.image_size) == ("eggan", 64)
    for name, tensor in method.inference_weights().items():
        assert torch.equal(checkpoint.weights[name], tensor)
    names = sorted(path.name for path in whole.folder.iterdir())
    assert names == sorted([CONFIG_FILE, WEIGHTS_FILE, STATE_FILE])


@pytest.mark.parametrize("stop_after", [1, 3, 5])
def test_a_killed_and_resumed_training_is_bit_for_bit_the_uninterrupted_one(
    dataset, cache, whole, tmp_path, stop_after
):
    def interrupting(items, total, description):
        for item in items:
            if item + 1 == stop_after:
                os.kill(os.getpid(), signal.SIGTERM)
            yield item

    with pytest.raises(Interrupted):
        run(dataset, cache, tmp_path / "parts", progress=interrupting)
    assert load_training_state(tmp_path / "parts", "cpu")["step"] == stop_after
    logs = []
    resumed, result = run(dataset, cache, tmp_path / "parts", on_log=lambda step, values: logs.append(step))
    assert result.steps == 6
    assert_equal_weights(whole.method, resumed)
    assert min(logs) > stop_after


def test_a_hard_kill_between_checkpoints_repeats_the_lost_steps(dataset, cache, whole, tmp_path):
    def dying(items, total, description):
        for item in items:
            if item == 4:
                raise KeyError("killed")
            yield item

    every_step = replace(SHORT, checkpoint_every_seconds=0.0)
    with pytest.raises(KeyError):
        run(dataset, cache, tmp_path / "parts", config=every_step, progress=dying)
    resumed, _ = run(dataset, cache, tmp_path / "parts")
    assert_equal_weights(whole.method, resumed)


def test_logging_probing_and_saving_do_not_change_the_weights(dataset, cache, whole, tmp_path):
    busy = replace(SHORT, log_every=1, probe_every=1, checkpoint_every_seconds=0.0)
    noisy, _ = run(
        dataset,
        cache,
        tmp_path,
        config=busy,
        on_log=lambda *a: None,
        on_probe=lambda *a: torch.randn(3),
    )
    assert_equal_weights(whole.method, noisy)


@pytest.mark.usefixtures("heeded_signals")
def test_sigint_saves_and_restores_the_old_handler(dataset, cache, tmp_path):
    before = signal.getsignal(signal.SIGINT)

    def interrupting(items, total, description):
        for item in items:
            if item == 1:
                os.kill(os.getpid(), signal.SIGINT)
            yield item

    with pytest.raises(Interrupted, match="stopped after step 2 of 6"):
        run(dataset, cache, tmp_path, progress=interrupting)
    assert signal.getsignal(signal.SIGINT) is before
    assert (tmp_path / STATE_FILE).is_file()


@pytest.mark.usefixtures("heeded_signals")
def test_a_hang_up_saves_unless_it_is_ignored(dataset, cache, tmp_path):
    def hanging_up(items, total, description):
        for item in items:
            if item == 1:
                os.kill(os.getpid(), signal.SIGHUP)
            yield item

    with pytest.raises(Interrupted, match="stopped after step 2 of 6"):
        run(dataset, cache, tmp_path / "terminal", progress=hanging_up)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # what nohup does
    try:
        _, result = run(dataset, cache, tmp_path / "nohup", progress=hanging_up)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert result.steps == 6


def test_training_works_outside_the_main_thread(dataset, cache, tmp_path):
    results = []
    thread = threading.Thread(target=lambda: results.append(run(dataset, cache, tmp_path)[1]))
    thread.start()
    thread.join()
    assert results[0].steps == 6


class Poisoned:
    """A method whose loss turns NaN at one step; everything else goes to the real one."""

    def __init__(self, method, at):
        self.method, self.at = method, at

    def __getattr__(self, name):
        return getattr(self.method, name)

    def update(self, batch, step):
        terms = self.method.update(batch, step)
        return terms | {"loss/au": torch.tensor(float("nan"))} if step == self.at else terms


def test_a_non_finite_loss_stops_before_anything_is_saved(dataset, cache, tmp_path):
    method = Poisoned(build(narrow_config(ema_decay=0.9), context(dataset, cache)), at=2)
    every_step = replace(SHORT, log_every=100, checkpoint_every_seconds=0.0)
    with pytest.raises(TrainingFailed, match="loss/au not finite by step 3"):
        run(dataset, cache, tmp_path, config=every_step, method=method)
    assert load_training_state(tmp_path, "cpu")["step"] == 2
    assert all(
        w.isfinite().all() for w in load_checkpoint(tmp_path).weights.values() if w.is_floating_point()
    )


class Spoiled(Poisoned):
    """A method whose loss is finite and whose update is not."""

    def update(self, batch, step):
        terms = self.method.update(batch, step)
        if step == self.at:
            next(self.method.networks["image_critic"].parameters()).data[0] = float("nan")
        return terms


@pytest.mark.parametrize("at", [2, SHORT.images // SHORT.batch_size - 1])
def test_weights_that_are_not_finite_are_not_saved(dataset, cache, tmp_path, at):
    """No loss says so where the step was the last one, or the last before a checkpoint."""
    method = Spoiled(build(narrow_config(ema_decay=0.9), context(dataset, cache)), at=at)
    every_step = replace(SHORT, log_every=100, checkpoint_every_seconds=0.0)
    with pytest.raises(TrainingFailed, match=rf"networks\.image_critic\..* not finite after step {at + 1}"):
        run(dataset, cache, tmp_path, config=every_step, method=method)
    state = load_training_state(tmp_path, "cpu")
    assert state["step"] == at
    assert all(weight.isfinite().all() for weight in state["method"]["networks"]["image_critic"].values())


class Deaf(Poisoned):
    """A method whose edits ignore the target."""

    def edit(self, request):
        return request.source


def test_the_collapse_alarm_flags_or_stops_a_method_that_ignores_the_target(dataset, cache, tmp_path):
    deaf = Deaf(build(narrow_config(ema_decay=0.9), context(dataset, cache)), at=-1)
    logs = []
    _, result = run(
        dataset, cache, tmp_path / "a", method=deaf, on_log=lambda step, values: logs.append(values)
    )
    assert result.alarms == ("target_ignored",)
    assert [v["alarm/target_response"] for v in logs if "alarm/target_response" in v] == [0.0]
    with pytest.raises(TrainingFailed, match="ignore the target"):
        run(dataset, cache, tmp_path / "b", config=replace(SHORT, stop_on_alarm=True), method=deaf)


def test_logs_are_means_over_the_window(dataset, cache, whole, tmp_path):
    every = []
    config = replace(SHORT, log_every=1)
    run(dataset, cache, tmp_path, config=config, on_log=lambda step, values: every.append(values))
    one, two = ([v["loss/rec_l1"] for v in logs if "loss/rec_l1" in v] for logs in (every, whole.logs))
    assert len(one) == 6
    assert two == pytest.approx([(one[k] + one[k + 1]) / 2 for k in (0, 2, 4)], rel=1e-5)


@pytest.mark.parametrize("damage", [b"", b"nonsense", None])
def test_a_corrupted_training_state_is_a_user_error(dataset, cache, finished, damage):
    path = finished / STATE_FILE
    path.write_bytes(path.read_bytes()[:5000] if damage is None else damage)
    with pytest.raises(UserError, match="corrupted"):
        run(dataset, cache, finished)


def test_a_state_of_another_version_is_a_user_error(dataset, cache, tmp_path):
    torch.save({"format_version": 99}, tmp_path / STATE_FILE)
    with pytest.raises(UserError, match="version 99"):
        run(dataset, cache, tmp_path)


def test_resuming_with_other_settings_is_refused_but_other_logging_is_not(dataset, cache, finished):
    with pytest.raises(UserError, match="other settings"):
        run(dataset, cache, finished, seed=1)
    with pytest.raises(UserError, match="other settings"):
        run(dataset, cache, finished, config=replace(SHORT, batch_size=2))
    _, result = run(dataset, cache, finished, config=replace(SHORT, log_every=3))
    assert result.steps == 6


def test_resuming_with_other_images_is_refused(dataset, cache, finished, tmp_path):
    """Another dataset with as many images and people; and another split of the same one."""
    other = tiny_dataset(tmp_path / "other", colours=1)
    assert len(other.rows("train")) == len(dataset.rows("train"))
    with pytest.raises(UserError, match="other images"):
        run(other, cache, finished)
    with pytest.raises(UserError, match="other settings"):
        run(dataset, cache, finished, config=replace(SHORT, splits=("test",)))


def test_a_state_that_does_not_name_its_dataset_is_refused(dataset, cache, finished):
    state = load_training_state(finished, "cpu")
    torch.save(
        {name: value for name, value in state.items() if name != "dataset"} | {"identity": ""},
        finished / STATE_FILE,
    )
    with pytest.raises(UserError, match="no note of its dataset"):
        run(dataset, cache, finished)


def test_a_corrupted_checkpoint_is_a_user_error(finished):
    good = (finished / CONFIG_FILE).read_text()
    (finished / CONFIG_FILE).write_text(good.replace('"format_version": 1', '"format_version": 7'))
    with pytest.raises(UserError, match="version 7"):
        load_checkpoint(finished)
    (finished / CONFIG_FILE).write_text("{")
    with pytest.raises(UserError, match="corrupted"):
        load_checkpoint(finished)
    (finished / CONFIG_FILE).write_text(good)
    (finished / WEIGHTS_FILE).write_bytes(b"\x00" * 100)
    with pytest.raises(UserError, match="corrupted"):
        load_checkpoint(finished)
    (finished / WEIGHTS_FILE).unlink()
    with pytest.raises(UserError, match="missing"):
        load_checkpoint(finished)


def test_a_full_disk_leaves_the_previous_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def full(staging):
        staging.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left on device"):
        write_atomically(path, full)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_channels_last_weights_are_saved_as_plain_tensors(tmp_path):
    weight = torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    save_checkpoint(tmp_path, model_card("eggan", 1, narrow_config(), 64), {"w": weight})
    assert torch.equal(load_checkpoint(tmp_path).weights["w"], weight)


@pytest.mark.parametrize(("done", "factor"), [(0, 1), (0.49, 1), (0.5, 1), (0.75, 0.5), (1, 0)])
def test_the_learning_rate_falls_linearly_in_the_second_half(done, factor):
    assert learning_rate_factor(done, 0.5) == pytest.approx(factor)


def test_the_budget_is_in_images_or_epochs():
    assert TrainingConfig(batch_size=8, epochs=2).total_images(100) == 200
    assert TrainingConfig(batch_size=16, images=100).total_images(7) == 96


@pytest.mark.parametrize(
    "change",
    [{"batch_size": 0}, {"images": -1}, {"images": 0, "epochs": 0.0}, {"decay_from": 2.0}, {"log_every": 0}],
)
def test_an_impossible_training_config_is_refused(change):
    with pytest.raises(ValueError, match=r"must|nothing"):
        replace(SHORT, **change)


def test_an_unknown_training_key_is_a_user_error():
    with pytest.raises(UserError, match="bach_size"):
        from_dict(TrainingConfig, {"bach_size": 3})


def test_autocast_sees_weights_that_change_within_a_step():
    layer = torch.nn.Linear(1, 1, bias=False)
    with autocast("bf16", CPU):
        layer.weight.data.fill_(1.0)
        layer(torch.ones(1, 1))
        with torch.no_grad():
            layer.weight.fill_(2.0)
        assert layer(torch.ones(1, 1)).item() == 2.0


def test_a_training_under_bf16_records_it_and_ends_with_other_but_finite_weights(
    dataset, cache, whole, tmp_path
):
    method, result = run(dataset, cache, tmp_path, config=replace(SHORT, autocast="bf16"))
    assert (result.precision, whole.result.precision) == ("bf16", "off")
    weights, usual = weights_of(method), weights_of(whole.method)
    assert all(value.isfinite().all() for value in weights.values())
    assert any(not torch.equal(weights[name], usual[name]) for name in weights)


def test_checkpoints_are_written_by_the_clock(dataset, cache, tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    saves = []

    def ticking(items, total, description):
        for item in items:
            clock[0] += 50
            yield item
            saves.append((tmp_path / STATE_FILE).is_file())

    run(dataset, cache, tmp_path, config=replace(SHORT, checkpoint_every_seconds=120.0), progress=ticking)
    assert saves[:3] == [False, False, True]


def test_the_precision_is_a_function_of_the_device_alone():
    assert resolve_precision("off", CPU) == "off"
    assert resolve_precision("bf16", CPU) == "bf16"
    assert len({resolve_precision("auto", CPU) for _ in range(3)}) == 1
