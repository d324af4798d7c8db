"""What three batches in training did to the running statistics: the fraction that stays, the variance, the start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from bncheck.adapters.target import as_array

# Statistics kept in float32 inside float64 code err by some 1e-7; conventions differ by a per cent at least.
ACCURACY = 1e-5
# What is walked with, one after the other: both far from 1/2, from each other and from each other's complement.
MOMENTA = (0.7, 0.2)


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


# What stays at the k-th batch in averages over all batches that count them wrongly, in words. One too few may be meant:
# the first batch is left out.
BURN_IN = "one batch too few"
MISCOUNTED: dict[str, Callable[[int], float]] = {
    "one batch too many": lambda k: k / (k + 1),
    BURN_IN: lambda k: (k - 2) / (k - 1),
    "the old value as the new one": lambda k: 1 / k,
}


def miscount(kept: float, later: float) -> str:
    """Return how an average counts its batches wrongly, by what stays at the second and the third; "" of others."""
    for said, law in MISCOUNTED.items():
        if np.allclose((law(2), law(3)), (kept, later), rtol=0.0, atol=ACCURACY):
            return said
    return ""


def as_written(kept: float, again: float) -> float:
    """Return the round number that a fraction is, which was measured twice; what was measured, if it is none.

    How far the two are apart says how far rounding has carried them: 1e-16 in float64, 1e-7 in float32.
    """
    error = max(1e-9, min(4 * abs(kept - again), ACCURACY))
    return next((number for d in range(1, 7) if abs((number := round(kept, d)) - kept) < error), kept)


def sense_of(kept: float, later: float, other: float | None, numbers: frozenset[float]) -> tuple[str, float | None]:
    """Return the momentum's sense, and the fraction that stays where no momentum is listened to.

    A fraction that cannot be set has the sense of the number that the code keeps for it, ``self.rate = 0.1``.
    """

    def near(one: float, two: float) -> bool:
        return abs(one - two) < ACCURACY

    if near(kept, 0.0) and near(later, 0.0):
        return "last", 0.0
    if near(kept, 1 / 2) and near(later, 2 / 3):
        # With another momentum it is none: ``max(1 / t, 1 - momentum)`` comes in.
        return ("cumulative" if other is None or near(other, kept) else "changing"), None
    if other is not None and near(kept, MOMENTA[0]) and near(other, MOMENTA[1]):
        return "kept", None
    if other is not None and near(kept, 1 - MOMENTA[0]) and near(other, 1 - MOMENTA[1]):
        return "new", None
    if not near(kept, later):
        return ("miscounted" if other is not None and near(kept, other) and miscount(kept, later) else "changing"), None
    said = {number for number in numbers if near(number, kept) or near(1 - number, kept)}
    if len(said) == 1:  # a number that the code keeps for it tells the sense, ``self.rate = 0.1``
        (number,) = said
        return ("kept", number) if near(number, kept) else ("new", 1 - number)
    # One that is written into the formula has no sense of its own, and is a round number, or as good as was measured.
    return "fixed", as_written(kept, later)


def per_channel(value: Any, channels: int) -> Any:
    """Return numbers as (C,), one number standing for every channel; None of what is nothing of the kind."""
    array = as_array(value)
    if array is None or array.size not in (1, channels):
        return None
    return np.broadcast_to(np.asarray(array, dtype=float).reshape(-1), (channels,))


def fraction_throughout(values: list[Any], taken: list[Any]) -> float | None:
    """Return the one k with ``values[i] = k values[i - 1] + (1 - k) taken[i]`` at every step; None if there is none."""
    found = [fraction_kept(values[i - 1], values[i], taken[i]) for i in range(1, len(values))]
    if any(k is None for k in found):
        return None
    first = found[0]
    cumulative = np.allclose(found, [1 / 2, 2 / 3], atol=ACCURACY)  # type: ignore[arg-type]
    return first if cumulative or np.allclose(found, first, atol=ACCURACY) else None  # type: ignore[arg-type]


# How it is said of statistics that they stand still.
STILL = "not change in training"


def standing_still(steps: list[Step]) -> str:
    """Say which of the statistics do not move from the first batch to the second; "" if both do."""
    mean, var = (np.allclose(steps[0].running[i], steps[1].running[i]) for i in (0, 1))
    if mean and var:
        return f"the running statistics do {STILL}"
    return f"the running {'mean' if mean else 'variance'} does {STILL}" if mean or var else ""


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


def total_of(steps: list[Step], kept: float) -> tuple[str, Step]:
    """Return which variance of all values the running variance is, "" if none; and the first step in second moments.

    Averages of x and of its square make it, ``E[x**2] - E[x]**2``: running_var + running_mean**2 takes in var + mu**2.
    So it holds how far the means of the batches lie apart, too.
    """
    for name, bessel in (("total", False), ("unbiased total", True)):
        moments = [
            step._replace(
                var=step.var * (step.m / (step.m - 1) if bessel else 1.0) + step.mu**2,
                running=(step.running[0], step.running[1] + step.running[0] ** 2),
            )
            for step in steps
        ]
        if variance_of(moments, kept) == "biased" and variance_of(moments[1:], kept) == "biased":
            return name, moments[0]
    return "", steps[0]


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


def averages_spread(place: str, kept: list[dict[str, Any]], batches: list[Any], k: float) -> bool:
    """Tell whether a place averages the batches' variance in some form (or, wrongly, their deviation) with k."""
    values = [one[place] for one in kept]
    for power in (1.0, 0.5):
        for unbiased in (False, True):
            taken = [(var * (m / (m - 1) if unbiased else 1.0)) ** power for _, var, m in batches]
            found = fraction_throughout(values, taken)
            if found is not None and abs(found - k) < ACCURACY:
                return True
    return False
