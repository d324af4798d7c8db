"""The error against a parameter, a cell for each value: where cases fail, and by how many orders of magnitude."""

import math

import pytest

from bncheck.report import Trend
from bncheck.reporters.sparkline import MOST_CELLS, sparkline


def drawn(values, ratios, failed=None):
    trend = Trend("N", tuple(values), tuple(ratios), tuple(failed or [r > 1 for r in ratios]))
    return sparkline(trend).plain.split("  ")[1]


def test_cells_are_as_high_as_the_orders_of_magnitude():
    assert drawn([1, 2, 3, 4], [0.5, 1e4, 1e8, 0.1]) == ".▅█."


def test_of_several_cases_of_a_value_the_worst_is_shown():
    assert drawn([2, 2, 3, 3], [0.1, 1e8, 1e2, 1e4]) == "█▅"


def test_what_has_no_finite_error_is_highest():
    assert drawn([1, 2, 3], [math.inf, math.nan, 1e3], [True, True, True]) == "███"


def test_a_failure_within_the_bounds_is_the_lowest():
    assert drawn([1, 2], [0.5, 1e3], [True, True]) == "▁█"


def test_many_values_share_cells_and_none_is_lost():
    line = drawn(range(1, 1001), [1e3 if value in (1, 700) else 0.1 for value in range(1, 1001)])
    assert len(line) <= MOST_CELLS
    assert [at for at, cell in enumerate(line) if cell != "."] == [0, int(699 / 1000 * len(line))]


def test_the_range_is_said():
    assert sparkline(Trend("eps", (1e-12, 10.0), (1e2, 1e3), (True, True))).plain.endswith("from 1e-12 to 10")


@pytest.mark.parametrize("values", [(), (3.0,), (0.0, 1.0)])
def test_where_at_most_one_cell_has_an_error_nothing_is_drawn(values):
    ratios = tuple(10.0 * value for value in values)
    assert sparkline(Trend("more than one pixel", values, ratios, tuple(r > 1 for r in ratios))) is None
