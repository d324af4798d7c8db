"""Calls that fit by shape alike: numbers say which is meant, and what is wrong under every one is found and named."""

import pytest

from bncheck import pipeline
from bncheck.executors.in_process import InProcess
from bncheck.report import Verdict
from bncheck.settings import Settings

PAIR = """
def forward(x, gamma, beta{given}, eps=1e-5):
    mu, var = x.mean(axis=0), x.var(axis=0)
    inv_std = 1 / np.sqrt(var + eps)
    xhat = (x - mu) * inv_std
    {update}
    return gamma * xhat + beta, {returned}


def backward(dy, {taken}):
    {unpack}
    dgamma = {dgamma} * {factor}
    dbeta = dy.sum(axis=0) * {factor}
    dx = {dx}
    return dx, dgamma, dbeta
"""
RUNNING = {
    "given": ", running_mean, running_var, momentum=0.9",
    "update": "running_mean, running_var = (momentum * old + (1 - momentum) * new "
    "for old, new in ((running_mean, mu), (running_var, var)))",
}
PLAIN = {"given": "", "update": "pass", "factor": "1"}
THREE = {"taken": "cache", "unpack": "xhat, inv_std, gamma = cache"}
TWO = {"taken": "gamma, saved", "unpack": "xhat, inv_std = saved"}
LAYER = """
class BatchNorm:
    def __init__(self, {made}):
        {init}

    def forward(self, x{given}):
        {weights}
        mu = (w * x).sum(axis=0)
        self.inv_std = 1 / np.sqrt((w * (x - mu) ** 2).sum(axis=0) + 1e-5)
        self.xhat = (x - mu) * self.inv_std
        self.taken = {taken}
        return (self.gamma * self.xhat + self.beta) * self.taken

    def backward(self, dy{more}):
        xhat, inv_std, gamma = self.xhat, self.inv_std, self.gamma
        dy = dy * self.taken
        self.dgamma = {dgamma} * {factor}
        self.dbeta = dy.sum(axis=0) * {factor}
        return {dx}
"""
UNIFORM = "w = np.full((len(x), 1), 1 / len(x))"
OWN = {
    "made": "n", "init": "self.gamma, self.beta = np.ones(n), np.zeros(n)", "given": "", "weights": UNIFORM,
    "taken": "1.0", "more": "", "factor": "1",
}  # fmt: skip
SHAPES = {
    "cache behind running statistics": (PAIR, RUNNING | THREE | {"returned": "running_mean, running_var, (xhat, inv_std, gamma)"}),
    "cache behind statistics": (PAIR, THREE | {"returned": "mu, var, (xhat, inv_std, gamma)"}),
    "a list": (PAIR, THREE | {"returned": "mu, var, [xhat, inv_std, gamma]"}),
    "two tuples": (PAIR, TWO | {"returned": "(mu, var), (xhat, inv_std)"}),
    "factor of a pair": (PAIR, {"taken": "cache, scale=1.0", "unpack": THREE["unpack"], "factor": "scale",
                                "returned": "(xhat, inv_std, gamma)"}),
    "factor of a layer": (LAYER, {"more": ", weight=1.0", "factor": "weight"}),
    "factor of y": (LAYER, {"given": ", scale=1.0", "taken": "scale"}),
    "factor of y, parameters given": (LAYER, {"made": "gamma, beta", "init": "self.gamma, self.beta = gamma, beta",
                                              "given": ", scale=1.0", "taken": "scale"}),
    "weights of samples": (LAYER, {
        "given": ", weight=None",
        "weights": f"{UNIFORM} if weight is None else weight.reshape(-1, 1) / weight.sum()",
    }),
}  # fmt: skip
RIGHT = {
    "dgamma": "(dy * xhat).sum(axis=0)",
    "dx": "gamma * inv_std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))",
}
WRONG = {
    "no variance": ({"dx": "gamma * inv_std * (dy - dy.mean(axis=0))"}, "BUG212"),
    "no xhat": ({"dgamma": "dy.sum(axis=0)"}, "BUG303"),
    "no gamma": ({"dx": RIGHT["dx"].removeprefix("gamma * ")}, "BUG201"),
}


def source(shape, **wrong):
    template, changes = SHAPES[shape]
    return template.format(**(PLAIN if template is PAIR else OWN) | changes | RIGHT | wrong)


def verified(spec):
    return pipeline.run([spec], Settings(cases=12), executor=InProcess())


@pytest.mark.parametrize("shape", SHAPES)
def test_right_code_passes(write, shape):
    assert verified(write(source(shape))).verdict is Verdict.PASS


@pytest.mark.parametrize("fault", WRONG)
@pytest.mark.parametrize("shape", SHAPES)
def test_wrong_code_fails_with_the_name_of_its_fault_alone(write, shape, fault):
    changes, named = WRONG[fault]
    (target,) = verified(write(source(shape, **changes))).targets
    assert target.verdict is Verdict.FAIL
    assert [found.code for found in target.diagnoses] == [named]


@pytest.mark.parametrize("shape", SHAPES)
def test_swapped_gradients_are_not_put_right(write, shape):
    swapped = (
        source(shape).replace("dgamma = ", "swap = ").replace("dbeta = ", "dgamma = ").replace("swap = ", "dbeta = ")
    )
    assert verified(write(swapped)).verdict is Verdict.FAIL


def test_a_cache_that_has_the_name_is_the_cache(write):
    named = source("cache behind statistics").replace("return gamma", "cache = (x, mu, var)\n    return gamma")
    assert verified(write(named.replace("+ beta, mu, var,", "+ beta, cache,"))).verdict is Verdict.FAIL


def test_parameters_that_the_code_names_are_never_left_out(write):
    named = source("factor of a pair").replace("scale", "gamma").replace("dx = gamma", "dx = g")
    doubled = named.replace("inv_std, gamma = cache", "inv_std, g = cache")
    assert verified(write(doubled)).verdict is Verdict.FAIL
