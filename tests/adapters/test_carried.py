"""Running statistics and settings in objects of classes of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

from bncheck.adapters.carried import carried, is_settings
from bncheck.session import Setup

MODULE = """
from dataclasses import dataclass, replace
from typing import NamedTuple

{kind}

@dataclass(frozen=True)
class Config:
    epsilon: float = 1e-5
    decay: float = 0.9

def bn_forward(x, gamma, beta, state{said}, cfg: Config = Config(), *, training=True):
    if training:
        mu, var = x.mean(0), x.var(0)
        mean = cfg.decay * state.mean + (1 - cfg.decay) * mu
        v = cfg.decay * state.var + (1 - cfg.decay) * {taken}
        {update}
    else:
        mu, var = state.mean, state.var
    inv = 1 / np.sqrt(var + cfg.epsilon)
    return gamma * (x - mu) * inv + beta, {returned}((x - mu) * inv, inv, gamma)

def bn_backward(dy, cache):
    xhat, inv, gamma = cache
    dgamma, dbeta, n = (dy * xhat).sum(0), dy.sum(0), len(dy)
    return gamma * inv * (dy - dbeta / n - xhat * dgamma / n), dgamma, dbeta
"""
FROZEN = "@dataclass(frozen=True)\nclass State:\n    mean: np.ndarray\n    var: np.ndarray\n    steps: int = 0"
TUPLE = "class State(NamedTuple):\n    count: int\n    var: np.ndarray\n    mean: np.ndarray"
OPEN = "@dataclass\nclass State:\n    mean: np.ndarray\n    var: np.ndarray"
DEFAULTS = {"kind": FROZEN, "said": ": State", "taken": "var", "returned": "state, "}
CASES = {
    "frozen": {"update": "state = replace(state, mean=mean, var=v, steps=state.steps + 1)"},
    "named tuple": {"kind": TUPLE, "update": "state = state._replace(mean=mean, var=v)"},
    "changed in place": {"kind": OPEN, "update": "state.mean, state.var = mean, v", "returned": ""},
    "without annotation": {"said": "", "update": "state = replace(state, mean=mean, var=v)"},
    "annotated in quotes": {"said": ": 'State'", "update": "state = State(mean, v)"},
}


@pytest.mark.parametrize("case", CASES)
def test_a_state_of_a_class_of_its_own_is_made_and_handed_on(write, right, only, case):
    spec = write(MODULE.format(**DEFAULTS | CASES[case]))
    conventions = right(spec)
    assert (conventions.eps, conventions.running_var, conventions.running_start) == (1e-5, "biased", "0, 1")
    x = np.random.default_rng(0).normal(2.0, 3.0, size=(2, 5, 3))
    opened = only(spec).open(Setup(np.full(3, 2.0), np.ones(3), 1e-5, 0.9))
    mean, var = np.zeros(3), np.ones(3)
    for batch in x:
        opened.forward(batch)
        mean, var = 0.9 * mean + 0.1 * batch.mean(axis=0), 0.9 * var + 0.1 * batch.var(axis=0)
    expected = 2.0 * (x[0] - mean) / np.sqrt(var + 1e-5) + 1.0
    np.testing.assert_allclose(opened.forward(x[0], mode="eval"), expected, rtol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_how_the_variance_in_such_a_state_is_estimated_is_measured(write, right, case):
    conventions = right(write(MODULE.format(**DEFAULTS | CASES[case] | {"taken": "var * len(x) / (len(x) - 1)"})))
    assert conventions.running_var == "unbiased"


class State(NamedTuple):
    mean: Any
    var: Any
    steps: int = 0


def test_what_else_an_object_holds_is_there_in_the_next_call():
    def bn(x: Any, state: State) -> Any:
        return x, state._replace(mean=state.mean + 1, steps=state.steps + 1), state.steps

    forward, mean, var = carried(bn), np.zeros(2), np.ones(2)
    steps = []
    for _ in range(3):
        _, (mean, var), step = forward(0, (mean, var))
        steps.append(step)
    assert (steps, mean.tolist()) == ([0, 1, 2], [3.0, 3.0])


def test_a_forward_without_such_an_object_stays_what_it_is():
    def bn(x: Any, gamma: Any, state: dict) -> Any:
        return x

    assert carried(bn) is bn


def test_settings_are_plain_values_of_a_class():
    @dataclass
    class Settings:
        eps: float = 1e-5
        running_mean: Any = None

    assert is_settings(Settings())
    assert not is_settings(Settings(running_mean=np.zeros(3)))
    assert not is_settings({"eps": 1e-5})
    assert not is_settings(None)
