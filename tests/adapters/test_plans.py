"""Arguments whose names say one thing and mean another: what else the signature takes tells."""

from __future__ import annotations

import pytest

from bncheck.adapters.plans import forward_plans

COLUMNS = """
def batch_normalize(S, {mean}=None, {var}=None):
    if {mean} is None:
        {mean} = np.mean(S, axis=1, keepdims=True)
        {var} = np.var(S, axis=1, keepdims=True)
    return (S - {mean}) / np.sqrt({var} + 1e-5), {mean}, {var}

def batch_norm_back_pass(G, S, {mean}, {var}):
    m = S.shape[1]; r = 1 / np.sqrt({var} + 1e-5); H = (S - {mean}) * r
    return r * (G - G.sum(axis=1, keepdims=True) / m{path})
"""
PATH = " - H * (G * H).sum(axis=1, keepdims=True) / m"


@pytest.mark.parametrize(("mean", "var"), [("mu", "var"), ("mean", "variance"), ("mu", "v"), ("avg", "sigma2")])
def test_a_mean_and_a_variance_that_are_none_are_no_gamma_and_beta(write, right, mean, var):
    conventions = right(write(COLUMNS.format(mean=mean, var=var, path=PATH)))
    assert (conventions.layouts, conventions.parameter_shape) == (("CN",), "none")


def test_what_is_wrong_in_such_code_is_seen(write, right):
    with pytest.raises(AssertionError, match="dx"):
        right(write(COLUMNS.format(mean="mu", var="var", path="")))


def test_a_mean_that_is_none_stays_at_its_default_beside_gamma_and_beta():
    def batch_norm(x, gamma, beta, mean=None, var=None):
        return x

    (plan,) = forward_plans(batch_norm)
    assert plan.bound == (("x", "x"), ("gamma", "gamma"), ("beta", "beta"))


def test_a_mean_alone_is_no_pair_of_statistics():
    def batch_norm(x, m=None, b=None):
        return x

    (plan,) = forward_plans(batch_norm)
    assert dict(plan.bound) == {"x": "x", "m": "gamma", "b": "beta"}


ALPHA = """
class BatchNorm:
    def __init__(self, eps=1e-5):
        self.eps = eps
    def forward(self, x, alpha, beta):
        self.r = 1 / np.sqrt(x.var(0) + self.eps); self.h = (x - x.mean(0)) * self.r; self.alpha = alpha
        return alpha * self.h + beta
    def backward(self, dy):
        da, db, n = (dy * self.h).sum(0), dy.sum(0), len(dy)
        return dict(dx=self.alpha * self.r * (dy - db / n - self.h * da / n), dalpha={dalpha}, dbeta=db)
"""


def test_what_a_layer_is_given_beside_beta_is_the_scale(write, right):
    assert right(write(ALPHA.format(dalpha="da"))).returns == "dict (dx, dbeta, dalpha)"


def test_the_gradient_of_that_scale_is_judged(write, right):
    with pytest.raises(AssertionError, match="dgamma"):
        right(write(ALPHA.format(dalpha="db")))


def test_what_a_layer_is_given_beside_its_own_parameters_is_no_scale():
    def forward(x, alpha):
        return x

    assert "gamma" not in {key for plan in forward_plans(forward, own=True) for key in plan.keys}


def test_data_may_be_called_t(write, right):
    source = """
    def bn_forward(t, gamma, beta, eps=1e-5):
        std = np.sqrt(t.var(axis=0) + eps)
        return gamma * (t - t.mean(axis=0)) / std + beta, ((t - t.mean(axis=0)) / std, std, gamma)
    def bn_backward(dy, cache):
        xhat, std, gamma = cache
        dgamma, dbeta, n = (dy * xhat).sum(axis=0), dy.sum(axis=0), len(dy)
        return gamma / std * (dy - dbeta / n - xhat * dgamma / n), dgamma, dbeta
    """
    assert right(write(source)).layouts == ("NC",)


def test_beside_data_a_t_counts_steps():
    def forward(x, gamma, beta, t):
        return x

    assert [dict(plan.bound)["t"] for plan in forward_plans(forward)] == ["step"]
