"""The user's results against the reference, element by element, within a rounding bound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import Seen, check
from bncheck.core.digits import is_noise
from bncheck.core.tolerance import UNIT_ROUNDOFF, within
from bncheck.core.truth import allowances, allowances_in, beside, lost_in_one_pass, truth
from bncheck.model import Judgement, Outcome

# Run only where an error asks for it: whether the target's variance is one-pass.
_CONFIRM = ("large-mean",)


@check("BN101", "y-matches-reference", confirm=_CONFIRM, tensor="y", oracle="reference")
def y_matches_reference(case: Case, seen: Seen) -> Judgement:
    """y is the batch-normalised x, scaled and shifted.

    Promise
    -------
    ``y = gamma * (x - mu) / sqrt(var + eps) + beta``, with the mean and the biased variance (divided by m) of each
    channel over the batch and the spatial axes.

    Why it matters
    --------------
    Everything downstream, the gradients included, is right or wrong with it.

    Evidence
    --------
    One training forward, compared with the reference element by element. The allowance is a bound on the rounding
    error of any right evaluation in the dtype. Where the implementation is seen to use a one-pass variance
    ``mean(x**2) - mean(x)**2``, an error that this explains is BN401's warning, not this failure.

    Typical causes
    --------------
    The unbiased variance (``ddof=1``, the default of torch.var); eps outside the root; statistics over the wrong axis;
    beta added before the scaling; gamma or beta left out.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 1.
    """
    return _judge(case, seen, "y")


@check(
    "BN211",
    "dx-matches-reference",
    confirm=_CONFIRM,
    tensor="dx",
    oracle="reference",
    follows=("BN201", "BN101"),
    of_backward=True,
)
def dx_matches_reference(case: Case, seen: Seen) -> Judgement:
    """dx is the gradient of a right Batch Normalization.

    Promise
    -------
    ``dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))``, in any algebraic form.

    Why it matters
    --------------
    Together with BN201 it tells a wrong backward from a wrong forward whose backward is consistent with it.

    Evidence
    --------
    One training step, dx compared with the reference element by element within a rounding bound.

    Typical causes
    --------------
    The path through the mean or the variance dropped, or with the wrong sign; statistics as constants; gamma or a
    factor 1/m missing; another eps in the backward. Or the forward is not Batch Normalization (BN101).

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.
    """
    return _judge(case, seen, "dx")


@check(
    "BN212",
    "dgamma-matches-reference",
    confirm=_CONFIRM,
    tensor="dgamma",
    oracle="reference",
    follows=("BN202", "BN101"),
    of_backward=True,
)
def dgamma_matches_reference(case: Case, seen: Seen) -> Judgement:
    """dgamma is the gradient of a right Batch Normalization.

    Promise
    -------
    ``dgamma = sum(dy * xhat)``, one entry per channel, summed over the batch and the spatial axes.

    Why it matters
    --------------
    Together with BN202 it tells a wrong backward from a forward with another xhat, whose backward is consistent with
    it.

    Evidence
    --------
    One training step, dgamma compared with the reference within a rounding bound.

    Typical causes
    --------------
    Averaged over the batch; times gamma; x, y or x - mu in the place of xhat; swapped with dbeta. Or the forward's xhat
    is another one (BN101).

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.
    """
    return _judge(case, seen, "dgamma")


@check(
    "BN213",
    "dbeta-matches-reference",
    confirm=_CONFIRM,
    tensor="dbeta",
    oracle="reference",
    follows=("BN203", "BN101"),
    of_backward=True,
)
def dbeta_matches_reference(case: Case, seen: Seen) -> Judgement:
    """dbeta is the gradient of a right Batch Normalization.

    Promise
    -------
    ``dbeta = sum(dy)``, one entry per channel, summed over the batch and the spatial axes.

    Why it matters
    --------------
    Together with BN203 it tells a wrong dbeta from a forward that adds beta in another place, before the scaling say.

    Evidence
    --------
    One training step, dbeta compared with the reference within a rounding bound.

    Typical causes
    --------------
    Averaged over the batch; times gamma; summed over the batch alone where there are spatial axes; swapped with dgamma.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.
    """
    return _judge(case, seen, "dbeta")


@check(
    "BN401",
    "variance-keeps-its-digits",
    confirm=_CONFIRM,
    tensor="y",
    oracle="reference",
    severity="warning",
    follows=("BN101",),
)
def variance_keeps_its_digits(case: Case, seen: Seen) -> Judgement:
    """y does not lose digits to a variance computed in one pass.

    Promise
    -------
    The error of y grows with the condition number ``k = max|x| / sqrt(var + eps)`` like ``k u``, as that of
    ``mean((x - mean(x))**2)`` does, and not like ``k**2 u``.

    Why it matters
    --------------
    ``mean(x**2) - mean(x)**2`` cancels when the mean is large against the spread: at x = 1e4 ± 1 in float32 nothing but
    noise is left of it, and it can turn negative (NaN under the root).

    Evidence
    --------
    y against the reference: an error above the bound of right evaluations and within that of one-pass ones, or NaN
    where a one-pass variance keeps no digit, in an implementation that errs like that on a batch made to show it, too.

    Typical causes
    --------------
    ``np.mean(x**2) - np.mean(x)**2``, often taken for speed.

    References
    ----------
    Higham 2002, Accuracy and Stability of Numerical Algorithms, section 1.9.
    """
    two_pass = _lost(case, seen) or _compare(case, seen, "y")
    if two_pass.outcome is not Outcome.FAIL:
        return two_pass
    if _compare(case, seen, "y", one_pass=True).outcome is Outcome.FAIL:
        return Judgement(Outcome.SKIP, "y is wrong by more than digits (see BN101)", "y")
    if "large-mean" not in seen:
        return replace(two_pass, suspect=True)
    if seen["large-mean"].facts.get("one_pass") is False:
        return Judgement(Outcome.SKIP, "y is wrong, and its variance is not one-pass (see BN101)", "y")
    if two_pass.error is None:
        return replace(two_pass, outcome=Outcome.WARN)
    lost = np.log10(max(two_pass.error / UNIT_ROUNDOFF[case.spec.dtype], 1.0))
    message = f"y has lost about {lost:.0f} digits, as a one-pass variance E[x²] - E[x]² does"
    return replace(two_pass, outcome=Outcome.WARN, message=message)


@check("BN402", "eps-is-there", severity="warning")
def eps_is_there(case: Case, seen: Seen) -> Judgement:
    """The variance is never divided by alone.

    Promise
    -------
    A small eps above 0 is added to the variance under the root.

    Why it matters
    --------------
    A channel that is constant over a batch (a dead unit, a padded batch) divides 0 by 0 without it: NaN.

    Evidence
    --------
    The eps of the case, which is 0 only where discovery measured that the code adds none.

    Typical causes
    --------------
    eps left out, or added to something else.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.
    """
    if case.spec.eps == 0.0:
        return Judgement(Outcome.WARN, "no eps is added to the variance: a constant channel divides 0 by 0")
    return Judgement(Outcome.PASS, "an eps is added to the variance")


def _lost(case: Case, seen: Seen) -> Judgement | None:
    """Return what is to be said of a y that is not finite where a one-pass variance keeps no digit; None of others."""
    found = seen["training"].arrays.get("y")
    if found is None or np.isfinite(found).all():
        return None
    places = np.argwhere(~np.isfinite(found) & lost_in_one_pass(case, "y"))
    if not len(places):
        return None
    at, want = tuple(int(i) for i in places[0]), truth(case).tensor("y")
    k = float(np.abs(case.x[:, at[1]]).max() * truth(case).forward.inv_std.flat[at[1]])
    message = f"y is {found[at]}: at max|x| = {k:.0e} sd a one-pass variance E[x²] - E[x]² has no digit left"
    return Judgement(Outcome.FAIL, message, "y", None, None, at, float(found[at]), float(want[at]))


def _judge(case: Case, seen: Seen, tensor: str) -> Judgement:
    """Compare within the bound of a right evaluation; where the target's variance is one-pass, that is BN401's matter.

    The experiment "large-mean" says whether it is. Where it could not say, the target has the benefit of the doubt.
    """
    judgement = _compare(case, seen, tensor)
    if judgement.outcome is not Outcome.FAIL:
        return judgement
    one_pass = _compare(case, seen, tensor, one_pass=True)
    if one_pass.outcome is Outcome.FAIL:
        return judgement
    if "large-mean" not in seen:
        return replace(judgement, suspect=True)
    if seen["large-mean"].facts.get("one_pass") is False:
        return judgement
    return replace(one_pass, message=f"{tensor} errs no more than a one-pass variance makes it (see BN401)")


def _compare(case: Case, seen: Seen, tensor: str, *, one_pass: bool = False) -> Judgement:
    found = seen["training"].arrays.get(tensor)
    if found is None:
        return Judgement(Outcome.SKIP, f"no {tensor} of the right shape was returned", tensor)
    worst = beside(case, seen["training"].arrays, one_pass=one_pass)[tensor]
    if not worst.finite:
        return Judgement(Outcome.SKIP, f"{tensor} is not finite (see BN503)", tensor)
    outcome = worst.outcome
    if outcome is Outcome.FAIL:
        message = f"{tensor} {_how_it_differs(case, tensor, found)}"
    elif outcome is Outcome.PASS:
        message = f"{tensor} agrees with the reference"
    else:
        message = f"rounding may move {tensor} too far for a comparison"
    return Judgement(outcome, message, tensor, worst.error, worst.allowed, worst.at, worst.got, worst.want)


def _how_it_differs(case: Case, tensor: str, found: Any) -> str:
    """Return what is to be said of a wrong tensor; a mean over the batch in the place of a sum has its name."""
    if tensor in ("dgamma", "dbeta"):
        want, allowed = truth(case).tensor(tensor), getattr(allowances(case), tensor)
        for divisor, name in ((case.spec.m, "all m elements of a channel"), (case.spec.n, "the batch")):
            if within(divisor * found, want, allowed)[0] is not Outcome.FAIL:
                return f"is averaged over {name}, and not summed (if that is meant: --grad-scale mean)"
    single = getattr(allowances_in(case, "float32"), tensor)
    if case.spec.dtype == "float64" and within(found, truth(case).tensor(tensor), single)[0] is Outcome.PASS:
        if _is_of_float32(case, tensor, found):
            return "differs from the reference by what float32 rounds: something inside is kept in float32"
        return "differs from the reference, by no more than float32 would round"
    return "differs from the reference"


def _is_of_float32(case: Case, tensor: str, found: Any) -> bool:
    """Tell whether a tensor shows that it was rounded: its values are of float32, or its error is irregular.

    A formula that is slightly another errs as little, and as a multiple of xhat, say.
    """
    if np.array_equal(found, np.asarray(found).astype(np.float32)):
        return True
    return tensor in ("y", "dx") and is_noise(case, tensor, found)
