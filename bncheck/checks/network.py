"""Promises that a layer keeps among others: in a network, under a change of weights, and while it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import NOT_TRIED, Seen, check
from bncheck.core.precision import limits
from bncheck.core.reference import Forward, backward, forward
from bncheck.core.rounding import Bounds, rounding_bounds
from bncheck.core.tolerance import UNIT_ROUNDOFF, within
from bncheck.model import Evidence, Judgement, Outcome

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

_FOLLOWS = ("BN101", "BN201", "BN202", "BN203", "BN501", "BN503", "BN504", "BN505", "BN506", "BN508")


@check("BN801", "gradient-of-weights", needs=("training", "network"), follows=_FOLLOWS, of_backward=True)
def gradient_of_weights(case: Case, seen: Seen) -> Judgement:
    """Inside a network the gradient of the weights before the layer is right.

    Promise
    -------
    For ``z = tanh(BN(W u))`` and a loss ``sum(k z)``, ``dW`` from the layer's dx is that of a right layer.

    Why it matters
    --------------
    It is what a layer is for. dy here depends on y, as in any network, and x is no longer random.

    Evidence
    --------
    One step of the network, tanh and the linear layer being bncheck's; ``dW = sum(dx u)`` against the reference's, from
    the same x, within the bounds of y and dx.

    Typical causes
    --------------
    A path of dx dropped (BN201); a forward that is another function (BN101); a gradient that is right for a dy which
    sums to 0, or has nothing to do with y, and for no other.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.2: z = g(BN(W u)).
    """
    evidence = seen["network"]
    if missing := _missing(evidence, "dx"):
        return missing
    found = evidence.arrays
    fwd = forward(found["x"], case.gamma, case.beta, case.spec.eps, case.axes)
    dy = found["k"] * (1 - np.tanh(fwd.y) ** 2)
    want = backward(dy, fwd, case.gamma, case.axes).dx
    bounds = _bounds(case, found["x"], dy, case.gamma, case.beta)
    # |tanh''| < 0.77, so that dy errs by 0.77 |k| of y's error, and by its own rounding.
    error_of_dy = 0.77 * np.abs(found["k"]) * bounds.y + UNIT_ROUNDOFF[case.spec.dtype] * np.abs(dy)
    allowed = bounds.dx + _carried(case, fwd, error_of_dy)
    return _weights(evidence, found["dx"], want, 2 * allowed, "dW in tanh(BN(W u)) is wrong")


@check("BN802", "scale-of-weights-cancels", needs=("training", "network"), follows=(*_FOLLOWS, "BN801"))
def scale_of_weights_cancels(case: Case, seen: Seen) -> Judgement:
    """Weights of twice the size give the same y, the same du, and half the dW.

    Promise
    -------
    ``BN((aW)u) = BN(Wu)``, with ``dBN((aW)u)/du = dBN(Wu)/du`` and ``dBN((aW)u)/d(aW) = (1/a) dBN(Wu)/dW``: exactly, if
    eps is scaled by a² too, and as the limit of a small eps otherwise.

    Why it matters
    --------------
    It is why networks with Batch Normalization bear high learning rates: larger weights get smaller gradients.

    Evidence
    --------
    The network of BN801 with 2 W and 4 eps, against itself with W and eps. Skipped where eps cannot be set.

    Typical causes
    --------------
    eps outside the root, or another eps in the backward; the variance in the place of the standard deviation; a clip.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.3.
    """
    evidence = seen["network"]
    alone = evidence.facts.get("forward_only", False)
    if not evidence.facts.get("eps_set", True):
        return Judgement(Outcome.SKIP, "the code cannot be given another eps")
    if missing := _missing(evidence, "y", "scaled_y", *(() if alone else ("scaled_dx", "dx"))):
        return missing
    found = evidence.arrays
    bounds = _bounds(case, found["x"], found["dy"], case.gamma, case.beta)
    limit = 2 * bounds.y
    outcome, at = within(found["scaled_y"], found["y"], limit)
    if outcome is Outcome.FAIL:
        figures = (float(abs(found["scaled_y"][at] - found["y"][at])), float(limit[at]), at)
        got, want = float(found["scaled_y"][at]), float(found["y"][at])
        return Judgement(outcome, "y is another one for 2 W u and 4 eps", "y", *figures, got, want)
    if alone:
        return Judgement(outcome, "y is the same for 2 W u and 4 eps")
    # du = W' dx: with W' = 2 W and half the dx it is the same; dW' = sum(dx' u) is half of dW.
    message = "for 2 W and 4 eps, dW is not half of what it is for W and eps (nor du the same)"
    return _weights(evidence, 2 * found["scaled_dx"], found["dx"], 4 * bounds.dx, message)


@check("BN803", "learns-like-the-reference", needs=("training", "descent"), follows=_FOLLOWS, of_backward=True)
def learns_like_the_reference(case: Case, seen: Seen) -> Judgement:
    """gamma and beta, learned by gradient descent, go the way that a right layer's go.

    Promise
    -------
    After k steps ``gamma -= lr dgamma``, ``beta -= lr dbeta`` they are where the reference's are.

    Why it matters
    --------------
    An error of a gradient that looks small is added up step by step.

    Evidence
    --------
    Five steps towards y = x on five batches, with a learning rate at which errors do not grow; gamma and beta after
    each step against the reference's own way.

    Typical causes
    --------------
    Gradients averaged over the batch; gradients that pile up; parameters changed inside the layer.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 2, step 2.
    """
    evidence = seen["descent"]
    if missing := _missing(evidence, "gamma", "beta"):
        return missing
    # The bounds cost more than the steps: they are asked for where the rounding of the parameters is not enough.
    judgement = _way(case, evidence, bounded=False)
    return _way(case, evidence, bounded=True) if judgement.outcome is Outcome.FAIL else judgement


def _way(case: Case, evidence: Evidence, *, bounded: bool) -> Judgement:
    """Compare gamma and beta after every step with the reference's; `bounded` allows for the rounding of gradients."""
    found, lr = evidence.arrays, evidence.facts["lr"]
    u = UNIT_ROUNDOFF[case.spec.dtype]
    gamma, beta = found["gamma"][0], found["beta"][0]
    allowed = np.zeros((2, case.spec.c))
    for step, x in enumerate(found["x"]):
        fwd = forward(x, gamma, beta, case.spec.eps, case.axes)
        dy = fwd.y - x
        gradients = backward(dy, fwd, gamma, case.axes)
        if bounded:
            allowed = 2 * allowed + lr * _errors_of_gradients(case, fwd, x, dy, gamma, beta)
        gamma, beta = gamma - lr * gradients.dgamma, beta - lr * gradients.dbeta
        allowed = allowed + 4 * u * np.array([np.abs(gamma) + lr * np.abs(gradients.dgamma), np.abs(beta)])
        for name, want, limit in (("gamma", gamma, allowed[0]), ("beta", beta, allowed[1])):
            got = found[name][step + 1]
            if not np.isfinite(want).all():
                return Judgement(Outcome.SKIP, f"even a right layer's {name} does not stay finite")
            outcome, at = within(got, want, limit)
            if outcome is Outcome.FAIL:
                message = f"{name} after {step + 1} steps of gradient descent is not where it should be"
                figures = (float(abs(got[at] - want[at])), float(limit[at]), at, float(got[at]), float(want[at]))
                return Judgement(outcome, message, name, *figures)
    return Judgement(Outcome.PASS, "gamma and beta learn as they should")


def _errors_of_gradients(case: Case, fwd: Forward, x: Array, dy: Array, gamma: Array, beta: Array) -> Array:
    """Return how far dgamma and dbeta may err: by their own rounding, and by dy's, whose y errs.

    An error of y is one of dy, and sums up over the batch (|xhat| <= sqrt(m)).
    """
    bounds = _bounds(case, x, dy, gamma, beta)
    error_of_dy = bounds.y + UNIT_ROUNDOFF[case.spec.dtype] * (np.abs(dy) + np.abs(x))
    carried = (error_of_dy * np.abs(fwd.xhat)).sum(axis=case.axes), error_of_dy.sum(axis=case.axes)
    errors: Array = np.array([bounds.dgamma, bounds.dbeta]) + np.array(carried)
    return errors


def _missing(evidence: Evidence, *names: str) -> Judgement | None:
    if raised := evidence.facts.get("raised"):
        return Judgement(Outcome.SKIP, raised)
    if any(name not in evidence.arrays for name in names):
        return Judgement(Outcome.SKIP, NOT_TRIED)
    if not all(np.isfinite(evidence.arrays[name]).all() for name in names):
        return Judgement(Outcome.SKIP, "not finite (see BN503)")
    return None


def _bounds(case: Case, x: Array, dy: Array, gamma: ArrayLike, beta: ArrayLike) -> Bounds:
    u, tiny = UNIT_ROUNDOFF[case.spec.dtype], float(limits(case.spec.dtype).smallest_subnormal)
    return rounding_bounds(x, gamma, beta, dy, case.spec.eps, u, case.axes, tiny=tiny, one_pass=True)


def _carried(case: Case, fwd: Forward, error: Array) -> Array:
    """Return how far an error of dy carries dx: the formula of dx with absolute values."""
    wide = (-1, *[1] * (error.ndim - 2))
    scale = np.abs(case.gamma.reshape(wide)) * fwd.inv_std.reshape(wide)
    xhat = np.abs(fwd.xhat)
    shared = error.mean(axis=case.axes, keepdims=True) + xhat * (xhat * error).mean(axis=case.axes, keepdims=True)
    carried: Array = scale * (error + shared)
    return carried


def _weights(evidence: Evidence, got: Array, want: Array, allowed: Array, message: str) -> Judgement:
    """Compare the gradients of the weights, ``dW[c, k] = sum(dx[:, c] u[:, k])``, that two dx come to."""
    u = evidence.arrays["u"]

    def gradient(dx: Array, inputs: Array) -> Array:
        found: Array = np.einsum("nci,nki->ck", dx.reshape(*dx.shape[:2], -1), inputs.reshape(*inputs.shape[:2], -1))
        return found

    limit = gradient(np.broadcast_to(allowed, want.shape) + 2.0**-52 * np.abs(want), np.abs(u))
    found, right = gradient(got, u), gradient(want, u)
    outcome, at = within(found, right, limit)
    if outcome is not Outcome.FAIL:
        return Judgement(outcome, "the gradient of the weights is right")
    figures = (float(abs(found[at] - right[at])), float(limit[at]), at, float(found[at]), float(right[at]))
    return Judgement(outcome, message, "dW", *figures)
