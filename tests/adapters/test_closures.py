"""Forwards that return their backward, and factories that return both."""

from __future__ import annotations

import pytest

from bncheck.adapters import resolve
from bncheck.errors import TargetError

PULL = """
def batchnorm(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) / std
    def backward(dy{argument}):
        dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
        dx = gamma / std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))
        return {results}
    {before}
    return {returned}
"""
DEFAULTS = {
    "argument": "",
    "results": "dx, dgamma, dbeta",
    "before": "pass",
    "returned": "gamma * xhat + beta, backward",
}


def pull(**changes):
    return PULL.format(**DEFAULTS | changes)


PULLS = {
    "a pair": pull(),
    "the backward first": pull(returned="backward, gamma * xhat + beta"),
    "with a cache beside": pull(returned="gamma * xhat + beta, (xhat, std), backward"),
    "another order": pull(results="dbeta, dgamma, dx"),
    "a dict of gradients": pull(results="{'x': dx, 'gamma': dgamma, 'beta': dbeta}"),
    "keyword-only": pull(argument=", *, scale=1.0"),
    "a lambda": pull(before="back = lambda g: backward(g)", returned="gamma * xhat + beta, back"),
    "a partial": pull(before="from functools import partial", returned="gamma * xhat + beta, partial(backward)"),
    "in a dict": pull(returned="{'y': gamma * xhat + beta, 'backward': backward}"),
    "an object with a backward": pull(
        before="class Context:\n        def backward(self, dy): return backward(dy)",
        returned="gamma * xhat + beta, Context()",
    ),
    "an object that is called": pull(
        before="class Back:\n        def __call__(self, dy): return backward(dy)", returned="gamma * xhat + beta, Back()"
    ),
    "an object that is called with v": pull(
        before="class Back:\n        def __call__(self, v): return backward(v)", returned="gamma * xhat + beta, Back()"
    ),
    "a named tuple": pull(
        before="from collections import namedtuple; R = namedtuple('R', 'out vjp')",
        returned="R(gamma * xhat + beta, backward)",
    ),
    "pullback by another name": pull(before="pullback = backward", returned="gamma * xhat + beta, pullback"),
}  # fmt: skip


@pytest.mark.parametrize("case", PULLS)
def test_forwards_that_return_their_backward(write, right, case):
    conventions = right(write(PULLS[case]))
    assert conventions.adapter == "closure"
    assert conventions.eps_source == "argument"


FACTORIES = {
    "functions on arguments": """
def make_bn(eps=1e-5):
    saved = {}
    def forward(x, gamma, beta):
        std = np.sqrt(x.var(axis=0) + eps)
        saved['a'] = (x - x.mean(axis=0)) / std, std, gamma
        return gamma * saved['a'][0] + beta
    def backward(dy):
        xhat, std, gamma = saved['a']
        dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
        return gamma / std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0)), dgamma, dbeta
    return forward, backward
""",
    "parameters inside": """
def batch_norm_layer(n, eps=1e-5):
    gamma, beta = np.ones(n), np.zeros(n)
    xhat = std = None
    def fwd(x):
        nonlocal xhat, std
        std = np.sqrt(x.var(axis=0) + eps)
        xhat = (x - x.mean(axis=0)) / std
        return gamma * xhat + beta
    def bwd(dy):
        dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
        return gamma / std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0)), dgamma, dbeta
    return fwd, bwd
""",
    "a dict of functions": """
def BatchNorm(n):
    p = {'gamma': np.ones(n), 'beta': np.zeros(n)}
    g, s = {}, {}
    def forward(x):
        s['std'] = np.sqrt(x.var(axis=0) + 1e-4); s['xhat'] = (x - x.mean(axis=0)) / s['std']
        return p['gamma'] * s['xhat'] + p['beta']
    def backward(dy):
        xhat = s['xhat']
        g['gamma'], g['beta'] = (dy * xhat).sum(axis=0), dy.sum(axis=0)
        dx = p['gamma'] / s['std'] * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))
        return dx, g
    return {'forward': forward, 'backward': backward, 'params': p}
""",
    "an object": """
from types import SimpleNamespace
def make_batchnorm(n, eps=1e-5):
    layer = SimpleNamespace(gamma=np.ones(n), beta=np.zeros(n))
    def forward(x):
        layer.std = np.sqrt(x.var(axis=0) + eps); layer.xhat = (x - x.mean(axis=0)) / layer.std
        return layer.gamma * layer.xhat + layer.beta
    def backward(dy):
        layer.dgamma, layer.dbeta = (dy * layer.xhat).sum(axis=0), dy.sum(axis=0)
        return layer.gamma / layer.std * (dy - dy.mean(axis=0) - layer.xhat * (dy * layer.xhat).mean(axis=0))
    layer.forward, layer.backward = forward, backward
    return layer
""",
    "two steps": """
def batchnorm(eps=1e-5):
    def forward(x, gamma, beta):
        std = np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) / std
        def backward(dy):
            dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
            return gamma / std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0)), dgamma, dbeta
        return gamma * xhat + beta, backward
    return forward
""",
    "an instance": """
class Layer:
    def __init__(self, n, eps): self.gamma, self.beta, self.eps = np.ones(n), np.zeros(n), eps
    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps); self.xhat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.xhat + self.beta
    def backward(self, dy):
        xhat = self.xhat
        self.dgamma, self.dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
        return self.gamma / self.std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))
def create_batch_norm(n, eps=1e-5):
    return Layer(n, eps)
""",
}


@pytest.mark.parametrize("case", FACTORIES)
def test_factories(write, right, case):
    assert right(write(FACTORIES[case])).adapter == "closure"


CLASS = """
class BatchNorm:
    def __init__(self, n, eps=1e-5): self.gamma, self.beta, self.eps = np.ones(n), np.zeros(n), eps
    def __call__(self, x):
        std = np.sqrt(x.var(axis=0) + self.eps); xhat = (x - x.mean(axis=0)) / std
        def back(dy):
            dx = self.gamma / std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))
            return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)
        return self.gamma * xhat + self.beta, back
"""


def test_a_class_whose_call_returns_its_backward(write, right):
    assert right(write(CLASS)).parameter_shape == "(C,)"


@pytest.mark.parametrize(
    "source",
    [pull(results="dx, dgamma, 2 * dbeta"), *(FACTORIES[k].replace("dy - dy.mean(axis=0) ", "dy ") for k in FACTORIES)],
)
def test_wrong_ones_are_seen(write, right, source):
    with pytest.raises(AssertionError, match=r"dx|dbeta"):
        right(write(source))


def test_swapped_gradients_are_not_put_right(write, right):
    with pytest.raises(AssertionError, match="dgamma"):
        right(write(pull(results="dx, dbeta, dgamma").replace("dgamma, dbeta = (", "dbeta, dgamma = (")))


def test_only_what_reads_as_batch_norm_is_called(write):
    source = "def wipe(x): raise SystemExit('called')\ndef norm(x): raise SystemExit('called')\n"
    with pytest.raises(TargetError, match="nothing in it looks like batch norm"):
        resolve.cards(write(source))


def test_a_function_without_a_backward_is_no_closure(write):
    (card,) = resolve.cards(write("def batchnorm(x, gamma, beta):\n    return gamma * x + beta\n"))
    assert card.conventions.adapter == "forward-only"


NEW_LAYER = """
class {own}:
    def __init__(self, n, eps=1e-5): self.gamma, self.beta, self.eps = np.ones(n), np.zeros(n), eps
    def __call__(self, {arguments}):
        std = np.sqrt({x}.var(axis=0) + self.eps)
        return self.gamma * ({x} - {x}.mean(axis=0)) / std + self.beta, {returned}
{more}
"""


@pytest.mark.parametrize(
    "changes",
    [
        {"returned": "self"},
        {"arguments": "batch_of_rows, training=True", "x": "batch_of_rows", "returned": "self"},
        {"arguments": "a", "x": "a", "returned": "self"},
        {"returned": "Other()", "more": "class Other:\n    def __call__(self, x, training): return x"},
    ],
)
def test_a_layer_that_comes_back_is_no_backward(write, changes):
    source = NEW_LAYER.format(**{"own": "BatchNorm", "arguments": "x", "x": "x", "more": ""} | changes)
    (card,) = resolve.cards(write(source))
    assert card.conventions.adapter == "forward-only"
