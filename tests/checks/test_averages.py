"""Averages over all batches that are worked out when inference begins, variances of all values, deviations kept."""

import textwrap
from dataclasses import replace

import numpy as np
import pytest
from judging import SPEC, SPECS, complaints, judged, roots
from layers import Keeping

from bncheck.adapters import resolve
from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.evaluation import _averages_used, _used, _what_eval_does, statistics_held
from bncheck.model import Evidence, Outcome, TargetSpec

LAYER = """
import numpy as np


class BatchNorm:
    def __init__(self, d, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(d), np.zeros(d), eps
        {start}

    def forward(self, x, training=True):
        self.training = training
        if training:
            mu, var, m = x.mean(0), x.var(0), len(x)
            {update}
        else:
            {finish}
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
SUMS = (
    "self.running_mean, self.running_var, self.count = np.zeros(d), np.zeros(d), 0",
    "self.running_mean, self.running_var = self.running_mean + mu, self.running_var + var\nself.count += 1",
    "mu, var = self.running_mean / self.count, self.running_var / self.count",
)
LISTS = (
    "self.seen = []",
    "self.seen.append((mu, var * m / max(m - 1, 1)))",
    "mu, var = (np.mean(values, axis=0) for values in zip(*self.seen))",
)
FINISHED = (
    "self.sums, self.n = np.zeros((2, d)), 0\nself.running_mean, self.running_var = np.zeros(d), np.ones(d)",
    "self.sums = self.sums + m * np.array([mu, var])\nself.n += m",
    "mu, var = self.running_mean, self.running_var = self.sums / self.n",
)
OF_VALUES = (
    "self.total, self.squares, self.n = np.zeros(d), np.zeros(d), 0",
    "self.total, self.squares = self.total + x.sum(0), self.squares + (x * x).sum(0)\nself.n += m",
    "mu = self.total / self.n\nvar = np.maximum(self.squares / self.n - mu**2, 0)",
)
POOLED = (
    "self.running_mean, self.running_var, self.n = np.zeros(d), np.zeros(d), 0",
    "n, delta = self.n + m, mu - self.running_mean\n"
    "self.running_var = (self.running_var * self.n + var * m + delta**2 * self.n * m / n) / n\n"
    "self.running_mean = self.running_mean + delta * m / n\n"
    "self.n = n",
    "mu, var = self.running_mean, self.running_var",
)
ROW_BY_ROW = (
    "self.running_mean, self.running_var, self.m2, self.n = np.zeros(d), np.ones(d), np.zeros(d), 0",
    "for row in x:\n"
    "    self.n += 1\n"
    "    delta = row - self.running_mean\n"
    "    self.running_mean = self.running_mean + delta / self.n\n"
    "    self.m2 = self.m2 + delta * (row - self.running_mean)\n"
    "self.running_var = self.m2 / max(self.n - 1, 1)",
    "mu, var = self.running_mean, self.running_var",
)
DEVIATION = (
    "self.running_mean, self.running_std = np.zeros(d), np.ones(d)",
    "self.running_mean = 0.9 * self.running_mean + 0.1 * mu\n"
    "self.running_std = 0.9 * self.running_std + 0.1 * np.sqrt(var + self.eps)",
    "mu, var = self.running_mean, self.running_std**2 - self.eps",
)
LAST = ("self.kept = None", "self.kept = mu, var", "mu, var = self.kept")
RIGHT = {
    "sums": SUMS, "lists": LISTS, "finished": FINISHED, "values": OF_VALUES, "pooled": POOLED, "rows": ROW_BY_ROW,
    "deviation": DEVIATION,
}  # fmt: skip


def target(folder, parts):
    start, update, finish = (
        textwrap.indent(text, " " * by).lstrip() for text, by in zip(parts, (8, 12, 12), strict=True)
    )
    path = folder / "bn.py"
    path.write_text(LAYER.format(start=start, update=update, finish=finish))
    found = TargetSpec(str(path))
    return resolve.target(found, resolve.cards(found)[0].name)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.id)
@pytest.mark.parametrize("name", RIGHT)
def test_a_right_layer_trips_nothing(tmp_path, name, spec):
    assert complaints(target(tmp_path, RIGHT[name]), spec)[0] == set()


@pytest.mark.parametrize(
    ("name", "sense", "variance"),
    [
        ("sums", "finished", "biased"), ("lists", "finished", "unbiased"), ("finished", "finished", "biased"),
        ("values", "finished", "pooled"), ("pooled", "cumulative", "pooled"), ("rows", "cumulative", "pooled"),
    ],
)  # fmt: skip
def test_the_convention_is_told_and_judged(tmp_path, name, sense, variance):
    layer = target(tmp_path, RIGHT[name])
    assert (layer.conventions.momentum_sense, layer.conventions.running_var) == (sense, variance)
    assert judged("BN302", layer).outcome is Outcome.PASS
    assert judged("BN310", layer).outcome in (Outcome.PASS, Outcome.SKIP)


@pytest.mark.parametrize("name", ["pooled", "rows"])
def test_a_variance_of_all_values_is_judged_exactly(tmp_path, name):
    layer = target(tmp_path, RIGHT[name])
    assert judged("BN301", layer, replace(SPEC, mean=100.0)).outcome is Outcome.PASS


def test_a_deviation_that_is_kept_is_said(tmp_path):
    assert any("standard deviation is kept" in note for note in target(tmp_path, DEVIATION).conventions.notes)


def changed(parts, place, old, new):
    assert old in parts[place]
    return (*parts[:place], parts[place].replace(old, new), *parts[place + 1 :])


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        (changed(POOLED, 1, " * self.n * m / n", " * m / n"), "BN301"),
        (changed(POOLED, 1, " * m / n) / n", " * m / (n + (m == 7) * 1e-6)) / n"), "BN301"),
        (changed(SUMS, 2, "running_var / self.count", "running_var"), "BN301"),
        (changed(FINISHED, 2, "self.n", "(self.n + 1e-6 * (len(x) == 7))"), "BN302"),
        (LAST, "BN301"),
    ],
    ids=["path between means", "a millionth", "not divided", "a millionth in inference", "last batch"],
)
def test_wrong_ones_fail(tmp_path, parts, code):
    assert code in roots(target(tmp_path, parts))


# ------------------------------------------------------------------------------------------------------ numbers by hand


def in_inference(batches, x, mean, var, eps=0.1, momentum=0.9, told=None):
    """Return what is said of the y that given averages make of x, after batches of two channels."""
    case = build(CaseSpec(n=len(x), c=2, eps=eps, momentum=momentum))
    case = replace(case, x=x, gamma=np.array([2.0, -0.5]), beta=np.array([0.0, 3.0]))
    own = {
        "batch_mean": np.array([b.mean(axis=0) for b in batches]),
        "batch_var": np.array([b.var(axis=0) for b in batches]),
    }
    y = case.gamma * (x - mean) / np.sqrt(var + eps) + case.beta
    facts = {
        "m": [len(b) for b in batches],
        "conventions": Keeping().told(momentum_sense="finished", momentum=told).conventions,
    }
    evidence = Evidence("running", own | {"x": x, "y": y, "precision": np.zeros(1)}, facts)
    return _averages_used(case, evidence)


RNG = np.random.default_rng(4)
BATCHES = [RNG.normal([1.0, -2.0], [1.0, 3.0], size=(m, 2)) for m in (4, 7, 2)]
EVERY = np.concatenate(BATCHES)
X = RNG.normal(size=(5, 2))
ALIKE = np.mean([b.mean(axis=0) for b in BATCHES], axis=0)


@pytest.mark.parametrize(
    "var",
    [
        np.mean([b.var(axis=0) for b in BATCHES], axis=0),
        np.mean([b.var(axis=0, ddof=1) for b in BATCHES], axis=0),
        np.average([b.var(axis=0) for b in BATCHES], axis=0, weights=[4, 7, 2]),
        np.average([b.var(axis=0, ddof=1) for b in BATCHES], axis=0, weights=[4, 7, 2]),
        EVERY.var(axis=0),
        EVERY.var(axis=0, ddof=1),
        ALIKE,
        0.999 * EVERY.var(axis=0),
    ],
    ids=["batches", "batches, unbiased", "values", "values, unbiased", "pooled", "pooled, unbiased", "mean", "less"],
)
@pytest.mark.parametrize(
    "mean",
    [ALIKE, EVERY.mean(axis=0), np.mean([b.var(axis=0) for b in BATCHES], axis=0), ALIKE + 1e-6],
    ids=["batches", "values", "variance", "off"],
)
def test_averages_are_those_of_batches_or_of_values(request, mean, var):
    means, variances = request.node.callspec.id.split("-")
    # Either may be weighted by the batches or by their values, but both alike; a variance of all values goes with both.
    right = means == variances.split(",")[0] or (means in ("batches", "values") and variances.startswith("pooled"))
    used = in_inference(BATCHES, X, mean, np.abs(var))
    assert used.fits == right
    np.testing.assert_allclose(used.mean, mean if right else ALIKE, rtol=1e-12)


def forgetting(share, counts):
    """Return mean and variance of batches of which each counts that share of the next; by means, and of all values."""
    weights = np.array([share**2, share, 1.0]) * counts
    mean = np.average([b.mean(axis=0) for b in BATCHES], axis=0, weights=weights)
    var = np.average([b.var(axis=0) for b in BATCHES], axis=0, weights=weights)
    pooled = np.average([((b - mean) ** 2).mean(axis=0) for b in BATCHES], axis=0, weights=weights)
    return mean, var, pooled


@pytest.mark.parametrize("counts", [(1, 1, 1), (4, 7, 2)], ids=["batches", "values"])
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_earlier_batches_may_count_less_by_the_momentum_or_what_it_leaves(share, counts):
    mean, var, pooled = forgetting(share, counts)
    for one in (var, pooled):
        assert in_inference(BATCHES, X, mean, one, momentum=0.3).fits
        assert not in_inference(BATCHES, X, mean, one, momentum=0.25).fits
        assert in_inference(BATCHES, X, mean, one, told=share).fits
        # A share that is measured is the only one.
        assert not in_inference(BATCHES, X, mean, one, momentum=0.3, told=0.9).fits
    later_less, of_it, _ = forgetting(1 / share, counts)
    assert not in_inference(BATCHES, X, later_less, of_it, momentum=0.3).fits


def test_averages_may_err_by_the_largest_value_of_their_channel():
    """Each of 3000 values is added with a rounding, twice: xhat is off by that share of the largest value, in sd.

    A variance in one pass errs by the square of the largest value, (2 peak)**2, and half of that is the share of xhat
    and more.
    """
    peaks, u = np.array([4.0, 64.0]), 2.0**-53
    batch = np.where(np.arange(1000)[:, None] % 2, peaks, 0.0)  # mean and sd are half of the largest
    used = in_inference([batch] * 3, batch, peaks / 2, peaks**2 / 4, eps=0.5)
    inv_std = 1 / np.sqrt(peaks**2 / 4 + 0.5)
    shift, share = 2 * 3000 * u * peaks * inv_std, 2 * 3000 * u * (2 * peaks * inv_std) ** 2
    expected = np.array([2.0, 0.5]) * (shift + share * peaks / 2 * inv_std)
    np.testing.assert_allclose(used.allowed, np.broadcast_to(expected, used.allowed.shape), rtol=0.02)


def test_a_variance_that_one_pass_may_have_lost_allows_everything():
    """At 1e9 sd from zero nothing is left of it in float64."""
    far = 1e9 * np.array([1.0, 0.0]) + np.where(np.arange(4)[:, None] % 2, 1.0, -1.0)
    used = in_inference([far] * 3, far, far.mean(axis=0), np.ones(2))
    assert np.isinf(used.allowed[:, 0]).all()
    assert (used.allowed[:, 1] < 1e-12).all()


@pytest.mark.parametrize(
    ("relative", "absolute", "is_own"),
    [(0, 0, True), (5e-4, 0, True), (0, 2e-7, True), (0.01, 0, False), (0, 0.5, False)],
)
def test_y_of_the_batch_s_own_statistics_is_told_by_three_digits(relative, absolute, is_own):
    """The second channel is constant: y is 0 there, but for rounding."""
    x = np.array([[1.0, 5.0], [3.0, 5.0], [8.0, 5.0]])
    case = replace(build(CaseSpec(n=3, c=2)), x=x, gamma=np.ones(2), beta=np.zeros(2))
    y = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + case.spec.eps) * (1 + relative) + np.array([0, absolute])
    said = _what_eval_does(case, Evidence("running", {"x": x, "y": y}))
    assert ("batch's own statistics" in said) == is_own


def held(readings, m=(6, 7, 6), **told):
    """Return what eval mode may use of readings of one channel, (mean, var) each, as pairs of numbers."""
    mean, var = (np.array([[reading[i]] for reading in readings]) for i in (0, 1))
    conventions = Keeping().told(**told).conventions
    evidence = Evidence("running", {"mean": mean, "var": var}, {"m": list(m), "conventions": conventions})
    return [(a.item(), b.item()) for a, b in statistics_held(build(SPEC), evidence)]


READ = [(0.0, 1.0), (5.0, 9.0), (3.0, 2.0)]


def test_the_last_statistics_are_used_and_a_biased_variance_may_be_scaled_by_either_size_of_batch():
    found = held(READ)
    assert found[0] == (3.0, 2.0)
    assert sorted(found[1:]) == [(3.0, 2 * 7 / 6), (3.0, 2 * 6 / 5)]
    assert held(READ, running_var="unbiased") == [(3.0, 2.0)]
    assert held(READ, m=(1, 2, 1)) == [(3.0, 2.0), (3.0, 4.0)]


@pytest.mark.parametrize(
    ("told", "left"),
    [
        ({"momentum_sense": "kept"}, 0.3**3),
        ({"momentum_sense": "new"}, 0.7**3),
        ({"momentum_sense": "fixed", "momentum": 0.9}, 0.9**3),
        ({"momentum_sense": "fixed", "momentum": 1.0}, None),
        ({"momentum_sense": "cumulative"}, None),
        ({"momentum_sense": "kept", "running_start": "0, 1"}, None),
    ],
)
def test_what_is_left_of_zeros_may_be_divided_out(told, left):
    found = held(READ, **{"running_var": "unbiased", "running_start": "0, 0"} | told)
    corrected = [] if left is None else [pytest.approx((3 / (1 - left), 2 / (1 - left)))]
    assert found == [(3.0, 2.0), *corrected]


def test_statistics_of_another_shape_are_not_held():
    assert statistics_held(build(SPEC), Evidence("running", {}, {"conventions": Keeping().conventions})) == []


def test_statistics_that_are_finished_in_inference_may_be_those_used():
    finished = {"mean": np.ones((1, 3)), "var": np.ones((1, 3)), "eval_mean": np.zeros(3), "eval_var": np.full(3, 4.0)}
    conventions = Keeping(var="unbiased").conventions
    found = statistics_held(build(SPEC), Evidence("running", finished, {"m": [6], "conventions": conventions}))
    assert [(mean[0], var[0]) for mean, var in found] == [(1.0, 1.0), (0.0, 4.0)]


@pytest.mark.parametrize("spatial", [(), (2,)])
@pytest.mark.parametrize(
    ("dtype", "precision", "u"), [("float64", 0.0, 2.0**-53), ("float64", 1e-8, 1e-8), ("float32", 0.0, 2.0**-24)]
)
def test_y_of_given_statistics_may_err_by_some_roundings_of_its_terms(spatial, dtype, precision, u):
    """Of those of the folded form, x gamma inv_std + (beta - mean gamma inv_std)."""
    case = build(CaseSpec(n=4, c=2, spatial=spatial, dtype=dtype))
    x = RNG.normal(size=(5, 2, *spatial))
    mean, inv_std = np.array([10.0, -0.5]), np.array([0.125, 8.0])
    arrays = {"x": x, "y": np.zeros_like(x), "precision": np.array([precision])}
    used = _used(case, Evidence("running", arrays), mean, inv_std)
    for c in range(2):
        gamma, beta = float(case.gamma[c]), float(case.beta[c])
        np.testing.assert_allclose(used.y[:, c], gamma * (x[:, c] - mean[c]) * inv_std[c] + beta, rtol=1e-12)
        terms = abs(gamma) * inv_std[c] * (np.abs(x[:, c]) + abs(mean[c])) + abs(beta)
        np.testing.assert_allclose(used.allowed[:, c], 20 * u * terms, rtol=0.2)
    assert not used.fits
    arrays["y"] = used.y + 0.9 * used.allowed
    assert _used(case, Evidence("running", arrays), mean, inv_std).fits
    arrays["y"] = used.y - 1.1 * used.allowed
    assert not _used(case, Evidence("running", arrays), mean, inv_std).fits


def test_where_nothing_is_to_be_rounded_nothing_must_differ():
    case = replace(build(CaseSpec(n=2, c=1)), gamma=np.zeros(1), beta=np.zeros(1))
    arrays = {"x": np.ones((2, 1)), "y": np.zeros((2, 1)), "precision": np.zeros(1)}
    assert _used(case, Evidence("running", arrays), np.zeros(1), np.ones(1)).fits
    arrays["y"] = np.array([[0.0], [1e-300]])
    assert not _used(case, Evidence("running", arrays), np.zeros(1), np.ones(1)).fits
