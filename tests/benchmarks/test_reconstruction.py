"""The self-reconstruction row of a cell."""

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.running import environment
from benchmarks.scoring import scores
from benchmarks.scoring.evaluate import NO_RECONSTRUCTION, REFERENCE_AS_IT_IS, Editor, editor_of, evaluate
from eggan.errors import UserError
from eggan.evaluation.reading import images_of
from tests.benchmarks.fakes import FakeConfig, PaintingMethod, make_bench, tiny_suite

NAMES = ("accuracy", "similarity", "psnr", "msssim_w3", "lpips", "au_mse")


@pytest.fixture(scope="module")
def scoring(tmp_path_factory):
    bench, suite = make_bench(tmp_path_factory.mktemp("reconstruction")), tiny_suite()
    return environment.open_suite(suite, bench).scoring


@pytest.fixture(autouse=True)
def no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("EGGAN_WEIGHTS", raising=False)


def unedited(request, truth):
    return request.source


def scored(scoring, reconstruct):
    return evaluate(Editor(unedited, ("source",), reconstruct), scoring)


def test_a_perfect_reconstruction_has_the_best_of_every_metric(scoring):
    result = scored(scoring, lambda request: request.source)
    expected = {
        "accuracy": 100.0,
        "similarity": 1.0,
        "psnr": scores.PSNR_CAP,
        "msssim_w3": 1.0,
        "au_mse": 0.0,
    }
    for name, value in expected.items():
        assert result.summary[f"test/reconstruction/{name}"] == pytest.approx(value, abs=1e-4), name
    assert "weights missing" in result.not_measured["test/reconstruction/lpips"]


def test_each_source_of_the_pairs_is_redrawn_once_and_kept_in_the_scores(scoring, tmp_path):
    asked = []

    def darker(request):
        asked.append(request)
        return request.source * 0.5 - 0.5

    result = scored(scoring, darker)
    data = scoring.splits[0]
    rows = np.unique(data.pairs["source_row"])
    assert sum(len(request.source) for request in asked) == len(rows)
    np.testing.assert_allclose(torch.cat([r.source_aus for r in asked]), data.sources.aus(rows))
    assert torch.cat([r.source_expression for r in asked]).tolist() == data.sources.expressions(rows).tolist()
    result.write(tmp_path)
    table = pd.read_parquet(tmp_path / "reconstruction.parquet")
    assert table["source_row"].tolist() == rows.tolist()
    assert set(table["split"]) == {"test"}
    source = images_of(data.sources.images[rows], "cpu")
    error = ((source * 0.5 - 0.5) - source).square().flatten(1).mean(1)
    np.testing.assert_allclose(table["psnr"], 10 * np.log10(4 / error.numpy()), atol=0.1)  # 8 bit rounding
    assert result.summary["test/reconstruction/psnr"] == pytest.approx(table["psnr"].mean())
    assert result.summary["test/reconstruction/accuracy"] == 100 * table["same"].mean()


def test_the_error_of_aus_is_against_the_sources_own(scoring):
    def one_au_more(request):
        images = request.source.clone()
        images[:, 0, :3] += 50 / 127.5  # the band of AU1: one intensity more
        return images

    found = scored(scoring, one_au_more).summary["test/reconstruction/au_mse"]
    assert found == pytest.approx(1 / 17, abs=1e-3)


def test_what_redraws_nothing_says_why(scoring):
    painter = editor_of(PaintingMethod(FakeConfig()), ("source", "source_aus", "target_aus"))
    for editor, reason in ((painter, NO_RECONSTRUCTION), (Editor(unedited, ("source",)), REFERENCE_AS_IT_IS)):
        result = evaluate(editor, scoring)
        assert {result.not_measured[f"test/reconstruction/{name}"] for name in NAMES} == {reason}
        assert not any("/reconstruction/" in name for name in result.summary)
        assert not result.reconstruction


def test_a_method_that_cannot_answer_leaves_the_row_out_and_keeps_its_other_scores(scoring):
    def refuse(request):
        raise UserError("a source here has no label")

    result = scored(scoring, refuse)
    assert result.not_measured["test/reconstruction/psnr"] == "a source here has no label"
    assert result.summary["test/au/skill"] == pytest.approx(0)


def test_a_method_with_a_reconstruction_is_scored_by_it(scoring):
    class Redrawing(PaintingMethod):
        def reconstruct(self, request):
            return request.source

    result = evaluate(editor_of(Redrawing(FakeConfig()), ("source", "source_aus", "target_aus")), scoring)
    assert result.summary["test/reconstruction/accuracy"] == 100
