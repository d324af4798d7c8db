"""The statement that is named is the one with the fault, in code of any style; where it is not plain, none is named."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from pointing import lines_of

from bncheck.lines.trace import Trace

BUGGY = Path(__file__).parents[2] / "fixtures" / "buggy"

# What each line that is named begins with, as read in the fixtures.
FAULTY = {
    "absolute_gamma_in_dx": "scale = np.sqrt(gamma**2",
    "bessel_in_mean_path": "return g * r * (dy - db / (n - 1)",
    "bessel_in_variance_path": "dx = dout * self.gamma * self.inv + dvar * 2 * self.centred / (n - 1)",
    "dbeta_averaged": "dbeta = np.mean(d, axis=0)",
    "dbeta_times_gamma": "dbeta = np.sum(dx_hat, axis=0)",
    "dgamma_averaged": "self.dgamma = np.mean(",
    "dgamma_summed_over_everything": "self.dgamma = np.sum(dout * self.x_norm)",
    "dgamma_times_gamma": 'dgamma = (dx_norm * cache["x_norm"])',
    "dgamma_unsummed": "dgamma = dout * x_hat",
    "dgamma_with_centred_x": "dgamma = (dout * A_c)",
    "dgamma_with_raw_x": "dgamma = np.sum(dout * x, axis=0)",
    "negative_gamma_clipped": "return self.scale * self.normal + self.beta",
    "odd_batch_row_lost": "dgamma += prod[i - 1] + prod[i]",
    "dvar_in_place_of_dmu": "dX = dnormed / root + dvar * 2.0 * (X - mean) / m + dvar / m",
    "eps_hard_coded_in_backward": "s = np.sqrt(v + 1e-8)",
    "eps_missing_in_backward": "return self.gamma * inner / (n * np.sqrt(self.var))",
    "eps_outside_forward_only": "xhat = (x - mu) / (np.sqrt(var) + eps)",
    "eps_outside_root": "xhat = xmu / (sd + eps)",
    "factor_two_missing": "dx = dx_hat * var_eps**-0.5 + dvar * x_mu / N",
    "first_term_sign_flipped": "dx = d_hat * inv",
    "gamma_divided_in_dx": "grad_inp = ",
    "gamma_missing_in_dx": "dZ = 1.0 / (m * np.sqrt(sigma2 + eps))",
    "gamma_twice_in_dx": "dx = gamma / (N * std) * (N * dnorm",
    "mean_of_dxhat_without_std": "dx = (dz - dz_along) / std - np.mean(dz, axis=0)",
    "mean_path_dropped": 'dx = cache["gamma"] * cache["inv_std"] * (dout - x_hat',
    "mean_path_sign_flipped": "d_mean = np.sum(d_norm / a_std, axis=0)",
    "mean_without_axis": "mu = np.mean(x)",
    "misprinted_dx": "dx = dx_hat * (-1 / np.sqrt(var + eps))",
    "negative_gamma_ignored_in_dx": "scale = np.clip(",
    "one_half_missing": "dvar = -np.einsum(",
    "per_activation_statistics": "dev = fmap - fmap.mean(axis=0)",
    "power_minus_one_half": "dvar = -0.5 * (dx_hat * self.xmu * self.v**-0.5)",
    "statistics_as_constants": "d_x = d_out * gamma / std",
    "unbiased_variance": "s = np.sqrt(x.var(axis=0, ddof=1) + eps)",
    "unbiased_variance_forward_only": "std = np.sqrt(np.sum((x - mean) ** 2, axis=0) / (x.shape[0] - 1)",
    "variance_for_std": "return gamma * d / s + beta",
    "variance_for_std_in_dx": "dx = gamma * (m * dout",
    "variance_of_uncentred_x": "self.var = np.mean(np.power(x, 2), axis=0)",
    "variance_path_not_averaged": "d_inputs = ",
    "spatial_count_is_batch_size": "N = dout.shape[0]",
    "instance_norm": "mean = x.mean(axis=(2, 3))",
    "layer_norm": "mean = np.mean(x, axis=1",
    "variance_path_dropped": "dx = dcentred - np.mean(dcentred",
}


@pytest.mark.parametrize("path", sorted(BUGGY.glob("*.py")), ids=lambda path: path.stem)
def test_a_line_that_is_named_is_the_faulty_one(path):
    for line in lines_of(str(path)):
        if line is not None:
            assert path.stem in FAULTY
            assert line.text.startswith(FAULTY[path.stem])
            assert path.read_text().splitlines()[line.number - 1].strip() == line.text
            assert line.file == str(path)


def test_most_bugs_that_are_named_have_a_line():
    lines = [line for path in BUGGY.glob("*.py") for line in lines_of(str(path))]
    assert sum(line is not None for line in lines) >= 0.75 * len(lines)


FORWARD = """
import numpy as np

def spread(values, eps):
    return np.sqrt(values.var(axis=0) + eps)

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    std = spread(x, eps)
    xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)
"""
HELPERS = """
def share(a, b):
    return (a * b).sum(axis=0)

def along(dy, xhat):
    return xhat * share(dy, xhat) / len(dy)

def batchnorm_backward(dy, cache):
    xhat, std, gamma = cache
    dx = gamma / std * (dy - dy.mean(axis=0) - along(dy, xhat))
    return dx, share(dy, xhat), share(dy, np.ones_like(dy))
"""
LOOPS = """
def batchnorm_backward(dy, cache):
    xhat, std, gamma = cache
    m, channels = dy.shape
    dx = np.zeros_like(dy)
    dgamma, dbeta = np.zeros(channels), np.zeros(channels)
    for j in range(channels):
        for i in range(m):
            dgamma[j] += dy[i, j] * xhat[i, j]
            dbeta[j] += dy[i, j]
        for i in range(m):
            inner = dy[i, j] - dbeta[j] / m - xhat[i, j] * dgamma[j] / m
            dx[i, j] = gamma[j] / std[j] * inner
    return dx, dgamma, dbeta
"""
# A source, what is replaced in it, and the line that is then wrong.
STYLES = {
    "in a helper of the forward": (FORWARD + HELPERS, ("values.var(axis=0)", "values.var(axis=0, ddof=1)")),
    "in a helper of the backward": (FORWARD + HELPERS, ("return xhat * share", "return 2 * xhat * share")),
    "in the call of a helper": (FORWARD + HELPERS, ("dy.mean(axis=0) - along", "dy.mean() - along")),
    "in a loop": (FORWARD + LOOPS, ("gamma[j] / std[j] * inner", "2 * gamma[j] / std[j] * inner")),
    "in a sum of a loop": (FORWARD + LOOPS, ("+= dy[i, j] * xhat[i, j]", "+= dy[i, j] * xhat[i, j] / m")),
}  # fmt: skip


@pytest.mark.parametrize("style", STYLES)
def test_helpers_and_loops(style, tmp_path):
    source, (before, after) = STYLES[style]
    assert before in source
    file = tmp_path / "written.py"
    file.write_text(source.replace(before, after))
    (line,) = [line for line in lines_of(str(file)) if line is not None]
    assert after in line.text


PACKED = """
import numpy as np

class Norm:
    def __init__(self, c):
        self.gamma, self.beta = np.ones(c), np.zeros(c)

    def forward(self, x):
        mu = x.mean(axis=0)
        xmu = x - mu
        std = np.sqrt((xmu**2).mean(axis=0) + 1e-5)
        {kept}
        self.xhat = xmu / std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        {taken}
        dxhat, xhat = dy * self.gamma, self.xhat
        self.dgamma, self.dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
        dvar = (dxhat * xmu).sum(axis=0) * -0.5 * ivar**3
        dx = dxhat * ivar + dvar * 2 * xmu / len(dy)
        return dx - dx.mean(axis=0)
"""


@pytest.mark.parametrize(
    ("kept", "taken"),
    [
        ("ivar = 1 / std; self.cache = (xmu, ivar, std)", "xmu, std, ivar = self.cache"),
        ("self.xmu, self.ivar, self.std = xmu, 1 / std, std", "xmu, std, ivar = self.xmu, self.ivar, self.std"),
    ],
)
def test_what_is_unpacked_in_another_order_is_named(kept, taken, tmp_path):
    """No statement makes a wrong value: each only has the name of another."""
    file = tmp_path / "packed.py"
    file.write_text(PACKED.replace("{kept}", kept).replace("{taken}", taken))
    (line,) = lines_of(str(file))
    assert line.text == taken


def test_sums_that_change_places_where_they_are_handed_on_have_no_line(tmp_path):
    backward = """
def batchnorm_backward(dy, cache):
    xhat, std, gamma = cache
    a, b = (dy * xhat).sum(axis=0), dy.sum(axis=0)
    return gamma / std * (dy - b / len(dy) - xhat * a / len(dy)), b, a
"""
    file = tmp_path / "swapped.py"
    file.write_text(FORWARD + backward)
    assert lines_of(str(file)) == [None]


def test_a_notebook_is_named_with_its_cell(tmp_path):
    wrong = HELPERS.replace("gamma / std * (dy - dy.mean(axis=0)", "gamma / std * (dy")
    cells = [{"cell_type": "code", "source": text, "metadata": {}, "outputs": []} for text in (FORWARD, wrong)]
    file = tmp_path / "homework.ipynb"
    file.write_text(json.dumps({"cells": cells, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}))
    (line,) = lines_of(str(file))
    assert line.file == f"{file}, code cell 2"
    assert line.text == "dx = gamma / std * (dy - along(dy, xhat))"


def test_where_two_statements_may_be_meant_nothing_is_said(tmp_path):
    file = tmp_path / "written.py"
    backward = HELPERS.replace("return dx, share(dy, xhat)", "parts = dy * xhat\n    return dx, parts")
    file.write_text(FORWARD + backward.replace("return dx, parts", "total = parts\n    return dx, total"))
    assert lines_of(str(file)) == [None]


def add(a):
    doubled = a * 2
    return doubled + 1


def test_a_trace_sees_what_each_statement_reads_and_makes():
    trace = Trace()
    earlier = sys.gettrace()
    assert trace.run(lambda: add(np.ones(3))).tolist() == [3.0, 3.0, 3.0]
    assert sys.gettrace() is earlier
    first, second = trace.executions
    assert (list(first.reads), list(first.makes)) == (["a"], ["doubled"])
    assert (list(second.reads), list(second.makes)) == (["doubled"], ["return"])


def count_up():
    total = 0
    while total < 5000:
        total += 1
    return total


def test_long_code_is_given_up_and_runs_to_its_end():
    trace = Trace()
    earlier = sys.gettrace()
    assert trace.run(count_up) == 5000
    assert trace.given_up
    assert sys.gettrace() is earlier


def test_what_user_code_raises_comes_through():
    earlier = sys.gettrace()
    with pytest.raises(TypeError):
        Trace().run(lambda: add(None))
    assert sys.gettrace() is earlier
