"""What backwards hand over: dicts beside arrays, lists that grow, names in the notations of several habits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bncheck.adapters import resolve
from bncheck.adapters.words import gradient_name
from bncheck.model import Declared

PAIR = """
{before}
def bn_forward(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)

def bn_backward(dout, cache):
    xhat, std, gamma = cache
    dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
    dx = gamma / std * (dout - dout.mean(axis=0) - xhat * (dout * xhat).mean(axis=0))
    {results}
"""
RESULTS = {
    "dx and a dict": "return dx, {'gamma': dgamma, 'beta': dbeta}",
    "a list with a dict": "return [dx, {'beta': dbeta, 'gamma': dgamma}]",
    "a dict of names": "grads = {}; grads['x'] = dx; grads['gamma'] = dgamma; grads['beta'] = dbeta; return grads",
    "a dict with d": "return {'dX': dx, 'dGamma': dgamma, 'dBeta': dbeta}",
    "weights and bias": "return {'d_input': dx, 'd_weight': dgamma, 'd_bias': dbeta}",
    "a tuple in a tuple": "return dx, (dgamma, dbeta)",
    "a list in a tuple": "return dx, [dgamma, dbeta]",
    "parameters first": "return (dgamma, dbeta), dx",
    "rows": "return dx, dgamma[None, :], dbeta[None, :]",
    "nabla": "nabla_x, nabla_gamma, nabla_beta = dx, dgamma, dbeta; return nabla_beta, nabla_gamma, nabla_x",
    "chainer": "gx, ggamma, gbeta = dx, dgamma, dbeta; return gbeta, gx, ggamma",
    "dL": "dLdX, dLdGamma, dLdBeta = dx, dgamma, dbeta; return dLdBeta, dLdGamma, dLdX",
    "dL_d": "dL_dx, dL_dgamma, dL_dbeta = dx, dgamma, dbeta; return dL_dgamma, dL_dbeta, dL_dx",
    "words of any kind": "x_gamma_numerically, x_beta_numerically = dgamma, dbeta; "
    "return dx, x_beta_numerically, x_gamma_numerically",
    "grad_": "grad_input, grad_weight, grad_bias = dx, dgamma, dbeta; return grad_input, grad_bias, grad_weight",
    "bars": "x_bar, gamma_bar, beta_bar = dx, dgamma, dbeta; return gamma_bar, beta_bar, x_bar",
    "delta_": "delta_x, delta_gamma, delta_beta = dx, dgamma, dbeta; return delta_beta, delta_x, delta_gamma",
    "gradients": "return {'gradients': 1, 'gradient_x': dx, 'gradient_gamma': dgamma, 'gradient_beta': dbeta}",
    "a named tuple": "return Grads(dbeta, dx, dgamma)",
    "an object": "g = Box(); g.x, g.gamma, g.beta = dx, dgamma, dbeta; return g",
}
BEFORE = "from collections import namedtuple\nGrads = namedtuple('Grads', 'beta x gamma')\nclass Box: pass"


@pytest.mark.parametrize("case", RESULTS)
def test_results(write, right, case):
    right(write(PAIR.format(before=BEFORE, results=RESULTS[case])))


LAYER = """
class BatchNorm:
    def __init__(self, n, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(n), np.zeros(n), eps
        {init}
    def forward(self, x):
        self.std = np.sqrt(x.var(axis=0) + self.eps); self.xhat = (x - x.mean(axis=0)) / self.std
        {after}
        return self.gamma * self.xhat + self.beta
    def backward(self, dy):
        dgamma, dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        dx = self.gamma / self.std * (dy - dy.mean(axis=0) - self.xhat * (dy * self.xhat).mean(axis=0))
        {results}
"""
KEPT = {
    "a list of one dx": "self.dgamma, self.dbeta = dgamma, dbeta; return [dx]",
    "one dx for each forward": "self.dgamma, self.dbeta = dgamma, dbeta; return [0 * h for h in self.xs[:-1]] + [dx]",
    "dx and a dict": "return dx, {'gamma': dgamma, 'beta': dbeta}",
    "gradients of everything in a dict": "self.gradients = {'x': dx, 'gamma': dgamma, 'beta': dbeta}",
    "weight_gradient": "self.weight_gradient, self.bias_gradient = dgamma, dbeta; return dx",
    "d_scale": "self.d_scale, self.d_shift = dgamma, dbeta; return dx",
    "g_": "self.ggamma, self.gbeta = dgamma, dbeta; return dx",
    "nabla": "self.nabla_gamma, self.nabla_beta = dgamma, dbeta; return dx",
    "a dict named after another": "self.dp = {'gamma': dgamma, 'beta': dbeta}; return dx",
    "dLdx": "self.dLdx, self.dLdgamma, self.dLdbeta = dx, dgamma, dbeta",
    "gammas gradient": "self.gammaGrad, self.betaGrad = dgamma, dbeta; return dx",
}


@pytest.mark.parametrize("case", KEPT)
def test_kept_by_a_layer(write, right, case):
    twin = "self.p = {'gamma': self.gamma}; self.xs = []" if "self.dp" in KEPT[case] else "self.xs = []"
    right(write(LAYER.format(init=twin, after="self.xs.append(x)", results=KEPT[case])))


@pytest.mark.parametrize("grad", ["grad", "gradient", "d", "diff"])
def test_parameter_objects(write, right, grad):
    source = f"class P:\n    def __init__(self, v): self.value = v; self.{grad} = None\n" + LAYER.format(
        init="self.gamma, self.beta = P(np.ones(n)), P(np.zeros(n))", after="pass",
        results=f"self.gamma.{grad}, self.beta.{grad} = dgamma, dbeta; return dx",
    ).replace("self.gamma *", "self.gamma.value *").replace("+ self.beta\n", "+ self.beta.value\n").replace(
        "self.gamma /", "self.gamma.value /"
    )  # fmt: skip
    assert right(write(source, name="BatchNorm")).returns == f"dx and attributes gamma.{grad}, beta.{grad}"


@pytest.mark.parametrize(
    ("results", "returns"),
    [("a = dbeta; b = dx; c = dgamma; return a, b, c", "dbeta, dx, dgamma"),
     ("return some(dgamma, dx, dbeta)", "dgamma, dx, dbeta")],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["pair", "layer", "closure"])
def test_a_declared_order_reaches_all(write, agrees, kind, results, returns):
    before = "def some(*a): return a"
    source = PAIR.format(before=before, results=results)
    if kind == "layer":
        source = before + LAYER.format(init="pass", after="pass", results=results)
    if kind == "closure":
        body = PAIR.format(before=before, results=results).split("def bn_backward(dout, cache):\n")
        inner = "    def back(dout):\n" + "\n".join("    " + line for line in body[1].splitlines()[1:])
        source = body[0].replace(
            "    return gamma * xhat + beta, (xhat, std, gamma)\n", inner + "\n    return gamma * xhat + beta, back\n"
        )
    spec = replace(write(source), declared=Declared(returns=returns))
    name = next(card.name for card in resolve.cards(spec) if card.name.split("::")[1] != "some")
    agrees(resolve.target(spec, name), 2)


@pytest.mark.parametrize("case", ["dx and a dict", "a tuple in a tuple", "chainer", "bars", "an object"])
def test_wrong_ones_are_seen(write, right, case):
    source = PAIR.format(before=BEFORE, results=RESULTS[case]).replace("(dout * xhat).sum", "(dout + xhat).sum")
    with pytest.raises(AssertionError, match="dgamma"):
        right(write(source))


@pytest.mark.parametrize(
    ("name", "of"),
    [("nabla_gamma", "dgamma"), ("gx", "dx"), ("ggamma", "dgamma"), ("gb", "dbeta"), ("x_bar", "dx"), ("dγ", "dgamma"),
     ("∂β", "dbeta"), ("dLdx", "dx"), ("dL_dW", "dgamma"), ("dloss_db", "dbeta"), ("dJdgamma", "dgamma"), ("d_scale", "dgamma"), ("gamma", None), ("gain", None), ("gy", None), ("gap", None)],
)  # fmt: skip
def test_whose_gradient(name, of):
    read = gradient_name(name)
    assert (read and read.of) == of
