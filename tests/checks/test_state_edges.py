"""What BN501 to BN514 make of evidence written by hand: what is missing, what may be NaN, and what is told."""

import numpy as np
import pytest
from judging import SPEC

from bncheck.cases.arrays import build
from bncheck.checks.catalogue import CHECKS
from bncheck.model import Evidence, Outcome

CASE = build(SPEC)
DX = np.arange(18.0).reshape(6, 3)
NOT_TRIED = "not tried on this case"


def told(code, **seen):
    """Judge what was seen, each given as (arrays, facts)."""
    seen = {"many_steps": ({}, {})} | seen
    judgement = CHECKS.get(code).judge(
        CASE, {name.replace("_", "-"): Evidence(name, arrays, facts) for name, (arrays, facts) in seen.items()}
    )
    return judgement.outcome, judgement.message, judgement.tensor


def test_a_step_after_one_that_did_not_come_back_is_not_compared():
    said = told("BN508", training=({"dx": DX}, {}), second_step=({"dx": 2 * DX}, {"refused_before": True}))
    assert said == (Outcome.SKIP, "the step before, on a batch of another size, did not come back", None)


@pytest.mark.parametrize(("code", "again"), [("BN505", "training_again"), ("BN508", "second_step")])
def test_what_was_not_run_again_is_not_compared(code, again):
    assert told(code, training=({"dx": DX}, {}), **{again: ({}, {})}) == (Outcome.SKIP, NOT_TRIED, None)


@pytest.mark.parametrize("changed", [["x"], ["x", "dy"]])
def test_every_input_that_is_changed_is_named(changed):
    said = told("BN504", training=({}, {"changed": changed, "aliased": []}), running=({}, {"eval_changed": True}))
    assert said == (Outcome.FAIL, f"{' and '.join(changed)} changed in place", "x")


def test_an_x_that_is_changed_in_eval_mode_alone_is_told():
    training = {}, {"changed": [], "aliased": []}
    said = told("BN504", training=training, running=({}, {"eval_changed": True}))
    assert said == (Outcome.FAIL, "x changed in place in eval mode", "x")
    assert told("BN504", training=training, running=({}, {"eval_changed": False}))[0] is Outcome.PASS


def twice(once, again):
    facts = {"tried": True, "raised": ""}
    arrays = ({} if dx is None else {"dx": dx} for dx in (once, again))
    return told("BN511", training=(next(arrays), {}), backward_twice=(next(arrays), facts))


@pytest.mark.parametrize(("once", "again"), [(None, None), (DX, None), (None, DX)])
def test_without_both_dx_a_second_backward_is_not_compared(once, again):
    assert twice(once, again) == (Outcome.SKIP, "no dx of a second backward to compare", None)


def test_a_dx_that_is_no_number_twice_is_the_same():
    lost = np.where(DX == 4, np.nan, DX)
    assert twice(lost, lost.copy())[0] is Outcome.PASS
    assert twice(lost, DX) == (Outcome.WARN, "dx of a second backward is another one", "dx")


# -------------------------------------------------------------------------------------------------------------- BN512


def poisoned(plain, found):
    """Judge a step whose second channel is poisoned."""
    return told("BN512", training=(plain, {}), poisoned=(found, {"channel": 1, "raised": ""}))


def test_a_poison_is_looked_for_beside_what_is_not_finite_without_it():
    plain = {"y": np.full((6, 3), np.nan), "dgamma": np.ones(3)}
    assert poisoned(plain, {"y": DX, "dgamma": np.array([1.0, np.nan, 1.0])})[0] is Outcome.PASS
    reached = poisoned(plain, {"y": DX, "dgamma": np.array([np.nan, np.nan, 1.0])})
    assert reached == (Outcome.WARN, "a NaN in one channel of x reaches dgamma of other channels", "dgamma")


@pytest.mark.parametrize("size", [1000.0, 1e-3])
def test_other_channels_may_change_by_a_thousandth_of_the_largest_value(size):
    """Sums over all elements go another way around a NaN: rounding, and not poison."""
    plain = size * np.array([1.0, 1.0, 0.0])
    for place in (0, 2):
        off = size * np.eye(3)[place]
        assert poisoned({"dbeta": plain}, {"dbeta": plain + 5e-4 * off})[0] is Outcome.PASS
        changed = poisoned({"dbeta": plain}, {"dbeta": plain + 5e-3 * off})
        assert changed == (Outcome.WARN, "a NaN in one channel of x changes dbeta of other channels", "dbeta")


def test_every_generator_that_is_drawn_from_is_named():
    said = told("BN514", training=({}, {}), random_state=({}, {"moved": ["random", "numpy.random"]}))
    assert said[:2] == (
        Outcome.WARN,
        "a step draws from, or seeds, the global generator of random and numpy.random",
    )
