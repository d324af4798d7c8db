"""BN312 and BN518 on layers that are switched by their own methods, and whose parameters change while they live."""

from dataclasses import replace

import numpy as np
import pytest
from judging import SPEC, judged

from bncheck.adapters import resolve
from bncheck.cases.arrays import build
from bncheck.checks.catalogue import CHECKS
from bncheck.model import Conventions, Evidence, Outcome, TargetSpec

LAYER = """
import numpy as np


class Module:
    def train(self):
        {train}

    def eval(self):
        {eval}


class BatchNorm({bases}):
    def __init__(self, channels, eps=1e-5, momentum=0.1):
        self.gamma, self.beta = np.ones(channels), np.zeros(channels)
        self.running_mean, self.running_var = np.zeros(channels), np.ones(channels)
        self.eps, self.momentum, self.training = eps, momentum, True
        self.folded = self.copy = None

    def forward(self, x{argument}):
        mean, var = self.running_mean, self.running_var
        if {training}:
            mean, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
            self.running_var = (1 - self.momentum) * self.running_var + self.momentum * var
            {learning}
        self.inv_std = 1 / np.sqrt(var + self.eps)
        self.xhat = (x - mean) * self.inv_std
        {answer}
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        m = len(dy)
        self.dgamma, self.dbeta = np.sum(dy * self.xhat, axis=0), np.sum(dy, axis=0)
        return {gamma} * self.inv_std * (dy - self.dbeta / m - self.xhat * self.dgamma / m)
"""
RIGHT = {
    "train": "self.training = True", "eval": "self.training = False", "bases": "Module", "argument": "",
    "training": "self.training", "learning": "pass", "answer": "pass", "gamma": "self.gamma",
}  # fmt: skip
FOLDING = """if not self.training:
            if self.folded is None:
                scale = self.gamma * self.inv_std
                self.folded = scale, self.beta - scale * mean
            return self.folded[0] * x + self.folded[1]"""
COPYING = """if self.copy is None:
            self.copy = self.gamma.copy()"""
UPDATE = """
        return self.gamma * self.xhat + self.beta

    def update(self, rate):
        self.gamma, self.copy = self.gamma - rate * self.dgamma, None
        self.beta = self.beta - rate * self.dbeta

    def shifted(self):"""


def target(tmp_path, **changed):
    path = tmp_path / "bn.py"
    path.write_text(LAYER.format(**RIGHT | changed))
    return resolved(path)


def resolved(path):
    found = TargetSpec(str(path))
    return resolve.target(found, resolve.cards(found)[0].name)


def said(code, tmp_path, **changed):
    return judged(code, target(tmp_path, **changed))


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"train": "self.training = True; return self", "eval": "self.training = False; return self"},
        {"eval": "self.training = False; self.folded = None", "answer": FOLDING},
        {  # what one does to the statistics the other takes back
            "train": "self.__dict__.update(self.__dict__.pop('kept', {})); self.training = True",
            "eval": "self.kept = dict(running_var=1 * self.running_var); self.running_var += 1; self.training = False",
        },
        {  # and but for rounding
            "train": "self.running_var = self.running_var / self.__dict__.get('k', 1); self.k, self.training = 1, True",
            "eval": "self.k = 0.3; self.running_var = self.running_var * 0.3; self.training = False",
            "bases": "Module, type('K', (), {'k': 1})",
        },
    ],
    ids=["plain", "chained", "folded", "taken back", "taken back but for rounding"],
)
def test_methods_that_switch_the_mode_are_right(tmp_path, changed):
    assert said("BN312", tmp_path, **changed).outcome is Outcome.PASS


DEAD = "after eval() y is normalised with the batch's own statistics"
# A forward that asks for two flags, of which the method sets one.
TWO_FLAGS = {
    "bases": "Module, type('Flag', (), {'inference': False})",
    "answer": "if not self.training and not self.inference: return x.copy()",
}
RESET = "self.running_mean = np.zeros_like(self.running_mean)"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (TWO_FLAGS, "after eval() y is not that of the running statistics"),
        ({"eval": "pass"}, DEAD),
        ({"eval": "self.is_training = False"}, DEAD),
        ({"eval": "self.training = True"}, DEAD),
        ({"train": RIGHT["eval"], "eval": RIGHT["train"]}, DEAD),
        ({"train": "pass"}, "after eval() and train() y is not that of the batch again"),
        ({"eval": f"self.training = False; {RESET}"}, "running_mean is changed by eval()"),
        ({"train": f"self.training = True; {RESET}"}, "running_mean is changed by train()"),
        ({"eval": "self.training = False; self.running_var *= np.nan"}, "running_var is changed by eval()"),
    ],
    ids=[
        "two flags",
        "empty",
        "another name",
        "copied",
        "exchanged",
        "not back",
        "eval resets",
        "train resets",
        "lost",
    ],
)
def test_methods_that_do_not_switch_the_mode_or_do_more_are_told(tmp_path, changed, message):
    found = said("BN312", tmp_path, **changed)
    assert (found.outcome, found.message) == (Outcome.FAIL, message)


def test_a_dead_method_is_judged_by_the_y_of_the_running_statistics(tmp_path):
    """Two batches, x and -x, with momentum 0.3: what y would be after eval(), and what it is instead."""
    found, case = said("BN312", tmp_path, eval="pass"), build(SPEC)
    mean, var = case.x.mean(axis=0), case.x.var(axis=0)
    kept = (0.7 * 0.3 * mean - 0.3 * mean, 0.49 + 0.51 * var)
    want = case.gamma * (case.x - kept[0]) / np.sqrt(kept[1] + 0.1) + case.beta
    got = case.gamma * (case.x - mean) / np.sqrt(var + 0.1) + case.beta
    assert found.index == np.unravel_index(np.argmax(np.abs(got - want)), want.shape)
    assert (found.got, found.want) == pytest.approx((got[found.index], want[found.index]), rel=1e-9, abs=0)


NO_METHODS = "no train() and eval() of a layer's own say the mode"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"bases": ""}, "no train() and eval() of a layer's own say the mode"),
        ({"train": "pass", "eval": "pass"}, "no train() and eval() of a layer's own say the mode"),  # hooks of a base
        (
            {"argument": ", training=True", "training": "training"},
            "no train() and eval() of a layer's own say the mode",
        ),
        ({"train": RIGHT["eval"]}, "train() as well as eval() leaves training mode: frozen, it seems"),
        ({"training": "True"}, "both modes have the same y on this case"),
    ],
    ids=["none", "empty", "argument", "frozen", "no eval mode"],
)
def test_methods_that_say_nothing_of_the_mode_are_left_alone(tmp_path, changed, reason):
    found = said("BN312", tmp_path, **changed)
    assert (found.outcome, found.message) == (Outcome.SKIP, reason)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"argument": ", training=True", "training": "training"},
        {"learning": "self.folded = None", "answer": FOLDING},
        {"learning": "self.copy = self.gamma.copy()", "gamma": "self.copy"},
    ],
    ids=["plain", "argument", "folded anew", "copied anew"],
)
@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, n=2, mean=100.0), replace(SPEC, dtype="float32")])
def test_a_layer_that_follows_its_parameters_is_right(tmp_path, changed, spec):
    assert judged("BN518", target(tmp_path, **changed), spec).outcome is Outcome.PASS


def test_parameters_that_are_known_by_another_name_too_are_written_into(tmp_path):
    """Who rebinds ``self.gamma`` leaves ``self.copy`` behind: an optimizer of this layer works in place."""
    found = said(
        "BN518", tmp_path, learning="self.copy = self.gamma if self.copy is None else self.copy", gamma="self.copy"
    )
    assert found.outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("changed", "tensor", "message"),
    [
        ({"answer": FOLDING}, "y", "y in eval mode is that of what the layer was before it learned more"),
        (
            {"answer": COPYING, "gamma": "self.copy"},
            "dx",
            "dx does not follow gamma and beta that are changed after the first step",
        ),
    ],
    ids=["folded once", "copied once"],
)
def test_what_is_left_of_earlier_parameters_is_found(tmp_path, changed, tensor, message):
    found = said("BN518", tmp_path, **changed)
    assert (found.outcome, found.tensor, found.message) == (Outcome.FAIL, tensor, message)


def test_parameters_that_a_method_changes_are_left_to_it(tmp_path):
    found = said("BN518", tmp_path, answer=COPYING + UPDATE, gamma="self.copy")
    assert (found.outcome, found.message) == (
        Outcome.SKIP,
        "no gamma and beta in the code that could be changed between two steps",
    )


def test_parameters_that_cannot_be_changed_between_two_steps_are_no_failure(tmp_path):
    path = tmp_path / "pair.py"
    path.write_text("""
import numpy as np

def batchnorm_forward(x, gamma, beta, eps):
    inv = 1 / np.sqrt(x.var(axis=0) + eps)
    xhat = (x - x.mean(axis=0)) * inv
    return gamma * xhat + beta, (xhat, inv, gamma)

def batchnorm_backward(dy, cache):
    xhat, inv, gamma = cache
    dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
    return gamma * inv * (dy - dbeta / len(dy) - xhat * dgamma / len(dy)), dgamma, dbeta
""")
    found = judged("BN518", resolved(path))
    assert (found.outcome, found.message) == (
        Outcome.SKIP,
        "no gamma and beta in the code that could be changed between two steps",
    )


Y = np.array([[1.0, -2.0], [3.0, 0.5]])
KEPT = Conventions("test", ("NC",), "(C,)", "argument", None, "tuple", momentum_sense="kept", mode_switch="training")
# Of own methods: training and eval mode told by the switch, and what the layer's own calls make of them.
OF_TRAINING, OF_EVAL = Y, Y + 1
SWITCHED = {
    "told_train": OF_TRAINING,
    "told_eval": OF_EVAL,
    "told_fresh": OF_TRAINING,
    "fresh": OF_TRAINING,
    "train": OF_TRAINING,
    "eval": OF_EVAL,
}


def by_hand(code, arrays, **facts):
    known = {"conventions": KEPT, "calls": ("train()", "eval()", "train()"), "tried": True, "raised": ""}
    name = {"BN312": "own-methods", "BN518": "changed-parameters"}[code]
    seen = {name: Evidence(name, arrays, known | facts), "training": Evidence("training")}
    judgement = CHECKS.get(code).judge(build(SPEC), seen)
    return judgement.outcome, judgement.message


@pytest.mark.parametrize("missing", ["told_train", "train"])
@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({}, "no train() and eval() of a layer's own say the mode"),
        ({"tried": False}, "not tried on this case"),
        ({"raised": "eval() raised"}, "eval() raised"),
    ],
)
def test_without_both_modes_nothing_is_said_of_the_methods(missing, facts, reason):
    arrays = {name: y for name, y in SWITCHED.items() if name != missing}
    assert by_hand("BN312", arrays, **facts) == (Outcome.SKIP, reason)


def test_what_eval_begins_anew_may_differ_from_what_it_was_where_nothing_is_taken_in():
    """Statistics that are worked out when inference begins: eval() ends a collection, and another y is as right."""
    other = SWITCHED | {"eval": OF_EVAL + 5}
    collected = replace(KEPT, momentum_sense="finished")
    assert by_hand("BN312", other, conventions=collected) == (Outcome.PASS, "train() and eval() switch the mode")
    stuck = SWITCHED | {"eval": OF_TRAINING}
    message = "after eval() y is normalised with the batch's own statistics"
    assert by_hand("BN312", stuck, conventions=collected) == (Outcome.FAIL, message)
    message = "after eval() y is not that of the running statistics"
    assert by_hand("BN312", other) == (Outcome.FAIL, message)


@pytest.mark.parametrize("name", ["mean", "var"])
@pytest.mark.parametrize(
    ("held", "call"),
    [
        ((0, 9, 9, 9, 9, 9), "train()"),
        ((0, 0, 1, 9, 9, 9), "eval()"),
        ((0, 0, 1, 1, 1, 9), "train() again"),
        ((0, 0, 1, 9, 9, 1), ""),  # what eval() did is undone
        ((0, 0, 1, 1, 1, 1), ""),
    ],
)
def test_the_call_that_changes_statistics_is_named(name, held, call):
    arrays = SWITCHED | {f"held_{name}": np.array([[value, 1.0] for value in held])}
    found = by_hand("BN312", arrays, calls=("train()", "eval()", "train() again"))
    said = (Outcome.FAIL, f"running_{name} is changed by {call}") if call else (Outcome.PASS, None)
    assert found[0] is said[0]
    assert not call or found == said


CHANGED = {f"{want}{name}": Y for name in ("y", "dx", "dgamma", "dbeta", "eval") for want in ("", "want_")}


@pytest.mark.parametrize("name", ["y", "dx", "dgamma", "dbeta"])
def test_each_tensor_that_does_not_follow_its_parameters_is_named(name):
    message = f"{name} does not follow gamma and beta that are changed after the first step"
    assert by_hand("BN518", CHANGED | {name: Y + 1}, changed=True) == (Outcome.FAIL, message)
    followed = (Outcome.PASS, "what the layer computes follows its parameters")
    for missing in (name, f"want_{name}"):
        kept = {key: value for key, value in (CHANGED | {name: Y + 1}).items() if key != missing}
        assert by_hand("BN518", kept, changed=True) == followed


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"raised": "the second step raised", "changed": True}, "the second step raised"),
        ({"changed": False}, "no gamma and beta in the code that could be changed between two steps"),
        ({"changed": False, "tried": False}, "not tried on this case"),
    ],
)
def test_why_nothing_is_said_of_changed_parameters(facts, reason):
    assert by_hand("BN518", CHANGED | {"y": Y + 1}, **facts) == (Outcome.SKIP, reason)
