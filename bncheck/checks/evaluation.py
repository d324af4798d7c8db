"""Promises about eval mode: y follows from the running statistics and from nothing else, and so do its gradients."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import Seen, check, meant
from bncheck.checks.running import NO_STATISTICS, fraction_kept
from bncheck.core.reference import forward
from bncheck.core.tolerance import UNIT_ROUNDOFF, within
from bncheck.core.truth import allowances, truth
from bncheck.model import GRADIENTS, Conventions, Evidence, Judgement, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_NO_MODE = Judgement(Outcome.SKIP, "the code cannot be told that it is inference")
_NO_Y = Judgement(Outcome.SKIP, "no y to compare in eval mode")


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
    if judgement := _nothing_to_judge(evidence):
        return judgement
    if fault := evidence.facts.get("eval_fault"):
        # A name that is not there is no refusal, whatever was asked.
        kind = evidence.facts["eval_fault_kind"]
        outcome = Outcome.WARN if meant(kind) or kind == "NotImplementedError" else Outcome.FAIL
        return Judgement(outcome, f"in eval mode {fault}")
    if shape := evidence.facts.get("eval_shape"):
        return Judgement(Outcome.FAIL, f"y in eval mode is {shape}", "y")
    if "y" not in evidence.arrays:
        return _NO_Y
    used = _statistics_used(case, evidence)
    if used is None:
        return Judgement(Outcome.SKIP, "a running variance + eps that is not above 0 has no root")
    if used.fits:
        return Judgement(Outcome.PASS, "y in eval mode follows from the running statistics")
    y, want = evidence.arrays["y"], used.y
    outcome, worst = within(y, want, used.allowed)
    figures = (float(abs(y[worst] - want[worst])), float(used.allowed[worst]), worst, float(y[worst]))
    return Judgement(outcome, _what_eval_does(case, evidence), "y", *figures, float(want[worst]))


@check("BN304", "eval-leaves-statistics", needs=("running",))
def eval_leaves_statistics(case: Case, seen: Seen) -> Judgement:
    """A forward in eval mode leaves the running statistics as they are.

    Promise
    -------
    Inference reads running mean and variance and never writes them.

    Why it matters
    --------------
    A model that learns from what it is asked gives another answer to the same question tomorrow.

    Evidence
    --------
    The statistics after one forward in eval mode and after a second on another batch, compared bit for bit.

    Typical causes
    --------------
    The update outside of the branch for training; a flag that is read for the normalisation only.

    References
    ----------
    PyTorch documentation of BatchNorm, "track_running_stats".
    """
    evidence = seen["running"]
    if judgement := _nothing_to_judge(evidence):
        return judgement
    for name in ("mean", "var"):
        # What is finished at the first inference, an average over all batches say, is left alone by the second.
        before, after = (evidence.arrays.get(f"{when}_{name}") for when in ("eval", "after"))
        if before is None or after is None:
            return Judgement(Outcome.SKIP, "no statistics to read after a forward in eval mode")
        if not np.array_equal(before, after, equal_nan=True):
            worst = int(np.argmax(~((before == after) | (np.isnan(before) & np.isnan(after)))))
            figures = (float(abs(after[worst] - before[worst])), 0.0, (worst,), float(after[worst]))
            message = f"running_{name} is changed by a forward in eval mode"
            return Judgement(Outcome.FAIL, message, f"running_{name}", *figures, float(before[worst]))
    return Judgement(Outcome.PASS, "eval mode leaves the statistics alone")


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
    if judgement := _nothing_to_judge(evidence):
        return judgement
    y, part = evidence.arrays.get("y"), evidence.arrays.get("part")
    if y is None or part is None or part.shape != case.x.shape:
        return _NO_Y
    used = _statistics_used(case, evidence)
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


# With fewer values per channel the gradients of training mode may look like those of eval mode.
_TELLING = 4


@check("BN306", "eval-gradients", needs=("training", "running"), follows=("BN302", "BN305"))
def eval_gradients(case: Case, seen: Seen) -> Judgement:
    """A backward that knows eval mode treats the running statistics as constants.

    Promise
    -------
    After a forward in eval mode ``dx = gamma dy / sqrt(running_var + eps)``,
    ``dgamma = sum(dy (x - running_mean) / sqrt(running_var + eps))`` and ``dbeta = sum(dy)``.

    Why it matters
    --------------
    Fine-tuning with frozen statistics, saliency maps and adversarial examples need it.

    Evidence
    --------
    A forward and a backward in eval mode. Skipped where the code offers no such thing: where backward raises then, or
    is that of training mode whatever the mode, which most code written by hand does and never asks for.

    Typical causes
    --------------
    dy passed through unscaled; the batch's standard deviation; xhat of the last training batch in dgamma.

    References
    ----------
    The chain rule, with constants for the statistics; pytorch/xla issue 913.
    """
    evidence = seen["running"]
    if judgement := _nothing_to_judge(evidence):
        return judgement
    if fault := evidence.facts.get("eval_backward_fault"):
        return Judgement(Outcome.SKIP, f"in eval mode {fault}")
    found = {name: evidence.arrays[name] for name in GRADIENTS if name in evidence.arrays}
    shapes = {"dx": case.x.shape, "dgamma": case.gamma.shape, "dbeta": case.beta.shape}
    if not found:
        return Judgement(Outcome.SKIP, "no gradients in eval mode")
    fitting = {name for name, shape in seen["training"].facts["shapes"].items() if shape == shapes.get(name)}
    for name in fitting:
        if name in found and found[name].shape != shapes[name]:
            message = f"{name} has shape {found[name].shape} in eval mode, and fits in training"
            return Judgement(Outcome.FAIL, message, name)
    if "dx" in fitting and "dx" not in found:
        return Judgement(Outcome.FAIL, "dx is missing in eval mode, and the others are not", "dx")
    if any(value.shape != shapes[name] for name, value in found.items()):
        return Judgement(Outcome.SKIP, "no gradients of the right shapes (see BN501)")
    used = _statistics_used(case, evidence)
    if used is None or not used.fits:
        return Judgement(Outcome.SKIP, "y in eval mode is not that of the running statistics (see BN302)")
    if case.spec.m < _TELLING or not all(np.isfinite(value).all() for value in found.values()):
        return Judgement(Outcome.SKIP, "too few values to tell the mode of a gradient")
    return _gradients_judged(case, evidence, found, used)


@check("BN310", "eval-agrees-with-training", needs=("training", "agreement"), follows=("BN101", "BN301", "BN302"))
def eval_agrees_with_training(case: Case, seen: Seen) -> Judgement:
    """With the batch's own statistics as the running ones, eval mode gives the y of training mode.

    Promise
    -------
    Training and inference are one formula with two sources of mean and variance.

    Why it matters
    --------------
    A model that is good in training and bad in inference is the complaint about Batch Normalization; another eps, power
    or order of the affine part in one of the two branches is one reason.

    Evidence
    --------
    Training on one batch with a momentum that forgets all others (or until they are forgotten), then that batch in eval
    mode, against y of training. Statistics of the unbiased variance scale y - beta by a factor that is known.

    Typical causes
    --------------
    Two branches with two formulas: eps outside the root in one; gamma forgotten in one; the standard deviation kept.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithms 1 and 2.
    """
    evidence, trained = seen["agreement"], seen["training"].arrays.get("y")
    y = evidence.arrays.get("y")
    if y is None or trained is None:
        return Judgement(Outcome.SKIP, evidence.facts.get("fault") or "not tried on this case")
    beta = _wide(case, case.beta)
    if evidence.facts["variance"] not in ("biased", "unbiased"):
        return Judgement(Outcome.SKIP, "which variance the statistics hold is not known (see BN301)")
    var, m = truth(case).forward.var, case.spec.m
    unbiased = _wide(case, np.sqrt((var + case.spec.eps) / (var * m / (m - 1) + case.spec.eps)))
    # Algorithm 2 averages biased variances, and takes m / (m - 1) of them in inference.
    factors = [unbiased] if evidence.facts["variance"] == "unbiased" else [np.ones(1), unbiased]
    judged = [_agreement(case, y, beta + (trained - beta) * factor) for factor in factors]
    return next((judgement for judgement in judged if judgement.outcome is not Outcome.FAIL), judged[0])


def _agreement(case: Case, y: Array, want: Array) -> Judgement:
    var = truth(case).forward.var
    # Statistics in float32 beside float64 data carry y to 1e-6 of its size, and the bound of training adds to it.
    size = np.abs(want).max(axis=case.axes, keepdims=True)
    condition = np.abs(case.x).max(axis=case.axes) / np.sqrt(var + case.spec.eps)
    u = max(UNIT_ROUNDOFF[case.spec.dtype], UNIT_ROUNDOFF["float32"])
    size = size + np.abs(_wide(case, case.beta))
    allowed = 2 * allowances(case, one_pass=True).y + 64 * u * size * (1 + _wide(case, condition))
    outcome, worst = within(y, want, np.broadcast_to(allowed, y.shape))
    if outcome is not Outcome.FAIL:
        return Judgement(outcome, "eval mode gives the y of training")
    figures = (float(abs(y[worst] - want[worst])), float(np.broadcast_to(allowed, y.shape)[worst]), worst)
    message = "eval mode with the batch's own statistics does not give the y of training"
    return Judgement(outcome, message, "y", *figures, float(y[worst]), float(want[worst]))


class _Used(NamedTuple):
    """The statistics that eval mode normalises with; `y` by the formula, how far it may err, and whether it fits."""

    mean: Array
    inv_std: Array
    y: Array
    allowed: Array
    fits: bool


def _nothing_to_judge(evidence: Evidence) -> Judgement | None:
    conventions: Conventions | None = evidence.facts.get("conventions")  # none where the training step raised
    if conventions is None or not conventions.momentum_sense:
        return NO_STATISTICS
    return None if conventions.mode_switch else _NO_MODE


def _statistics_used(case: Case, evidence: Evidence) -> _Used | None:
    """Return the running statistics, or Algorithm 2's with m / (m - 1) times the variance where y follows from those.

    None where the variance has no root.
    """
    found = evidence.arrays
    held = [(found["mean"][-1], found["var"][-1])]
    if "eval_mean" in found and "eval_var" in found:  # an average may be finished when inference begins
        held.append((found["eval_mean"], found["eval_var"]))
    conventions = evidence.facts["conventions"]
    if conventions.running_start == "0, 0" and conventions.momentum_sense in ("kept", "new", "fixed"):
        left = fraction_kept(case, conventions, 1) ** len(
            evidence.facts["m"]
        )  # of the zeros that the averages start from
        held += [(mean / (1 - left), var / (1 - left)) for mean, var in held[:1] if left < 1]
    factors = [1.0]
    if evidence.facts["conventions"].running_var != "unbiased":  # to an unbiased variance it was applied already
        factors += [m / (m - 1) for m in set(evidence.facts["m"]) if m > 1]
    first: _Used | None = None
    for (mean, var), factor in product(held, factors):
        total = factor * var + case.spec.eps
        if not (total > 0).all():
            continue
        used = _used(case, evidence, mean, 1 / np.sqrt(total))
        first = first or used
        if used.fits:
            return used
    return first


def _used(case: Case, evidence: Evidence, mean: Array, inv_std: Array) -> _Used:
    """Compare y with the formula; every operation of either form of it errs by at most u."""
    x = evidence.arrays["x"]
    u = _roundoff(case, evidence)
    mu, scale, gamma, beta = (_wide(case, a) for a in (mean, inv_std, case.gamma, case.beta))
    want = gamma * (x - mu) * scale + beta
    # The folded form (gamma inv_std) x + (beta - mu gamma inv_std) rounds at the size of its terms, some ten times.
    allowed = 20 * u * (np.abs(gamma) * scale * (np.abs(x) + np.abs(mu)) + np.abs(beta)) + np.finfo(np.float64).tiny
    fits = within(evidence.arrays["y"], want, allowed)[0] is not Outcome.FAIL
    return _Used(mean, inv_std, want, allowed, fits)


def _roundoff(case: Case, evidence: Evidence) -> float:
    return max(UNIT_ROUNDOFF[case.spec.dtype], float(evidence.arrays["precision"][0]))


def _wide(case: Case, per_channel: Any) -> Array:
    """Return a (C,) array in float64, as it broadcasts against x."""
    return np.asarray(per_channel, dtype=np.float64).reshape(-1, *[1] * (case.x.ndim - 2))


def _what_eval_does(case: Case, evidence: Evidence) -> str:
    x, y = evidence.arrays["x"], evidence.arrays["y"]
    own = forward(x, case.gamma, case.beta, case.spec.eps, case.axes).y
    if np.allclose(y, own, rtol=1e-3, atol=1e-6):
        return "y in eval mode is normalised with the batch's own statistics"
    return "y in eval mode does not follow from the running statistics"


def _gradients_judged(case: Case, evidence: Evidence, found: dict[str, Array], used: _Used) -> Judgement:
    """Compare with the formula; a gradient that departs from it fails unless the backward knows no eval mode."""
    u, dy = _roundoff(case, evidence), evidence.arrays["dy"]
    xhat = (case.x.astype(np.float64) - _wide(case, used.mean)) * _wide(case, used.inv_std)
    size = (np.abs(case.x) + np.abs(_wide(case, used.mean))) * _wide(case, used.inv_std)
    scale = _wide(case, case.gamma) * _wide(case, used.inv_std)
    want = {"dx": scale * dy, "dgamma": (dy * xhat).sum(axis=case.axes), "dbeta": dy.sum(axis=case.axes)}
    # A sum of m terms in any order errs by at most m u times the sum of their sizes (Higham 2002, section 4.2).
    summing = (case.spec.m + 20) * u
    allowed = {
        "dx": 20 * u * np.abs(want["dx"]),
        "dgamma": summing * (np.abs(dy) * size).sum(axis=case.axes),
        "dbeta": summing * np.abs(dy).sum(axis=case.axes),
    }
    tiny = np.finfo(np.float64).tiny
    wrong = [name for name in found if within(found[name], want[name], allowed[name] + tiny)[0] is Outcome.FAIL]
    if not wrong:
        return Judgement(Outcome.PASS, "the gradients in eval mode take the statistics for constants")
    if "dx" not in found or not found["dx"].any() or _of_training(case, evidence, found["dx"], used):
        return Judgement(Outcome.SKIP, "backward is that of training mode whatever the mode: eval mode has none")
    if "dx" not in wrong and not any(found[name].any() for name in wrong):
        return Judgement(Outcome.SKIP, f"{' and '.join(wrong)} are 0 in eval mode: frozen there, it seems")
    name = wrong[0]
    outcome, at = within(found[name], want[name], allowed[name] + tiny)
    figures = (float(abs(found[name][at] - want[name][at])), float(allowed[name][at]), at, float(found[name][at]))
    return Judgement(outcome, f"{name} in eval mode is wrong", name, *figures, float(want[name][at]))


def _of_training(case: Case, evidence: Evidence, dx: Array, used: _Used) -> bool:
    """Tell whether dx is what a backward of training mode makes of dy, from whatever its cache holds by then.

    That is ``k (dy - xhat mean(dy xhat)) + a`` per channel, with k and xhat by the batch's own statistics, by the
    running ones, or by those of the last training batch, in any mixture. The constant a is left free: where xhat has a
    mean, the stages of a backward differ in it.
    """
    dy, x = evidence.arrays["dy"], case.x.astype(np.float64)
    own, last = (forward(a, case.gamma, case.beta, case.spec.eps, case.axes) for a in (x, -x))
    # Whatever the mixture, its digits are those that the condition leaves, squared with a one-pass variance.
    condition = np.abs(x).max() * max(float(s.inv_std.max()) for s in (own, last))
    share = min(1e-2, 1e-6 + 64 * UNIT_ROUNDOFF[case.spec.dtype] * (1 + condition) ** 2)
    spreads = [_wide(case, s) for s in (used.inv_std, own.inv_std, last.inv_std)]
    centred = [x - _wide(case, mean) for mean in (used.mean, own.mu, last.mu)] + [-x - _wide(case, last.mu)]

    def free(values: Array) -> Array:
        moved: Array = values - values.mean(axis=case.axes, keepdims=True)
        return moved

    for inv_std, xc, scale in product(spreads, centred, spreads):
        xhat = xc * scale
        shared = xhat * (dy * xhat).mean(axis=case.axes, keepdims=True)
        found = _wide(case, case.gamma) * inv_std * (dy - shared)
        if np.allclose(free(dx), free(found), rtol=1e-4, atol=share * float(np.abs(dx).max())):
            return True
    return False
