"""What is remarked on arguments that nothing was given for: bncheck ran their defaults, and nothing else."""

from types import SimpleNamespace

import numpy as np
import pytest

from bncheck.adapters import resolve
from bncheck.adapters.protocol import Namespace
from bncheck.adapters.remarks import at_defaults

PAIR = """
def bn_forward(x, gamma, beta, eps=1e-5{more}):
    mu, var = x.mean(0), x.var(0)
    inv_std = 1 / np.sqrt(var + eps)
    xhat = (x - mu) * inv_std
    return gamma * xhat + beta, (xhat, inv_std, gamma)

def bn_backward(dy, cache):
    xhat, inv_std, gamma = cache
    g = dy * gamma
    dx = inv_std * (g - g.mean(0) - xhat * (g * xhat).mean(0))
    return dx, (dy * xhat).sum(0), dy.sum(0)
"""
LAYER = """
class BatchNorm:
    def __init__(self, n, eps=1e-5, affine=True, track=None, verbose=0):
        self.gamma, self.beta, self.eps = np.ones(n), np.zeros(n), eps

    def forward(self, x, scaled=True):
        self.inv_std = 1 / np.sqrt(x.var(0) + self.eps)
        self.xhat = (x - x.mean(0)) * self.inv_std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        g = dy * self.gamma
        self.dgamma, self.dbeta = (dy * self.xhat).sum(0), dy.sum(0)
        return self.inv_std * (g - g.mean(0) - self.xhat * (g * self.xhat).mean(0))
"""


def noted(spec):
    (card,) = resolve.cards(spec)
    return [note for note in card.conventions.notes if "only the default" in note]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("", []),
        (", affine=True", ["affine: only the default was run"]),
        (", axis=0, affine=True", ["axis, affine: only the defaults were run"]),
        (", a1=0, a2=0, a3=0, a4=0, a5=0, a6=0", ["a1, a2, a3, a4 and 2 more: only the defaults were run"]),
        (", name='bn', dtype=None, seed=0", []),  # nothing to do with Batch Normalization
        (", running_mean=None, running_var=None", []),
        (", arrays=True, backward=None", ["arrays, backward: only the defaults were run"]),  # words of the trace
    ],
)
def test_arguments_that_keep_their_defaults_are_told(write, more, said):
    assert noted(write(PAIR.format(more=more))) == said


def test_those_of_a_constructor_are_told_too(write):
    assert noted(write(LAYER)) == ["affine, track, verbose, scaled: only the defaults were run"]


def test_of_an_object_nothing_is_said_whoever_made_it_gave_the_arguments():
    things = {"np": np}
    exec(LAYER, things)
    candidate = SimpleNamespace(forward_name="bn.forward")
    assert at_defaults(candidate, Namespace("", {"bn": things["BatchNorm"](3)}), None) == ""
