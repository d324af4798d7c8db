"""Plans: recipes first, every pair covered, every case unique, small and fit for the target."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from dtypes import EVERY_DTYPE

from bncheck.case import DTYPES, CaseSpec
from bncheck.cases.arrays import build
from bncheck.cases.plan import BATCHES, CAP, EPS, MOST_VALUES, cover, draw, plan

ALL_RANKS = [(0,), (1,), (2,), (3,), (0, 2), (1, 2), (0, 1, 2, 3), (0, 1, 2, 3, 4)]


def kind_of(spec: CaseSpec, ranks: tuple[int, ...]) -> tuple[int, str]:
    """The shape kind of a case, told from its shape alone."""
    rank = len(spec.spatial)
    if rank != min(ranks):
        return rank, "few"
    return rank, "one" if spec.c == 1 else "few" if spec.c <= 8 else "many"


def batch_of(spec: CaseSpec) -> int:
    (group,) = [b for b, batch in enumerate(BATCHES) if spec.n in batch]
    return group


@pytest.mark.parametrize("seed", [0, 1, 2**64 - 1])
@pytest.mark.parametrize("ranks", ALL_RANKS)
def test_draws_in_a_row_cover_every_pair(ranks: tuple[int, ...], seed: int) -> None:
    length = len(cover(ranks))
    assert length <= 80
    kinds = {(min(ranks), name) for name in ("one", "few", "many")} | {(rank, "few") for rank in ranks}
    levels = (kinds, EPS, range(len(BATCHES)))
    wanted = {(a, b, pair) for a, b in combinations(range(3), 2) for pair in product(levels[a], levels[b])}
    for start in (0, 23, 1000):
        specs = [draw(index, seed, "float64", ranks) for index in range(start, start + length)]
        rows = [(kind_of(spec, ranks), spec.eps, batch_of(spec)) for spec in specs]
        assert {(a, b, (row[a], row[b])) for row in rows for a, b in combinations(range(3), 2)} == wanted


def test_order_of_the_rows_depends_on_the_seed() -> None:
    orders = {tuple(draw(index, seed, "float64", (0,)).eps for index in range(20)) for seed in range(5)}
    assert len(orders) == 5


def test_no_ranks_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        cover(())


@pytest.mark.parametrize("ranks", ALL_RANKS)
def test_draws_are_small(ranks: tuple[int, ...]) -> None:
    specs = [draw(index, 3, "float64", ranks) for index in range(2000)]
    sizes = [spec.m * spec.c for spec in specs]
    assert max(sizes) <= CAP
    assert np.mean(sizes) <= 6000
    assert max(spec.m for spec in specs) <= MOST_VALUES
    assert {len(spec.spatial) for spec in specs} == set(ranks)


def test_spatial_sizes_differ_and_are_not_all_one() -> None:
    planes = [draw(index, 3, "float64", (2,)).spatial for index in range(500)]
    assert np.mean([h != w for h, w in planes]) > 0.87
    assert np.mean([h * w > 1 for h, w in planes]) > 0.87


@pytest.mark.parametrize("dtype", DTYPES)
def test_draws_depend_on_their_index_alone(dtype: str) -> None:
    forwards = [draw(index, 8, dtype, (0, 2)) for index in range(100)]
    backwards = [draw(index, 8, dtype, (0, 2)) for index in reversed(range(100))]
    assert forwards == backwards[::-1]
    assert draw(10**6, 8, dtype, (0, 2)) != draw(0, 8, dtype, (0, 2))


def test_draws_of_a_sweep_are_all_different() -> None:
    assert len({replace(draw(index, 0, "float64", (0, 2)), recipe="") for index in range(20_000)}) == 20_000


def test_draws_are_mild_and_meet_every_corner() -> None:
    specs = [draw(index, 4, "float64", (0,)) for index in range(1000)]
    assert max(abs(spec.mean) / spec.sd for spec in specs) <= 100
    assert all(2**-6 <= spec.sd <= 2**6 for spec in specs)
    assert all(spec.constant <= spec.c for spec in specs)
    assert {spec.gamma for spec in specs} == {"random", "zero", "negative", "one"}
    assert {spec.memory for spec in specs} == {"C", "F", "strided", "readonly"}
    ordinary = [spec for spec in specs if spec.memory == "C" and spec.gamma == "random" and not spec.constant]
    assert len(ordinary) > 400


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("eps", [None, 1e-5, 1e-3, 0.0])
@pytest.mark.parametrize("ranks", ALL_RANKS)
def test_plans_fit_the_target(ranks: tuple[int, ...], eps: float | None, dtype: str) -> None:
    specs = list(plan(200, 0, dtype, ranks, eps))
    assert len(specs) == 200
    assert len({replace(spec, recipe="") for spec in specs}) == 200
    assert {len(spec.spatial) for spec in specs} <= set(ranks)
    assert {spec.dtype for spec in specs} == {dtype}
    assert eps is None or {spec.eps for spec in specs} == {eps}
    assert specs == list(plan(200, 0, dtype, ranks, eps))


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
def test_planned_arrays_are_finite(dtype: str) -> None:
    for spec in plan(250, 2, dtype, (0, 1, 2, 3)):
        case = build(spec)
        for array in (case.x, case.gamma, case.beta, case.dy):
            assert array.dtype == dtype
            assert np.isfinite(array).all()


def test_recipes_come_first_and_small_ones_before_large_ones() -> None:
    specs = list(plan(200, 0, "float64", (0, 2)))
    recipes = [spec for spec in specs if spec.recipe != "draw"]
    assert specs[: len(recipes)] == recipes
    assert recipes[0].recipe == "plain"
    sizes = [spec.m * spec.c for spec in recipes if spec.recipe not in ("plain", "gamma")]
    assert sizes == sorted(sizes)
    assert len(recipes) >= 60


def test_the_shortest_sweep_has_gammas_of_either_sign_and_none() -> None:
    gammas = np.concatenate([build(spec).gamma for spec in plan(6, 0, "float64", (0, 2))])
    assert (gammas < 0).any()
    assert (gammas == 0).any()
    assert (gammas > 0).any()


def test_plan_of_the_default_size_covers_every_pair() -> None:
    for ranks in ALL_RANKS:
        drawn = [spec for spec in plan(200, 0, "float64", ranks) if spec.recipe == "draw"]
        assert len(drawn) >= len(cover(ranks))


def test_short_plan_is_the_beginning_of_a_long_one() -> None:
    long = list(plan(150, 6, "float32", (0,)))
    for count in (0, 1, 10, 149):
        assert list(plan(count, 6, "float32", (0,))) == long[:count]


def test_recipes_do_not_depend_on_the_seed_and_draws_do() -> None:
    first, second = (list(plan(200, seed, "float64", (0,))) for seed in (0, 1))
    assert [s for s in first if s.recipe != "draw"] == [s for s in second if s.recipe != "draw"]
    assert not {s for s in first if s.recipe == "draw"} & {s for s in second if s.recipe == "draw"}


def test_target_with_planes_only_loses_no_corner() -> None:
    specs = list(plan(80, 0, "float64", (2,)))
    assert {1, 2, 3, 5, 15, 16, 17, 64, 65, 127, 1000, 4096} <= {spec.n for spec in specs}
    assert any(spec.m == 1 for spec in specs)
    assert {1, 64, 130} <= {spec.c for spec in specs}
    assert {1e4, 1e6} <= {spec.mean for spec in specs}
    assert {"F", "strided", "readonly"} <= {spec.memory for spec in specs}


def test_fixed_eps_drops_what_differed_in_eps_alone() -> None:
    recipes = [spec for spec in plan(200, 0, "float64", (0,), 1e-5) if spec.recipe != "draw"]
    assert sum(spec.recipe == "eps" for spec in recipes) <= 1
    assert sum(spec.recipe == "eps-near-variance" for spec in recipes) == 5
