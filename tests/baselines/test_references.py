import numpy as np
import pytest
import torch

from baselines import references
from eggan.method import EditRequest


@pytest.fixture
def request_of_two():
    images = torch.rand(2, 3, 8, 8) * 2 - 1
    aus = torch.zeros(2, 17)
    return EditRequest(images, aus, aus + 1, torch.zeros(2, dtype=torch.int64), images.flip(0))


def test_each_reference_returns_what_its_name_says(request_of_two):
    truth = torch.full((2, 3, 8, 8), 0.5)
    assert references.copy_source(request_of_two, truth) is request_of_two.source
    assert references.target_passthrough(request_of_two, truth) is request_of_two.reference
    assert references.oracle(request_of_two, truth) is truth


def test_oracle_without_truth_does_not_answer(request_of_two):
    with pytest.raises(ValueError, match="true edit"):
        references.oracle(request_of_two, None)


def test_mean_au_has_the_least_squared_error_of_all_constants():
    aus = np.random.default_rng(0).uniform(0, 5, (50, 17)).astype(np.float32)
    answer = references.mean_au(aus)
    error = np.square(aus - answer).mean()
    for shift in (-0.1, 0.1):
        assert np.square(aus - (answer + shift)).mean() > error
