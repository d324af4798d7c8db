"""Function objects of engines: one for each call, made of all that its forward takes."""

from __future__ import annotations

import pytest

from bncheck.adapters import resolve
from bncheck.adapters.constructor_plans import constructor_per_call
from bncheck.adapters.layer_class import method_pairs
from bncheck.adapters.plans import Plan
from bncheck.errors import TargetError

FUNCTION = """
class Function:
    def __init__(self, {before}*{tensors}):
        self.parents, self.saved = {tensors}, []
        self.needs_input_grad = [{needed} for t in {tensors}]
    def save_for_backward(self, *x):
        self.saved.extend(x)
    {apply}

class BatchNorm(Function):
    def forward(self, x, gamma, beta, eps=1e-5):
        inv = (x.var(axis=0) + eps) ** -0.5
        h = (x - x.mean(axis=0)) * inv
        self.save_for_backward(h, inv, gamma)
        return gamma * h + beta
    def backward(self, dy):
        h, inv, gamma = self.saved
        dgamma = (dy * h).sum(0) if self.needs_input_grad[1] else None
        d = dy * gamma
        return (d - d.mean(0){path}) * inv, dgamma, dy.sum(0)
"""
APPLY = """@classmethod
    def apply(cls, *x, **options):
        ctx = cls(*x)
        return ctx.forward(*x, **options), ctx"""
PATH = " - h * (d * h).mean(0)"
DEFAULTS = {"before": "", "tensors": "tensors", "needed": "True", "apply": APPLY, "path": PATH}
CASES = {
    "apply": {"tensors": "args"},
    "tensors by name": {"apply": "pass"},
    "a device before": {"before": "device, "},
}


@pytest.mark.parametrize("case", CASES)
def test_an_object_of_its_own_is_made_for_each_call(write, right, case):
    conventions = right(write(FUNCTION.format(**DEFAULTS | CASES[case])))
    assert (conventions.adapter, conventions.returns) == ("layer-class", "tuple (dx, dgamma, dbeta)")


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_in_them_is_seen(write, right, case):
    with pytest.raises(AssertionError, match="dx"):
        right(write(FUNCTION.format(**DEFAULTS | CASES[case] | {"path": ""})))


def test_objects_that_want_tensors_of_an_engine_are_not_understood(write):
    with pytest.raises(TargetError, match="requires_grad"):
        resolve.cards(write(FUNCTION.format(**DEFAULTS | {"needed": "t.requires_grad"})))


def test_what_saves_for_the_backward_is_none():
    class BatchNorm:
        def save_for_backward(self, *x):
            self.saved.extend(x)

        def forward(self, x):
            return x

    assert method_pairs(BatchNorm) == []


class Layer:
    def __init__(self, *args):
        self.args = args


class Op:
    def __init__(self, *tensors):
        self.tensors = tensors


GIVEN = Plan((), (), (("x", "x"), ("gamma", "gamma"), ("beta", "beta"), ("eps", "eps")))


def test_a_layer_that_takes_anything_is_made_once():
    assert constructor_per_call(Layer, GIVEN) is None
    assert constructor_per_call(Op, Plan((), (), (("x", "x"),))) is None


def test_an_object_takes_the_tensors_in_the_order_of_its_forward():
    taken = Plan((), (), (("gamma", "gamma"), ("x", "x"), ("eps", "eps")))
    found = constructor_per_call(Op, taken)
    assert found is not None
    assert found.positional == ("gamma", "x")
