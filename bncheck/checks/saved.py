"""The promise about statistics of the batch that a forward returns beside y."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import NOT_TRIED, Seen, check
from bncheck.core.precision import limits
from bncheck.core.rounding import statistics_bounds
from bncheck.core.tolerance import UNIT_ROUNDOFF
from bncheck.core.truth import truth
from bncheck.model import Judgement, Outcome
from bncheck.session import SavedStatistic

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# Each form of the spread: whether it is a root, and whether it is inverted.
_FORMS = {
    "variance": (False, False),
    "standard deviation": (True, False),
    "inverse variance": (False, True),
    "inverse standard deviation": (True, True),
}
_ALLOWED = {
    "std": ("standard deviation",),
    "inverse": ("inverse standard deviation", "inverse variance"),
    "spread": ("variance", "standard deviation", "inverse standard deviation"),
}


@check("BN515", "saved-statistics", needs=("training", "second-step"), follows=("BN101", "BN505", "BN508"))
def saved_statistics(case: Case, seen: Seen) -> Judgement:
    """Statistics of the batch that are returned beside y are those of the batch.

    Promise
    -------
    A forward that returns a mean returns the batch's; a standard deviation, a variance or the inverse of one, under a
    name that says so, is the batch's too: with eps or without it, biased or unbiased.

    Why it matters
    --------------
    A raw operator's backward is another function, often another library's: it takes what was saved for what it is.

    Evidence
    --------
    What a training forward returned beside y by name (``save_mean``, ``inv_std``, in a tuple, a dict or a named tuple),
    against the reference within a rounding bound. What lies in a cache is not looked at, nor what the forward was given
    under that name, nor what depends on earlier batches: a running statistic has its own checks (BN301). A name that
    does not say that it is this batch's, ``mean`` or ``var`` alone, is warned of at most.

    Typical causes
    --------------
    The standard deviation where its inverse belongs; statistics over the wrong axes; a sum not yet divided by m; the
    running mean.

    References
    ----------
    PyTorch, ``native_batch_norm`` (save_mean, save_invstd); cuDNN, cudnnBatchNormalizationForwardTraining.
    """
    first: list[SavedStatistic] = seen["training"].facts.get("saved", [])
    later = {one.name: one.value for one in seen["second-step"].facts.get("saved", [])}
    if not first:
        return Judgement(Outcome.SKIP, "no statistics of the batch are returned beside y")
    if case.spec.m == 1:
        return Judgement(Outcome.SKIP, "one value per channel has no spread")
    if not seen["second-step"].facts:
        return Judgement(Outcome.SKIP, NOT_TRIED)
    same = [s for s in first if s.name in later and np.allclose(s.value, later[s.name], rtol=1e-3, equal_nan=True)]
    judged = [_judged(case, saved) for saved in same]
    for outcome in (Outcome.FAIL, Outcome.WARN, Outcome.PASS):
        for judgement in judged:
            if judgement.outcome is outcome:
                return judgement
    return judged[0] if judged else Judgement(Outcome.SKIP, "what is returned depends on earlier batches: running ones")


def _judged(case: Case, saved: SavedStatistic) -> Judgement:
    value = np.asarray(saved.value, dtype=np.float64)
    u = max(UNIT_ROUNDOFF[case.spec.dtype], float(np.finfo(saved.value.dtype).eps) / 2)
    if saved.kind == "mean":
        mean = truth(case).forward.mu
        allowed = statistics_bounds(case.x, u, case.axes).mean + 4 * u * np.abs(mean) + np.finfo(np.float64).tiny
        intervals = [(mean - allowed, mean + allowed)]
    else:
        intervals = [pair for form in _ALLOWED[saved.kind] for pair in _spreads(case, u, form)]
    if any(_inside(value, *pair) for pair in intervals):
        return Judgement(Outcome.PASS, f"{saved.name} is that of the batch")
    if not saved.certain and _is_running(value, *((low + high) / 2 for low, high in intervals[:1])):
        return Judgement(Outcome.SKIP, f"{saved.name} may be a running statistic")
    for form in _FORMS if saved.kind == "std" else ():
        if any(_inside(value, *pair) for pair in _spreads(case, u, form)):
            return Judgement(Outcome.WARN, f"{saved.name} is the {form} of the batch")
    low, high = intervals[0]
    want = (low + high) / 2
    at = (int(np.argmax(np.maximum(low - value, value - high))),)  # a NaN is the largest of all to argmax
    figures = (float(abs(value[at] - want[at])), float((high - low)[at] / 2), at, float(value[at]), float(want[at]))
    what = "mean" if saved.kind == "mean" else _ALLOWED[saved.kind][0]
    # A name that says no more than "mean" or "var" may mean another one, whatever its backward makes of it.
    outcome = Outcome.FAIL if saved.certain else Outcome.WARN
    return Judgement(outcome, f"{saved.name} is not the {what} of the batch", saved.name, *figures)


def _inside(value: Array, low: Array, high: Array) -> bool:
    return bool(((low <= value) & (value <= high)).all())


def _spreads(case: Case, u: float, form: str) -> Iterator[tuple[Array, Array]]:
    """Yield between what bounds the batch's spread lies in one form: without eps and with it, over m and m - 1."""
    root, inverse = _FORMS[form]
    tiny = float(limits(case.spec.dtype).smallest_subnormal)
    bound = statistics_bounds(case.x, u, case.axes, one_pass=True).var + tiny
    var, m, eps = truth(case).forward.var, case.spec.m, case.spec.eps
    # The first is what a wrong one should have been: a variance has no eps yet, a deviation has.
    usual = ((eps, 0.0), (0.0, 0.0)) if root or inverse else ((0.0, 0.0), (eps, 0.0))
    for factor in (1.0, m / (m - 1)):
        for inner, outer in (*usual, (0.0, eps)):
            ends = [np.maximum(factor * (var + sign * bound), 0.0) + inner for sign in (-1.0, 1.0)]
            low, high = [np.sqrt(end) for end in ends] if root else ends
            low, high = low + outer, high + outer
            if inverse:
                with np.errstate(divide="ignore", over="ignore"):
                    low, high = 1 / high, 1 / low
            yield low * (1 - 16 * u), high * (1 + 16 * u)


def _is_running(value: Array, batch: Array) -> bool:
    """Tell whether a value may mix the batch's statistic with a start of 0 or 1, as a running one does."""
    if value.size == 1:
        return True
    for start in (0.0, 1.0):
        with np.errstate(all="ignore"):
            kept = (value - batch) / (start - batch)
        middle = float(np.median(kept))
        if 0 <= middle <= 1 and np.allclose(kept, middle, rtol=0.0, atol=1e-4):
            return True
    return False
