"""Running statistics that a forward returns under names that say nothing, or others than it takes them by."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck import pipeline
from bncheck.adapters.returned_statistics import renewed_statistics
from bncheck.executors.in_process import InProcess
from bncheck.model import Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.settings import Settings

FUNCTION = """
import {module} as np

def batch_norm(x, gamma, beta, running_mean, running_var, training=True, momentum=0.9, eps=1e-5):
    if training:
        mean = x.mean(0)
        var = ((x - mean) ** 2).mean(0)
        a = momentum * running_mean + (1 - momentum) * mean{detach}
        b = momentum * running_var + (1 - momentum) * var{detach}
    else:
        mean, var, a, b = running_mean, running_var, running_mean, running_var
    return gamma * (x - mean) / np.sqrt(var + eps) + beta, {returned}
"""
LIBRARIES = {"torch": {"module": "torch", "detach": ".detach()"}, "jax": {"module": "jax.numpy", "detach": ""}}


def verify(tmp_path, library, returned="a, b", old="", new=""):
    pytest.importorskip(library, reason=f"{library} is not installed")
    text = FUNCTION.format(returned=returned, **LIBRARIES[library])
    assert old in text
    (tmp_path / "own.py").write_text(text.replace(old, new) if old else text)
    settings = Settings(cases=5, select=("BN1", "BN2", "BN3"))
    (report,) = pipeline.run([TargetSpec(str(tmp_path / "own.py"))], settings, executor=InProcess()).targets
    return report, {finding.code for finding in report.findings if finding.outcome is Outcome.FAIL}


@pytest.mark.parametrize(
    ("library", "returned"), [("torch", "a, b"), ("torch", "(b, a)"), ("torch", "{'s': a, 't': b}"), ("jax", "(a, b)")]
)
def test_torch_and_jax_functions_may_return_them_under_any_name(tmp_path, library, returned):
    report, failed = verify(tmp_path, library, returned)
    assert report.verdict is Verdict.PASS, failed
    found = report.conventions
    assert (found.momentum_sense, found.running_var, found.running_start) == ("kept", "biased", "0, 1")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("b = momentum * running_var", "b = momentum * running_mean"),
        ("b = momentum * running_var + (1 - momentum) * var", "b = var"),
        ("b = momentum * running_var + (1 - momentum) * var", "b = running_var + 0 * var"),
    ],
)
def test_wrong_updates_of_torch_functions_fail_all_the_same(tmp_path, old, new):
    assert "BN301" in verify(tmp_path, "torch", old=old, new=new)[1]


def test_an_eval_mode_of_torch_functions_that_takes_the_batch_fails(tmp_path):
    old = "mean, var, a, b = running_mean, running_var,"
    assert "BN302" in verify(tmp_path, "torch", old=old, new="mean, var, a, b = x.mean(0), running_var,")[1]


# ---------------------------------------------------------------------------------------------- what follows what


def places(function):
    """Return what is found for a function of the batch's mean and variance, and of the old statistics."""
    given = {"x": np.array([1.0, 2.0]), "running_mean": np.zeros(2), "running_var": np.ones(2)}

    def call(changed):
        x, mean, var = (value + 0.5 * (key == changed) for key, value in given.items())
        return function(x, mean, var)

    return renewed_statistics(call)


def test_the_old_statistics_and_the_batch_tell_which_is_which():
    found = places(lambda x, mean, var: {(0,): 2 * x, (1,): var + x, (2,): mean + x})
    assert found == {"running_mean": (2,), "running_var": (1,)}


def test_what_the_batch_does_not_move_is_no_new_statistic():
    assert places(lambda x, mean, var: {(0,): mean, (1,): var}) == {}


def test_what_lies_beside_the_one_is_the_other():
    found = places(lambda x, mean, var: {(0,): x, (1, "v"): x, (1, "m"): mean + x})
    assert found == {"running_mean": (1, "m"), "running_var": (1, "v")}


def test_nothing_is_said_of_what_changes_by_itself():
    random = np.random.default_rng(0)
    assert places(lambda x, mean, var: {(0,): mean + x + random.normal(), (1,): var + x}) == {}
