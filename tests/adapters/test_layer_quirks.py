"""Layers that want more than a size: preparations, shapes, arguments of all kinds; and methods inside larger classes."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck.session import Setup

LAYER = """
{before}
class BatchNorm{base}:
    def __init__(self{constructor}):
        self.eps = 1e-5
        {init}
    {methods}
    def {forward}(self, {arguments}):
        {first}
        self.std = np.sqrt(x.var(axis=0) + self.eps); self.xhat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.xhat + self.beta

    def {backward}(self, {upstream}):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        return self.gamma / self.std * (dy - dy.mean(axis=0) - self.xhat * (dy * self.xhat).mean(axis=0))
"""
MADE = "self.gamma, self.beta = np.ones(n), np.zeros(n)"
DEFAULTS = {
    "before": "", "base": "", "constructor": ", n", "init": MADE, "methods": "pass", "forward": "forward",
    "arguments": "x", "first": "pass", "backward": "backward", "upstream": "dy",
}  # fmt: skip


def layer(**changes):
    return LAYER.format(**DEFAULTS | changes)


def prepared(method, **more):
    return layer(constructor="", init="self.gamma = self.beta = None", methods=method, **more)


QUIRKS = {
    "build(input_shape)": prepared(f"def build(self, input_shape): n = input_shape[-1]; {MADE}"),
    "build without the batch": prepared(f"def build(self, input_shape): n, = input_shape; {MADE}"),
    "init_params(n)": prepared(f"def init_params(self, n): {MADE}"),
    "a private one": prepared(f"def _init_params(self, n_in): n = n_in; {MADE}"),
    "initialize(), after a shape": prepared(
        f"def set_input_shape(self, shape): self.shape = shape\n    def initialize(self): n = self.shape; {MADE}"
    ),
    "setup with more": prepared(f"def setup(self, input_dim, rng, dtype=float): assert rng.random; n = input_dim; {MADE}"),
    "initialize(x)": prepared(f"def initialize(self, x): n = x.shape[1]; {MADE}"),
    "a size that is set": layer(constructor="", init="self.n_in = None", first="pass",
                                methods=f"def init_layer(self): n = self.n_in; {MADE}"),
    "at the first forward": layer(constructor="", init="self.gamma = None",
                                  first=f"n = x.shape[1]\n        if self.gamma is None: {MADE}"),
    "at the first forward, float32": layer(
        constructor="", init="self.made = False",
        first="if not self.made: self.made = True; self.gamma = np.ones(x.shape[1], 'f'); self.beta = np.zeros(x.shape[1], 'f')",
    ),
    "keyword-only": layer(constructor=", *, n"),
    "a shape": layer(constructor=", input_shape", init=MADE.replace("(n)", "(input_shape)")),
    "a shape with the batch": layer(constructor=", in_shape", init="_, n = in_shape; " + MADE),
    "name, rng and more": layer(constructor=", n, name, rng, activation, prev_layer",
                                init="assert activation is None and isinstance(name, str) and rng.normal; " + MADE),
    "batch size first": layer(constructor=", batch_size, n", init="assert batch_size in (3, 4, 6, 4); " + MADE),
    "an abstract base": layer(
        base="(Base)",
        before="import abc\nclass Base(abc.ABC):\n    @abc.abstractmethod\n    def forward(self, x): ...\n"
        "    @abc.abstractmethod\n    def backward(self, dy): raise NotImplementedError",
    ),
    "fprop, bprop": layer(forward="fprop", backward="bprop"),
    "feedforward, backprop": layer(forward="feedforward", backward="backprop"),
    "call, gradient": layer(forward="call", backward="gradient"),
    "__call__, gradient": layer(forward="__call__", backward="gradient"),
    "compute, derivative": layer(forward="compute", backward="derivative"),
    "classify, learn": layer(forward="classify", backward="learn"),
    "feed, delta": layer(forward="feed", backward="delta"),
    "apply, backward": layer(forward="apply"),
    "keyword-only backward": layer(upstream="*, dy"),
    "a counter in backward": layer(upstream="dy, t"),
    "x_t": layer(arguments="x_t", first="x = x_t"),
    "inputs in a tuple": layer(
        constructor="", init="pass", arguments="inputs", first="x, self.gamma, self.beta = inputs", upstream="inputs, grads",
    ).replace("self.dgamma, self.dbeta = (dy", "dy = grads[0]; self.dgamma, self.dbeta = (dy"),
    "static methods": """
class BatchNorm:
    @staticmethod
    def forward(x, gamma, beta, eps=1e-5):
        std = np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) / std
        return gamma * xhat + beta, (xhat, std, gamma)
    @staticmethod
    def backward(dy, cache):
        xhat, std, gamma = cache
        dx = gamma / std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))
        return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)
""",
    "zero_grad": layer(init=MADE + "; self.zero_grad()", methods="def zero_grad(self): self.dgamma = self.dbeta = 0").replace(
        "self.dgamma, self.dbeta = (dy", "self.dgamma, self.dbeta = self.dgamma + (dy").replace(
        "axis=0), dy.sum", "axis=0), self.dbeta + dy.sum"),
    "Greek letters": layer(init="self.γ, self.β = np.ones(n), np.zeros(n)").replace("self.gamma", "self.γ").replace(
        "self.beta", "self.β"),
}  # fmt: skip


@pytest.mark.parametrize("case", QUIRKS)
def test_quirks(write, right, case):
    assert right(write(QUIRKS[case])).layouts[0] == "NC"


def test_a_shape_with_spatial_axes(write, right):
    source = layer(
        constructor=", input_shape",
        init="c, h, w = input_shape; s = 1, c, 1, 1; self.gamma, self.beta = np.ones(s), np.zeros(s)",
    )
    source = source.replace("axis=0", "axis=(0, 2, 3), keepdims=True")
    assert right(write(source)).layouts == ("NCHW",)


NETWORK = """
class {name}:
    def __init__(self{constructor}): {init}
    def forward(self, x): return self.bn_forward(x, self.g, self.b)[0]
    def backward(self, d): return d
    def loss(self, x, y): return 0.0
    def bn_forward(self, x, gamma, beta, eps=1e-5):
        std = np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) / std
        return gamma * xhat + beta, (xhat, std, gamma)
    def bn_backward(self, dout, cache):
        xhat, std, gamma = cache
        dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
        return gamma / std * (dout - dout.mean(axis=0) - xhat * (dout * xhat).mean(axis=0)), dgamma, dbeta
"""


@pytest.mark.parametrize(
    ("constructor", "init"),
    [("", "pass"), (", sizes", "self.w = [np.ones((a, b)) for a, b in zip(sizes, sizes[1:])]"),
     (", a, b, c, d", "self.a = np.ones((a, b)) @ np.ones((b, c))"), (", path", "open(path).read()")],
)  # fmt: skip
def test_methods_inside_a_larger_class(write, right, constructor, init):
    source = NETWORK.format(name="MLP", constructor=constructor, init=init)
    assert right(write(source)).returns == "tuple (dx, dgamma, dbeta)"


@pytest.mark.parametrize(
    ("init", "forward"),
    [("self.eps = 1e-5", "1e-2"), ("self.epsilon = 1e-3", "1e-8")],
)
def test_an_attribute_that_is_not_the_eps_of_the_forward(write, right, init, forward):
    source = layer(init=f"{init}; {MADE}").replace("self.eps = 1e-5\n", "pass\n").replace("self.eps)", f"{forward})")
    conventions = right(write(source))
    assert (conventions.eps_source, conventions.eps) == ("fixed", float(forward))
    assert conventions.notes[0] == f"attribute {init.split('.')[1].split()[0]} is not the eps of the forward"


def test_an_eps_of_the_options_that_is_ignored(write, right):
    source = """
def bn_forward(x, gamma, beta, bn_param):
    eps = bn_param.get('eps', 1e-5)
    std = np.sqrt(x.var(axis=0) + 1e-3); xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)
def bn_backward(dout, cache):
    xhat, std, gamma = cache
    dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
    return gamma / std * (dout - dout.mean(axis=0) - xhat * (dout * xhat).mean(axis=0)), dgamma, dbeta
"""
    assert right(write(source)).eps_source == "ignored"
    without = source.replace("    eps = bn_param.get('eps', 1e-5)\n", "")
    assert right(write(without, file="without.py")).eps_source == "fixed"


def test_private_methods_of_a_larger_class(write, right):
    source = NETWORK.format(name="Net", constructor="", init="pass").replace("def bn_", "def _batchnorm_")
    assert right(write(source)).layouts == ("NC",)


def test_tuples_of_parameters_and_of_statistics(write, right):
    source = """
def bn_forward(x, params, state, train=True):
    gamma, beta = params
    mu, var = state
    if train:
        mu, var = x.mean(axis=0), x.var(axis=0)
        state = 0.9 * state[0] + 0.1 * mu, 0.9 * state[1] + 0.1 * var
    std = np.sqrt(var + 1e-5); xhat = (x - mu) / std
    return gamma * xhat + beta, (xhat, std, gamma), state
def bn_backward(dout, cache):
    xhat, std, gamma = cache
    dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
    return gamma / std * (dout - dout.mean(axis=0) - xhat * (dout * xhat).mean(axis=0)), (dgamma, dbeta)
"""
    conventions = right(write(source))
    assert conventions.mode_switch == "argument train"
    assert (conventions.momentum_sense, conventions.running_start) == ("fixed", "0, 1")


def test_lists_of_numbers(write, right):
    source = """
class BatchNorm:
    def __init__(self, n, eps=1e-5): self.gamma, self.beta, self.eps = [1.0] * n, [0.0] * n, eps
    def forward(self, x):
        m = len(x); cols = range(len(x[0]))
        mu = [sum(r[j] for r in x) / m for j in cols]
        self.s = [(sum((r[j] - mu[j]) ** 2 for r in x) / m + self.eps) ** 0.5 for j in cols]
        self.xh = [[(r[j] - mu[j]) / self.s[j] for j in cols] for r in x]
        return [[self.gamma[j] * r[j] + self.beta[j] for j in cols] for r in self.xh]
    def backward(self, dy):
        m, cols = len(dy), range(len(dy[0]))
        self.dgamma = [sum(d[j] * h[j] for d, h in zip(dy, self.xh)) for j in cols]
        self.dbeta = [sum(d[j] for d in dy) for j in cols]
        return [[self.gamma[j] / self.s[j] * (d[j] - self.dbeta[j] / m - h[j] * self.dgamma[j] / m) for j in cols]
                for d, h in zip(dy, self.xh)]
"""
    right(write(source))


def test_an_eps_inside_an_inner_object_is_set_too(write, right):
    source = """
class Core:
    def __init__(self, eps): self.eps = eps
    def std(self, x): return np.sqrt(x.var(axis=0) + self.eps)
""" + layer(init="self.core = Core(1e-5); " + MADE).replace("np.sqrt(x.var(axis=0) + self.eps)", "self.core.std(x)")
    assert right(write(source, name="BatchNorm")).eps_source == "attribute"


def test_gradients_that_add_up_without_a_way_to_clear_them_still_do(write, only):
    source = layer(init=MADE + "; self.dgamma = np.zeros(n); self.dbeta = np.zeros(n)").replace(
        "self.dgamma, self.dbeta = (dy", "self.dgamma, self.dbeta = self.dgamma + (dy"
    )
    session = only(write(source)).open(Setup(np.ones(3), np.ones(3), 1e-5, 0.9))
    x = np.random.default_rng(0).normal(size=(5, 3))
    session.forward(x)
    first = session.backward(x)
    session.forward(x)
    np.testing.assert_allclose(session.backward(x).dgamma, 2 * first.dgamma)


@pytest.mark.parametrize(
    "case", ["build(input_shape)", "fprop, bprop", "classify, learn", "keyword-only", "static methods"]
)
def test_wrong_ones_are_seen(write, right, case):
    with pytest.raises(AssertionError, match="dx"):
        right(write(QUIRKS[case].replace("dy.mean(axis=0)", "dy.mean()")))
