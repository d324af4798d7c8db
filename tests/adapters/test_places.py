"""Where layers keep gamma, beta and their gradients: each right one is resolved, and each lie is seen."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck.adapters import resolve
from bncheck.adapters.places import parts_of
from bncheck.errors import TargetError
from bncheck.session import Setup

LAYER = """
class Parameter:
    def __init__(self, data):
        self.data = data; self.grad = np.zeros_like(data)

class BatchNorm:
    def __init__(self, n, eps=1e-5):
        self.eps = eps; one, zero = np.ones(n), np.zeros(n)
        {init}
    {more}
    def forward(self, x):
        self._std = np.sqrt(x.var(axis=0) + self.eps); self._xhat = (x - x.mean(axis=0)) / self._std
        return {gamma} * self._xhat + {beta}

    def backward(self, dout):
        dg = (dout * self._xhat).sum(axis=0); db = dout.sum(axis=0)
        {store}
        return {gamma} / self._std * (dout - db / len(dout) - self._xhat * dg / len(dout))
"""


def layer(init, gamma, beta, store, more="pass"):
    return LAYER.format(init=init, gamma=gamma, beta=beta, store=store, more=more)


def in_dict(params, grads, gamma="'gamma'", beta="'beta'"):
    init = f"self.{params} = {{{gamma}: one, {beta}: zero}}; self.{grads} = {{}}"
    store = f"self.{grads}[{gamma}] = dg; self.{grads}[{beta}] = db"
    return layer(init, f"self.{params}[{gamma}]", f"self.{params}[{beta}]", store)


def in_list(params, grads, gamma=0, beta=1, store="=", init="{p} = [one, zero]; {g} = [None, None]"):
    p, g = f"self.{params}", f"self.{grads}"
    how = f"{g}[{gamma}]{{}} {store} dg; {g}[{beta}]{{}} {store} db".replace("{}", "" if store == "=" else "[...]")
    return layer(init.format(p=p, g=g), f"{p}[{gamma}]", f"{p}[{beta}]", how.replace("+=", "="))


def in_object(value, grad):
    init = "self.gamma, self.beta = Parameter(one), Parameter(zero)"
    store = f"self.gamma.{grad} = dg; self.beta.{grad} = db"
    source = layer(init, f"self.gamma.{value}", f"self.beta.{value}", store)
    return source.replace("self.data", f"self.{value}").replace("self.grad", f"self.{grad}")


PLACES = {
    "dict": (in_dict("params", "grads"), "grads['gamma'], grads['beta']"),
    "dict, weights": (in_dict("weights", "gradients", "'W'", "'b'"), "gradients['W'], gradients['b']"),
    "dict, g": (in_dict("p", "g"), "g['gamma'], g['beta']"),
    "dict, G": (in_dict("P", "G"), "G['gamma'], G['beta']"),
    "dict, g beside attributes": (
        layer("self.gamma, self.beta, self.g = one, zero, {}", "self.gamma", "self.beta",
              "self.g['gamma'], self.g['beta'] = dg, db"),
        "g['gamma'], g['beta']",
    ),
    "dict, g of the parameters": (
        layer("self.velocity = {'gamma': zero + 0, 'beta': zero + 0}; self.g = {'gamma': one, 'beta': zero}",
              "self.g['gamma']", "self.g['beta']", "self.dgamma, self.dbeta = dg, db"),
        "dgamma, dbeta",
    ),
    "list": (in_list("params", "grads"), "grads[0], grads[1]"),
    "list, ps and gs": (in_list("ps", "gs"), "gs[0], gs[1]"),
    "list, beta first": (
        in_list("params", "grads", 1, 0, init="{p} = [zero, one]; {g} = [None, None]"), "grads[1], grads[0]"
    ),
    "list, written in place": (
        in_list("params", "grads", store="+=", init="{p} = [one, zero]; {g} = [one.copy(), zero.copy()]"),
        "grads[0], grads[1]",
    ),
    "list, a tuple": (in_list("params", "grads", init="{p} = (one, zero); {g} = [None, None]"), "grads[0], grads[1]"),
    "objects, data and grad": (in_object("data", "grad"), "gamma.grad, beta.grad"),
    "objects, value and gradient": (in_object("value", "gradient"), "gamma.gradient, beta.gradient"),
    "methods": (
        layer("self._a, self._q, self._da, self._dq = one, zero, None, None", "self._a", "self._q",
              "self._da, self._dq = dg, db",
              "def params(self): return [self._a, self._q]\n    def grads(self): return [self._da, self._dq]"),
        "grads()[0], grads()[1]",
    ),
    "an optimizer beside them": (
        layer("self.velocity = {'gamma': zero + 0, 'beta': zero + 0}; self.params = {'gamma': one, 'beta': zero}; "
              "self.grads = {}", "self.params['gamma']", "self.params['beta']",
              "self.grads['gamma'], self.grads['beta'] = dg, db"),
        "grads['gamma'], grads['beta']",
    ),
    "the same arrays twice": (
        layer("self.gamma, self.beta = one, zero; self.params = [self.gamma, self.beta]", "self.params[0]",
              "self.params[1]", "self.dgamma, self.dbeta = dg, db"),
        "dgamma, dbeta",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PLACES)
def test_places(write, right, case):
    source, where = PLACES[case]
    conventions = right(write(source))
    assert conventions.returns == f"dx and attributes {where}"
    assert conventions.notes == ()


@pytest.mark.parametrize("case", [case for case in PLACES if "tuple" not in case])
def test_the_dtype_of_a_session_is_kept(write, only, case):
    opened = only(write(PLACES[case][0])).open(Setup(*np.ones((2, 3), "float32"), 1e-5, 0.9))
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    found = (opened.forward(x), *opened.backward(x)[:3])
    assert [array.dtype for array in found] == [np.dtype("float32")] * 4


def test_gamma_of_zeros_stays_gamma_in_a_list(write, only):
    opened = only(write(PLACES["list"][0])).open(Setup(np.zeros(3), np.ones(3), 1e-5, 0.9))
    x, dy = np.random.default_rng(0).normal(size=(2, 5, 3))
    opened.forward(x)
    np.testing.assert_allclose(opened.backward(dy).dbeta, dy.sum(axis=0))


def test_swapped_gradients_in_a_list_are_not_put_right(write, only):
    source = PLACES["list"][0].replace("[0] = dg", "[0] = db").replace("[1] = db", "[1] = dg")
    opened = only(write(source)).open(Setup(np.ones(3), np.ones(3), 1e-5, 0.9))
    x, dy = np.random.default_rng(0).normal(size=(2, 5, 3))
    opened.forward(x)
    np.testing.assert_allclose(opened.backward(dy).dgamma, dy.sum(axis=0))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (("self.quux_gamma_7x = one; self.beta = zero", "self.quux_gamma_7x", "self.beta", "pass"), "to set gamma"),
        (("self.gamma = one; self.beta = zero", "self.gamma", "self.beta", "self.a, self.c = dg, db"),
         "gradients of gamma and beta were not found: it hands over dx"),
    ],
)  # fmt: skip
def test_what_is_not_found_is_no_verdict(write, changes, text):
    with pytest.raises(TargetError, match=text):
        resolve.cards(write(layer(*changes)))


@pytest.mark.parametrize("hidden", [("self.echelle", "self.decalage"), ("self.gamma", "self.decalage")])
def test_an_array_that_acts_under_a_name_that_says_nothing_is_not_taken_for_no_affine_part(write, hidden):
    source = layer(f"{hidden[0]}, {hidden[1]} = one, zero", *hidden, "self.dg = dg")
    with pytest.raises(TargetError, match=r"to set .*y depends on its (echelle|decalage), which bncheck does not take"):
        resolve.cards(write(source))


def test_running_statistics_of_any_name_are_no_hidden_gamma(write, right):
    source = BARE.format(name="BatchNorm", axes="0", end="").replace(
        "self.eps = eps", "self.eps = eps; self.moyenne = 0"
    )
    assert right(write(source.replace("return self.xhat", "self.moyenne += x.mean(0); return self.xhat"))).notes


def test_a_cache_holds_no_parameters():
    class Layer:
        def __init__(self):
            self.cache = {"gamma": np.ones(3)}
            self.gamma = np.zeros(3)

    assert parts_of(Layer()).parameters["gamma"].spelled == "gamma"


# ------------------------------------------------------------------------------------------------- code without affine

BARE = """
class {name}:
    def __init__(self, eps=1e-5):
        self.eps = eps

    def forward(self, x):
        self.std = np.sqrt(x.var(axis={axes}, keepdims=True) + self.eps)
        self.xhat = (x - x.mean(axis={axes}, keepdims=True)) / self.std
        return self.xhat

    def backward(self, dy):
        mean = dict(axis={axes}, keepdims=True)
        return (dy - dy.mean(**mean) - self.xhat * (dy * self.xhat).mean(**mean)){end} / self.std
"""


@pytest.mark.parametrize(("axes", "layout"), [("0", "NC"), ("1", "CN"), ("(0, 2, 3)", "NCHW"), ("(0, 1, 2)", "NHWC")])
@pytest.mark.parametrize("name", ["BatchNorm", "Standardize"])
def test_no_gamma_and_beta(write, right, axes, layout, name):
    conventions = right(write(BARE.format(name=name, axes=axes, end="")))
    assert (conventions.layouts, conventions.parameter_shape) == ((layout,), "none")
    assert conventions.notes[0].startswith("no gamma and beta (treated as 1 and 0)")


def test_a_wrong_dx_without_gamma_and_beta_stays_wrong(write, only, agrees):
    target = only(write(BARE.format(name="BatchNorm", axes="0", end=" * 1.5")))
    with pytest.raises(AssertionError, match="dx"):
        agrees(target, 2)


def test_a_pair_without_gamma_and_beta(write, right):
    source = """
    def bn_forward(x, eps=1e-5):
        std = np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) / std
        return xhat, (xhat, std)

    def bn_backward(dout, cache):
        xhat, std = cache
        return (dout - dout.mean(axis=0) - xhat * (dout * xhat).mean(axis=0)) / std
    """
    assert right(write(source)).parameter_shape == "none"


def test_gamma_alone(write, right):
    source = layer("self.gamma = one", "self.gamma", "0.0", "self.dgamma = dg")
    assert right(write(source)).notes[0].startswith("no beta (treated as 0)")


def test_beta_alone(write, right):
    right(write(layer("self.beta = zero", "1.0", "self.beta", "self.dbeta = db")))


PAIR_WITH_BETA = """
def bn_forward(x, beta, eps=1e-5):
    std = np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) / std
    return xhat + beta, (xhat, std)

def bn_backward(dout, cache):
    xhat, std = cache
    return (dout - dout.mean(axis=0) - xhat * (dout * xhat).mean(axis=0)) / std, dout.{how}(axis=0)
"""


def test_the_second_of_two_gradients_without_names_is_that_of_the_one_parameter(write, right):
    assert right(write(PAIR_WITH_BETA.format(how="sum"))).returns == "tuple (dx, dbeta)"


def test_a_wrong_gradient_of_the_one_parameter_stays_wrong(write, only, agrees):
    with pytest.raises(AssertionError, match="dbeta"):
        agrees(only(write(PAIR_WITH_BETA.format(how="mean"))), 2)


def test_what_normalises_nothing_is_no_batch_norm(write):
    source = "class Relu:\n def forward(self, x): self.m = x > 0; return x * self.m\n"
    with pytest.raises(TargetError, match="does not respond to gamma or beta"):
        resolve.cards(write(source + " def backward(self, dy): return dy * self.m\n"))


def test_float32_inside_shows_without_gamma_and_beta(write, only):
    source = BARE.format(name="BatchNorm", axes="0", end="").replace(
        "return self.xhat\n", "return np.float32(self.xhat)\n"
    )
    opened = only(write(source)).open(Setup(np.ones(3), np.ones(3), 1e-5, 0.9))
    assert opened.forward(np.random.default_rng(0).normal(size=(5, 3))).dtype == np.float32


def test_a_change_of_dy_in_place_shows_without_gamma_and_beta(write, only):
    source = BARE.format(name="BatchNorm", axes="0", end="").replace(
        "        mean =", "        dy *= 2\n        mean ="
    )
    opened = only(write(source)).open(Setup(np.ones(3), np.ones(3), 1e-5, 0.9))
    x, dy = np.random.default_rng(0).normal(size=(2, 5, 3))
    opened.forward(x)
    np.testing.assert_allclose(opened.backward(dy).dbeta, dy.sum(axis=0))
    before, now = opened.handed_over()["dy"]
    assert not np.array_equal(before, now)


def test_the_gradients_of_a_layers_own_weights_are_not_gammas():
    class Dense:
        def __init__(self):
            self.W, self.b, self.dW, self.db = np.ones((3, 2)), np.zeros(2), np.ones((3, 2)), np.zeros(2)
            self.gamma, self.beta = np.ones(2), np.zeros(2)

    found = parts_of(Dense())
    assert found.parameters["gamma"].spelled == "gamma"
    assert not {"dgamma", "dbeta"} & found.gradients.keys()


TWO_ROWS = """
class BatchNorm:
    def __init__(self, n):
        self.W = np.vstack([np.ones(n), np.zeros(n)])[::{step}]
        self.dW = np.zeros_like(self.W)
    def forward(self, x):
        self.r = 1 / np.sqrt(x.var(0) + 1e-5); self.h = (x - x.mean(0)) * self.r
        return self.W[{g}] * self.h + self.W[{b}]
    def backward(self, dy):
        self.dW[{g}] = {dgamma}
        self.dW[{b}] = dy.sum(0)
        d = dy * self.W[{g}]
        return (d - d.mean(0) - self.h * (d * self.h).mean(0)) * self.r
"""
ROWS = {"gamma first": {"step": 1, "g": 0, "b": 1}, "beta first": {"step": -1, "g": 1, "b": 0}}


@pytest.mark.parametrize("case", ROWS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_one_weight_of_two_rows_holds_both(write, right, case, dtype):
    spec = write(TWO_ROWS.format(**ROWS[case], dgamma="(dy * self.h).sum(0)"))
    found = ROWS[case]
    assert right(spec, dtype=dtype).returns == f"dx and attributes dW[{found['g']}], dW[{found['b']}]"


@pytest.mark.parametrize("case", ROWS)
def test_what_is_wrong_in_a_row_is_seen(write, right, case):
    with pytest.raises(AssertionError, match="dgamma"):
        right(write(TWO_ROWS.format(**ROWS[case], dgamma="dy.sum(0)")))


def test_one_weight_of_two_rows_takes_the_dtype_of_the_data(write, only):
    target = only(write(TWO_ROWS.format(**ROWS["gamma first"], dgamma="(dy * self.h).sum(0)")))
    opened = target.open(Setup(np.ones(3, "float32"), np.ones(3, "float32"), 1e-5, 0.9))
    assert opened.forward(np.random.default_rng(0).normal(size=(5, 3)).astype("float32")).dtype == np.float32


def test_a_weight_of_two_rows_beside_a_bias_is_no_pair():
    class Dense:
        def __init__(self):
            self.W, self.b = np.ones((2, 3)), np.zeros(3)

    assert parts_of(Dense(), channels=3).parameters["gamma"].spelled == "W"
