"""The terms of a tensor, fitted: dx on {dy, 1, xhat}, and factors of single terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from bncheck.bugs.catalogue import Choice, Sample, bug
from bncheck.bugs.factors import Factor, factor_of
from bncheck.bugs.steps import Array, Steps

# With three terms and fewer than this many values per channel, anything is "explained".
_ENOUGH = 8


class Paths(NamedTuple):
    """The coefficients of dx per channel on dy, 1 and xhat, and the share of dx that is outside of their span."""

    direct: Array
    mean: Array
    variance: Array
    outside: float


def paths_of(sample: Sample) -> Paths | None:
    """Fit dx to the terms of the formula by least squares, channel by channel; None where too little is known."""
    s = sample.steps
    dx: Any = sample.found.get("dx")
    if s.m < _ENOUGH or np.shape(dx) != s.x.shape or not np.isfinite(dx).all():
        return None
    order = (1, 0, *range(2, s.x.ndim))
    rows = [np.transpose(a, order).reshape(s.c, -1) for a in (s.dy, np.ones_like(s.dy), s.back_xhat + 0 * s.dy, dx)]
    terms, values = np.stack(rows[:3], axis=-1), rows[3]
    if not np.isfinite(terms).all():
        return None
    scale = np.sqrt((terms**2).sum(axis=1, keepdims=True)) + np.finfo(float).tiny
    fitted = np.linalg.pinv(terms / scale) @ values[..., None]
    left = values - (terms / scale @ fitted)[..., 0]
    size = float(np.abs(values).max())
    shape = s.gamma.shape
    direct, mean, variance = ((fitted[:, i, 0] / scale[:, 0, i]).reshape(shape) for i in range(3))
    return Paths(direct, mean, variance, float(np.abs(left).max()) / size if size else 0.0)


# How exact a fitted coefficient is, relative: least squares of a few dozen values in the dtype of the case.
_FITTED = {"float64": 1e-8, "float32": 1e-3, "float16": 5e-2, "bfloat16": 2e-1}


# Factors that readers know by another name.
_SAID = {
    "-1": "{what} has the wrong sign",
    "2": "{what} is twice what it should be",
    "1/2": "{what} is half of what it should be",
    "m": "{what} is m times too large: it is not averaged",
    "1 / m": "{what} is divided by m once too often",
    "H W": "{what} is H·W times too large: it is divided by N, and not by m = N·H·W",
    "(m/(m - 1))": "{what} is divided by m - 1, and not by m",
    "gamma": "{what} has gamma once too often",
    "1 / gamma": "gamma is missing in {what}",
    "std": "{what} is not divided by the standard deviation, as often as it should be",
    "1 / std": "{what} is divided by the standard deviation once too often",
}
_SAID_OF = {
    ("dgamma", "1 / m"): "dgamma is averaged over the batch, and not summed",
    ("dbeta", "1 / m"): "dbeta is averaged over the batch, and not summed",
    ("the variance path of dx", "std**2"): "dvar has the power -1/2 of var + eps, and not -3/2",
}


def _factors(
    what: str, part: Callable[[Sample], Array | None], right: Callable[[Steps], Array]
) -> Callable[[Sequence[Sample]], list[Choice]]:
    """Return the choices of a factor between what is found of a term and what it should be."""

    def choices(samples: Sequence[Sample]) -> list[Choice]:
        found = [(sample.steps, part(sample)) for sample in samples]
        if any(value is None for _, value in found) or not found:
            return []
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = [np.asarray(value) / right(s) for s, value in found]
        tolerance = _FITTED[found[0][0].case.spec.dtype]
        factor = factor_of([s for s, _ in found], ratios, tolerance)
        # A factor of 1 is no fault.
        if factor is None or (factor.constant == 1 and not factor.features):
            return []
        said = _SAID_OF.get((what, factor.text)) or _SAID.get(factor.text, "").format(what=what)
        return [Choice(factor.text, factor, factor.cost / 10, said)]

    return choices


def _path(name: str) -> Callable[[Sample], Array | None]:
    def part(sample: Sample) -> Array | None:
        paths = paths_of(sample)
        within = paths is not None and paths.outside < _FITTED[sample.steps.case.spec.dtype]
        return getattr(paths, name) if within else None

    return part


def _whole(name: str) -> Callable[[Sample], Array | None]:
    def part(sample: Sample) -> Array | None:
        value: Any = sample.found.get(name)
        if np.size(value) != sample.steps.c:
            return None
        return np.reshape(value, sample.steps.gamma.shape)

    return part


def _scaled(name: str) -> Callable[[Steps, Factor], Array]:
    def fault(s: Steps, factor: Factor) -> Array:
        found: Array = s.right(name) * factor.value(s)
        return found

    return fault


def _family(code: str, name: str, step: str, what: str, term: str, choices: Any, mend: str, doc: str) -> None:
    fault = _scaled(step)
    fault.__doc__ = doc
    bug(
        code, name, f"{what} has a factor {{}} that does not belong there", step=step, wrong=f"{term} * {{}}",
        right=term, mend=mend, choices=choices,
    )(fault)  # fmt: skip


_DOC = """One term carries a factor: a count, a power of the standard deviation or of gamma, a number, a sign.

Why it happens
--------------
A sum for a mean, m - 1 for m, N for N·H·W; -1/2 for -3/2; a 2 or a 1/2 that is lost in the chain rule; a minus sign.

By hand
-------
{by_hand}

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3, the gradients below Algorithm 1.
"""

_family(
    "BUG221", "direct-path-factor", "direct_path", "the direct path of dx", "dxhat / sqrt(var + eps)",
    _factors("the direct path of dx", _path("direct"), lambda s: s.back_gamma * s.back_inv_std),
    "the term is dy * gamma / sqrt(var + eps)",
    _DOC.format(by_hand="With a batch so large that the means vanish, dx is dy * gamma / std."),
)  # fmt: skip
_family(
    "BUG222", "mean-path-factor", "mean_path", "the mean path of dx", "-gamma / sqrt(var + eps) * mean(dy)",
    _factors("the mean path of dx", _path("mean"), lambda s: s.right("mean_path")),
    "the term is -gamma / sqrt(var + eps) * mean(dy)",
    _DOC.format(by_hand="The sum of every channel of dx is 0, whatever dy is."),
)  # fmt: skip
_family(
    "BUG223", "variance-path-factor", "variance_path", "the variance path of dx",
    "-gamma / sqrt(var + eps) * xhat * mean(dy * xhat)",
    _factors("the variance path of dx", _path("variance"),
             lambda s: -s.back_gamma * s.back_inv_std * s.mean(s.dy * s.back_xhat)),
    "the term is -gamma / sqrt(var + eps) * xhat * mean(dy * xhat)",
    _DOC.format(by_hand="With eps = 0, sum(dx * xhat) is 0 in every channel, whatever dy is."),
)  # fmt: skip
_family(
    "BUG224", "dx-factor", "dx", "dx", "gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    _factors("dx", _path("direct"), lambda s: s.back_gamma * s.back_inv_std),
    "dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    _DOC.format(by_hand="Double gamma: dx doubles. Double x, with eps near 0: dx is halved."),
)  # fmt: skip
_family(
    "BUG311", "dgamma-factor", "dgamma", "dgamma", "sum(dy * xhat)",
    _factors("dgamma", _whole("dgamma"), lambda s: s.right("dgamma")),
    "dgamma = sum(dy * xhat): a sum over the batch, per channel",
    _DOC.format(by_hand="Repeat the batch: dgamma doubles. Double gamma: dgamma stays."),
)  # fmt: skip
_family(
    "BUG411", "dbeta-factor", "dbeta", "dbeta", "sum(dy)",
    _factors("dbeta", _whole("dbeta"), lambda s: s.right("dbeta")),
    "dbeta = sum(dy): a sum over the batch, per channel",
    _DOC.format(by_hand="dy = 1 everywhere: dbeta is m in every channel."),
)  # fmt: skip
