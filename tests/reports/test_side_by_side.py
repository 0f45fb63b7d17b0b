"""Estimates that are made side by side are those that are made one after another."""

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from reports.suite import estimates
from reports.suite.estimates import side_by_side
from reports.suite.sections import sections_of
from reports.suite.suite_tables import differences
from tests.reports.fakes import make_frame
from tests.reports.test_tables import quiet


def blas_threads() -> list[int]:
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_results_keep_their_order_errors_come_through_and_blas_has_its_threads_back():
    before = blas_threads()
    assert before
    found = side_by_side(lambda number: (number, max(blas_threads())), range(20))
    assert list(found) == [(number, 1) for number in range(20)]
    with pytest.raises(ZeroDivisionError):
        list(side_by_side(lambda number: 1 // number, [1, 0, 2]))
    assert blas_threads() == before


def test_the_number_of_cores_changes_no_digit(monkeypatch):
    monkeypatch.setattr(estimates, "RESAMPLES", 40)
    monkeypatch.setattr(estimates, "DIFFERENCE_RESAMPLES", 40)
    frame, made = make_frame(splits=("test", "wide")), []
    for cores in (1, 4):
        monkeypatch.setattr(estimates, "allowed_cores", lambda cores=cores: cores)
        sections = sections_of(frame, quiet)
        made.append((sections, [differences(section, quiet) for section in sections]))
    (alone, alone_tables), (together, together_tables) = made
    assert repr(alone_tables) == repr(together_tables)
    for one, other in zip(alone, together, strict=True):
        assert list(one.intervals) == list(other.intervals)
        assert list(one.margins) == list(other.margins)
        for key, found in one.intervals.items():
            assert np.array_equal(found.low, other.intervals[key].low, equal_nan=True), key
