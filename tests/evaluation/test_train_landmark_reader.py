"""The fit of the landmark reader, on faces whose points move as their AUs say."""

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from eggan.aus import AU_COLUMNS, AU_COUNT
from eggan.data.synfacs.plan import CROWDS, SPLIT_NAMES
from eggan.errors import UserError
from eggan.evaluation import (
    instrument_cards,
    instrument_weights,
    instruments,
    landmark_data,
    make_landmark_reader,
    metrics,
)
from eggan.evaluation.instrument_commands import describe
from eggan.evaluation.instrument_data import DataRecipe
from eggan.evaluation.landmark_data import (
    DRAWN,
    LEARNT_FROM,
    MEASURED_ON,
    PICTURES,
    TILE,
    VIEWS,
    LandmarkData,
    LandmarkTable,
    joined,
    landmark_table,
    landmarks_of_person,
    read_pictures,
    shrunk,
)
from eggan.evaluation.landmark_reader import NAME, load_landmark_reader
from eggan.evaluation.make_landmark_reader import differing, make_card, measure, stored
from eggan.evaluation.train_landmark_reader import LandmarkRecipe, fit, read_table

UNSEEN_PCC, UNSEEN_MSE = 0.727, 0.768  # as measured when the weights were made
HIDDEN = AU_COLUMNS.index("au06")  # no point moves with it
TINY = LandmarkRecipe(components=40, features=60, penalties=(0.01, 1.0))


def toy_table(people, first=0, seed=0):
    """A table of faces, 16 of each person; every AU but one moves a mirrored pair of points."""
    template = load_landmark_reader().network.template.view(468, 3).numpy()
    mirror = load_landmark_reader().network.mirror.long().numpy()
    pairs = np.flatnonzero(mirror > np.arange(468))[20 : 20 + AU_COUNT]
    rng = np.random.default_rng([seed, first])
    count = 16 * people
    aus = (rng.uniform(0, 5, (count, AU_COUNT)) * (rng.random((count, AU_COUNT)) < 0.4)).astype(np.float32)
    person = np.repeat(np.arange(first, first + people), 16)
    own = 0.01 * rng.standard_normal((people, 468, 3))
    points = template + own[person - first] + 0.002 * rng.standard_normal((count, 468, 3))
    for au, point in enumerate(pairs):
        if au != HIDDEN:
            points[:, [point, mirror[point]], 1] += 0.05 * aus[:, au, None]
    return LandmarkTable((50 * points).astype(np.float32), aus, person, np.arange(count) % len(VIEWS))


@pytest.fixture(scope="module")
def tables():
    return {
        "training": toy_table(20),
        "validation": toy_table(5, first=100),
        "held_out": toy_table(5, first=200),
    }


@pytest.fixture(scope="module")
def made(tables):
    return make_card(tables, TINY, LandmarkData(people=20), 0, {})


def test_what_moves_points_is_read_on_new_people_and_what_moves_none_is_declared(made):
    _, card = made
    assert card["unreadable"] == [AU_COLUMNS[HIDDEN]]
    for view in VIEWS:
        figures = card["held_out"][view]
        assert figures["mean_pcc"] > 0.9
        assert figures["pcc_defined"] == AU_COUNT - 1
        assert figures["per_au"][AU_COLUMNS[HIDDEN]] == dict.fromkeys(("mse", "pcc", "mae", "icc"))
    assert "not read, since geometry shows too little of them: AU06" in describe(
        {**card, "name": NAME, "sha256": "0"}
    )
    assert "tile-128" in card["held_out"]


def test_the_threshold_decides_what_is_read(tables):
    strict = dataclasses.replace(TINY, least_pcc=1.0)
    assert set(fit(tables["training"], tables["validation"], strict, 0)[1]["unreadable"]) == set(AU_COLUMNS)


def mean_pcc(record):
    return np.mean(list(record["validation_pcc"].values()))


def test_the_penalty_is_chosen_on_validation_people(tables, made):
    _, card = made
    chosen = card["training"]["penalty"]
    (other,) = set(TINY.penalties) - {chosen}
    alone = dataclasses.replace(TINY, penalties=(other,))
    assert mean_pcc(fit(tables["training"], tables["validation"], alone, 0)[1]) < mean_pcc(card["training"])


def test_equal_seeds_give_equal_bytes_and_others_others(tables, made):
    again, other = (fit(tables["training"], tables["validation"], TINY, seed)[0] for seed in (0, 1))
    again = stored(again, TINY)
    for name, value in made[0].state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    assert not torch.equal(again.frequencies, stored(other, TINY).frequencies)


def test_what_is_saved_reads_as_it_was_measured(made, tables, tmp_path):
    network, card = made
    saved = instruments.save_instrument(NAME, network, card, tmp_path)
    reader = load_landmark_reader(tmp_path)
    assert reader.sha256 == saved["sha256"]
    assert differing(NAME, card["held_out"], measure(reader, tables["held_out"], {})) == []
    np.testing.assert_array_equal(
        read_table(reader.network, tables["held_out"]), read_table(network, tables["held_out"])
    )


def test_nobody_is_in_two_tables_or_in_anything_else():
    drawn = LandmarkData().populations
    people = [(population, index) for population, chosen in drawn.values() for index in chosen]
    assert len(people) == len(set(people))
    images = DataRecipe()
    plans = [*images.training(), images.validation(), images.threshold()]
    plans += images.held_out("instruments-test")
    taken = {plan.population for plan in plans} | set(SPLIT_NAMES) | set(CROWDS)
    assert not taken & {population for population, _ in drawn.values()}


def test_sizes_name_the_views():
    sizes = [*LEARNT_FROM.items(), *MEASURED_ON.items()]
    assert {f"{framed}-{size}" for framed, own in sizes for size in own} == set(VIEWS)
    assert all(sizes[0] == DRAWN[framed] for framed, sizes in LEARNT_FROM.items())


def test_pictures_are_shrunk_to_means():
    image = np.random.default_rng(0).integers(0, 256, (192, 192, 3), dtype=np.uint8)
    assert (shrunk(image, 192) == image).all()
    assert shrunk(image, 64)[5, 7] == pytest.approx(image[15:18, 21:24].mean(axis=(0, 1)), abs=0.5)
    assert shrunk(image, 128).shape == (128, 128, 3)
    assert shrunk(image, 128).mean() == pytest.approx(image.mean(), abs=0.5)


def test_pictures_without_a_face_are_counted():
    blank = np.full((3, 192, 192, 3), 128, np.uint8)
    table = read_pictures(blank, np.zeros((3, AU_COUNT), np.float32), 4, TILE, at_every_size=False)
    assert (len(table), table.lost) == (0, 3)
    assert joined([table, toy_table(2)]).lost == 3


def test_a_recipe_or_data_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="at least 2"):
        LandmarkData(people=1)


def test_epochs_are_refused(eggan, tmp_path):
    options = ("--which", "landmarks", "--epochs", 3, "--out", tmp_path / "new", "--data", tmp_path / "data")
    status, _, error = eggan("instruments", "train", *options)
    assert status == 2
    (line,) = error.strip().splitlines()
    assert "the landmark reader is fitted in closed form: it has no --epochs" in line
    assert not list(tmp_path.iterdir())


def test_a_kept_table_that_is_damaged_is_drawn_again(tmp_path, monkeypatch, capsys):
    data, drawn = LandmarkData(people=2), []

    def draw(data, population, at_every_size, index):
        drawn.append(index)
        return toy_table(1, first=index)

    monkeypatch.setattr(landmark_data, "landmarks_of_person", draw)
    monkeypatch.setattr(landmark_data, "spread", lambda work, items, workers: map(work, items))
    first = landmark_table("training", data, tmp_path, 1)
    assert landmark_table("training", data, tmp_path, 1).content_hash == first.content_hash
    assert drawn == [0, 1]
    (path,) = tmp_path.glob("*.npz")
    whole, lacking, array = path.read_bytes(), io.BytesIO(), io.BytesIO()
    np.savez(lacking, aus=first.aus)
    np.save(array, first.aus)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255  # zip has a checksum
    for broken in (b"", b"mine", whole[:-30], bytes(flipped), lacking.getvalue(), array.getvalue()):
        drawn.clear()
        capsys.readouterr()
        path.write_bytes(broken)
        assert landmark_table("training", data, tmp_path, 1).content_hash == first.content_hash
        assert (drawn, capsys.readouterr().err.count("it is made again")) == ([0, 1], 1)


@pytest.fixture
def package(tables, tmp_path, monkeypatch):
    """A package whose instruments are in a folder of the test; toy people take the place of rendered ones."""
    drawn = dict(tables)
    monkeypatch.setattr(
        make_landmark_reader, "landmark_table", lambda purpose, data, folder, workers: drawn[purpose]
    )
    monkeypatch.setattr(make_landmark_reader, "benchmark_sets", lambda folder, workers: {})
    for module in (instruments, instrument_cards, instrument_weights):
        monkeypatch.setattr(module, "WEIGHTS", tmp_path / "weights")
    return drawn


def test_eggan_instruments_train_and_check(package, eggan, tmp_path):
    settings = ("--identities", 20, "--set", "components=40", "--set", "features=60", "--seed", 3)
    where = ("--which", "landmarks", "--data", tmp_path / "data")
    status, output, error = eggan("instruments", "train", *where, *settings)
    assert (status, error) == (0, "")
    assert "au_landmarks: landmark reader" in output
    card = load_landmark_reader(tmp_path / "weights").card
    assert (card["seed"], card["data_recipe"]["people"], card["recipe"]["features"]) == (3, 20, 60)
    assert eggan("instruments", "check", *where) == (0, "the cards hold\n", "")

    package["held_out"] = toy_table(5, first=300)
    status, output, _ = eggan("instruments", "check", *where)
    assert status == 1
    assert output.startswith(f"{NAME}: landmarks is another dataset than the card's\n{NAME}.tile-192.")
    assert output.endswith(" figures differ from the cards\n")
    assert eggan("instruments", "check", *where, "--renew")[0] == 1  # what it found, before it wrote
    assert eggan("instruments", "check", *where) == (0, "the cards hold\n", "")


def test_a_folder_of_ones_own_is_trained_into_and_kept(package, eggan, tmp_path):
    words = ("instruments", "train", "--which", "landmarks", "--set", "components=40", "--set", "features=60")
    where = ("--data", tmp_path / "data", "--out", tmp_path / "own")
    assert eggan(*words, *where)[0] == 0
    assert {file.name for file in (tmp_path / "own").iterdir()} == {f"{NAME}.json", f"{NAME}.safetensors"}
    assert not (tmp_path / "weights").exists()
    status, _, error = eggan("instruments", "train", "--which", "landmarks", "--set", "width=wide", *where)
    assert status == 2
    assert "width" in error
    assert len(error.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--identities 1", "people, validation_people and held_out_people must be at least 2"),
        ("--identities 3 --set components=48", "3 people are 48 pictures, too few for 48 components"),
        ("--set components=0", "components 1 to 1404"),
        ("--set penalties=[]", "penalties, at least one of them, and width must be above 0"),
        ("--workers 0", "--workers must be at least 1, not 0"),
        ("--which a --epochs 0", "epochs and batch_size must be at least 1"),
        ("--which all --set precision=fp32", "precision"),  # a setting of the networks alone
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_drawn(eggan, tmp_path, words, line):
    where = ("--data", tmp_path / "data", "--out", tmp_path / "own")
    status, _, error = eggan("instruments", "train", "--which", "landmarks", *where, *words.split())
    assert status == 2
    assert line in error
    assert len(error.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_check_of_no_workers_is_refused(eggan, tmp_path):
    words = ("--which", "landmarks", "--workers", 0, "--data", tmp_path / "data")
    assert eggan("instruments", "check", *words)[0] == 2
    assert not list(tmp_path.iterdir())


def test_an_unseen_person_is_drawn_and_read_at_every_size():
    data, reader = LandmarkData(), load_landmark_reader()
    population, people = data.populations["held_out"]
    table = landmarks_of_person(data, population, True, people[0])
    assert table.lost == 0
    assert len(table) == PICTURES // 2 * len(VIEWS)
    by_size = [
        reader.read(table.rows(table.view == VIEWS.index(f"tile-{size}")).landmarks)[:, reader.readable]
        for size in (192, 128, 64)
    ]
    assert by_size[0].shape == (8, reader.readable.sum())
    assert np.abs(by_size[0] - by_size[1]).mean() < 0.15
    assert np.abs(by_size[0] - by_size[2]).mean() < 0.5


def test_the_shipped_reader_reads_unseen_people():
    """One picture of each held-out person, as landmarks in 64ths of a pixel."""
    reader = load_landmark_reader()
    with np.load(Path(__file__).parent / "unseen_landmarks.npz", allow_pickle=False) as unseen:
        reading, truth = reader.read(unseen["landmarks"] / 64), unseen["aus"]
    assert len(truth) == LandmarkData().held_out_people
    kept = reader.readable
    figures = metrics.pcc(truth[:, kept], reading[:, kept])
    assert figures.mean() == pytest.approx(UNSEEN_PCC, abs=0.005)
    assert np.square(reading - truth)[:, kept].mean() == pytest.approx(UNSEEN_MSE, abs=0.005)
    assert (figures > 0.4).all()


def test_the_card_says_how_well_each_size_is_read():
    card = load_landmark_reader().card
    assert card["data"]["held_out"]["landmarks"]["identities"] == LandmarkData().held_out_people
    assert card["data"]["training"]["landmarks"]["identities"] >= 400
    assert card["data"]["training"]["landmarks"]["readings"] >= 6000
    assert set(card["held_out"]) == {*VIEWS, "twin-test-64"}
    for name, figures in card["held_out"].items():
        assert figures["mean_pcc"] > 0.7, name
    assert card["held_out"]["twin-test-64"]["mean_pcc"] > 0.8


def test_eggan_instruments_card_lists_it(eggan):
    status, output, _ = eggan("instruments", "card", "--which", "landmarks")
    assert status == 0
    assert "au_landmarks: landmark reader" in output
    assert "not read, since geometry shows too little of them: AU07" in output


def test_a_missing_reader_says_how_to_make_it(tmp_path):
    with pytest.raises(UserError, match="eggan instruments train"):
        load_landmark_reader(tmp_path)
