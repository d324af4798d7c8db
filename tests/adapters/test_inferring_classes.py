"""A class of its own for inference is the eval mode of the class that trains, and is not accused of not training."""

import numpy as np
import pytest

from bncheck.adapters import resolve
from bncheck.session import Setup

BASE = """
class Base:
    def __init__(self, n, eps=1e-5, momentum=0.9):
        self.gamma, self.beta, self.eps, self.momentum = np.ones(n), np.zeros(n), eps, momentum
        self.moving_mean, self.moving_var = np.zeros(n), np.ones(n)
"""
TRAINING = """
class {name}({base}):
    def forward(self, x{argument}):
        mu, var = x.mean(axis=0), x.var(axis=0)
        {before}
        self.moving_mean = self.momentum * self.moving_mean + (1 - self.momentum) * mu
        self.moving_var = self.momentum * self.moving_var + (1 - self.momentum) * var
        self.inv_std = (var + self.eps) ** -0.5
        self.xhat = (x - mu) * self.inv_std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        return self.gamma * self.inv_std * (dy - dy.mean(axis=0) - self.xhat * (dy * self.xhat).mean(axis=0))
"""
INFERENCE = """
class {name}({base}):
    def forward(self, x):
        self.inv_std = (self.moving_var + self.eps) ** -0.5
        self.xhat = (x - self.moving_mean) * self.inv_std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        return dy * self.gamma * self.inv_std
"""
OWN_SWITCH = """if not training:
            self.inv_std = (self.moving_var + self.eps) ** -0.5
            self.xhat = (x - self.moving_mean) * self.inv_std
            return self.gamma * self.xhat + self.beta"""


def trains(name="TrainBatchNorm", base="Base", argument="", before="pass"):
    return TRAINING.format(name=name, base=base, argument=argument, before=before)


def infers(name, base):
    return INFERENCE.format(name=name, base=base)


@pytest.mark.parametrize("name", ["InferenceBatchNorm", "DeployedBatchNorm"])
def test_a_derived_class_that_infers_is_the_eval_mode_of_its_base_whatever_its_name(write, only, name):
    target = only(write(BASE + trains() + infers(name, "TrainBatchNorm")))

    assert target.name.endswith("::TrainBatchNorm")
    assert target.conventions.mode_switch == f"class {name}"


def test_a_class_beside_it_that_is_named_for_inference_is_its_eval_mode(write, only):
    target = only(write(BASE + trains() + infers("EvalBatchNorm", "Base")))

    assert target.conventions.mode_switch == "class EvalBatchNorm"


def test_what_the_class_for_inference_computes_wrongly_shows_in_eval_mode(write, only):
    wrong = infers("InferenceBatchNorm", "TrainBatchNorm").replace("x - self", "x + self")
    target = only(write(BASE + trains() + wrong))
    session = target.open(Setup(np.ones(2), np.zeros(2), 1e-5, 0.5, "C"))
    session.forward(np.array([[1.0, 5.0], [3.0, 7.0]]))  # means 2 and 6, variances 1; half of them is new

    y = session.forward(np.array([[1.0, 1.0]]), mode="eval")

    np.testing.assert_allclose(y, [[2.0, 4.0]], rtol=1e-4)


def test_beside_a_class_that_has_a_switch_of_its_own_it_is_left_alone(write, only):
    source = (
        BASE + trains(argument=", training=True", before=OWN_SWITCH) + infers("InferenceBatchNorm", "TrainBatchNorm")
    )
    target = only(write(source))

    assert target.conventions.mode_switch == "argument training"
    assert "left alone beside it: InferenceBatchNorm (its name says inference)" in " ".join(target.conventions.notes)


def test_a_derived_class_that_trains_otherwise_is_no_eval_mode(write):
    doubled = trains("WideBatchNorm", "TrainBatchNorm").replace(
        "* self.xhat + self.beta", "* 2 * self.xhat + self.beta"
    )
    cards = resolve.cards(write(BASE + trains() + doubled))

    assert [card.name.rpartition("::")[2] for card in cards] == ["TrainBatchNorm", "WideBatchNorm"]
    assert [card.conventions.mode_switch for card in cards if card.conventions] == ["", ""]
