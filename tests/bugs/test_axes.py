"""Reductions over part of the axes are written as they stand in code: a mean is no broken number times a sum."""

from __future__ import annotations

import pytest

from bncheck import pipeline
from bncheck.executors.in_process import InProcess
from bncheck.model import TargetSpec
from bncheck.settings import Settings

PAIR = """
import numpy as np

ALL = (0, 2, 3)


def bn_forward(x, gamma, beta, eps=1e-5):
    inv_std = 1 / np.sqrt(x.var(axis=ALL, keepdims=True) + eps)
    xhat = (x - x.mean(axis=ALL, keepdims=True)) * inv_std
    return gamma.reshape(1, -1, 1, 1) * xhat + beta.reshape(1, -1, 1, 1), (xhat, inv_std, gamma)


def bn_backward(dy, cache):
    xhat, inv_std, gamma = cache
    m = dy.size // dy.shape[1]
    dgamma, dbeta = (dy * xhat).sum(axis=ALL), dy.sum(axis=ALL)
    d = dy * gamma.reshape(1, -1, 1, 1)
    mean_path = d.mean(axis=ALL, keepdims=True)
    variance_path = xhat * (d * xhat).mean(axis=ALL, keepdims=True)
    {wrong}
    return inv_std * (d - mean_path - variance_path), dgamma, dbeta
"""


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ("mean_path = d.mean(axis=(0, 2), keepdims=True)", "BUG217", "dy - (mean of dy over N, H) - xhat"),
        ("mean_path = d.sum(axis=(0, 2), keepdims=True) / m", "BUG217", "dy - (1 / m) * (sum of dy over N, H) - xhat"),
        (
            "variance_path = xhat * (d * xhat).mean(axis=(0, 3), keepdims=True)",
            "BUG218",
            "- xhat * (mean of dy * xhat over N, W))",
        ),
    ],
)
def test_a_reduction_over_part_of_the_axes_is_written_as_it_stands(wrong, code, said, tmp_path):
    path = tmp_path / "pair.py"
    path.write_text(PAIR.replace("{wrong}", wrong))
    (target,) = pipeline.run([TargetSpec(str(path))], Settings(cases=60), executor=InProcess()).targets
    (diagnosis,) = target.diagnoses
    assert (diagnosis.code, said in diagnosis.wrong) == (code, True), diagnosis
