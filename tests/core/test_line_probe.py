"""The line probe: its error bar holds the true error, whatever the function, the noise and the dtype."""

import math

import numpy as np
import pytest
from dtypes import EVERY_DTYPE
from scipy.special import erf

from bncheck.core import line_probe
from bncheck.core.precision import dtype_of
from bncheck.core.tolerance import UNIT_ROUNDOFF, K

DRAWS = 10_000


def _sine(rng, n):
    a, b = rng.uniform(0.3, 3, n), rng.uniform(0, 2 * math.pi, n)
    return lambda t: np.sin(a * t + b), a * np.cos(b)


def _exponential(rng, n):
    a = rng.uniform(0.3, 3, n)
    return lambda t: np.exp(a * t), a


def _pole(rng, n):
    """1/sqrt(|t - z|**2) with z anywhere at distance 1 to 3: the shape that BN has along a line."""
    d, angle = rng.uniform(1, 3, n), rng.uniform(0, math.pi, n)
    re = d * np.cos(angle)
    return lambda t: 1 / np.sqrt(t * t - 2 * t * re + d * d), re * d**-3.0


def _error_function(rng, n):
    a, b = rng.uniform(0.3, 2, n), rng.uniform(-1, 1, n)
    return lambda t: erf(a * t + b), a * 2 / math.sqrt(math.pi) * np.exp(-b * b)


def _kink(rng, n):
    z = rng.uniform(-0.3, 0.3, n)
    return lambda t: np.abs(t - z) + np.sin(t), np.sign(-z) + 1


def _step(rng, n):
    z = rng.uniform(-0.3, 0.3, n)
    return lambda t: (t > z) + np.sin(t), np.ones(n)


SMOOTH = [_sine, _exponential, _pole, _error_function]
ROUGH = [_kink, _step]


def _ratio(slope, truth):
    error = np.abs(slope.value - truth)
    return error / np.maximum(slope.bar, np.finfo(float).tiny)


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
@pytest.mark.parametrize("family", SMOOTH)
def test_bar_covers_rounding_and_is_not_wide(family, dtype):
    f, truth = family(np.random.default_rng(11), DRAWS)
    radius = line_probe.RADIUS[dtype]
    values = f(line_probe.nodes(radius)[:, None]).astype(dtype_of(dtype)).astype(float)
    ratio = _ratio(line_probe.slope(values, radius), truth)
    assert ratio.max() <= K
    assert np.median(ratio) >= K / 100


@pytest.mark.parametrize("amplitude", [1e-13, 1e-9, 1e-5, 1e-1])
@pytest.mark.parametrize("family", SMOOTH)
def test_bar_covers_added_noise_and_is_not_wide(family, amplitude):
    rng = np.random.default_rng(12)
    f, truth = family(rng, DRAWS)
    radius = line_probe.RADIUS["float64"]
    values = f(line_probe.nodes(radius)[:, None])
    noisy = values + amplitude * rng.standard_normal(values.shape)
    ratio = _ratio(line_probe.slope(noisy, radius), truth)
    assert ratio.max() <= K
    assert np.median(ratio) >= K / 100


@pytest.mark.parametrize("dtype", EVERY_DTYPE)
@pytest.mark.parametrize("family", ROUGH)
def test_bar_covers_kinks_and_steps(family, dtype):
    f, truth = family(np.random.default_rng(13), DRAWS)
    radius = line_probe.RADIUS[dtype]
    slope = line_probe.slope(f(line_probe.nodes(radius)[:, None]), radius)
    assert _ratio(slope, truth).max() <= K
    # A kink inside the probed interval leaves a bar that nothing can be decided with.
    inside = np.abs(slope.value - truth) > 1e-3
    assert inside.any()
    assert (K * slope.bar[inside] > 0.1).all()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("offset", [1e2, 1e4, 3e4])
def test_steps_below_the_resolution_are_covered_by_the_floor(dtype, offset):
    """At x = 1e4 in float16 the steps vanish or jump; the floor is what the caller knows of rounding."""
    rng = np.random.default_rng(14)
    u, radius = UNIT_ROUNDOFF[dtype], line_probe.RADIUS[dtype]
    x = (offset * rng.uniform(1, 1.5, DRAWS)).astype(dtype)
    moved = (x.astype(float) + line_probe.nodes(radius)[:, None]).astype(dtype).astype(float)
    a, b = rng.uniform(0.3, 1, DRAWS), rng.uniform(0, 2 * math.pi, DRAWS)
    values = np.sin(a * (moved - x) + b)
    noise = a * u * np.abs(x)
    with_floor = line_probe.slope(values, radius, noise)
    assert _ratio(with_floor, a * np.cos(b)).max() <= K
    frozen = (moved == x).all(axis=0)
    if frozen.any():
        assert (with_floor.plateau[frozen] == 0).all(), "the plateau alone is blind here: the floor is needed"


def test_steps_really_taken_remove_the_rounding_of_the_steps():
    """The residual of a right claim is far below the error of the plain slope when x is rounded coarsely."""
    rng = np.random.default_rng(15)
    radius = line_probe.RADIUS["float32"]
    x = (1e4 * rng.uniform(1, 1.5, DRAWS)).astype("float32")
    steps = (x.astype(float) + line_probe.nodes(radius)[:, None]).astype("float32").astype(float) - x
    a = rng.uniform(0.3, 1, DRAWS)
    values = np.sin(a * steps)
    plain = np.abs(line_probe.slope(values, radius).value - a)
    residual = np.abs(line_probe.slope(values - a * steps, radius).value)
    assert np.median(residual) < np.median(plain) / 30


def test_a_wrong_claim_is_seen_at_full_size():
    radius = line_probe.RADIUS["float64"]
    t = line_probe.nodes(radius)
    slope = line_probe.slope(np.sin(t) - 1.001 * t, radius)
    assert slope.value == pytest.approx(-0.001, rel=1e-9)
    assert K * slope.bar < 1e-11


def test_polynomials_are_exact_to_rounding():
    radius = line_probe.RADIUS["float64"]
    t = line_probe.nodes(radius)
    for degree in range(line_probe.NODES):
        value = float(line_probe.slope((t / radius) ** degree, radius).value)
        assert value == pytest.approx(1 / radius if degree == 1 else 0.0, abs=1e-12)


def test_agrees_with_an_independent_derivative():
    from scipy.differentiate import derivative

    radius = line_probe.RADIUS["float64"]

    def f(t):
        return np.exp(np.sin(3 * t)) / (2 + t)

    ours = line_probe.slope(f(line_probe.nodes(radius)), radius)
    theirs = derivative(f, 0.0)
    assert float(ours.value) == pytest.approx(float(theirs.df), abs=10 * float(theirs.error) + K * float(ours.bar))


def test_columns_keep_their_shape_and_do_not_mix():
    radius = line_probe.RADIUS["float64"]
    t = line_probe.nodes(radius)
    values = np.stack([np.stack([np.sin(t), 5 * t], -1), np.stack([1e6 + 0 * t, -t], -1)], -2)
    slope = line_probe.slope(values, radius, np.zeros((2, 2)))
    assert slope.value.shape == slope.bar.shape == (2, 2)
    np.testing.assert_allclose(slope.value, [[1, 5], [0, -1]], atol=1e-12)


def test_floor_is_the_propagated_noise():
    """The floor formula against a direct simulation of noise of that size."""
    rng = np.random.default_rng(16)
    radius = 0.25
    noise = rng.standard_normal((line_probe.NODES, 40_000))
    spread = line_probe.slope(noise, radius).value.std()
    floor = float(line_probe.slope(np.zeros(line_probe.NODES), radius, 1.0).floor)
    assert spread == pytest.approx(floor, rel=0.02)


@pytest.mark.parametrize("radius", line_probe.RADIUS.values())
def test_errors_that_grow_with_the_step_count_for_a_tenth(radius):
    steps, one_node_each = line_probe.nodes(radius), np.eye(line_probe.NODES)
    everywhere = np.linalg.norm(line_probe.slope(one_node_each, radius).value)
    growing = np.linalg.norm(line_probe.slope(one_node_each * np.abs(steps) / radius, radius).value)
    assert growing / everywhere == pytest.approx(line_probe.GROWING, rel=1e-3)


@pytest.mark.parametrize("degree", [1, 2, 9, 15])
def test_coefficients_are_those_of_chebyshev_polynomials_column_by_column(degree):
    """T_k(cos a) is cos(k a); a plateau is the root mean square of at most eight of the last coefficients."""
    angles = np.pi * (np.arange(line_probe.NODES) + 0.5) / line_probe.NODES
    values = np.stack([np.cos(degree * angles), -3 * np.cos(15 * angles)], axis=-1)[:, None, :]
    found = line_probe.slope(values, 0.5)
    assert found.coefficients.shape == (line_probe.NODES, 1, 2)
    assert found.level.shape == (1, 2)
    # But for the constant, as which the value in the middle was taken away.
    np.testing.assert_allclose(found.coefficients[1:, 0, 0], np.eye(line_probe.NODES)[degree, 1:], atol=1e-14)
    np.testing.assert_allclose(found.coefficients[1:, 0, 1], -3 * np.eye(line_probe.NODES)[15, 1:], atol=1e-14)
    assert found.level[0, 1] == pytest.approx(3 / np.sqrt(8))


def test_values_of_few_digits_are_differentiated_in_float64():
    """Their differences may be beyond all numbers of their own dtype."""
    t = line_probe.nodes(0.5)
    values = np.float16(60000) * np.sign(t).astype(np.float16)
    found = line_probe.slope(values, 0.5)
    assert np.isfinite(found.value)
    assert found.value == line_probe.slope(values.astype(np.float64), 0.5).value
