"""BN221 and BN222 on sessions whose library differentiates twice and forwards: here by a step in the complex plane."""

from dataclasses import replace

import numpy as np
import pytest
import targets

from bncheck.case import CaseSpec
from bncheck.checks.catalogue import CHECKS
from bncheck.driver import judge
from bncheck.model import Outcome

SPEC = CaseSpec(seed=5, n=6, c=3, eps=0.1)
SPACE = replace(SPEC, n=3, spatial=(2, 3))
STEP = 1e-30


class Differentiated(targets.Pair):
    """A right target with a library beneath; what it answers may be spoiled."""

    def __init__(self, second=lambda v: v, tangent=lambda v: v):
        super().__init__()
        self.spoil = second, tangent

    def open(self, setup):
        return _Session(self, super().open(setup), setup)


class _Session:
    """The derivative of an analytic f along v is ``imag(f(x + i h v)) / h``, to the last digit."""

    def __init__(self, target, session, setup):
        self.target, self.session, self.setup = target, session, setup

    def forward(self, x, mode="train"):
        self.x = x
        return self.session.forward(x)

    def backward(self, dy):
        return self.session.backward(dy)

    def handed_over(self):
        return self.session.handed_over()

    def running_stats(self):
        return None

    def moved(self, v):
        return targets.forward(self.x + 1j * STEP * v, self.setup.gamma, self.setup.beta, self.setup.eps)

    def second(self, dy, v):
        return self.target.spoil[0](targets.backward(dy, self.moved(v)[1]).dx.imag / STEP)

    def tangent(self, v):
        return self.target.spoil[1](self.moved(v)[0].imag / STEP)


def judged(code, target, spec=SPEC):
    return judge(target, spec, [CHECKS.get(code)])[0].judgements[code]


def refusing(_):
    raise RuntimeError("differentiated once only")


@pytest.mark.parametrize("code", ["BN221", "BN222"])
@pytest.mark.parametrize("spec", [SPEC, SPACE, replace(SPEC, mean=100.0), replace(SPEC, sd=1e-3)])
def test_right_derivatives_pass(code, spec):
    assert judged(code, Differentiated(), spec).outcome is Outcome.PASS


@pytest.mark.parametrize("wrong", [lambda v: 1.0001 * v, np.zeros_like, np.abs])
def test_a_wrong_second_derivative_warns_alone(wrong):
    assert judged("BN221", Differentiated(second=wrong)).outcome is Outcome.WARN
    assert judged("BN222", Differentiated(second=wrong)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "wrong", [lambda v: 1.0001 * v, np.zeros_like, lambda v: v + v.mean(axis=0, keepdims=True) + 1]
)
def test_a_wrong_forward_mode_fails_alone(wrong):
    assert judged("BN222", Differentiated(tangent=wrong)).outcome is Outcome.FAIL
    assert judged("BN221", Differentiated(tangent=wrong)).outcome is Outcome.PASS


@pytest.mark.parametrize("code", ["BN221", "BN222"])
def test_rounding_of_terms_that_cancel_is_no_fault(code):
    """Of two values xhat is -1 and 1, whatever they are: what is left of y's derivative is eps."""
    rounded = Differentiated(*2 * (lambda v: v + 2.0**-25,))
    spec = CaseSpec(n=2, c=1, dtype="float32", numbers="plain")
    assert judged(code, rounded, spec).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize("code", ["BN221", "BN222"])
def test_what_is_refused_or_not_offered_is_skipped(code):
    told = judged(code, Differentiated(refusing, refusing))
    assert told.outcome is Outcome.SKIP
    assert "differentiated once only" in told.message
    assert judged(code, targets.Pair()).outcome is Outcome.SKIP
    assert judged(code, Differentiated(lambda v: None, lambda v: None)).outcome is Outcome.SKIP
