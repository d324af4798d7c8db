"""Decisions from errors and bars."""

import numpy as np
import pytest
from dtypes import EVERY_DTYPE

from bncheck.core.precision import limits
from bncheck.core.tolerance import DECIDABLE, UNIT_ROUNDOFF, K, compared, decide, plainly_off, within
from bncheck.model import Outcome


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
def test_unit_roundoff_is_half_a_step_above_one(dtype):
    assert UNIT_ROUNDOFF[dtype] == limits(dtype).eps / 2


def test_an_error_above_k_bars_fails_whatever_the_others():
    outcome, worst = decide(np.array([0.0, K * 1e-3 * 1.01, 0.0]), np.full(3, 1e-3), np.full(3, 10.0))
    assert (outcome, worst) == (Outcome.FAIL, 1)


def test_an_error_within_k_bars_passes_if_the_bar_is_small_enough_to_decide():
    assert decide(np.array([K * 0.9e-6]), np.array([1e-6]), np.array([1.0]))[0] is Outcome.PASS


def test_a_bar_too_wide_to_see_one_per_cent_decides_nothing():
    assert decide(np.zeros(2), np.full(2, 1.1 * DECIDABLE / K), np.ones(2))[0] is Outcome.INCONCLUSIVE


def test_one_entry_that_decides_is_enough():
    assert decide(np.zeros(2), np.array([1.0, 1e-9]), np.ones(2))[0] is Outcome.PASS


def test_no_error_within_no_bar_is_right_and_any_error_is_wrong():
    assert decide(np.array([0.0]), np.array([0.0]), np.array([1.0]))[0] is Outcome.PASS
    assert decide(np.array([1e-300]), np.array([0.0]), np.array([1.0]))[0] is Outcome.FAIL


def test_within_names_the_worst_element_relative_to_its_own_allowance():
    want = np.array([[1.0, 2.0], [3.0, 4.0]])
    got = want + np.array([[1e-6, 0.0], [0.0, 2e-6]])
    allowed = np.array([[1e-7, 1e-5], [1e-5, 1e-5]])
    assert within(got, want, allowed) == (Outcome.FAIL, (0, 0))
    assert within(got, want, np.full((2, 2), 1e-5))[0] is Outcome.PASS


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_fails(bad):
    assert within(np.array([1.0, bad]), np.ones(2), np.full(2, 0.1)) == (Outcome.FAIL, (1,))


def test_an_allowance_as_large_as_the_values_compares_nothing():
    assert within(np.ones(2), np.ones(2), np.full(2, 0.02))[0] is Outcome.INCONCLUSIVE
    assert within(np.zeros(2), np.zeros(2), np.full(2, 1e-16))[0] is Outcome.PASS


def test_the_edge_of_what_is_allowed_is_allowed_and_what_just_decides_decides():
    assert decide(np.array([K * 2**-10]), np.array([2**-10]), np.array([1e9]))[0] is Outcome.PASS
    assert decide(np.zeros(1), np.array([DECIDABLE / K]), np.ones(1))[0] is Outcome.PASS


def test_scales_are_what_bars_are_small_against():
    assert decide(np.zeros(1), np.array([1e-4]), np.array([1e3]))[0] is Outcome.PASS
    assert decide(np.zeros(1), np.array([1e-4]), np.array([1e-3]))[0] is Outcome.INCONCLUSIVE


def test_an_error_that_is_no_number_is_not_the_worst():
    assert decide(np.array([np.nan, 1e-6]), np.full(2, 1e-6), np.ones(2)) == (Outcome.PASS, 1)
    assert decide(np.array([1e-6, 0.0]), np.array([1e-6, 0.0]), np.ones(2)) == (Outcome.PASS, 0)


def test_no_error_where_none_is_allowed_leaves_the_other_elements_to_be_judged():
    want, allowed = np.array([0.0, 5.0]), np.array([0.0, 1e-3])
    assert compared(want, want, allowed).ratio == 0
    found = compared(want + np.array([0.0, 5e-4]), want, allowed)
    assert (found.ratio, found.at) == (pytest.approx(0.5), (1,))
    assert compared(np.array([np.nan, 5.0]), want, allowed).ratio == np.inf


def test_values_beyond_all_bounds_are_compared_in_silence():
    largest = np.finfo(np.float64).max
    assert compared(np.array([-largest]), np.array([largest]), np.array([1.0])).ratio == np.inf
    assert compared(np.array([np.inf]), np.array([np.inf]), np.array([1.0])).outcome is Outcome.FAIL
    found = compared(np.array([1.0]), np.array([0.0]), np.array([0.0]))
    assert (found.ratio, found.finite) == (np.inf, True)
    assert not compared(np.array([np.inf, 1.0]), np.array([0.0, 1.0]), np.array([1.0, 1.0])).finite


@pytest.mark.parametrize(
    ("want", "peak"), [([-3.0, 2.0], 3.0), ([-3.0, -1.0], 3.0), ([1.0, 5.0], 5.0), ([0.0, 0.0], 0.0)]
)
def test_the_peak_is_the_largest_magnitude_of_either_sign(want, peak):
    want = np.array(want)
    assert compared(want, want, np.ones(2)).peak == peak
    assert within(want, want, np.full(2, 1.5 * DECIDABLE * peak))[0] is (Outcome.INCONCLUSIVE if peak else Outcome.PASS)


def test_what_is_off_by_more_than_a_thousandth_of_the_largest_is_plain():
    want = np.array([[4.0, -100.0], [0.0, 1.0]])
    assert plainly_off(want + np.array([[0.09, -0.09], [0.09, 0.0]]), want) is None
    assert plainly_off(want + np.array([[0.0, 0.09], [0.11, 0.0]]), want) == (1, 0)
    assert plainly_off(np.where(want == 1, np.nan, want), want) == (1, 1)


def test_what_cannot_be_compared_is_not_plainly_off():
    assert plainly_off(np.ones(2), np.array([0.0, np.inf])) is None
    assert plainly_off(np.ones(2), np.zeros(3)) is None
