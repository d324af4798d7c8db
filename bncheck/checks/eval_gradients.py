"""The promise about gradients in eval mode, where the statistics are constants."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import Seen, check
from bncheck.checks.evaluation import Used, nothing_to_judge, roundoff, statistics_used, wide
from bncheck.core.tolerance import UNIT_ROUNDOFF, within
from bncheck.core.truth import allowances, truth
from bncheck.model import GRADIENTS, Evidence, Judgement, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# With fewer values per channel the gradients of training mode may look like those of eval mode.
_TELLING = 4
# The forms of training mode's dx differ from each other, and from eval mode's, by terms of the order of dx itself:
# where rounding may be more than this share of dx, no form can be told from another.
_TOLD_APART = 0.25

# Why code is not asked for gradients of eval mode: it has none, or none that anybody could use.
OF_TRAINING = "backward is that of training mode whatever the mode: eval mode has none"
ALIKE = "training mode has the same dx on this case: the mode cannot be told"
NOTHING_IN_EVAL = "all gradients are 0 in eval mode: frozen there, it seems"

# A hundred times more than the few operations here make of rounding in float64.
_NEGLIGIBLE = 1e-12


@check("BN306", "eval-gradients", needs=("training", "running"), follows=("BN302", "BN305"), of_backward=True)
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
    A forward and a backward in eval mode. Skipped where the code offers no such thing: where backward raises then, has
    zeros for every gradient, or is that of training mode whatever the mode, which most code written by hand does and
    never asks for (the report has a note of it); where autograd calls it, that is warned of. Zeros for dx alone are
    wrong. A case on which the two come to the same dx, with gamma 0 for example, tells nothing and is skipped, too.

    Typical causes
    --------------
    dy passed through unscaled; the batch's standard deviation; xhat of the last training batch in dgamma; an
    ``autograd.Function`` that is not told the mode.

    References
    ----------
    The chain rule, with constants for the statistics; pytorch/xla issue 913.
    """
    evidence = seen["running"]
    if judgement := nothing_to_judge(evidence):
        return judgement
    if fault := evidence.facts.get("eval_backward_fault"):
        return Judgement(Outcome.SKIP, f"in eval mode {fault}")
    found = {name: evidence.arrays[name] for name in GRADIENTS if name in evidence.arrays}
    shapes = {"dx": case.x.shape, "dgamma": case.gamma.shape, "dbeta": case.beta.shape}
    if not found:
        return Judgement(Outcome.SKIP, "no gradients in eval mode")
    trained = seen["training"].facts["shapes"]
    fitting = [name for name in GRADIENTS if trained.get(name) == shapes[name]]
    for name in fitting:
        if name in found and found[name].shape != shapes[name]:
            message = f"{name} has shape {found[name].shape} in eval mode, and fits in training"
            return Judgement(Outcome.FAIL, message, name)
    if "dx" in fitting and "dx" not in found:
        return Judgement(Outcome.FAIL, "dx is missing in eval mode, and the others are not", "dx")
    if any(value.shape != shapes[name] for name, value in found.items()):
        return Judgement(Outcome.SKIP, "no gradients of the right shapes (see BN501)")
    if evidence.facts["conventions"].momentum_sense == "finished":
        return Judgement(Outcome.SKIP, "the statistics that eval mode works out are not read")
    used = statistics_used(case, evidence)
    if used is None or not used.fits:
        return Judgement(Outcome.SKIP, "y in eval mode is not that of the running statistics (see BN302)")
    if case.spec.m < _TELLING or not all(np.isfinite(value).all() for value in found.values()):
        return Judgement(Outcome.SKIP, "too few values to tell the mode of a gradient")
    in_training = seen["training"].arrays.get("dx")
    knows_dx = (
        in_training is not None
        and within(in_training, truth(case).tensor("dx"), allowances(case).dx)[0] is not Outcome.FAIL
    )
    return _gradients_judged(case, evidence, found, used, knows_dx=knows_dx)


def _gradients_judged(
    case: Case, evidence: Evidence, found: dict[str, Array], used: Used, *, knows_dx: bool
) -> Judgement:
    """Compare with the formula; a gradient that departs from it fails unless the backward knows no eval mode."""
    u, dy = roundoff(case, evidence), evidence.arrays["dy"]
    xhat = (case.x.astype(np.float64) - wide(case, used.mean)) * wide(case, used.inv_std)
    size = (np.abs(case.x) + np.abs(wide(case, used.mean))) * wide(case, used.inv_std)
    scale = wide(case, case.gamma) * wide(case, used.inv_std)
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
        # The same to within what either may err: a backward of training mode would be right here, too.
        either = 2 * allowed["dx"] + _NEGLIGIBLE * float(np.abs(want["dx"]).max())
        if "dx" in found and _of_training(case, evidence, want["dx"], used, either):
            return Judgement(Outcome.SKIP, ALIKE)
        return Judgement(Outcome.PASS, "the gradients in eval mode take the statistics for constants")
    if "dx" in wrong and not knows_dx:
        return Judgement(Outcome.SKIP, "dx is wrong in training mode too: whose it is in eval mode cannot be told")
    rounding = _rounding_of_training(case)
    if rounding > _TOLD_APART:
        return Judgement(Outcome.SKIP, "rounding leaves too few digits to tell the mode of a gradient")
    if not any(value.any() for value in found.values()):
        return Judgement(Outcome.SKIP, NOTHING_IN_EVAL)
    if "dx" not in found:
        return Judgement(Outcome.SKIP, "no dx in eval mode by which to tell the mode of the others")
    dx = found["dx"]
    if _of_training(case, evidence, dx, used, rounding * float(np.abs(dx).max()), 1e-4):
        # A case on which both modes have the same dx tells nothing of a dx that is right.
        if "dx" not in wrong:
            return Judgement(Outcome.SKIP, ALIKE)
        if evidence.facts["conventions"].framework == "numpy":
            return Judgement(Outcome.SKIP, OF_TRAINING)
        return Judgement(Outcome.WARN, "in eval mode autograd calls the backward of training: dx is another one", "dx")
    if "dx" not in wrong and not any(found[name].any() for name in wrong):
        return Judgement(Outcome.SKIP, f"{' and '.join(wrong)} are 0 in eval mode: frozen there, it seems")
    name = wrong[0]
    outcome, at = within(found[name], want[name], allowed[name] + tiny)
    figures = (float(abs(found[name][at] - want[name][at])), float(allowed[name][at]), at, float(found[name][at]))
    return Judgement(outcome, f"{name} in eval mode is wrong", name, *figures, float(want[name][at]))


def _rounding_of_training(case: Case) -> float:
    """Return the share of training mode's dx that rounding may be, with whichever algorithm.

    Its digits are those that the condition leaves, squared with a one-pass variance.
    """
    condition = np.abs(case.x.astype(np.float64)).max() * truth(case).forward.inv_std.max()
    return float(1e-6 + 64 * UNIT_ROUNDOFF[case.spec.dtype] * (1 + condition) ** 2)


def _of_training(case: Case, evidence: Evidence, dx: Array, used: Used, allowed: Any, share: float = 0.0) -> bool:
    """Tell whether dx is what a backward of training mode makes of dy, from whatever its cache holds by then.

    That is ``k (dy - xhat mean(dy xhat)) + a`` per channel, with k and xhat by the batch's own statistics, by the
    running ones, or by those of the last training batch, in any mixture. The constant a is left free: where xhat has a
    mean, the stages of a backward differ in it.

    It may err by `allowed`, and by a share of itself.
    """
    dy, x = evidence.arrays["dy"], case.x.astype(np.float64)
    own = truth(case).forward
    spreads = [wide(case, inv_std) for inv_std in (used.inv_std, own.inv_std)]
    # The training batch before is -x, of the same spread; the sign of xhat is nothing to dx.
    centred = [x - wide(case, mean) for mean in (used.mean, own.mu, -own.mu)]

    def free(values: Array) -> Array:
        moved: Array = values - values.mean(axis=case.axes, keepdims=True)
        return moved

    for inv_std, xc, scale in product(spreads, centred, spreads):
        xhat = xc * scale
        shared = xhat * (dy * xhat).mean(axis=case.axes, keepdims=True)
        found = wide(case, case.gamma) * inv_std * (dy - shared)
        if np.allclose(free(dx), free(found), rtol=share, atol=allowed):
            return True
    return False
