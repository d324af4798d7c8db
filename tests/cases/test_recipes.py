"""The recipes: few, small, unique, documented, and every corner among them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bncheck.case import GAMMAS, MEMORY, CaseSpec
from bncheck.cases.arrays import build
from bncheck.cases.recipes import RECIPES
from bncheck.errors import UsageError

SPECS = [spec for _, recipe in RECIPES.items() for spec in recipe()]


def test_every_recipe_says_which_bugs_live_there() -> None:
    for name, recipe in RECIPES.items():
        summary = (recipe.__doc__ or "").strip()
        assert len(summary) > 30, name
        assert "\n" not in summary, name


def test_cases_carry_the_name_of_their_recipe() -> None:
    for name, recipe in RECIPES.items():
        assert {spec.recipe for spec in recipe()} == {name}


def test_recipes_are_unique_and_few() -> None:
    assert len({replace(spec, recipe="") for spec in SPECS}) == len(SPECS)
    assert 60 <= len(SPECS) <= 80


def test_recipes_are_small() -> None:
    assert sum(spec.m * spec.c for spec in SPECS) < 40_000


def test_recipes_are_the_same_each_time() -> None:
    assert [spec for _, recipe in RECIPES.items() for spec in recipe()] == SPECS


@pytest.mark.parametrize(
    "corner",
    [
        *(lambda s, n=n: s.n == n for n in (1, 2, 3, 5, 15, 16, 17, 31, 33, 63, 64, 65, 127, 129, 1000, 1023, 4096)),
        lambda s: s.m == 1,
        lambda s: s.n == 1 and s.m > 1,
        *(lambda s, c=c: s.c == c for c in (1, 64, 130)),
        *(lambda s, rank=rank: len(s.spatial) == rank for rank in range(4)),
        lambda s: len(s.spatial) == 2 and s.spatial[0] != s.spatial[1],
        lambda s: s.n == s.c and not s.spatial,
        lambda s: 0 < s.constant < s.c,
        lambda s: s.constant == s.c,
        *(lambda s, mean=mean: s.mean == mean for mean in (1e4, 1e6)),
        *(lambda s, sd=sd: s.sd == sd for sd in (1e-6, 1e3)),
        *(lambda s, eps=eps: s.eps == eps for eps in (1e-12, 1e-8, 1e-3, 0.1, 10.0)),
        *(lambda s, kind=kind: s.gamma == kind for kind in GAMMAS),
        *(lambda s, kind=kind: s.memory == kind and not s.spatial for kind in MEMORY if kind != "channels_last"),
        *(lambda s, kind=kind: s.memory == kind and len(s.spatial) == 2 for kind in MEMORY),
        lambda s: s.dy_scale >= 1e6,
        lambda s: s.dy_scale <= 1e-6,
        lambda s: s.momentum > 0.5,
    ],
)
def test_corner_is_there(corner: Callable[[CaseSpec], bool]) -> None:
    assert any(corner(spec) for spec in SPECS)


def test_variance_is_about_eps_where_the_recipe_says_so() -> None:
    for spec in RECIPES.get("eps-near-variance")():
        variance = build(spec).x.var(axis=0)
        assert variance.min() < 5 * spec.eps
        assert variance.max() > spec.eps / 5


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(UsageError, match="batch-few"):
        RECIPES.get("batch-fw")
