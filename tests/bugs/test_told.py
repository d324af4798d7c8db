"""What is one bug is told once: in several tensors, and where training and eval mode are exchanged."""

import pytest

from bncheck import pipeline
from bncheck.bugs.told import together
from bncheck.executors.in_process import InProcess
from bncheck.model import TargetSpec
from bncheck.report import Diagnosis, SourceLine
from bncheck.settings import Settings


def of(code, title, tensor, line=None):
    return Diagnosis(code, "a-bug", title, "mend it", tensor, 1.0, line=line, is_named=code != "BUG000")


def test_one_bug_in_several_tensors_is_said_once():
    y, var, mean = (
        of("BUG501", "digits", "y"),
        of("BUG501", "digits", "running_var"),
        of("BUG501", "half", "running_mean"),
    )
    assert [d.tensor for d in together([y, mean, var])] == ["y, running_var", "running_mean"]


def test_what_has_no_name_or_another_line_stays_apart():
    unknown = [of("BUG000", "no known bug", "y"), of("BUG000", "no known bug", "running_var")]
    lines = [SourceLine("bn.py", number, "x") for number in (1, 2)]
    known = [of("BUG101", "a slip", tensor, line) for tensor, line in zip(("y", "running_var"), lines, strict=True)]
    assert together([*unknown, *known]) == (*unknown, *known)


LAYER = """
import numpy as np


class BatchNorm:
    def __init__(self, num_features, eps=1e-5, momentum=0.9):
        self.gamma, self.beta = np.ones(num_features), np.zeros(num_features)
        self.eps, self.momentum = eps, momentum
        self.running_mean, self.running_var = np.zeros(num_features), np.ones(num_features)

    def forward(self, x, training=True):
        if {condition}:
            mu, var = x.mean(axis=0), x.var(axis=0)
            {update}
        else:
            mu, var = self.running_mean, self.running_var
        self.inv_std = 1 / np.sqrt(var + self.eps)
        self.xhat = (x - mu) * self.inv_std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        d = dy * self.gamma
        return self.inv_std * (d - d.mean(axis=0) - self.xhat * (d * self.xhat).mean(axis=0))
"""
UPDATE = """self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var"""


def reported(tmp_path, condition, update=UPDATE):
    path = tmp_path / "layer.py"
    path.write_text(LAYER.format(condition=condition, update=update))
    (target,) = pipeline.run([TargetSpec(str(path))], Settings(cases=40), executor=InProcess()).targets
    return target


def test_branches_that_are_exchanged_are_one_bug(tmp_path):
    target = reported(tmp_path, "not training")
    (found,) = target.diagnoses
    assert found.code == "BUG133"
    assert found.title.startswith("training and eval mode are exchanged")
    assert {*found.tensor.split(", ")} == {"y", "running_mean", "running_var", "y in eval mode"}
    assert found.line is not None
    assert "running_" in found.line.text
    assert "the backward fits the right forward" in target.oracles.conclusion.lower()


@pytest.mark.parametrize(
    ("condition", "update", "codes"),
    [
        ("False", UPDATE, {"BUG133", "BUG603"}),  # training too reads the running statistics, which nobody updates
        ("True", UPDATE, {"BUG611", "BUG701"}),  # the mode is not looked at
    ],
)
def test_a_mode_that_is_not_looked_at_is_not_an_exchange(tmp_path, condition, update, codes):
    target = reported(tmp_path, condition, update)
    assert {one.code for one in target.diagnoses} == codes
    assert not any("exchanged" in one.title for one in target.diagnoses)
