"""The statistics that eval mode normalises with, measured: y of eval mode is a line in x, channel by channel.

Some code keeps sums and divides when inference begins, keeps what every batch gave in a list, or keeps a deviation:
what it holds says little then, and what it does in eval mode says all.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from bncheck import guard
from bncheck.adapters.protocol import Run
from bncheck.adapters.target import Way, as_array
from bncheck.adapters.walks import pooled

# Of float32 code; the averages that are told apart differ by a per cent at least.
_NEAR = 1e-4


class Inferred(NamedTuple):
    """Mean and 1 / sqrt(variance + eps) by which eval mode normalises, per channel."""

    mean: Any
    inv_std: Any


def measured(run: Run, way: Way, x: Any) -> Inferred | None:
    """Return what eval mode normalises with after all that a run has seen; None where y is no line in x.

    The run was started with gamma 1 and beta 0; `x` is a canonical batch.
    """
    given = way.batch(x)
    with guard.user_code():
        y = as_array(run.forward(given, False))
    if y is None or y.shape != given.shape:
        return None
    rows = [np.moveaxis(array, 1, 0).reshape(x.shape[1], -1) for array in (x, way.layout.canonical(y))]
    xs, ys = (np.asarray(row, dtype=float) for row in rows)
    centre, middle = xs.mean(axis=1, keepdims=True), ys.mean(axis=1, keepdims=True)
    slope = ((xs - centre) * (ys - middle)).sum(axis=1, keepdims=True) / ((xs - centre) ** 2).sum(axis=1, keepdims=True)
    missed = np.abs(ys - middle - slope * (xs - centre)).max(initial=0.0)
    if not (slope > 0).all() or not missed <= _NEAR * np.abs(ys).max():
        return None
    return Inferred((centre - middle / slope)[:, 0], slope[:, 0])


def averaged(found: Inferred, batches: list[tuple[Any, Any, int]], eps: float) -> str:
    """Return of which variance eval mode takes the average over all batches ("biased" ...), "" if of none.

    `batches` have mean, biased variance and m each.
    """
    means, variances = (np.array([batch[i] for batch in batches]) for i in (0, 1))
    m, plain = batches[-1][2], variances.mean(axis=0)
    kinds = {"biased": plain, "unbiased": plain * m / (m - 1)}
    kinds |= {f"pooled{i}": var for i, var in enumerate(pooled(batches))}
    return _variance(found, means.mean(axis=0), kinds, eps).rstrip("01")


def decayed(found: Inferred, batches: list[tuple[Any, Any, int]], eps: float) -> tuple[float, str] | None:
    """Return by which factor a batch counts less than the next in the averages that eval mode takes, and the variance.

    Sums that forget, divided by what is left of their count, are such averages. None where eval mode takes others.
    """
    means, variances = (np.array([batch[i] for batch in batches]) for i in (0, 1))
    m = batches[-1][2]
    # What a batch counts follows from the means, channel by channel: all of it is 1.
    weights = np.linalg.lstsq(np.vstack([means.T, np.ones(len(means))]), np.append(found.mean, 1.0), rcond=None)[0]
    factor = float(weights[1] / weights[2]) if weights[2] > _NEAR else 0.0
    if not 0.01 < factor < 0.999:
        return None
    weights = factor ** np.arange(len(means))[::-1]
    weights = weights / weights.sum()
    mean, plain = weights @ means, weights @ variances
    kinds = {"biased": plain, "unbiased": plain * m / (m - 1)}
    kinds["pooled"] = plain + weights @ (means - mean) ** 2
    variance = _variance(found, mean, kinds, eps)
    return (factor, variance) if variance else None


def of_last(found: Inferred, batches: list[tuple[Any, Any, int]], eps: float) -> str:
    """Return in which form eval mode takes the variance of the last batch beside its mean, "" if it does not."""
    mu, var, m = batches[-1]
    return _variance(found, mu, {"biased": var, "unbiased": var * m / (m - 1)}, eps)


def taken_from(found: Inferred, held: dict[str, Any], eps: float) -> tuple[str, str] | None:
    """Return at which places mean and variance are held that eval mode normalises with; None where one is nowhere."""

    def divided_by(var: Any) -> bool:
        return any(_near(found.inv_std * root, 1.0) for root in (np.sqrt(var + eps), np.sqrt(var), np.sqrt(var) + eps))

    means = (place for place, value in held.items() if np.all(np.abs(found.mean - value) * found.inv_std <= _NEAR))
    mean, var = next(means, None), next((place for place, value in held.items() if divided_by(value)), None)
    return None if mean is None or var is None else (mean, var)


def keeps_deviation(found: Inferred, held: tuple[Any, Any]) -> int | None:
    """Tell whether eval mode divides by what is held beside the mean (0), or multiplies with it (1), as it is."""
    mean, spread = held
    if not np.all(np.abs(found.mean - mean) * found.inv_std <= _NEAR):
        return None
    if _near(found.inv_std * spread, 1.0):
        return 0
    return 1 if _near(found.inv_std, spread) else None


def _variance(found: Inferred, mean: Any, variances: dict[str, Any], eps: float) -> str:
    if not np.all(np.abs(found.mean - mean) * found.inv_std <= _NEAR):
        return ""
    return next((kind for kind, var in variances.items() if _near(found.inv_std * np.sqrt(var + eps), 1.0)), "")


def _near(one: Any, two: Any) -> bool:
    return bool(np.allclose(one, two, rtol=_NEAR, atol=0.0))
