"""TorchScript: what was written is verified, in the place of what it was compiled to."""

from __future__ import annotations

import warnings

import pytest

from bncheck import pipeline
from bncheck.executors.in_process import InProcess
from bncheck.model import Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.settings import Settings

pytest.importorskip("torch", reason="PyTorch is not installed")

MODULE = """
import torch
from torch import nn, Tensor

class BatchNorm(torch.jit.ScriptModule):
    __constants__ = ["eps", "momentum"]

    def __init__(self, n: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(n))
        self.bias = nn.Parameter(torch.zeros(n))
        self.register_buffer("running_mean", torch.zeros(n))
        self.register_buffer("running_var", torch.ones(n))

    @torch.jit.script_method
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            mean = x.mean(dim=0)
            var = ((x - mean) * (x - mean)).mean(dim=0)
            self.running_mean.copy_((1.0 - self.momentum) * self.running_mean + self.momentum * mean.detach())
            self.running_var.copy_((1.0 - self.momentum) * self.running_var + self.momentum * var.detach())
        else:
            mean = self.running_mean
            var = self.running_var
        return (x - mean) / torch.sqrt(var + self.eps) * self.weight + self.bias
"""
PAIR = """
from typing import Tuple
import torch
from torch import Tensor

@torch.jit.script
def bn_forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tuple[Tensor, Tensor, Tensor]:
    mean = x.mean(0)
    inv = torch.rsqrt(((x - mean) ** 2).mean(0) + eps)
    xhat = (x - mean) * inv
    return gamma * xhat + beta, xhat, inv

@torch.jit.script
def bn_backward(dy: Tensor, xhat: Tensor, inv: Tensor, gamma: Tensor) -> Tuple[Tensor, Tensor, Tensor]:
    dgamma = (dy * xhat).sum(0)
    dbeta = dy.sum(0)
    m = dy.size(0)
    dx = gamma * inv * (dy - dbeta / m - xhat * dgamma / m)
    return dx, dgamma, dbeta
"""


def verify(tmp_path, source):
    (tmp_path / "own.py").write_text(source)
    settings = Settings(cases=6, select=("BN1", "BN2", "BN3"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer versions of torch would rather export
        (report,) = pipeline.run([TargetSpec(str(tmp_path / "own.py"))], settings, executor=InProcess()).targets
    return report, {finding.code for finding in report.findings if finding.outcome is Outcome.FAIL}


def test_a_scripted_torch_module_is_verified(tmp_path):
    report, failed = verify(tmp_path, MODULE)
    assert report.verdict is Verdict.PASS, failed
    found = report.conventions
    assert (found.momentum_sense, found.running_var, found.eps_source) == ("new", "biased", "argument")


def test_a_wrong_scripted_torch_module_fails(tmp_path):
    wrong = MODULE.replace("mean = self.running_mean", "mean = x.mean(dim=0)")
    assert "BN302" in verify(tmp_path, wrong)[1]


def test_scripted_torch_functions_are_verified(tmp_path):
    report, failed = verify(tmp_path, PAIR)
    assert report.verdict is Verdict.PASS, failed


def test_wrong_scripted_torch_functions_fail(tmp_path):
    assert "BN201" in verify(tmp_path, PAIR.replace("- xhat * dgamma", "+ xhat * dgamma"))[1]
