"""The user's gradients against the numerical derivative of the user's own forward."""

from __future__ import annotations

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import Seen, check
from bncheck.core.tolerance import K, decide
from bncheck.core.truth import beside
from bncheck.model import GRADIENTS, Judgement, Outcome

_NEEDS = ("training", "joint-probe")
_CONFIRM = ("lone-probes", "large-mean")


@check("BN201", "dx-matches-numeric", needs=_NEEDS, confirm=_CONFIRM, tensor="dx", oracle="numeric", of_backward=True)
def dx_matches_numeric(case: Case, seen: Seen) -> Judgement:
    """dx is the derivative of the implementation's own forward with respect to x.

    Promise
    -------
    For any direction v, ``sum(dx * v)`` is the derivative of ``sum(dy * forward(x + t v))`` at t = 0.

    Why it matters
    --------------
    A backward that is not the derivative of its forward trains towards something else; losses still fall, only worse.

    Evidence
    --------
    The line probe: the forward at 16 Chebyshev points along a random line, its derivative with an error bar. A failure
    is confirmed by the reference where the forward is right, else along fresh lines that move x alone: once all
    channels, and once the most suspicious one.

    Typical causes
    --------------
    The path through the mean or the variance left out or with a wrong sign; gamma missing; a factor 2, 1/2 or 1/m; the
    power -1/2 in place of -3/2; eps left out; the misprinted formula with dvar in place of dmu.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3. Trefethen 2013, Approximation Theory and Approximation Practice.
    """
    return _judge(case, seen, "dx")


@check(
    "BN202",
    "dgamma-matches-numeric",
    needs=_NEEDS,
    confirm=_CONFIRM,
    tensor="dgamma",
    oracle="numeric",
    of_backward=True,
)
def dgamma_matches_numeric(case: Case, seen: Seen) -> Judgement:
    """dgamma is the derivative of the implementation's own forward with respect to gamma.

    Promise
    -------
    dgamma is the derivative of ``sum(dy * forward(x, gamma, beta))`` by gamma: a sum over the batch, not an average.

    Why it matters
    --------------
    gamma learns from it like any weight, ``gamma -= lr * dgamma``; many textbooks lose the sum. A dgamma that is right
    where gamma is 1 is not yet right: layers start there, and do not stay.

    Evidence
    --------
    The line probe of BN201, along a line in x, gamma and beta at once: what is left of the slope once all three
    gradients are taken off. A failure is confirmed by the reference where the forward is right, else along fresh lines
    that move gamma alone: once all channels, and once the most suspicious one.

    Typical causes
    --------------
    Averaged over the batch; x, y or x - mu in place of xhat; swapped with dbeta; summed over the wrong axis.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.
    """
    return _judge(case, seen, "dgamma")


@check(
    "BN203", "dbeta-matches-numeric", needs=_NEEDS, confirm=_CONFIRM, tensor="dbeta", oracle="numeric", of_backward=True
)
def dbeta_matches_numeric(case: Case, seen: Seen) -> Judgement:
    """dbeta is the derivative of the implementation's own forward with respect to beta.

    Promise
    -------
    dbeta is the derivative of ``sum(dy * forward(x, gamma, beta))`` by beta: the sum of dy over batch and space.

    Why it matters
    --------------
    beta learns from it like any bias, and takes the place of the bias before the layer: averaged over the batch, it
    learns N times slower than the weights around it.

    Evidence
    --------
    The line probe of BN201, along a line in x, gamma and beta at once: what is left of the slope once all three
    gradients are taken off. A failure is confirmed by the reference where the forward is right, else along fresh lines
    that move beta alone: once all channels, and once the most suspicious one.

    Typical causes
    --------------
    Averaged over the batch; multiplied by gamma; swapped with dgamma; summed over the wrong axis.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.
    """
    return _judge(case, seen, "dbeta")


def _judge(case: Case, seen: Seen, tensor: str) -> Judgement:
    training, joint = seen["training"], seen["joint-probe"]
    if tensor not in training.arrays:
        return Judgement(Outcome.SKIP, f"no {tensor} of the right shape was returned", tensor)
    if joint.fault is not None or training.fault is not None:
        return Judgement(Outcome.SKIP, "the forward raised while it was probed", tensor)
    found = joint.arrays
    if not np.isfinite(found["residual"]).all():
        return Judgement(Outcome.SKIP, "the forward or a gradient is not finite", tensor)
    outcome, worst = decide(np.abs(found["residual"]), found["bar"], found["scale"])
    error, allowed = float(abs(found["residual"][worst])), K * float(found["bar"][worst])
    if outcome is Outcome.FAIL:
        figures = (tensor, error, allowed, (worst,))
        return _by_reference(case, seen, figures) or _lost(case, seen, tensor) or _alone(seen, tensor)
    message = {
        Outcome.PASS: f"{tensor} is the derivative of the forward",
        Outcome.INCONCLUSIVE: "rounding hides the derivative of the forward here",
    }[outcome]
    return Judgement(outcome, message, tensor, error, allowed, (worst,))


def _by_reference(case: Case, seen: Seen, figures: tuple[str, float, float, tuple[int]]) -> Judgement | None:
    """Confirm a joint probe outside its bar by the reference, where the forward is right and some gradient is not.

    Two independent oracles then agree that a gradient is wrong, and the second tells which. None where the reference
    cannot tell, or contradicts the probe.
    """
    tensor = figures[0]
    outcomes = {name: worst.outcome for name, worst in beside(case, seen["training"].arrays).items()}
    decided = Outcome.INCONCLUSIVE not in outcomes.values()
    if outcomes.get("y") is not Outcome.PASS or not decided or Outcome.FAIL not in outcomes.values():
        return None
    if outcomes[tensor] is Outcome.FAIL:
        return Judgement(Outcome.FAIL, f"{tensor} is not the derivative of the forward", *figures)
    return Judgement(Outcome.PASS, f"{tensor} alone is the derivative of the forward", tensor)


def _lost(case: Case, seen: Seen, tensor: str) -> Judgement | None:
    """Decide nothing where y has lost its digits to rounding: its derivative is then one of noise.

    So it is where rounding may move y by a per cent, or where a one-pass variance explains the error of y: what is left
    of the variance there moves in steps.
    """
    found = seen["training"].arrays
    if "y" not in found:
        return None
    outcome = beside(case, found)["y"].outcome
    if outcome is Outcome.FAIL:
        one_pass = beside(case, found, one_pass=True)["y"].outcome is not Outcome.FAIL
        if one_pass and "large-mean" not in seen:
            return Judgement(Outcome.FAIL, "y may have lost its digits", tensor, suspect=True)
        outcome = Outcome.INCONCLUSIVE if one_pass and seen["large-mean"].facts.get("one_pass") else outcome
    if outcome is not Outcome.INCONCLUSIVE:
        return None
    return Judgement(Outcome.INCONCLUSIVE, "y has lost its digits here, and its derivative with them", tensor)


def _alone(seen: Seen, tensor: str) -> Judgement:
    """Judge a case whose joint probe is outside its bar: by this tensor alone, in the sum over all channels."""
    lone, joint = seen.get("lone-probes"), seen["joint-probe"]
    if lone is None:
        message = "the joint probe of dx, dgamma and dbeta is outside its error bar"
        return Judgement(Outcome.FAIL, message, tensor, suspect=True)
    if lone.fault is not None:
        return Judgement(Outcome.SKIP, "the forward raised while it was probed", tensor)
    found = lone.arrays

    def outside(name: str) -> bool:
        return bool(found[f"{name}.error"] > K * found[f"{name}.bar"])

    error, allowed = float(found[f"{tensor}.error"]), K * float(found[f"{tensor}.bar"])
    figures = (tensor, error, allowed, (int(found[f"{tensor}.channel"]),))
    if outside(tensor):
        return Judgement(Outcome.FAIL, f"{tensor} is not the derivative of the forward", *figures)
    if any(outside(name) for name in GRADIENTS if f"{name}.error" in found):
        return Judgement(Outcome.PASS, f"{tensor} alone is the derivative of the forward", *figures)
    if abs(float(joint.arrays["total"])) <= K * float(joint.arrays["total_bar"]):
        message = f"{tensor} is the derivative of the forward, which mixes channels"
        return Judgement(Outcome.PASS, message, *figures)
    message = "the joint probe is outside its error bar, and no gradient alone is: not confirmed"
    return Judgement(Outcome.INCONCLUSIVE, message, *figures)
