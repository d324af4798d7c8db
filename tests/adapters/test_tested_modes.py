"""Mode switches that no name proposes: the code tests them, and numbers prove them; and what is said where none is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bncheck.adapters import resolve
from bncheck.errors import TargetError
from bncheck.model import Declared
from bncheck.session import Setup

LAYER = """
{before}
class BatchNorm:
    def __init__(self, n, eps=1e-5, momentum=0.9):
        self.gamma, self.beta, self.eps, self.momentum = np.ones(n), np.zeros(n), eps, momentum
        self.running_mean, self.running_var = np.zeros(n), np.ones(n)
        {init}
    {methods}
    def forward(self, x{argument}):
        if {trains}:
            mu, var = x.mean(axis=0), x.var(axis=0)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        else:
            {otherwise}
        self.inv_std = 1 / np.sqrt(var + self.eps)
        self.xhat = (x - mu) * self.inv_std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        return self.gamma * self.inv_std * (dy - dy.mean(axis=0) - self.xhat * (dy * self.xhat).mean(axis=0))
"""
DEFAULTS = {"before": "", "init": "pass", "methods": "", "argument": ""}
DEFAULTS["otherwise"] = "mu, var = self.running_mean, self.running_var"
ENUM = "import enum\nclass Stage(enum.Enum):\n    LIVE = 1\n    LEARN = 2\n    OTHER = 3"
NOT_VERIFIED = (
    "eval mode was not verified: no switch between training and inference was found; if there is one, "
    "--mode-switch NAME names it"
)


def layer(trains, **changes):
    return LAYER.format(**DEFAULTS | {"trains": trains} | changes)


def found(spec, said=None):
    """Return the one target of a reference, with a switch that the user named."""
    spec = replace(spec, declared=Declared(mode_switch=said))
    (card,) = resolve.cards(spec)
    return resolve.target(spec, card.name)


def inferred(target):
    """Return y in training and in eval mode after one batch, and what y should be in each."""
    random = np.random.default_rng(3)
    first, x = random.normal(2.0, 3.0, (5, 4)), random.normal(-1.0, 2.0, (5, 4))
    session = target.open(Setup(np.ones(4), np.zeros(4), 1e-5, 0.9))
    session.forward(first)
    mean, var = 0.1 * first.mean(axis=0), 0.9 + 0.1 * first.var(axis=0)
    session.forward(first, "eval")  # leaves nothing behind
    evaluated = session.forward(x, "eval")
    trained = session.forward(x)
    wanted = [(x - m) / np.sqrt(v + 1e-5) for m, v in ((mean, var), (x.mean(axis=0), x.var(axis=0)))]
    return (evaluated, trained), wanted


def follows_the_mode(target):
    got, wanted = inferred(target)
    np.testing.assert_allclose(got, wanted)


SWITCHES = {
    "a flag": (layer("self.learning", init="self.learning = True"), "attribute learning"),
    "a flag that means inference": (layer("not self.predicting", init="self.predicting = False"), "attribute predicting"),
    "a flag that stands at inference": (layer("self.learning", init="self.learning = False"), "attribute learning"),
    "1 and 0": (layer("self.learn", init="self.learn = 1"), "attribute learn"),
    "numbers": (layer("self.step == 7", init="self.step = 7"), "attribute step"),
    "an attribute, a text": (layer("self.stage == 'fit'", init="self.stage = 'fit'"), "attribute stage"),
    "the text of inference": (layer("self.stage != 'live'", init="self.stage = 'fit'"), "attribute stage"),
    "texts": (layer("self.stage.lower() in ('fit', 'learn')", init="self.stage = 'FIT'"), "attribute stage"),
    "one of two tests": (layer("x.ndim > 1 and self.learning", init="self.learning = True"), "attribute learning"),
    "an expression": (
        layer("go", init="self.live = False", argument="").replace("if go", "go = False if self.live else True\n        if go"),
        "attribute live",
    ),
    "match": (
        layer("self.trains()", init="self.stage = 'fit'",
              methods="def trains(self):\n        match self.stage:\n            case 'fit': return True\n        return False\n"),
        "attribute stage",
    ),
    "an enumeration": (layer("self.stage is Stage.LEARN", before=ENUM, init="self.stage = Stage.LEARN"),
                       "attribute stage"),
    "an enumeration of three": (layer("self.stage != Stage.OTHER", before=ENUM, init="self.stage = Stage.LIVE"),
                                "attribute stage"),
    "a name of the module": (layer("self.stage == LIVE", before="LIVE = 'live!'", init="self.stage = 'idle'"),
                             "attribute stage"),
    "a method that tests": (
        layer("self._fits()", init="self.live = False", methods="def _fits(self): return not self.live\n"),
        "attribute live",
    ),
    "an argument": (layer("stage == 'fit'", argument=", stage='fit'"), "argument stage"),
    "an argument that stands at inference": (layer("stage == 'fit'", argument=", stage='live'"), "argument stage"),
    "an argument, a flag": (layer("not live", argument=", *, live=False"), "argument live"),
    "an argument, None": (layer("not live", argument=", live=None"), "argument live"),
    "an argument, an enumeration": (layer("stage is Stage.LEARN", before=ENUM, argument=", stage=Stage.LEARN"),
                                    "argument stage"),
    "an argument that is asked for": (layer("stage == 'fit'", argument=", stage"), "argument stage"),
    "a flag that is asked for": (layer("not live", argument=", live"), "argument live"),
    "an argument that is kept": (
        layer("self.stage == 'fit'", argument=", stage='fit'").replace("        if self", "        self.stage = stage\n        if self"),
        "argument stage",
    ),
    "beside a usual one without use": (layer("self.live == 0", argument=", training=True", init="self.live = 0"),
                                       "attribute live"),
}  # fmt: skip


@pytest.mark.parametrize("case", SWITCHES)
def test_what_the_code_tests(write, case):
    source, said = SWITCHES[case]
    target = found(write(source))
    assert target.conventions.mode_switch == said
    assert NOT_VERIFIED not in target.conventions.notes
    follows_the_mode(target)


def test_an_argument_of_a_function(write):
    target = found(write(FUNCTIONS))
    assert target.conventions.mode_switch == "argument stage"
    follows_the_mode(target)


FUNCTIONS = """
def bn_forward(x, gamma, beta, options, stage="fit"):
    rm = options.setdefault("running_mean", np.zeros(x.shape[1]))
    rv = options.setdefault("running_var", np.ones(x.shape[1]))
    if stage == "fit":
        mu, var = x.mean(axis=0), x.var(axis=0)
        m = options["momentum"]
        options["running_mean"], options["running_var"] = m * rm + (1 - m) * mu, m * rv + (1 - m) * var
    else:
        mu, var = rm, rv
    std = np.sqrt(var + options["eps"])
    xhat = (x - mu) / std
    return gamma * xhat + beta, (xhat, std, gamma)

def bn_backward(dout, cache):
    xhat, std, gamma = cache
    dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
    return gamma / std * (dout - dout.mean(axis=0) - xhat * (dout * xhat).mean(axis=0)), dgamma, dbeta
"""


@pytest.mark.parametrize(
    "otherwise",
    [
        "mu, var = self.running_mean, self.running_var ** 2",
        "mu, var = self.running_mean, x.var(axis=0)",  # y of a row depends on the others, and nothing is left behind
    ],
)
def test_wrong_in_inference_is_seen_behind_such_a_switch(write, otherwise):
    target = found(write(layer("self.learning", init="self.learning = True", otherwise=otherwise)))
    assert target.conventions.mode_switch == "attribute learning"
    got, wanted = inferred(target)
    assert not np.allclose(got, wanted)


# What is tested, and is about something else: whichever way it is turned, the code does not turn to what it remembers.
OTHERS = {
    "affine": ("True", "self.affine = True", "return self.gamma * self.xhat + self.beta if self.affine else self.xhat"),
    "no normalisation": ("True", "self.active = True", "return self.gamma * (self.xhat if self.active else x) + self.beta"),
    "another start": ("self.active or x.ndim > 1", "self.active = True", ""),
    "updates": ("True", "self.tracking = True", ""),
    "verbose": ("True", "self.verbose = False", "if self.verbose: print(x)\n        return self.gamma * self.xhat + self.beta"),
    "raises": ("True", "self.strict = False", "if self.strict: raise ValueError\n        return self.gamma * self.xhat + self.beta"),
    "a blend": (
        "True", "self.renorm = False",
        "r = self.inv_std * np.sqrt(self.running_var + self.eps) if self.renorm else 1.0\n"
        "        return self.gamma * self.xhat / r + self.beta",
    ),
    "nothing": ("True", "pass", ""),
    # The averages so far, and then on: an option for streams, and as good as inference only in what y follows.
    "delayed": (
        "True", "self.delayed = False",
        "old = self.before if hasattr(self, 'before') else (0.0, 1.0)\n"
        "        self.before = self.running_mean, self.running_var\n"
        "        mean, spread = old if self.delayed else (mu, var)\n"
        "        return self.gamma * (x - mean) / np.sqrt(spread + self.eps) + self.beta",
    ),
    # What the code counts by itself is its state.
    "a counter": (
        "True", "self.seen = 0",
        "self.seen += 1\n        mean, spread = (self.running_mean, self.running_var) if self.seen > 40 else (mu, var)\n"
        "        return self.gamma * (x - mean) / np.sqrt(spread + self.eps) + self.beta",
    ),
    "texts": ("True", 'self.flavour = "train"', "assert self.flavour in ('train', 'test', '', 'eval')\n        " + "return self.gamma * self.xhat + self.beta"),
}  # fmt: skip
LAST = "return self.gamma * self.xhat + self.beta"
UPDATE = "            self.running_mean ="


@pytest.mark.parametrize("case", OTHERS)
def test_what_is_no_mode_is_taken_for_none_and_that_is_said(write, case):
    trains, init, last = OTHERS[case]
    source = layer(trains, init=init).replace(LAST, last or LAST)
    source = source.replace(UPDATE, f"            if self.tracking:\n    {UPDATE}") if case == "updates" else source
    conventions = found(write(source)).conventions
    assert conventions.mode_switch == ""
    assert NOT_VERIFIED in conventions.notes


STREAMING = """
        elif self.stage == "adapt":
            mu, var = self.running_mean, self.running_var
            self.running_mean = self.momentum * mu + (1 - self.momentum) * x.mean(axis=0)
            self.running_var = self.momentum * var + (1 - self.momentum) * x.var(axis=0)
        else:
"""


def test_of_several_modes_inference_is_the_one_that_leaves_nothing_behind(write):
    source = layer('self.stage == "fit"', init='self.stage = "fit"').replace("\n        else:\n", STREAMING, 1)
    target = found(write(source))
    assert target.conventions.mode_switch == "attribute stage"
    follows_the_mode(target)


def test_a_usual_switch_that_guards_the_update_alone_is_not_replaced_by_an_option(write):
    source = layer("not self.use_global", init="self.use_global, self.training = False, True")
    guarded = source.replace("            self.running_mean =", "            if self.training: self.running_mean =")
    target = found(
        write(guarded.replace("            self.running_var =", "            if self.training: self.running_var ="))
    )
    assert target.conventions.mode_switch == "attribute training"
    got, wanted = inferred(target)
    assert not np.allclose(got, wanted)


def test_a_value_without_a_hash_is_no_switch_and_no_error(write):
    before = (
        "import enum\nclass Kernel(enum.Enum):\n    SLOW, FAST = 1, 2\n"
        "    def __eq__(self, other):\n        return self is other\n"
    )
    source = layer("True or self.kernel == Kernel.SLOW", before=before, init="self.kernel = Kernel.SLOW")
    assert found(write(source)).conventions.mode_switch == ""


def test_what_may_leave_files_behind_is_not_tried(write, tmp_path):
    left = tmp_path / "left"
    source = layer("True", init="self.save = False").replace(
        LAST, f"if self.save: open({str(left)!r}, 'w')\n        {LAST}"
    )
    assert found(write(source)).conventions.mode_switch == ""
    assert not left.exists()


BACKWARD = FUNCTIONS[FUNCTIONS.index("def bn_backward") :]
HANDED_OUT = """
def bn_forward(x, gamma, beta, running_mean, running_var, eps, momentum):
    mu, var = x.mean(axis=0), x.var(axis=0)
    running_mean, running_var = [momentum * r + (1 - momentum) * b for r, b in ((running_mean, mu), (running_var, var))]
    std = np.sqrt(var + eps)
    xhat = (x - mu) / std
    return gamma * xhat + beta, (xhat, std, gamma), running_mean, running_var
"""
SAID_ELSEWHERE = {
    "statistics that are handed out": HANDED_OUT + BACKWARD,
    "a switch": layer("self.training", init="self.training = True"),
    "a method for inference": layer(
        "True", methods="def predict(self, x): return "
        "self.gamma * (x - self.running_mean) / np.sqrt(self.running_var + self.eps) + self.beta\n"
    ),
    "none": BACKWARD + """
def bn_forward(x, gamma, beta, eps):
    std = np.sqrt(x.var(axis=0) + eps)
    xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)
""",
}  # fmt: skip


@pytest.mark.parametrize("case", SAID_ELSEWHERE)
def test_nothing_is_said_of_eval_mode_where_it_is_verified_or_no_business_of_the_code(write, case):
    conventions = found(write(SAID_ELSEWHERE[case])).conventions
    assert NOT_VERIFIED not in conventions.notes
    assert bool(conventions.momentum_sense) == (case != "none")


# ------------------------------------------------------------ what the user named


NAMED = {
    "means inference": ("predicting", layer("not self.predicting", init="self.predicting = False"), "attribute predicting"),
    "means training": ("going", layer("self.going", init="self.going = False"), "attribute going"),
    "of self": ("self.going", layer("self.going", init="self.going = False"), "attribute going"),
    "an argument that means inference": ("live", layer("not live", argument=", live=False"), "argument live"),
    "an argument that means training": ("going", layer("going", argument=", going=False"), "argument going"),
    "a method that sets inference": (
        "set_live", layer("not self._l", init="self._l = False", methods="def set_live(self, on): self._l = on\n"),
        "method set_live(False) / set_live(True)",
    ),
    "an enumeration": ("mode", layer("self.mode is Stage.LEARN", before=ENUM, init="self.mode = Stage.LEARN"),
                       "attribute mode"),
}  # fmt: skip


@pytest.mark.parametrize("case", NAMED)
def test_a_switch_that_is_named_is_turned_the_way_that_numbers_say(write, case):
    said, source, used = NAMED[case]
    target = found(write(source), said)
    assert target.conventions.mode_switch == used
    follows_the_mode(target)


def test_a_switch_that_is_named_is_taken_where_no_number_proves_it(write):
    source = layer("self.mode is Stage.LEARN", before=ENUM, init="self.mode = Stage.LEARN",
                   otherwise="mu, var = x.mean(axis=0), x.var(axis=0)")  # fmt: skip
    assert found(write(source)).conventions.mode_switch == ""
    assert found(write(source, file="again.py"), "mode").conventions.mode_switch == "attribute mode"


@pytest.mark.parametrize(
    ("source", "there"),
    [
        (layer("self.training", init="self.training = True"), "found instead: attribute training"),
        (layer("self.learning", init="self.learning = True"), "found instead: attribute learning"),
        (layer("True"), "no other switch between training and inference was found either"),
    ],
)
@pytest.mark.parametrize("said", ["nonesuch", "train"])
def test_a_switch_that_is_not_there_is_refused(write, source, there, said):
    with pytest.raises(TargetError) as refused:
        found(write(source), said)
    assert str(refused.value) == f"--mode-switch {said}: the code has no such switch; {there}."


def test_a_switch_that_one_of_two_targets_lacks_is_remarked_on(write):
    other = layer("True").replace("BatchNorm", "BatchNorm1d")
    spec = write(layer("self.learning", init="self.learning = True") + other)
    cards = {
        card.name.partition("::")[2]: card.conventions
        for card in resolve.cards(replace(spec, declared=Declared(mode_switch="learning")))
    }
    assert cards["BatchNorm"].mode_switch == "attribute learning"
    assert "mode switch 'learning' was not found; none is used" in cards["BatchNorm1d"].notes


def test_two_enumerations_of_one_name_are_two(write):
    """Keys of call plans are texts; the members of both read alike."""
    source = layer("stage is Stage.LEARN", before=ENUM, argument=", stage=Stage.LEARN")
    one, other = (found(write(source, file=file)) for file in ("one.py", "other.py"))
    follows_the_mode(one)
    follows_the_mode(other)
