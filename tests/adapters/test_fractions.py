"""An argument that is the fraction of the new in an average is no switch of the mode, whatever it is called."""

import pytest

from bncheck.adapters.words import Role, argument_role

CUDNN = """
def bn_forward_training(x, scale, bias, running_mean, running_var, {f}, epsilon):
    mu, var = x.mean(axis=0), x.var(axis=0)
    running_mean[:] = running_mean * (1 - {f}) + mu * {f}
    running_var[:] = running_var * (1 - {f}) + var * {f}
    inv_std = 1 / np.sqrt(var + epsilon)
    return scale * (x - mu) * inv_std + bias, mu, inv_std

def bn_forward_inference(x, scale, bias, running_mean, running_var, epsilon):
    return scale * (x - running_mean) / np.sqrt(running_var + epsilon) + bias

def bn_backward(x, dy, scale, mu, inv_std):
    xhat = (x - mu) * inv_std
    dscale, dbias = (dy * xhat).sum(axis=0), dy.sum(axis=0)
    return scale * inv_std / len(x) * (len(x) * dy - dbias - xhat * dscale), dscale, dbias
"""
LAYER = """
class BatchNorm:
    def __init__(self, n, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(n), np.zeros(n), eps
        self.running_mean, self.running_var = np.zeros(n), np.ones(n)

    def forward(self, x, f, inference=False):
        if inference:
            return (x - self.running_mean) / np.sqrt(self.running_var + self.eps) * self.gamma + self.beta
        mu, var = x.mean(axis=0), x.var(axis=0)
        self.running_mean = (1 - f) * self.running_mean + f * mu
        self.running_var = (1 - f) * self.running_var + f * var
        self.inv_std = 1 / np.sqrt(var + self.eps)
        self.xhat = (x - mu) * self.inv_std
        return self.xhat * self.gamma + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        return self.gamma * self.inv_std * (dy - dy.mean(axis=0) - self.xhat * (dy * self.xhat).mean(axis=0))
"""
# A switch, although no word and no test of the code says so.
WEIGHT = """
def bn_forward(x, gamma, beta, running_mean, running_var, w, eps):
    mu, var = w * x.mean(axis=0) + (1 - w) * running_mean, w * x.var(axis=0) + (1 - w) * running_var
    running_mean[:] = 0.9 * running_mean + 0.1 * mu
    running_var[:] = 0.9 * running_var + 0.1 * var
    inv_std = 1 / np.sqrt(var + eps)
    xhat = (x - mu) * inv_std
    return gamma * xhat + beta, (xhat, inv_std, gamma)

def bn_backward(dy, cache):
    xhat, inv_std, gamma = cache
    dx = gamma * inv_std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))
    return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)
"""
# Whether the averages move: 0 or 1, and nothing between.
FLAG = CUDNN.replace("* (1 - {f})", "* (0.9 if {f} else 1)").replace("* {f}", "* (0.1 if {f} else 0)")


@pytest.mark.parametrize("name", ["exponential_average_factor", "moving_average_fraction", "ema_alpha"])
def test_names_of_the_fraction_of_an_average_read_as_a_momentum(name):
    assert argument_role(name) is Role.MOMENTUM


@pytest.mark.parametrize("name", ["moving_mean", "exp_avg", "learning_rate", "global_mean"])
def test_other_words_of_averages_and_rates_do_not(name):
    assert argument_role(name) is not Role.MOMENTUM


@pytest.mark.parametrize("name", ["exponential_average_factor", "blend"])
def test_a_fraction_beside_a_function_for_inference_is_a_momentum(write, only, name):
    conventions = only(write(CUDNN.format(f=name))).conventions

    assert conventions.mode_switch == "function bn_forward_inference"
    assert conventions.momentum_sense == "new"


def test_a_fraction_that_the_forward_of_a_layer_takes_is_a_momentum(write, only):
    conventions = only(write(LAYER)).conventions

    assert conventions.mode_switch == "argument inference"
    assert conventions.momentum_sense == "new"


def test_a_weight_that_y_follows_is_the_mode(write, only):
    assert only(write(WEIGHT)).conventions.mode_switch == "argument w"


def test_a_flag_that_knows_no_half_is_no_fraction(write, only):
    assert only(write(FLAG.format(f="move"))).conventions.momentum_sense != "new"
