"""MMI: real AVI files and XML as published, frames chosen by coding or by labels, frontal views found."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eggan.cli import main
from eggan.data.dataset import Dataset, load_dataset
from eggan.data.photos.frontal import CUTS, cut, find_cut
from eggan.data.photos.mmi import BY_CODING, BY_LABELS, read_sessions
from eggan.data.photos.records import FaceProblem
from eggan.data.photos.video import read_frames, write_changed
from eggan.data.synfacs import Nuisance, person, render
from eggan.errors import UserError
from tests.data.published import MODELS, FakeOpenFace, rafd_identity, sequence_text, write_avi, write_session

ANGRY, HAPPY, SAD = 1, 4, 5  # MMI's codes
CODING = {1: {2: 1, 4: 2, 5: 3, 6: 0}, 4: {3: 1, 4: 2, 6: 0}}  # phases by frame, from 1


def rows_of(direct: Dataset, person: int, expression: str) -> list[int]:
    table = direct.manifest
    chosen = (table["identity"] == rafd_identity(MODELS[person])) & (table["expression"] == expression)
    return list(np.flatnonzero(chosen))


def movement(direct: Dataset, person: int, expression: str, still: int = 1) -> list[int]:
    """Return rows that make a video: neutral, the expression, neutral."""
    neutral, active = rows_of(direct, person, "neutral"), rows_of(direct, person, expression)
    return [*neutral[:still], *active, neutral[2]]


def beside(image: np.ndarray, profile: np.ndarray, left: bool) -> np.ndarray:
    """Return a dual view: the face on one side, the profile on the other."""
    return np.concatenate([image, profile] if left else [profile, image], axis=1)


@pytest.fixture(scope="module")
def profiles() -> list[np.ndarray]:
    """Both people filmed from the side."""
    still = np.zeros(17)
    return [render(person(0, "photos", index), still, Nuisance(yaw=75), "frontal", 64) for index in range(2)]


@pytest.fixture(scope="module")
def films(direct: Dataset) -> dict[str, list[int]]:
    """The rows of the dataset that each session's video shows, by the video's name."""
    return {
        "S001-001": movement(direct, 0, "happy"),
        "S002-002": movement(direct, 1, "sad", still=2),
        "S001-003": movement(direct, 0, "angry"),
        "S002-004": movement(direct, 1, "surprised"),
        "S001-005": movement(direct, 0, "sad"),
    }


@pytest.fixture(scope="module")
def tree(
    direct: Dataset,
    films: dict[str, list[int]],
    profiles: list[np.ndarray],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A download: plain, coded, dual (face left and right), turned, from the side, and still pictures."""
    root = tmp_path_factory.mktemp("mmi") / "MMI"
    pictures = {name: [np.array(direct.images[row]) for row in rows] for name, rows in films.items()}
    write_session(root, 1, 1, pictures["S001-001"], HAPPY)
    write_session(root, 2, 2, pictures["S002-002"], SAD, units=CODING)
    write_session(
        root, 3, 1, [beside(image, profiles[0], True) for image in pictures["S001-003"]], ANGRY, "2"
    )
    write_session(
        root, 4, 2, [beside(image, profiles[1], False) for image in pictures["S002-004"]], None, "2"
    )
    write_session(root, 5, 1, [np.rot90(image) for image in pictures["S001-005"]], SAD)
    write_session(root, 6, 2, pictures["S002-004"], view="1")
    stills = write_session(root, 7, 2, pictures["S002-004"])
    (stills / "S002-007.avi").rename(stills / "S002-007.jpg")
    return root


@pytest.fixture(scope="module")
def labels(direct: Dataset, films: dict[str, list[int]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OpenFace's files of all videos, in one folder, as users keep them."""
    folder = tmp_path_factory.mktemp("mmi-csv")
    for name, rows in films.items():
        (folder / f"{name}.csv").write_text(sequence_text(list(direct.aus(np.array(rows))), "2.0"))
    return folder


def arguments(root: Path, out: Path, *more: object) -> list[object]:
    return ["data", "build", "mmi", "--root", root, "--size", 64, "--align", "centre", "--val", 0,
            "--out", out, *more]  # fmt: skip


def check(built: Dataset, direct: Dataset, films: dict[str, list[int]]) -> None:
    """Compare every image and label with the render that the frame shows."""
    for place, (source, identity) in enumerate(built.manifest[["source_file", "identity"]].to_numpy()):
        file, frame = source.split("#")
        name = Path(file).stem
        row = films[name][int(frame)]
        assert identity == f"mmi-{int(name[1:4])}"
        assert (np.array(built.images[place]) == direct.images[row]).all(), source
        assert (built.aus(np.array([place])) == direct.aus(np.array([row]))).all(), source


def test_openface_labels_videos_and_frames_equal_the_renders(
    eggan, direct: Dataset, films: dict[str, list[int]], tree: Path, tmp_path: Path
) -> None:
    fake = FakeOpenFace(tmp_path / "bin")
    fake.answer_frames(direct.images, direct.aus(np.arange(len(direct.images))))
    status, _, err = eggan(*arguments(tree, tmp_path / "out", "--openface", fake.folder))
    assert status == 0, err
    built = load_dataset(tmp_path / "out")
    assert len(built.manifest) == 15
    check(built, direct, films)
    assert set(built.manifest["label_tool"]) == {"OpenFace"}
    assert built.manifest["label_version"].str.endswith(" dynamic").all()
    assert len(fake.calls()) == 5
    assert built.info["parameters"]["left_out"] == 2
    assert eggan(*arguments(tree, tmp_path / "out", "--openface", fake.folder))[0] == 0
    assert len(fake.calls()) == 5  # the second build asks OpenFace nothing
    assert load_dataset(tmp_path / "out").content_hash == built.content_hash


@pytest.fixture(scope="module")
def built(tree: Path, labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("mmi-out") / "data"
    given = ["--labels", labels, "--openface-version", "2.0.6", "--openface-mode", "static"]
    assert main([str(word) for word in arguments(tree, out, *given)]) == 0
    return load_dataset(out)


def test_labels_that_are_there_give_the_same(
    built: Dataset, direct: Dataset, films: dict[str, list[int]]
) -> None:
    check(built, direct, films)
    assert set(built.manifest["label_version"]) == {"2.0.6 static"}


def session(built: Dataset, number: int) -> pd.DataFrame:
    return built.manifest[built.manifest["source_file"].str.startswith(f"Sessions/{number}/")]


def test_frames_and_how_they_were_chosen_are_recorded(
    built: Dataset, direct: Dataset, films: dict[str, list[int]]
) -> None:
    coded = session(built, 2)
    assert list(coded["phase"]) == ["onset", "apex", "offset"]
    assert list(coded["frame"]) == ["0", "3", "5"]
    assert set(coded["chosen_by"]) == {BY_CODING}
    assert list(coded["expression"]) == ["neutral", "sad", "neutral"]
    labelled = session(built, 1)
    total = direct.aus(np.array(films["S001-001"])).sum(axis=1)
    assert list(labelled["frame"]) == ["0", str(total.argmax()), "4"]
    assert set(labelled["chosen_by"]) == {BY_LABELS}


def test_the_frontal_view_is_found_and_recorded(built: Dataset) -> None:
    found = {
        number: (set(session(built, number)["view"]), set(session(built, number)["cut"]))
        for number in range(1, 6)
    }
    assert found == {
        1: ({"frontal"}, {"whole"}),
        2: ({"frontal"}, {"whole"}),
        3: ({"dual"}, {"left half"}),
        4: ({"dual"}, {"right half"}),
        5: ({"frontal"}, {"turned clockwise"}),
    }
    assert set(session(built, 4)["expression"]) == {"unlabelled", "neutral"}


def test_a_dry_run_needs_no_labels(eggan, tree: Path, tmp_path: Path) -> None:
    status, out, err = eggan(*arguments(tree, tmp_path / "out", "--dry-run"))
    assert (status, err) == (0, "")
    assert "5 videos of 2 people; of 1 onset, apex and offset are coded" in out
    assert "left out: 1 x filmed from the side" in out
    assert "left out: 1 x still pictures" in out
    assert not (tmp_path / "out").exists()


def test_a_dry_run_refuses_a_split_of_nobody_there(eggan, tree: Path, tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("identity,split\nanna,train\n")
    words = arguments(tree, tmp_path / "out", "--split", tmp_path / "split.csv", "--dry-run")
    status, _, err = eggan(*words)
    assert status == 2
    assert "the split names none of the 2 people here, such as mmi-" in err


def test_a_lossy_video_gives_nearly_the_same_images(
    eggan, direct: Dataset, films: dict[str, list[int]], tmp_path: Path
) -> None:
    for number, name in ((1, "S001-001"), (2, "S002-002")):
        images = [np.array(direct.images[row]) for row in films[name]]
        write_session(tmp_path / "MMI", number, number, images, codec="mjpeg")
        rows = list(direct.aus(np.array(films[name])))
        (tmp_path / f"{name}.csv").write_text(sequence_text(rows))
    out = tmp_path / "out"
    assert eggan(*arguments(tmp_path / "MMI", out, "--labels", tmp_path, "--val", 0))[0] == 0
    data = load_dataset(out)
    pictures = [films[Path(f).stem.split(".")[0]][int(f.split("#")[1])] for f in data.manifest["source_file"]]
    error = np.abs(np.array(data.images).astype(float) - direct.images[pictures]).mean()
    assert 0 < error < 4


def test_cuts_that_cannot_be_decided() -> None:
    image = np.arange(4 * 8 * 3, dtype=np.uint8).reshape(4, 8, 3)
    assert [cut(image, name).shape for name in CUTS] == [
        (4, 8, 3),
        (4, 4, 3),
        (4, 4, 3),
        (8, 4, 3),
        (8, 4, 3),
    ]
    for faces, found in ((0, 0), (1, 2)):
        with pytest.raises(FaceProblem, match=f"a frontal face in {found} of 2 halves"):
            find_cut(image, True, lambda _, faces=faces: faces)
    assert find_cut(image, False, lambda _: 0) == "whole"
    assert find_cut(image, False, lambda part: int(part.shape == (8, 4, 3))) == "turned clockwise"


def no_session_xml(folder: Path) -> None:
    (folder / "session.xml").unlink()


def cut_session_xml(folder: Path) -> None:
    (folder / "session.xml").write_text("<session><subject id='3'")


def no_subject(folder: Path) -> None:
    (folder / "session.xml").write_text("<session><track view='0'/></session>")


def no_view(folder: Path) -> None:
    (folder / "session.xml").write_text("<session><subject id='3'/></session>")


def no_video(folder: Path) -> None:
    (folder / "S003-003.avi").unlink()


def two_videos(folder: Path) -> None:
    (folder / "copy.avi").write_bytes((folder / "S003-003.avi").read_bytes())


def empty_video(folder: Path) -> None:
    (folder / "S003-003.avi").write_bytes(b"")


def broken_video(folder: Path) -> None:
    data = (folder / "S003-003.avi").read_bytes()
    (folder / "S003-003.avi").write_bytes(data[:200])


def video_without_frames(folder: Path) -> None:
    import av

    with av.open(str(folder / "S003-003.avi"), "w", format="avi") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height = stream.width = 64
        stream.pix_fmt = "bgr0"
        container.start_encoding()


def coding(text: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "S003-003-oao_aucs.xml").write_text(f"<x><ActionUnit Number='12'>{text}</ActionUnit></x>")

    return write


def marker(frame: object, phase: object) -> str:
    return f"<Marker Frame='{frame}' Type='{phase}'/>"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (no_session_xml, "session.xml is missing"),
        (cut_session_xml, "session.xml cannot be read"),
        (no_subject, "session.xml names no subject"),
        (no_view, "session.xml has the view ''"),
        (no_video, "0 videos instead of one"),
        (two_videos, "2 videos instead of one"),
        (empty_video, "cannot be read as a video"),
        (broken_video, "cannot be read as a video"),
        (video_without_frames, "holds no frame"),
        (coding(marker("x", 1)), "a marker of AU 12 has no frame or type"),
        (coding(marker(0, 1) + marker(2, 2)), "a marker of AU 12 is before frame 1"),
        (coding(marker(1, 1) + marker(3, 2)), "no frame on both sides of the apex"),
        (coding(marker(2, 1) + marker(3, 2) + marker(99, 0)), "has 5 frames: there is no frame 98"),
        (lambda folder: None, "neither an onset-apex-offset coding nor labels of its frames"),
    ],
)
def test_a_session_that_cannot_be_used_is_listed_with_its_reason(
    eggan, direct: Dataset, films, labels: Path, tmp_path: Path, spoil, reason: str
) -> None:
    root = tmp_path / "MMI"
    for number, subject, name in ((1, 1, "S001-001"), (2, 2, "S002-002"), (3, 3, "S001-001")):
        write_session(root, number, subject, [np.array(direct.images[row]) for row in films[name]])
    spoil(root / "Sessions" / "3")
    status, _, err = eggan(*arguments(root, tmp_path / "out", "--labels", labels))
    assert status == 2
    assert "cannot be used" in err.splitlines()[-1]
    listed = (tmp_path / "out.problems.csv").read_text()
    assert "Sessions/3" in listed
    assert "Sessions/1" not in listed
    assert reason in listed
    assert eggan(*arguments(root, tmp_path / "out", "--labels", labels, "--allow-incomplete"))[0] == 0
    assert len(load_dataset(tmp_path / "out").manifest) == 6


def test_an_apex_at_an_end_of_the_video_is_no_movement(direct: Dataset, eggan, tmp_path: Path) -> None:
    rows = [*rows_of(direct, 0, "neutral"), rows_of(direct, 0, "happy")[0]]
    write_session(tmp_path / "MMI", 1, 1, [np.array(direct.images[row]) for row in rows])
    (tmp_path / "S001-001.csv").write_text(sequence_text(list(direct.aus(np.array(rows)))))
    status, _, err = eggan(*arguments(tmp_path / "MMI", tmp_path / "out", "--labels", tmp_path))
    assert status == 2
    assert "nothing of mmi can be used" in err
    assert "no frame on both sides of the apex (onset 0, apex 3, offset 3 by largest sum of AU labels)" in err


def test_a_video_that_openface_cannot_label_is_listed(eggan, direct: Dataset, films, tmp_path: Path) -> None:
    fake = FakeOpenFace(tmp_path / "bin")
    fake.answer_frames(direct.images, direct.aus(np.arange(len(direct.images))))
    for number, name in ((1, "S001-001"), (2, "S002-002"), (3, "S001-003")):
        write_session(tmp_path / "MMI", number, number, [np.array(direct.images[row]) for row in films[name]])
    fake.refuse_frame(np.array(direct.images[films["S001-003"][3]]))
    out = tmp_path / "out"
    status, _, err = eggan(*arguments(tmp_path / "MMI", out, "--openface", fake.folder, "--allow-incomplete"))
    assert status == 0, err
    listed = (tmp_path / "out.problems.csv").read_text()
    assert "Sessions/3/S003-003.avi,FeatureExtraction ended with status 1: ERROR: Could not open" in listed


def test_nothing_leads_out_of_the_root(direct: Dataset, films, tmp_path: Path) -> None:
    images = [np.array(direct.images[row]) for row in films["S001-001"]]
    away = write_session(tmp_path / "away", 9, 1, images)
    root = tmp_path / "MMI"
    write_session(root, 1, 1, images)
    (root / "Sessions" / "2").symlink_to(away)
    with pytest.raises(UserError, match="is a link that leads out of"):
        read_sessions(root)
    (root / "Sessions" / "2").unlink()
    for name in ("S001-001.avi", "session.xml", "S001-001.xml"):
        kept = (root / "Sessions" / "1" / name).rename(tmp_path / name)
        (root / "Sessions" / "1" / name).symlink_to(kept)
        with pytest.raises(UserError, match="is a link that leads out of"):
            read_sessions(root)
        (root / "Sessions" / "1" / name).unlink()
        kept.rename(root / "Sessions" / "1" / name)
    assert len(read_sessions(root).usable) == 1


def test_a_folder_that_is_not_mmi(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no folder Sessions/<id>"):
        read_sessions(tmp_path)


def test_the_track_of_the_video_tells_its_view(direct: Dataset, films, tmp_path: Path) -> None:
    folder = write_session(tmp_path, 1, 1, [np.array(direct.images[row]) for row in films["S001-001"]])
    (folder / "session.xml").write_text(
        "<session><subject id='1'/><track filename='S001-001.wav' view='1'/>"
        "<track filename='S001-001.avi' view='2'/></session>"
    )
    assert [found.view for found in read_sessions(tmp_path).usable] == ["dual"]


def test_videos_are_written_without_loss(direct: Dataset, tmp_path: Path) -> None:
    images = np.array(direct.images[:3])
    source = write_avi(tmp_path / "a.avi", list(images))
    half = write_changed(source, lambda image: image[:, :32], tmp_path / "new" / "b.avi")
    frames = read_frames(half, [0, 2])
    assert sorted(frames) == [0, 2]
    assert (frames[2] == images[2][:, :32]).all()
    with pytest.raises(UserError, match="no such video"):
        read_frames(tmp_path / "c.avi", [0])
    with pytest.raises(UserError, match=r"a\.avi has 3 frames: there is no frame 3"):
        read_frames(source, [3])
    (tmp_path / "text.avi").write_text("no video " * 50)
    with pytest.raises(UserError, match="cannot be read as a video"):
        write_changed(tmp_path / "text.avi", lambda image: image, tmp_path / "d.avi")
    assert not list(tmp_path.glob(".*d.avi"))
