"""Gamma and beta under names that tell of neither: found by what they do to y."""

from __future__ import annotations

import numpy as np
import pytest

from bncheck.adapters import resolve
from bncheck.adapters.places import parts_of
from bncheck.adapters.seeking import by_effect
from bncheck.errors import TargetError

LAYER = """
class BatchNorm:
    def __init__(self, k):
        self.{a}, self.{c} = {ones}(k), np.zeros(k)
        self.mu, self.vr, self.learn = np.zeros(k), np.ones(k), True
    def {fp}(self, x):
        m, v = (x.mean(0), x.var(0)) if self.learn else (self.mu, self.vr)
        if self.learn:
            self.mu = .9 * self.mu + .1 * m; self.vr = .9 * self.vr + .1 * v
        self.r = (v + 1e-5) ** -.5
        self.h = (x - m) * self.r
        return self.{a} * self.h + self.{c}
    def {bp}(self, d):
        self.{ga}, self.{gc} = {dgamma}, d.sum(0)
        d = d * self.{a}
        return (d - d.mean(0) - self.h * (d * self.h).mean(0)) * self.r
"""
DEFAULTS = {"fp": "fp", "bp": "bp", "dgamma": "(d * self.h).sum(0)", "ones": "np.ones"}
NAMES = {
    "one letter": {"a": "a", "c": "c", "ga": "ga", "gc": "gc"},
    "words": {"a": "slope", "c": "level", "ga": "d_slope", "gc": "d_level"},
    "another pair of methods": {"a": "k", "c": "q", "ga": "k_grad", "gc": "q_grad", "fp": "forward", "bp": "backward"},
}


@pytest.mark.parametrize("case", NAMES)
def test_a_scale_and_a_shift_are_known_by_what_they_do(write, right, case):
    names = NAMES[case]
    conventions = right(write(LAYER.format(**DEFAULTS | names)))
    assert conventions.returns == f"dx and attributes {names['ga']}, {names['gc']}"


@pytest.mark.parametrize("case", NAMES)
def test_their_gradients_are_judged(write, right, case):
    with pytest.raises(AssertionError, match="dgamma"):
        right(write(LAYER.format(**DEFAULTS | NAMES[case] | {"dgamma": "d.sum(0)"})))


def test_a_scale_that_does_not_start_from_ones_is_not_taken_for_gamma(write):
    with pytest.raises(TargetError, match="no way was found to set gamma and beta"):
        resolve.cards(write(LAYER.format(**DEFAULTS | NAMES["one letter"] | {"ones": "2 * np.ones"})))


class Layer:
    def __init__(self):
        self.p, self.q, self.s = np.ones(3), np.zeros(3), np.zeros(3)

    def forward(self):
        return np.arange(12.0).reshape(4, 3) * self.p + self.q


def test_of_several_arrays_those_count_that_y_follows():
    layer = Layer()
    assert by_effect(layer.forward, parts_of(layer), lambda array: np.size(array) // 3) == {
        "gamma": ("p",), "beta": ("q",)
    }  # fmt: skip
    assert (layer.p.tolist(), layer.q.tolist()) == ([1.0] * 3, [0.0] * 3)


def test_two_shifts_are_not_told_apart():
    class Twice(Layer):
        def forward(self):
            return super().forward() + self.s

    layer = Twice()
    assert by_effect(layer.forward, parts_of(layer), lambda array: np.size(array) // 3) == {}


def test_a_forward_that_raises_says_nothing():
    layer = Layer()
    assert by_effect(lambda: 1 / 0, parts_of(layer), lambda array: 1) == {}
