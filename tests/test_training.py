import os
import shutil
import signal
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eggan.augment import flip_some, shift_blur_noise
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
from eggan.data.images import to_network_range
from eggan.data.training_set import load_training_set, make_groups
from eggan.errors import UserError
from eggan.files import write_atomically
from eggan.method import Method
from eggan.model import build
from eggan.precision import autocast, resolve_precision
from eggan.randomness import torch_generator
from eggan.training import (
    Interrupted,
    TrainingConfig,
    TrainingFailed,
    TrainingResult,
    learning_rate_factor,
    make_batch,
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


@pytest.fixture(scope="module")
def data(dataset):
    return load_training_set(dataset, ("train",), "cpu")


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
    """A training that nothing has interrupted."""

    method: Method
    result: TrainingResult
    folder: Path


@pytest.fixture(scope="module")
def whole(dataset, cache, tmp_path_factory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    return Whole(*run(dataset, cache, folder), folder)


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


def test_logging_probing_and_saving_do_not_change_the_weights(dataset, cache, tmp_path):
    plain, _ = run(dataset, cache, tmp_path / "plain", config=replace(SHORT, log_every=100))
    busy = replace(SHORT, log_every=1, probe_every=1, checkpoint_every_seconds=0.0)
    noisy, _ = run(
        dataset,
        cache,
        tmp_path / "noisy",
        config=busy,
        on_log=lambda *a: None,
        on_probe=lambda *a: torch.randn(3),
    )
    assert_equal_weights(plain, noisy)


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


def test_logs_are_means_over_the_window(dataset, cache, tmp_path):
    one, two = [], []
    every = replace(SHORT, log_every=1)
    run(dataset, cache, tmp_path / "a", config=every, on_log=lambda s, v: one.append(v.get("loss/rec_l1")))
    run(dataset, cache, tmp_path / "b", on_log=lambda s, v: two.append(v.get("loss/rec_l1")))
    one, two = [v for v in one if v is not None], [v for v in two if v is not None]
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


@given(st.integers(2, 40), st.integers(1, 16), st.integers(0, 5))
def test_every_epoch_visits_every_row_once(count, size, seed):
    from eggan.training import _batch_rows

    epochs = 3
    steps = -(-epochs * count // size)
    rows = torch.cat([_batch_rows(count, size, seed, step, CPU)[0] for step in range(steps)])
    for epoch in range(epochs):
        assert sorted(rows[epoch * count : (epoch + 1) * count].tolist()) == list(range(count))


def test_batches_are_a_function_of_seed_and_step(data):
    config = TrainingConfig(batch_size=4, horizontal_flip=True)
    one, same, other = (make_batch(data, config, seed, 3) for seed in (0, 0, 1))
    assert torch.equal(one.image, same.image)
    assert torch.equal(one.target_aus, same.target_aus)
    assert torch.equal(torch.rand(3, generator=one.generator), torch.rand(3, generator=same.generator))
    assert not torch.equal(one.image, other.image)


def test_a_batch_is_labelled_by_its_rows(data):
    batch = make_batch(data, TrainingConfig(batch_size=12), 0, 0)
    assert batch.image.min() >= -1
    assert batch.image.max() <= 1
    assert torch.equal(batch.aus.sort(0).values, data.aus.sort(0).values)
    assert set(batch.identity.tolist()) == {0, 1, 2}


def test_only_the_named_splits_are_trained_on(dataset):
    assert len(load_training_set(dataset, ("train",), "cpu")) == 12
    assert len(load_training_set(dataset, ("train", "test"), "cpu")) == 16
    with pytest.raises(UserError, match="no images in the split val"):
        load_training_set(dataset, ("val",), "cpu")


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


def test_shift_blur_noise_keeps_the_range_of_effects():
    image = torch.rand(4, 3, 64, 64) * 2 - 1
    same = shift_blur_noise(image, torch_generator("a"), 0.0, 0.0, 0.0)
    torch.testing.assert_close(same, image, rtol=1e-4, atol=1e-4)
    one, again = (shift_blur_noise(image, torch_generator("a"), 2.0, 1.0, 0.1) for _ in range(2))
    assert torch.equal(one, again)
    ramp = torch.linspace(-1, 1, 64).expand(4, 3, 64, 64)
    moved = shift_blur_noise(ramp, torch_generator("b"), 2.0, 0.0, 0.0)
    slope = 2 / 63
    pixels = (moved - ramp)[:, 0, 8:-8, 8:-8].mean((1, 2)) / slope
    assert pixels.abs().max() <= 2.0
    assert pixels.unique().numel() == 4


def test_flip_some_mirrors_whole_images():
    image = torch.rand(32, 3, 4, 4)
    flipped = flip_some(image, torch_generator("flip"))
    mirrored = [torch.equal(a, b.flip(2)) for a, b in zip(flipped, image, strict=True)]
    kept = [torch.equal(a, b) for a, b in zip(flipped, image, strict=True)]
    assert all(m != k for m, k in zip(mirrored, kept, strict=True))
    assert 5 < sum(mirrored) < 27


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


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "grouped"
    return load_training_set(tiny_dataset(folder, grouped=True), ("train",), "cpu")


PLAIN_FIELDS = ("image", "aus", "identity", "expression", "target_image", "target_aus", "target_expression")


@pytest.mark.parametrize("flip", [False, True])
def test_groups_add_true_edits_and_change_nothing_else_of_a_batch(data, grouped, flip):
    config = TrainingConfig(batch_size=5, horizontal_flip=flip)
    for step in range(6):
        without, with_groups = (make_batch(source, config, 1, step) for source in (data, grouped))
        assert without.true_edit is without.true_edit_aus is None
        for field in PLAIN_FIELDS:
            assert torch.equal(getattr(without, field), getattr(with_groups, field))
        after = (torch.rand(2, generator=batch.generator) for batch in (without, with_groups))
        assert torch.equal(*after)


def test_a_true_edit_shows_the_same_person_with_the_aus_it_names(grouped):
    config = TrainingConfig(batch_size=4)
    seen = 0
    for step in range(9):
        batch = make_batch(grouped, config, 0, step)
        for image, identity, edit, aus in zip(
            batch.image, batch.identity, batch.true_edit, batch.true_edit_aus, strict=True
        ):
            alike = torch.nonzero((grouped.aus == aus).all(1) & (grouped.identity == identity))[:, 0]
            assert any(torch.equal(to_network_range(grouped.images[row]), edit) for row in alike)
            seen += not torch.equal(image, edit)
    assert seen > 9  # most pairs differ


def test_true_edits_are_mirrored_with_their_sources(grouped):
    images = torch.randint(0, 256, grouped.images.shape, generator=torch.Generator().manual_seed(0))
    grouped = replace(grouped, images=images.to(torch.uint8))  # faces without symmetry
    plain = make_batch(grouped, TrainingConfig(batch_size=12), 0, 0)
    mirrored = make_batch(grouped, TrainingConfig(batch_size=12, horizontal_flip=True), 0, 0)
    turned = [not torch.equal(*pair) for pair in zip(plain.image, mirrored.image, strict=True)]
    assert 0 < sum(turned) < 12
    for index, flipped in enumerate(turned):
        expected = plain.true_edit[index].flip(2) if flipped else plain.true_edit[index]
        assert torch.equal(mirrored.true_edit[index], expected)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30), st.integers(0, 9))
def test_partners_come_from_the_same_group_and_every_member_is_one(numbers, seed):
    groups = make_groups(np.array(numbers), "cpu")
    rows = torch.arange(len(numbers))
    of_row = torch.tensor(numbers)
    draws = torch.rand(len(numbers), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(of_row[groups.partners(rows, draws)], of_row)
    assert torch.equal(of_row[groups.partners(rows, torch.ones(len(rows)))], of_row)  # a draw that rounds up
    size = int(groups.count[0])
    reached = {int(groups.partners(torch.tensor([0]), torch.tensor([k / size]))) for k in range(size)}
    assert reached == set(torch.nonzero(of_row == of_row[0])[:, 0].tolist())
