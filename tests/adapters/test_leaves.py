"""Parameters of a class of the user's own that is an array, in a layer that registers them when they are set."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck.adapters.leaves import is_own_array
from bncheck.adapters.places import parts_of

MODULE = """
class Parameter(np.ndarray):
    def __new__(cls, a):
        made = np.asarray(a, dtype=float).view(cls)
        made.grad = None
        return made
    def __array_finalize__(self, other):
        self.grad = getattr(other, "grad", None)

class Module:
    def __init__(self):
        object.__setattr__(self, "_parameters", {{}})
    def __setattr__(self, name, value):
        if isinstance(value, Parameter):
            self._parameters[name] = value
        else:
            object.__setattr__(self, name, value)
    def __getattr__(self, name):
        try:
            return self.__dict__["_parameters"][name]
        except KeyError:
            raise AttributeError(name)

class BatchNorm(Module):
    def __init__(self, n, eps=1e-5):
        super().__init__()
        self.eps, self.weight, self.bias = eps, Parameter(np.ones(n)), Parameter(np.zeros(n))
    def forward(self, x):
        self.r = 1 / np.sqrt(x.var(0) + self.eps); self.h = (x - x.mean(0)) * self.r
        return np.asarray(self.weight * self.h + self.bias)
    def backward(self, dy):
        self.weight.grad {add} {dgamma}
        self.bias.grad {add} dy.sum(0)
        d = dy * np.asarray(self.weight)
        return (d - d.mean(0) - self.h * (d * self.h).mean(0)) * self.r
"""
DGAMMA = "(dy * self.h).sum(0)"


def test_gradients_that_parameters_hold_are_found(write, right):
    conventions = right(write(MODULE.format(add="=", dgamma=DGAMMA)))
    assert conventions.returns == "dx and attributes _parameters['weight'].grad, _parameters['bias'].grad"


def test_gradients_that_parameters_add_up_are_cleared(write, right):
    source = MODULE.format(add="+=", dgamma=DGAMMA).replace("made.grad = None", "made.grad = np.zeros(made.shape)")
    right(write(source))


def test_what_is_wrong_in_them_is_seen(write, right):
    with pytest.raises(AssertionError, match="dgamma"):
        right(write(MODULE.format(add="=", dgamma="dy.sum(0)")))


def test_an_array_of_a_class_of_its_own_holds_its_gradient_and_no_other_array_does():
    class Own(np.ndarray):
        pass

    class Layer:
        def __init__(self):
            self.gamma = np.ones(3).view(Own)
            self.gamma.grad, self.gamma.name = np.zeros(3), "gamma"

    layer = Layer()
    assert is_own_array(layer.gamma)
    assert not is_own_array(np.ones(3))
    found = parts_of(layer)
    assert [place.trail for place in found.places] == [("gamma",), ("gamma", "grad")]
    assert found.gradients["dgamma"].get() is layer.gamma.grad
