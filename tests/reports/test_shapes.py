import numpy as np
import pytest

from flywheel.profiles import Column
from flywheel.reports.shapes import of_columns


def number(*values):
    points, counts = np.unique(np.array(values, float), return_counts=True)
    return Column("number", 0.0, points=points, masses=counts / counts.sum(), distinct=len(points))


def word(**shares):
    return Column("word", 0.0, values=shares)


def test_both_distributions_are_cut_at_the_same_edges_and_hold_every_row():
    shape = of_columns({"newest": number(*np.linspace(0, 10, 200)), "usual": number(*np.linspace(5, 20, 300))})

    assert [each[:2] for each in shape.bins["newest"]] == [each[:2] for each in shape.bins["usual"]]
    assert sum(share for _, _, share in shape.bins["newest"]) == pytest.approx(1)
    assert sum(share for _, _, share in shape.bins["usual"]) == pytest.approx(1)


def test_one_value_far_out_leaves_the_rest_to_be_seen():
    shape = of_columns({"newest": number(*np.linspace(0, 10, 500), 1e9)})

    assert shape.bins["newest"][-1][1] <= 10
    assert sum(share > 0 for _, _, share in shape.bins["newest"]) > 10


def test_few_values_are_categories_in_their_order():
    shape = of_columns({"newest": number(0, 0, 0, 1), "usual": number(1, 10)})

    assert shape.shares == {"newest": {"0": 0.75, "1": 0.25, "10": 0}, "usual": {"0": 0, "1": 0.5, "10": 0.5}}
    assert shape.top(8) == ["0", "1", "10"]


def test_of_more_values_than_are_shown_the_frequent_ones_stay():
    shape = of_columns({"newest": number(*[10] * 90), "usual": number(2, 3, 5, 6, *[10] * 60, *[9] * 9)})

    assert shape.top(2) == ["9", "10"]
    assert "10" in shape.top(4)


def test_whole_numbers_have_a_bin_each():
    shape = of_columns({"newest": number(*range(5, 24))})

    assert shape.bins["newest"][0][:2] == (4.5, 5.5)
    assert len(shape.bins["newest"]) == 19


def test_a_rare_word_that_vanished_is_shown_among_frequent_ones():
    frequent = {f"w{count}": 0.1 for count in range(9)}
    shape = of_columns({"newest": word(**frequent), "usual": word(**frequent, gone=0.05)})

    assert "gone" not in shape.top(4)
    assert "gone" in shape.top(4, moved=True)


def test_a_span_without_values_keeps_its_place_beside_what_is_usual():
    empty = Column("number", 1.0)
    shape = of_columns({"newest": empty, "usual": number(*np.linspace(0, 1, 50))})

    assert list(shape.bins) == ["newest", "usual"]
    assert not shape.bins["newest"]
    assert not of_columns({"newest": empty, "usual": None})


def test_a_column_that_became_words_is_not_laid_over_numbers():
    shape = of_columns({"newest": word(**{"1,5": 1.0}), "usual": number(*range(50))})

    assert shape.shares["newest"] == {"1,5": 1.0}
    assert not shape.shares["usual"]
