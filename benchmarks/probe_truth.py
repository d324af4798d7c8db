"""The line probe beside independent derivatives of the same function: errors, and the error bars that were claimed.

The function is phi(t), the sum over a channel of dy times the forward of a right implementation, along the probe's own
line; its derivative at 0 is known from the same equations in 60 digits (mpmath). Other methods get phi as Python users
would hand it to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mpmath
from common import CORRECT, target_of

import numpy as np  # isort: skip

from bncheck.case import Case, CaseSpec
from bncheck.cases.arrays import build
from bncheck.core import line_probe
from bncheck.core.tolerance import UNIT_ROUNDOFF, K
from bncheck.session import Setup

DIGITS = 60
CASES = {
    "8 x 4": CaseSpec(n=8, c=4, seed=1),
    "64 x 64": CaseSpec(n=64, c=64, seed=2),
    "16 x 4, mean 100 sd": CaseSpec(n=16, c=4, seed=3, mean=100.0),
    "16 x 4, sd 1e-3": CaseSpec(n=16, c=4, seed=4, sd=1e-3),
    "16 x 4, float32": CaseSpec(n=16, c=4, seed=5, dtype="float32"),
}
Phi = Callable[[Any], Any]


class Line:
    """phi of channel 0 along a random line in x, from the forward under test."""

    def __init__(self, spec: CaseSpec) -> None:
        self.case: Case = build(spec)
        self.target = target_of(CORRECT / "cs231n_staged.py")
        rng = np.random.default_rng(spec.seed)
        spread = self.case.x.std(axis=0)
        self.v = (rng.uniform(0.5, 1, spec.shape) * rng.choice((-1, 1), spec.shape) * spread).astype(spec.dtype)
        self.evaluations = 0

    def moved(self, t: Any) -> Any:
        """Return x at t, rounded to the dtype unless t is complex."""
        x = self.case.x + t * self.v
        return x if np.iscomplexobj(x) else x.astype(self.case.x.dtype)

    def phi(self, t: Any) -> Any:
        """Return phi of a number t."""
        self.evaluations += 1
        case, spec = self.case, self.case.spec
        y = self.target.open(Setup(case.gamma.copy(), case.beta.copy(), spec.eps, 0.1)).forward(self.moved(t))
        return (y[:, 0].astype(np.result_type(y, np.float64)) * case.dy[:, 0]).sum()

    def truth(self) -> float:
        """Return the derivative at 0 in 60 digits, rounded once."""
        with mpmath.workdps(DIGITS):
            x, v, dy = ([mpmath.mpf(float(a)) for a in array[:, 0]] for array in (self.case.x, self.v, self.case.dy))
            m, eps = len(x), mpmath.mpf(self.case.spec.eps)
            mu, mean_v = mpmath.fsum(x) / m, mpmath.fsum(v) / m
            var = mpmath.fsum((a - mu) ** 2 for a in x) / m
            dvar = 2 * mpmath.fsum((a - mu) * (b - mean_v) for a, b in zip(x, v, strict=True)) / m
            root = mpmath.sqrt(var + eps)
            terms = (
                d * ((b - mean_v) / root - (a - mu) * dvar / (2 * root**3)) for a, b, d in zip(x, v, dy, strict=True)
            )
            return float(mpmath.mpf(float(self.case.gamma[0])) * mpmath.fsum(terms))


Answer = tuple[float, float | None]  # derivative, claimed error


def by_line_probe(line: Line) -> Answer:
    dtype = line.case.spec.dtype
    nodes = line_probe.nodes(line_probe.RADIUS[dtype])
    values = np.array([line.phi(t) for t in nodes])
    # Rounding of the steps is taken out by their true size, as the probe does it for the claimed gradient.
    claim = line.truth()
    steps = [taken(line, t) for t in nodes]
    noise = UNIT_ROUNDOFF[dtype] * float(np.abs(values).max())
    found = line_probe.slope(values - claim * np.array(steps), line_probe.RADIUS[dtype], noise)
    return claim + float(found.value), K * float(found.bar)


def taken(line: Line, t: float) -> float:
    """Return the step along the line that was really taken, in least squares."""
    v = line.v[:, 0].astype(np.float64)
    moved = np.subtract(line.moved(t)[:, 0], line.case.x[:, 0], dtype=np.float64)
    return float(moved @ v / (v @ v))


def by_scipy(line: Line) -> Answer:
    from scipy.differentiate import derivative

    found = derivative(np.vectorize(line.phi, otypes=[float]), 0.0, initial_step=0.1)
    return float(found.df), float(found.error)


def by_complex_step(line: Line) -> Answer:
    step = 1e-30
    return float(np.imag(line.phi(1j * step))) / step, None


def by_numdifftools(line: Line) -> Answer:
    import numdifftools

    found = numdifftools.Derivative(line.phi, full_output=True)(0.0)
    return float(found.estimate), float(np.squeeze(found.error_estimate))


def by_central(line: Line) -> Answer:
    return float((line.phi(1e-5) - line.phi(-1e-5)) / 2e-5), None


METHODS: dict[str, Callable[[Line], Answer]] = {
    "line probe": by_line_probe,
    "scipy.differentiate": by_scipy,
    "numdifftools": by_numdifftools,
    "complex step": by_complex_step,
    "central, h = 1e-5": by_central,
}


def section() -> Iterator[str]:
    """Yield the lines of the report."""
    yield from ("| case | method | error | claimed error | calls of the forward |", "|---|---|---|---|---|")
    for name, spec in CASES.items():
        for method, answer in METHODS.items():
            line = Line(spec)
            truth = line.truth()
            if method == "complex step" and spec.dtype != "float64":
                continue  # the step that it takes is below what is left of float32
            with np.errstate(all="ignore"):
                value, claimed = answer(line)
            error, bar = abs(value - truth) / abs(truth), "none" if claimed is None else f"{claimed / abs(truth):.0e}"
            yield f"| {name} | {method} | {error:.0e} | {bar} | {line.evaluations} |"
    yield ""


if __name__ == "__main__":
    print("\n".join(section()))
