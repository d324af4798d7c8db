"""Which layouts are tried at all: torch's kernels write beyond the end of what has another size than they expect."""

from __future__ import annotations

import pytest

from bncheck import pipeline
from bncheck.adapters import resolve
from bncheck.executors.in_process import InProcess
from bncheck.model import Outcome, TargetSpec
from bncheck.settings import Settings

pytest.importorskip("torch", reason="PyTorch is not installed")

# In the place of a kernel that kills the process: one that never may be called so.
NATIVE = """
import torch

def batch_norm(x, weight, bias, running_mean, running_var, training=True, momentum=0.1, eps=1e-5):
    if x.shape[1] != len(weight):
        raise SystemExit("memory was written that is not there")
    return torch.native_batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps)[0]
"""
LAST = """
import torch

def batch_norm(x, gamma, beta, eps=1e-5):
    mean = x.mean((0, 1, 2))
    return gamma * (x - mean) / torch.sqrt(((x - mean) ** 2).mean((0, 1, 2)) + eps) + beta
"""


def cards(tmp_path, source):
    (tmp_path / "own.py").write_text(source)
    return resolve.cards(TargetSpec(str(tmp_path / "own.py")))


def test_kernels_of_torch_are_called_with_channels_second_alone(tmp_path):
    (card,) = cards(tmp_path, NATIVE)
    assert card.conventions.layouts == ("NC", "NCL", "NCHW", "NCDHW")
    assert not any("memory was written" in line for line in card.trace)


def test_wrong_code_around_kernels_of_torch_fails(tmp_path):
    (tmp_path / "own.py").write_text(NATIVE.replace("momentum, eps)[0]", "momentum, 2 * eps)[0]"))
    settings = Settings(cases=5, select=("BN1",))
    (report,) = pipeline.run([TargetSpec(str(tmp_path / "own.py"))], settings, executor=InProcess()).targets
    assert "BN101" in {finding.code for finding in report.findings if finding.outcome is Outcome.FAIL}


def test_torch_code_whose_channels_are_last_is_found_so(tmp_path):
    (card,) = cards(tmp_path, LAST)
    assert card.conventions.layouts == ("NHWC",)
