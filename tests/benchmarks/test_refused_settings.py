"""No setting of a method takes a number that its networks or its losses cannot be made of."""

import dataclasses

import pytest

from benchmarks.suites.methods import METHODS
from eggan.config import override
from eggan.errors import UserError
from eggan.method import MethodEntry
from eggan.training import TrainingConfig

MAY_BE_NEGATIVE = {"paint_start", "strength"}
TRAINED = {name: entry for name, entry in METHODS.items() if isinstance(entry, MethodEntry)}


def numeric(config) -> dict[str, str]:
    """Return -1, in the form of the field, for every number and list of numbers of a config."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    lists = {name: f"[{','.join(['-1'] * len(v))}]" for name, v in values.items() if isinstance(v, tuple)}
    lists = {name: text for name, text in lists.items() if not isinstance(values[name][0], str)}
    return lists | {name: "-1" for name, v in values.items() if type(v) in (int, float)}


@pytest.mark.parametrize("name", TRAINED)
def test_no_method_takes_a_negative_number_where_it_means_nothing(name):
    for config in TRAINED[name].presets.values():
        for field, text in numeric(config).items():
            if field in MAY_BE_NEGATIVE:
                override(config, [f"{field}={text}"])
                continue
            with pytest.raises(UserError, match=field):
                override(config, [f"{field}={text}"])


def test_no_training_takes_one_either():
    for field, text in numeric(TrainingConfig()).items():
        with pytest.raises(UserError, match=field):
            override(TrainingConfig(), [f"{field}={text}"])


@pytest.mark.parametrize(
    ("method", "assignment"),
    [
        ("eggan", "latent_dim=0"),
        ("eggan", "encoder_channels=[16,32,64,128,0]"),
        ("eggan", "pretraining_batch_size=0"),
        ("eggan", "beta1=1"),
        ("eggan-w", "channels=[]"),
        ("eggan-w", "reader_channels=[]"),
        ("eggan-w", "reduction=0"),
        ("eggan-w", "change_full=0"),
        ("eggan-w-unpaired", "embedding=0"),
        ("stargan", "width=0"),
        ("ganimation", "critic_width=0"),
        ("homointerpgan", "encoder_interval=0"),
        ("homointerpgan", "groups=[]"),
    ],
)
def test_nor_a_size_of_nothing(method, assignment):
    with pytest.raises(UserError, match=assignment.partition("=")[0]):
        override(TRAINED[method].presets["cpu"], [assignment])


@pytest.mark.parametrize(
    ("assignments", "word"),
    [
        (["reduction=3", "channels=[8,8]"], "image_size"),  # 64 is no multiple of 3
        (["image_size=60", "reduction=3", "channels=[8,8,8]"], "image_size"),  # nor 60 of JPEG's 8
        (["reader_channels=[30,64]"], "reader_channels"),  # its norms have groups of 8
    ],
)
def test_nor_sizes_that_do_not_fit_each_other(assignments, word):
    with pytest.raises(UserError, match=word):
        override(TRAINED["eggan-w"].presets["cpu"], assignments)


def test_the_command_says_so_in_one_line(eggan, tmp_path):
    status, _, err = eggan(
        "train", "eggan", "--dataset", tmp_path, "--set", "latent_dim=-4", "--runs", tmp_path / "runs"
    )
    assert status == 2
    assert err == "eggan: setting.method.latent_dim is -4; it must be at least 1\n"
    assert not (tmp_path / "runs").exists()
