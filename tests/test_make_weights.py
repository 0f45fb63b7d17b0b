"""`eggan weights train`: the recipes of the shipped weights, and one of a few pictures run to its end."""

import dataclasses
import shlex
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from benchmarks.suites.presets import preset_config, resolve
from benchmarks.suites.suite import SUITES
from eggan.cli import GROUP, build_parser, main
from eggan.config import to_dict
from eggan.data.dataset import load_dataset
from eggan.errors import UserError
from eggan.model import ENTRY as EGGAN
from eggan.shipped import make_weights, weights
from eggan.shipped.held_out import held_out_figures, validation_pairs
from eggan.shipped.recipes import FIGURES, RECIPES, Recipe, Training
from tests.tiny import tiny_dataset

NARROW = ("channels=[8,8]", "blocks=1", "embedding=8", "detail_channels=4", "training.batch_size=2")


def part(folder, start, *settings):
    words = ("--preset", "cpu", *(w for s in (*NARROW, "training.images=4", *settings) for w in ("--set", s)))
    return Training(folder, words, start, 4, "a few pictures", "a test", 1, "none")


BRIEF = Recipe(
    method="eggan-w",
    size=64,
    data=("--split", "small-crowd", "--identities", "3", "--images-per-identity", "8", "--workers", "1"),
    parts=(part("one", ""), part("two", "one", "learning_rate=1e-5")),
)


def test_every_shipped_file_has_a_recipe_and_its_card_holds_it():
    assert RECIPES.keys() == set(weights.NAMES)
    for name, recipe in RECIPES.items():
        card = weights.read_card(name)
        assert card["recipe"] == recipe.record()
        assert card["storage"] == weights.FORMATS[recipe.storage]
        assert (card["method"], card["image_size"]) == (recipe.method, recipe.size)


@pytest.mark.parametrize("name", RECIPES)
def test_a_dry_run_prints_commands_that_would_be_understood_with_their_cost(eggan, tmp_path, name):
    status, out, err = eggan(
        "weights", "train", name, "--dry-run", "--out", tmp_path / "x", "--device", "cpu"
    )
    assert (status, err, (tmp_path / "x").exists()) == (0, "", False)
    commands = [line for line in out.splitlines() if line.startswith("eggan ")]
    assert len(commands) == 1 + len(RECIPES[name].parts)
    for line in commands[1:]:  # everything is in order but for the pictures, which are not rendered yet
        status, _, err = eggan(*shlex.split(line)[1:])
        assert (status, "data is not a dataset" in err) == (2, True)
    for done in RECIPES[name].parts:
        assert f"{done.seconds:,} s on {done.ran_on}" in out


@pytest.mark.parametrize("name", RECIPES)
def test_no_command_sets_a_value_twice(name):
    for _, words in RECIPES[name].commands(Path("x")):
        assigned = [words[at + 1].partition("=")[0] for at, word in enumerate(words) if word == "--set"]
        assert len(assigned) == len(set(assigned))


def test_the_recipe_of_eggan_is_the_cell_of_standard_that_its_card_names(tmp_path):
    (part,) = RECIPES["eggan_64"].parts
    assert "the cell eggan/synfacs-64/s4 of the suite standard" in part.difference
    row, seed = SUITES["standard"].chosen(["eggan"], [4])[0]
    (_, words) = list(RECIPES["eggan_64"].commands(tmp_path))[1]
    given = build_parser(words, entry_points(group=GROUP)).parse_args(words)
    config = resolve(EGGAN, given.preset, given.config, given.assignments)
    assert (given.seed, config.method) == (seed, preset_config(EGGAN, row))
    assert config.training == row.training
    assert config.training.images == part.images
    assert to_dict(config.method) == weights.read_card("eggan_64")["config"]


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if len(recipe.parts) > 1])
def test_of_several_trainings_the_one_with_the_least_of_the_recipes_figure_is_shipped(name):
    card, recipe = weights.read_card(name), RECIPES[name]
    between = card["selection"]["between"]
    assert card["selection"]["on"].endswith(FIGURES[recipe.chosen_by])
    assert len(between) == len(recipe.parts)
    assert make_weights.error_of(card["held_out"], recipe) == min(between.values())


def test_unknown_weights_are_one_line(eggan):
    status, _, err = eggan("weights", "train", "eggan_w_65", "--dry-run")
    assert (status, err.count("\n"), "eggan_w_64" in err) == (2, 1, True)


def test_a_call_that_was_killed_before_it_wrote_the_weights_goes_on(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    card, checkpoint = weights.read_card("eggan_64"), weights.load_shipped("eggan_64")
    with monkeypatch.context() as patched:
        patched.setattr(weights, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            weights.save_shipped(checkpoint, "eggan_64", card, tmp_path, "int8")
    make_weights.check_earlier("eggan_64", tmp_path)
    (tmp_path / "eggan_64.json").rename(tmp_path / "mine.json")
    (tmp_path / "eggan_64.safetensors").write_text("mine")
    with pytest.raises(UserError, match="no earlier call wrote"):
        make_weights.check_earlier("eggan_64", tmp_path)


@pytest.mark.parametrize("place", ["file", "file/x"])
def test_a_dry_run_refuses_the_folder_that_the_run_would(eggan, tmp_path, place):
    (tmp_path / "file").write_text("mine")
    words = ("weights", "train", "eggan_64", "--out", tmp_path / place)
    refusals = [eggan(*words, *more) for more in ((), ("--dry-run",))]
    assert refusals[0] == refusals[1]
    assert refusals[0][0] == 2
    assert f"{tmp_path / 'file'} is a file" in refusals[0][2]


@pytest.mark.slow
def test_a_recipe_leaves_weights_with_a_card_and_repeats_nothing_that_is_finished(
    eggan, tmp_path, monkeypatch
):
    monkeypatch.setitem(RECIPES, "brief", BRIEF)
    ran = []

    def stopped(words):
        if "--start" in words:
            raise KeyboardInterrupt
        assert main(words) == 0

    def run(words):
        ran.append(words[0])
        assert main(words) == 0

    monkeypatch.setattr(make_weights, "run_command", stopped)  # in this process: a new one takes seconds
    assert eggan("weights", "train", "brief", "--out", tmp_path)[0] == 130
    monkeypatch.setattr(make_weights, "run_command", run)
    status, out, err = eggan("weights", "train", "brief", "--out", tmp_path)
    assert (status, err, ran) == (0, "", ["data", "train"])  # equal pictures are kept, the first part, too
    assert "AU estimator b: MSE" in out
    card = weights.read_card("brief", tmp_path)
    errors = card["selection"]["between"]
    assert errors.keys() == {"one", "two"}
    assert card["held_out"]["estimator_a"]["edit"]["mse"] == min(errors.values())
    assert card["data"]["content_hash"] == load_dataset(tmp_path / "data").content_hash
    assert weights.load_shipped("brief", tmp_path).card.method == "eggan-w"


def test_a_command_that_fails_ends_it_in_one_line(eggan, tmp_path, monkeypatch):
    monkeypatch.setitem(RECIPES, "brief", dataclasses.replace(BRIEF, data=("--split", "nobody")))
    status, _, err = eggan("weights", "train", "brief", "--out", tmp_path)
    assert (status, err) == (2, "eggan: `eggan data build` ended with status 2: see above\n")


def test_held_out_figures_of_the_truth_and_of_the_source(tmp_path):
    """Estimators shown drawn faces read nonsense; what is exact about the figures is."""
    dataset = tiny_dataset(tmp_path / "faces", identities=4, per_identity=4, grouped=True)
    dataset.manifest["split"] = [
        "val" if i.startswith("id03") else s
        for i, s in zip(dataset.manifest["identity"], dataset.manifest["split"], strict=True)
    ]
    pairs = validation_pairs(dataset)
    assert pairs.people == 1
    active = (pairs.source_aus > 0).sum(1)
    assert (active == active.min()).all()
    assert (pairs.target_aus != pairs.source_aus).any(1).all()
    copied = held_out_figures(lambda source, aus: source, pairs)
    exact = held_out_figures(lambda source, aus: pairs.truth, pairs)
    for name in ("estimator_a", "estimator_b"):
        for figure in ("mse", "slope"):
            assert copied[name]["edit"][figure] == copied[name]["copy_source"][figure]
            assert exact[name]["edit"][figure] == exact[name]["rendered_truth"][figure]
        assert copied[name]["copy_source"]["slope"] == 0
    assert (copied["similarity"], copied["same_person_percent"], copied["still_l1"]) == (1.0, 100.0, 0.0)
    assert copied["changed_l1"] == copied["changed_l1_copy_source"] > 0
    assert (exact["changed_l1"], exact["psnr"]) == (0.0, 60.0)


def test_people_without_true_edits_cannot_be_measured(tmp_path):
    with pytest.raises(UserError, match="no validation people with true edits"):
        validation_pairs(tiny_dataset(tmp_path / "faces"))
