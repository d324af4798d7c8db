"""Conventions of running statistics, measured on code that is right: none may be called wrong, or what it is not."""

import pytest

from bncheck import pipeline
from bncheck.executors.in_process import InProcess
from bncheck.model import Outcome
from bncheck.report import Verdict
from bncheck.settings import Settings

LAYER = """
class BatchNorm:
    def __init__(self, n, eps=1e-5{arguments}):
        self.gamma, self.beta, self.eps = np.ones(n), np.zeros(n), eps
        self.running_mean, self.running_var = np.zeros(n{kind}), np.ones(n{kind})
        self.t = 0
        {init}

    def forward(self, x, train=True):
        mu, var = (x.mean(axis=0), x.var(axis=0)) if train else (self.running_mean, {evaluated})
        m = x.shape[0]
        if train:
            self.t += 1
            self.running_mean = ({k} * self.running_mean + (1 - {k}) * mu).astype(self.running_mean.dtype)
            self.running_var = ({k} * self.running_var + (1 - {k}) * {taken}).astype(self.running_var.dtype)
        self.s = np.sqrt(var + self.eps)
        self.xhat = (x - mu) / self.s
        return self.gamma * self.xhat + self.beta

    def backward(self, d):
        self.dgamma, self.dbeta = (d * self.xhat).sum(axis=0), d.sum(axis=0)
        g = d * self.gamma
        return (g - g.mean(axis=0) - self.xhat * (g * self.xhat).mean(axis=0)) / self.s
"""
PLAIN = {"arguments": "", "kind": "", "init": "pass", "evaluated": "self.running_var", "k": "0.9", "taken": "var"}
UNBIASED = "var * m / max(m - 1, 1)"
RIGHT = {
    "a literal": ({}, "fixed", "biased"),
    "a literal of many digits": ({"k": "(1 - 1 / 128)"}, "fixed", "biased"),
    "a third": ({"k": "(1 / 3)"}, "fixed", "biased"),
    "a float32 attribute": ({"init": "self.r = np.float32(0.1)", "k": "(1 - self.r)"}, "fixed", "biased"),
    "an attribute that comes in": ({"init": "self.rate = 0.1", "k": "(1 - self.rate)"}, "new", "biased"),
    "momentum kept": ({"arguments": ", momentum=0.9", "init": "self.m = momentum", "k": "self.m"}, "kept", "biased"),
    "unbiased": ({"taken": UNBIASED}, "fixed", "unbiased"),
    "cumulative": ({"k": "((self.t - 1) / self.t)"}, "cumulative", "biased"),
    "float32 statistics": ({"kind": ", dtype='f'"}, "fixed", "biased"),
    "float32 statistics, slow": ({"kind": ", dtype='f'", "k": "0.9999"}, "fixed", "biased"),
    "a warm-up": ({"k": "min(0.9, self.t / (self.t + 3))"}, "changing", ""),
    "a warm-up to a cap": ({"k": "min(0.99, self.t / (self.t + 1))"}, "changing", ""),
    "an average that begins to forget": ({"k": "(1 - max(1 / (self.t + 1), 0.001))"}, "changing", ""),
    "an average whose first batch is left out": (
        {"k": "(1 if self.t == 1 else (self.t - 2) / (self.t - 1))"},
        "changing",
        "",
    ),
    "a power down to a floor": ({"k": "(1 - max(0.5**self.t, 0.01))"}, "changing", ""),
    "a momentum that begins later": (
        {"arguments": ", momentum=0.1", "init": "self.m = momentum", "k": "(1 - max(self.m, 1 / self.t))"},
        "changing",
        "",
    ),
    "an average over batches until the momentum": (
        {"arguments": ", momentum=0.9", "init": "self.m = momentum", "k": "min(self.m, 1 - 1 / self.t)"},
        "changing",
        "",
    ),
    "an average over batches until a tenth comes in": ({"k": "(1 - max(1 / self.t, 0.1))"}, "changing", ""),
    "an average over batches until a thousandth comes in": ({"k": "(1 - max(1 / self.t, 0.001))"}, "changing", ""),
    "corrected in inference": ({"evaluated": "self.running_var * m / max(m - 1, 1)"}, "fixed", "biased"),
}


def verified(spec, **settings):
    return pipeline.run([spec], Settings(cases=12, **settings), executor=InProcess())


@pytest.mark.parametrize("case", RIGHT)
def test_right_statistics_are_named_and_not_accused(write, case):
    changes, sense, var = RIGHT[case]
    report = verified(write(LAYER.format(**PLAIN | changes)))
    (target,) = report.targets
    assert (target.conventions.momentum_sense, target.conventions.running_var) == (sense, var)
    failing = {f.code for f in target.findings if f.outcome == "fail"}
    # What m is in inference is another batch's: only the first case's own m agrees with it.
    assert not failing - ({"BN302"} if case == "corrected in inference" else set())


WRONG = {
    "the deviation": {"taken": "np.sqrt(var)"},
    "the mean": {"taken": "mu"},
    "the last batch": {"k": "0.0"},
    "never updated": {"k": "1.0"},
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_statistics_fail(write, case):
    report = verified(write(LAYER.format(**PLAIN | WRONG[case])))
    assert report.verdict is Verdict.FAIL
    assert "BN301" in {f.code for f in report.targets[0].findings if f.outcome == "fail"}


@pytest.mark.parametrize("kept", ["min(0.9, 1 - 1 / self.t)", "min(self.m, 1 - 1 / self.t)"])
def test_a_wrong_eval_mode_fails_whatever_the_averages_come_to(write, kept):
    changes = {"arguments": ", momentum=0.9", "init": "self.m = momentum", "k": kept}
    report = verified(write(LAYER.format(**PLAIN | changes | {"evaluated": "5 * np.ones(x.shape[1])"})))
    assert "BN302" in {f.code for f in report.targets[0].findings if f.outcome == "fail"}


def test_an_average_over_all_batches_that_stops_after_some_is_none_that_forgets(write):
    report = verified(write(LAYER.format(**PLAIN | {"k": "(1 - 1 / self.t if self.t < 20 else 1)"})))
    assert report.targets[0].conventions.momentum_sense == "cumulative"
    assert "BN308" in {f.code for f in report.targets[0].findings if f.outcome == "fail"}


@pytest.mark.parametrize(("taken", "code"), [("np.sqrt(var)", "BUG624"), ("mu**2", "BUG626")])
def test_a_wrong_variance_behind_a_warm_up_to_a_floor_is_told(write, taken, code):
    k = {"k": "(1 - max(1 / self.t, 0.1))"}
    assert verified(write(LAYER.format(**PLAIN | k))).verdict is Verdict.PASS
    (target,) = verified(write(LAYER.format(**PLAIN | k | {"taken": taken}))).targets
    assert {d.code for d in target.diagnoses} == {code}


def test_a_literal_fraction_has_no_sense_that_a_profile_could_object_to(write):
    spec = write(LAYER.format(**PLAIN | {"taken": UNBIASED}))
    assert verified(spec, profile="pytorch").verdict is Verdict.PASS
    assert verified(spec, profile="keras").verdict is Verdict.FAIL


MOMENTUM = {"init": "self.m = momentum", "k": "self.m"}
FLIPPED = {
    "kept": (MOMENTUM | {"arguments": ", momentum=0.9"}, "kept"),
    "new": (MOMENTUM | {"arguments": ", momentum=0.1", "k": "(1 - self.m)"}, "new"),
    "an attribute": ({"init": "self.rate = 0.05", "k": "(1 - self.rate)"}, "new"),
    "a literal": ({}, "fixed"),
}


@pytest.mark.parametrize("line", ["running_mean", "running_var"])
@pytest.mark.parametrize("case", FLIPPED)
def test_the_line_that_has_mixed_up_the_sides_is_the_one_that_forgets(write, case, line):
    changes, sense = FLIPPED[case]
    text = LAYER.format(**PLAIN | changes)
    k = (PLAIN | changes)["k"]
    (right,) = [row for row in text.splitlines() if f"self.{line} = (" in row]
    wrong = right.replace(f"({k} * ", "(kept * ").replace(f"(1 - {k}) * ", f"{k} * ").replace("kept", f"(1 - {k})")
    (target,) = verified(write(text.replace(right, wrong))).targets
    assert target.conventions.momentum_sense == sense
    (found,) = target.diagnoses
    other = {"running_mean": "running_var", "running_var": "running_mean"}[line]
    assert found.title == f"{line} has momentum on the other side than {other}"
    assert found.tensor == line


@pytest.mark.parametrize(
    ("default", "k", "noted"),
    [
        ("0.9", "self.m", None),
        ("0.1", "(1 - self.m)", None),
        ("0.1", "self.m", "90%"),
        ("0.8", "(1 - self.m)", "80%"),
    ],
)
def test_a_default_momentum_by_which_most_is_new_is_warned_of(write, default, k, noted):
    (target,) = verified(
        write(LAYER.format(**PLAIN | MOMENTUM | {"arguments": f", momentum={default}", "k": k}))
    ).targets
    said = [found.message for found in target.findings if found.code == "BN704" and found.outcome is Outcome.WARN]
    assert [message.split(" of the running")[0] for message in said] == (
        [] if noted is None else [f"by the default momentum of {default}, {noted}"]
    )


def test_the_usual_momentum_of_a_dict_of_options_tells_the_line_too(write):
    text = """
def batchnorm_forward(x, gamma, beta, bn_param):
    eps, m = bn_param.get("eps", 1e-5), bn_param.get("momentum", 0.9)
    rm = bn_param.get("running_mean", np.zeros(x.shape[1]))
    rv = bn_param.get("running_var", np.zeros(x.shape[1]))
    if bn_param["mode"] == "train":
        mu, var = x.mean(axis=0), x.var(axis=0)
        rm = (1 - m) * rm + m * mu
        rv = m * rv + (1 - m) * var
    else:
        mu, var = rm, rv
    s = np.sqrt(var + eps)
    xhat = (x - mu) / s
    bn_param["running_mean"], bn_param["running_var"] = rm, rv
    return gamma * xhat + beta, (xhat, gamma, s)

def batchnorm_backward(d, cache):
    xhat, gamma, s = cache
    g = d * gamma
    dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / s
    return dx, (d * xhat).sum(axis=0), d.sum(axis=0)
"""
    (target,) = verified(write(text)).targets
    assert [d.tensor for d in target.diagnoses] == ["running_mean"]


COUNTED = {
    "one too many": ("(self.t / (self.t + 1))", "one batch too many"),
    "one too few": ("(max(self.t - 2, 0) / max(self.t - 1, 1))", "one batch too few"),
    "sides changed": ("(1 / self.t)", "the old value as the new one"),
}


@pytest.mark.parametrize("case", COUNTED)
def test_an_average_over_batches_that_miscounts_them_is_named(write, case):
    k, said = COUNTED[case]
    (target,) = verified(write(LAYER.format(**PLAIN | {"k": k}))).targets
    (rule,) = [f for f in target.findings if f.code == "BN301"]
    assert (rule.outcome, rule.message) == (
        "fail",
        f"the running statistics average over all batches, and count {said}",
    )
    assert [found.code for found in target.diagnoses] == ["BUG608"]


def test_a_correction_of_the_start_is_no_fault(write):
    k = "(0.9 * (1 - 0.9 ** (self.t - 1)) / (1 - 0.9 ** self.t))"  # what Adam's correction makes of 0.9
    report = verified(write(LAYER.format(**PLAIN | {"k": k})))
    assert report.verdict is Verdict.PASS
    assert report.targets[0].conventions.momentum_sense == "changing"


UNNAMED = """
class PaperBN:
    def __init__(self, width, eps=1e-5):
        self.g, self.b, self.eps, self.k = np.ones(width), np.zeros(width), eps, 0
        self.Ex, self.Ev = np.zeros(width), np.zeros(width)
        self.training = True

    def __call__(self, u):
        if not self.training:
            return self.g * (u - {mean}) / np.sqrt({var} + self.eps) + self.b
        mu, var = u.mean(0), u.var(0)
        self.k += 1
        self.Ex = self.Ex + {came} {count}
        self.Ev = self.Ev + {spread} {count}
        self.r = 1 / np.sqrt(var + self.eps)
        self.h = (u - mu) * self.r
        return self.g * self.h + self.b

    def grad(self, d):
        self.dg, self.db = (d * self.h).sum(0), d.sum(0)
        return self.g * self.r * (d - (self.db + self.h * self.dg) / len(d))
"""
HELD = {"mean": "self.Ex", "var": "self.Ev", "came": "(mu - self.Ex)", "spread": "(var - self.Ev)", "count": "/ self.k"}
ADDED = {"came": "mu", "spread": "var", "count": ""}


@pytest.mark.parametrize(
    ("changes", "named"),
    [(ADDED, "BUG606"), ({"count": "/ (self.k + 1)"}, "BUG608"), ({"spread": "(var * var - self.Ev)"}, "BUG630")],
)
def test_statistics_that_eval_mode_takes_are_found_by_that_whatever_rule_they_follow(write, changes, named):
    (target,) = verified(write(UNNAMED.format(**HELD | changes))).targets
    assert "BN301" in {f.code for f in target.findings if f.outcome == "fail"}
    assert [found.code for found in target.diagnoses] == [named]


@pytest.mark.parametrize(
    ("changes", "sense"),
    [({}, "cumulative"), (ADDED | {"mean": "self.Ex / self.k", "var": "self.Ev / self.k"}, "finished")],
)
def test_statistics_of_any_name_that_are_averages_are_not_accused(write, changes, sense):
    report = verified(write(UNNAMED.format(**HELD | changes)))
    assert report.verdict is Verdict.PASS
    assert report.targets[0].conventions.momentum_sense == sense
