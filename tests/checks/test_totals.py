"""Variances of all values, as averages of x and x**2 make them, and sums that forget: judged, and told apart."""

import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
from judging import SPEC, SPECS, complaints, judged, result

from bncheck.adapters import resolve
from bncheck.checks.moments import in_moments
from bncheck.model import Conventions, Evidence, Outcome, TargetSpec

LAYER = """
import numpy as np


class BatchNorm:
    def __init__(self, d, eps=1e-5, momentum=0.9):
        self.gamma, self.beta, self.eps, self.k = np.ones(d), np.zeros(d), eps, momentum
        self.running_mean, self.running_var, self.squares = np.zeros(d), np.ones(d), np.ones(d)
        self.sums, self.spread, self.count, self.t = np.zeros(d), np.zeros(d), 0.0, 0

    def forward(self, x, training=True):
        self.training = training
        if training:
            mu, var, m, k = x.mean(0), x.var(0), len(x), self.k
            unbiased = var * m / max(m - 1, 1)
            {update}
        else:
            mu, var = {used}
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mu) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(0), dy.sum(0)
        d = dy * self.gamma
        if not self.training:
            return d / self.std
        return (d - d.mean(0) - self.xhat * (d * self.xhat).mean(0)) / self.std
"""
HELD = "self.running_mean, self.running_var"
SQUARES = """
self.running_mean = k * self.running_mean + (1 - k) * mu
self.squares = k * self.squares + (1 - k) * (x * x).mean(0)
self.running_var = np.maximum(self.squares - self.running_mean**2, 0)
"""
TOTAL = """
delta = mu - self.running_mean
self.running_mean = self.running_mean + (1 - k) * delta
self.running_var = k * (self.running_var + (1 - k) * delta**2) + (1 - k) * var
"""
DECAYED = """
self.sums, self.spread, self.count = k * self.sums + mu, k * self.spread + var, k * self.count + 1
"""
RULES = {
    "averages of squares": (SQUARES, HELD, "total"),
    "the path of the mean": (TOTAL, HELD, "total"),
    "the path of the mean, unbiased": (TOTAL.replace("* var", "* unbiased"), HELD, "unbiased total"),
    "the path of the mean, the other side": (TOTAL.replace("(1 - k)", "K").replace("k *", "(1 - k) *")
                                             .replace("K", "k"), HELD, "total"),
}  # fmt: skip
SUMS = {
    "sums that forget": (DECAYED, "biased"),
    "sums that forget, unbiased": (DECAYED.replace("+ var", "+ unbiased"), "unbiased"),
    "values that forget": (DECAYED.replace("+ mu", "+ m * mu").replace("+ var", "+ m * var").replace("+ 1", "+ m"),
                           "biased"),
    "sums that forget by a number": (DECAYED.replace("k *", "0.6 *"), "biased"),
}  # fmt: skip
DIVIDED = "self.sums / self.count, self.spread / self.count"


def target(folder, update, used):
    path = folder / "bn.py"
    text = textwrap.indent(update.strip(), " " * 12).lstrip()
    path.write_text(LAYER.format(update=text, used=used))
    found = TargetSpec(str(path))
    return resolve.target(found, resolve.cards(found)[0].name)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
@pytest.mark.parametrize("name", RULES)
def test_a_running_variance_of_all_values_trips_nothing(tmp_path, name, spec):
    warned = {"BN704"} if "other side" in name else set()  # its default, 0.9, is that of the side it is not on
    assert complaints(target(tmp_path, *RULES[name][:2]), spec)[0] == warned


@pytest.mark.parametrize("name", RULES)
def test_its_rule_is_told_and_judged(tmp_path, name):
    update, used, kind = RULES[name]
    layer = target(tmp_path, update, used)
    assert layer.conventions.momentum_sense == ("new" if "other side" in name else "kept")
    assert (layer.conventions.running_var, layer.conventions.running_start) == (kind, "0, 1")
    found = result(layer).judgements
    assert {code: found[code].outcome for code in ("BN301", "BN302", "BN308")} == dict.fromkeys(
        ("BN301", "BN302", "BN308"), Outcome.PASS
    )


def test_averages_of_squares_over_all_batches_trip_nothing(tmp_path):
    update = "self.t += 1\n" + SQUARES.replace("(1 - k)", "(1 / self.t)").replace("k *", "(1 - 1 / self.t) *")
    layer = target(tmp_path, update, HELD)
    assert {f for f in complaints(layer)[0] if f != "BN309"} == set()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("* delta**2", "* delta"), ("(1 - k) * delta**2", "delta**2"), ("(1 - k) * delta**2", "k * delta**2"),
        ("+ (1 - k) * var", "+ (1 - k) * np.sqrt(var)"),
    ],
)  # fmt: skip
def test_a_wrong_path_of_the_mean_fails(tmp_path, old, new):
    assert old in TOTAL
    layer = target(tmp_path, TOTAL.replace(old, new), HELD)
    said = judged("BN301", layer)
    assert said.outcome is Outcome.FAIL
    assert said.message == "the running variance follows neither the biased nor the unbiased variance of the batch"


@pytest.mark.parametrize("name", ["averages of squares", "the path of the mean, unbiased"])
def test_a_rule_that_is_left_on_a_batch_of_one_size_fails(tmp_path, name):
    update, used, _ = RULES[name]
    layer = target(tmp_path, f"{update}self.running_var = self.running_var * (1 + (m == 7) * 1e-6)", used)
    said = judged("BN301", layer)
    assert said.outcome is Outcome.FAIL
    assert said.message.startswith("running_var + running_mean**2 after batch 2 does not follow its rule")


def test_a_rule_that_is_left_after_many_batches_fails(tmp_path):
    update = f"self.t += 1\n{TOTAL.strip()}\nself.running_var = self.running_var * (1 + (self.t > 20) * 1e-4)"
    said = judged("BN308", target(tmp_path, update, HELD))
    assert said.outcome is Outcome.FAIL
    assert said.message.startswith("running_var + running_mean**2 after 50 batches")


@pytest.mark.parametrize("used", ["self.running_mean, self.squares", f"{HELD} + 5"])
def test_eval_mode_is_held_to_it(tmp_path, used):
    assert judged("BN302", target(tmp_path, SQUARES, used)).outcome is Outcome.FAIL


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
@pytest.mark.parametrize("name", SUMS)
def test_sums_that_forget_trip_nothing(tmp_path, name, spec):
    update, kind = SUMS[name]
    layer = target(tmp_path, update, DIVIDED)
    assert (layer.conventions.momentum_sense, layer.conventions.running_var) == ("finished", kind)
    assert layer.conventions.momentum == (0.6 if "number" in name else None)
    assert complaints(layer, spec)[0] - ({"BN309"} if "number" in name else set()) == set()


@pytest.mark.parametrize("used", ["{} * (1 + (len(x) == 7) * 1e-6)", "{} / 2"])
def test_sums_that_forget_and_are_divided_wrongly_are_no_averages(tmp_path, used):
    used = DIVIDED.replace("self.spread / self.count", used.format("self.spread / self.count"))
    layer = target(tmp_path, DECAYED, used)
    assert {"BN302" if "len(x)" in used else "BN301"} <= complaints(layer)[1]


def test_second_moments_are_a_variance_and_the_square_of_its_mean():
    arrays = {
        "mean": np.array([[1.0], [2.0]]), "var": np.array([[3.0], [4.0]]),
        "batch_mean": np.array([[5.0]]), "batch_var": np.array([[6.0]]),
    }  # fmt: skip
    evidence = Evidence("running", arrays, {"m": [4]})
    case = SimpleNamespace(spec=SPEC)
    found = in_moments("var", case, evidence, Conventions("", (), "", "", None, "", running_var="unbiased total"))
    assert found.arrays["var"].tolist() == [[4.0], [8.0]]
    assert found.arrays["batch_var"].tolist() == [[6.0 * 4 / 3 + 25]]
    assert in_moments("mean", case, evidence, Conventions("", (), "", "", None, "", running_var="total")) is evidence
