"""Errors that are rounding are told from those of a formula that is slightly another."""

import numpy as np
import pytest

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.core.digits import is_noise
from bncheck.core.truth import truth

CASE = build(CaseSpec(n=8, c=3, seed=2))


def off(case, tensor, change):
    """Return the right tensor, and what a function of the case adds to it."""
    return truth(case).tensor(tensor) + 1e-8 * change(case)


def xhat(case):
    return (case.x - case.x.mean(axis=0)) / np.sqrt(case.x.var(axis=0) + case.spec.eps)


def rounded(case):
    return np.random.default_rng(7).uniform(-1.0, 1.0, case.x.shape)


def in_one_channel(case):
    return rounded(case) * (np.arange(case.spec.c) == 1)


def formula(case):
    return 3.0 - 2.0 * case.dy + xhat(case)


@pytest.mark.parametrize("tensor", ["y", "dx"])
@pytest.mark.parametrize(
    ("change", "noise"),
    [(rounded, True), (in_one_channel, True), (formula, False), (xhat, False), (lambda case: case.dy, False)],
)
def test_what_no_formula_gives_is_noise(tensor, change, noise):
    assert is_noise(CASE, tensor, off(CASE, tensor, change)) == noise


@pytest.mark.parametrize("tensor", ["y", "dx"])
def test_what_has_no_error_has_no_noise(tensor):
    assert not is_noise(CASE, tensor, truth(CASE).tensor(tensor))


@pytest.mark.parametrize(("m", "noise"), [(7, False), (8, True)])
def test_noise_is_told_from_a_fit_of_three_numbers_where_eight_values_are_there(m, noise):
    case = build(CaseSpec(n=m, c=2, seed=2))
    assert is_noise(case, "y", off(case, "y", rounded)) == noise


@pytest.mark.parametrize("shape", [(8, 1), (1, 3), (3,), ()])
def test_a_tensor_of_another_shape_is_not_judged(shape):
    assert not is_noise(CASE, "y", np.random.default_rng(7).normal(size=shape))
