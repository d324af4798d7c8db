"""Eval mode of code whose running statistics are not known: it is said that it was not verified, and why."""

import pytest

from bncheck import pipeline
from bncheck.executors.in_process import InProcess
from bncheck.report import Verdict
from bncheck.reporters.wording import conventions_in_words
from bncheck.settings import Settings

LAYER = """
class BatchNorm:
    shared = {{}}

    def __init__(self, n, momentum=0.9):
        self.gamma, self.beta, self.k = np.ones(n), np.zeros(n), momentum
        {start}

    def forward(self, x, training=True):
        if training:
            mu, var = x.mean(axis=0), x.var(axis=0)
            {update}
        else:
            mu, var = {used}
        self.s = np.sqrt(var + 1e-5)
        self.xhat = (x - mu) / self.s
        return self.gamma * self.xhat + self.beta

    def backward(self, d):
        self.dgamma, self.dbeta = (d * self.xhat).sum(axis=0), d.sum(axis=0)
        g = d * self.gamma
        return (g - g.mean(axis=0) - self.xhat * (g * self.xhat).mean(axis=0)) / self.s
"""
ROWS = {
    "start": "self.stats = np.stack([np.zeros(n), np.ones(n)])",
    "update": "self.stats = self.k * self.stats + (1 - self.k) * np.stack([mu, var])",
    "used": "self.stats",
}
SQUARES = {
    "start": "self.a, self.b = np.zeros(n), np.ones(n)",
    "update": "self.a, self.b = self.k * self.a + (1 - self.k) * mu, self.k * self.b + (1 - self.k) * (x * x).mean(0)",
    "used": "self.a, self.b - self.a**2",
}
OF_CLASS = {
    "start": "self.shared.update(a=np.zeros(n), b=np.ones(n))",
    "update": "self.shared.update({name: self.k * self.shared[name] + (1 - self.k) * new "
    "for name, new in (('a', mu), ('b', var))})",
    "used": "self.shared['a'], self.shared['b']",
}
CONSTANTS = {"start": "self.t = 0", "update": "self.t += 1", "used": "np.zeros(x.shape[1]), np.ones(x.shape[1])"}
DEVIATION = {
    "start": "self.mean_ema, self.std_ema = np.zeros(n), np.ones(n)",
    "update": "self.mean_ema = self.k * self.mean_ema + (1 - self.k) * mu\n"
    "            self.std_ema = self.k * self.std_ema + (1 - self.k) * np.sqrt(var + 1e-5)",
    "used": "self.mean_ema, self.std_ema**2 - 1e-5",
}
INVERSE = {
    "start": "self.mean, self.inv_std = np.zeros(n), np.ones(n)",
    "update": "self.mean = self.k * self.mean + (1 - self.k) * mu\n"
    "            self.inv_std = self.k * self.inv_std + (1 - self.k) / np.sqrt(var + 1e-5)",
    "used": "self.mean, 1 / self.inv_std**2 - 1e-5",
}
HIDDEN = "kept where bncheck does not find them"
UNSEEN = "none that bncheck finds"
HEADLINE = "Forward and backward are right in training mode. Eval mode was not verified."


def verified(spec):
    (target,) = pipeline.run([spec], Settings(cases=4), executor=InProcess()).targets
    return target


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (SQUARES, HIDDEN),
        (SQUARES | {"used": "self.a, 5 + 0 * self.b"}, HIDDEN),
        (OF_CLASS, HIDDEN),
        (CONSTANTS, UNSEEN),
        (DEVIATION, "a standard deviation, and no variance: not judged"),
        (INVERSE, "the inverse of a standard deviation, and no variance: not judged"),
    ],
    ids=["squares", "squares, wrong", "of the class", "constants", "deviation", "inverse"],
)
def test_what_is_not_verified_is_said_in_the_headline_and_a_note(write, parts, said):
    target = verified(write(LAYER.format(**parts)))
    assert target.verdict is Verdict.PASS
    assert target.conventions.unjudged == said
    assert target.oracles.conclusion == HEADLINE
    words = conventions_in_words(target.conventions)
    assert f"running statistics: {said}" in words
    assert "no running statistics" not in words
    notes = [n for n in target.conventions.notes if "not judged" in n or n.startswith("eval mode was not verified")]
    assert len(notes) == 1


def test_the_inverse_of_a_deviation_is_called_so(write):
    notes = verified(write(LAYER.format(**INVERSE))).conventions.notes
    assert "a running inverse of the standard deviation is kept in the place of a variance: it is not judged" in notes


def test_an_eval_mode_that_raises_is_quoted(write):
    target = verified(write(LAYER.format(**CONSTANTS | {"used": "self.nowhere"})))
    assert target.oracles.conclusion == HEADLINE
    assert any(n.startswith("eval mode was not verified: AttributeError") for n in target.conventions.notes)


def test_code_without_a_mode_keeps_none_and_is_told_so(write):
    target = verified(write(LAYER.format(**CONSTANTS).replace("if training:", "if True:")))
    assert target.conventions.unjudged == ""
    assert target.oracles.conclusion == "Forward and backward are right in training mode."
    assert "no running statistics" in conventions_in_words(target.conventions)


def test_two_rows_of_one_array_are_two_statistics(write):
    target = verified(write(LAYER.format(**ROWS)))
    assert target.verdict is Verdict.PASS
    found = target.conventions
    assert (found.momentum_sense, found.running_var, found.running_start) == ("kept", "biased", "0, 1")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"used": "self.stats[0], 5 + 0 * self.stats[1]"}, "BN302"),
        ({"update": ROWS["update"].replace("mu, var", "mu, np.sqrt(var)")}, "BN301"),
    ],
)
def test_wrong_rows_of_one_array_fail(write, changes, code):
    target = verified(write(LAYER.format(**ROWS | changes)))
    assert code in {f.code for f in target.findings if f.outcome == "fail"}


def test_a_fraction_that_no_known_argument_changes_is_not_called_fixed(write):
    text = LAYER.format(**ROWS).replace("momentum=0.9", "half_life=0.9").replace(" = momentum", " = half_life")
    words = conventions_in_words(
        verified(write(text.replace("np.zeros(n), momentum", "np.zeros(n), half_life"))).conventions
    )
    (said,) = [phrase for phrase in words if phrase.startswith("running statistics")]
    assert said.startswith("running statistics: 0.9 of the old kept (no argument of a known name changes it)")
