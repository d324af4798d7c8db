"""Replay ids: every case that is ever made can be spelled and read back, and nothing else is read."""

from __future__ import annotations

import pytest

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.cases.plan import draw
from bncheck.cases.recipes import RECIPES
from bncheck.errors import UsageError


def test_recipes_read_back() -> None:
    for _, recipe in RECIPES.items():
        for spec in recipe():
            assert CaseSpec.parse(spec.id) == spec
            assert CaseSpec.parse(spec.id).id == spec.id


@pytest.mark.parametrize("dtype", ["float64", "float16"])
def test_draws_read_back(dtype: str) -> None:
    for index in range(1000):
        spec = draw(index, 17, dtype, (0, 1, 2, 3))
        assert CaseSpec.parse(spec.id) == spec
        assert CaseSpec.parse(spec.id).id == spec.id


def test_ids_are_short() -> None:
    lengths = [len(draw(index, 0, "float64", (0, 2)).id) for index in range(1000)]
    assert max(lengths) <= 140
    assert sum(lengths) / len(lengths) < 80


def test_surrounding_space_and_order_do_not_matter() -> None:
    assert CaseSpec.parse(" v1:custom:c=5,n=2,seed=9\n") == CaseSpec(seed=9, n=2, c=5)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v1",
        "v1:",
        "v1:custom",
        "v2:custom:seed=0,n=4,c=3",
        "V1:custom:seed=0",
        "v1::seed=0",
        "v1:Custom:seed=0",
        "v1:../x:seed=0",
        f"v1:{'a' * 41}:seed=0",
        "v1:custom:sed=0",
        "v1:custom:recipe=x",
        "v1:custom:n",
        "v1:custom:n=",
        "v1:custom:n=4,n=5",
        "v1:custom:n=0",
        "v1:custom:n=-1",
        "v1:custom:n=4.0",
        "v1:custom:n=1e3",
        "v1:custom:n=1_000",
        "v1:custom:n=٣",
        "v1:custom:n= 4",
        "v1:custom:n=999999999999",
        "v1:custom:c=0",
        "v1:custom:seed=-1",
        "v1:custom:seed=18446744073709551616",
        "v1:custom:seed=0x10",
        "v1:custom:constant=-1",
        "v1:custom:spatial=",
        "v1:custom:spatial=0x3",
        "v1:custom:spatial=3x",
        "v1:custom:spatial=1x2x3x4x5",
        "v1:custom:spatial=(2, 3)",
        "v1:custom:dtype=float128",
        "v1:custom:dtype=object",
        "v1:custom:gamma=Zero",
        "v1:custom:memory=c",
        "v1:custom:eps=nan",
        "v1:custom:eps=inf",
        "v1:custom:eps=-1e-5",
        "v1:custom:eps=1e999",
        "v1:custom:eps=1e-5;x",
        "v1:custom:sd=-1.0",
        "v1:custom:momentum=-0.1",
        "v1:custom:mean=1e301",
        "v1:custom:mean=--1",
        "v1:custom:mean=__import__('os')",
        f"v1:custom:mean={'1' * 5000}",
        "v1:custom:dy_scale=1e",
        "\U0003134b" * 80,  # each takes ten characters where it is shown
        f"v1:custom:{chr(0x3134B) * 80}=1",
        f"v1:custom:memory={chr(0x3134B) * 80}",
        f"v1:custom:{',' * 1_000_000}",
    ],
)
def test_hostile_ids_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as refusal:
        CaseSpec.parse(text)
    assert len(str(refusal.value)) < 400


def test_an_id_longer_than_any_is_refused_before_it_is_taken_apart() -> None:
    longest = CaseSpec.parse("v1:custom:" + "," * 990)
    assert longest == CaseSpec()
    with pytest.raises(UsageError, match="no replay id: it has more than 1000 characters"):
        CaseSpec.parse("v1:custom:" + "," * 991)


def test_zero_has_one_sign() -> None:
    """Where sd is 0, a mean of -0.0 makes other bytes than that of 0.0, which is left out of the id."""
    spec = CaseSpec.parse("v1:custom:seed=0,n=4,c=3,sd=0,mean=-0.0")
    assert repr(spec) == repr(CaseSpec.parse(spec.id))
    assert build(spec).x.tobytes() == build(CaseSpec.parse(spec.id)).x.tobytes()


def test_a_case_too_large_for_any_machine_is_refused_before_it_is_built():
    with pytest.raises(UsageError, match="elements, more than"):
        CaseSpec.parse("v1:custom:n=100000000,c=1000")
