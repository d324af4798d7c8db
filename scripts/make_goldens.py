"""Write fixtures/goldens/*.npz: Batch Normalization and its gradients, right to the last bit of float64.

Everything is evaluated with mpmath at 50 digits, on inputs that are float64 numbers and so known exactly, and rounded
once. The gradient of x is the product of dy with the Jacobian ``dxhat_i / dx_j``, not a closed formula, and mpmath's
numerical derivative of the forward confirms it for two elements of every channel.

    python scripts/make_goldens.py            write the files
    python scripts/make_goldens.py --check    compare the files with what would be written, and exit 1 if they differ

"""

from __future__ import annotations

import argparse
import sys
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import mpmath
import numpy as np
from mpmath import mp, mpf
from numpy.typing import NDArray

GOLDENS = Path(__file__).resolve().parents[1] / "fixtures" / "goldens"
DIGITS = 50
# Rounding noise of 50 digits lies near 1e-44 (mean 1e6, square 1e12), the smallest value of any case near 1e-13.
ZERO_BELOW = mpf("1e-35")

Array = NDArray[np.float64]
Record = NDArray[np.void]
Draw = Callable[[int], Array]


# ------------------------------------------------------------------------------------------------------------- inputs


class Case(NamedTuple):
    """One batch: `make_x` shapes the plain numbers of x, the two factors change gamma and dy."""

    name: str
    shape: tuple[int, ...]
    axes: tuple[int, ...]
    eps: float
    make_x: Callable[[Array], Array] = lambda plain: plain
    gamma_factor: float = 1.0
    dy_factor: float = 1.0


def _with_first(value: float) -> Callable[[Array], Array]:
    """Return a maker that overwrites the first row, which the reference subtracts from all others."""

    def make(plain: Array) -> Array:
        x = plain.copy()
        x[0] = value
        return x

    return make


def _with_last(value: float) -> Callable[[Array], Array]:
    def make(plain: Array) -> Array:
        x = plain.copy()
        x[-1] = value
        return x

    return make


def _mixed(plain: Array) -> Array:
    """Return channels that differ in scale by 2**10 each, so that one which leaks into another shows."""
    return plain * 2.0 ** (10.0 * np.arange(plain.shape[1]) - 10.0)


FLAT_SHAPES = [(2, 1), (2, 3), (3, 2), (4, 3), (5, 4), (7, 1), (8, 5)]
EPSILONS = [1e-12, 1e-8, 1e-5, 1e-3, 0.1, 10.0]
MICRO = 2.0**-20  # 9.5e-7: a standard deviation near 1e-6
CASES = [
    *(Case(f"{'x'.join(map(str, s))} eps={eps:g}", s, (0,), eps) for s in FLAT_SHAPES for eps in EPSILONS),
    Case("spatial 2x3x2", (2, 3, 2), (0, 2), 1e-5),
    Case("spatial 2x3x2 eps=10", (2, 3, 2), (0, 2), 10.0),
    Case("spatial 2x3x2x3", (2, 3, 2, 3), (0, 2, 3), 1e-5),
    Case("spatial 2x3x2x3 eps=0.1", (2, 3, 2, 3), (0, 2, 3), 0.1),
    Case("spatial 2x2x2x2x2", (2, 2, 2, 2, 2), (0, 2, 3, 4), 1e-3),
    Case("channels last 2x2x2x3", (2, 2, 2, 3), (0, 1, 2), 1e-3),
    Case("per activation 3x2x2x2", (3, 2, 2, 2), (0,), 1e-5),
    Case("constant", (4, 2), (0,), 1e-5, lambda plain: np.full_like(plain, 0.1)),
    Case("constant far", (3, 2), (0,), 1e-3, lambda plain: np.full_like(plain, 1e6 + 0.1)),
    Case("one constant channel", (4, 3), (0,), 1e-5, lambda plain: plain * np.array([1.0, 0.0, 1.0])),
    Case("mean 1e6 sd 1", (5, 2), (0,), 1e-5, lambda plain: plain + 1e6),
    Case("mean -1e6 sd 1", (8, 2), (0,), 1e-12, lambda plain: plain - 1e6),
    Case("mean 1e6 sd 1e-6", (5, 2), (0,), 1e-12, lambda plain: plain * MICRO + 1e6),
    Case("mean -1e6 sd 1e-6", (8, 2), (0,), 1e-20, lambda plain: plain * MICRO - 1e6),
    Case("sd 1e-6", (5, 2), (0,), 1e-12, lambda plain: plain * MICRO),
    Case("sd 1e6", (5, 2), (0,), 1e-5, lambda plain: plain / MICRO),
    Case("scales mixed", (5, 3), (0,), 1e-5, _mixed),
    Case("first is outlier", (8, 2), (0,), 1e-5, _with_first(1e3)),
    Case("last is outlier", (8, 2), (0,), 1e-5, _with_last(-1e3)),
    Case("first is zero, mean 1e6", (6, 2), (0,), 1e-5, lambda plain: _with_first(0.0)(plain + 1e6)),
    Case("gamma 0", (4, 3), (0,), 1e-5, gamma_factor=0.0),
    Case("gamma 0 spatial", (2, 2, 3), (0, 2), 1e-3, gamma_factor=0.0),
    Case("N=1", (1, 3), (0,), 1e-5),
    Case("N=1 spatial", (1, 2, 1, 1), (0, 2, 3), 1e-3),
    Case("N=1 of m=4", (1, 2, 2, 2), (0, 2, 3), 1e-5),
    Case("dy 1e6", (5, 3), (0,), 1e-5, dy_factor=1e6),
    Case("dy 1e6 spatial", (2, 2, 3), (0, 2), 1e-3, dy_factor=1e6),
]


def _draws(name: str) -> Draw:
    """Return a source of numbers k / 2**51 in [-2, 2) that depends on the case's name alone.

    The generator's raw bits and a division by a power of two are the same on every machine and NumPy version.
    """
    bits = np.random.PCG64(zlib.crc32(name.encode()))
    return lambda count: (bits.random_raw(count) >> np.uint64(11)).astype(np.float64) / 2.0**51 - 2.0


# -------------------------------------------------------------------------------------------- the equations, in mpmath


def _statistics(x: Sequence[Any]) -> tuple[Any, Any]:
    m = len(x)
    mu = mp.fsum(x) / m
    var = mp.fsum((value - mu) ** 2 for value in x) / m
    return mu, var


def _forward(x: Sequence[Any], gamma: Any, beta: Any, eps: Any) -> list[Any]:
    mu, var = _statistics(x)
    return [gamma * (value - mu) / mp.sqrt(var + eps) + beta for value in x]


def _training(x: list[Any], dy: list[Any], gamma: Any, beta: Any, eps: Any) -> dict[str, list[Any]]:
    """Return Algorithm 1 and its gradients for one channel."""
    m = len(x)
    mu, var = _statistics(x)
    root = mp.sqrt(var + eps)
    xhat = [(value - mu) / root for value in x]

    def jacobian(i: int, j: int) -> Any:
        """Return dxhat_i / dx_j, from d(x_i - mu)/dx_j = [i = j] - 1/m and dvar/dx_j = 2 (x_j - mu) / m."""
        return ((i == j) - mpf(1) / m) / root - (x[i] - mu) / (2 * root**3) * (2 * (x[j] - mu) / m)

    dx = [gamma * mp.fsum(dy[i] * jacobian(i, j) for i in range(m)) for j in range(m)]
    dgamma = mp.fsum(up * hat for up, hat in zip(dy, xhat, strict=True))
    dbeta = mp.fsum(dy)

    def loss(x: list[Any], gamma: Any, beta: Any) -> Any:
        return mp.fsum(up * out for up, out in zip(dy, _forward(x, gamma, beta, eps), strict=True))

    scale = mp.fsum(abs(up) for up in dy)
    for j in {0, m - 1}:
        numeric = mp.diff(lambda t, j=j: loss([*x[:j], t, *x[j + 1 :]], gamma, beta), x[j])
        _confirm("dx", dx[j], numeric, abs(gamma) / root * scale)
    _confirm("dgamma", dgamma, mp.diff(lambda t: loss(x, t, beta), gamma), scale)
    _confirm("dbeta", dbeta, mp.diff(lambda t: loss(x, gamma, t), beta), scale)
    return {
        "mu": [mu],
        "var": [var],
        "inv_std": [1 / root],
        "xhat": xhat,
        "y": [gamma * hat + beta for hat in xhat],
        "dx": dx,
        "dgamma": [dgamma],
        "dbeta": [dbeta],
    }


def _confirm(name: str, exact: Any, numeric: Any, scale: Any) -> None:
    if abs(exact - numeric) > mpf("1e-30") * scale:
        raise AssertionError(f"{name} = {exact}, but the numerical derivative of the forward is {numeric}")


def _inference(
    x: list[Any], dy: list[Any], gamma: Any, beta: Any, mean: Any, var: Any, eps: Any
) -> dict[str, list[Any]]:
    """Return Algorithm 2, line 11, and its gradients for one channel, where mean and var are constants."""
    scale = gamma / mp.sqrt(var + eps)
    xhat = [(value - mean) / mp.sqrt(var + eps) for value in x]
    return {
        "eval_xhat": xhat,
        "eval_y": [scale * value + (beta - scale * mean) for value in x],
        "eval_dx": [scale * up for up in dy],
        "eval_dgamma": [mp.fsum(up * hat for up, hat in zip(dy, xhat, strict=True))],
    }


def _nearest(value: Any) -> float:
    """Return the float64 nearest to an mpmath number; what is only rounding noise of 50 digits becomes 0."""
    if abs(value) < ZERO_BELOW:
        return 0.0
    result = float(value)
    spacing = float(np.spacing(abs(result)))
    if abs(mpf(result) - value) > mpf(spacing) / 2:
        raise AssertionError(f"{value} was not rounded to nearest")
    return result


# ------------------------------------------------------------------------------------------------------------ records


def _record(fields: dict[str, Array | float | tuple[int, ...]]) -> Record:
    """Return one structured value: readable as ``file[case][field]``, and smaller than a file member per field."""
    arrays = {name: np.asarray(value, dtype="<i8" if name == "axes" else "<f8") for name, value in fields.items()}
    record = np.zeros((), dtype=[(name, array.dtype.str, array.shape) for name, array in arrays.items()])
    for name, array in arrays.items():
        record[name] = array
    return record


def batch_record(case: Case) -> Record:
    """Return inputs and golden results of one case."""
    draw = _draws(case.name)
    kept = tuple(axis for axis in range(len(case.shape)) if axis not in case.axes)
    channels = tuple(case.shape[axis] for axis in kept)
    count, size = int(np.prod(channels)), int(np.prod(case.shape))
    inputs = {
        "x": case.make_x(draw(size).reshape(case.shape)),
        "dy": (draw(size) + 0.25).reshape(case.shape) * case.dy_factor,
        "gamma": (draw(count) + 0.5).reshape(channels) * case.gamma_factor,
        "beta": draw(count).reshape(channels),
        "running_mean": draw(count).reshape(channels),
        "running_var": (draw(count) + 2.25).reshape(channels),
    }
    order = kept + case.axes
    moved_shape = tuple(case.shape[axis] for axis in order)

    def exact_rows(name: str) -> list[list[Any]]:
        return [[mpf(float(v)) for v in row] for row in inputs[name].transpose(order).reshape(count, -1)]

    x, dy = exact_rows("x"), exact_rows("dy")
    gamma, beta, mean, var = (
        [mpf(float(v)) for v in inputs[name].ravel()] for name in ("gamma", "beta", "running_mean", "running_var")
    )
    eps = mpf(case.eps)
    results = [
        _training(x[c], dy[c], gamma[c], beta[c], eps)
        | _inference(x[c], dy[c], gamma[c], beta[c], mean[c], var[c], eps)
        for c in range(count)
    ]
    outputs = {}
    per_element = {"xhat", "y", "dx", "eval_xhat", "eval_y", "eval_dx"}
    for name in results[0]:
        rows = np.array([[_nearest(value) for value in result[name]] for result in results])
        if name in per_element:
            outputs[name] = rows.reshape(moved_shape).transpose(np.argsort(order))
        else:
            outputs[name] = rows.reshape(channels)
    return _record({"axes": case.axes, "eps": case.eps, **inputs, **outputs})


class Convention(NamedTuple):
    """Weights of old and new statistic in batch k = 1, 2, ..., as functions of (momentum, k)."""

    momentum: float
    keep: Callable[[Any, int], Any]
    take: Callable[[Any, int], Any]
    unbiased: bool
    start_var: int


CONVENTIONS = {
    "pytorch": Convention(0.1, lambda a, k: 1 - a, lambda a, k: a, unbiased=True, start_var=1),
    "keras": Convention(0.99, lambda a, k: a, lambda a, k: 1 - a, unbiased=False, start_var=1),
    "flax": Convention(0.99, lambda a, k: a, lambda a, k: 1 - a, unbiased=False, start_var=1),
    "cs231n": Convention(0.9, lambda a, k: a, lambda a, k: 1 - a, unbiased=False, start_var=0),
    "chainer": Convention(0.9, lambda a, k: a, lambda a, k: 1 - a, unbiased=True, start_var=1),
    "paper": Convention(0.0, lambda a, k: mpf(k - 1) / k, lambda a, k: mpf(1) / k, unbiased=True, start_var=0),
}
BATCH_SIZES = (5, 2, 8, 3)
CHANNELS = 2


def running_records() -> dict[str, Record]:
    """Return the batches, and for each convention the running statistics after each of them."""
    draw = _draws("running statistics")
    batches = [(draw(m * CHANNELS) * 2.0**k + k).reshape(m, CHANNELS) for k, m in enumerate(BATCH_SIZES)]
    records = {"batches": _record({f"x{k}": batch for k, batch in enumerate(batches)})}
    for name, rule in CONVENTIONS.items():
        a = mpf(rule.momentum)
        mean, var = [mpf(0)] * CHANNELS, [mpf(rule.start_var)] * CHANNELS
        means, variances = [], []
        for k, batch in enumerate(batches, start=1):
            m = len(batch)
            for c in range(CHANNELS):
                mu, biased = _statistics([mpf(float(v)) for v in batch[:, c]])
                new = biased * m / (m - 1) if rule.unbiased else biased
                mean[c] = rule.keep(a, k) * mean[c] + rule.take(a, k) * mu
                var[c] = rule.keep(a, k) * var[c] + rule.take(a, k) * new
            means.append([_nearest(v) for v in mean])
            variances.append([_nearest(v) for v in var])
        records[name] = _record({"momentum": rule.momentum, "mean": np.array(means), "var": np.array(variances)})
    return records


# -------------------------------------------------------------------------------------------------------------- files


def contents() -> dict[str, dict[str, Any]]:
    """Return what every file holds, by file name and member name."""
    with mp.workdps(DIGITS):
        batchnorm = {case.name: batch_record(case) for case in CASES}
        running = running_records()
    provenance = np.array(["scripts/make_goldens.py", f"mpmath {mpmath.__version__}", f"{DIGITS} digits"])
    return {
        "batchnorm.npz": {"provenance": provenance, **batchnorm},
        "running.npz": {"provenance": provenance, **running},
    }


def differences(path: Path, members: dict[str, Any]) -> list[str]:
    """Return the members of a file that differ, in type or any bit; the provenance may (it names mpmath's version)."""
    if not path.exists():
        return [f"{path.name}: missing"]
    with np.load(path, allow_pickle=False) as stored:
        found = {name: stored[name] for name in stored.files}
    names = (found.keys() | members.keys()) - {"provenance"}
    return [
        f"{path.name}: {name}"
        for name in sorted(names)
        if name not in found
        or name not in members
        or found[name].dtype != members[name].dtype
        or found[name].tobytes() != members[name].tobytes()
    ]


def main() -> int:
    """Write the files, or compare them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing; exit 1 on a difference")
    check = parser.parse_args().check
    files = contents()
    if check:
        different = [line for name, members in files.items() for line in differences(GOLDENS / name, members)]
        sys.stdout.write("".join(f"differs: {line}\n" for line in different) or "goldens are up to date\n")
        return 1 if different else 0
    GOLDENS.mkdir(parents=True, exist_ok=True)
    for name, members in files.items():
        np.savez(GOLDENS / name, **members)
        sys.stdout.write(f"wrote {name}: {len(members) - 1} records\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
