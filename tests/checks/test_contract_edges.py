"""What the checks of the contract say at the edges: strange dtypes, and exceptions at one value per channel."""

from dataclasses import replace

import numpy as np
import pytest

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.against_reference import variance_keeps_its_digits
from bncheck.checks.contract import dtype_kept, prints_nothing, results_finite, survives
from bncheck.core.truth import allowances, truth
from bncheck.guard import describe
from bncheck.model import Evidence, Fault, Outcome


class TooSmall(Exception):  # noqa: N818 - a name that Python does not have
    """A refusal of the user's own."""


def judged(check, spec, **evidence):
    return check(build(spec), {"training": Evidence("training", **evidence)})


def dtypes(dtype, given="float64"):
    facts = {"dtypes": {"y": given, "dx": str(np.dtype(dtype))}}
    return judged(dtype_kept, CaseSpec(dtype=given), facts=facts)


@pytest.mark.skipif(np.finfo(np.longdouble).eps == np.finfo(float).eps, reason="no more digits here")
@pytest.mark.parametrize("given", ["float64", "float32", "float16"])
def test_long_doubles_are_more_digits(given):
    assert dtypes(np.longdouble, given).outcome is Outcome.WARN


@pytest.mark.parametrize(
    ("dtype", "given", "outcome"),
    [
        ("float32", "float64", Outcome.FAIL),
        ("float16", "float32", Outcome.FAIL),
        ("float64", "float32", Outcome.WARN),
        ("float32", "float16", Outcome.WARN),
        ("float64", "float64", Outcome.PASS),
        # The bytes the other way round are as many digits.
        (">f8", "float64", Outcome.PASS),
    ],
)
def test_digits_decide(dtype, given, outcome):
    assert dtypes(dtype, given).outcome is outcome


@pytest.mark.parametrize(
    ("dtype", "words"),
    [
        ("int64", "whole numbers"),
        ("uint8", "whole numbers"),
        ("bool", "truth values"),
        ("complex128", "complex numbers"),
        ("object", "Python objects"),
        ("<U3", "no real floating-point numbers"),
        ([("a", "f8")], "no real floating-point numbers"),
    ],
)
@pytest.mark.parametrize("given", ["float64", "float16"])
def test_what_is_no_float_fails_and_says_what_it_is(dtype, words, given):
    found = dtypes(dtype, given)
    assert (found.outcome, found.tensor) == (Outcome.FAIL, "dx")
    assert found.message == f"dx is {np.dtype(dtype)} ({words}) for {given} input"


def test_one_failure_counts_more_than_a_warning_before_it():
    facts = {"dtypes": {"y": "float64", "dx": "int64"}}
    assert judged(dtype_kept, CaseSpec(dtype="float32"), facts=facts).outcome is Outcome.FAIL


MEANT = [ValueError("m"), AssertionError(), RuntimeError("m"), TooSmall("m"), np.linalg.LinAlgError("m")]
FELL = [IndexError, AttributeError, TypeError, NameError, KeyError, FloatingPointError, SystemExit, NotImplementedError,
        RecursionError, MemoryError, OSError]  # fmt: skip


@pytest.mark.parametrize("error", MEANT, ids=lambda error: type(error).__name__)
def test_a_refusal_of_one_value_per_channel_is_right_in_forward_alone(error):
    alone, many = CaseSpec(n=1), CaseSpec(n=4)
    assert judged(survives, alone, fault=describe(error, "forward")).outcome is Outcome.PASS
    assert judged(survives, alone, fault=describe(error, "backward")).outcome is Outcome.FAIL
    assert judged(survives, many, fault=describe(error, "forward")).outcome is Outcome.FAIL


@pytest.mark.parametrize("error", FELL)
def test_falling_over_one_value_per_channel_is_no_refusal(error):
    found = judged(survives, CaseSpec(n=1), fault=Fault("forward", error.__name__, "oh"))
    assert found.outcome is Outcome.FAIL
    assert error.__name__ in found.message


def test_an_unbiased_variance_of_one_value_that_divides_by_zero_is_warned_of():
    fell = Fault("forward", "ZeroDivisionError", "division by zero")
    assert judged(survives, CaseSpec(n=1), fault=fell).outcome is Outcome.WARN
    assert judged(survives, CaseSpec(n=2), fault=fell).outcome is Outcome.FAIL
    assert judged(survives, CaseSpec(n=1), fault=replace(fell, stage="backward")).outcome is Outcome.FAIL


@pytest.mark.parametrize("memory", ["F", "strided", "channels_last"])
def test_a_forward_that_refuses_what_it_cannot_view_is_warned_of(memory):
    refused = Fault("forward", "RuntimeError", "view size is not compatible with input tensor's size and stride")
    spec = CaseSpec(n=4, spatial=(2, 2), memory=memory)
    assert judged(survives, spec, fault=refused).outcome is Outcome.WARN
    assert judged(survives, spec, fault=replace(refused, stage="backward")).outcome is Outcome.FAIL
    assert judged(survives, spec, fault=replace(refused, kind="AttributeError")).outcome is Outcome.FAIL
    for other in ("C", "readonly"):
        assert judged(survives, replace(spec, memory=other), fault=refused).outcome is Outcome.FAIL


def test_the_page_about_printing_says_what_is_seen_and_what_is_not():
    assert "goes through sys.stdout or sys.stderr" in prints_nothing.__doc__
    assert "os.write" in prints_nothing.__doc__


def one_pass(x, gamma, beta, eps):
    mean = x.mean(axis=0)
    var = (x**2).mean(axis=0) - mean**2
    with np.errstate(invalid="ignore"):
        return gamma * (x - mean) / np.sqrt(var + eps) + beta


def not_finite(spec, y, is_one_pass):
    """Return what BN503 and BN401 say of a y that is not finite."""
    case = build(spec)
    seen = {"training": Evidence("training", arrays={"y": y(case)})}
    first = results_finite(case, seen)
    if is_one_pass is not None:
        seen["large-mean"] = Evidence("large-mean", facts={"one_pass": is_one_pass})
    return first, results_finite(case, seen), variance_keeps_its_digits(case, seen)


FAR = CaseSpec(n=3, c=2, mean=8e7)


def as_one_pass(case):
    return one_pass(case.x, case.gamma, case.beta, case.spec.eps)


def nan_everywhere(case):
    return np.full_like(case.x, np.nan)


def test_nan_where_a_one_pass_variance_keeps_no_digit_is_its_warning():
    first, finite, digits = not_finite(FAR, as_one_pass, True)
    assert first.outcome is Outcome.FAIL
    assert first.suspect
    assert finite.outcome is Outcome.SKIP
    assert digits.outcome is Outcome.WARN
    case = build(FAR)
    at = tuple(int(i) for i in np.argwhere(np.isnan(as_one_pass(case)))[0])
    assert (digits.tensor, digits.index, digits.want) == ("y", at, truth(case).forward.y[at])
    assert np.isnan(digits.got)
    spreads = np.abs(case.x[:, at[1]]).max() / case.x[:, at[1]].std()
    assert f"at max|x| = {spreads:.0e} sd a one-pass variance" in digits.message


@pytest.mark.parametrize(("spec", "is_one_pass"), [(FAR, False), (FAR, None), (CaseSpec(n=3, c=2, mean=8e3), True)])
def test_nan_that_no_one_pass_variance_explains_fails(spec, is_one_pass):
    _, finite, digits = not_finite(spec, nan_everywhere, is_one_pass)
    assert finite.outcome is Outcome.FAIL
    assert digits.outcome is not Outcome.WARN


def test_nan_beside_the_channel_that_is_lost_fails():
    case = replace(build(CaseSpec(n=3, c=2)), x=np.array([[8e7, 1.0], [8e7 + 1, 2.0], [8e7 + 2, 4.0]]))
    seen = {
        "training": Evidence("training", arrays={"y": nan_everywhere(case)}),
        "large-mean": Evidence("large-mean", facts={"one_pass": True}),
    }
    found = results_finite(case, seen)
    assert found.outcome is Outcome.FAIL
    assert found.index[1] == 1


def digits_of(one_pass=None):
    """Return what BN401 says of a y that errs as much as a variance in one pass makes it, here by 2**-20."""
    case = build(CaseSpec(seed=5, n=16, c=2, mean=1e6, eps=1e-5))
    y = truth(case).forward.y.copy()
    y[0, 0] += 2.0**-20
    assert 2.0**-20 < np.asarray(allowances(case, one_pass=True).y).min()
    seen = {"training": Evidence("training", {"y": y})}
    if one_pass is not None:
        seen["large-mean"] = Evidence("large-mean", facts={"one_pass": one_pass})
    return variance_keeps_its_digits(case, seen)


def test_lost_digits_are_a_suspicion_until_the_code_is_asked():
    found = digits_of()
    assert (found.outcome, found.tensor, found.suspect) == (Outcome.FAIL, "y", True)


def test_lost_digits_of_a_one_pass_variance_are_counted():
    found = digits_of(one_pass=True)
    assert (found.outcome, found.tensor, found.error) == (Outcome.WARN, "y", pytest.approx(2.0**-20, rel=1e-6))
    assert "lost about 10 digits" in found.message  # 2**-20 in units of 2**-53


def test_digits_that_a_variance_in_two_passes_lost_are_no_matter_of_one_pass():
    found = digits_of(one_pass=False)
    assert (found.outcome, found.tensor) == (Outcome.SKIP, "y")
    assert found.message == "y is wrong, and its variance is not one-pass (see BN101)"
