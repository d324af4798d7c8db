"""Cases fitted to a target: its axes, its dtype, its eps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.cases.fit import HALF_EPS, fit, least_eps
from bncheck.cases.plan import plan


@pytest.mark.parametrize(
    ("n", "spatial", "ranks", "fitted"),
    [
        (6, (), (0,), ()),
        (6, (2, 3), (0, 2), (2, 3)),
        (6, (), (2,), (2, 3)),
        (6, (), (1, 2), (2,)),
        (6, (5,), (2,), (5, 2)),
        (6, (), (3,), (2, 3, 2)),
        (1, (), (2,), (1, 1)),
        (2, (), (2,), (1, 1)),
        (65, (), (2,), (1, 1)),
        (1, (7,), (0, 2), (7, 1)),
        (6, (2, 3, 4), (2,), (2, 12)),
        (6, (2, 3, 4), (0, 1), (24,)),
        (6, (2, 3), (0, 3), (2, 3, 2)),
        (6, (2, 3), (0,), None),
        (6, (2,), (0,), None),
    ],
)
def test_axes(n: int, spatial: tuple[int, ...], ranks: tuple[int, ...], fitted: tuple[int, ...] | None) -> None:
    result = fit(CaseSpec(n=n, spatial=spatial), "float64", ranks)
    assert (None if result is None else result.spatial) == fitted


@pytest.mark.parametrize("n", [1, 2, 3, 17, 4096])
def test_corner_of_the_batch_size_keeps_m(n: int) -> None:
    fitted = fit(CaseSpec(n=n), "float64", (3,))
    assert fitted is not None
    assert fitted.m == n


def test_fixed_eps_replaces_the_case_s() -> None:
    assert fit(CaseSpec(eps=0.1), "float64", (0,), 1e-3) == CaseSpec(eps=1e-3)
    assert fit(CaseSpec(eps=0.1), "float64", (0,), 0.0) == CaseSpec(eps=0.0)
    assert fit(CaseSpec(eps=0.1), "float64", (0,)) == CaseSpec(eps=0.1)


def test_fixed_eps_is_kept_in_half_precision() -> None:
    fitted = fit(CaseSpec(), "float16", (0,), 1e-5)
    assert fitted is not None
    assert fitted.eps == 1e-5


@pytest.mark.parametrize("spec", [CaseSpec(n=1), CaseSpec(n=8, constant=3), CaseSpec(n=2, spatial=(1,))])
def test_half_precision_with_a_tiny_fixed_eps_has_no_zero_variance(spec: CaseSpec) -> None:
    fitted = fit(spec, "float16", (0, 1), 1e-5)
    assert fitted is not None
    assert build(fitted).x.var(axis=build(fitted).axes).min() > 0.01


def test_single_precision_keeps_every_value() -> None:
    spec = CaseSpec(mean=1e6, sd=1e-6, eps=1e-12, dy_scale=1e6, constant=1)
    assert fit(spec, "float32", (0,)) == replace(spec, dtype="float32")


def test_constant_channels_are_no_more_than_channels() -> None:
    assert fit(CaseSpec(c=2, constant=5), "float64", (0,)) == CaseSpec(c=2, constant=2)


@pytest.mark.parametrize(
    ("spec", "changes"),
    [
        (CaseSpec(n=8), {"eps": HALF_EPS}),
        (CaseSpec(n=8, eps=0.1), {}),
        (CaseSpec(n=8, eps=1e-12), {"eps": HALF_EPS}),
        (CaseSpec(n=8, eps=1.0, mean=1e6), {"mean": 100.0}),
        (CaseSpec(n=8, eps=1.0, mean=-1e4), {"mean": -100.0}),
        (CaseSpec(n=1848, eps=1.0, mean=1e4), {"mean": 10.0}),
        (CaseSpec(n=8, eps=1.0, mean=3.0), {}),
        (CaseSpec(n=8, eps=1.0, sd=1e-6), {"sd": 0.1}),
        (CaseSpec(n=8, eps=1.0, sd=1e3), {"sd": 10.0}),
        (CaseSpec(n=1000, eps=1.0, sd=1e3), {"sd": 1.0}),
        (CaseSpec(n=8, eps=1.0, dy_scale=1e6), {"dy_scale": 100.0}),
        (CaseSpec(n=8, eps=1.0, dy_scale=-1e6), {"dy_scale": -100.0}),
        (CaseSpec(n=8, eps=1.0, sd=10.0, dy_scale=1e6), {"dy_scale": 10.0}),
        (CaseSpec(n=8, eps=1.0, dy_scale=1e-6), {"dy_scale": 0.1}),
        (CaseSpec(n=4096, eps=HALF_EPS, constant=1), {"dy_scale": 0.01}),
        (CaseSpec(n=4, eps=HALF_EPS, dy_scale=1e6), {"dy_scale": 10.0}),
    ],
)
def test_half_precision(spec: CaseSpec, changes: dict[str, float]) -> None:
    assert fit(spec, "float16", (0,)) == replace(spec, dtype="float16", **changes)


def test_half_precision_leaves_out_what_it_cannot_sum() -> None:
    assert fit(CaseSpec(n=4096, spatial=(2, 1)), "float16", (2,)) is None


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_least_eps_is_a_normal_number(dtype: str) -> None:
    assert least_eps(dtype) == 0 or least_eps(dtype) >= np.finfo(dtype).smallest_normal


@pytest.mark.parametrize("ranks", [(0,), (0, 1, 2, 3)])
@pytest.mark.parametrize("eps", [None, 1e-5, 0.1])
def test_plain_half_precision_code_never_overflows(ranks: tuple[int, ...], eps: float | None) -> None:
    """A naive evaluation, all in float16 and in the orders that grow largest, stays finite on every planned case."""
    for spec in plan(500, 1, "float16", ranks, eps):
        case = build(spec)
        for name, value in naive_steps(case.x, case.gamma, case.beta, case.dy, case.axes, spec.eps).items():
            assert value.dtype == np.float16
            assert np.isfinite(value).all(), f"{name} of {spec.id}"


def naive_steps(x, gamma, beta, dy, axes, eps):  # type: ignore[no-untyped-def]
    shape = (1, -1, *(1 for _ in range(x.ndim - 2)))
    gamma, beta = gamma.reshape(shape), beta.reshape(shape)
    m = np.float16(x.size // x.shape[1])

    def total(a):  # type: ignore[no-untyped-def]
        return np.sum(a, axis=axes, keepdims=True)

    steps = {"sum x": total(x)}
    xmu = x - steps["sum x"] / m
    steps["sum squares"] = total(xmu * xmu)
    inv_std = 1 / np.sqrt(steps["sum squares"] / m + np.float16(eps))
    xhat = xmu * inv_std
    steps["y"] = gamma * xhat + beta
    steps["dgamma"] = total(dy * xhat)
    steps["dbeta"] = total(dy)
    inner = m * dy - steps["dbeta"] - xhat * steps["dgamma"]
    steps["m dy"] = inner
    steps["before division"] = gamma * inv_std * inner
    steps["inverse cubed"] = inv_std * inv_std * inv_std
    steps["dvar"] = total(dy * gamma * xmu) * np.float16(-0.5) * steps["inverse cubed"]
    assert math.isfinite(float(m))
    return steps
