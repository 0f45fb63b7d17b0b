"""py-feat: a second opinion, refused as labels; and how two tables of labels are compared."""

from pathlib import Path

import numpy as np
import pytest

from eggan.aus import AU_NUMBERS
from eggan.data.labels.label_commands import agreement
from eggan.data.labels.plain import read_plain
from eggan.data.labels.pyfeat import read_probabilities, second_opinion
from eggan.data.labels.read import read_labels
from eggan.errors import UserError
from tests.data.published import image_text, write_table

THERE = [number for number in AU_NUMBERS if number != 45]  # py-feat has AU43 instead
FILES = [f"p{k}/{k}.jpg" for k in range(8)]
RNG = np.random.default_rng(2)
AUS = np.round(np.where(RNG.random((8, 17)) < 0.5, 0.0, RNG.uniform(1.2, 5, (8, 17))), 3)


def pyfeat_text(inputs: list[str], aus: np.ndarray, frames: list[int] | None = None) -> str:
    """Return py-feat's output: face box, landmarks, pose, AUs, emotions, input, frame."""
    head = ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore", "x_0", "y_0", "Pitch",
            *(f"AU{number:02d}" for number in THERE), "AU43", "anger", "input", "frame"]  # fmt: skip
    kept = [AU_NUMBERS.index(number) for number in THERE]
    lines = [
        ",".join(["1", "2", "30", "40", "0.99", "3", "4", "0.1", *(f"{v:.4f}" for v in values[kept]), "0.1",
                  "0.2", file, str(frames[k] if frames else k)])
        for k, (file, values) in enumerate(zip(inputs, aus, strict=True))
    ]  # fmt: skip
    return "\n".join([",".join(head), *lines]) + "\n"


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    return write_table(tmp_path / "au.csv", FILES, AUS)


def test_it_is_refused_as_labels_with_the_reason(tmp_path: Path, eggan) -> None:
    (tmp_path / "feat.csv").write_text(pyfeat_text(FILES, AUS / 5))
    with pytest.raises(UserError, match=r"probabilities .* not intensities: it cannot label or score"):
        read_labels(tmp_path / "feat.csv")
    (tmp_path / "photos").mkdir()
    status, _, err = eggan(
        "data", "build", "folder", "--root", tmp_path / "photos", "--labels", tmp_path / "feat.csv"
    )
    assert (status, err.count("\n")) == (2, 1)
    assert "not intensities" in err


def test_a_second_opinion_that_agrees_and_one_that_does_not(tmp_path: Path, labels: Path, eggan) -> None:
    inputs = [f"/home/me/photos/{file}" for file in FILES]
    present = (AUS >= 1) * 0.6 + 0.2
    (tmp_path / "feat.csv").write_text(pyfeat_text(inputs, present))
    table = second_opinion(read_plain(labels), read_probabilities(tmp_path / "feat.csv"))
    assert list(table["au"]) == [f"au{number:02d}" for number in THERE]
    assert (table["auc"] == 1).all()
    assert list(table["present"]) == [int((AUS[:, AU_NUMBERS.index(n)] >= 1).sum()) for n in THERE]
    (tmp_path / "feat.csv").write_text(pyfeat_text(inputs, 1 - present))
    assert (second_opinion(read_plain(labels), read_probabilities(tmp_path / "feat.csv"))["auc"] == 0).all()
    status, out, _ = eggan("data", "compare-labels", labels, tmp_path / "feat.csv")
    assert status == 0
    assert "au12" in out


def test_faces_that_py_feat_did_not_find_or_found_twice_are_left_out(tmp_path: Path) -> None:
    text = pyfeat_text(["a.jpg", "b.jpg", "c.jpg", "c.jpg"], AUS[:4] / 5, [0, 1, 2, 2]).splitlines()
    lost = text[2].split(",")
    lost[8:24] = ["nan"] * 16
    (tmp_path / "feat.csv").write_text("\n".join([*text[:2], ",".join(lost), *text[3:]]))
    assert list(read_probabilities(tmp_path / "feat.csv").index) == ["a"]


def test_frames_of_a_video_are_kept_apart(tmp_path: Path) -> None:
    (tmp_path / "feat.csv").write_text(pyfeat_text(["v.avi"] * 3, AUS[:3] / 5, [0, 1, 2]))
    assert list(read_probabilities(tmp_path / "feat.csv").index) == ["v#0", "v#1", "v#2"]


def test_intensities_are_no_probabilities(tmp_path: Path, labels: Path) -> None:
    (tmp_path / "feat.csv").write_text(pyfeat_text(FILES, AUS))
    with pytest.raises(UserError, match=r"outside \[0, 1\]"):
        read_probabilities(tmp_path / "feat.csv")
    (tmp_path / "feat.csv").write_text(pyfeat_text(["x.jpg"] * 1, AUS[:1] / 5))
    with pytest.raises(UserError, match="no image in common"):
        second_opinion(read_plain(labels), read_probabilities(tmp_path / "feat.csv"))
    with pytest.raises(UserError, match="not py-feat's output"):
        read_probabilities(labels)


def test_two_tables_of_intensities_are_compared(tmp_path: Path, labels: Path, eggan) -> None:
    flat = tmp_path / "openface"
    flat.mkdir()
    for file, values in zip(FILES, np.clip(AUS + 0.1, 0, 5), strict=True):
        (flat / f"{Path(file).stem}.csv").write_text(image_text(values))
    table = agreement(read_labels(flat), read_plain(labels))
    assert set(table["n"]) == {8}
    assert table["mse"].to_numpy() == pytest.approx(0.01, abs=0.002)
    assert (table["pcc"] > 0.99).all()
    swapped = agreement(read_plain(labels), read_labels(flat))
    assert swapped["mse"].to_numpy() == pytest.approx(table["mse"].to_numpy())
    status, out, _ = eggan("data", "compare-labels", flat, labels)
    assert status == 0
    assert "OpenFace of unknown version static and table" in out
    other = write_table(tmp_path / "other.csv", ["x.jpg"], AUS[:1])
    status, _, err = eggan("data", "compare-labels", labels, other)
    assert (status, err) == (2, "eggan: the two label tables have no image in common\n")
