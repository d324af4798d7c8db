"""The dtype in which tensors are made that no line of the code says the dtype of."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck import pipeline
from bncheck.adapters.widths import in_width, making
from bncheck.executors.in_process import InProcess
from bncheck.model import Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.settings import Settings

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

LAYER = """
import torch

class BatchNorm:
    def __init__(self, n, eps=1e-5):
        self.eps = eps
        self.gamma, self.beta = torch.ones(n), torch.zeros(n)
        self.dgamma, self.dbeta = torch.zeros(n), torch.zeros(n)

    def forward(self, x):
        xc = x - x.mean(0)
        self.rstd = 1 / torch.sqrt((xc ** 2).mean(0) + self.eps)
        self.xhat = xc * self.rstd
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma.copy_((dy * self.xhat).sum(0))
        self.dbeta.copy_(dy.sum(0))
        g = dy * self.gamma
        return self.rstd * (g - g.mean(0) - self.xhat * (g * self.xhat).mean(0))
"""
IN_BACKWARD = LAYER.replace("self.dgamma.copy_", "self.dgamma = torch.zeros(len(self.gamma)); self.dgamma.copy_")
SINGLE = LAYER.replace("torch.zeros(n), torch.zeros(n)", "torch.zeros(n, dtype=torch.float32), torch.zeros(n)")


def verify(tmp_path, source, dtype="float64"):
    (tmp_path / "own.py").write_text(source)
    settings = Settings(cases=6, select=("BN1", "BN2", "BN5"), dtype=dtype)
    (report,) = pipeline.run([TargetSpec(str(tmp_path / "own.py"))], settings, executor=InProcess()).targets
    return report


@pytest.mark.parametrize("source", [LAYER, IN_BACKWARD])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_torch_buffers_of_the_usual_dtype_are_made_in_that_of_the_data(tmp_path, source, dtype):
    report = verify(tmp_path, source, dtype)
    assert report.verdict is Verdict.PASS, report
    assert torch.get_default_dtype() is torch.float32


def test_torch_buffers_whose_dtype_is_written_down_keep_it(tmp_path):
    failed = {finding.code for finding in verify(tmp_path, SINGLE).findings if finding.outcome is Outcome.FAIL}
    assert "BN502" in failed


def failing():
    with making(np.dtype("float16")):
        raise ValueError(str(torch.zeros(1).dtype))


def test_torch_makes_tensors_as_before_once_code_has_raised():
    with pytest.raises(ValueError, match="float16"):
        failing()
    assert torch.zeros(1).dtype is torch.float32


@pytest.mark.parametrize(("dtype", "wanted"), [("float64", torch.float64), ("float16", torch.float32)])
def test_torch_makes_constants_of_calls_in_float64_or_as_it_always_does(dtype, wanted):
    with in_width(np.dtype(dtype)):
        assert torch.zeros(1).dtype is wanted
