"""What three batches in training did to the running statistics: the fraction that stays, the variance, the start."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

# Statistics kept in float32 inside float64 code err by some 1e-7; conventions differ by a per cent at least.
ACCURACY = 1e-5


class Step(NamedTuple):
    """What one forward in training mode met: the batch's mean and variance, its m, and the statistics after it."""

    mu: Any
    var: Any
    m: int
    running: tuple[Any, Any]


class Walk(NamedTuple):
    """The statistics before the first forward, where there are any, and what three forwards met."""

    before: tuple[Any, Any] | None
    steps: list[Step]
    numbers: frozenset[float]


def fraction_kept(old: Any, new: Any, taken: Any) -> float | None:
    """Return the fraction k of the old in the new, ``new = k old + (1 - k) taken``; None if the channels disagree."""
    k = (new - taken) / (old - taken)
    one = float(np.median(k))
    return one if np.allclose(k, one, rtol=0.0, atol=ACCURACY) and -ACCURACY < one < 1 + ACCURACY else None


def start_of(step: Step, kept: float, sense: str, variance: str, before: tuple[Any, Any] | None) -> str:
    """Return where the statistics start, in words: the first step must have come out of it."""
    averaged = sense in ("last", "cumulative")  # their first step leaves nothing of the start
    if not averaged and np.allclose(step.running[0], step.mu, rtol=ACCURACY, atol=0.0):
        return "first batch"
    if before is None and (averaged or not variance):
        return ""  # the first step cannot be solved for it: nothing of it is left, or what came in is not known
    first = before if before is not None else _before(step, kept)
    uniform = all(np.allclose(value, value[0], atol=ACCURACY) for value in first)
    return ", ".join(f"{round(float(value[0]), 4) + 0.0:g}" for value in first) if uniform else "differs by channel"


def _before(step: Step, kept: float) -> tuple[Any, Any]:
    """Return the start of statistics that the first forward creates: the first step solved for it."""
    mean = (step.running[0] - (1 - kept) * step.mu) / kept
    factors = (1.0, step.m / (step.m - 1))
    options = [(step.running[1] - (1 - kept) * factor * step.var) / kept for factor in factors]
    whole = [option for option in options if np.allclose(option, np.round(option), atol=ACCURACY)]
    return mean, (whole or options)[0]


def variance_of(steps: list[Step], kept: float) -> str:
    """Return which variance the running variance takes in, "" if none that is known."""
    old, new = steps[0].running[1], steps[1]
    taken = (new.running[1] - kept * old) / (1 - kept)
    # Statistics in float32 are off by 6e-8 each; where little comes in, much of that is in what was taken.
    allowed = 5e-7 * (np.abs(old) + np.abs(new.running[1])) / (1 - kept) + 10 * ACCURACY * new.var
    if np.any(allowed > new.var / (4 * new.m)):
        return "undecided"
    for name, factor in (("biased", 1.0), ("unbiased", new.m / (new.m - 1))):
        if np.all(np.abs(taken - factor * new.var) <= allowed):
            return name
    return ""


def pooled(batches: list[tuple[Any, Any, int]]) -> tuple[Any, Any]:
    """Return the variance of all values of all batches, over their number and over one less.

    `batches` have mean, biased variance and m each.
    """
    means, variances = (np.array([batch[i] for batch in batches]) for i in (0, 1))
    sizes = np.array([[batch[2]] for batch in batches])
    total = sizes.sum()
    mean = (sizes * means).sum(axis=0) / total
    biased = (sizes * (variances + (means - mean) ** 2)).sum(axis=0) / total
    return biased, biased * total / (total - 1)


def is_pooled(steps: list[Step]) -> bool:
    """Tell whether the running variance is that of all values seen so far."""
    batches = [(step.mu, step.var, step.m) for step in steps]
    kinds = zip(*(pooled(batches[: i + 1]) for i in range(len(steps))), strict=True)
    held = [step.running[1] for step in steps]
    return any(np.allclose(held, kind, rtol=10 * ACCURACY, atol=0.0) for kind in kinds)


def averages_deviation(steps: list[Step], kept: float, eps: float) -> bool:
    """Tell whether what is held beside the mean takes in a batch's standard deviation, or its inverse."""
    old, new = steps[0].running[1], steps[1]
    taken = (new.running[1] - kept * old) / (1 - kept)
    variances = [factor * new.var + inner for factor in (1.0, new.m / (new.m - 1)) for inner in (0.0, eps)]
    forms = [power for var in variances for power in (np.sqrt(var), 1 / np.sqrt(var))]
    return any(np.allclose(taken, form, rtol=10 * ACCURACY, atol=0.0) for form in forms)
