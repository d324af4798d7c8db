"""The user's gradients against the numerical derivative of the user's own forward."""

from __future__ import annotations

import numpy as np

from bncheck.checks.catalogue import Seen, check
from bncheck.core.tolerance import K, decide
from bncheck.model import GRADIENTS, Case, Evidence, Judgement, Outcome

_NEEDS = ("training", "joint-probe")
_CONFIRM = ("lone-probes",)


@check("BN201", "dx-matches-numeric", needs=_NEEDS, confirm=_CONFIRM, tensor="dx", oracle="numeric")
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
    is confirmed along fresh lines that move x alone, once all channels and once the most suspicious one.

    Typical causes
    --------------
    The path through the mean or the variance left out or with a wrong sign; gamma missing; a factor 2, 1/2 or 1/m; the
    power -1/2 in place of -3/2; eps left out; the misprinted formula with dvar in place of dmu.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3. Trefethen 2013, Approximation Theory and Approximation Practice.
    """
    return _judge(seen, "dx")


@check("BN202", "dgamma-matches-numeric", needs=_NEEDS, confirm=_CONFIRM, tensor="dgamma", oracle="numeric")
def dgamma_matches_numeric(case: Case, seen: Seen) -> Judgement:
    """dgamma is the derivative of the implementation's own forward with respect to gamma.

    Promise
    -------
    dgamma is the derivative of ``sum(dy * forward(x, gamma, beta))`` by gamma: a sum over the batch, not an average.

    Why it matters
    --------------
    gamma learns from it like any weight; many textbooks lose the sum.

    Evidence
    --------
    As BN201, with gamma moving alone for the confirmation.

    Typical causes
    --------------
    Averaged over the batch; x, y or x - mu in place of xhat; swapped with dbeta; summed over the wrong axis.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.
    """
    return _judge(seen, "dgamma")


@check("BN203", "dbeta-matches-numeric", needs=_NEEDS, confirm=_CONFIRM, tensor="dbeta", oracle="numeric")
def dbeta_matches_numeric(case: Case, seen: Seen) -> Judgement:
    """dbeta is the derivative of the implementation's own forward with respect to beta.

    Promise
    -------
    dbeta is the derivative of ``sum(dy * forward(x, gamma, beta))`` by beta: the sum of dy over batch and space.

    Why it matters
    --------------
    beta learns from it like any bias.

    Evidence
    --------
    As BN201, with beta moving alone for the confirmation.

    Typical causes
    --------------
    Averaged over the batch; multiplied by gamma; swapped with dgamma; summed over the wrong axis.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.
    """
    return _judge(seen, "dbeta")


def _judge(seen: Seen, tensor: str) -> Judgement:
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
        return _confirm(seen.get("lone-probes"), joint, tensor)
    message = {
        Outcome.PASS: f"{tensor} is the derivative of the forward",
        Outcome.INCONCLUSIVE: "rounding hides the derivative of the forward here",
    }[outcome]
    return Judgement(outcome, message, tensor, error, allowed, (worst,))


def _confirm(lone: Evidence | None, joint: Evidence, tensor: str) -> Judgement:
    """Judge a case whose joint probe is outside its bar: by this tensor alone, in the sum over all channels."""
    if lone is None:
        return Judgement(Outcome.FAIL, "the joint probe of dx, dgamma and dbeta is outside its error bar", tensor)
    if lone.fault is not None:
        return Judgement(Outcome.SKIP, "the forward raised while it was probed", tensor)

    def outside(name: str) -> bool:
        one = lone.arrays
        key = f"{name}.one."
        return bool(abs(one[f"{key}total"]) > K * one[f"{key}total_bar"] > 0)

    measured = [name for name in GRADIENTS if f"{name}.one.total" in lone.arrays]
    residual = float(lone.arrays[f"{tensor}.one.total"])
    bar = float(lone.arrays[f"{tensor}.one.total_bar"])
    at = (int(lone.arrays[f"{tensor}.one.channel"]),)
    figures = (tensor, abs(residual), K * bar, at)
    if outside(tensor):
        return Judgement(Outcome.FAIL, f"{tensor} is not the derivative of the forward", *figures)
    if any(outside(name) for name in measured):
        return Judgement(Outcome.PASS, f"{tensor} alone is the derivative of the forward", *figures)
    if abs(float(joint.arrays["total"])) <= K * float(joint.arrays["total_bar"]):
        message = f"{tensor} is the derivative of the forward, which mixes channels"
        return Judgement(Outcome.PASS, message, *figures)
    message = "the joint probe is outside its error bar, and no gradient alone is: not confirmed"
    return Judgement(Outcome.INCONCLUSIVE, message, *figures)
