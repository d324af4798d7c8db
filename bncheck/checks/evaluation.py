"""Promises about eval mode: y follows from the running statistics and from nothing else, and leaves them alone."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import Seen, check, meant
from bncheck.checks.pooling import pooled_variances
from bncheck.checks.running import NO_STATISTICS, fraction_kept
from bncheck.core.reference import forward
from bncheck.core.tolerance import UNIT_ROUNDOFF, within
from bncheck.model import Conventions, Evidence, Judgement, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_NO_MODE = Judgement(Outcome.SKIP, "the code cannot be told that it is inference")
_NO_Y = Judgement(Outcome.SKIP, "no y to compare in eval mode")


@check("BN302", "eval-uses-running-statistics", needs=("running",), follows=("BN101", "BN301", "BN504"))
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
    if judgement := nothing_to_judge(evidence):
        return judgement
    if fault := evidence.facts.get("eval_fault"):
        # A name that is not there is no refusal, whatever was asked.
        kind = evidence.facts["eval_fault_kind"]
        outcome = Outcome.WARN if meant(kind) or kind == "NotImplementedError" else Outcome.FAIL
        return Judgement(outcome, f"in eval mode {fault}")
    if shape := evidence.facts.get("eval_shape"):
        return Judgement(Outcome.FAIL, f"y in eval mode is {shape}", "y")
    if "y" not in evidence.arrays or "batch_mean" not in evidence.arrays:
        return _NO_Y
    if evidence.facts["conventions"].momentum_sense == "finished" and 1 in evidence.facts["m"]:
        return Judgement(Outcome.SKIP, "averages that a batch of one value per channel is a part of")
    used = statistics_used(case, evidence)
    if used is None:
        return Judgement(Outcome.SKIP, "a running variance + eps that is not above 0 has no root")
    if used.fits:
        return Judgement(Outcome.PASS, "y in eval mode follows from the running statistics")
    y, want = evidence.arrays["y"], used.y
    outcome, worst = within(y, want, used.allowed)
    figures = (float(abs(y[worst] - want[worst])), float(used.allowed[worst]), worst, float(y[worst]))
    what = _what_eval_does(case, evidence) if np.isfinite(y).all() else f"y in eval mode is {y[worst]}"
    return Judgement(outcome, what, "y", *figures, float(want[worst]))


@check("BN304", "eval-leaves-statistics", needs=("running",), follows=("BN307",))
def eval_leaves_statistics(case: Case, seen: Seen) -> Judgement:
    """Eval mode leaves the running statistics as they are.

    Promise
    -------
    Inference reads running mean and variance and never writes them.

    Why it matters
    --------------
    A model that learns from what it is asked gives another answer to the same question tomorrow.

    Evidence
    --------
    The statistics after one forward in eval mode and after a second on another batch, compared bit for bit; and those
    after a backward of that second one, where backward comes back then.

    Typical causes
    --------------
    The update outside of the branch for training; a flag that is read for the normalisation only; a backward that runs
    the forward again.

    References
    ----------
    PyTorch documentation of BatchNorm, "track_running_stats".
    """
    evidence = seen["running"]
    if judgement := nothing_to_judge(evidence):
        return judgement
    # What is finished at the first inference, an average over all batches say, is left alone by the second.
    if judgement := _moved(evidence, "eval", "after", "a forward"):
        return judgement
    if judgement := _moved(evidence, "after", "backward", "a backward"):
        return judgement
    if "after_mean" not in evidence.arrays or "eval_mean" not in evidence.arrays:
        return Judgement(Outcome.SKIP, "no statistics to read after a forward in eval mode")
    return Judgement(Outcome.PASS, "eval mode leaves the statistics alone")


def _moved(evidence: Evidence, earlier: str, later: str, what: str) -> Judgement | None:
    """Return the failure of statistics that differ between two readings in eval mode, None where they do not."""
    for name in ("mean", "var"):
        before, after = (evidence.arrays.get(f"{when}_{name}") for when in (earlier, later))
        if before is None or after is None or np.array_equal(before, after, equal_nan=True):
            continue
        worst = int(np.argmax(~((before == after) | (np.isnan(before) & np.isnan(after)))))
        figures = (float(abs(after[worst] - before[worst])), 0.0, (worst,), float(after[worst]))
        message = f"running_{name} is changed by {what} in eval mode"
        return Judgement(Outcome.FAIL, message, f"running_{name}", *figures, float(before[worst]))
    return None


@check("BN305", "eval-ignores-batch", needs=("running",), follows=("BN302", "BN304"))
def eval_ignores_batch(case: Case, seen: Seen) -> Judgement:
    """In eval mode a sample's y does not depend on the batch that it comes in.

    Promise
    -------
    The same sample gives the same y in a batch of another size, order and content.

    Why it matters
    --------------
    Answers that depend on their neighbours cannot be reproduced, nor served one by one.

    Evidence
    --------
    Two forwards in eval mode: a batch, and all but one of its rows in the other order.

    Typical causes
    --------------
    The batch's own statistics in inference; running and batch statistics blended (the ONNX reference of opset 9 did).

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.1; onnx issue 8442.
    """
    evidence = seen["running"]
    if judgement := nothing_to_judge(evidence):
        return judgement
    y, part = evidence.arrays.get("y"), evidence.arrays.get("part")
    if y is None or part is None or part.shape != case.x.shape:
        return _NO_Y
    used = statistics_used(case, evidence)
    want = y[::-1][: len(part)]
    # NaN in both, of a running variance that is none, is no difference.
    part, want = (np.where(np.isnan(part) & np.isnan(want), 0.0, array) for array in (part, want))
    # Either is within the bound of what the formula gives, if it follows it; else both err by their own size.
    bound = used.allowed if used is not None and used.fits else 1e-6 * np.abs(y) + np.finfo(np.float64).tiny
    outcome, worst = within(part, want, 2 * bound[::-1][: len(part)])
    if outcome is not Outcome.FAIL:
        return Judgement(Outcome.PASS, "y in eval mode is the same in another batch")
    figures = (float(abs(part[worst] - want[worst])), float(2 * bound[::-1][worst]), worst, float(part[worst]))
    return Judgement(outcome, "y in eval mode depends on the batch", "y", *figures, float(want[worst]))


class Used(NamedTuple):
    """The statistics that eval mode normalises with; `y` by the formula, how far it may err, and whether it fits."""

    mean: Array
    inv_std: Array
    y: Array
    allowed: Array
    fits: bool


def nothing_to_judge(evidence: Evidence) -> Judgement | None:
    """Return why eval mode cannot be judged: no statistics, or no way to say that it is inference."""
    conventions: Conventions | None = evidence.facts.get("conventions")  # none where the training step raised
    if conventions is None or not conventions.momentum_sense:
        return NO_STATISTICS
    return None if conventions.mode_switch else _NO_MODE


def statistics_used(case: Case, evidence: Evidence) -> Used | None:
    """Return the running statistics, or Algorithm 2's with m / (m - 1) times the variance where y follows from those.

    None where the variance has no root.
    """
    if evidence.facts["conventions"].momentum_sense == "finished":
        return _averages_used(case, evidence)
    first: Used | None = None
    for mean, var in statistics_held(case, evidence):
        total = var + case.spec.eps
        if not (total > 0).all():
            continue
        used = _used(case, evidence, mean, 1 / np.sqrt(total))
        first = first or used
        if used.fits:
            return used
    return first


def statistics_held(case: Case, evidence: Evidence) -> list[tuple[Array, Array]]:
    """Return what mean and variance eval mode may rightly use, of what the code holds; as they are held first."""
    found, conventions = evidence.arrays, evidence.facts["conventions"]
    if "mean" not in found:  # their shape is not (C,)
        return []
    held = [(found["mean"][-1], found["var"][-1])]
    if "eval_mean" in found and "eval_var" in found:  # an average may be finished when inference begins
        held.append((found["eval_mean"], found["eval_var"]))
    if conventions.running_start == "0, 0" and conventions.momentum_sense in ("kept", "new", "fixed"):
        # of the zeros that the averages start from
        left = fraction_kept(case, conventions, 1) ** len(evidence.facts["m"])
        held += [(mean / (1 - left), var / (1 - left)) for mean, var in held[:1] if left < 1]
    factors = [1.0]
    if not conventions.running_var.startswith("unbiased"):  # to an unbiased variance it was applied already
        factors += [m / (m - 1) for m in set(evidence.facts["m"]) if m > 1]
    return [(mean, factor * var) for (mean, var), factor in product(held, factors)]


def _averages_used(case: Case, evidence: Evidence) -> Used | None:
    """Return the averages over all batches that y in eval mode follows from, the plain ones if it follows from none.

    Batches count alike, or every value does, or earlier ones count less; the variance is the average of theirs, or that
    of all values.
    """
    means, variances = (evidence.arrays[f"batch_{name}"] for name in ("mean", "var"))
    sizes = np.array(evidence.facts["m"], dtype=np.float64)[:, None]
    forms = [variances, variances * sizes / np.maximum(sizes - 1, 1)]
    options, pooled = [], pooled_variances(evidence, sizes)
    for factor, counted in product(_decays(case, evidence.facts["conventions"]), (np.ones_like(sizes), sizes)):
        weights = counted * factor ** np.arange(len(sizes))[::-1, None]
        parts = [(weights * array).sum(axis=0) / weights.sum() for array in (means, *forms)]
        options += list(product(parts[:1], [*parts[1:], pooled_variances(evidence, weights)[0], *pooled]))
    # Sums of all values err by the size of the largest, a variance by one pass by that of its square.
    u = roundoff(case, evidence)
    share = 2 * (float(sizes.sum()) + 8) * u
    peak = np.abs(case.x).max(axis=case.axes).astype(np.float64)
    first: Used | None = None
    for mean, var in options:
        inv_std = 1 / np.sqrt(var + case.spec.eps)
        lost = share * 4 * peak * peak * inv_std**2
        used = _used(case, evidence, mean, inv_std, share * peak * inv_std, np.where(lost < 0.5, lost, np.inf))
        first = first or used
        if used.fits:
            return used
    return first


def _decays(case: Case, conventions: Conventions) -> list[float]:
    """Return by which factor a batch may count less than the next: by a momentum, or by none."""
    told = [case.spec.momentum, 1 - case.spec.momentum]
    return [1.0, *told] if conventions.momentum is None else [conventions.momentum]


def _used(case: Case, evidence: Evidence, mean: Array, inv_std: Array, shift: Any = 0.0, share: Any = 0.0) -> Used:
    """Compare y with the formula; every operation of either form of it errs by at most u.

    `shift` is by how much xhat may be off besides, `share` by which part of it.
    """
    x = evidence.arrays["x"]
    u = roundoff(case, evidence)
    mu, scale, gamma, beta = (wide(case, a) for a in (mean, inv_std, case.gamma, case.beta))
    want = gamma * (x - mu) * scale + beta
    # The folded form (gamma inv_std) x + (beta - mu gamma inv_std) rounds at the size of its terms, some ten times.
    allowed = 20 * u * (np.abs(gamma) * scale * (np.abs(x) + np.abs(mu)) + np.abs(beta)) + np.finfo(np.float64).tiny
    allowed = allowed + np.abs(gamma) * (
        wide(case, np.broadcast_to(shift, mean.shape))
        + wide(case, np.broadcast_to(share, mean.shape)) * np.abs(x - mu) * scale
    )
    fits = within(evidence.arrays["y"], want, allowed)[0] is not Outcome.FAIL
    return Used(mean, inv_std, want, allowed, fits)


def roundoff(case: Case, evidence: Evidence) -> float:
    """Return the unit roundoff of eval mode: that of the case, or of the statistics where theirs is coarser."""
    return max(UNIT_ROUNDOFF[case.spec.dtype], float(evidence.arrays["precision"][0]))


def wide(case: Case, per_channel: Any) -> Array:
    """Return a (C,) array in float64, as it broadcasts against x."""
    return np.asarray(per_channel, dtype=np.float64).reshape(-1, *[1] * (case.x.ndim - 2))


def _what_eval_does(case: Case, evidence: Evidence) -> str:
    x, y = evidence.arrays["x"], evidence.arrays["y"]
    own = forward(x, case.gamma, case.beta, case.spec.eps, case.axes).y
    if np.allclose(y, own, rtol=1e-3, atol=1e-6):
        return "y in eval mode is normalised with the batch's own statistics"
    return "y in eval mode does not follow from the running statistics"
