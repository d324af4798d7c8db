"""Running statistics that a forward is given and does not give back: lost ones are named, and no design is accused."""

import pytest

from bncheck import pipeline
from bncheck.adapters.given import BY_DESIGN, RETURNED
from bncheck.executors.in_process import InProcess
from bncheck.report import Verdict
from bncheck.settings import Settings

OPTIONS = """
def bn_forward(x, gamma, beta, bn_param):
    mode, eps = bn_param["mode"], bn_param.get("eps", 1e-5)
    {momentum}
    {held}
    if mode == "train":
        mu, var = x.mean(axis=0), x.var(axis=0)
        {update}
    else:
        mu, var = {asked}
    {store}
    xhat = (x - mu) / np.sqrt(var + eps)
    cache = (xhat, var, gamma, eps)
    return gamma * xhat + beta, {returned}
"""
ARGUMENTS = """
def bn_forward(x, gamma, beta, {arguments}, eps=1e-5, mode="train"{momentum}):
    if mode == "train":
        mu, var = x.mean(axis=0), x.var(axis=0)
        {update}
    else:
        mu, var = {asked}
    xhat = (x - mu) / np.sqrt(var + eps)
    cache = (xhat, var, gamma, eps)
    return gamma * xhat + beta, {returned}
"""
BACKWARD = """

def bn_backward(dout, cache):
    xhat, var, gamma, eps = cache
    dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0)
    dx = gamma / np.sqrt(var + eps) * (dout - dbeta / len(dout) - xhat * dgamma / len(dout))
    return dx, dgamma, dbeta
"""
UPDATE = "rm, rv = {k} * rm + (1 - {k}) * mu, {k} * rv + (1 - {k}) * var"
AVERAGED, LITERAL = UPDATE.format(k="momentum"), UPDATE.format(k="0.99")
IN_OPTIONS = {
    "momentum": "momentum = bn_param.get('momentum', 0.9)",
    "held": "rm, rv = bn_param.get('running_mean', np.zeros(x.shape[1])), bn_param.get('running_var', np.zeros(len(x[0])))",
    "update": AVERAGED,
    "asked": "rm, rv",
    "store": "pass",
    "returned": "cache",
}
IN_ARGUMENTS = {
    "arguments": "running_mean, running_var",
    "momentum": ", momentum=0.9",
    "update": "running_mean = momentum * running_mean + (1 - momentum) * mu",
    "asked": "running_mean, running_var",
    "returned": "cache",
}
STORED = "bn_param['running_mean'], bn_param['running_var'] = rm, rv"
RAISING = {"held": "pass", "asked": "bn_param['running_mean'], bn_param['running_var']"}
FIRST = "rm, rv = bn_param.get('running_mean', 0), bn_param.get('running_var', 0); "
NO_MOMENTUM = {"momentum": "pass", "update": "pass"}
NONE = "running_mean=None, running_var=None"


def in_options(**changes):
    return OPTIONS.format(**IN_OPTIONS | changes) + BACKWARD


def in_arguments(**changes):
    return ARGUMENTS.format(**IN_ARGUMENTS | changes) + BACKWARD


BOTH, MEAN, VAR = (f"{name} never updated in training" for name in ("the running statistics are", *("{} is",) * 2))
MEAN, VAR = MEAN.format("running_mean"), VAR.format("running_var")
LOST = {
    "neither is stored": (in_options(), BOTH),
    "the variance is not stored": (in_options(store="bn_param['running_mean'] = rm"), VAR),
    "the mean is not stored": (in_options(store="bn_param['running_var'] = rv"), MEAN),
    "a momentum that is no argument": (in_options(momentum="pass", update=LITERAL), BOTH),
    "no average is made, with a momentum that is read": (in_options(update="pass"), BOTH),
    "eval mode raises without them": (in_options(**RAISING | {"update": FIRST + AVERAGED}), BOTH),
    "arguments": (in_arguments(), BOTH),
    "arguments that may be left out": (in_arguments(arguments="running_mean=0.0, running_var=1.0"), BOTH),
}


@pytest.mark.parametrize("case", LOST)
def test_statistics_that_are_lost_are_named(write, case):
    source, title = LOST[case]
    report = pipeline.run([write(source)], Settings(cases=12), executor=InProcess())
    (target,) = report.targets
    assert report.verdict is Verdict.FAIL
    assert [d.title for d in target.diagnoses] == [title]
    assert {f.code for f in target.findings if f.outcome == "fail"} == {"BN301"}
    (finding,) = (f for f in target.findings if f.code == "BN301")
    assert finding.message.endswith("not change in training")


DESIGNED = {
    "options with a start": (in_options(**NO_MOMENTUM), BY_DESIGN),
    "options that are needed": (in_options(**NO_MOMENTUM | RAISING), BY_DESIGN),
    "arguments": (in_arguments(momentum="", update="pass"), BY_DESIGN),
    "arguments that may be left out": (in_arguments(arguments=NONE, momentum="", update="pass"), BY_DESIGN),
    "a momentum that nothing reads": (in_arguments(update="pass"), BY_DESIGN),
    "returned in a list": (in_options(returned="cache, [rm, rv]"), RETURNED),
}


@pytest.mark.parametrize("case", DESIGNED)
def test_statistics_that_the_caller_keeps_are_not_judged_and_it_is_said(write, only, case):
    source, note = DESIGNED[case]
    conventions = only(write(source)).conventions
    assert (conventions.momentum_sense, conventions.notes) == ("", (note,))


KEPT = {
    "stored": in_options(store=STORED),
    "returned beside the cache": in_options(returned="cache, running_mean, running_var")
    .replace("rm", "running_mean")
    .replace("rv", "running_var"),
    "returned by arguments that may be left out": in_arguments(
        arguments="running_mean=0.0, running_var=1.0",
        update="running_mean, running_var = "
        + AVERAGED.partition("= ")[2].replace("rm", "running_mean").replace("rv", "running_var"),
        returned="cache, running_mean, running_var",
    ),
}


@pytest.mark.parametrize("case", KEPT)
def test_statistics_that_are_stored_or_returned_follow_their_rule(write, case):
    report = pipeline.run([write(KEPT[case])], Settings(cases=12), executor=InProcess())
    (target,) = report.targets
    assert report.verdict is Verdict.PASS
    assert (target.conventions.momentum_sense, target.conventions.running_var) == ("kept", "biased")
    passing = {f.code for f in target.findings if f.outcome == "pass"}
    assert {"BN301", "BN302", "BN305"} <= passing


NOTHING_GIVEN = {
    "eval mode is training mode": in_options(**NO_MOMENTUM, asked="x.mean(axis=0), x.var(axis=0)"),
    "eval mode is refused": in_options(**NO_MOMENTUM, asked="[][0]"),
    "constants of its own": in_options(**NO_MOMENTUM | {"held": "rm, rv = np.zeros(x.shape[1]), np.ones(x.shape[1])"}),
}


@pytest.mark.parametrize("case", NOTHING_GIVEN)
def test_code_that_takes_no_statistics_is_left_alone(write, only, case):
    conventions = only(write(NOTHING_GIVEN[case])).conventions
    assert conventions.momentum_sense == ""
    acts = case != "eval mode is training mode"
    assert [note.partition(":")[0] for note in conventions.notes] == ["eval mode was not verified"] * acts
