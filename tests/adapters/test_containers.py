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
