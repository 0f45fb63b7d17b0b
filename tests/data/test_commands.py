"""`eggan data info`."""

import numpy as np


def test_info_counts_and_checks(eggan, dataset_folder):
    status, out, err = eggan("data", "info", dataset_folder)
    assert (status, err) == (0, "")
    assert "8 of 64 x 64 pixels" in out
    assert "exact 1" in out
    assert "content hash matches" in out
    table = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line}
    assert table["train"] == ["3", "6", "2", "to", "2"]
    assert table["test"] == ["1", "2", "2", "to", "2"]
    assert table["angry"] == ["3", "1"]


def test_info_finds_a_changed_image(eggan, dataset_folder):
    images = np.load(dataset_folder / "images.npy")
    images[0] = 0
    np.save(dataset_folder / "images.npy", images)
    status, _, err = eggan("data", "info", dataset_folder)
    assert status == 2
    assert "content hash differs" in err


def test_a_folder_that_is_no_dataset_is_one_line(eggan, tmp_path):
    status, _, err = eggan("data", "info", tmp_path)
    assert status == 2
    assert "dataset.json is missing" in err
    assert err.count("\n") == 1
