"""The columns with which MLflow's UI opens the runs of the benchmark."""

import json

from benchmarks.scoring.evaluate import image_metrics
from eggan.tracking import open_store, score_view
from eggan.tracking.address import SINGLE
from eggan.tracking.store import sibling_store
from reports.style.metric_catalogue import METRICS


def test_twelve_metrics_come_first_and_runs_record_them():
    columns = json.loads(score_view.view_state())["selectedColumns"]
    metrics = [column[len("metrics.`") : -1] for column in columns if column.startswith("metrics.")]
    assert metrics == list(score_view.FIRST_METRICS)
    assert len(metrics) == 12
    for name in metrics:
        _, _, key = name.partition("/")
        group, _, metric = key.partition("/")
        assert key in METRICS
        assert group == "au" or metric in image_metrics(64)[group]


def test_the_benchmark_has_the_view_and_other_experiments_have_none(tmp_path):
    store = open_store(None, tmp_path)
    tags = store.client.get_experiment(store.experiment_id).tags
    assert tags[score_view.TAG] == score_view.view_state()
    single = sibling_store(store, SINGLE, tmp_path)
    assert score_view.TAG not in store.client.get_experiment(single.experiment_id).tags
    store.client.delete_experiment_tag(store.experiment_id, score_view.TAG)  # as stores of before
    again = open_store(None, tmp_path)
    assert score_view.TAG in again.client.get_experiment(again.experiment_id).tags


def test_the_address_names_the_view_and_without_runs_lists_experiments():
    assert (
        score_view.page("7") == "#/experiments/7/runs?workflowType=machine_learning&viewStateShareKey=scores"
    )
    assert score_view.page("") == "#/experiments?workflowType=machine_learning"
