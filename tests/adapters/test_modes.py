"""How code is told whether this is training: the switch is found, acts, and is spoken to in the code's own words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bncheck.adapters import resolve
from bncheck.model import Declared, TargetSpec
from bncheck.session import Setup

LAYER = """
{before}
class BatchNorm{base}:
    {class_level}
    def __init__(self, n, eps=1e-5{constructor}):
        self.gamma, self.beta, self.eps = np.ones(n), np.zeros(n), eps
        self.running_mean, self.running_var = np.zeros(n), np.ones(n)
        {init}
    {methods}
    def forward(self, x{argument}):
        if {is_training}:
            self.mu, self.var = x.mean(axis=0), x.var(axis=0)
            self.running_mean = 0.9 * self.running_mean + 0.1 * self.mu
            self.running_var = 0.9 * self.running_var + 0.1 * self.var
        else:
            self.mu, self.var = self.running_mean, self.running_var
        self.std = np.sqrt(self.var + self.eps)
        self.xhat = (x - self.mu) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        return self.gamma / self.std * (dy - dy.mean(axis=0) - self.xhat * (dy * self.xhat).mean(axis=0))
"""
DEFAULTS = dict.fromkeys(("before", "base", "constructor", "argument"), "") | {"init": "pass", "methods": "pass"}
DEFAULTS |= {"class_level": "pass"}


def layer(is_training, **changes):
    return LAYER.format(**DEFAULTS | {"is_training": is_training} | changes)


SWITCHES = {
    "train and eval": (
        layer("self.t", init="self.t = False", methods="def train(self): self.t = True\n    def eval(self): self.t = False"),
        "methods train() and eval()",
    ),
    "train_mode and test_mode": (
        layer("self._how == 1", init="self._how = 1",
              methods="def train_mode(self): self._how = 1\n    def test_mode(self): self._how = 2"),
        "methods train_mode() and test_mode()",
    ),
    "train(mode=True)": (
        layer("self.t", init="self.t = False",
              methods="def train(self, mode=True): self.t = mode; return self\n    def eval(self): return self.train(False)"),
        "methods train() and eval()",
    ),
    "set_phase, texts": (
        layer('self.p == "TRAIN"', init="self.p = None",
              methods='def set_phase(self, p):\n        assert p in ("TRAIN", "TEST")\n        self.p = p'),
        'method set_phase("TRAIN") / set_phase("TEST")',
    ),
    "set_mode, other texts": (
        layer('self.p == "train"', init="self.p = None",
              methods='def set_mode(self, m):\n        if m not in ["train", "eval"]: raise ValueError(m)\n        self.p = m'),
        'method set_mode("train") / set_mode("eval")',
    ),
    "set_training, a flag": (
        layer("self.p is True", init="self.p = None", methods="def set_training(self, flag): self.p = flag"),
        "method set_training(True) / set_training(False)",
    ),
    "set_inference, an inverted flag": (
        layer("self.p is False", init="self.p = None", methods="def set_inference(self, flag): self.p = flag"),
        "method set_inference(False) / set_inference(True)",
    ),
    "attribute": (layer("self.training", init="self.training = False"), "attribute training"),
    "inverted attribute": (layer("not self.is_test", init="self.is_test = True"), "attribute is_test"),
    "testing_phase": (layer("not self.testing_phase", init="self.testing_phase = False"), "attribute testing_phase"),
    "text": (layer("self.mode == 'train'", init="self.mode = 'train'"), "attribute mode"),
    "text in capitals": (layer("self.phase != 'TEST'", init="self.phase = 'TEST'"), "attribute phase"),
    "0 and 1": (layer("self.is_train == 1", init="self.is_train = 0"), "attribute is_train"),
    "class level": (layer("self.training", class_level="training = True"), "attribute training"),
    "frozen": (layer("not self.frozen", init="self.frozen = False"), "attribute frozen"),
    "use_global_stats": (layer("not self.use_global_stats", init="self.use_global_stats = False"),
                         "attribute use_global_stats"),
    "enumeration": (
        layer("self.mode is Mode.TRAINING", init="self.mode = Mode.INFERENCE",
              before="import enum\nclass Mode(enum.Enum):\n    TRAINING = 1\n    INFERENCE = 2"),
        "attribute mode",
    ),
    "numbers with names": (layer("self.mode == TRAIN", before="TRAIN, TEST = 0, 1", init="self.mode = TEST"),
                           "attribute mode"),
    "texts with names": (layer("self.phase == TRAIN", before="TRAIN, TEST = 'train', 'test'", init="self.phase = TRAIN"),
                         "attribute phase"),
    "argument, a named number": (layer("mode == TRAIN", before="TRAIN, TEST = 3, 4", argument=", mode=TEST"),
                                 "argument mode"),
    "constructor": (layer("not self._k", constructor=", is_test=False", init="self._k = 7 * is_test"),
                    "constructor argument is_test"),
    "global flag": (layer("TRAINING", before="TRAINING = False"), "global TRAINING"),
    "global settings": (
        layer("config.train", before="class Config:\n    train = False\nconfig = Config()"), "global config.train"
    ),
    "global dict": (layer("STATE['is_training']", before="STATE = {'is_training': False}"),
                    "global STATE['is_training']"),
    "argument": (layer("train_flg", argument=", train_flg=False"), "argument train_flg"),
    "keyword-only": (layer("not inference", argument=", *, inference=True"), "argument inference"),
    "positional, required": (layer("not is_test", argument=", is_test"), "argument is_test"),
    "argument, text": (layer("mode == 'train'", argument=", mode='test'"), "argument mode"),
    "argument, required text": (layer("phase == 'Train'", argument=", phase"), "argument phase"),
    "argument, None": (layer("training", argument=", training=None"), "argument training"),
    "argument, 0": (layer("train == 1", argument=", train=0"), "argument train"),
    "method for inference": (
        layer("True", methods="def infer(self, x): return "
              "self.gamma * (x - self.running_mean) / np.sqrt(self.running_var + self.eps) + self.beta"),
        "method infer",
    ),
    "beside a mode of something else": (
        layer("self.training", init="self.first_mode, self.training = False, True",
              methods="def check(self): assert not self.first_mode").replace("if self.tr", "self.check()\n        if self.tr"),
        "attribute training",
    ),
    "in **kwargs": (layer("kwargs.get('is_train', False)", argument=", **kwargs"), "argument is_train"),
}  # fmt: skip


def follows_the_mode(target):
    random = np.random.default_rng(3)
    x, y = (random.normal(2.0, 3.0, (5, 4)) for _ in range(2))
    session = target.open(Setup(np.ones(4), np.zeros(4), 1e-5, 0.9))
    session.forward(x)
    np.testing.assert_allclose(session.forward(y).mean(axis=0), 0, atol=1e-9)
    evaluated = session.forward(y, "eval")
    np.testing.assert_allclose(evaluated[:2], session.forward(y[:2], "eval"))
    assert np.abs(evaluated.mean(axis=0)).min() > 1e-3
    np.testing.assert_allclose(session.forward(x).mean(axis=0), 0, atol=1e-9)


@pytest.mark.parametrize("case", SWITCHES)
def test_switches(write, right, only, case):
    source, said = SWITCHES[case]
    assert right(write(source)).mode_switch == said
    follows_the_mode(only(write(source)))


OPTIONS = """
def bn_forward(x, gamma, beta, bn_param):
    eps = bn_param.get("eps", 1e-5)
    rm = bn_param.setdefault("running_mean", np.zeros(x.shape[1]))
    rv = bn_param.setdefault("running_var", np.ones(x.shape[1]))
    if {condition}:
        mu, var = x.mean(axis=0), x.var(axis=0)
        bn_param["running_mean"], bn_param["running_var"] = 0.9 * rm + 0.1 * mu, 0.9 * rv + 0.1 * var
    else:
        mu, var = rm, rv
    std = np.sqrt(var + eps); xhat = (x - mu) / std
    return gamma * xhat + beta, (xhat, std, gamma)

def bn_backward(dout, cache):
    xhat, std, gamma = cache
    dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
    return gamma / std * (dout - dout.mean(axis=0) - xhat * (dout * xhat).mean(axis=0)), dgamma, dbeta
"""


@pytest.mark.parametrize(
    ("condition", "key"),
    [
        ('bn_param["mode"] == "train"', "mode"), ('bn_param["is_training"]', "is_training"),
        ('bn_param.get("phase") == "TRAIN"', "phase"), ('not bn_param["test"]', "test"),
        ('bn_param["mode"] != "inference"', "mode"), ('bn_param["train"] == 1', "train"),
    ],
)  # fmt: skip
def test_keys_of_options(write, right, only, condition, key):
    spec = write(OPTIONS.format(condition=condition))
    assert right(spec).mode_switch == f"key {key!r}"
    follows_the_mode(only(spec))


@pytest.mark.parametrize(
    "body", ["self.running_mean + self.running_var", "x / 0 if self.running_var is None else x.nope"]
)
def test_a_method_for_inference_that_does_not_run_is_none(write, right, body):
    source = layer("True", methods=f"def predict(self, x): return {body}")
    assert right(write(source)).mode_switch == ""


def test_a_switch_that_is_ignored_is_named_all_the_same(write, right):
    assert right(write(layer("True", argument=", training=True"))).mode_switch == "argument training"


def test_of_two_switches_the_one_that_acts_is_named(write, right):
    source = layer("self.t", init="self.t = False; self.training = True",
                   methods="def train(self): self.t = True\n    def eval(self): self.t = False")  # fmt: skip
    assert right(write(source)).mode_switch == "methods train() and eval()"
    other = layer("self.training", init="self.training = False", argument=", mode='train'")
    assert right(write(other, file="other.py")).mode_switch == "attribute training"


def test_code_that_cannot_be_told(write, right):
    assert right(write(layer("True"))).mode_switch == ""


def test_a_declared_switch(write):
    source = layer("self.learning_now", init="self.learning_now = True")
    spec = replace(write(source), declared=Declared(mode_switch="learning_now"))
    target = resolve.target(spec, resolve.cards(spec)[0].name)
    assert target.conventions.mode_switch == "attribute learning_now"
    follows_the_mode(target)


def test_a_declared_argument(write):
    source = layer("how", argument=", how=False")
    spec = replace(write(source), declared=Declared(mode_switch="how"))
    assert isinstance(spec, TargetSpec)
    target = resolve.target(spec, resolve.cards(spec)[0].name)
    assert target.conventions.mode_switch == "argument how"
    follows_the_mode(target)


def test_wrong_in_training_is_seen_behind_a_switch(write, right):
    source = SWITCHES["set_phase, texts"][0].replace("self.xhat * (dy", "self.xhat * 2 * (dy")
    with pytest.raises(AssertionError, match="dx"):
        right(write(source))
