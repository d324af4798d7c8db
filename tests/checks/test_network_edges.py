"""What BN801 to BN803 make of evidence written by hand: what is missing, what rounding allows, what is shown."""

from dataclasses import replace

import numpy as np
import pytest

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.catalogue import CHECKS
from bncheck.core.rounding import rounding_bounds
from bncheck.model import Evidence, Outcome

U = 2.0**-24
CASE = build(CaseSpec(n=6, c=2, eps=0.1, seed=3, dtype="float32"))
RNG = np.random.default_rng(8)
X = CASE.x.astype(np.float64)
STEPS = 5
NOT_TRIED, NOT_FINITE = "not tried on this case", "not finite (see BN503)"


def said(code, name, arrays, case=CASE, **facts):
    return CHECKS.get(code).judge(case, {name: Evidence(name, arrays, facts)})


def normalized(x, eps=0.1):
    """Return xhat and inv_std, by NumPy alone."""
    inv_std = 1 / np.sqrt(x.var(axis=0) + eps)
    return (x - x.mean(axis=0)) * inv_std, inv_std


# ------------------------------------------------------------------------------------------------- BN802: what is there


def twice(**changed):
    """Return the arrays of a network that keeps BN802, some of them changed or (where None) left out."""
    xhat, _ = normalized(X)
    y, dx = CASE.gamma * xhat + CASE.beta, RNG.normal(size=X.shape)
    arrays = {"x": X, "u": RNG.normal(size=(6, 3)), "dy": CASE.dy.astype(np.float64), "y": y, "dx": dx}
    arrays |= {"scaled_y": y, "scaled_dx": dx / 2} | changed
    return {name: values for name, values in arrays.items() if values is not None}


@pytest.mark.parametrize("eps_set", [True, None])
def test_a_forward_that_stands_alone_is_asked_for_y_alone(eps_set):
    facts = {"forward_only": True} | ({} if eps_set is None else {"eps_set": eps_set})
    told = said("BN802", "network", twice(dx=None, scaled_dx=None), **facts)
    assert (told.outcome, told.message) == (Outcome.PASS, "y is the same for 2 W u and 4 eps")
    off = twice(dx=None, scaled_dx=None)
    off["scaled_y"] = off["y"] + np.eye(6, 2) * 1e-3
    assert said("BN802", "network", off, **facts).outcome is Outcome.FAIL


@pytest.mark.parametrize("name", ["y", "scaled_y", "dx", "scaled_dx"])
def test_a_scale_is_not_judged_without_both_steps_or_by_what_is_not_finite(name):
    assert said("BN802", "network", twice()).outcome is Outcome.PASS
    told = said("BN802", "network", twice(**{name: None}))
    assert (told.outcome, told.message) == (Outcome.SKIP, NOT_TRIED)
    told = said("BN802", "network", twice(**{name: np.full(X.shape, np.nan)}))
    assert (told.outcome, told.message) == (Outcome.SKIP, NOT_FINITE)


def test_why_a_scale_is_not_judged_is_told():
    assert said("BN802", "network", {}).message == NOT_TRIED
    fixed = said("BN802", "network", twice(scaled_y=None, scaled_dx=None), eps_set=False)
    assert (fixed.outcome, fixed.message) == (Outcome.SKIP, "the code cannot be given another eps")


def test_two_right_y_are_apart_by_two_bounds_at_most():
    arrays = twice()
    bound = rounding_bounds(X, CASE.gamma, CASE.beta, arrays["dy"], 0.1, U, (0,), tiny=2.0**-149, one_pass=True).y
    arrays["scaled_y"] = arrays["y"] + 1.9 * bound
    assert said("BN802", "network", arrays).outcome is not Outcome.FAIL
    arrays["scaled_y"] = arrays["y"] + 2.1 * bound * np.eye(6, 2)
    told = said("BN802", "network", arrays)
    assert (told.outcome, told.tensor) == (Outcome.FAIL, "y")
    assert told.error == pytest.approx(1.05 * told.allowed)


# ---------------------------------------------------------------------------------------- BN801: dW by what y errs


@pytest.mark.parametrize("size", [0.9, 2.0**-6])
def test_the_gradient_of_weights_may_err_by_what_the_rounding_of_y_makes_of_dy(size):
    """Where tanh is flat dy is almost 0, and so is what dx errs by itself: what y errs by is what counts."""
    case = replace(CASE, gamma=np.array([300.0, -200.0], dtype=np.float32), beta=np.zeros(2, dtype=np.float32))
    xhat, inv_std = normalized(X)
    k, u = size * np.where(RNG.uniform(size=X.shape) < 0.5, -1.0, 1.0), RNG.uniform(0.5, 1, size=(6, 3))
    dy = k * (1 - np.tanh(case.gamma * xhat) ** 2)
    assert np.abs(dy).max() < 1e-6 * size  # no y is near 0
    scale = np.abs(case.gamma) * inv_std
    dx = case.gamma * inv_std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))
    bounds = rounding_bounds(X, case.gamma, case.beta, dy, 0.1, U, (0,), tiny=2.0**-149, one_pass=True)
    error = 0.77 * np.abs(k) * bounds.y
    carried = scale * (error + error.mean(axis=0) + np.abs(xhat) * (np.abs(xhat) * error).mean(axis=0))
    arrays = {"x": X, "k": k, "u": u, "dx": dx + 1.5 * carried}
    assert said("BN801", "network", arrays, case).outcome is not Outcome.FAIL
    told = said("BN801", "network", arrays | {"dx": dx + 10 * (carried + bounds.dx)}, case)
    assert (told.outcome, told.tensor) == (Outcome.FAIL, "dW")
    assert told.error > 2 * told.allowed > 0


# --------------------------------------------------------------------------------------------------- BN803: the way


def way(lr, gamma=(1.5, -0.5), beta=(0.25, 2.0)):
    """Return the evidence of five exact steps."""
    found = {"x": [], "gamma": [np.array(gamma)], "beta": [np.array(beta)]}
    for factor in (1.0, -0.5, 2.0, 0.25, -1.0):
        x = factor * X
        xhat, _ = normalized(x)
        dy = found["gamma"][-1] * xhat + found["beta"][-1] - x
        found["x"].append(x)
        found["gamma"].append(found["gamma"][-1] - lr * (dy * xhat).sum(axis=0))
        found["beta"].append(found["beta"][-1] - lr * dy.sum(axis=0))
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("name", ["gamma", "beta"])
@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_a_step_that_goes_astray_is_told_by_its_number(name, step):
    arrays = way(1 / 12)
    assert said("BN803", "descent", arrays, lr=1 / 12).outcome is Outcome.PASS
    arrays[name][step, 1] += 0.01
    told = said("BN803", "descent", arrays, lr=1 / 12)
    assert (told.outcome, told.tensor, told.index) == (Outcome.FAIL, name, (1,))
    assert told.message == f"{name} after {step} steps of gradient descent is not where it should be"


@pytest.mark.parametrize(("name", "other"), [("gamma", "beta"), ("beta", "gamma")])
@pytest.mark.parametrize("size", [2.0**10, 2.0**-10])
def test_parameters_that_hardly_move_may_err_by_a_few_roundings_of_their_own(name, other, size):
    lr = 2.0**-60
    arrays = way(lr, **{name: (size, -size), other: (1.0, 1.0)})
    arrays[name][1:, 0] += 2 * U * size
    assert said("BN803", "descent", arrays, lr=lr).outcome is Outcome.PASS
    arrays[name][1, 0] += 16 * U * size
    assert said("BN803", "descent", arrays, lr=lr).outcome is Outcome.FAIL


@pytest.mark.parametrize("name", ["gamma", "beta"])
def test_a_way_with_a_step_that_is_no_number_or_missing_is_not_judged(name):
    arrays = way(1 / 12)
    arrays[name][2] = np.nan
    told = said("BN803", "descent", arrays, lr=1 / 12)
    assert (told.outcome, told.message) == (Outcome.SKIP, NOT_FINITE)
    told = said("BN803", "descent", {n: v for n, v in arrays.items() if n != name}, lr=1 / 12)
    assert (told.outcome, told.message) == (Outcome.SKIP, NOT_TRIED)


def test_a_way_is_not_judged_where_the_right_one_leaves_the_numbers():
    arrays = way(1 / 12)
    arrays["x"] = 1e308 * np.sign(arrays["x"])
    with np.errstate(all="ignore"):
        told = said("BN803", "descent", arrays, lr=1e10)
    assert (told.outcome, told.message) == (Outcome.SKIP, "even a right layer's gamma does not stay finite")
