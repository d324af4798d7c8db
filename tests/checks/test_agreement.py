"""What BN310 makes of y in eval mode beside y of training, from numbers: how far either may err, and what is shown."""

from dataclasses import replace

import numpy as np
import pytest
from layers import Keeping

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.agreement import eval_agrees_with_training
from bncheck.model import Evidence, Outcome

GAMMA, BETA, EPS = np.array([2.0, -0.5]), np.array([0.25, 3.0]), 0.1
CASE = replace(build(CaseSpec(n=5, c=2, eps=EPS)), gamma=GAMMA, beta=BETA)
# Deviations of 1 and of 20, from 0 and from 3.
X = np.random.default_rng(7).normal(size=(5, 2)) * [1.0, 20.0] + [0.0, 3.0]


def normalised(x, mean, var, gamma=GAMMA, beta=BETA):
    return gamma * (x - mean) / np.sqrt(var + EPS) + beta


def agreement(y, x=X, trained=None, case=CASE, precision=0.0, held=None, **told):
    """Return what is said where a layer holds these statistics, those of x if nothing else is said."""
    mean, var = held or (x.mean(axis=0), x.var(axis=0))
    trained = normalised(x, x.mean(axis=0), x.var(axis=0), case.gamma, case.beta) if trained is None else trained
    arrays = {"x": x, "y": y, "trained": trained, "mean": mean[None], "var": var[None]}
    facts = {"m": [len(x)], "conventions": Keeping().told(**told).conventions}
    seen = Evidence("agreement", arrays | {"precision": np.array([precision])}, facts)
    return eval_agrees_with_training(case, {"agreement": seen})


RIGHT = normalised(X, X.mean(axis=0), X.var(axis=0))


@pytest.mark.parametrize("at", [(2, 1), (0, 0), (4, 1)])
def test_the_element_that_differs_is_shown_beside_that_of_training(at):
    """Inference may multiply the variance by 5/4: where neither fits, what is shown is by that which is held."""
    y = RIGHT.copy()
    y[at] += 2.0
    found = agreement(y)
    assert (found.outcome, found.tensor, found.index) == (Outcome.FAIL, "y", at)
    assert (found.got, found.want) == (y[at], pytest.approx(RIGHT[at], rel=1e-12, abs=1e-12))
    assert found.error == pytest.approx(2.0, rel=1e-12)


@pytest.mark.parametrize("factor", [1.0, 5 / 4])
def test_statistics_that_are_not_quite_those_of_the_batch_are_taken_into_account(factor):
    mean, var = X.mean(axis=0) + np.array([0.01, -0.3]), X.var(axis=0) * np.array([1.1, 0.7])
    assert agreement(normalised(X, mean, factor * var), held=(mean, var)).outcome is Outcome.PASS
    assert agreement(RIGHT, held=(mean, var)).outcome is Outcome.FAIL


@pytest.mark.parametrize("at", [(0, 0), (3, 0), (1, 1), (2, 1)])
def test_inference_may_err_by_roundings_of_its_terms(at):
    """With statistics of 2**-24 beside data of 2**-53 nothing else counts: x gamma / sd, mean gamma / sd and beta."""
    y, u = RIGHT.copy(), 2.0**-24
    sd, mean, c = np.sqrt(X.var(axis=0) + EPS), X.mean(axis=0), at[1]
    terms = abs(GAMMA[c]) / sd[c] * (abs(X[at]) + abs(mean[c])) + abs(BETA[c])
    y[at] += 18 * u * terms
    assert agreement(y, precision=u).outcome is Outcome.PASS
    y[at] += 6 * u * terms
    found = agreement(y, precision=u)
    assert (found.outcome, found.index) == (Outcome.FAIL, at)
    assert found.allowed == pytest.approx(20 * u * terms, rel=0.2)


def test_training_may_have_lost_digits_to_a_variance_in_one_pass():
    """At 1e5 sd from zero it has lost ten of sixteen digits; a variance in two passes would have lost five."""
    x = np.random.default_rng(8).normal(size=(5, 2)) + 1e5
    mean, var = x.mean(axis=0), x.var(axis=0)
    right = normalised(x, mean, var)
    trained = normalised(x, mean, (x * x).mean(axis=0) - mean**2)
    assert np.abs(trained - right).max() > 1e-8
    assert agreement(right, x, trained).outcome is Outcome.PASS
    assert agreement(right + 0.01, x, trained).outcome is Outcome.FAIL


def test_where_gamma_and_beta_are_0_so_is_y():
    case = replace(CASE, gamma=np.array([2.0, 0.0]), beta=np.array([0.25, 0.0]))
    y = normalised(X, X.mean(axis=0), X.var(axis=0), case.gamma, case.beta)
    assert agreement(y, case=case).outcome is Outcome.PASS
    y[3, 1] = 1e-200
    found = agreement(y, case=case)
    assert (found.outcome, found.index) == (Outcome.FAIL, (3, 1))
