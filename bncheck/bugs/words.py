"""What no known bug explains, in words: the terms that are there, those that are not, and how much is left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bncheck.bugs.catalogue import Sample
from bncheck.bugs.channelwise import line_of_y
from bncheck.bugs.factors import Factor, Factors
from bncheck.bugs.fits import BASE, FITTED, Solved, solved
from bncheck.bugs.terms import states
from bncheck.report import Diagnosis

RIGHT = {
    "y": "y = gamma / std * (x - mu) + beta",
    "dx": "dx = gamma / std * (dy - mean(dy) - xhat * mean(dy * xhat))",
    "dgamma": "dgamma = sum(dy * xhat)",
    "dbeta": "dbeta = sum(dy)",
}
_TERMS = {"direct_path": "dy", "mean_path": "mean(dy)", "variance_path": "xhat * mean(dy * xhat)"}
_ARRAYS = {"direct_path": "dy", "mean_path": "1", "variance_path": "xhat"}


class Said(NamedTuple):
    """A formula for what was found, "" if none is known; what is wrong in words; the share that what is known gives."""

    formula: str
    words: str
    share: float


# The code of what has no name.
UNNAMED = "BUG000"


def unnamed(tensor: str, said: Said, right: str, cases: int) -> Diagnosis:
    """Return what can be said of a tensor that no known bug explains."""
    return Diagnosis(
        UNNAMED, "no-known-bug", f"no known bug explains {tensor}", said.words, tensor, said.share,
        wrong=said.formula, right=right, cases=cases, is_named=False,
    )  # fmt: skip


def in_words(tensor: str, samples: Sequence[Sample], factors: Factors) -> Said:
    """Fit a tensor to the terms of its formula, and say what the fit shows.

    Parameters
    ----------
    tensor : str
        "y", "dx", "dgamma" or "dbeta".
    samples : sequence of Sample
        Cases on which it is wrong, with the steps of the user's own forward.
    factors : Factors
        Of the same cases.

    """
    if tensor == "dx":
        return _dx(samples, factors)
    return _y(samples, factors) if tensor == "y" else _sum(tensor, samples)


def _dx(samples: Sequence[Sample], factors: Factors) -> Said:
    fits = [solved(sample) for sample in samples]
    if any(fit is None for fit in fits):
        return Said("", "dx has another shape than x, or values that are not finite", 0.0)
    share = min(fit.share for fit in fits if fit is not None)
    if share < _SOME:
        return Said("", f"only {share:.0%} of it is made of dy, 1 and xhat in its channel", 0.0)
    there, gone, odd = [], [], []
    known: list[int] = []
    found = [fit for fit in fits if fit is not None]
    for place, (path, (state, factor)) in enumerate(states(samples, found, factors).items()):
        if state != "other" or factor is not None:
            known.append(place)
        sign = "" if path == "direct_path" else "- "
        if state == "right":
            there.append(f"{sign}{_TERMS[path]}")
        elif state == "gone":
            gone.append(_TERMS[path])
        elif factor is not None:
            there.append(_times(sign, factor, _TERMS[path]))
            odd.append(f"{_TERMS[path]} has the factor {factor.text}")
        else:
            there.append(f"{sign}? * {_ARRAYS[path]}")
            odd.append(f"{_ARRAYS[path]} has another coefficient than in any formula that bncheck knows")
    inside = " ".join(there).removeprefix("- ") or "0"
    formula = f"dx = gamma / std * ({'-' if there[:1] and there[0].startswith('- ') else ''}{inside})"
    words = [f"the term {term} is missing" for term in gone] + odd
    if len(known) < len(BASE):
        share = min(_share_of(sample, fit, known) for sample, fit in zip(samples, found, strict=True))
    elif share < 1 - 1e-6:
        formula += " + ?"
        words.append(f"{1 - share:.0%} of it is made of something else")
    return Said(formula, "; ".join(words), share)


def _share_of(sample: Sample, fit: Solved, places: Sequence[int]) -> float:
    """Return the share of dx that some of its terms give."""
    dx, shape = np.asarray(sample.found["dx"]), sample.steps.gamma.shape
    given = sum((fit.coefficients[i].reshape(shape) * BASE[i].value(sample.steps) for i in places), np.zeros_like(dx))
    whole = float((dx**2).sum())
    return max(0.0, 1 - float(((dx - given) ** 2).sum()) / whole) if whole else 1.0


# A fit that gives less of a tensor than this says nothing about it.
_SOME = 0.5


def _times(sign: str, factor: Factor, term: str) -> str:
    if factor.text.startswith("-"):
        sign, text = ("- " if not sign else "+ "), factor.text[1:]
    else:
        text = factor.text
    return f"{sign}{term}" if text == "1" else f"{sign}{f'({text})' if '/' in text else text} * {term}"


def _y(samples: Sequence[Sample], factors: Factors) -> Said:
    lines = [line_of_y(sample) for sample in samples]
    shares = [0.0 if line is None else line.share for line in lines]
    if min(shares) < 1 - 1e-6:
        words = "in no channel is y a line in x: its statistics are not one mean and one variance per channel"
        if any(line is not None and line.straight.any() for line in lines):
            words = "in some channels y is a line in x, in others not: these have not one mean and one variance"
        return Said("", words, 0.0)
    tolerance = FITTED[samples[0].steps.case.spec.dtype]
    of_slope = factors.of([line.slope for line in lines if line], tolerance)
    of_share = factors.of([line.mean_share for line in lines if line], 10 * tolerance)
    slope = "?" if of_slope is None else of_slope.text
    words = "y is a line in x in every channel"
    if of_slope is None:
        ratios = np.concatenate([np.ravel(line.slope) for line in lines if line])
        words += f", {ratios.min():.5g} to {ratios.max():.5g} times as steep as it should be"
        words += ", which is no known factor: look at the variance, and at where eps stands"
    # How much of the mean is taken off, in its own steepness: a wrong slope is not a wrong mean, too.
    with np.errstate(all="ignore"):
        of_own = factors.of([line.mean_share / line.slope for line in lines if line], 10 * tolerance)
    if of_share is None and (of_own is None or not of_own.is_one):
        words += "; at x = mu it is not beta: look at the mean, and at beta"
        return Said(f"y = {_lead(slope)}gamma / std * x + ?", words, 0.0)
    # Of a line whose steepness is not known nothing is.
    share = 0.0 if of_slope is None else 1.0
    if of_own is not None and of_own.is_one:
        return Said(f"y = {_lead(slope)}gamma / std * (x - mu) + beta", words, share)
    mean = "" if of_share is None else of_share.text
    return Said(f"y = {_lead(slope)}gamma / std * x - {_lead(mean)}gamma / std * mu + beta", words, share)


def _lead(text: str) -> str:
    return "" if text == "1" else f"{text if text == '?' else f'({text})'} * "


def _sum(tensor: str, samples: Sequence[Sample]) -> Said:
    values = [np.asarray(sample.found[tensor]) for sample in samples]
    if any(value.size != a.steps.c for value, a in zip(values, samples, strict=True)):
        return Said("", "it has not one value for each channel", 0.0)
    words = f"{tensor} is neither a multiple of the right sum, nor the sum of another product of dy, x, xhat and y"
    return Said("", words, 0.0)
