"""Windows onto arrays."""

import math

import pytest

from bncheck.report import ArrayData, Comparison
from bncheck.reporters.matrices import how_many_differ, inline, panes


def compared(shape, want, got, allowed=1e-9, got_shape=None):
    return Comparison(
        "dx",
        "reference",
        ArrayData(shape, tuple(want)),
        ArrayData(got_shape or shape, tuple(got)),
        ArrayData((), (allowed,)),
    )


def texts(pane):
    return [[cell.text for cell in row] for row in pane.rows]


def marks(pane):
    return [[cell.differs for cell in row] for row in pane.rows]


def test_a_small_matrix_is_shown_whole():
    expected, found = panes(compared((2, 2), (1, 2, 3, 4), (1, 2, 3, 5)))
    assert expected.title == "dx"
    assert texts(expected) == [["1.0000", "2.0000"], ["3.0000", "4.0000"]]
    assert marks(found) == [[False, False], [False, True]]
    assert not any(map(any, marks(expected)))


def test_a_cell_is_as_severe_as_its_share_of_the_worst_error():
    _, found = panes(compared((6,), [0.0] * 6, [0.0, 0.009, 0.09, 0.4, 1.0, math.inf]))
    assert [cell.level for row in found.rows for cell in row] == [0, 1, 2, 3, 4, 4]


@pytest.mark.parametrize(
    ("shape", "worst", "title"),
    [
        ((), 0, "dx"),
        ((3,), 1, "dx"),
        ((50,), 49, "dx[44:50]"),
        ((50,), 0, "dx[0:6]"),
        ((40, 3), 60, "dx[17:23, :]"),
        ((2, 3, 4), 17, "dx[1, :, :]"),
        ((2, 3, 9, 9), 81 * 5 + 9 * 8 + 8, "dx[1, 2, 3:9, 3:9]"),
    ],
)
def test_the_window_holds_the_worst_element_and_its_title_says_where(shape, worst, title):
    size = math.prod(shape)
    want = [float(i) for i in range(size)]
    got = [value + 1e3 * (i == worst) for i, value in enumerate(want)]
    _, found = panes(compared(shape, want, got))
    assert found.title == title
    assert [cell.text for row in found.rows for cell in row if cell.differs] == [f"{got[worst]:.4f}"]


def test_a_nan_is_the_worst_of_all():
    _, found = panes(compared((20,), [1.0] * 20, [2.0] * 10 + [math.nan] + [2.0] * 9), columns=1)
    assert texts(found) == [["nan"]]


def test_the_same_nan_or_infinity_on_both_sides_is_no_difference():
    assert how_many_differ(compared((3,), (math.nan, math.inf, 1.0), (math.nan, math.inf, 1.0))) == 0
    assert how_many_differ(compared((3,), (math.inf, math.nan, 1.0), (-math.inf, 1.0, math.nan))) == 3


def test_what_is_allowed_is_not_marked():
    assert how_many_differ(compared((2,), (1.0, 1.0), (1.05, 1.2), allowed=0.1)) == 1


def test_values_that_differ_late_are_spelled_until_they_do():
    expected, found = panes(compared((1,), (1.0,), (1.0 + 2e-12,), allowed=1e-13))
    assert texts(expected) != texts(found)


def test_numbers_of_very_different_size_are_spelled_with_exponents():
    expected, _ = panes(compared((2,), (1e-9, 1e6), (1e-9, 1e6)))
    assert texts(expected) == [["1e-09", "1e+06"]]


def test_other_shapes_are_shown_as_they_are():
    comparison = compared((2,), (1, 2), (1, 2, 3, 4), got_shape=(2, 2))
    expected, found = panes(comparison)
    assert (expected.title, found.title) == ("dx of shape (2,)", "dx of shape (2, 2)")
    assert how_many_differ(comparison) == 4


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 3)])
def test_empty_arrays_are_shown_as_nothing(shape):
    comparison = compared(shape, (), ())
    assert how_many_differ(comparison) == 0
    assert not [cell for pane in panes(comparison) for row in pane.rows for cell in row]


def test_inline_shows_small_arrays_and_describes_large_ones():
    small = ArrayData((2, 2), (0.5, -1.0, 2.0, 1e6))
    assert inline(small, 60) == "[[0.5, -1], [2, 1e+06]]"
    assert inline(small, 10) == "shape (2, 2), from -1 to 1e+06"
    assert inline(ArrayData((), (0.5,)), 60) == "0.5"
    assert inline(ArrayData((1, 1, 2), (0.5, 1.0)), 60) == "[[[0.5, 1]]]"
    holes = ArrayData((40,), (math.nan,) * 39 + (1.0,))
    assert inline(holes, 60) == "shape (40,), from 1 to 1, 39 not finite"


def test_inline_tells_close_values_apart():
    assert inline(ArrayData((2,), (1e6, 1e6 + 0.25)), 60) == "[1000000, 1000000.2]"
