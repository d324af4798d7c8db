"""Promises about running statistics: how training updates them, and that eval mode uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import Seen, check
from bncheck.core.rounding import statistics_bounds
from bncheck.core.tolerance import UNIT_ROUNDOFF, within
from bncheck.model import Conventions, Evidence, Judgement, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_NONE = Judgement(Outcome.SKIP, "the code keeps no running statistics")


@check("BN301", "statistics-follow-rule", needs=("running",), follows=("BN101",))
def statistics_follow_rule(case: Case, seen: Seen) -> Judgement:
    """Running mean and variance are updated by one rule, batch after batch.

    Promise
    -------
    In training, ``running = k * running + (1 - k) * batch`` with one fraction k that is the momentum or its complement
    (or the cumulative average), the batch's mean, and its biased or unbiased variance; the same for batches of any
    size.

    Why it matters
    --------------
    Nothing in training uses these numbers: an error in them shows months later, in inference.

    Evidence
    --------
    Three batches of different sizes, statistics read after each. Which rule it is, is found out first and stands in the
    report; a rule that fits no known convention fails.

    Typical causes
    --------------
    The standard deviation averaged in the place of the variance; running_var fed with the mean; statistics of the last
    batch only; computed and never stored; ``m / (m - 1)`` with N in the place of N H W.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 2; PyTorch and Keras documentation of BatchNorm.
    """
    evidence = seen["running"]
    conventions: Conventions | None = evidence.facts.get("conventions")  # none where the training step raised
    if conventions is None or not conventions.momentum_sense:
        return _NONE
    if conventions.momentum_sense == "changing" or conventions.running_var == "undecided":
        return Judgement(Outcome.SKIP, "the rule of the statistics could not be told")
    if conventions.momentum_sense in ("unknown", "last") or not conventions.running_var:
        return _no_rule(conventions)
    if evidence.fault is not None or "mean" not in evidence.arrays:
        return Judgement(Outcome.SKIP, "no statistics to read after three batches")
    if conventions.running_var == "unbiased" and 1 in evidence.facts["m"]:
        return Judgement(Outcome.SKIP, "one value per channel has no unbiased variance")
    for name in ("mean", "var"):
        judgement = _updates(name, case, evidence, conventions)
        if judgement.outcome is not Outcome.PASS:
            return judgement
    return Judgement(Outcome.PASS, "the statistics follow their rule")


def _no_rule(conventions: Conventions) -> Judgement:
    if conventions.momentum_sense == "last":
        return Judgement(Outcome.FAIL, "the running statistics are those of the last batch alone")
    said = [note for note in conventions.notes if note.startswith("the running")]
    return Judgement(Outcome.FAIL, said[0] if said else "the running statistics follow no known rule")


def _updates(name: str, case: Case, evidence: Evidence, conventions: Conventions) -> Judgement:
    """Compare every update of one statistic with the rule, each from the reading before it."""
    read, batch = evidence.arrays[name], evidence.arrays[f"batch_{name}"]
    u = max(UNIT_ROUNDOFF[case.spec.dtype], float(evidence.arrays["precision"][0]))
    bounds = statistics_bounds(case.x, u, case.axes, one_pass=True)
    spread = bounds.mean if name == "mean" else bounds.var
    for step, m in enumerate(evidence.facts["m"]):
        old, new = read[step], read[step + 1]
        if step == 0 and (np.isnan(old).any() or conventions.running_start == "first batch"):
            continue
        keep = _kept(case, conventions, step)
        taken = batch[step]
        if name == "var" and conventions.running_var == "unbiased":
            taken = taken * (m / (m - 1))
        want = keep * old + (1 - keep) * taken
        allowed = 2 * (1 - keep) * spread + 8 * u * (np.abs(old) + np.abs(taken))
        if conventions.momentum is not None:  # a fraction that was measured, or one of float32, is known to some 1e-9
            allowed = allowed + (1e-9 + 64 * u) * np.abs(old - taken)
        outcome, worst = within(new, want, allowed)
        if outcome is Outcome.FAIL:
            message = f"running_{name} after batch {step + 1} does not follow its rule"
            error = float(abs(new[worst] - want[worst]))
            return Judgement(
                outcome, message, None, error, float(allowed[worst]), worst, float(new[worst]), float(want[worst])
            )
    return Judgement(Outcome.PASS)


def _kept(case: Case, conventions: Conventions, step: int) -> float:
    """Return the fraction of the old statistics that stays at a step, counted from 0."""
    if conventions.momentum_sense == "cumulative":
        return step / (step + 1)
    if conventions.momentum is not None:
        return conventions.momentum
    momentum = case.spec.momentum
    return momentum if conventions.momentum_sense == "kept" else 1 - momentum


@check("BN302", "eval-uses-running-statistics", needs=("running",), follows=("BN101", "BN301"))
def eval_uses_running_statistics(case: Case, seen: Seen) -> Judgement:
    """In eval mode y is normalised with the running statistics.

    Promise
    -------
    ``y = gamma (x - running_mean) / sqrt(running_var + eps) + beta``, whatever batch x is a part of.

    Why it matters
    --------------
    A layer that normalises with the batch's own statistics in inference answers differently for every neighbour of an
    input, and fails on a single one.

    Evidence
    --------
    Three training batches, then a forward in eval mode, against the formula with the statistics that the code then
    holds. Skipped where the code cannot be told that it is inference.

    Typical causes
    --------------
    The training flag ignored; the standard deviation kept and squared, or the variance kept and not rooted; eps
    forgotten, or added twice; statistics swapped.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 2, step 11.
    """
    evidence = seen["running"]
    conventions: Conventions | None = evidence.facts.get("conventions")  # none where the training step raised
    if conventions is None or not conventions.momentum_sense:
        return _NONE
    if not conventions.mode_switch:
        return Judgement(Outcome.SKIP, "the code cannot be told that it is inference")
    if fault := evidence.facts.get("eval_fault"):
        return Judgement(Outcome.WARN, f"in eval mode {fault}")
    if "y" not in evidence.arrays:
        return Judgement(Outcome.SKIP, "no y to compare in eval mode")
    x, y, mean, var = (evidence.arrays[k] for k in ("x", "y", "mean", "var"))
    return _eval_judgement(case, x, y, mean[-1], var[-1], evidence)


def _eval_judgement(case: Case, x: Array, y: Array, mean: Array, var: Array, evidence: Evidence) -> Judgement:
    """Compare y with the formula; every operation of either form of it errs by at most u."""
    u = max(UNIT_ROUNDOFF[case.spec.dtype], float(evidence.arrays["precision"][0]))
    shape = (-1, *[1] * (x.ndim - 2))
    mu, v, gamma, beta = (np.asarray(a, dtype=np.float64).reshape(shape) for a in (mean, var, case.gamma, case.beta))
    total = v + case.spec.eps
    if not (total > 0).all():
        return Judgement(Outcome.SKIP, "a running variance + eps that is not above 0 has no root")
    inv_std = 1 / np.sqrt(total)
    want = gamma * (x - mu) * inv_std + beta
    # The folded form (gamma inv_std) x + (beta - mu gamma inv_std) rounds at the size of its terms, some ten times.
    allowed = 20 * u * (np.abs(gamma) * inv_std * (np.abs(x) + np.abs(mu)) + np.abs(beta))
    outcome, worst = within(y, want, allowed + np.finfo(np.float64).tiny)
    if outcome is not Outcome.FAIL or _corrected(case, x, y, mean, var, evidence):
        return Judgement(Outcome.PASS, "y in eval mode follows from the running statistics")
    error = float(abs(y[worst] - want[worst]))
    return Judgement(
        outcome,
        _what_eval_does(case, x, y),
        None,
        error,
        float(np.broadcast_to(allowed, y.shape)[worst]),
        worst,
        float(y[worst]),
        float(want[worst]),
    )


def _corrected(case: Case, x: Array, y: Array, mean: Array, var: Array, evidence: Evidence) -> bool:
    """Tell whether y uses m / (m - 1) times the average of biased variances, as Algorithm 2 has it in step 10."""
    shape = (-1, *[1] * (x.ndim - 2))
    mu, v, gamma, beta = (np.asarray(a, dtype=np.float64).reshape(shape) for a in (mean, var, case.gamma, case.beta))
    rtol = 64 * max(UNIT_ROUNDOFF[case.spec.dtype], float(evidence.arrays["precision"][0]))
    for m in {m for m in evidence.facts["m"] if m > 1}:
        want = gamma * (x - mu) / np.sqrt(v * m / (m - 1) + case.spec.eps) + beta
        if np.allclose(y, want, rtol=rtol, atol=rtol * float(np.abs(want).max())):
            return True
    return False


def _what_eval_does(case: Case, x: Array, y: Array) -> str:
    own: Any = (x - x.mean(axis=case.axes, keepdims=True)) / np.sqrt(
        x.var(axis=case.axes, keepdims=True) + case.spec.eps
    )
    shape = (-1, *[1] * (x.ndim - 2))
    trained = case.gamma.reshape(shape) * own + case.beta.reshape(shape)
    if np.allclose(y, trained, rtol=1e-3, atol=1e-6):
        return "y in eval mode is normalised with the batch's own statistics"
    return "y in eval mode does not follow from the running statistics"


@check("BN303", "statistics-fit-profile", needs=("running",), follows=("BN301",))
def statistics_fit_profile(case: Case, seen: Seen) -> Judgement:
    """The running statistics follow the convention that was asked for.

    Promise
    -------
    With ``--profile pytorch`` (or another) the update rule, the variance and the start of the running statistics are
    those of that library.

    Why it matters
    --------------
    No convention is wrong, but weights that are carried from one to another are.

    Evidence
    --------
    The convention that was found out, against the profile's. Skipped where no profile was asked for.

    Typical causes
    --------------
    Momentum on the wrong side; the biased variance where the library takes the unbiased one.

    References
    ----------
    PyTorch, Keras, Flax and Chainer documentation of BatchNorm; Ioffe & Szegedy 2015, Algorithm 2.
    """
    conventions: Conventions | None = seen["running"].facts.get("conventions")
    if conventions is None or not conventions.momentum_sense:
        return _NONE
    if conventions.misfit is None:
        return Judgement(Outcome.SKIP, "no profile was asked for")
    if conventions.misfit:
        return Judgement(Outcome.FAIL, conventions.misfit)
    return Judgement(Outcome.PASS, "the statistics follow the profile")
