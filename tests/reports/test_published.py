import numpy as np
import pytest

from eggan.aus import AU_COUNT
from reports.suite import published


@pytest.mark.parametrize("metric", ["mse", "pcc"])
@pytest.mark.parametrize("method", published.METHODS)
def test_rows_have_17_values_and_average_to_the_printed_mean(metric, method):
    row = published.table1(metric, method)[:AU_COUNT]
    assert len(row) == AU_COUNT
    # The paper rounds each value and the mean to two digits.
    assert abs(np.mean(row) - published.table1(metric, method)[-1]) < 0.0101


def test_rows_on_which_eggan_is_worse_than_homointerpgan():
    assert published.aus_where_worse("pcc") == (6, 10, 12, 14, 15, 17, 20, 23, 25, 26)
    assert published.aus_where_worse("mse") == (10, 12, 14, 17, 20, 25, 26)


def test_note_counts_from_the_rows():
    assert "on 10 of 17 AUs" in published.reading_note()
    assert "above on 7" in published.reading_note()
