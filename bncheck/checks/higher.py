"""Promises of code that a library differentiates: second derivatives, forward mode, gradients that are wanted alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import NOT_TRIED, Seen, check
from bncheck.core import line_probe
from bncheck.core.reference import backward, forward
from bncheck.core.tolerance import UNIT_ROUNDOFF, within
from bncheck.core.truth import allowances, truth
from bncheck.model import GRADIENTS, Judgement, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_NOT_OFFERED = "no library that differentiates this code offers it"
_FOLLOWS = ("BN101", "BN201", "BN211", "BN503", "BN506")


@check(
    "BN221",
    "second-derivative",
    needs=("training", "higher-order"),
    severity="warning",
    follows=_FOLLOWS,
    of_backward=True,
)
def second_derivative(case: Case, seen: Seen) -> Judgement:
    """Where the library differentiates dx once more, it gets the second derivative of Batch Normalization.

    Promise
    -------
    The gradient of ``sum(v * dx)`` with respect to x is the derivative of dx along v.

    Why it matters
    --------------
    Gradient penalties, Hessian products and meta-learning differentiate twice. A backward of its own that takes what
    the forward saved for a constant gives wrong second derivatives without a word. (A backward that cannot be
    differentiated should say so: ``once_differentiable`` in PyTorch.)

    Evidence
    --------
    The library's answer, against the derivative of the reference's dx along v, measured by a line probe. Skipped where
    the library refuses, and where code differentiates by itself.

    Typical causes
    --------------
    ``ctx.xhat = xhat`` or ``save_for_backward`` of an intermediate; ``.detach()`` or ``.data`` in the backward.

    References
    ----------
    PyTorch, "Double Backward with Custom Functions"; pytorch issue 186256.
    """
    dy = case.dy.astype(np.float64)

    def moved(x: Array) -> Array:
        fwd = forward(x, case.gamma, case.beta, case.spec.eps, case.axes)
        return backward(dy, fwd, case.gamma, case.axes).dx

    return _judge(case, seen, "second", moved, 2, "the second derivative is silently wrong")


@check("BN222", "forward-mode", needs=("training", "higher-order"), follows=_FOLLOWS, of_backward=True)
def forward_mode(case: Case, seen: Seen) -> Judgement:
    """Where the library differentiates forwards, it gets the derivative of Batch Normalization.

    Promise
    -------
    The forward-mode derivative of y along v is the derivative of ``forward(x + t v)`` at t = 0.

    Why it matters
    --------------
    Jacobian-vector products, and Hessians by forward over reverse, are made of it.

    Evidence
    --------
    The library's answer, against the derivative of the reference's y along v, measured by a line probe. Skipped where
    the library refuses.

    Typical causes
    --------------
    A ``jvp`` rule written by hand with a path left out; statistics taken for constants.

    References
    ----------
    PyTorch, ``torch.autograd.forward_ad``; JAX, "Forward-mode automatic differentiation".
    """

    def moved(x: Array) -> Array:
        return forward(x, case.gamma, case.beta, case.spec.eps, case.axes).y

    return _judge(case, seen, "tangent", moved, 1, "the forward-mode derivative is wrong")


@check("BN223", "gradients-alone", needs=("training", "alone"), follows=(*_FOLLOWS, "BN504", "BN505"), of_backward=True)
def gradients_alone(case: Case, seen: Seen) -> Judgement:
    """Each gradient is the same whether the others are asked for, too, or not.

    Promise
    -------
    dx where gamma and beta are frozen, dgamma where x and beta want no gradient, and dbeta alone are those of the step
    in which all three are wanted.

    Why it matters
    --------------
    The first layer of a network is not asked for dx, a frozen one for neither dgamma nor dbeta. A backward that looks
    at what is wanted has a path for each, and tests ask for all of them at once.

    Evidence
    --------
    Three steps more, in each of which one of x, gamma and beta requires a gradient; within the rounding of two right
    evaluations. Skipped where a library is not told what is wanted, and where y is another one, too: code may take
    frozen parameters for eval mode. Code that raises is warned of.

    Typical causes
    --------------
    ``ctx.needs_input_grad[1]`` and ``[2]`` exchanged; dgamma worked out inside of ``if ctx.needs_input_grad[0]``.

    References
    ----------
    PyTorch, "Extending PyTorch", ``ctx.needs_input_grad``.
    """
    evidence = seen["alone"]
    if not evidence.facts.get("offered") and not evidence.facts.get("raised"):
        return Judgement(Outcome.SKIP, _NOT_OFFERED if evidence.facts else NOT_TRIED)
    bounds, together, decided = allowances(case), seen["training"].arrays, False
    for name in (name for name in GRADIENTS if name in evidence.arrays and name in together):
        y = evidence.arrays.get(f"y of {name}")
        if y is None or "y" not in together or within(y, together["y"], 2 * bounds.y)[0] is Outcome.FAIL:
            return Judgement(Outcome.SKIP, f"y is another one where {name} alone is wanted")
        alone, allowed = evidence.arrays[name], 2 * getattr(bounds, name)
        if not np.isfinite(together[name]).all():
            continue
        outcome, at = within(alone, together[name], allowed)
        decided |= outcome is Outcome.PASS
        if outcome is Outcome.FAIL:
            got, want = float(alone[at]), float(together[name][at])
            figures = (abs(got - want), float(np.broadcast_to(allowed, alone.shape)[at]), at, got, want)
            return Judgement(outcome, f"{name} is another one where no other gradient is wanted", name, *figures)
    for name, text in evidence.facts["raised"].items():
        return Judgement(Outcome.WARN, f"where {name} alone is wanted, {text}", name)
    if not decided:
        return Judgement(Outcome.INCONCLUSIVE, "rounding leaves nothing to compare")
    return Judgement(Outcome.PASS, "each gradient is the same where no other one is wanted")


def _judge(case: Case, seen: Seen, name: str, moved: Callable[[Array], Array], order: int, complaint: str) -> Judgement:
    """Compare with the slope of the reference along v.

    Rounding grows with the condition once per derivative, and once more with a one-pass variance (BN401's matter). At
    m = 2 the terms cancel, and a few roundings of theirs are left; each derivative of y brings a factor inv_std to
    them, and one of v or dy.
    """
    evidence = seen["higher-order"]
    found, v = evidence.arrays.get(name), evidence.arrays.get("v")
    if found is None or v is None or not np.isfinite(found).all():
        offered = evidence.facts.get(f"{name}.offered", True)
        reason = evidence.facts.get(f"{name}.raised") or (NOT_TRIED if offered else _NOT_OFFERED)
        return Judgement(Outcome.SKIP, reason)
    radius = line_probe.RADIUS["float64"]
    x = case.x.astype(np.float64)
    slope = line_probe.slope(np.stack([moved(x + t * v) for t in line_probe.nodes(radius)]), radius)
    inv_std = truth(case).forward.inv_std
    condition = np.abs(x).max(axis=case.axes) * inv_std
    u, grown = UNIT_ROUNDOFF[case.spec.dtype], 1 + np.nan_to_num(condition)
    terms = np.abs(case.gamma.astype(np.float64)) * inv_std * np.abs(v).max(axis=case.axes)
    if order > 1:
        terms = terms * inv_std * np.abs(case.dy.astype(np.float64)).max(axis=case.axes)
    size = np.abs(slope.value).max(axis=case.axes) + np.abs(found).max(axis=case.axes)
    wide = (-1, *[1] * (x.ndim - 2))
    rounding = u * (64 * case.spec.m * grown ** (order + 1) * size + 8 * grown**order * terms)
    allowed = 16 * slope.bar + rounding.reshape(wide) + np.finfo(np.float64).tiny
    outcome, at = within(found, slope.value, np.broadcast_to(allowed, found.shape))
    if outcome is not Outcome.FAIL:
        return Judgement(outcome, "the library's derivative is that of Batch Normalization")
    outcome = Outcome.WARN if order > 1 else Outcome.FAIL
    figures = (float(abs(found[at] - slope.value[at])), float(np.broadcast_to(allowed, found.shape)[at]), at)
    return Judgement(outcome, complaint, name, *figures, float(found[at]), float(slope.value[at]))
