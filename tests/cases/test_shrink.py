"""Shrinking: to the simplest failing case, with boundaries that are true as evaluated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bncheck.case import CaseSpec
from bncheck.cases.fit import HALF_EPS, fit
from bncheck.cases.plan import draw, plan
from bncheck.cases.shrink import Boundary, Shrunk, shrink

SIMPLEST = CaseSpec(n=2, c=1)
LARGE = CaseSpec(
    recipe="draw",
    seed=77,
    n=1000,
    c=24,
    spatial=(3, 4),
    eps=10.0,
    momentum=0.9,
    mean=300.0,
    sd=64.0,
    constant=2,
    gamma="negative",
    dy_scale=1e6,
    memory="strided",
)
Fails = Callable[[CaseSpec], bool]


class Recorder:
    """A predicate that keeps what it was asked."""

    def __init__(self, fails: Fails) -> None:
        self.fails = fails
        self.asked: list[CaseSpec] = []

    def __call__(self, spec: CaseSpec) -> bool:
        self.asked.append(spec)
        return self.fails(spec)


def shrink_large(fails: Fails, ranks: tuple[int, ...] = (0, 2), eps_fixed: bool = False, **changes: Any) -> Shrunk:
    """Shrink LARGE and hold the result to everything that must be true of any result."""
    recorder = Recorder(fails)
    shrunk = shrink(replace(LARGE, **changes), recorder, ranks, eps_fixed)
    check(shrunk, recorder)
    return shrunk


def check(shrunk: Shrunk, recorder: Recorder) -> None:
    assert len(recorder.asked) == len(set(recorder.asked)) == shrunk.tries <= 200
    assert shrunk.spec in recorder.asked
    assert recorder.fails(shrunk.spec)
    for boundary in shrunk.boundaries:
        assert getattr(shrunk.spec, boundary.parameter) == boundary.fails
        neighbour = replace(shrunk.spec, **{boundary.parameter: boundary.passes})
        assert neighbour in recorder.asked
        assert not recorder.fails(neighbour)
    assert len({boundary.parameter for boundary in shrunk.boundaries}) == len(shrunk.boundaries)


def plain(shrunk: Shrunk) -> CaseSpec:
    return replace(shrunk.spec, recipe="custom")


def test_what_always_fails_ends_at_the_simplest_case() -> None:
    shrunk = shrink_large(lambda spec: True)
    assert plain(shrunk) == SIMPLEST
    assert shrunk.boundaries == ()
    assert shrunk.tries <= 20


def test_recipe_name_is_kept() -> None:
    assert shrink_large(lambda spec: True).spec.recipe == "draw"


def test_what_passes_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        shrink(LARGE, lambda spec: False, (0,), False)


def test_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="limit"):
        shrink(LARGE, lambda spec: True, (0,), False, limit=0)


@pytest.mark.parametrize("first", [3, 9, 64, 65, 100, 129, 777, 1000])
def test_threshold_of_the_batch_is_exact(first: int) -> None:
    shrunk = shrink_large(lambda spec: spec.n >= first)
    assert plain(shrunk) == replace(SIMPLEST, n=first)
    assert shrunk.boundaries == (Boundary("n", first - 1, first),)


def test_odd_batches_alone() -> None:
    shrunk = shrink_large(lambda spec: spec.n % 2 == 1, n=999)
    assert plain(shrunk) == replace(SIMPLEST, n=3)
    assert shrunk.boundaries == (Boundary("n", 2, 3),)


def test_even_batches_alone() -> None:
    shrunk = shrink_large(lambda spec: spec.n % 2 == 0)
    assert plain(shrunk) == SIMPLEST
    assert shrunk.boundaries == (Boundary("n", 3, 2),)


def test_odd_batches_above_a_threshold() -> None:
    shrunk = shrink_large(lambda spec: spec.n % 2 == 1 and spec.n > 20, n=999)
    assert shrunk.spec.n in (21, 33)
    assert shrunk.boundaries == (Boundary("n", shrunk.spec.n - 1, shrunk.spec.n),)


def test_batch_of_one_alone() -> None:
    shrunk = shrink_large(lambda spec: spec.n == 1, n=1)
    assert plain(shrunk) == replace(SIMPLEST, n=1)
    assert shrunk.boundaries == (Boundary("n", 2, 1),)


def test_one_channel_alone() -> None:
    shrunk = shrink_large(lambda spec: spec.c == 1, c=1)
    assert plain(shrunk) == SIMPLEST
    assert shrunk.boundaries == (Boundary("c", 2, 1),)


@pytest.mark.parametrize("first", [2, 7, 17])
def test_threshold_of_the_channels(first: int) -> None:
    shrunk = shrink_large(lambda spec: spec.c >= first)
    assert plain(shrunk) == replace(SIMPLEST, c=first)
    assert shrunk.boundaries == (Boundary("c", first - 1, first),)


def test_more_samples_than_channels() -> None:
    shrunk = shrink_large(lambda spec: spec.c > 3 and spec.n > spec.c)
    assert plain(shrunk) == replace(SIMPLEST, n=5, c=4)
    assert set(shrunk.boundaries) == {Boundary("c", 3, 4), Boundary("n", 4, 5)}


@pytest.mark.parametrize(
    ("fails", "changes"),
    [
        (lambda spec: spec.gamma == "negative", {"gamma": "negative"}),
        (lambda spec: spec.memory not in ("C", "readonly"), {"memory": "strided"}),
        (lambda spec: spec.momentum != 0.1, {"momentum": 0.9}),
        (lambda spec: spec.constant > 0, {"constant": 1}),
    ],
)
def test_condition_of_one_parameter(fails: Fails, changes: dict[str, Any]) -> None:
    shrunk = shrink_large(fails)
    assert plain(shrunk) == replace(SIMPLEST, **changes)
    ((name, value),) = changes.items()
    assert shrunk.boundaries == (Boundary(name, getattr(CaseSpec(), name), value),)


@pytest.mark.parametrize(
    ("fails", "start", "parameter", "low", "high"),
    [
        (lambda spec: spec.eps >= 0.1, {}, "eps", 0.06, 0.1),
        (lambda spec: spec.eps > 3e-4, {}, "eps", 2e-4, 5e-4),
        (lambda spec: spec.eps <= 1e-10, {"eps": 1e-12}, "eps", 5e-11, 2.5e-10),
        (lambda spec: spec.eps == 0, {"eps": 0.0}, "eps", 0.0, 1e-14),
        (lambda spec: abs(spec.mean) > 50, {}, "mean", 35.0, 75.0),
        (lambda spec: spec.mean < -50, {"mean": -300.0}, "mean", -75.0, -35.0),
        (lambda spec: spec.mean != 0, {}, "mean", 0.0, 2e-3),
        (lambda spec: spec.sd > 7, {}, "sd", 5.0, 10.0),
        (lambda spec: spec.sd < 1e-3, {"sd": 1e-6}, "sd", 6e-4, 1.5e-3),
        (lambda spec: spec.dy_scale > 2e4, {}, "dy_scale", 1.4e4, 3e4),
    ],
)
def test_threshold_of_a_real_parameter(
    fails: Fails, start: dict[str, float], parameter: str, low: float, high: float
) -> None:
    shrunk = shrink_large(fails, **start)
    value = getattr(shrunk.spec, parameter)
    assert plain(shrunk) == replace(SIMPLEST, **{parameter: value})
    (boundary,) = shrunk.boundaries
    assert boundary.parameter == parameter
    assert low <= min(value, boundary.passes) <= max(value, boundary.passes) <= high
    assert value in (0.0, float(f"{value:.0e}"))


def test_mean_of_either_sign_becomes_positive() -> None:
    assert shrink_large(lambda spec: abs(spec.mean) > 50, mean=-300.0).spec.mean > 0


def test_sign_of_dy_alone() -> None:
    shrunk = shrink_large(lambda spec: spec.dy_scale < 0, dy_scale=-1e6)
    (boundary,) = shrunk.boundaries
    assert boundary == Boundary("dy_scale", 2.0, -2.0)


def test_fixed_eps_is_left_alone() -> None:
    recorder = Recorder(lambda spec: True)
    shrunk = shrink(LARGE, recorder, (0, 2), eps_fixed=True)
    assert plain(shrunk) == replace(SIMPLEST, eps=10.0)
    assert {spec.eps for spec in recorder.asked} == {10.0}


def test_spatial_axes_alone() -> None:
    shrunk = shrink_large(lambda spec: len(spec.spatial) > 0)
    assert plain(shrunk) == replace(SIMPLEST, spatial=(1, 1))
    assert shrunk.boundaries == (Boundary("spatial", (), (1, 1)),)


def test_fewer_axes_are_preferred() -> None:
    shrunk = shrink_large(lambda spec: len(spec.spatial) > 0, ranks=(0, 1, 2))
    assert plain(shrunk) == replace(SIMPLEST, spatial=(1,))


def test_spatial_sizes_shrink_to_their_boundary() -> None:
    shrunk = shrink_large(lambda spec: len(spec.spatial) == 2 and spec.spatial[1] >= 3)
    assert plain(shrunk) == replace(SIMPLEST, spatial=(1, 3))
    assert shrunk.boundaries == (Boundary("spatial", (1, 2), (1, 3)),)


def test_axes_that_the_target_needs_stay() -> None:
    recorder = Recorder(lambda spec: True)
    shrunk = shrink(LARGE, recorder, (2,), False)
    assert plain(shrunk) == replace(SIMPLEST, spatial=(1, 1))
    assert {len(spec.spatial) for spec in recorder.asked} == {2}


def test_elements_of_spatial_axes_move_into_the_batch() -> None:
    shrunk = shrink_large(lambda spec: spec.m >= 100, n=20)
    assert plain(shrunk) == replace(SIMPLEST, n=100)
    assert shrunk.boundaries == (Boundary("n", 99, 100),)


def test_two_conditions_give_two_boundaries() -> None:
    shrunk = shrink_large(lambda spec: spec.n > 64 and spec.gamma == "negative")
    assert plain(shrunk) == replace(SIMPLEST, n=65, gamma="negative")
    assert set(shrunk.boundaries) == {Boundary("n", 64, 65), Boundary("gamma", "random", "negative")}


def test_conditions_that_hang_together_end_where_nothing_moves() -> None:
    shrunk = shrink_large(lambda spec: spec.n * spec.c >= 100 and (spec.eps >= 0.1 or spec.mean > 10))
    assert shrunk.spec.n * shrunk.spec.c >= 100
    assert shrunk.spec.c == 1
    assert Boundary("n", 99, 100) in shrunk.boundaries


def test_seed_that_matters_is_kept_without_a_claim() -> None:
    shrunk = shrink_large(lambda spec: spec.seed == 77)
    assert plain(shrunk) == replace(SIMPLEST, seed=77)
    assert shrunk.boundaries == ()


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 12, 25, 50, 100])
def test_limit_is_respected_and_claims_stay_true(limit: int) -> None:
    fails = Recorder(lambda spec: spec.n >= 65 and spec.eps >= 0.1 and spec.c % 2 == 0 and spec.mean > 7)
    shrunk = shrink(LARGE, fails, (0, 2), False, limit=limit)
    check(shrunk, fails)
    assert shrunk.tries <= limit
    assert limit > 1 or shrunk == Shrunk(LARGE, (), 1)


def test_more_tries_bring_a_simpler_case() -> None:
    def fails(spec: CaseSpec) -> bool:
        return spec.n >= 65 and spec.eps >= 0.1

    assert shrink(LARGE, fails, (0, 2), False, limit=5).spec.n > shrink(LARGE, fails, (0, 2), False, limit=60).spec.n


def test_predicate_without_any_order_is_survived() -> None:
    for key in range(30):

        def fails(spec: CaseSpec, key: int = key) -> bool:
            return spec == LARGE or (spec.n * 31 + spec.c * 7 + len(spec.id) + key) % 3 == 0

        shrink_large(fails)


def test_result_depends_on_the_arguments_alone() -> None:
    def fails(spec: CaseSpec) -> bool:
        return spec.n % 3 == 1 and spec.sd > 2

    assert shrink_large(fails) == shrink_large(fails)


def test_errors_of_the_predicate_come_through() -> None:
    def fails(spec: CaseSpec) -> bool:
        raise RuntimeError("broken predicate")

    with pytest.raises(RuntimeError, match="broken predicate"):
        shrink(LARGE, fails, (0,), False)


@pytest.mark.parametrize("eps", [None, 1e-5])
def test_half_precision_cases_stay_fit_for_it(eps: float | None) -> None:
    for spec in list(plan(90, 0, "float16", (0, 2), eps))[::5]:
        recorder = Recorder(lambda spec: True)
        shrunk = shrink(spec, recorder, (0, 2), eps is not None)
        assert all(fit(asked, "float16", (0, 2), eps) == asked for asked in recorder.asked)
        assert shrunk.spec.eps == (HALF_EPS if eps is None else eps)
        assert shrunk.tries <= 15


def test_simplest_eps_of_half_precision_is_tried_at_once() -> None:
    recorder = Recorder(lambda spec: True)
    shrink(CaseSpec(n=8, dtype="float16", eps=10.0), recorder, (0,), False)
    assert {spec.eps for spec in recorder.asked} == {10.0, HALF_EPS}


def test_every_planned_case_can_be_shrunk() -> None:
    for spec in [*plan(75, 0, "float64", (0, 2)), *(draw(i, 1, "float64", (0, 2)) for i in range(100))]:
        recorder = Recorder(lambda spec: spec.m >= 2)
        if spec.m < 2:
            continue
        shrunk = shrink(spec, recorder, (0, 2), False)
        check(shrunk, recorder)
        assert plain(shrunk) == SIMPLEST


# ------------------------------------------------------------------------------------------------------------ in words


@pytest.mark.parametrize(
    ("fails", "changes", "words"),
    [
        (lambda spec: spec.n > 64, {}, "fails from N = 65 on (passes at 64)"),
        (lambda spec: spec.n % 2 == 1, {"n": 999}, "fails at N = 3, 5 and passes at 2, 4, 6, 8, 12"),
        (lambda spec: spec.n % 8 != 0, {"n": 999}, ""),
        (lambda spec: spec.c == 1, {"c": 1}, "fails at C = 1 and passes at 2"),
        (lambda spec: spec.eps >= 0.1, {}, "fails from eps = 0.1 on (passes at 0.07)"),
        (lambda spec: spec.gamma == "negative", {"gamma": "negative"}, "fails with gamma < 0, passes with gamma > 0"),
        (
            lambda spec: spec.memory == "strided",
            {"memory": "strided"},
            "fails with non-contiguous arrays, passes with contiguous arrays",
        ),
        (lambda spec: spec.n in (3, 5, 8) or spec.n > 100, {}, ""),
        (lambda spec: spec.n == 3, {"n": 3}, "fails at N = 3 and passes at 2, 4, 5, 6, 8"),
        (lambda spec: spec.n == 3 or spec.n > 12, {}, ""),
    ],
)
def test_where_failing_begins_in_words(fails: Fails, changes: dict[str, Any], words: str) -> None:
    shrunk = shrink_large(fails, **changes)
    assert ", ".join(boundary.words for boundary in shrunk.boundaries if boundary.words) == words


def test_what_neither_fails_nor_passes_is_no_boundary() -> None:
    shrunk = shrink(replace(LARGE, spatial=()), lambda spec: True if spec.n > 64 else None, (0,), False)
    assert shrunk.spec.n == 65
    assert shrunk.boundaries == ()


def test_many_channels_become_one_with_a_negative_gamma() -> None:
    shrunk = shrink_large(lambda spec: spec.gamma == "negative" or spec.c > 4, gamma="random")
    assert plain(shrunk) == replace(SIMPLEST, gamma="negative")


@pytest.mark.parametrize(
    ("passes", "fails", "words"),
    [
        ((), (1, 1), "fails with spatial axes (1x1), passes without"),
        ((2, 3), (), "fails without spatial axes, passes with them (2x3)"),
        ((2, 3), (1, 1), "fails at spatial sizes = 1x1 and passes at 2x3"),
    ],
)
def test_that_there_are_no_spatial_axes_in_words(passes: tuple[int, ...], fails: tuple[int, ...], words: str) -> None:
    assert Boundary("spatial", passes, fails).words == words
