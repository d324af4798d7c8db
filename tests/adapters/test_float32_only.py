"""Code that refuses float64: how it is called, and its conventions, are found out in float32, and told as if in float64."""

from __future__ import annotations

import pytest

from bncheck import pipeline
from bncheck.adapters import resolve, template
from bncheck.adapters.walks import as_written
from bncheck.errors import TargetError
from bncheck.executors.in_process import InProcess
from bncheck.model import Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.settings import Settings

PAIR = """
import numpy as np

F = np.float32

def bn_forward(x, gamma, beta, bn_param):
    FORWARD
    running_mean = bn_param.get("running_mean", np.zeros(x.shape[1], x.dtype))
    running_var = bn_param.get("running_var", np.zeros(x.shape[1], x.dtype))
    if bn_param["mode"] == "train":
        mu, var = x.mean(axis=0), x.var(axis=0)
        running_mean = F(0.9) * running_mean + F(0.1) * mu
        running_var = F(0.9) * running_var + F(0.1) * var
    else:
        mu, var = running_mean, running_var
    bn_param["running_mean"], bn_param["running_var"] = running_mean, running_var
    std = np.sqrt(var + F(EPS))
    xhat = (x - mu) / std
    return gamma * xhat + beta, (xhat, std, gamma)

def bn_backward(dout, cache):
    BACKWARD
    xhat, std, gamma = cache
    g = dout * gamma
    dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""
SAYING = 'if {0}.dtype != np.float32: raise TypeError("only float32 is supported")'


def written(tmp_path, forward="pass", backward="pass", eps="1e-3", old="", new=""):
    text = PAIR.replace("FORWARD", forward).replace("BACKWARD", backward).replace("EPS", eps)
    assert old in text
    path = tmp_path / "my_bn.py"
    path.write_text(text.replace(old, new) if old else text)
    return TargetSpec(str(path))


def conventions(spec):
    (card,) = resolve.cards(spec)
    return card.conventions


def verified(spec, **options):
    (report,) = pipeline.run([spec], Settings(cases=20, **options), executor=InProcess()).targets
    return report


REFUSING = {
    "a sentence": (SAYING.format("x"), "pass", "TypeError: only float32 is supported, my_bn.py:7"),
    "a bare assert": ("assert x.dtype == np.float32", "pass", "AssertionError, my_bn.py:7"),
    "the backward's sentence": ("pass", SAYING.format("dout"), "TypeError: only float32 is supported"),
    "the backward's bare assert": ("pass", "assert dout.dtype == np.float32", "AssertionError"),
}


@pytest.mark.parametrize("eps", ["1e-3", "1e-5", "2.5e-8"])
@pytest.mark.parametrize("case", REFUSING)
def test_the_conventions_are_those_of_the_same_code_in_float64(tmp_path, case, eps):
    forward, backward, said = REFUSING[case]
    free = conventions(written(tmp_path, eps=eps))
    found = conventions(written(tmp_path, forward, backward, eps))
    assert found.dtype == "float32"
    assert f"it does not take float64 ({said}): verified in float32" in found.notes
    assert (free.dtype, free.eps) == ("", pytest.approx(float(eps), rel=1e-6))  # F(eps) itself is rounded
    for name in ("layouts", "parameter_shape", "eps_source", "returns", "mode_switch", "profile", "running_start"):
        assert getattr(found, name) == getattr(free, name), name
    for name in ("momentum_sense", "momentum", "running_var"):
        assert getattr(found, name) == getattr(free, name), name
    assert found.eps == float(eps)
    assert found.momentum == 0.9


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_right_code_passes_and_a_wrong_twin_fails(tmp_path, dtype):
    right = verified(written(tmp_path, SAYING.format("x")), dtype=dtype)
    assert right.verdict is Verdict.PASS
    wrong = verified(written(tmp_path, SAYING.format("x"), old="(g * xhat).mean(axis=0)", new="g.mean(axis=0)"))
    assert wrong.verdict is Verdict.FAIL
    assert "BN201" in {finding.code for finding in wrong.findings if finding.outcome is Outcome.FAIL}
    assert "dtype=float32" in wrong.replay


def test_a_case_is_replayed_in_float32_whatever_its_id_says(tmp_path):
    spec = written(tmp_path, SAYING.format("x"))
    (report,) = pipeline.replay([spec], "v1:plain:seed=0,n=3,c=2", Settings(), executor=InProcess()).targets
    assert report.verdict is Verdict.PASS


def message(spec):
    with pytest.raises(TargetError) as caught:
        resolve.cards(spec)
    return str(caught.value), caught.value.trace


def test_what_raises_for_another_reason_is_not_tried_in_float32(tmp_path):
    said, trace = message(written(tmp_path, 'raise ValueError(f"no batch of {len(x)} rows")'))
    assert "float32" not in said
    assert not any("float32" in line for line in trace)


def test_what_refuses_every_dtype_says_that_both_were_tried(tmp_path):
    said, _ = message(written(tmp_path, 'raise TypeError(f"dtype float16 of {len(x)} rows")'))
    assert "Tried: float64 arrays" in said
    forward = SAYING.format("x") + "\n    raise ValueError(f'no batch of {len(x)} rows')"
    said, trace = message(written(tmp_path, forward))
    assert "ValueError: no batch of" in said
    assert "Tried: float64 and float32 arrays" in said
    assert "float64 is refused; in float32:" in trace


def test_the_adapter_that_is_written_passes(tmp_path):
    spec = written(tmp_path, SAYING.format("x"))
    adapter = tmp_path / "written.py"
    adapter.write_text(template.adapter_source(spec))
    assert "This is a" not in adapter.read_text()  # neither skeleton nor draft
    assert verified(spec, adapter_file=str(adapter)).verdict is Verdict.PASS


def test_a_fraction_is_as_round_as_its_two_measurements_allow():
    assert as_written(0.9000001, 0.9000004) == 0.9
    assert as_written(0.9000001, 0.9000001) == 0.9000001
    assert as_written(0.87654321, 0.87654321) == 0.87654321
    assert as_written(0.99, 0.99) == 0.99
