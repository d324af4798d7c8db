"""Layers of PyTorch that have no parameters before their first forward."""

from __future__ import annotations

import pytest

from bncheck import pipeline
from bncheck.executors.in_process import InProcess
from bncheck.model import Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.settings import Settings

pytest.importorskip("torch", reason="PyTorch is not installed")

LAZY = """
import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.nn.modules.lazy import LazyModuleMixin

class LazyBN(LazyModuleMixin, nn.Module):
    def __init__(self, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = UninitializedParameter(), UninitializedParameter()
        self.running_mean, self.running_var = UninitializedBuffer(), UninitializedBuffer()

    def initialize_parameters(self, x):
        if self.has_uninitialized_params():
            with torch.no_grad():
                for name, start in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
                    tensor = getattr(self, name)
                    tensor.materialize((x.shape[1],))
                    tensor.fill_(start)

    def forward(self, x):
        dims, shape = [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
        if self.training:
            mean, var = x.mean(dims), x.var(dims, unbiased=False)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var, self.momentum)
        else:
            mean, var = self.running_mean, self.running_var
        x = (x - mean.view(shape)) / torch.sqrt(var.view(shape) + self.eps)
        return x * self.weight.view(shape) + self.bias.view(shape)
"""


def verify(tmp_path, source):
    (tmp_path / "own.py").write_text(source)
    settings = Settings(cases=6, select=("BN1", "BN2", "BN3"))
    (report,) = pipeline.run([TargetSpec(str(tmp_path / "own.py"))], settings, executor=InProcess()).targets
    return report, {finding.code for finding in report.findings if finding.outcome is Outcome.FAIL}


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_lazy_torch_modules_are_verified_from_their_start(tmp_path):
    report, failed = verify(tmp_path, LAZY)
    assert report.verdict is Verdict.PASS, failed
    found = report.conventions
    assert (found.momentum_sense, found.running_var, found.running_start) == ("new", "biased", "0, 1")


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_wrong_lazy_torch_modules_fail(tmp_path):
    assert "BN101" in verify(tmp_path, LAZY.replace("unbiased=False", "unbiased=True"))[1]
