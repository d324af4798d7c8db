"""Running statistics that a forward takes in one argument: a list that it changes, a dict that it changes or returns."""

import pytest

from bncheck import pipeline
from bncheck.executors.in_process import InProcess
from bncheck.report import Verdict
from bncheck.settings import Settings

PAIR = """
def bn_forward(x, gamma, beta, state, train=True, eps=1e-5):
    if train:
        mu, var = x.mean(axis=0), x.var(axis=0)
        {before}
        {mean}
        {var}
        {after}
    else:
        {asked}
    std = np.sqrt(var + eps)
    xhat = (x - mu) / std
    return gamma * xhat + beta, {returned}


def bn_backward(dy, cache):
    xhat, scale, train = cache
    dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
    if train:
        dy = dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0)
    return scale * dy, dgamma, dbeta
"""
NEW = {"mean": "mu", "var": "var"}
SHAPES = {
    "list": ({"mean": "state[0]", "var": "state[1]"}, {"asked": "mu, var = state"}),
    "list, backwards": ({"mean": "state[1]", "var": "state[0]"}, {"asked": "var, mu = state"}),
    "dict": ({"mean": "state['mean']", "var": "state['var']"}, {"asked": "mu, var = state['mean'], state['var']"}),
    "dict that is returned": (
        {"mean": "mean", "var": "variance"},
        {
            "before": "mean, variance = state['avg_mu'], state['avg_sigma2']",
            "after": "state = {'avg_mu': mean, 'avg_sigma2': variance}",
            "asked": "mu, var = state['avg_mu'], state['avg_sigma2']",
            "returned": "(xhat, gamma / std, train), state",
        },
    ),
}
PLAIN = {"before": "pass", "after": "pass", "returned": "(xhat, gamma / std, train)"}


def source(shape, mean=0.9, var=0.9, kept=("mean", "var")):
    names, changes = SHAPES[shape]
    fractions = {"mean": mean, "var": var}
    updates = {
        which: f"{name} = {fractions[which]} * {name} + (1 - {fractions[which]}) * {NEW[which]}"
        if which in kept
        else "pass"
        for which, name in names.items()
    }
    return PAIR.format(**PLAIN | changes | updates)


def verified(spec):
    return pipeline.run([spec], Settings(cases=12), executor=InProcess())


@pytest.mark.parametrize("shape", SHAPES)
def test_right_statistics_in_one_argument_pass(write, shape):
    report = verified(write(source(shape)))
    assert report.verdict is Verdict.PASS
    assert report.targets[0].conventions.momentum_sense == "fixed"


@pytest.mark.parametrize("shape", SHAPES)
def test_a_variance_with_momentum_on_the_other_side_is_named(write, shape):
    (target,) = verified(write(source(shape, var=0.1))).targets
    assert target.verdict is Verdict.FAIL
    assert [(found.code, found.tensor) for found in target.diagnoses] == [("BUG601", "running_var")]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_variance_that_stands_still_is_found(write, shape):
    (target,) = verified(write(source(shape, kept=("mean",)))).targets
    assert target.verdict is Verdict.FAIL
    assert {found.tensor for found in target.diagnoses} == {"running_var"}


BY_NUMBER = """
def bn(x, gamma, beta, run, train=True, eps=1e-5):
    if train:
        mu, var = x.mean(axis=0), x.var(axis=0)
        run[{mean}] = {k} * run[{mean}] + (1 - {k}) * mu
        run[{var}] = {k} * run[{var}] + (1 - {k}) * {taken}
    else:
        mu, var = run[{mean}], run[{var}]
    inv_std = 1 / np.sqrt(var + eps)
    xhat = (x - mu) * inv_std
    return gamma * xhat + beta, (xhat, inv_std, gamma, train)

def bn_back(dy, cache):
    xhat, inv_std, gamma, train = cache
    dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
    centred = (dbeta + xhat * dgamma) / len(dy) if train else 0
    return gamma * inv_std * (dy - centred), dgamma, dbeta
"""
IN_LISTS = {
    "mean, variance": {"mean": 0, "var": 1, "k": "0.9"},
    "variance, mean": {"mean": 1, "var": 0, "k": "0.9"},
    "mean, variance, momentum": {"mean": 0, "var": 1, "k": "run[2]"},
}


@pytest.mark.parametrize("order", IN_LISTS)
def test_statistics_in_a_list_that_is_set_by_number_are_verified(write, order):
    report = verified(write(BY_NUMBER.format(taken="var", **IN_LISTS[order])))

    assert report.verdict is Verdict.PASS
    assert report.targets[0].conventions.running_var == "biased"


FILLED = """
def batchnorm_forward(x, gamma, beta, saved, eps=1e-5):
    mu, var = x.mean(axis=0), x.var(axis=0)
    saved[0] = mu
    saved[1] = var
    return gamma * (x - mu) / np.sqrt(var + eps) + beta

def batchnorm_backward(dy, x, gamma, saved, eps=1e-5):
    inv_std = 1 / np.sqrt(saved[1] + eps)
    xhat = (x - saved[0]) * inv_std
    dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
    return gamma * inv_std * (dy - (dbeta + xhat * dgamma) / len(dy)), dgamma, dbeta
"""


def test_a_list_that_the_forward_fills_for_the_backward_is_not_taken_for_statistics(write):
    (target,) = verified(write(FILLED)).targets
    assert target.verdict in (Verdict.ERROR, Verdict.PASS)  # understood or not, it is right


@pytest.mark.parametrize("order", IN_LISTS)
def test_a_wrong_statistic_in_such_a_list_fails(write, order):
    (target,) = verified(write(BY_NUMBER.format(taken="np.sqrt(var)", **IN_LISTS[order]))).targets

    assert "BUG624" in [diagnosis.code for diagnosis in target.diagnoses]
