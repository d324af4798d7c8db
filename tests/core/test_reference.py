"""The reference against 50-digit goldens, against the laws of Batch Normalization, and against PyTorch.

The rounding bounds are held against evaluations that are carried out wholly in float64, float32 and float16. Run with
-s to see the worst ratio of error to bound of both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from bncheck.core import reference as ref
from bncheck.core import rounding
from bncheck.errors import ShapeError

Array = NDArray[Any]
GOLDENS = Path(__file__).resolve().parents[2] / "fixtures" / "goldens"
U = 2.0**-53


def _records(file: str) -> dict[str, Any]:
    with np.load(GOLDENS / file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files if name != "provenance"}


BATCHES = _records("batchnorm.npz")
RUNNING = _records("running.npz")
every_batch = pytest.mark.parametrize("name", BATCHES)


def _axes(golden: Any) -> ref.Axes:
    return tuple(int(axis) for axis in golden["axes"])


def _forward(golden: Any) -> ref.Forward:
    return ref.forward(golden["x"], golden["gamma"], golden["beta"], float(golden["eps"]), _axes(golden))


def _forward_eval(golden: Any) -> ref.Forward:
    arrays = (golden[name] for name in ("x", "gamma", "beta", "running_mean", "running_var"))
    return ref.forward_eval(*arrays, eps=float(golden["eps"]), axes=_axes(golden))  # type: ignore[misc]


def _worst_ratio(error: Array, bound: Array) -> float:
    """Return the largest of :func:`_ratios`."""
    return float(_ratios(error, bound).max())


def _ratios(error: Array, bound: Array) -> Array:
    """Return error / bound, where an error of 0 is fine with a bound of 0; NaN counts as infinite."""
    ratio = np.divide(error, bound, out=np.where(error == 0, 0.0, np.inf), where=bound > 0)
    return np.nan_to_num(ratio, nan=np.inf)


# ----------------------------------------------------------------------------------------------------- against goldens


def golden_errors(golden: Any) -> dict[str, Array]:
    """Return what rounding can do to each result of the reference, by counting its operations.

    Per channel, first order in u, with D = max|x - x0|, s = 1/inv_std (so sqrt(var) <= s), sums of m terms in any order
    erring by (m - 1) u sum|terms|, and 1 u for the golden's own rounding:

    * shifted: u D;  mu_shifted: (m + 1) u D;  xc, where |xc| <= 2 D: (m + 4) u D;
    * mu = x0 + mu_shifted: (m + 1) u D + 2 u |mu|;
    * var: the common error of xc enters squared, the rest of it is at most 3 u D per element and enters as
      2 mean|xc| 3 u D <= 6 u D sqrt(var); squares, sum and difference cost (m + 2) u var;
    * inv_std: half of d_var / s**2, and 2.5 u for the sum, the root and the quotient: r below;
    * xhat: d_xc / s + |xhat| (r + 2 u);  y: |gamma| d_xhat + 2 u |gamma xhat| + 3 u |y|;
    * dgamma: sum(|dy| d_xhat) + (m + 1) u sum|dy xhat|;  dbeta: m u sum|dy|;
    * dx, with A = mean|dy|, B = mean|dy xhat|, E = mean(|dy| d_xhat): the staged form has more operations than the
      closed one and is counted. sum(dxhat) / m errs by (m + 3) u A, the dvar term by (m + 8) u |xhat| B
      + |xhat| E + d_xhat B, the second term of dmu by B times the rounding of mean(xhat) = 0, the prefactors and
      final sums by (r + 6 u) (|dy| + A + |xhat| B), all times |gamma| / s.

    The factor 1.01 pays for the second order.
    """
    axes, x = _axes(golden), golden["x"]
    m = int(np.prod([x.shape[axis] for axis in axes]))

    def mean(values: Array) -> Any:
        return values.mean(axis=axes, keepdims=True)

    def wide(name: str) -> Any:
        return np.abs(np.expand_dims(golden[name], axes))

    first = x[tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(x.ndim))]
    spread = np.abs(x - first).max(axis=axes, keepdims=True)
    dy, xhat, gamma, inv_std, var = (
        np.abs(golden["dy"]),
        np.abs(golden["xhat"]),
        *map(wide, ("gamma", "inv_std", "var")),
    )

    d_var = (m + 2) * U * var + 6 * U * spread * np.sqrt(var)
    r = 0.5 * d_var * inv_std**2 + 2.5 * U
    d_xhat = (m + 4) * U * spread * inv_std + xhat * (r + 2 * U)
    mean_dy, mean_dy_xhat, mean_dy_d_xhat = mean(dy), mean(dy * xhat), mean(dy * d_xhat)
    mean_xhat = mean(d_xhat) + (m + 8) * U * mean(xhat)
    d_bracket = (
        (m + 3) * U * mean_dy
        + ((m + 8) * U * xhat + d_xhat + mean_xhat) * mean_dy_xhat
        + xhat * mean_dy_d_xhat
        + (r + 6 * U) * (dy + mean_dy + xhat * mean_dy_xhat)
    )
    errors = {
        "mu": (m + 1) * U * spread + 2 * U * wide("mu"),
        "var": d_var + U * var,
        "inv_std": inv_std * (r + U),
        "xhat": d_xhat,
        "y": gamma * d_xhat + 2 * U * gamma * xhat + 3 * U * np.abs(golden["y"]),
        "dx": gamma * inv_std * d_bracket,
        "dgamma": m * (mean_dy_d_xhat + (m + 1) * U * mean_dy_xhat),
        "dbeta": m * m * U * mean_dy,
    }
    return {name: 1.01 * value.reshape(golden[name].shape) for name, value in errors.items()}


@every_batch
def test_training_matches_golden(name: str) -> None:
    golden = BATCHES[name]
    bounds, fwd = golden_errors(golden), _forward(golden)
    for field in ("mu", "var", "inv_std", "xhat", "y"):
        assert _worst_ratio(np.abs(getattr(fwd, field) - golden[field]), bounds[field]) <= 1, field


@pytest.mark.parametrize("backward", [ref.backward, ref.backward_staged])
@every_batch
def test_gradients_match_golden(name: str, backward: Callable[..., ref.Gradients]) -> None:
    golden = BATCHES[name]
    bounds, grads = golden_errors(golden), backward(golden["dy"], _forward(golden), golden["gamma"], _axes(golden))
    for field in ref.Gradients._fields:
        assert _worst_ratio(np.abs(getattr(grads, field) - golden[field]), bounds[field]) <= 1, field


def test_report_worst_ratio_to_golden() -> None:
    """The derived bounds are neither exceeded nor idle; run pytest with -s to see the table."""
    worst = dict.fromkeys(("mu", "var", "inv_std", "xhat", "y", "dx", "dx staged", "dgamma", "dbeta"), 0.0)
    for golden in BATCHES.values():
        bounds, fwd = golden_errors(golden), _forward(golden)
        arguments = (golden["dy"], fwd, golden["gamma"], _axes(golden))
        results = fwd._asdict() | ref.backward(*arguments)._asdict()
        results["dx staged"] = ref.backward_staged(*arguments).dx
        for field in worst:
            key = field.split()[0]
            worst[field] = max(worst[field], _worst_ratio(np.abs(results[field] - golden[key]), bounds[key]))
    sys.stdout.write("worst error / bound: " + ", ".join(f"{k} {v:.2f}" for k, v in worst.items()) + "\n")
    assert all(0.02 < ratio <= 1 for ratio in worst.values()), worst


@every_batch
def test_inference_matches_golden(name: str) -> None:
    # inv_std costs 2.5 u, x - rm, the product and the golden u each: 5.5 u; y adds a product, a sum and the golden.
    golden = BATCHES[name]
    axes, fwd = _axes(golden), _forward_eval(golden)
    scaled = np.abs(np.expand_dims(golden["gamma"], axes) * golden["eval_xhat"])
    xhat_bound = 5.5 * U * np.abs(golden["eval_xhat"])
    assert _worst_ratio(np.abs(fwd.xhat - golden["eval_xhat"]), 1.01 * xhat_bound) <= 1
    assert _worst_ratio(np.abs(fwd.y - golden["eval_y"]), 1.01 * U * (6.5 * scaled + 2 * np.abs(golden["eval_y"]))) <= 1


@every_batch
def test_inference_gradients_match_golden(name: str) -> None:
    # dx: inv_std 2.5 u, two products and the golden; dgamma: m - 1 sums, a product and the golden on top of xhat.
    golden = BATCHES[name]
    axes = _axes(golden)
    grads = ref.backward_eval(golden["dy"], _forward_eval(golden), golden["gamma"], axes)
    m = golden["x"].size // golden["gamma"].size
    terms = np.abs(golden["dy"] * golden["eval_xhat"]).sum(axis=axes)
    dbeta_bound = m * U * np.abs(golden["dy"]).sum(axis=axes)
    assert _worst_ratio(np.abs(grads.dx - golden["eval_dx"]), 5.6 * U * np.abs(golden["eval_dx"])) <= 1
    assert _worst_ratio(np.abs(grads.dgamma - golden["eval_dgamma"]), 1.01 * (m + 6) * U * terms) <= 1
    assert _worst_ratio(np.abs(grads.dbeta - golden["dbeta"]), 1.01 * dbeta_bound) <= 1


@pytest.mark.parametrize("name", ref.RUNNING_RULES)
def test_running_statistics_match_golden(name: str) -> None:
    # One step: the weights, below 1, err by 2 u at most, the products, the sum and the golden add 3 u (new var 5 u, for
    # m / (m - 1) <= 2 and its product). mu and var err as in golden_errors. A step shrinks the errors before it, so
    # their sum bounds them.
    golden, rule = RUNNING[name], ref.RUNNING_RULES[name]
    running = ref.start_running(rule, (2,))
    one = np.ones(2)
    mean_bound = var_bound = np.zeros(2)
    for k in range(4):
        x = RUNNING["batches"][f"x{k}"]
        fwd, spread, m = ref.forward(x, one, one, 1e-5), np.abs(x - x[0]).max(axis=0), len(x)
        mean_bound = mean_bound + U * (5 * np.abs(running.mean) + (5 + 2) * np.abs(fwd.mu) + (m + 1) * spread)
        var_bound = var_bound + U * (5 * running.var + 2 * ((7 + m + 2) * fwd.var + 6 * spread * np.sqrt(fwd.var)))
        running = ref.update_running(running, fwd, rule, float(golden["momentum"]))
        assert running.batches == k + 1
        assert _worst_ratio(np.abs(running.mean - golden["mean"][k]), mean_bound) <= 1, k
        assert _worst_ratio(np.abs(running.var - golden["var"][k]), var_bound) <= 1, k


def test_large_mean_keeps_xhat() -> None:
    """Without the shift by the first element xhat is wrong by 1e-5 at mean 1e6 and standard deviation 1e-6."""
    golden = BATCHES["mean 1e6 sd 1e-6"]
    assert np.abs(_forward(golden).xhat - golden["xhat"]).max() < 16 * U


def test_plain_two_pass_loses_xhat_at_large_mean() -> None:
    """The golden of the test above does tell the shifted from the plain evaluation."""
    golden = BATCHES["mean 1e6 sd 1e-6"]
    x = golden["x"]
    plain = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + golden["eps"])
    assert np.abs(plain - golden["xhat"]).max() > 1e6 * U


# ------------------------------------------------------------------------------------------------------ laws of the map


class Batch(NamedTuple):
    """Inputs of one law: three channels, m = 24, values k / 1024 so that sums of a few of them are exact."""

    x: Array
    gamma: Array
    beta: Array
    dy: Array
    eps: float
    axes: ref.Axes

    def run(self) -> tuple[ref.Forward, ref.Gradients]:
        fwd = ref.forward(self.x, self.gamma, self.beta, self.eps, self.axes)
        return fwd, ref.backward(self.dy, fwd, self.gamma, self.axes)

    def bounds(self) -> rounding.Bounds:
        return rounding.rounding_bounds(self.x, self.gamma, self.beta, self.dy, self.eps, U, self.axes)


@pytest.fixture(params=[1e-5, 0.5])
def batch(request: pytest.FixtureRequest) -> Batch:
    rng = np.random.default_rng(2)
    x, dy = (rng.integers(-2048, 2048, (4, 3, 2, 3)) / 1024 for _ in range(2))
    return Batch(x, np.array([1.5, -0.75, 2.0]), np.array([0.5, -1.0, 3.0]), dy, request.param, (0, 2, 3))


def _assert_close(actual: Any, desired: Any, bounds: rounding.Bounds) -> None:
    """Compare every field that has a bound; both sides may err by it."""
    for field in rounding.Bounds._fields:
        if hasattr(actual, field):
            error = np.abs(getattr(actual, field) - getattr(desired, field))
            assert _worst_ratio(error, 2 * getattr(bounds, field)) <= 1, field


def test_law_1_dx_sums_to_zero(batch: Batch) -> None:
    _, grads = batch.run()
    assert np.all(np.abs(grads.dx.sum(axis=batch.axes)) <= batch.bounds().dx.sum(axis=batch.axes))


def test_law_1_dx_dot_xhat_is_left_to_eps(batch: Batch) -> None:
    fwd, grads = batch.run()
    scale = batch.gamma * fwd.inv_std
    expected = scale * grads.dgamma * batch.eps / (fwd.var + batch.eps)
    # Terms dy xhat and xhat**2 mean(dy xhat), each with the (m + 12) u that dx and xhat cost here (D / s < 4).
    terms = np.abs(scale) * 2 * np.abs(batch.dy * fwd.xhat).sum(axis=batch.axes)
    error = np.abs((grads.dx * fwd.xhat).sum(axis=batch.axes) - expected)
    assert np.all(error <= 4 * (fwd.m + 12) * U * terms)


def test_law_2_shift_is_exact(batch: Batch) -> None:
    """Both x and c are dyadic, so x + c is exact, and the shift by the first element removes c exactly."""
    fwd, grads = batch.run()
    shifted_fwd, shifted_grads = batch._replace(x=batch.x + 4096.0).run()
    np.testing.assert_array_equal(shifted_fwd.y, fwd.y)
    np.testing.assert_array_equal(shifted_grads.dx, grads.dx)


@pytest.mark.parametrize("a", [8.0, -0.25])
def test_law_3_scale_is_exact(batch: Batch, a: float) -> None:
    """Powers of two commute with rounding; a < 0 flips xhat."""
    fwd, grads = batch.run()
    scaled_fwd, scaled_grads = batch._replace(x=a * batch.x, eps=a * a * batch.eps, dy=np.sign(a) * batch.dy).run()
    np.testing.assert_array_equal(scaled_fwd.xhat, np.sign(a) * fwd.xhat)
    np.testing.assert_array_equal(scaled_grads.dx, grads.dx / a)
    np.testing.assert_array_equal(scaled_grads.dgamma, grads.dgamma)


def test_law_4_permuting_the_batch_permutes_y_and_dx(batch: Batch) -> None:
    fwd, grads = batch.run()
    order = np.array([2, 0, 3, 1])
    permuted_fwd, permuted_grads = batch._replace(x=batch.x[order], dy=batch.dy[order]).run()
    bounds = batch.bounds()._replace(y=batch.bounds().y[order], dx=batch.bounds().dx[order])
    _assert_close(permuted_fwd, fwd._replace(y=fwd.y[order]), bounds)
    _assert_close(permuted_grads, grads._replace(dx=grads.dx[order]), bounds)


def test_law_5_channels_do_not_mix(batch: Batch) -> None:
    fwd, grads = batch.run()
    x, dy = batch.x.copy(), batch.dy.copy()
    x[:, 1] *= 1e3
    dy[:, 1] += 7
    other_fwd, other_grads = batch._replace(x=x, dy=dy).run()
    for mine, others in ((fwd.y, other_fwd.y), (grads.dx, other_grads.dx)):
        np.testing.assert_array_equal(mine[:, [0, 2]], others[:, [0, 2]])
        assert np.any(mine[:, 1] != others[:, 1])
    np.testing.assert_array_equal(grads.dgamma[[0, 2]], other_grads.dgamma[[0, 2]])
    np.testing.assert_array_equal(grads.dbeta[[0, 2]], other_grads.dbeta[[0, 2]])


def test_law_6_backward_is_linear_in_dy(batch: Batch) -> None:
    other = batch._replace(dy=batch.dy[::-1] + 0.5)
    summed = batch._replace(dy=2 * batch.dy - other.dy)
    one, two, both = (b.run()[1] for b in (batch, other, summed))
    combined = ref.Gradients(*(2 * p - q for p, q in zip(one, two, strict=True)))
    _assert_close(
        both, combined, rounding.Bounds(*(2 * p + q for p, q in zip(batch.bounds(), other.bounds(), strict=True)))
    )


def test_law_6_y_is_affine_in_gamma_and_beta(batch: Batch) -> None:
    fwd, _ = batch.run()
    doubled, _ = batch._replace(gamma=2 * batch.gamma, beta=2 * batch.beta).run()
    np.testing.assert_array_equal(doubled.y, 2 * fwd.y)
    beta_only, _ = batch._replace(gamma=np.zeros(3)).run()
    gamma_only, _ = batch._replace(beta=np.zeros(3)).run()
    _assert_close(fwd, fwd._replace(y=beta_only.y + gamma_only.y), batch.bounds())


def test_law_7_repeating_the_batch(batch: Batch) -> None:
    fwd, grads = batch.run()
    repeated = batch._replace(x=np.concatenate([batch.x] * 3), dy=np.concatenate([batch.dy] * 3))
    fwd_3, grads_3 = repeated.run()
    bounds = repeated.bounds()
    _assert_close(fwd_3, fwd._replace(y=np.concatenate([fwd.y] * 3)), bounds)
    expected = ref.Gradients(np.concatenate([grads.dx] * 3), 3 * grads.dgamma, 3 * grads.dbeta)
    _assert_close(grads_3, expected, bounds)


def test_law_8_gamma_std_and_beta_mu_recover_x(batch: Batch) -> None:
    fwd, _ = batch.run()
    undone = batch._replace(gamma=np.sqrt(fwd.var + batch.eps), beta=fwd.mu)
    _assert_close(undone.run()[0], fwd._replace(y=batch.x), undone.bounds())


def test_law_9_spatial_equals_flat(batch: Batch) -> None:
    fwd, grads = batch.run()

    def flat(values: Array) -> Array:
        return np.moveaxis(values, 1, -1).reshape(-1, 3)

    flat_fwd, flat_grads = batch._replace(x=flat(batch.x), dy=flat(batch.dy), axes=(0,)).run()
    np.testing.assert_array_equal(flat_fwd.y, flat(fwd.y))
    np.testing.assert_array_equal(flat_grads.dx, flat(grads.dx))
    np.testing.assert_array_equal(flat_grads.dgamma, grads.dgamma)


def test_law_10_eval_with_batch_statistics_is_training(batch: Batch) -> None:
    fwd, _ = batch.run()
    evaluated = ref.forward_eval(batch.x, batch.gamma, batch.beta, fwd.mu, fwd.var, batch.eps, batch.axes)
    _assert_close(evaluated, fwd, batch.bounds())


def test_law_11_gamma_zero(batch: Batch) -> None:
    fwd, grads = batch._replace(gamma=np.zeros(3)).run()
    np.testing.assert_array_equal(fwd.y, np.broadcast_to(batch.beta.reshape(1, 3, 1, 1), fwd.y.shape))
    assert not grads.dx.any()
    np.testing.assert_array_equal(grads.dgamma, batch.run()[1].dgamma)
    assert grads.dgamma.all()


def test_law_11_constant_channel(batch: Batch) -> None:
    # 0.1 is no dyadic number: mean(x) need not round to it, but x - x0 is exactly 0.
    fwd, grads = batch._replace(x=np.full_like(batch.x, 0.1)).run()
    assert not fwd.xhat.any()
    assert not fwd.var.any()
    centred = batch.dy - batch.dy.mean(axis=batch.axes, keepdims=True)
    np.testing.assert_allclose(grads.dx, (batch.gamma * batch.eps**-0.5).reshape(1, 3, 1, 1) * centred, rtol=64 * U)


def test_law_12_one_element_per_channel(batch: Batch) -> None:
    fwd, grads = batch._replace(x=batch.x[:1, :, :1, :1], dy=batch.dy[:1, :, :1, :1]).run()
    np.testing.assert_array_equal(fwd.y.ravel(), batch.beta)
    assert fwd.m == 1
    assert not grads.dx.any()


def test_law_13_moments_of_xhat(batch: Batch) -> None:
    fwd, _ = batch.run()
    # |xhat| < 4 and D / s < 4 here: (m + 12) u per term, as in law 1.
    tolerance = 4 * fwd.m * (fwd.m + 12) * U
    assert np.all(np.abs(fwd.xhat.sum(axis=batch.axes)) <= tolerance)
    expected = fwd.m * fwd.var / (fwd.var + batch.eps)
    assert np.all(np.abs((fwd.xhat**2).sum(axis=batch.axes) - expected) <= 2 * tolerance)


# ------------------------------------------------------------------------------------------------- shapes and contracts


def test_gamma_must_have_one_entry_per_channel() -> None:
    with pytest.raises(ShapeError, match=r"gamma has shape \(2,\), but one entry per channel is shape \(3,\)"):
        ref.forward(np.ones((4, 3)), np.ones(2), np.ones(3), 1e-5)


@pytest.mark.parametrize("wrong", [(), (1,), (1, 3), (4, 3), (4,)])
def test_beta_does_not_broadcast(wrong: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="beta"):
        ref.forward(np.ones((4, 3)), np.ones(3), np.ones(wrong), 1e-5)


@pytest.mark.parametrize("wrong", ["running_mean", "running_var"])
def test_running_statistics_must_have_one_entry_per_channel(wrong: str) -> None:
    statistics: dict[str, Any] = {"running_mean": np.ones(3), "running_var": np.ones(3), wrong: np.ones(4)}
    with pytest.raises(ShapeError, match=f"^{wrong} has shape"):
        ref.forward_eval(np.ones((4, 3)), np.ones(3), np.ones(3), eps=1e-5, **statistics)


@pytest.mark.parametrize("wrong", ["gamma", "beta"])
def test_inference_names_the_parameter_that_does_not_fit(wrong: str) -> None:
    parameters: dict[str, Any] = {"gamma": np.ones(3), "beta": np.ones(3), wrong: np.ones(4)}
    with pytest.raises(ShapeError, match=f"^{wrong} has shape"):
        ref.forward_eval(np.ones((4, 3)), running_mean=np.ones(3), running_var=np.ones(3), eps=1e-5, **parameters)


def test_inference_tells_the_statistics_that_it_used() -> None:
    mean, var = np.array([1.0, -2.0, 0.5]), np.array([4.0, 0.25, 1.0])
    fwd = ref.forward_eval(np.ones((4, 3, 2)), np.ones(3), np.ones(3), mean, var, 0.5, (0, 2))
    np.testing.assert_array_equal(fwd.mu, mean)
    np.testing.assert_array_equal(fwd.var, var)
    np.testing.assert_allclose(fwd.inv_std, (var + 0.5) ** -0.5, rtol=1e-15)
    assert fwd.m == 8


@pytest.mark.parametrize("backward", [ref.backward, ref.backward_staged, ref.backward_eval])
@pytest.mark.parametrize("wrong", [(3, 4), (1, 3), (4, 3, 1), ()])
def test_dy_must_have_the_shape_of_x(backward: Callable[..., ref.Gradients], wrong: tuple[int, ...]) -> None:
    fwd = ref.forward(np.ones((4, 3)), np.ones(3), np.ones(3), 1e-5)
    with pytest.raises(ShapeError, match="dy has shape"):
        backward(np.ones(wrong), fwd, np.ones(3))


def test_negative_axes_count_from_the_end(batch: Batch) -> None:
    negative = batch._replace(axes=(-4, -1, -2)).run()[0]
    _assert_close(negative, batch.run()[0], batch.bounds())


def test_inputs_are_left_alone(batch: Batch) -> None:
    before = [np.copy(value) for value in batch[:4]]
    fwd, _ = batch.run()
    ref.backward_staged(batch.dy, fwd, batch.gamma, batch.axes)
    batch.bounds()
    for value, copy in zip(batch[:4], before, strict=True):
        np.testing.assert_array_equal(value, copy)


@pytest.mark.parametrize("rule", ["pytorch", "paper"])
def test_unbiased_variance_of_one_element_is_nan(rule: str) -> None:
    fwd = ref.forward(np.ones((1, 2)), np.ones(2), np.ones(2), 1e-5)
    running = ref.update_running(ref.start_running(ref.RUNNING_RULES[rule], (2,)), fwd, ref.RUNNING_RULES[rule], 0.1)
    assert np.isnan(running.var).all()
    assert np.isfinite(running.mean).all()


# ----------------------------------------------------------------------------------------------------- rounding bounds


def _naive_sum(values: Array) -> Any:
    """Add row by row, every partial sum rounded to the dtype: the worst order there is."""
    total = np.zeros_like(values[0])
    for row in values:
        total = total + row
    return total


def _numpy_sum(values: Array) -> Any:
    """Add as NumPy does along contiguous memory: pairwise."""
    return np.ascontiguousarray(values.T).sum(axis=1, dtype=values.dtype)


class Form(NamedTuple):
    """One way to write the same mathematics."""

    total: Callable[[Array], Array]
    folded: bool
    staged: bool


FORMS = [
    Form(total, folded, staged)
    for total in (_naive_sum, _numpy_sum)
    for folded, staged in ((False, False), (True, True))
]
DTYPES = [(np.float64, 2.0**-53), (np.float32, 2.0**-24), (np.float16, 2.0**-11)]
every_dtype = pytest.mark.parametrize(("dtype", "u"), DTYPES, ids=["float64", "float32", "float16"])
every_form = pytest.mark.parametrize("form", FORMS, ids=["naive", "naive folded staged", "sum", "sum folded staged"])


def evaluate(batch: Batch, dtype: Any, form: Form, *, one_pass: bool = False) -> dict[str, Array]:
    """Return y, dx, dgamma, dbeta of an (m, C) batch, every operation rounded to `dtype`."""
    x, g, b, dy = (np.asarray(value, dtype) for value in batch[:4])
    m, eps, half, two = dtype(len(x)), dtype(batch.eps), dtype(0.5), dtype(2)
    total = form.total
    mu = total(x) / m
    xc = x - mu
    var = total(x * x) / m - mu * mu if one_pass else total(xc * xc) / m
    inv_std = dtype(1) / np.sqrt(var + eps)
    xhat = xc * inv_std
    y = (g * inv_std) * x + (b - mu * g * inv_std) if form.folded else g * xhat + b
    dgamma, dbeta = total(dy * xhat), total(dy)
    if form.staged:
        dxhat = dy * g
        dvar = total(dxhat * xc) * -half * inv_std * inv_std * inv_std
        dmu = total(dxhat) * -inv_std + dvar * total(-two * xc) / m
        dx = dxhat * inv_std + dvar * two * xc / m + dmu / m
    else:
        dx = g * inv_std * (dy - dbeta / m - xhat * (dgamma / m))
    results = {"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
    assert all(value.dtype == dtype for value in results.values())
    return results


SIZES = (1, 2, 3, 5, 8, 17, 33, 64, 100, 300)


def random_batches(dtype: Any, max_offset: float, channels: int = 32) -> Iterator[Batch]:
    """Yield one batch per m and eps, exact in `dtype`; channels differ in offset, scale and tails.

    float16 keeps scales near 1, and sums and products below its largest number 65504: the bounds know neither underflow
    nor overflow.
    """
    half = dtype is np.float16
    for m in SIZES:
        rng = np.random.default_rng(m)
        for eps in (1e-3, 1e-2, 0.1, 10.0) if half else (1e-8, 1e-5, 0.1, 10.0):
            sd = np.ones(channels) if half else 2.0 ** rng.integers(-6, 7, channels)
            largest = min(max_offset, 3e4 / m, 6e3 * eps**0.5) if half else max_offset
            offset = rng.choice([-1.0, 1.0], channels) * largest ** rng.uniform(-0.5, 1.0, channels)
            noise = rng.standard_normal((m, channels))
            noise[0] *= rng.choice([1.0, 1.0, 4.0], channels)  # some first elements are outliers
            gamma = rng.standard_normal(channels) * rng.choice([0.0, 1.0, 1.0, 1.0], channels)
            beta = rng.standard_normal(channels) * rng.choice([0.25, 8.0], channels)
            dy = rng.standard_normal((m, channels)) + rng.choice([0.0, 1.0, 16.0], channels)
            dy[1:] *= rng.choice([0.0, 1.0, 1.0], channels)  # some losses look at the first element only
            dy *= 0.03 if half else 1.0
            x, gamma, beta, dy = (
                value.astype(dtype).astype(np.float64) for value in ((noise + offset) * sd, gamma, beta, dy)
            )
            yield Batch(x, gamma, beta, dy, float(dtype(eps)), (0,))


def bound_ratios(
    dtype: Any, u: float, form: Form, max_offset: float, *, one_pass: tuple[bool, bool] = (False, False)
) -> dict[str, Array]:
    """Return |evaluation - reference| / bound of every element of every batch, by field.

    `one_pass` says whether the evaluation, and whether the bound, take the variance as mean(x**2) - mean(x)**2. With
    such an evaluation only channels count whose variance is meaningful: E[x**2] rounds to less than half var + eps, so
    it is not negative and the first order holds.
    """
    ratios: dict[str, list[Array]] = {field: [] for field in rounding.Bounds._fields}
    for batch in random_batches(dtype, max_offset):
        fwd, grads = batch.run()
        truth = {"y": fwd.y, **grads._asdict()}
        lost = 2 * (fwd.m + 2) * u * (batch.x**2).mean(axis=0)
        counts = lost < (fwd.var + batch.eps) / 2 if one_pass[0] else np.full(fwd.var.shape, True)
        bounds = rounding.rounding_bounds(*batch[:5], u, one_pass=one_pass[1])
        with np.errstate(invalid="ignore" if one_pass[0] else "warn"):
            results = evaluate(batch, dtype, form, one_pass=one_pass[0])
        for field, value in results.items():
            error = np.abs(np.float64(value) - truth[field])
            ratios[field].append(_ratios(error, getattr(bounds, field))[..., counts].ravel())
    return {field: np.concatenate(parts) for field, parts in ratios.items()}


@every_form
@every_dtype
def test_bounds_hold_for_right_evaluations(dtype: Any, u: float, form: Form) -> None:
    """1280 channels per case, offsets up to 1e6 standard deviations (less in float16)."""
    ratios = bound_ratios(dtype, u, form, 1e6)
    sys.stdout.write("worst / bound: " + " ".join(f"{k} {v.max():.3f}" for k, v in ratios.items()) + "\n")
    for field, ratio in ratios.items():
        assert ratio.max() <= 1, field


@every_dtype
def test_bounds_are_not_absurdly_loose(dtype: Any, u: float) -> None:
    """At ordinary offsets half of all errors come within a factor 10 000 of the bound, and some within 30."""
    ratios = bound_ratios(dtype, u, FORMS[0], 1.0)
    for field, ratio in ratios.items():
        assert 1e-4 < np.median(ratio[ratio > 0]) < 0.5, field
        assert ratio.max() > 1 / 30, field


@every_form
@pytest.mark.parametrize(("dtype", "u"), DTYPES[:2], ids=["float64", "float32"])
def test_one_pass_bounds_hold_for_one_pass_evaluations(dtype: Any, u: float, form: Form) -> None:
    for field, ratio in bound_ratios(dtype, u, form, 1e4, one_pass=(True, True)).items():
        assert ratio.size >= 900, field
        assert ratio.max() <= 1, field


def test_two_pass_bounds_reject_one_pass_evaluations_at_large_mean() -> None:
    ratios = bound_ratios(np.float64, U, FORMS[1], 1e4, one_pass=(True, False))
    assert ratios["y"].max() > 10
    assert ratios["dgamma"].max() > 10


def test_one_pass_bounds_are_never_below_two_pass_bounds(batch: Batch) -> None:
    loose = rounding.rounding_bounds(*batch[:5], U, batch.axes, one_pass=True)
    for one, two in zip(loose, batch.bounds(), strict=True):
        assert np.all(one >= two)


@every_batch
def test_bounds_hold_for_goldens(name: str) -> None:
    golden = BATCHES[name]
    x, gamma, beta, dy = (golden[field] for field in ("x", "gamma", "beta", "dy"))
    bounds, fwd = Batch(x, gamma, beta, dy, float(golden["eps"]), _axes(golden)).bounds(), _forward(golden)
    grads = ref.backward_staged(golden["dy"], fwd, golden["gamma"], _axes(golden))
    for field, value in {"y": fwd.y, **grads._asdict()}.items():
        assert _worst_ratio(np.abs(value - golden[field]), getattr(bounds, field)) <= 1, field


# ------------------------------------------------------------------------------------------------------ against PyTorch

LAYOUTS = {"NC": (5, 3), "NCL": (4, 3, 5), "NCHW": (4, 3, 2, 5), "NCDHW": (2, 3, 2, 3, 4)}
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture
def torch() -> Any:
    return pytest.importorskip("torch", reason="PyTorch is not installed: the reference is not compared with it")


def _layout_batch(layout: str) -> Batch:
    rng = np.random.default_rng(5)
    shape = LAYOUTS[layout]
    x, dy = rng.standard_normal(shape) * 2 + 3, rng.standard_normal(shape) + 0.5
    axes = (0, *range(2, len(shape)))
    return Batch(x, np.array([0.5, -2.0, 1.0]), np.array([0.0, 3.0, -1.0]), dy, 1e-3, axes)


def _run_torch(torch: Any, batch: Batch, mean: Array, var: Array, *, training: bool) -> tuple[Array, ref.Gradients]:
    """Return y and gradients; mean and var, the running statistics, are updated in place in training."""
    leaves = [torch.tensor(value, requires_grad=True) for value in (batch.x, batch.gamma, batch.beta)]
    x, gamma, beta = leaves
    running = torch.from_numpy(mean), torch.from_numpy(var)
    y = torch.nn.functional.batch_norm(x, *running, gamma, beta, training=training, momentum=0.25, eps=batch.eps)
    y.backward(torch.tensor(batch.dy))
    return y.detach().numpy(), ref.Gradients(*(leaf.grad.numpy() for leaf in leaves))


@every_layout
def test_training_agrees_with_torch(torch: Any, layout: str) -> None:
    batch = _layout_batch(layout)
    fwd, grads = batch.run()
    y, torch_grads = _run_torch(torch, batch, np.zeros(3), np.ones(3), training=True)
    _assert_close(torch_grads, grads, batch.bounds())
    _assert_close(fwd._replace(y=y), fwd, batch.bounds())


@every_layout
def test_inference_agrees_with_torch(torch: Any, layout: str) -> None:
    batch = _layout_batch(layout)
    mean, var = np.array([2.5, 3.0, -1.0]), np.array([0.5, 4.0, 2.0])
    fwd = ref.forward_eval(batch.x, batch.gamma, batch.beta, mean, var, batch.eps, batch.axes)
    grads = ref.backward_eval(batch.dy, fwd, batch.gamma, batch.axes)
    y, torch_grads = _run_torch(torch, batch, mean, var, training=False)
    # PyTorch folds the statistics into a scale and a shift; |scale x| + |shift| < 128 here, at 8 u in all.
    np.testing.assert_allclose(y, fwd.y, rtol=0, atol=8 * U * 128)
    for field in ref.Gradients._fields:
        # Sums of m = 48 terms at most, each below 16 in size.
        atol = 2 * fwd.m * fwd.m * U * 16
        np.testing.assert_allclose(getattr(torch_grads, field), getattr(grads, field), rtol=0, atol=atol)


@every_layout
def test_running_statistics_agree_with_torch(torch: Any, layout: str) -> None:
    batch, rule = _layout_batch(layout), ref.RUNNING_RULES["pytorch"]
    running = ref.start_running(rule, (3,))
    mean, var = np.zeros(3), np.ones(3)
    for step in range(3):
        moved = batch._replace(x=batch.x * (step + 1) - step)
        running = ref.update_running(running, moved.run()[0], rule, 0.25)
        _run_torch(torch, moved, mean, var, training=True)
    # Three updates, m <= 48: (m + 10) u of numbers below 100 each.
    np.testing.assert_allclose(mean, running.mean, rtol=0, atol=3 * 58 * U * 100)
    np.testing.assert_allclose(var, running.var, rtol=0, atol=3 * 58 * U * 100)
