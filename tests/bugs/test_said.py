"""What is said of a bug is what the code does: its name, its formula, and none beside it of what only follows."""

from __future__ import annotations

import pytest

from bncheck import pipeline
from bncheck.bugs.catalogue import BUGS, Version
from bncheck.executors.in_process import InProcess
from bncheck.model import TargetSpec
from bncheck.settings import Settings

LAYER = """
import numpy as np


class BatchNorm:
    def __init__(self, n, eps=1e-5, momentum=0.9):
        self.gamma, self.beta = np.ones(n), np.zeros(n)
        self.running_mean, self.running_var = np.zeros(n), np.ones(n)
        self.eps, self.momentum, self.rate = eps, momentum, 0.01

    def forward(self, x, training=True):
        self.training = training
        if training:
            mu, var = x.mean(0), x.var(0)
            new_mean, new_var = mu, var
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * new_mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * new_var
        else:
            mu, var = self.running_mean, self.running_var
        self.x, self.mu, self.var = x, mu, var
        std = np.sqrt(var + self.eps)
        self.xhat = (x - mu) / std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        inv_std = 1 / np.sqrt(self.var + self.eps)
        self.dgamma = np.sum(dy * self.xhat, axis=0)
        self.dbeta = np.sum(dy, axis=0)
        dxhat = dy * self.gamma
        if not self.training:
            return dxhat * inv_std
        return inv_std * (dxhat - dxhat.mean(0) - self.xhat * (dxhat * self.xhat).mean(0))
"""

SAID = {
    "dgamma times gamma": (
        [("np.sum(dy * self.xhat, axis=0)", "self.gamma * np.sum(dy * self.xhat, axis=0)")],
        ("BUG311", "dgamma has gamma once too often", "sum(dy * xhat) * gamma"),
    ),
    "dgamma times gamma in eval mode alone": (
        [("np.sum(dy * self.xhat, axis=0)", "np.sum(dy * self.xhat, axis=0) * (1 if self.training else self.gamma)")],
        ("BUG311", "in eval mode, dgamma has gamma once too often", "sum(dy * xhat) * gamma"),
    ),
    "multiplied in eval mode": (
        [("return dxhat * inv_std", "return dxhat / inv_std")],
        (
            "BUG721",
            "in eval mode the backward multiplies by the standard deviation, sqrt(running_var + eps), where it should "
            "divide by it",
            "dx = dy * gamma * sqrt(running_var + eps)",
        ),
    ),
    "multiplied in training": (
        [("return inv_std * (", "return 1 / inv_std * (")],
        (
            "BUG203",
            "the backward multiplies by the standard deviation, sqrt(var + eps), where it should divide by it",
            "inv_std = sqrt(var + eps)",
        ),
    ),
    "the running variance in the backward": (
        [("inv_std = 1 / np.sqrt(self.var +", "inv_std = 1 / np.sqrt(self.running_var +")],
        (
            "BUG207",
            "the backward divides by the standard deviation of running_var, just updated, and not by that of the batch",
            "inv_std = 1 / sqrt(running_var + eps)",
        ),
    ),
    "the running variance before its update": (
        [
            ("inv_std = 1 / np.sqrt(self.var +", "inv_std = 1 / np.sqrt(self.old +"),
            ("self.training = training", "self.training, self.old = training, self.running_var"),
        ],
        (
            "BUG207",
            "the backward divides by the standard deviation of running_var, as it starts, and not by that of the batch",
            "inv_std = 1 / sqrt(running_var + eps)",
        ),
    ),
    "a running mean of everything": (
        [("new_mean, new_var = mu, var", "new_mean, new_var = x.mean(), var")],
        (
            "BUG107",
            "in the update of the running statistics, the mean is taken over N, C, and not over all axes but C",
            "mu = mean of x over N, C",
        ),
    ),
    "a running variance of everything": (
        [("new_mean, new_var = mu, var", "new_mean, new_var = mu, x.var()")],
        (
            "BUG106",
            "in the update of the running statistics, the variance is taken over N, C, and not over all axes but C",
            "var = variance of x over N, C",
        ),
    ),
    "dgamma of everything": (
        [("np.sum(dy * self.xhat, axis=0)", "np.sum(dy * self.xhat) * np.ones_like(self.gamma)")],
        (
            "BUG302",
            "dgamma is summed over N, C, and not over all axes but C",
            "dgamma = dy * xhat, summed over N, C",
        ),
    ),
    "dbeta of everything": (
        [("np.sum(dy, axis=0)", "np.sum(dy) * np.ones_like(self.gamma)")],
        ("BUG401", "dbeta is summed over N, C, and not over all axes but C", "dbeta = dy, summed over N, C"),
    ),
    "a mean path of everything": (
        [("dxhat.mean(0) - self", "dxhat.mean() - self")],
        (
            "BUG217",
            "the mean path of dx subtracts (1 / gamma) * (mean of dxhat over everything), and not mean(dy)",
            "dx = gamma / sqrt(var + eps) * (dy - (1 / gamma) * (mean of dxhat over everything) - xhat * "
            "mean(dy * xhat))",
        ),
    ),
    "dy changed in place": (
        [
            ("inv_std = 1 / np.sqrt(self.var + self.eps)\n", "inv_std = 1 / np.sqrt(self.var + self.eps)\n    @"),
            ("    @", "        dy *= self.gamma\n"),
            ("dxhat = dy * self.gamma", "dxhat = dy"),
        ],
        (
            "BUG308",
            "dgamma and dbeta are summed of dy * gamma, and not of dy: both have gamma once too often",
            "dgamma, dbeta = sum(dy * gamma * xhat), sum(dy * gamma)",
        ),
    ),
    "gamma updated before dx": (
        [("dxhat = dy * self.gamma", "dxhat = dy * (self.gamma - self.rate * self.dgamma)")],
        (
            "BUG206",
            "dx is computed with gamma as the step has left it, (gamma - rate * dgamma), and not with the gamma of the "
            "forward",
            "dxhat = dy * (gamma - rate * dgamma)",
        ),
    ),
    "gamma updated by the mean before dx": (
        [("dxhat = dy * self.gamma", "dxhat = dy * (self.gamma - self.rate * self.dgamma / len(dy))")],
        (
            "BUG206",
            "dx is computed with gamma as the step has left it, (gamma - rate * dgamma / m), and not with the gamma of "
            "the forward",
            "dxhat = dy * (gamma - rate * dgamma / m)",
        ),
    ),
    "a variance that is clamped": (
        [
            ("std = np.sqrt(var + self.eps)", "std = np.sqrt(np.maximum(var, self.eps))"),
            ("inv_std = 1 / np.sqrt(self.var + self.eps)", "inv_std = 1 / np.sqrt(np.maximum(self.var, self.eps))"),
        ],
        (
            "BUG116",
            "x - mu is multiplied by 1 / sqrt(max(var, eps)), and not by 1 / sqrt(var + eps)",
            "inv_std = 1 / sqrt(max(var, eps))",
        ),
    ),
}


def diagnosed(tmp_path, source, changes=()):
    for before, after in changes:
        assert source.count(before) == 1, before
        source = source.replace(before, after)
    path = tmp_path / "layer.py"
    path.write_text(source)
    (target,) = pipeline.run([TargetSpec(str(path))], Settings(cases=60), executor=InProcess()).targets
    return target.diagnoses


def test_the_layer_is_right(tmp_path):
    assert diagnosed(tmp_path, LAYER) == ()


@pytest.mark.parametrize("case", SAID)
def test_what_is_said_is_what_the_code_does(tmp_path, case):
    changes, said = SAID[case]
    found = diagnosed(tmp_path, LAYER, changes)
    assert [(d.code, d.title, d.wrong) for d in found] == [said]


def test_the_right_dx_of_eval_mode_is_said_where_that_of_eval_mode_is_wrong(tmp_path):
    (found,) = diagnosed(tmp_path, LAYER, [("return dxhat * inv_std", "return dy")])
    assert (found.title, found.right) == ("in eval mode, dx is dy", "dx = gamma / sqrt(running_var + eps) * dy")
    assert "mean(dy)" not in found.explanation
    assert "stages" not in found.explanation


RESHAPED = """
import numpy as np


class BatchNorm:
    def __init__(self, n, eps=1e-5, momentum=0.9):
        self.gamma, self.beta = np.ones(n), np.zeros(n)
        self.running_mean, self.running_var = np.zeros(n), np.ones(n)
        self.eps, self.momentum = eps, momentum

    def forward(self, x, training=True):
        self.shape = x.shape
        x = x.reshape(-1, x.shape[1])
        if training:
            mu, var = x.mean(0), x.var(0)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        else:
            mu, var = self.running_mean, self.running_var
        self.inv_std = 1 / np.sqrt(var + self.eps)
        self.xhat = (x - mu) * self.inv_std
        return (self.gamma * self.xhat + self.beta).reshape(self.shape)

    def backward(self, dy):
        dy = dy.reshape(-1, self.shape[1])
        self.dgamma, self.dbeta = (dy * self.xhat).sum(0), dy.sum(0)
        d = dy * self.gamma
        dx = self.inv_std * (d - d.mean(0) - self.xhat * (d * self.xhat).mean(0))
        return dx.reshape(self.shape)
"""


def test_statistics_of_mixed_channels_follow_from_the_reshape_that_mixes_them(tmp_path):
    assert [d.code for d in diagnosed(tmp_path, RESHAPED)] == ["BUG146"]


def test_the_right_line_of_a_wrong_count_is_what_mends_it():
    bug = BUGS.get("BUG629")
    version = Version(bug, bug.versions([])[0].choice)
    unbiased = "var * m / (m - 1)"
    assert version.fill(bug.right).endswith(f"(1 - k) * {unbiased}")
    assert unbiased in version.fill(bug.mend)
