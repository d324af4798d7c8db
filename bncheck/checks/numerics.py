"""Promises about the edges of a dtype."""

from __future__ import annotations

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import NOT_TRIED, Seen, check
from bncheck.core.tolerance import UNIT_ROUNDOFF
from bncheck.model import Judgement, Outcome

# What has overflowed is not finite, or 0 where it should not be: half of the largest value tells that from rounding.
LOST = 0.5
# x between 1 and 1.9 has |x| / sd of 8 at most; sums kept in float32 leave an error of a few u times that, those
# kept in half precision one of the size of y.
ROUNDINGS = 100


@check("BN403", "squares-stay-in-range", needs=("training", "edges"), severity="warning", follows=("BN101", "BN401"))
def squares_stay_in_range(case: Case, seen: Seen) -> Judgement:
    """Large values are centred before they are squared.

    Promise
    -------
    Where (x - mean)² is in the range of the dtype, y is right, be x² in it or not.

    Why it matters
    --------------
    In float16 x² is infinite from |x| = 256 on: features of that size are common, spreads of that size are not.

    Evidence
    --------
    One forward of eight rows whose mean is so large that x² overflows, and whose spread is not; the two-pass algorithm
    is right there. An error of half the largest value is a loss, smaller ones are rounding.

    Typical causes
    --------------
    ``mean(x**2) - mean(x)**2``; a norm or a power of x itself.

    References
    ----------
    Higham 2002, Accuracy and Stability of Numerical Algorithms, sections 1.9 and 27.8.
    """
    return _judge(seen, "squares", LOST, "x² leaves the range of the dtype where (x - mean)² does not")


@check("BN404", "long-sums-keep-digits", needs=("training", "edges"), severity="warning", follows=("BN101", "BN401"))
def long_sums_keep_digits(case: Case, seen: Seen) -> Judgement:
    """In half precision sums are kept in float32.

    Promise
    -------
    With 4096 values per channel y in float16 or bfloat16 is right to the precision of the dtype.

    Why it matters
    --------------
    A sum in float16 stands still at 2048 when ones are added, one in bfloat16 at 256: mean and variance of a large
    batch are then wrong by factors.

    Evidence
    --------
    One forward of 4096 rows in the half precision that is verified. Skipped for float32 and float64.

    Typical causes
    --------------
    An accumulator of x's dtype in a kernel; ``cumsum``; a loop that adds rows.

    References
    ----------
    Micikevicius et al. 2018, Mixed Precision Training, arXiv:1710.03740, section 3.3.
    """
    return _judge(seen, "sums", ROUNDINGS * UNIT_ROUNDOFF[case.spec.dtype], "sums are kept in half precision")


def _judge(seen: Seen, edge: str, share: float, complaint: str) -> Judgement:
    evidence = seen["edges"]
    if raised := evidence.facts.get(f"{edge}.raised"):
        return Judgement(Outcome.SKIP, raised, "y")
    y, want = evidence.arrays.get(f"{edge}.y"), evidence.arrays.get(f"{edge}.want")
    if y is None or want is None:
        only = edge == "sums" and f"{edge}.raised" not in evidence.facts and bool(evidence.facts)
        return Judgement(Outcome.SKIP, "only half precision is in danger of it" if only else NOT_TRIED, "y")
    allowed = share * float(np.abs(want).max())
    with np.errstate(invalid="ignore"):
        error = np.nan_to_num(np.abs(y - want), nan=np.inf, posinf=np.inf)
    at = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
    if error[at] <= allowed:
        return Judgement(Outcome.PASS, "right at the edge of the dtype", "y")
    message = f"{complaint}: y is {y[at]:.3g}, and should be {want[at]:.3g}"
    return Judgement(Outcome.WARN, message, "y", float(error[at]), allowed, at, float(y[at]), float(want[at]))
