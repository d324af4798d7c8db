"""The condition under which code fails: faults planted under each kind of condition, and none where there is none."""

import hashlib
import math
import re
from functools import cache

import numpy as np
import pytest
from targets import backward, forward

from bncheck import job
from bncheck.api import verify
from bncheck.case import CaseSpec
from bncheck.condition import MOST_POINTS, Seen, condition_of, separating, trend_of
from bncheck.model import CaseResult, Judgement, Outcome
from bncheck.report import Condition, Finding
from bncheck.session import Gradients
from bncheck.tally import WHOLE


@pytest.fixture(autouse=True, scope="module")
def without_names():
    """Leave the search for the bug's name out: it is no part of this, and takes its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job.Job, "_diagnosed", lambda *_: [])
        yield


def planted(spoil):
    """Return forward and backward of which the gradients go through ``spoil(gradients, x, gamma, eps)``."""

    def bn_forward(x, gamma, beta, eps=1e-5):
        y, cache = forward(x, gamma, beta, eps)
        return y, (cache, x, gamma, eps)

    def bn_backward(dy, cache):
        inner, x, gamma, eps = cache
        return tuple(spoil(backward(dy, inner), x, gamma, eps)[:3])

    return bn_forward, bn_backward


@cache
def findings(spoil):
    """Return what the two oracles say of a planted fault."""
    return verify(*planted(spoil), select=("BN1", "BN2"), cases=140).targets[0].findings


def found(spoil, code):
    return next(finding for finding in findings(spoil) if finding.code == code)


def with_dx(dx, g):
    return Gradients(dx, g.dgamma, g.dbeta)


def odd(g, x, gamma, eps):
    return Gradients(g.dx, g.dgamma * (0.5 if len(x) % 2 else 1.0), g.dbeta)


def above_64(g, x, gamma, eps):
    return with_dx(g.dx * (2 if len(x) > 64 else 1), g)


def negative_gamma(g, x, gamma, eps):
    wide = gamma.reshape(1, -1, *[1] * (x.ndim - 2))
    return with_dx(np.where(wide < 0, -g.dx, g.dx), g)


def large_eps(g, x, gamma, eps):
    return with_dx(g.dx * (1.5 if eps >= 0.1 else 1), g)


def with_gaps(g, x, gamma, eps):
    return with_dx(g.dx * (1 if x.flags.c_contiguous else 1.5), g)


def tail(g, x, gamma, eps):
    dx = g.dx.copy()
    dx[len(x) // 8 * 8 :] *= 2
    return with_dx(dx, g)


def one_channel(g, x, gamma, eps):
    return with_dx(g.dx * (2 if x.shape[1] == 1 else 1), g)


def large_mean(g, x, gamma, eps):
    return with_dx(g.dx * (2 if abs(x.mean()) > 500 else 1), g)


def odd_and_large(g, x, gamma, eps):
    return with_dx(g.dx * (2 if len(x) % 2 and len(x) > 20 else 1), g)


@pytest.mark.parametrize(
    ("spoil", "code", "words", "boundary"),
    [
        (odd, "BN202", "N odd", "fails at N = 3, 5"),
        (above_64, "BN201", "N > 64", "fails from N = 65 on (passes at 64)"),
        (negative_gamma, "BN201", "gamma < 0", "fails with gamma < 0, passes with gamma > 0"),
        (large_eps, "BN201", "eps ≥ 0.1", "fails from eps = 0.1 on (passes at 0.07)"),
        (with_gaps, "BN201", "non-contiguous x", "passes with contiguous arrays"),
        (tail, "BN201", "N not a multiple of 8", ""),
        (one_channel, "BN201", "C = 1", "fails at C = 1 and passes at 2"),
        (large_mean, "BN201", r"\|mean\| ≥", "passes at"),
        (odd_and_large, "BN201", r"N (> 20|≥ 21) and N odd", "fails at N = 21, 23"),
    ],
)
def test_the_condition_of_a_planted_fault_is_named(spoil, code, words, boundary):
    finding = found(spoil, code)
    assert finding.outcome is Outcome.FAIL
    assert re.match(words, finding.condition.words)
    assert finding.condition.failing == finding.condition.having > 0 == finding.condition.failing_others
    assert finding.condition.others > 20
    assert boundary in finding.boundary


def doubled(g, x, gamma, eps):
    return with_dx(2 * g.dx, g)


def halved(g, x, gamma, eps):
    return Gradients(g.dx, g.dgamma / 2, g.dbeta)


def last_channel(g, x, gamma, eps):
    dx = g.dx.copy()
    dx[:, -1] *= 2
    return with_dx(dx, g)


def first_channel(g, x, gamma, eps):
    dgamma = g.dgamma.copy()
    dgamma[0] *= 2
    return Gradients(g.dx, dgamma, g.dbeta)


@pytest.mark.parametrize(
    ("spoil", "code", "place"),
    [
        (last_channel, "BN201", "only in the last channel"),
        (first_channel, "BN202", "only in channel 0"),
        (negative_gamma, "BN201", "only in channels with gamma < 0"),
        (tail, "BN201", "only in rows beyond the last multiple of 8"),
        (doubled, "BN201", ""),
    ],
)
def test_elements_that_alone_are_wrong_are_named(spoil, code, place):
    assert found(spoil, code).place == place


def chance(g, x, gamma, eps):
    return with_dx(g.dx * (2 if hashlib.sha256(x.tobytes()).digest()[0] % 3 == 0 else 1), g)


@pytest.mark.parametrize("spoil", [doubled, halved, last_channel, chance])
def test_no_condition_is_said_where_there_is_none(spoil):
    assert {finding.outcome for finding in findings(spoil)} > {Outcome.FAIL}
    assert not [finding for finding in findings(spoil) if finding.condition is not None]


class Layer:
    """From its second batch on, a layer doubles dx."""

    def __init__(self, gamma, beta, eps=1e-5):
        self.gamma, self.beta, self.eps, self.calls = gamma, beta, eps, 0

    def forward(self, x):
        self.calls += 1
        y, self.cache = forward(x, self.gamma, self.beta, self.eps)
        return y

    def backward(self, dy):
        dx, dgamma, dbeta, _ = backward(dy, self.cache)
        return dx * min(self.calls, 2), dgamma, dbeta


def test_what_fails_from_the_second_call_on_is_said():
    (target,) = verify(Layer, select=("BN1", "BN2", "BN508"), cases=20).targets
    finding = next(f for f in target.findings if f.code == "BN508")
    assert finding.outcome is Outcome.FAIL
    assert finding.condition.words == "from the second call on"


class Late(Layer):
    """From its third batch on, a layer doubles dx."""

    def backward(self, dy):
        dx, dgamma, dbeta, _ = backward(dy, self.cache)
        return dx * (2 if self.calls > 2 else 1), dgamma, dbeta


def test_what_takes_more_steps_than_one_has_no_condition_of_its_own():
    (target,) = verify(Late, select=("BN1", "BN2", "BN508"), cases=20).targets
    finding = next(f for f in target.findings if f.code == "BN508")
    assert finding.outcome is Outcome.FAIL
    assert finding.message == "dx differs between a step of a fresh layer and one after 2 others"
    assert finding.condition is None


# ------------------------------------------------------------------------------------------------------------ counting


def cases(fails, sizes):
    return [Seen(CaseSpec(seed=i, n=n), fails(n), (1.0, 2.0)) for i, n in enumerate(sizes)]


def test_the_simplest_of_equal_properties_wins():
    assert separating(cases(lambda n: n % 2 == 1, range(2, 60))).words == "N odd"
    assert separating(cases(lambda n: n > 30, range(2, 60))).words == "N > 30"
    assert separating(cases(lambda n: n < 9, range(2, 60))).words == "N < 9"
    assert separating(cases(lambda n: n % 2 == 1 and n > 30, range(2, 60))).words == "N > 30 and N odd"


def test_one_size_among_others_is_called_by_its_number():
    assert separating(cases(lambda n: n == 7, [*range(2, 60), 7, 7, 7])).words == "N = 7"
    assert separating(cases(lambda n: n == 5, [*range(5, 60), 5, 5, 5])).words == "N < 6"


def test_nothing_is_said_of_too_few_or_of_all():
    assert separating(cases(lambda n: True, range(2, 60))) is None
    assert separating(cases(lambda n: n == 59, range(2, 60))) is None
    assert separating(cases(lambda n: n > 3, range(2, 60))) is None
    assert separating(cases(lambda n: n > 4, range(2, 8))) is None, "five cases are too few for so many properties"


def test_cases_in_which_nothing_can_be_wrong_are_counted_apart():
    def judged(n, outcome):
        return CaseResult(CaseSpec(n=n, c=3).id, {"BN201": Judgement(outcome, "", "dx", 0.0, 1e-12)})

    found = Finding("BN201", "dx-matches-numeric", Outcome.FAIL, "error", "off", "dx")
    results = [judged(n, Outcome.FAIL if n % 2 else Outcome.PASS) for n in range(3, 63)]
    assert condition_of(found, results, []).sentence == "N odd: in 30 of 30 cases, in 0 of 30 others"
    told = condition_of(found, [*results, judged(1, Outcome.PASS)], [])  # of one value dx is 0, whatever the code does
    assert told.sentence == "N odd: in 30 of 30 cases, in 0 of 30 others (1 cannot show it)"


def judged(seed, n, outcome):
    return CaseResult(CaseSpec(seed=seed, n=n, c=3).id, {"BN101": Judgement(outcome, "", "y", 0.0, 1e-12)})


def test_a_condition_of_a_long_sweep_is_that_of_its_first_cases_and_of_later_failures():
    """A case behind them that passes was kept since it fails elsewhere: it is no counterexample of any weight."""
    found = Finding("BN101", "y-matches-reference", Outcome.FAIL, "error", "off", "y")
    results = [judged(i, 3 + i % 60, Outcome.FAIL if i % 2 == 0 else Outcome.PASS) for i in range(WHOLE)]
    later = [judged(i, 5, Outcome.FAIL) for i in range(WHOLE, WHOLE + 7)]
    beside = [judged(WHOLE + 50, 7, Outcome.PASS)]
    told = condition_of(found, [*results, *later, *beside], [], 5000)
    counts = "in 507 of 507 cases, in 0 of 500 others"
    assert told.sentence == f"N odd: {counts}, of the first 1,000 cases and 7 later failures"
    assert condition_of(found, results, [], 5000).sentence == (
        "N odd: in 500 of 500 cases, in 0 of 500 others, of the first 1,000 cases"
    )
    assert condition_of(found, results, [], WHOLE).sentence == "N odd: in 500 of 500 cases, in 0 of 500 others"


def test_chance_patterns_have_no_condition():
    for key in range(200):
        generator = np.random.default_rng(key)
        failing = set(generator.choice(200, size=generator.integers(3, 12), replace=False).tolist())
        sizes = generator.choice([2, 3, 4, 8, 16, 31, 64, 65, 100, 129, 1000], size=200)
        seen = [
            Seen(CaseSpec(seed=i, n=int(n), c=i % 7 + 1, eps=10.0 ** -(i % 5)), i in failing, (1.0,))
            for i, n in enumerate(sizes)
        ]
        assert separating(seen) is None


# ------------------------------------------------------------------------------------------- errors against a parameter


def swept(fails, sizes=range(1, 21), error=lambda n: 1.0, outcome=Outcome.PASS):
    """Return a finding of BN201, and a sweep over batch sizes in which it fails where `fails` says so."""
    results = [
        CaseResult(
            CaseSpec(n=n, c=2, spatial=(2,), eps=10.0**-n).id,
            {"BN201": Judgement(Outcome.FAIL if fails(n) else outcome, "", "dx", error(n), 0.5)},
        )
        for n in sizes
    ]
    return Finding("BN201", "dx-matches-numeric", Outcome.FAIL, "error", "off", "dx"), results


def test_a_trend_goes_along_the_parameter_of_the_condition_in_ascending_order():
    found, results = swept(lambda n: n > 7, error=lambda n: 4.0 if n > 7 else 0.1)
    trend = trend_of(found, Condition("N > 7", 13, 13, 0, 7), results[::-1])
    assert trend.parameter == "N"
    assert trend.values == tuple(map(float, range(1, 21)))
    assert trend.ratios == (0.2,) * 7 + (8.0,) * 13
    assert trend.failed == (False,) * 7 + (True,) * 13


@pytest.mark.parametrize(
    ("words", "parameter", "last"),
    [
        ("eps ≥ 0.1", "eps", 0.1),
        ("m > 4", "m", 40.0),
        ("N C H W ≥ 9", "N C H W", 80.0),
        ("N odd", "N", 20.0),
        ("N > 3 and eps < 0.1", "N", 20.0),
        ("spatial axes", "spatial axes", 1.0),
        ("gamma < 0", "gamma < 0", 0.0),
        ("in a way that has no name", "m", 40.0),
        ("", "m", 40.0),
    ],
)
def test_which_parameter_a_condition_names(words, parameter, last):
    found, results = swept(lambda n: True)
    trend = trend_of(found, Condition(words, 1, 1, 1, 1) if words else None, results)
    assert (trend.parameter, trend.values[-1]) == (parameter, pytest.approx(last))


def test_a_trend_is_small_and_has_a_failure_without_a_number_as_infinite():
    found, results = swept(lambda n: n % 2 == 0, range(1, 3001), lambda n: None if n % 4 == 0 else 1.0)
    trend = trend_of(found, None, results)
    assert len(trend.values) == len(trend.ratios) == len(trend.failed) <= MOST_POINTS
    assert {math.inf} == {r for n, r in zip(trend.values, trend.ratios, strict=True) if n % 8 == 0}


def test_what_raises_everywhere_has_no_trend():
    found, results = swept(lambda n: True, error=lambda n: None)
    assert trend_of(found, None, results) is None
    found, results = swept(lambda n: True, range(1, 4))
    assert trend_of(found, None, results) is None
