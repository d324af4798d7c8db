"""The promise that ties eval mode to training: one formula, two sources of mean and variance."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import NOT_TRIED, Seen, check
from bncheck.checks.evaluation import nothing_to_judge, roundoff, statistics_held, wide
from bncheck.core.tolerance import within
from bncheck.core.truth import allowances, truth
from bncheck.model import Evidence, Judgement, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@check("BN310", "eval-agrees-with-training", needs=("training", "agreement"), follows=("BN101", "BN301", "BN302"))
def eval_agrees_with_training(case: Case, seen: Seen) -> Judgement:
    """On a batch whose own statistics are the running ones, eval mode gives the y of training mode.

    Promise
    -------
    Training and inference are one formula with two sources of mean and variance.

    Why it matters
    --------------
    A model that is good in training and bad in inference is the complaint about Batch Normalization; another eps, power
    or order of the affine part in one of the two branches is one reason.

    Evidence
    --------
    Training on one batch; then a batch whose mean and variance are the running ones that it left behind, whatever the
    momentum. y of it in eval mode, against y of the same batch in training mode of a fresh layer. Where inference takes
    ``m / (m - 1)`` times the variance, or divides by what has come in so far, y - beta is scaled by what is known.

    Typical causes
    --------------
    Two branches with two formulas: eps outside the root in one; gamma forgotten in one; the standard deviation kept.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithms 1 and 2.
    """
    evidence = seen["agreement"]
    if nothing := nothing_to_judge(evidence):
        return nothing
    if "y" not in evidence.arrays:
        return Judgement(Outcome.SKIP, evidence.facts.get("fault") or NOT_TRIED)
    if not evidence.facts["conventions"].running_var:
        return Judgement(Outcome.SKIP, "which variance the statistics hold is not known (see BN301)")
    judged = [_agreement(case, evidence, *held) for held in statistics_held(case, evidence)]
    if not judged:
        return Judgement(Outcome.SKIP, "the running statistics have not the shape (C,)")
    return next((judgement for judgement in judged if judgement.outcome is not Outcome.FAIL), judged[0])


def _agreement(case: Case, evidence: Evidence, mean: Array, var: Array) -> Judgement:
    """Compare y of eval mode with that of training, carried over to the statistics that eval mode is to use.

    They are the batch's own but for the rounding of its elements, and for what inference makes of them.
    """
    x, y, trained = (evidence.arrays[name] for name in ("x", "y", "trained"))
    batch = replace(case, x=x.astype(case.x.dtype))
    own, u = truth(batch).forward, roundoff(case, evidence)
    beta = wide(case, case.beta)
    ratio = wide(case, np.sqrt((own.var + case.spec.eps) / (var + case.spec.eps)))
    scale = np.abs(wide(case, case.gamma / np.sqrt(var + case.spec.eps)))
    moved = wide(case, case.gamma / np.sqrt(var + case.spec.eps) * (own.mu - mean))
    want = beta + (trained - beta) * ratio + moved
    # What rounding does to training, and to the formula of inference, folded or not.
    allowed = ratio * allowances(batch, one_pass=True).y + np.finfo(np.float64).tiny
    allowed = allowed + 20 * u * (scale * (np.abs(x) + np.abs(wide(case, mean))) + np.abs(beta))
    allowed = np.broadcast_to(allowed, y.shape)
    outcome, worst = within(y, want, allowed)
    if outcome is not Outcome.FAIL:
        return Judgement(outcome, "eval mode gives the y of training")
    figures = (float(abs(y[worst] - want[worst])), float(allowed[worst]), worst, float(y[worst]), float(want[worst]))
    message = "eval mode with the batch's own statistics does not give the y of training"
    return Judgement(outcome, message, "y", *figures)
