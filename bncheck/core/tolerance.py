"""How far rounding may carry a right result, and what to conclude from an error and its bar. Knows nothing of BN."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.model import Outcome

Array = NDArray[np.float64]

# Unit roundoff u: half the distance from 1 to the next number, 2**-(significand bits).
UNIT_ROUNDOFF = {"float64": 2.0**-53, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}

# An error counts as real when it exceeds K error bars. A bar is about one standard deviation of the error, known only
# to within the scatter of a plateau of 4 to 8 coefficients. Over 300 000 draws (functions with poles, kinks, steps,
# added noise; three dtypes) the worst ratio of true error to bar was 9.2; over a million cases of right BN
# implementations it was 4.7 in float64 and 10.3 in float32 (docs/calibration.md). 16 leaves a margin of 1.6 on the
# worst of them; the median bar times K is then 25 times the true error.
K = 16.0

# A probe whose allowed error is above this share of the terms it sums does not decide anything: it could not tell a
# right gradient from one that is wrong by a per cent.
DECIDABLE = 0.01


def decide(error: Array, bar: Array, scale: Array) -> tuple[Outcome, int]:
    """Judge errors (one per channel, say) against their bars; return the outcome and the index of the worst.

    Parameters
    ----------
    error, bar, scale : array, shape (k,)
        Size of each error, its error bar, and the sum of the absolute terms that went into it, in one unit.

    Returns
    -------
    outcome : Outcome
        FAIL when some error exceeds K bars; otherwise PASS when at least one entry could decide (K bars are below the
        share ``DECIDABLE`` of its scale), INCONCLUSIVE when none could.
    worst : int
        Index of the largest error relative to its bar.

    """
    allowed = K * np.asarray(bar)
    # A zero error within a zero allowance is right; a nonzero one is infinitely wrong.
    ratio = np.divide(error, allowed, out=np.zeros(allowed.shape), where=allowed > 0)
    ratio[(error > 0) & (allowed == 0)] = np.inf
    ratio[np.isnan(ratio)] = 0.0
    worst = int(ratio.argmax())
    if ratio[worst] > 1:
        return Outcome.FAIL, worst
    if bool(np.any(allowed <= DECIDABLE * scale)):
        return Outcome.PASS, worst
    return Outcome.INCONCLUSIVE, worst


class Compared(NamedTuple):
    """Values beside wanted ones: the worst element in units of what it is allowed, and figures over all elements.

    Attributes
    ----------
    ratio : float
        The worst error in units of the allowed one; infinite where a value is not finite, or nothing is allowed.
    at : tuple of int
        The index of that element; `error`, `allowed`, `got` and `want` are its figures.
    allowed_sum, peak : float
        Sum of the allowed errors, and the largest magnitude wanted, over all `size` elements.
    finite : bool
        Whether all values, got and wanted, are finite.

    """

    ratio: float
    at: tuple[int, ...]
    error: float
    allowed: float
    got: float
    want: float
    allowed_sum: float
    peak: float
    size: int
    finite: bool

    @property
    def outcome(self) -> Outcome:
        """FAIL, INCONCLUSIVE or PASS, as :func:`within` has it."""
        if self.ratio > 1:
            return Outcome.FAIL
        if self.allowed_sum / self.size > DECIDABLE * self.peak > 0:
            return Outcome.INCONCLUSIVE
        return Outcome.PASS


def compared(got: Array, want: Array, allowed: Array) -> Compared:
    """Compare values element by element with a rounding bound; all arrays have one shape, and some element."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        error = np.abs(got - want)
        ratio = error / allowed
        place = int(ratio.argmax())  # of the first that is no number, if any is none
        if np.isnan(ratio.flat[place]):  # no error where none is allowed, or no number
            ratio = np.where(error == 0, 0.0, np.where(np.isnan(ratio), np.inf, ratio))
            place = int(ratio.argmax())
        at = tuple(int(i) for i in np.unravel_index(place, ratio.shape))
        peak = float(max(want.max(), -want.min()))
        worst = float(error[at]), float(allowed[at]), float(got[at]), float(want[at])
        finite = math.isfinite(peak) and (math.isfinite(ratio[at]) or bool(np.isfinite(got).all()))
        return Compared(float(ratio[at]), at, *worst, float(allowed.sum()), peak, ratio.size, finite)


def within(got: Array, want: Array, allowed: Array) -> tuple[Outcome, tuple[int, ...]]:
    """Compare values element by element with a rounding bound; return the outcome and the index of the worst.

    FAIL when some error exceeds its bound, or is not finite; INCONCLUSIVE when the mean bound exceeds the share
    ``DECIDABLE`` of the largest wanted value, because then nothing was compared with anything; else PASS. Where all
    wanted values are 0 the bound itself is the scale, and the comparison stands.
    """
    found = compared(got, want, allowed)
    return found.outcome, found.at


# What is left over of other parameters, or of another mode, is of the size of a result itself.
_PLAIN = 1e-3


def plainly_off(found: Array, want: Array) -> tuple[int, ...] | None:
    """Return where an array is off by far more than rounding; None where it is not, or the two cannot be compared."""
    if found.shape != want.shape or not np.isfinite(want).all():
        return None
    off = np.abs(found - want)
    off = np.where(np.isnan(off), np.inf, off)
    at = tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
    return at if off[at] > plain_share(want) else None


def plain_share(want: Array) -> float:
    """Return how far that is: by a thousandth of the largest value."""
    return float(_PLAIN * np.abs(want).max())
