"""`eggan bench photos`: closed forms of its figures, what a probe sees, what is not measured, its folder."""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from benchmarks import photos_command
from benchmarks.photos import photos_run, portraits, probe, summary
from eggan.aus import AU_COLUMNS, AU_COUNT, AU_NUMBERS
from eggan.errors import UserError
from eggan.faces.face import Face
from eggan.faces.find import find_faces

MESH = 468


def readings(position=None, value=0.0, others=0.0, unread=()):
    row = np.full(AU_COUNT, others)
    if position is not None:
        row[position] = value
    row[list(unread)] = np.nan
    return dict(zip(AU_COLUMNS, row, strict=True))


def probes_of(own, others=0.0, unread=(), portrait="p", detected=True, distance=0.2, kind="photograph"):
    """Probes of every AU at 0, 2.5 and 5, read as `own(level)`; every other AU as `others * level`."""
    rows = []
    for position, number in enumerate(AU_NUMBERS):
        for level in (0.0, 2.5, 5.0):
            facts = {"portrait": portrait, "kind": kind, "au": number, "asked": level, "seconds": 0.05}
            seen = readings(position, own(level), others * level, unread)
            rows.append(facts | {"detected": detected, "distance": distance} | seen)
    return pd.DataFrame(rows)


class TestFigures:
    def test_slope_and_off_target_of_readings_that_are_known(self):
        table = summary.summarise(probes_of(lambda level: 0.3 + 0.8 * level, others=0.02), "au")
        assert list(table["au"]) == list(AU_NUMBERS)
        assert table["slope"].to_numpy() == pytest.approx(0.8)
        assert table["off_target"].to_numpy() == pytest.approx(0.1)
        assert (table["right"] == 100).all()
        assert (table["edit_ms"] == 50).all()

    def test_the_wrong_way_is_seen_and_counted_by_portrait(self):
        both = pd.concat(
            [probes_of(lambda level: level), probes_of(lambda level: -0.1 * level, portrait="q")]
        )
        assert summary.summarise(both, "au")["right"].to_numpy() == pytest.approx(50)
        by_portrait = summary.summarise(both, "portrait").set_index("portrait")
        assert by_portrait["right"].to_dict() == {"p": 100, "q": 0}
        assert by_portrait["slope"].to_dict() == pytest.approx({"p": 1, "q": -0.1})

    def test_what_the_reader_does_not_read_is_no_figure_and_no_failure(self):
        unread = [AU_NUMBERS.index(6)]
        probes = probes_of(lambda level: level, unread=unread)
        row = summary.summarise(probes, "au").set_index("au").loc[6]
        assert np.isnan(row["slope"])
        assert np.isnan(row["right"])
        assert row["off_target"] == 0
        assert summary.readable(probes) == [number for number in AU_NUMBERS if number != 6]
        assert [target.reached for target in summary.targets_of(probes)] == [True, True, True]

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({}, ["reached", "reached", "reached"]),
            ({"detected": False}, ["missed", "reached", "reached"]),
            ({"distance": 0.36}, ["reached", "missed", "reached"]),
            ({"distance": np.nan}, ["reached", "not measured", "reached"]),
            ({"own": lambda level: 1.0}, ["reached", "reached", "missed"]),
            ({"unread": range(AU_COUNT)}, ["reached", "reached", "not measured"]),
        ],
    )
    def test_targets_are_told_reached_missed_or_not_measured(self, changes, words):
        probes = probes_of(**({"own": lambda level: level} | changes))
        assert [target.word for target in summary.targets_of(probes)] == words

    def test_one_lost_face_of_many_is_a_target_missed(self):
        probes = probes_of(lambda level: level)
        probes.loc[7, "detected"] = False
        target = summary.targets_of(probes)[0]
        assert (target.word, "50 of 51" in target.text) == ("missed", True)

    def test_renders_stand_beside_photographs_and_never_among_them(self):
        photographs = probes_of(lambda level: 0.5 * level, distance=0.5)
        renders = probes_of(lambda level: 0.9 * level, portrait="r", kind="render", distance=0.1)
        truth = probes_of(lambda level: 0.95 * level, portrait="r", kind="render", unread=[0])
        both = pd.concat([photographs, renders], ignore_index=True)
        table = summary.by_action_unit(both, truth).set_index("label")
        assert table.loc["AU12", ["slope", "true_slope"]].tolist() == pytest.approx([0.5, 0.95])
        assert np.isnan(table.loc["AU1", "true_slope"])
        overall = {label: table.loc[f"all, {label}", "slope"] for label in ("photographs", "renders")}
        assert overall == pytest.approx({"photographs": 0.5, "renders": 0.9})
        assert table.loc["all, true edits of renders", "slope"] == pytest.approx(0.95)
        assert [target.word for target in summary.targets_of(both)] == ["reached", "missed", "reached"]
        assert [target.word for target in summary.targets_of(renders)] == ["reached"] * 3
        assert "all, renders" not in summary.by_action_unit(photographs, truth.iloc[:0])["label"].tolist()

    def test_real_pairs_are_of_people_who_are_known(self):
        descriptors = {name: np.eye(3)[k] for k, name in enumerate("abc")} | {"d": np.zeros(3)}
        people = {"a": "one", "b": "one", "c": "two", "d": ""}
        pairs = summary.real_pairs(descriptors, people)
        assert list(zip(pairs["one"], pairs["other"], strict=True)) == [("a", "b"), ("a", "c"), ("b", "c")]
        assert list(pairs["same_person"]) == [True, False, False]
        assert pairs["distance"].to_numpy() == pytest.approx(np.sqrt(2))


def face_at(x: float, y: float, apart: float = 40.0, turned: float = 0.0) -> Face:
    """A face of 468 points whose eyes are around (x, y)."""
    points = np.zeros((MESH, 3), np.float32)
    points[:, :2] = (x, y)
    points[list(range(MESH)), 0] += np.linspace(-apart / 2, apart / 2, MESH)
    for corner, side in ((33, -1), (133, -1), (263, 1), (362, 1)):
        points[corner, :2] = (x + side * apart / 2, y)
    angle = np.radians(turned)
    points[234], points[454] = (x - np.cos(angle), y, -np.sin(angle)), (x + np.cos(angle), y, np.sin(angle))
    return Face(points, 1.0, 1.0)


class Painter:
    """Answers AU k with a picture whose corner holds its intensity."""

    def __init__(self, picture: np.ndarray) -> None:
        self.picture, self.asked = picture, []

    def edit(self, target_aus: np.ndarray) -> np.ndarray:
        self.asked.append(target_aus)
        edited = self.picture.copy()
        edited[0, :AU_COUNT, 0] = np.round(target_aus * 10)
        return edited


BELOW = 0.25  # what the reader sees is below 0, where nobody can ask for it


class TestProbe:
    @pytest.fixture
    def probed(self, monkeypatch):
        picture = np.full((80, 100, 3), 90, np.uint8)
        face = face_at(50, 40)
        lost = AU_NUMBERS.index(26)

        def found(edited):
            gone = edited[0, lost, 0] == 50
            return [face_at(90, 70, 10)] if gone else [face_at(20, 40, 30), face_at(51, 41)]

        monkeypatch.setattr(probe, "find_faces", found)
        shown = np.zeros(AU_COUNT)
        shown[AU_NUMBERS.index(12)], shown[AU_NUMBERS.index(6)] = 2.0, np.nan
        painter = Painter(picture)

        def describe(photograph, found_face):
            return photograph[0, :AU_COUNT, 0] / 10

        portrait = portraits.Portrait("p", "photograph", "", picture, face, seconds=1.0)
        instruments = probe.PhotographReaders(
            lambda landmarks: shown[None], lambda landmarks: shown[None] - BELOW, describe
        )
        return probe.probe(portrait, lambda portrait, aus: painter, instruments), painter

    def test_one_au_moves_and_the_others_stay_as_they_are_shown(self, probed):
        result, painter = probed
        assert len(result.probes) == len(painter.asked) == 3 * AU_COUNT
        for row, target in zip(result.probes.to_dict("records"), painter.asked, strict=True):
            expected = np.zeros(AU_COUNT)
            expected[AU_NUMBERS.index(12)] = 2.0
            expected[AU_NUMBERS.index(row["au"])] = row["asked"]
            assert target.tolist() == expected.tolist()
        assert result.tiles.shape == (AU_COUNT + 1, probe.TILE, probe.TILE, 3)
        assert result.analysis_seconds >= 1

    def test_a_face_counts_as_found_where_it_was_only(self, probed):
        lost = probed[0].probes[~probed[0].probes["detected"]]
        assert [(row["au"], row["asked"]) for row in lost.to_dict("records")] == [(26, 5.0)]
        assert lost[["distance", *AU_COLUMNS]].isna().all(axis=None)

    def test_edits_are_read_beyond_the_range_that_can_be_asked_for(self, probed):
        row = probed[0].probes.query("au == 1 and asked == 5").iloc[0]
        assert tuple(row[f"au{number:02d}"] for number in (1, 12)) == (-BELOW, 2 - BELOW)
        assert probed[0].aus[AU_NUMBERS.index(12)] == 2.0

    def test_distances_are_between_source_and_edit(self, probed):
        row = probed[0].probes.query("au == 1 and asked == 5").iloc[0]
        source, edit = np.full(AU_COUNT, 9.0), np.zeros(AU_COUNT)
        edit[[AU_NUMBERS.index(1), AU_NUMBERS.index(12)]] = 5, 2
        assert row["distance"] == pytest.approx(np.linalg.norm(source - edit))


@pytest.fixture(scope="module")
def drawn() -> portraits.Portrait:
    (entry,) = portraits.renders(1)
    assert isinstance(entry, portraits.Portrait)
    return entry


class TestPortraits:
    @pytest.fixture
    def folder(self, tmp_path):
        for name in ("anna/1.png", "anna/2.png", "flat.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            Image.new("RGB", (60, 50), (90, 80, 70)).save(tmp_path / name)
        (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff" + bytes(40))
        (tmp_path / "notes.txt").write_text("no picture")
        return tmp_path

    def test_sub_folders_are_people_and_what_cannot_be_read_says_why(self, folder, monkeypatch):
        monkeypatch.setattr(portraits, "find_faces", lambda pixels: [face_at(30, 20), face_at(9, 9, 20)])
        found = list(portraits.photographs(folder, portraits.portrait_files(folder)))
        measured = {entry.name: entry for entry in found if isinstance(entry, portraits.Portrait)}
        assert {name: entry.person for name, entry in measured.items()} == {
            "anna/1.png": "anna",
            "anna/2.png": "anna",
            "flat.png": "",
        }
        assert all(entry.faces == 2 and entry.face.eye_distance == 40 for entry in measured.values())
        (broken,) = [entry for entry in found if isinstance(entry, portraits.Unmeasured)]
        assert broken.name == "broken.jpg"
        assert "\n" not in broken.reason

    @pytest.mark.parametrize(
        ("faces", "reason"),
        [
            ([], "no face was found"),
            ([face_at(30, 20, apart=5)], "the eyes are 5 pixels apart"),
            ([face_at(30, 20, turned=50)], "a profile, turned by 50 degrees"),
        ],
    )
    def test_faces_that_no_edit_is_meant_for_are_not_measured(self, faces, reason, monkeypatch):
        monkeypatch.setattr(portraits, "find_faces", lambda pixels: faces)
        entry = portraits.portrait_of("x", "photograph", "", np.zeros((9, 9, 3), np.uint8))
        assert isinstance(entry, portraits.Unmeasured)
        assert entry.reason.startswith(reason)

    def test_a_folder_without_images_is_one_line(self, tmp_path):
        for folder, message in ((tmp_path / "lost", "no such folder"), (tmp_path, "holds no image")):
            with pytest.raises(UserError, match=message):
                portraits.portrait_files(folder)

    def test_what_comes_with_the_package_has_a_face_and_so_have_renders(self, drawn):
        example = portraits.example()
        assert isinstance(example, portraits.Portrait)
        assert example.faces == 1
        assert drawn.kind == "render"
        assert np.array_equal(drawn.truth(np.zeros(AU_COUNT)), drawn.pixels)
        assert not np.array_equal(drawn.truth(np.full(AU_COUNT, 3.0)), drawn.pixels)
        assert len(find_faces(drawn.pixels)) == 1


def measured_once(names=("p", "q")) -> photos_run.Measured:
    probes = pd.concat([probes_of(lambda level: 0.9 * level, portrait=name) for name in names])
    tiles = {name: np.full((AU_COUNT + 1, 8, 8, 3), 40 * k, np.uint8) for k, name in enumerate(names)}
    entries = [
        {"name": name, "kind": "photograph", "person": "", "width": 9, "height": 8, "eye_distance": 40.0,
         "yaw": 0.0, "faces": 1, "analysis_seconds": 0.2, "aus": [None] * AU_COUNT}
        for name in names
    ]  # fmt: skip
    card = {
        "card_version": photos_run.CARD_VERSION,
        "levels": [0.0, 2.5, 5.0],
        "portraits": entries,
        "not_measured": [{"name": "x.jpg", "reason": "no face was found"}],
        "method": "eggan-w",
        "weights": "eggan-w of eggan_w_64",
        "weights_sha256": "ab" * 32,
        "photographs": "mine",
        "identity": "",
    }
    pairs = pd.DataFrame([{"one": "p", "other": "q", "same_person": True, "distance": 0.4}])
    truth = probes_of(lambda level: 0.95 * level, kind="render")
    return photos_run.Measured(probes.reset_index(drop=True), pairs, truth, tiles, card)


def test_renders_are_drawn_with_the_asked_aus_beside_their_edits(monkeypatch):
    """The reader's limits show in true edits, which have no other fault."""
    picture, face = np.full((80, 100, 3), 90, np.uint8), face_at(50, 40)
    monkeypatch.setattr(probe, "find_faces", lambda edited: [face])
    painter, drawn_aus = Painter(picture), []

    def truth(aus):
        drawn_aus.append(aus)
        return picture

    portrait = portraits.Portrait("render 1", "render", "r", picture, face, truth=truth)
    photograph = portraits.Portrait("p", "photograph", "", picture, face)
    ones = np.ones((1, AU_COUNT))
    read = probe.PhotographReaders(lambda landmarks: ones, lambda landmarks: ones, None)
    lost = portraits.Unmeasured("x.png", "no face was found")
    made = photos_run.measure([portrait, lost, photograph], lambda portrait, aus: painter, read, (0.0, 5.0))
    assert len(made.probes) == 4 * AU_COUNT
    assert len(made.truth) == 2 * AU_COUNT == len(drawn_aus)
    assert set(made.truth["portrait"]) == {"render 1"}
    assert made.card["not_measured"] == [{"name": "x.png", "reason": "no face was found"}]
    assert [entry["name"] for entry in made.card["portraits"]] == ["render 1", "p"]
    assert len(made.pairs) == 0


class TestFolder:
    def test_what_is_written_is_read_again(self, tmp_path):
        once = measured_once()
        photos_run.write_measured(once, tmp_path / "run")
        again = photos_run.read_measured(tmp_path / "run")
        pd.testing.assert_frame_equal(again.probes, once.probes)
        pd.testing.assert_frame_equal(again.pairs, once.pairs)
        pd.testing.assert_frame_equal(again.truth, once.truth)
        assert again.card == once.card
        assert list(again.tiles) == ["p", "q"]
        assert all(np.array_equal(again.tiles[name], once.tiles[name]) for name in once.tiles)

    @pytest.mark.parametrize(
        "name", ["probes.parquet", "pairs.parquet", "truth.parquet", "tiles.npz", "photos.json"]
    )
    def test_a_damaged_or_missing_file_is_one_line(self, name, tmp_path):
        photos_run.write_measured(measured_once(), tmp_path)
        (tmp_path / name).write_bytes(b"damaged")
        with pytest.raises(UserError):
            photos_run.read_measured(tmp_path)
        (tmp_path / name).unlink()
        with pytest.raises(UserError):
            photos_run.read_measured(tmp_path)

    def test_nothing_but_pictures_without_faces_is_one_line(self):
        entries = [portraits.Unmeasured(f"{k}.png", "no face was found") for k in range(5)]
        with pytest.raises(UserError, match=r"0.png: no face was found; .*; and 2 more"):
            photos_run.measure(entries, None, None, (0.0, 5.0))


def test_a_method_that_reads_no_aus_is_one_line(eggan, tmp_path):
    from tests.test_export import checkpoint_of

    folder = checkpoint_of("stargan", tmp_path / "stargan")
    status, _, err = eggan("bench", "photos", "--checkpoint", folder, "--runs", tmp_path / "runs")
    assert (status, err.count("\n")) == (2, 1)
    assert "reads no AUs" in err


def test_a_folder_without_images_is_said_before_weights_and_store_are_opened(tmp_path, eggan, monkeypatch):
    for name in ("benchmarks.photos_command.chosen_weights", "eggan.tracking.store.open_store"):
        monkeypatch.setattr(name, lambda *_, **__: pytest.fail("it went to work"))
    status, _, err = eggan("bench", "photos", tmp_path, "--runs", tmp_path / "runs")
    assert (status, "holds no image" in err, err.count("\n")) == (2, True, 1), err


@pytest.mark.parametrize("there", [True, False])
def test_without_a_folder_it_takes_what_is_there_and_says_what_is_not(there, tmp_path, monkeypatch, capsys):
    if there:
        (tmp_path / portraits.PORTRAITS / "anna").mkdir(parents=True)
        Image.new("RGB", (60, 50)).save(tmp_path / portraits.PORTRAITS / "anna" / "1.png")
    monkeypatch.setattr(portraits, "find_faces", lambda pixels: [face_at(30, 20)])
    monkeypatch.setattr(portraits, "renders", lambda: iter(()))
    arguments = argparse.Namespace(folder=None, data=tmp_path)
    found = list(photos_command.default_or_own(arguments))
    assert [entry.name for entry in found] == ["astronaut", *(["anna/1.png"] if there else [])]
    assert ("`make portraits` fetches it" in capsys.readouterr().out) is not there


@pytest.mark.slow
def test_the_command_measures_prints_and_tracks(eggan, tmp_path, monkeypatch):
    """One photograph of a folder: its faces stay out of the tracking store."""
    monkeypatch.chdir(tmp_path)
    every = probe.targets  # two of the seventeen AUs are enough here
    monkeypatch.setattr(probe, "LEVELS", (0.0, 5.0))
    monkeypatch.setattr(probe, "targets", lambda *given: (row for row in every(*given) if row[0] in (12, 25)))
    picture = portraits.example().pixels
    (tmp_path / "mine").mkdir()
    Image.fromarray(picture).save(tmp_path / "mine" / "face.png")
    Image.new("RGB", (80, 80)).save(tmp_path / "mine" / "empty.png")
    status, out, err = eggan("bench", "photos", "mine")
    assert (status, err) == (0, "")
    assert "not measured: empty.png: no face was found" in out
    assert "every face is still found: 4 of 4 edits" in out
    (run,) = (tmp_path / "runs" / "photos").iterdir()
    values = json.loads((run / "metrics.jsonl").read_text().splitlines()[0])["values"]
    assert values["photos/detected"] == 100
    assert 0 < values["photos/distance_high"] < 0.6
    assert values["photos/au12/slope"] > 0
    sent = [path.name for path in (tmp_path / "runs" / "artifacts").rglob("*") if path.is_file()]
    assert sorted(sent) == sorted([photos_run.PROBES, photos_run.PAIRS, photos_run.TRUTH, photos_run.CARD])
    assert (run / photos_run.TILES).is_file()
    status, out, err = eggan("report", "photos")
    assert (status, err) == (0, "")
    assert (run / "report" / "index.html").is_file()


def fetched() -> list[Path]:
    folder = Path(__file__).parents[2] / "data" / portraits.PORTRAITS
    return portraits.portrait_files(folder) if folder.is_dir() else []


class TestIdentity:
    def test_a_picture_is_near_itself_at_half_its_size_and_far_from_another_person(self, drawn):
        dlib = pytest.importorskip("dlib")
        assert dlib
        from eggan.evaluation.identity_distance import SAME_PERSON, describe, distance_of

        example = portraits.example()
        own = describe(example.pixels, example.face)
        small = np.array(Image.fromarray(example.pixels).reduce(2))
        again = describe(small, find_faces(small)[0])
        assert own.shape == (128,)
        assert 0 < distance_of(own, again) < 0.3
        assert distance_of(own, describe(drawn.pixels, drawn.face)) > SAME_PERSON

    def test_without_the_packages_it_says_so_and_is_not_measured(self, monkeypatch):
        from eggan.evaluation import identity_distance

        identity_distance._network.cache_clear()
        monkeypatch.setattr(identity_distance.importlib.util, "find_spec", lambda name: None)
        assert "pip install 'eggan[identity]'" in identity_distance.why_not_measured()
        identity_distance._network.cache_clear()

    @pytest.mark.skipif(not fetched(), reason="data/portraits is not there: `make portraits`")
    def test_real_pictures_of_one_person_are_near_and_of_two_people_far(self):
        pytest.importorskip("dlib")
        from eggan.evaluation.identity_distance import SAME_PERSON, describe

        files = fetched()
        folder = Path(__file__).parents[2] / "data" / portraits.PORTRAITS
        people = {entry.name: entry for entry in portraits.photographs(folder, files)}
        descriptors = {name: describe(entry.pixels, entry.face) for name, entry in people.items()}
        pairs = summary.real_pairs(descriptors, {name: entry.person for name, entry in people.items()})
        assert ((pairs["distance"] < SAME_PERSON) == pairs["same_person"]).all()
        assert set(pairs["same_person"]) == {True, False}
