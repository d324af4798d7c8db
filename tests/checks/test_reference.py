"""What is said of a tensor that is not the reference's: a mean for a sum, kept in float32, or just wrong."""

from dataclasses import replace

import numpy as np
import pytest
import targets
from judging import judged

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.against_reference import _is_of_float32, dx_matches_reference, y_matches_reference
from bncheck.core.truth import allowances, truth
from bncheck.model import Evidence, Outcome

SPEC = CaseSpec(seed=5, n=4, c=3, spatial=(3,), eps=0.1)
CODES = {"dgamma": "BN212", "dbeta": "BN213"}
MEANT = "and not summed (if that is meant: --grad-scale mean)"


@pytest.mark.parametrize("tensor", CODES)
@pytest.mark.parametrize(
    ("divisor", "said"),
    [
        (12, f"is averaged over all m elements of a channel, {MEANT}"),
        (4, f"is averaged over the batch, {MEANT}"),
        (3, "differs from the reference"),
        (2, "differs from the reference"),
    ],
)
def test_a_mean_in_the_place_of_a_sum_is_told_by_what_it_is_divided_by(tensor, divisor, said):
    judgement = judged(CODES[tensor], targets.spoiled(**{tensor: lambda value: value / divisor}), SPEC)
    assert (judgement.outcome, judgement.message) == (Outcome.FAIL, f"{tensor} {said}")


@pytest.mark.parametrize("tensor", CODES)
def test_of_two_values_a_half_is_a_mean(tensor):
    spec = replace(SPEC, n=2, spatial=())
    judgement = judged(CODES[tensor], targets.spoiled(**{tensor: lambda value: value / 2}), spec)
    assert judgement.message == f"{tensor} is averaged over all m elements of a channel, {MEANT}"


def test_dx_that_is_divided_is_no_mean():
    judgement = judged("BN211", targets.spoiled(dx=lambda dx: dx / 4), SPEC)
    assert judgement.message == "dx differs from the reference"


def kept_in(dtype):
    return targets.spoiled(dx=lambda dx: dx.astype(dtype).astype(dx.dtype))


def test_digits_that_float32_loses_are_told_from_others():
    small = "dx differs from the reference by what float32 rounds: something inside is kept in float32"
    assert judged("BN211", kept_in(np.float32), SPEC).message == small
    assert judged("BN211", kept_in(np.float16), SPEC).message == "dx differs from the reference"
    assert (
        judged("BN211", kept_in(np.float16), replace(SPEC, dtype="float32")).message == "dx differs from the reference"
    )


def with_y(change):
    def forward(*given):
        y, cache = targets.forward(*given)
        return change(y), cache

    return targets.Pair(forward)


def with_changed(tensor, change):
    return with_y(change) if tensor == "y" else targets.spoiled(**{tensor: change})


@pytest.mark.parametrize(("code", "tensor"), [("BN101", "y"), ("BN211", "dx"), ("BN212", "dgamma"), ("BN213", "dbeta")])
def test_a_formula_that_is_slightly_off_is_not_said_to_be_of_float32(code, tensor):
    message = judged(code, with_changed(tensor, lambda value: value * (1 + 1e-8)), SPEC).message
    assert message == f"{tensor} differs from the reference, by no more than float32 would round"


@pytest.mark.parametrize(("code", "tensor"), [("BN101", "y"), ("BN211", "dx")])
def test_an_error_that_no_formula_gives_is_of_float32_whatever_is_done_with_the_values_later(code, tensor):
    rounded = with_changed(tensor, lambda value: 3 * (value / 3).astype(np.float32).astype(np.float64))
    said = f"{tensor} differs from the reference by what float32 rounds: something inside is kept in float32"
    assert judged(code, rounded, SPEC).message == said


@pytest.mark.parametrize(("code", "tensor"), [("BN101", "y"), ("BN211", "dx"), ("BN212", "dgamma"), ("BN213", "dbeta")])
def test_the_worst_element_and_its_values_are_told(code, tensor):
    """The error is put on one element alone: there it is found, to the last digit of what the reference has."""

    def off(value):
        value = value.copy()
        value[(1,) * value.ndim] += 0.5
        return value

    def forward(x, gamma, beta, eps):
        y, cache = targets.forward(x, gamma, beta, eps)
        return off(y), cache

    target = targets.Pair(forward) if tensor == "y" else targets.spoiled(**{tensor: off})
    judgement = judged(code, target, SPEC)
    assert judgement.index == (1,) * len(judgement.index)
    assert judgement.error == pytest.approx(0.5, rel=1e-12)
    assert judgement.got - judgement.want == pytest.approx(0.5, rel=1e-12)
    assert 0 < judgement.allowed < 1e-12


@pytest.mark.parametrize("tensor", ["dgamma", "dbeta"])
def test_sums_show_float32_by_their_values_alone(tensor):
    case = build(SPEC)
    right = truth(case).tensor(tensor)
    assert _is_of_float32(case, tensor, right.astype(np.float32).astype(np.float64))
    assert not _is_of_float32(case, tensor, right * (1 + 1e-8))
    assert not _is_of_float32(case, tensor, np.array([1.0, 0.5, 1 / 3]))


FAR = build(CaseSpec(seed=5, n=16, c=2, mean=1e6, eps=1e-5))


@pytest.mark.parametrize(("check", "tensor"), [(y_matches_reference, "y"), (dx_matches_reference, "dx")])
def test_what_a_one_pass_variance_explains_is_a_failure_where_the_code_has_none(check, tensor):
    off = 0.5 * np.asarray(getattr(allowances(FAR, one_pass=True), tensor))
    seen = {"training": Evidence("training", {tensor: truth(FAR).tensor(tensor) + off})}
    asked = {
        said: check(FAR, seen | {"large-mean": Evidence("large-mean", facts=facts)})
        for said, facts in (("no", {"one_pass": False}), ("yes", {"one_pass": True}), ("nothing", {}))
    }
    first = check(FAR, seen)
    assert (first.outcome, first.tensor, first.suspect) == (Outcome.FAIL, tensor, True)
    assert (asked["no"].outcome, asked["no"].suspect) == (Outcome.FAIL, False)
    assert asked["no"].message == f"{tensor} differs from the reference"
    for said in ("yes", "nothing"):
        assert asked[said].outcome in (Outcome.PASS, Outcome.INCONCLUSIVE)
        assert asked[said].message == f"{tensor} errs no more than a one-pass variance makes it (see BN401)"
