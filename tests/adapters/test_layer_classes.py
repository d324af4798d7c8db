"""Shapes of layer classes that people write: each right one is resolved, and gives the reference's gradients."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck.adapters import resolve
from bncheck.errors import StubError
from bncheck.session import Setup

LAYER = """
class {name}({base}):
    {doc}
    def __init__(self{constructor}):
        {init}

    def {forward}(self, {arguments}):
        {before}
        gamma, beta, eps = {gamma}, {beta}, {eps}
        self._std = np.sqrt(x.var(axis=0) + eps); self._xhat = (x - x.mean(axis=0)) / self._std; self._g = gamma
        y = gamma * self._xhat + beta
        {output}

    def {backward}(self, dout):
        n = len(dout)
        dgamma = (dout * self._xhat).sum(axis=0); dbeta = dout.sum(axis=0)
        dx = self._g / self._std * (dout - dbeta / n - self._xhat * dgamma / n)
        {results}
"""
DEFAULTS = {
    "name": "BatchNorm", "base": "", "doc": "pass", "constructor": ", gamma, beta, eps=1e-5",
    "init": "self.gamma, self.beta, self.eps = gamma, beta, eps",
    "forward": "forward", "arguments": "x", "before": "pass", "gamma": "self.gamma", "beta": "self.beta",
    "eps": "self.eps", "output": "return y", "backward": "backward",
    "results": "self.dgamma, self.dbeta = dgamma, dbeta; return dx",
}  # fmt: skip


def layer(**changes):
    return LAYER.format(**DEFAULTS | changes)


def made(size="n", gamma="gamma", beta="beta", extra="", shape="n"):
    return {
        "constructor": f", {size}{extra}",
        "init": f"n = {size}; self.{gamma} = np.ones({shape}); self.{beta} = np.zeros({shape})",
        "gamma": f"self.{gamma}", "beta": f"self.{beta}", "eps": "1e-4",
    }  # fmt: skip


CONSTRUCTORS = {
    "gamma and beta": {},
    "beta before gamma": {"constructor": ", beta, gamma, eps=1e-5"},
    "momentum and running statistics": {
        "constructor": ", gamma, beta, momentum=0.9, running_mean=None, running_var=None, eps=1e-7"
    },
    "num_features": made("num_features"),
    "size": made("size"),
    "dim": made("dim", extra=", momentum=0.9"),
    "n_channels": made("n_channels"),
    "a tuple": made("input_shape") | {"init": "n, = input_shape; self.gamma, self.beta = np.ones(n), np.zeros(n)"},
    "a name that says nothing": made("q"),
    "weight and bias": made("num_features", "weight", "bias"),
    "W and b": made("n_in", "W", "b"),
    "BW and Bb": made("num_features", "BW", "Bb", ", alpha=0.9"),
    "scale and shift": made("units", "scale", "shift"),
    "rows": made("num_features", shape="(1, n)"),
    "no argument, set later": {
        "constructor": "",
        "init": "self.gamma = self.beta = None",
        "before": "if self.gamma is None: self.gamma, self.beta = np.ones(x.shape[1]), np.zeros(x.shape[1])",
        "eps": "1e-4",
    },
    "no argument, made at the first forward": {
        "constructor": "",
        "init": "pass",
        "before": "if not hasattr(self, 'gamma'): self.gamma, self.beta = np.ones(x.shape[1]), np.zeros(x.shape[1])",
        "eps": "1e-4",
    },
    "build": {
        "constructor": "",
        "init": "pass",
        "doc": "def build(self, s): self.gamma, self.beta = np.ones(s[1]), np.zeros(s[1])",
        "eps": "1e-4",
    },
    "scalars": {"constructor": "", "init": "self.gamma, self.beta = 1.0, 0.0", "eps": "1e-4"},
    "aliased": made("n")
    | {"init": "g = self.gamma = np.ones(n); b = self.beta = np.zeros(n); self.all = [g, b]"}
    | {"gamma": "self.all[0]", "beta": "self.all[1]"},
    "optional gamma": {
        "constructor": ", n, gamma=None, beta=None",
        "init": "self.g = np.ones(n) if gamma is None else gamma; self.b = np.zeros(n) if beta is None else beta",
        "gamma": "self.g", "beta": "self.b", "eps": "1e-4",
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CONSTRUCTORS)
def test_constructors(write, right, case):
    conventions = right(write(layer(**CONSTRUCTORS[case])))
    assert conventions.adapter == "layer-class"
    assert conventions.layouts == ("NC",)


def test_the_shape_that_the_constructor_makes_is_reported(write, right):
    assert right(write(layer(**CONSTRUCTORS["rows"]))).parameter_shape == "(1, C)"


FORWARDS = {
    "train_flg": {"arguments": "x, train_flg=True", "before": "assert train_flg"},
    "eval": {"arguments": "x, eval=True", "before": "assert eval is False"},
    "training, default false": {"arguments": "x, training=False", "before": "assert training"},
    "mode in the object": {
        "init": "self.gamma, self.beta, self.eps = gamma, beta, eps; self.training = False",
        "before": "assert self.training",
    },
    "testing phase": {
        "init": "self.gamma, self.beta, self.eps = gamma, beta, eps; self.testing_phase = True",
        "before": "assert not self.testing_phase",
    },
    "returns a cache too": {"output": "return y, self._std"},
    "stores its output": {"output": "self.output = y"}
    | {"results": "self.dinputs = dx; self.dgamma, self.dbeta = dgamma, dbeta"},
    "called": {"forward": "__call__"},
    "other words": {"forward": "fprop", "backward": "bprop"},
    "forward_pass": {"forward": "forward_pass", "backward": "backward_pass"},
}  # fmt: skip


@pytest.mark.parametrize("case", FORWARDS)
def test_forwards(write, right, case):
    right(write(layer(**FORWARDS[case])))


RESULTS = {
    "tuple": ("return dx, dgamma, dbeta", "tuple (dx, dgamma, dbeta)"),
    "tuple in another order": ("return dbeta, dgamma, dx", "tuple (dbeta, dgamma, dx)"),
    "dict": ("return {'dx': dx, 'dgamma': dgamma, 'dbeta': dbeta}", "dict (dx, dgamma, dbeta)"),
    "attributes": ("self.dgamma, self.dbeta = dgamma, dbeta; return dx", "dx and attributes dgamma, dbeta"),
    "grad_": ("self.grad_gamma, self.grad_beta = dgamma, dbeta; return dx", "dx and attributes grad_gamma, grad_beta"),
    "_grad": ("self.gamma_grad, self.beta_grad = dgamma, dbeta; return dx", "dx and attributes gamma_grad, beta_grad"),
    "dW, db": ("self.dW, self.db = dgamma, dbeta; return dx", "dx and attributes dW, db"),
    "dLdBW": ("self.dLdBW, self.dLdBb = dgamma, dbeta; return dx", "dx and attributes dLdBW, dLdBb"),
    "gradient_weights": (
        "self.gradient_weights, self.gradient_bias = dgamma, dbeta; return dx",
        "dx and attributes gradient_weights, gradient_bias",
    ),
    "dinputs": (
        "self.dinputs, self.dgamma, self.dbeta = dx, dgamma, dbeta",
        "attributes dinputs, dgamma, dbeta",
    ),
}


@pytest.mark.parametrize("case", RESULTS)
def test_results(write, right, case):
    results, words = RESULTS[case]
    assert right(write(layer(results=results))).returns == words


def test_static_methods(write, right):
    source = """
    class BatchNorm:
        @staticmethod
        def forward(x, gamma, beta, bn_param):
            std = np.sqrt(x.var(axis=0) + bn_param["eps"]); xhat = (x - x.mean(axis=0)) / std
            return gamma * xhat + beta, (xhat, std, gamma)

        @staticmethod
        def backward(dout, cache):
            xhat, std, gamma = cache
            g = dout * gamma
            dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std
            dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
            return dx, dbeta, dgamma
    """
    assert right(write(source)).returns == "tuple (dx, dbeta, dgamma)"
    assert resolve.cards(write(source))[0].name == "my_bn.py::BatchNorm"


def test_a_second_backward_is_a_target_of_its_own(write):
    source = layer() + "    def backward_alt(self, dout):\n        pass\n"
    found = {card.name: card.stub for card in resolve.cards(write(source))}
    assert found["my_bn.py::BatchNorm"] is None
    assert found["my_bn.py::BatchNorm.backward_alt"] == "not implemented yet: BatchNorm.backward_alt returns None"


def test_methods_that_only_mention_gradients_are_no_backward(write, right):
    more = (
        "    def zero_grad(self):\n        self.dgamma = self.dbeta = None\n    def grads(self):\n        return []\n"
    )
    right(write(layer() + more))


def test_a_base_class_with_empty_methods_is_not_taken(write, right):
    base = "class Layer:\n    def forward(self, x): raise NotImplementedError\n    def backward(self, d): pass\n"
    right(write(base + layer(base="Layer")))


def test_inherited_methods_count(write):
    source = layer(name="_Base") + "class BatchNorm2(_Base):\n    pass\n"
    assert [card.name for card in resolve.cards(write(source))] == ["my_bn.py::BatchNorm2"]


def test_each_session_has_a_layer_of_its_own(write, only):
    target = only(write(layer()))
    x, dy = np.random.default_rng(0).normal(size=(2, 5, 3))
    one, other = (target.open(Setup(np.full(3, g), np.zeros(3), 1e-5, 0.9)) for g in (1.0, 2.0))
    first = one.forward(x)
    np.testing.assert_allclose(other.forward(x), 2 * first)
    np.testing.assert_allclose(other.backward(dy).dx, 2 * one.backward(dy).dx)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"results": "return None"}, "BatchNorm.backward returns None"),
        ({"results": "raise NotImplementedError"}, "BatchNorm.backward raises NotImplementedError"),
        ({"output": "raise NotImplementedError('todo')"}, "BatchNorm.forward raises NotImplementedError"),
        ({"output": "return None"}, "BatchNorm.forward returns None"),
    ],
)
def test_stubs(write, changes, text):
    with pytest.raises(StubError, match=f"not implemented yet: {text}"):
        resolve.cards(write(layer(**changes)))
