"""Code that updates its parameters inside backward: the gradients are recovered, and the parameters put back."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from bncheck.adapters import resolve
from bncheck.adapters.recording import Recorder, learning_rate
from bncheck.session import Setup

LAYER = """
class BatchNorm:
    def __init__(self, n{constructor}, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(n), np.zeros(n), eps
        {init}
    {methods}
    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps); self.xhat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy{argument}):
        gg, gb = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        dx = self.gamma / self.std * (dy - dy.mean(axis=0) - self.xhat * (dy * self.xhat).mean(axis=0))
        {update}
        return dx
"""
DEFAULTS = {"constructor": "", "init": "pass", "methods": "pass", "argument": ""}
STEP = "self.gamma -= {0} * gg; self.beta -= {0} * gb"


def layer(update, **changes):
    return LAYER.format(**DEFAULTS | {"update": update} | changes)


RATES = {
    "argument of backward": layer(STEP.format("lr"), argument=", lr"),
    "argument with a default": layer(STEP.format("learning_rate"), argument=", learning_rate=0.01"),
    "keyword-only": layer(STEP.format("eta"), argument=", *, eta"),
    "alpha": layer(STEP.format("alpha"), argument=", alpha"),
    "step_size": layer(STEP.format("step_size"), argument=", step_size"),
    "argument of the constructor": layer(STEP.format("self.lr"), constructor=", lr=0.1", init="self.lr = lr"),
    "required in the constructor": layer(STEP.format("self.r"), constructor=", learning_rate", init="self.r = learning_rate"),
    "attribute": layer(STEP.format("self.learning_rate"), init="self.learning_rate = 0.05"),
    "new arrays": layer("self.gamma = self.gamma - lr * gg; self.beta = self.beta - lr * gb", argument=", lr"),
    "regularised": layer(
        "self.gamma -= lr * (gg + reg * self.gamma); self.beta -= lr * (gb + reg * self.beta)", argument=", lr, reg=0.1"
    ),
    "a counter too": layer("assert t == 1; " + STEP.format("lr"), argument=", lr, t"),
}  # fmt: skip


@pytest.mark.parametrize("case", RATES)
def test_a_learning_rate(write, right, case):
    assert "the change of gamma over the rate" in right(write(RATES[case])).returns


OPTIMIZERS = {
    "given to the constructor": layer(
        "self.gamma = self.opt.update(self.gamma, gg); self.beta = self.opt.update(self.beta, gb)",
        constructor=", optimizer=None", init="self.opt = optimizer",
    ),
    "copied": layer(
        "self.gamma = self.og.update(self.gamma, gg); self.beta = self.ob.update(self.beta, gb)",
        constructor=", optimizer", init="import copy; self.og, self.ob = copy.copy(optimizer), copy.deepcopy(optimizer)",
    ),
    "initialize": layer(
        "self.beta = self.ob.update(w=self.beta, grad_wrt_w=gb); self.gamma = self.og.update(w=self.gamma, grad_wrt_w=gg)",
        methods="def initialize(self, optimizer): self.og = self.ob = optimizer",
    ),
    "set_optimizer": layer(
        "self.opt.step([self.gamma, self.beta], [gg, gb])", methods="def set_optimizer(self, opt): self.opt = opt"
    ),
    "compile": layer(
        "self.opt.apply_gradients(zip([gg, gb], [self.gamma, self.beta]))",
        methods="def compile(self, optimizer): self.opt = optimizer",
    ),
    "argument of backward": layer("optimizer.update('gamma', self.gamma, gg); optimizer.update('beta', self.beta, gb)",
                                  argument=", optimizer"),
    "an argument that may be left out": layer(
        "if optimizer: optimizer.update({'gamma': self.gamma, 'beta': self.beta}, {'gamma': gg, 'beta': gb})",
        argument=", optimizer=None",
    ),
    "called": layer("self.gamma = optimizer(self.gamma, gg); self.beta = optimizer(self.beta, gb)",
                    argument=", optimizer"),
    "a class": layer(
        "self.gamma = self.og.update(self.gamma, gg); self.beta = self.ob.update(self.beta, gb)",
        constructor=", optimizer", init="self.og, self.ob = optimizer(lr=0.1), optimizer(lr=0.1)",
    ),
    "the gradient alone": layer("self.beta -= self.opt.get(gb); self.gamma -= self.opt.get(gg)",
                                constructor=", optimizer", init="self.opt = optimizer"),
    "its rate": layer(STEP.format("self.optimizer.lr"), init="self.optimizer = None",
                      methods="def set_optimizer(self, optimizer): self.optimizer = optimizer"),
    "an attribute": layer(
        "if self.optimizer is not None:\n            self.optimizer.update(self.gamma, gg); self.optimizer.update(self.beta, gb)",
        init="self.optimizer = None",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_an_optimizer(write, right, case):
    assert "dgamma" in right(write(OPTIMIZERS[case])).returns


def test_parameters_made_by_initialize(write, right):
    source = """
class BatchNormalization:
    def __init__(self): self.eps = 0.01
    def set_input_shape(self, shape): self.shape = shape
    def initialize(self, optimizer):
        self.gamma, self.beta = np.ones(self.shape), np.zeros(self.shape)
        self.og, self.ob = optimizer, optimizer
    def forward_pass(self, X, training=True):
        self.std = np.sqrt(X.var(axis=0) + self.eps); self.xhat = (X - X.mean(axis=0)) / self.std
        return self.gamma * self.xhat + self.beta
    def backward_pass(self, accum_grad):
        g, gamma = accum_grad, self.gamma
        self.gamma = self.og.update(self.gamma, (g * self.xhat).sum(axis=0))
        self.beta = self.ob.update(self.beta, g.sum(axis=0))
        return gamma / self.std * (g - g.mean(axis=0) - self.xhat * (g * self.xhat).mean(axis=0))
"""
    assert right(write(source)).eps_source == "attribute"


@pytest.mark.parametrize(
    "update", [STEP.format("lr"), "optimizer.update(self.gamma, gg); optimizer.update(self.beta, gb)"]
)
def test_parameters_are_put_back(write, only, update):
    target = only(write(layer(update, argument=", lr" if "lr" in update else ", optimizer")))
    random = np.random.default_rng(1)
    x, gamma, beta = random.normal(size=(5, 3)), random.uniform(1, 2, 3), random.uniform(1, 2, 3)
    session = target.open(Setup(gamma, beta, 1e-5, 0.9))
    y = session.forward(x)
    session.backward(x)
    np.testing.assert_array_equal(session.forward(x), y)
    for before, now in session.handed_over().values():
        np.testing.assert_array_equal(before, now)


def test_a_gradient_of_zero_is_a_gradient(write, only):
    session = only(write(RATES["argument of backward"])).open(Setup(np.ones(3), np.ones(3), 1e-5, 0.9))
    session.forward(np.arange(12.0).reshape(4, 3))
    found = session.backward(np.zeros((4, 3)))
    np.testing.assert_array_equal(found.dgamma, np.zeros(3))


@pytest.mark.parametrize(
    ("old", "new"),
    [("lr * gg", "lr * 2 * gg"), ("-= lr * gb", "+= lr * gb"), ("dx = self.gamma", "dx = 2 * self.gamma")],
)
def test_wrong_gradients_inside_are_seen(write, right, old, new):
    with pytest.raises(AssertionError, match=r"dx|dgamma|dbeta"):
        right(write(RATES["argument of backward"].replace(old, new)))


def test_a_wrong_gradient_given_to_an_optimizer_is_seen(write, right):
    with pytest.raises(AssertionError, match="dgamma"):
        right(
            write(OPTIMIZERS["copied"].replace("self.og.update(self.gamma, gg)", "self.og.update(self.gamma, gg / 3)"))
        )


def test_dx_from_an_updated_gamma_is_seen(write, right):
    source = layer("self.gamma -= lr * gg; self.beta -= lr * gb; dx = dx * self.gamma", argument=", lr")
    with pytest.raises(AssertionError, match="dx"):
        right(write(source))


def test_code_that_never_changes_them_has_no_gradients(write):
    with pytest.raises(Exception, match="gradients of gamma and beta were not found"):
        resolve.cards(write(layer("pass", argument=", lr")))


def test_copies_of_a_recorder_share_their_record():
    recorder = Recorder()
    w, g = np.ones(3), np.arange(3.0)
    assert copy.deepcopy(recorder).update(w, g) is w
    assert copy.copy(recorder)(w, g) is w
    assert len(recorder.notes) == 2
    assert recorder.learning_rate == 1.0


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_the_rate_loses_nothing(dtype):
    """The gradient comes back with an error of about one rounding, whatever the size of the parameter beside it."""
    rate = np.dtype(dtype).type(learning_rate(dtype))
    gradient = np.array([0.3, -2.7, 1e-2], dtype=dtype)
    before = np.array([1.1, -0.7, 0.3], dtype=dtype)
    after = before - rate * gradient
    recovered = (before - after) / rate
    allowed = 4 * np.finfo(dtype).eps * (np.abs(gradient) + np.abs(before) / float(rate))
    assert np.all(np.abs(recovered - gradient) <= allowed)


STEPPING = """
class BatchNorm:
    def __init__(self, n, rate=0.5):
        self.gamma, self.beta, self.rate = np.ones(n), np.zeros(n), rate
        self.dgamma, self.dbeta = np.zeros(n), np.zeros(n)
    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + 1e-5); self.xhat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.xhat + self.beta
    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        return self.gamma / self.std * (dy - dy.mean(axis=0) - self.xhat * (dy * self.xhat).mean(axis=0))
    def step(self):
        self.gamma -= self.rate * self.dgamma
        self.beta -= self.rate * self.dbeta
"""


def test_a_method_that_learns_is_not_called_to_clear_gradients(write, only):
    target = only(write(STEPPING))
    x, one = np.arange(12.0).reshape(4, 3) ** 2, np.ones(3)
    session = target.open(Setup(one, 0 * one, 1e-5, 0.9))
    first = session.forward(x)
    session.backward(x)
    np.testing.assert_array_equal(session.forward(x), first)
