"""What BN221 to BN223 and BN311 make of evidence written by hand: what is missing, and what rounding allows."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.catalogue import CHECKS
from bncheck.core.truth import allowances, truth
from bncheck.model import GRADIENTS, Evidence, Outcome

CASE = build(CaseSpec(n=6, c=3, eps=0.1, seed=5))
NOT_TRIED, NOT_OFFERED = "not tried on this case", "no library that differentiates this code offers it"
OFFERED = {"offered": True, "raised": {}}


def judged(code, arrays, facts, case=CASE):
    return CHECKS.get(code).judge(case, {"higher-order": Evidence("higher-order", arrays, facts)})


# ------------------------------------------------------------------------------------------------------ BN221 and BN222


@pytest.mark.parametrize(("code", "name"), [("BN221", "second"), ("BN222", "tangent")])
@pytest.mark.parametrize(
    ("facts", "message"),
    [({}, NOT_TRIED), ({"offered": False, "raised": ""}, NOT_OFFERED), ({"offered": True, "raised": ""}, NOT_TRIED),
     ({"raised": "it raised"}, "it raised")],
)  # fmt: skip
def test_why_a_derivative_is_not_judged_is_told(code, name, facts, message):
    facts = {f"{name}.{fact}": value for fact, value in facts.items()}
    v = np.ones(CASE.x.shape)
    for arrays in ({}, {"v": v}, {name: v}, {"v": v, name: v * np.nan}):
        told = judged(code, arrays, facts)
        assert (told.outcome, told.message) == (Outcome.SKIP, message)


def along(case, v, step=1e-30):
    """Return the derivatives of y and of dx along v, by a step in the complex plane."""
    x = case.x + 1j * step * v
    xc = x - x.mean(axis=0)
    inv_std = 1 / np.sqrt((xc * xc).mean(axis=0) + case.spec.eps)
    xhat, dy = xc * inv_std, case.dy
    dx = case.gamma * inv_std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))
    return (case.gamma * xhat).imag / step, dx.imag / step


@pytest.mark.parametrize(("code", "name", "order"), [("BN222", "tangent", 1), ("BN221", "second", 2)])
def test_far_from_the_origin_a_derivative_errs_by_a_power_of_the_condition(code, name, order):
    """By m u of its size, times |x| / sd once more than it is a derivative of: far more is an error."""
    case = build(replace(CASE.spec, mean=100.0))
    x = case.x
    v = np.random.default_rng(2).uniform(0.5, 1, size=x.shape) * x.std(axis=0)
    right = along(case, v)[order - 1]
    condition = np.abs(x).max(axis=0) / np.sqrt(x.var(axis=0) + 0.1)
    share = 6 * 2.0**-53 * condition ** (order + 1)
    outcomes = [judged(code, {name: right * (1 + k * share), "v": v}, {}, case).outcome for k in (0, 1, 1000)]
    assert outcomes == [Outcome.PASS, Outcome.PASS, Outcome.WARN if order == 2 else Outcome.FAIL]


# ---------------------------------------------------------------------------------------------------------------- BN223


def alone(facts=OFFERED, together=(), case=CASE, **changed):
    """Judge right gradients, asked for one by one, some of which (or of those of the step) are others."""
    fwd, gradients = truth(case)
    step = {"y": fwd.y} | {name: getattr(gradients, name) for name in GRADIENTS} | dict(together)
    found = {name: step[name] for name in GRADIENTS} | {f"y of {name}": fwd.y for name in GRADIENTS}
    found = {name: values for name, values in (found | changed).items() if values is not None}
    step = {name: values for name, values in step.items() if values is not None}
    seen = {"alone": Evidence("alone", found, facts), "training": Evidence("training", step)}
    return CHECKS.get("BN223").judge(case, seen)


def test_why_a_gradient_alone_is_not_judged_is_told():
    assert alone().outcome is Outcome.PASS
    assert (alone({}).outcome, alone({}).message) == (Outcome.SKIP, NOT_TRIED)
    refused = alone({"offered": False, "raised": {}})
    assert (refused.outcome, refused.message) == (Outcome.SKIP, NOT_OFFERED)


@pytest.mark.parametrize(("together", "changed"), [({}, {"y of dgamma": None}), ({"y": None}, {"dx": None})])
def test_a_gradient_alone_is_not_judged_without_its_y(together, changed):
    told = alone(together=together, **changed)
    assert (told.outcome, told.message) == (Outcome.SKIP, "y is another one where dgamma alone is wanted")


def test_two_right_evaluations_are_apart_by_two_bounds_at_most():
    fwd, gradients = truth(CASE)
    bounds = allowances(CASE)
    for name in GRADIENTS:
        right, bound = getattr(gradients, name), getattr(bounds, name)
        assert alone(**{name: right + 1.9 * bound}).outcome is Outcome.PASS
        told = alone(**{name: right + 2.1 * bound})
        assert (told.outcome, told.tensor) == (Outcome.FAIL, name)
    assert alone(**{"y of dgamma": fwd.y + 1.9 * bounds.y}).outcome is Outcome.PASS
    assert alone(**{"y of dgamma": fwd.y + 2.1 * bounds.y}).outcome is Outcome.SKIP


def test_a_gradient_that_is_not_finite_leaves_the_others_to_be_judged():
    lost = {"dx": np.full(CASE.x.shape, np.nan)}
    assert alone(together=lost).outcome is Outcome.PASS
    told = alone(together=lost, dgamma=np.ones(3) * 1e3)
    assert (told.outcome, told.tensor) == (Outcome.FAIL, "dgamma")


def test_one_gradient_that_could_be_compared_is_enough():
    """A dbeta that is lost in its rounding tells nothing, and takes nothing from what dx and dgamma tell."""
    lost = allowances(CASE).dbeta / 10
    assert alone(together={"dbeta": lost}).outcome is Outcome.PASS
    assert alone(together={"dbeta": lost}, dx=None, dgamma=None).outcome is Outcome.INCONCLUSIVE


# ---------------------------------------------------------------------------------------------------------------- BN311


@pytest.mark.parametrize(
    ("facts", "message"), [({}, NOT_TRIED), ({"hanging": {}}, "no library records what is done to them")]
)
def test_why_it_is_not_told_what_hangs_on_statistics(facts, message):
    conventions = SimpleNamespace(momentum_sense="kept")
    told = CHECKS.get("BN311").judge(CASE, {"running": Evidence("running", {}, facts | {"conventions": conventions})})
    assert (told.outcome, told.message) == (Outcome.SKIP, message)
