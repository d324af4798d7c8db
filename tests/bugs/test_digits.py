"""Code that computes in single precision has one name for it, in whatever tensors and statistics it shows."""

from __future__ import annotations

import textwrap

from bncheck import pipeline
from bncheck.executors.in_process import InProcess
from bncheck.model import TargetSpec
from bncheck.settings import Settings

# The batch's statistics are made in float32; those that are kept are float64, with digits that mean nothing.
LAYER = """
import numpy as np


class BatchNorm:
    def __init__(self, num_features, eps=1e-5, momentum=0.9):
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.eps, self.momentum, self.training = eps, momentum, True
        self.running_mean, self.running_var = np.zeros(num_features), np.ones(num_features)

    def forward(self, x):
        x = x.astype(np.float32)
        if not self.training:
            xhat = (x - self.running_mean.astype(np.float32)) / np.sqrt(self.running_var.astype(np.float32) + self.eps)
            return self.gamma * xhat + self.beta
        mu, var = x.mean(axis=0), x.var(axis=0)
        self.inv_std = 1 / np.sqrt(var + np.float32(self.eps))
        self.xhat = (x - mu) * self.inv_std
        self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * {mean}
        self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        d = (dy * self.gamma).astype(np.float32)
        return self.inv_std * (d - d.mean(axis=0) - self.xhat * (d * self.xhat).mean(axis=0))
"""


def named(tmp_path, mean, *changes):
    path, source = tmp_path / "layer.py", textwrap.dedent(LAYER).replace("{mean}", mean)
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    path.write_text(source)
    (target,) = pipeline.run([TargetSpec(str(path))], Settings(cases=60), executor=InProcess()).targets
    return {d.code: d.tensor for d in target.diagnoses}


def test_statistics_in_single_precision_are_the_same_bug_as_y(tmp_path):
    found = named(tmp_path, "mu")
    assert list(found) == ["BUG501"]
    assert {"y", "running_mean", "running_var", "y in eval mode"} <= {*found["BUG501"].split(", ")}


def test_what_is_wrong_beside_it_has_its_own_name(tmp_path):
    found = named(tmp_path, "2 * mu")
    assert "running_mean" not in found["BUG501"]
    assert any("running_mean" in tensor for code, tensor in found.items() if code != "BUG501")


def test_an_eval_mode_that_is_wrong_is_not_a_matter_of_digits(tmp_path):
    found = named(
        tmp_path, "mu", ("return self.gamma * xhat + self.beta\n        mu", "return xhat + self.beta\n        mu")
    )
    assert "y in eval mode" not in found["BUG501"]
    assert any("y in eval mode" in tensor for code, tensor in found.items() if code != "BUG501")


# The forward and its statistics in float64, the backward in float32.
FINE = (
    ("x = x.astype(np.float32)", "pass"),
    (".astype(np.float32)) /", ") /"),
    ("running_var.astype(np.float32)", "running_var"),
    ("np.float32(self.eps)", "self.eps"),
)


def test_statistics_beside_a_backward_in_single_precision_are_judged_as_they_are(tmp_path):
    found = named(tmp_path, "mu", *FINE, ("(1 - self.momentum) * var", "(1 - self.momentum) * var * (1 + 1e-7)"))
    assert found["BUG501"] == "dx"
    assert found["BUG000"] == "running_var"
