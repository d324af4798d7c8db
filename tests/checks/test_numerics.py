"""BN403 and BN404 on pairs that square before they centre, or sum in half precision."""

from dataclasses import replace

import numpy as np
import pytest
import targets
from judging import SPEC, judged, roots

from bncheck.cases.arrays import build
from bncheck.checks.catalogue import CHECKS
from bncheck.model import Evidence, Outcome

SPACE = replace(SPEC, n=5, spatial=(2, 2))
DTYPES = ["float64", "float32", "float16"]


def with_variance(variance):
    """Return a pair whose variance is another function of x."""

    def forward(x, gamma, beta, eps):
        with np.errstate(all="ignore"):
            inv_std = (1 / np.sqrt(variance(x) + eps)).astype(x.dtype)
            xhat = (x - x.mean(0)) * inv_std
            return gamma * xhat + beta, (xhat, inv_std, gamma, (0,))

    return targets.Pair(forward)


def one_pass(x):
    return (x * x).mean(0) - x.mean(0) ** 2


def of_norms(x):
    """Two-pass, of x over its own norm: the norm's square overflows."""
    size = np.sqrt((x * x).sum(0))
    scaled = x / size
    return ((scaled - scaled.mean(0)) ** 2).mean(0) * size * size


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variance", [one_pass, of_norms], ids=lambda f: f.__name__)
def test_squares_that_leave_the_range_warn(variance, dtype):
    judgement = judged("BN403", with_variance(variance), replace(SPEC, dtype=dtype))
    assert (judgement.outcome, judgement.tensor) == (Outcome.WARN, "y")
    assert "leaves the range" in judgement.message


def test_squares_that_leave_the_range_warn_alone():
    assert roots(with_variance(one_pass)) == {"BN403"}


def test_a_sum_in_half_precision_warns():
    halves = replace(SPEC, dtype="float16")
    judgement = judged("BN404", targets.Pair(targets.row_by_row), halves)
    assert judgement.outcome is Outcome.WARN
    assert "half precision" in judgement.message
    assert judged("BN403", targets.Pair(targets.row_by_row), halves).outcome is Outcome.PASS


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_long_sums_are_a_matter_of_half_precision(dtype):
    judgement = judged("BN404", targets.Pair(targets.row_by_row), replace(SPEC, dtype=dtype))
    assert judgement.outcome is Outcome.SKIP


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spec", [SPEC, SPACE])
def test_the_two_pass_variance_passes(spec, dtype):
    halves = {"float16": Outcome.PASS}.get(dtype, Outcome.SKIP)
    found = [judged(code, targets.Pair(), replace(spec, dtype=dtype)).outcome for code in ("BN403", "BN404")]
    assert found == [Outcome.PASS, halves]


def test_a_refusal_of_large_values_is_skipped_with_the_reason():
    def forward(x, gamma, beta, eps):
        if np.abs(x).max() > 1e6:
            raise ValueError("x is too large")
        return targets.forward(x, gamma, beta, eps)

    judgement = judged("BN403", targets.Pair(forward))
    assert judgement.outcome is Outcome.SKIP
    assert "too large" in judgement.message


@pytest.mark.parametrize("code", ["BN403", "BN404"])
def test_edges_are_tried_once_and_not_in_every_draw(code):
    spec = replace(SPEC, recipe="draw", dtype="float16")
    assert judged(code, with_variance(one_pass), spec).outcome is Outcome.SKIP


# ----------------------------------------------------------------------------------------------------- evidence by hand

SQUARES, SUMS = ("BN403", "squares"), ("BN404", "sums")
CASE = build(replace(SPEC, dtype="float16"))


def of_edge(code, edge, facts=None, **arrays):
    evidence = Evidence("edges", {f"{edge}.{name}": values for name, values in arrays.items()}, facts or {})
    return CHECKS.get(code).judge(CASE, {"edges": evidence})


@pytest.mark.parametrize(
    ("check", "facts", "message"),
    [
        (SQUARES, {}, "not tried on this case"),
        (SUMS, {}, "not tried on this case"),
        (SUMS, {"squares.raised": ""}, "only half precision is in danger of it"),
        (SUMS, {"sums.raised": ""}, "not tried on this case"),
        (SQUARES, {"sums.raised": ""}, "not tried on this case"),
    ],
)
def test_why_an_edge_is_not_judged_is_told(check, facts, message):
    for arrays in ({}, {"y": np.ones((8, 2))}, {"want": np.ones((8, 2))}):
        told = of_edge(*check, facts, **arrays)
        assert (told.outcome, told.message) == (Outcome.SKIP, message)


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("check", "share"), [(SQUARES, 0.5), (SUMS, 100 * 2.0**-11)])
def test_what_is_allowed_at_an_edge_is_a_share_of_the_largest_value(check, share, lost):
    want = np.array([[64.0, -1.0], [0.5, -128.0]])
    off = np.array([[0.0, 0.0], [128 * share, 0.0]])
    assert of_edge(*check, y=want + 0.9 * off, want=want).outcome is Outcome.PASS
    told = of_edge(*check, y=want + 1.1 * off, want=want)
    assert (told.outcome, told.index, told.want) == (Outcome.WARN, (1, 0), 0.5)
    told = of_edge(*check, y=np.where(off > 0, lost, want), want=want)
    assert (told.outcome, told.error) == (Outcome.WARN, np.inf)
    nothing = np.zeros((2, 2))  # gamma and beta are 0
    assert of_edge(*check, y=nothing, want=nothing).outcome is Outcome.PASS
