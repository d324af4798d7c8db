"""BN515 on forwards that return statistics of the batch beside y: right ones of every form, wrong and unclear ones."""

from dataclasses import replace

import numpy as np
import pytest
from judging import SPEC, judged

from bncheck.adapters import resolve
from bncheck.adapters.saved import said_of
from bncheck.cases.arrays import build
from bncheck.checks.saved import _is_running, _judged, _spreads
from bncheck.core.truth import truth
from bncheck.model import Outcome, TargetSpec
from bncheck.session import SavedStatistic

SPECS = [SPEC, replace(SPEC, mean=1e6), replace(SPEC, n=2, sd=1e-3), replace(SPEC, constant=1), replace(SPEC, c=1)]
BACKWARD = """

def batchnorm_backward(dy, x, gamma, eps):
    m, mu = len(x), x.mean(axis=0)
    inv = 1 / np.sqrt(((x - mu) ** 2).mean(axis=0) + eps)
    xhat = (x - mu) * inv
    dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
    return gamma * inv * (dy - dbeta / m - xhat * dgamma / m), dgamma, dbeta
"""
FORWARD = """
from collections import namedtuple
import numpy as np

Result = namedtuple("Result", "y save_mean save_invstd")
history = []

def batchnorm_forward(x, gamma, beta, eps):
    mu = x.mean(axis=0)
    v = ((x - mu) ** 2).mean(axis=0)
    out = gamma * (x - mu) / np.sqrt(v + eps) + beta
    {rest}
"""


def said(tmp_path, rest, spec=SPEC):
    path = tmp_path / "bn.py"
    path.write_text(FORWARD.format(rest=rest.replace("\n", "\n    ")) + BACKWARD)
    found = TargetSpec(str(path))
    return judged("BN515", resolve.target(found, resolve.cards(found)[0].name), spec)


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize(
    "rest",
    [
        "return out, mu, v",
        "save_mean, save_invstd = mu, 1 / np.sqrt(v + eps)\nreturn out, save_mean, save_invstd",
        "mean, rstd = mu[None], 1 / np.sqrt(v[None] + eps)\nreturn mean, rstd, out",
        "batch_var = v * len(x) / (len(x) - 1)\nreturn out, batch_var",
        "batch_var = v + eps\nreturn out, batch_var",
        "sigma = np.sqrt(v + eps)\nreturn out, sigma",
        "saved_variance = 1 / np.sqrt(v + eps)\nreturn out, saved_variance",
        "return Result(out, mu, 1 / np.sqrt(v + eps))",
        "return {'y': out, 'save_mean': mu, 'save_std': np.sqrt(v)}",
        "return out, np.float32(0), mu.astype(np.float32)",
    ],
)
def test_right_ones_pass(tmp_path, rest, spec):
    assert said(tmp_path, rest, spec).outcome in (Outcome.PASS, Outcome.SKIP)


@pytest.mark.parametrize("rest", ["mean, var = mu, v\nreturn out, mean, var", "return {'out': out, 'batch_mean': mu}"])
def test_right_ones_are_judged(tmp_path, rest):
    assert said(tmp_path, rest).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("save_mean = x.sum(axis=0)\nreturn out, save_mean", "save_mean is not the mean"),
        ("inv_std = np.sqrt(v + eps)\nreturn out, mu, inv_std", "inv_std is not the inverse"),
        ("save_var = x.var(axis=0).mean() + 0 * mu\nreturn out, mu, save_var", "save_var is not"),
        ("return Result(out, mu, np.sqrt(v))", "save_invstd is not"),
        ("return {'y': out, 'batch_mean': -mu}", "batch_mean is not"),
    ],
)
def test_wrong_ones_fail(tmp_path, rest, words):
    judgement = said(tmp_path, rest)
    assert judgement.outcome is Outcome.FAIL
    assert words in judgement.message


@pytest.mark.parametrize(
    "rest", ["mean = x.sum(axis=0)\nreturn out, mean", "save_std = v\nreturn out, save_std"], ids=["plain", "misnomer"]
)
def test_names_that_say_too_little_are_warned_of(tmp_path, rest):
    assert said(tmp_path, rest).outcome is Outcome.WARN


@pytest.mark.parametrize(
    "rest",
    [
        "mean = 0.1 * mu\nreturn out, mean",
        "var = 0.9 + 0.1 * v\nreturn out, var",
        "history.append(1)\nsave_mean = mu * len(history)\nreturn out, save_mean",
        "mean = 2 * mu\nreturn out, (mean, v)",
        "cache = {'mean': 2 * mu}\nreturn out, cache",
        "new_mean = 0.3 * mu\nreturn out, new_mean",
        "mean = x - mu\nreturn out, mean",
    ],
)
def test_what_may_be_another_thing_is_not_judged(tmp_path, rest):
    assert said(tmp_path, rest).outcome is Outcome.SKIP


@pytest.mark.parametrize(
    ("name", "kind", "certain"),
    [
        ("mean", "mean", False), ("save_mean", "mean", True), ("mu_B", "mean", False), ("batchMean", "mean", True),
        ("var", "spread", False), ("sigma2", "spread", False), ("sample_var", "spread", True),
        ("std", "std", False),
        ("rstd", "inverse", True), ("inv_std", "inverse", True), ("ivar", "inverse", True),
        ("r_sigma", "inverse", True),
        ("inv_sqrt_var", "inverse", True), ("std_inv", "inverse", True), ("saved_invstd", "inverse", True),
    ],
)  # fmt: skip
def test_names(name, kind, certain):
    assert said_of(name) == (kind, certain)


@pytest.mark.parametrize("name", ["running_mean", "x_hat", "dmean", "new_var", "mean_dy", "moving_var", "eps", "m"])
def test_names_of_other_things(name):
    assert said_of(name) is None


U = 2.0**-53
SPREADS = {
    "variance": lambda var: var,
    "standard deviation": np.sqrt,
    "inverse standard deviation": lambda var: 1 / np.sqrt(var),
}


@pytest.mark.parametrize("form", SPREADS)
def test_a_spread_is_known_to_a_few_digits_in_six_forms(form):
    """Over m and m - 1; eps within, none, or added behind the root (and before the inverse)."""
    case = build(SPEC)
    var, eps, m = truth(case).forward.var, SPEC.eps, SPEC.m
    found = list(_spreads(case, U, form))
    wanted = []
    for factor in (1.0, m / (m - 1)):
        plain = ((0.0, 0.0), (eps, 0.0)) if form == "variance" else ((eps, 0.0), (0.0, 0.0))
        for inner, outer in (*plain, (0.0, eps)):
            spread = factor * var + inner
            root = spread if form == "variance" else np.sqrt(spread)
            wanted.append(1 / (root + outer) if "inverse" in form else root + outer)
    assert len(found) == len(wanted)
    for (low, high), want in zip(found, wanted, strict=True):
        assert (low < want).all()
        assert (want < high).all()
        assert (high - low <= 1e-13 * want).all()  # a few hundred roundings
        assert ((want - low) / (high - want)).min() > 0.2  # to either side
        assert ((want - low) / (high - want)).max() < 5


@pytest.mark.parametrize("start", [0.0, 1.0])
@pytest.mark.parametrize("kept", [0.0, 0.9, 1.0])
def test_a_mix_of_the_batch_and_a_start_may_be_a_running_statistic(start, kept):
    batch = np.array([3.0, -2.0, 5.0])
    assert _is_running(kept * start + (1 - kept) * batch, batch)
    assert _is_running(kept * start + (1 - kept) * batch + 1e-5 * kept * (1 - kept), batch)
    assert not _is_running(kept * start + (1 - kept) * batch + np.array([0.0, 0.01, 0.0]), batch)


@pytest.mark.parametrize("kept", [-0.5, 1.5])
def test_what_is_no_mean_of_batch_and_start_is_no_running_statistic(kept):
    batch = np.array([3.0, -2.0, 5.0])
    assert not _is_running((1 - kept) * batch, batch)


def test_of_one_number_any_may_be_a_running_statistic():
    assert _is_running(np.array([7.0]), np.array([3.0]))
    assert not _is_running(np.array([7.0, 3.5]), np.array([3.0, 3.0]))


@pytest.mark.parametrize(
    ("rest", "name", "right"),
    [
        ("save_mean = mu.copy()\nsave_mean[1] += 0.5\nreturn out, save_mean", "save_mean", lambda f: f.mu),
        ("save_var = v.copy()\nsave_var[1] += 0.5\nreturn out, save_var", "save_var", lambda f: f.var),
        ("rstd = 1 / np.sqrt(v + eps)\nrstd[1] -= 0.25\nreturn out, rstd", "rstd", lambda f: f.inv_std),
    ],
)
def test_a_wrong_one_is_told_with_its_worst_channel(tmp_path, rest, name, right):
    judgement = said(tmp_path, rest)
    want = right(truth(build(SPEC)).forward)[1]
    assert (judgement.tensor, judgement.index) == (name, (1,))
    assert judgement.want == pytest.approx(want, rel=1e-9)
    assert judgement.error == pytest.approx(0.25 if name == "rstd" else 0.5, rel=1e-9)
    assert 0 < judgement.allowed < 1e-12
    if name != "save_mean":
        low, high = next(_spreads(build(SPEC), U, "variance" if name == "save_var" else "inverse standard deviation"))
        assert judgement.allowed == pytest.approx((high - low)[1] / 2, rel=1e-6, abs=0)


def test_a_channel_that_is_not_a_number_is_the_worst(tmp_path):
    judgement = said(tmp_path, "save_mean = mu.copy()\nsave_mean[0] += 9\nsave_mean[2] = np.nan\nreturn out, save_mean")
    assert (judgement.outcome, judgement.index) == (Outcome.FAIL, (2,))


MAPS = build(replace(SPEC, spatial=(2, 3), mean=3.0))
FAR = build(replace(SPEC, mean=100.0, dtype="float32"))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("mean", lambda x: x.mean(axis=(0, 2, 3))),
        ("spread", lambda x: x.var(axis=(0, 2, 3))),
        ("inverse", lambda x: 1 / np.sqrt(x.var(axis=(0, 2, 3)) + SPEC.eps)),
    ],
)
def test_statistics_of_maps_are_those_over_batch_and_space(kind, value):
    assert _judged(MAPS, SavedStatistic("save", kind, True, value(MAPS.x))).outcome is Outcome.PASS
    wrong = value(MAPS.x) * (1 + 1e-12)
    assert _judged(MAPS, SavedStatistic("save", kind, True, wrong)).outcome is Outcome.FAIL


def test_a_variance_in_one_pass_is_the_batch_s_as_far_as_its_digits_go():
    one_pass = (FAR.x * FAR.x).mean(axis=0) - FAR.x.mean(axis=0) ** 2
    assert (
        np.abs(one_pass / FAR.x.astype(np.float64).var(axis=0) - 1).max() > 1e-3
    )  # two passes are a thousand times better
    assert _judged(FAR, SavedStatistic("save_var", "spread", True, one_pass)).outcome is Outcome.PASS


def test_a_variance_may_be_off_by_as_much_on_either_side():
    var = truth(FAR).forward.var
    low, high = next(_spreads(FAR, 2.0**-24, "variance"))
    assert ((high - var) > 10 * 2.0**-24 * var).all()  # it is the digits lost at a large mean, not the last rounding
    assert (low > 0).all()
    np.testing.assert_allclose(var - low, high - var, rtol=1e-2)


@pytest.mark.parametrize("kind", ["mean", "spread", "std"])
def test_mean_and_spread_of_zeros_are_zero(kind):
    zeros = replace(MAPS, x=np.zeros_like(MAPS.x))
    assert _judged(zeros, SavedStatistic("save", kind, True, np.zeros(3))).outcome is Outcome.PASS
    assert _judged(zeros, SavedStatistic("save", kind, True, np.ones(3))).outcome is not Outcome.PASS


def test_statistics_in_float32_beside_float64_data_may_err_by_float32():
    double, single = (
        _judged(MAPS, SavedStatistic("save_mean", "mean", True, np.full(3, 100.0, dtype)))
        for dtype in (np.float64, np.float32)
    )
    assert single.allowed / double.allowed == pytest.approx(2.0**-24 / 2.0**-53, rel=1e-3)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("case", [MAPS, FAR], ids=["maps", "far"])
def test_the_allowed_error_that_is_told_of_a_mean_is_the_one_that_decides(case, sign):
    mean = case.x.astype(np.float64).mean(axis=case.axes)

    def off(by):
        return _judged(case, SavedStatistic("save_mean", "mean", True, mean + sign * by * np.eye(len(mean))[1]))

    allowed = off(1.0).allowed
    assert off(0.9 * allowed).outcome is Outcome.PASS
    assert off(1.1 * allowed).outcome is Outcome.FAIL


def test_an_inverse_without_eps_is_infinite_where_a_channel_is_constant():
    case = build(replace(SPEC, constant=1))
    with np.errstate(divide="ignore"):
        inverse = 1 / case.x.std(axis=0)
    assert np.isinf(inverse[0])
    assert _judged(case, SavedStatistic("invstd", "inverse", True, inverse)).outcome is Outcome.PASS
    inverse[1] = np.inf
    assert _judged(case, SavedStatistic("invstd", "inverse", True, inverse)).outcome is Outcome.FAIL
