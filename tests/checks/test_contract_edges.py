"""What the checks of the contract say at the edges: strange dtypes, and exceptions at one value per channel."""

from dataclasses import replace

import numpy as np
import pytest

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.against_reference import variance_keeps_its_digits
from bncheck.checks.contract import dtype_kept, eps_is_heeded, prints_nothing, results_finite, shapes_fit, survives
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
    found = dtypes(dtype, given)
    assert found.outcome is outcome
    if outcome is not Outcome.PASS:
        assert (found.tensor, found.message) == ("dx", f"dx is {dtype} for {given} input")


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
    found = judged(survives, CaseSpec(n=1), fault=fell)
    assert (found.outcome, found.message) == (Outcome.WARN, "forward raised ZeroDivisionError: division by zero")
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


@pytest.mark.parametrize(
    ("spatial", "tensor", "shape", "said"),
    [
        ((), "y", (3, 4), "y has shape (3, 4) where (N, C) is (4, 3)"),
        ((2,), "y", (4, 3), "y has shape (4, 3) where (N, C, ...) is (4, 3, 2)"),
        ((2, 5), "dx", (4, 3), "dx has shape (4, 3) where (N, C, ...) is (4, 3, 2, 5)"),
        ((), "dgamma", (4, 3), "dgamma has shape (4, 3) where (C,) is (3,)"),
        ((2, 5), "dbeta", (), "dbeta has shape () where (C,) is (3,)"),
    ],
)
def test_a_shape_that_does_not_fit_is_told_beside_that_which_would(spatial, tensor, shape, said):
    size = (4, 3, *spatial)
    fitting = {"y": size, "dx": size, "dgamma": (3,), "dbeta": (3,)}
    spec = CaseSpec(n=4, c=3, spatial=spatial)
    assert judged(shapes_fit, spec, facts={"shapes": fitting}).outcome is Outcome.PASS
    found = judged(shapes_fit, spec, facts={"shapes": fitting | {tensor: shape}})
    assert (found.outcome, found.tensor, found.message) == (Outcome.FAIL, tensor, said)


@pytest.mark.parametrize(
    ("kind", "said"), [("NoneType", "dx is missing (None)"), ("function", "dx is a function, not an array")]
)
def test_what_is_no_array_is_told_by_what_it_is(kind, said):
    facts = {"shapes": {"y": (4, 3), "dx": None}, "types": {"y": "ndarray", "dx": kind}}
    found = judged(shapes_fit, CaseSpec(n=4, c=3), facts=facts)
    assert (found.outcome, found.tensor, found.message) == (Outcome.FAIL, "dx", said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n  \n  mu = 0.5  \nvar = 2\n", "25 characters were printed in one step, beginning with 'mu = 0.5'"),
        ("\n \n", "3 characters were printed in one step"),
    ],
)
def test_a_print_is_told_by_its_first_line_that_is_not_blank(text, said):
    found = judged(prints_nothing, CaseSpec(), facts={"printed": len(text), "printed_text": text})
    assert (found.outcome, found.message, found.error) == (Outcome.WARN, said, float(len(text)))


@pytest.mark.parametrize(
    ("source", "outcome", "said"),
    [
        ("argument", Outcome.PASS, "eps is heeded"),
        ("attribute", Outcome.PASS, "eps is heeded"),
        ("fixed", Outcome.SKIP, "the code takes no eps: it is hard-coded, or there is none"),
        ("declared", Outcome.SKIP, "eps is as declared; whether the code would heed another was not tried"),
        ("ignored", Outcome.FAIL, "eps is accepted and ignored: 0.125 is used whatever it is"),
    ],
)
def test_an_eps_that_nobody_can_hand_over_is_not_said_to_be_heeded(source, outcome, said):
    found = judged(eps_is_heeded, CaseSpec(eps=0.125), facts={"eps_source": source})
    assert (found.outcome, found.message) == (outcome, said)


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
    assert (finite.outcome, finite.tensor) == (Outcome.SKIP, "y")
    assert finite.message == "y is lost to a one-pass variance (see BN401)"
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


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_one_value_that_is_not_finite_is_found_among_those_that_are(value):
    case = build(CaseSpec(n=3, c=2))
    y = truth(case).forward.y.copy()
    y[1, 1] = value
    found = results_finite(case, {"training": Evidence("training", {"y": y})})
    assert (found.outcome, found.tensor, found.index) == (Outcome.FAIL, "y", (1, 1))
    assert (found.message, found.want) == (f"y is {value} for finite input", truth(case).forward.y[1, 1])


def test_a_result_beyond_the_range_of_its_dtype_is_infinite_in_any_implementation():
    """xhat is -1.22, 0 and 1.22: in half precision, whose largest number is 65504, 60000 times that is infinite."""
    x, dtype = np.array([[-1.0], [0.0], [1.0]]), np.float16
    case = replace(build(CaseSpec(n=3, c=1, dtype="float16")), x=x.astype(dtype), gamma=np.array([6e4], dtype))
    case = replace(case, beta=np.zeros(1, dtype))
    y = np.array([[-np.inf], [0.0], [np.inf]])
    assert results_finite(case, {"training": Evidence("training", {"y": y})}).outcome is Outcome.PASS
    within = replace(case, gamma=np.array([5e4], dtype))
    assert results_finite(within, {"training": Evidence("training", {"y": y})}).outcome is Outcome.FAIL


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


def test_an_eps_that_differs_where_none_is_told_fails_whatever_else_is_heeded():
    said = "told no eps, the forward takes 1e-05, and the backward does not"
    judgement = judged(eps_is_heeded, CaseSpec(), facts={"eps_source": "argument", "eps_untold": said})
    assert (judgement.outcome, judgement.message) == (Outcome.FAIL, said)
    assert judged(eps_is_heeded, CaseSpec(), facts={"eps_source": "argument", "eps_untold": ""}).outcome is Outcome.PASS
