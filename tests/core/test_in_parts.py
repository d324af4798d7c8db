"""Large cases are compared a few channels at a time, and to the same end as whole."""

import numpy as np
import pytest

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.core import truth as module
from bncheck.core.tolerance import compared
from bncheck.core.truth import _joined, allowances, beside, in_parts, statistics, truth
from bncheck.model import TENSORS, Outcome


@pytest.fixture(params=[(), (3, 2)], ids=["NC", "NCHW"])
def case(request, monkeypatch):
    monkeypatch.setattr(module, "_PART_ELEMENTS", 10)
    monkeypatch.setattr(module, "_PART_CHANNELS", 3)
    return build(CaseSpec(n=6, c=8, spatial=request.param, seed=3, constant=1))


def right(case):
    return {name: truth(case).tensor(name).copy() for name in TENSORS}


def test_parts_are_whole_channels_each_once(case):
    parts = list(in_parts(case))
    assert [part.spec.c for _, part in parts] == [3, 3, 2]
    np.testing.assert_array_equal(np.concatenate([part.x for _, part in parts], axis=1), case.x)
    np.testing.assert_array_equal(np.concatenate([part.beta for _, part in parts]), case.beta)
    assert all(part.x.shape == part.spec.shape for _, part in parts)


def test_a_small_case_is_its_own_only_part():
    small = build(CaseSpec())
    [(at, part)] = in_parts(small)
    assert part is small
    assert at == slice(0, small.spec.c)


def test_statistics_are_those_of_the_whole(case):
    fwd, found = truth(case).forward, statistics(case)
    np.testing.assert_array_equal(found.var, fwd.var)
    np.testing.assert_array_equal(found.inv_std, fwd.inv_std)


@pytest.mark.parametrize("tensor", TENSORS)
@pytest.mark.parametrize("channel", [1, 4, 7])
def test_an_error_is_found_in_whichever_part_it_is(case, tensor, channel):
    found = right(case)
    at = (4, channel, *(1 for _ in case.spec.spatial)) if tensor in ("y", "dx") else (channel,)
    found[tensor][at] += 1e-3
    worst = beside(case, found)[tensor]
    assert worst.outcome is Outcome.FAIL
    assert worst.at == at
    assert worst.error == pytest.approx(1e-3)
    assert worst.got == found[tensor][at]
    assert worst.want == truth(case).tensor(tensor)[at]
    assert worst.allowed == getattr(allowances(case), tensor)[at]
    assert all(other.outcome is Outcome.PASS for name, other in beside(case, found).items() if name != tensor)


def test_figures_over_all_elements_are_those_of_the_whole(case):
    for name, found in beside(case, right(case)).items():
        wanted, allowed = truth(case).tensor(name), getattr(allowances(case), name)
        assert found.size == wanted.size
        assert found.peak == np.abs(wanted).max()
        assert found.allowed_sum == pytest.approx(allowed.sum(), rel=1e-12, abs=0)
        assert found.finite


def test_a_value_that_is_not_finite_shows_from_any_part(case):
    found = right(case)
    found["dbeta"][1] = np.nan
    assert not beside(case, found)["dbeta"].finite
    assert beside(case, found)["dgamma"].finite


def test_what_a_one_pass_variance_costs_is_allowed_only_where_asked_for(case):
    found = right(case)
    one_pass = allowances(case, one_pass=True).dgamma
    found["dgamma"] += 0.9 * one_pass
    assert (one_pass > 1.2 * allowances(case).dgamma).any()
    assert beside(case, found)["dgamma"].outcome is Outcome.FAIL
    assert beside(case, found, one_pass=True)["dgamma"].outcome is Outcome.PASS


def test_other_tensors_of_the_same_case_are_compared_anew(case):
    found = right(case)
    assert beside(case, found)["dx"].outcome is Outcome.PASS
    assert beside(case, {**found, "dx": 2 * found["dx"]})["dx"].outcome is Outcome.FAIL


def test_of_parts_that_are_as_wrong_the_first_is_told(case):
    found = right(case)
    found["dbeta"][[1, 7]] = np.nan
    assert beside(case, found)["dbeta"].at == (1,)


def test_a_value_that_is_not_finite_shows_beside_an_error_where_none_is_allowed():
    one, none = np.ones(1), np.zeros(1)
    finite, other = compared(one, none, none), compared(np.full(1, np.nan), one, one)
    assert finite.ratio == other.ratio == np.inf
    assert _joined(finite, finite, 0, 1).finite
    assert not _joined(finite, other, 0, 1).finite
    assert not _joined(other, finite, 0, 1).finite
