"""The laws of Batch Normalization that need no oracle: what a changed step gives, in terms of the unchanged one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import NOT_TRIED, Seen, check
from bncheck.core.tolerance import UNIT_ROUNDOFF, within
from bncheck.core.truth import allowances, truth
from bncheck.model import TENSORS, Judgement, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# Either side of a law errs by its rounding bound, a one-pass variance's at most; no changed step has terms of more than
# twice the size, in whose bound they enter squared, and at most three steps are added up. So 16 bounds of the channel's
# worst element cover both sides.
_BOUNDS = 16

_ORACLES = ("BN101", "BN201", "BN202", "BN203", "BN211", "BN212", "BN213")
_FOLLOWS = ("BN501", "BN503", "BN504", "BN505", "BN506", "BN508", *_ORACLES)


@check("BN602", "shift-changes-nothing", needs=("training", "laws"), follows=_FOLLOWS)
def shift_changes_nothing(case: Case, seen: Seen) -> Judgement:
    """Adding a constant to a channel of x changes neither y nor the gradients.

    Promise
    -------
    ``BN(x + c) = BN(x)`` for a constant c per channel, and so are dx, dgamma and dbeta.

    Why it matters
    --------------
    It is why a bias before a Batch Normalization does nothing: beta takes its place.

    Evidence
    --------
    The step on x + c, with a c that makes the sum exact in the dtype, against the step on x.

    Typical causes
    --------------
    x not centred; the variance of the uncentred x; a clip or an activation inside.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.2.
    """
    return _judge(case, seen, "shift", "x + c")


@check("BN604", "order-of-batch-changes-nothing", needs=("training", "laws"), follows=_FOLLOWS)
def order_of_batch_changes_nothing(case: Case, seen: Seen) -> Judgement:
    """The same batch in another order gives y and dx in that order, and the same dgamma and dbeta.

    Promise
    -------
    Results of a sample do not depend on its place in the batch.

    Why it matters
    --------------
    What depends on the place, treats some samples unlike others: a lost last row, a block that is left out.

    Evidence
    --------
    The step on the batch in another order, put back into the first one.

    Typical causes
    --------------
    Loops that stop before the last row; a tail of a block lost; statistics of a part of the batch.

    References
    ----------
    Follows from Algorithm 1 of Ioffe & Szegedy 2015, arXiv:1502.03167: sums do not know an order.
    """
    return _judge(case, seen, "permutation", "the batch in another order")


@check("BN605", "channels-independent", needs=("training", "laws"), follows=_FOLLOWS)
def channels_independent(case: Case, seen: Seen) -> Judgement:
    """A channel's y, dx, dgamma and dbeta depend on that channel alone.

    Promise
    -------
    Other channels' x, dy, gamma and beta make no difference.

    Why it matters
    --------------
    It is what tells Batch Normalization from layer, instance and group normalization.

    Evidence
    --------
    The step with all channels but one changed; that one's results against those of the unchanged step.

    Typical causes
    --------------
    Statistics over the wrong axis or over all of them; a reshape that mixes channels with space; dgamma summed over
    everything.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3: "normalize each scalar feature independently".
    """
    return _judge(case, seen, "channels", "other channels changed")


@check("BN606", "backward-linear", needs=("training", "laws"), follows=_FOLLOWS, of_backward=True)
def backward_linear(case: Case, seen: Seen) -> Judgement:
    """Backward is linear in dy.

    Promise
    -------
    The gradients for dy + dy' are those for dy plus those for dy'.

    Why it matters
    --------------
    Every derivative is linear in what comes from above; what is not, is no derivative.

    Evidence
    --------
    Three backwards on the same batch, for dy, dy' and their sum.

    Typical causes
    --------------
    Gradients clipped, normalised or squared; their absolute value taken; a decay of the weights added.

    References
    ----------
    The chain rule.
    """
    return _judge(case, seen, "upstream", "dy + dy' less that for dy'")


@check("BN607", "forward-affine-in-parameters", needs=("training", "laws"), follows=_FOLLOWS)
def forward_affine_in_parameters(case: Case, seen: Seen) -> Judgement:
    """y is affine in gamma and beta.

    Promise
    -------
    ``y = gamma * xhat + beta``: twice the parameters, twice the y; the other sign, the other sign.

    Why it matters
    --------------
    A gamma that is clipped or squared or taken without its sign cannot learn what the others can.

    Evidence
    --------
    Four forwards on the same batch, with p, p/2, -p/2 and 0 for the parameters (gamma, beta) = p.

    Typical causes
    --------------
    ``max(gamma, 0)``; ``abs(gamma)``; beta scaled by gamma (added before the scaling).

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 1.
    """
    return _judge(case, seen, "parameters", "parameters added up")


@check("BN608", "repeated-batch", needs=("training", "laws"), follows=_FOLLOWS)
def repeated_batch(case: Case, seen: Seen) -> Judgement:
    """The batch twice gives the same y and dx twice, and twice the dgamma and dbeta.

    Promise
    -------
    Statistics are averages, gradients of parameters are sums.

    Why it matters
    --------------
    It tells sums from means without knowing which was meant, and a biased variance from an unbiased one.

    Evidence
    --------
    The step on the batch and a copy of it, one behind the other.

    Typical causes
    --------------
    m - 1 in a denominator; dgamma and dbeta averaged over the batch; a batch size that is remembered or hard-coded.

    References
    ----------
    Follows from Algorithm 1 of Ioffe & Szegedy 2015, arXiv:1502.03167.
    """
    return _judge(case, seen, "repetition", "the batch twice")


@check("BN609", "space-is-batch", needs=("training", "laws"), follows=_FOLLOWS)
def space_is_batch(case: Case, seen: Seen) -> Judgement:
    """(N, C, H, W) gives what the same values as (N*H*W, C) give.

    Promise
    -------
    A feature map's places count like samples: m = N H W.

    Why it matters
    --------------
    Convolutional layers share one gamma, beta, mean and variance per map.

    Evidence
    --------
    The step on the rearranged batch, where the implementation takes both layouts.

    Typical causes
    --------------
    Statistics per image or per pixel; m = N in the backward; a reshape without the transpose.

    References
    ----------
    Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.2.
    """
    return _judge(case, seen, "space", "(N*H*W, C)")


def _judge(case: Case, seen: Seen, law: str, change: str) -> Judgement:
    """Compare the changed step's results, carried back, with the unchanged one's."""
    evidence, own = seen["laws"], seen["training"].arrays
    if raised := evidence.facts.get("raised", {}).get(law):
        return Judgement(Outcome.SKIP, f"with {change}: {raised}")
    lacking = law == "space" and not evidence.facts.get("both", True)
    judgement = Judgement(Outcome.SKIP, "the code takes (N, C) or maps, and not both" if lacking else NOT_TRIED)
    for tensor in TENSORS:
        found, want = evidence.arrays.get(f"{law}.{tensor}"), own.get(tensor)
        if found is None or want is None or not (np.isfinite(found).all() and np.isfinite(want).all()):
            continue
        for one_pass in (False, True):  # the larger bound is asked for only where the smaller one is exceeded
            right = getattr(allowances(case, one_pass=one_pass), tensor)
            bound = _BOUNDS * (_worst(case, right) + _own_rounding(case, want))
            outcome, at = within(found, want, bound)
            if outcome is not Outcome.FAIL:
                break
        if outcome is Outcome.FAIL:
            message = f"{tensor} is another one for {change}"
            figures = (float(abs(found[at] - want[at])), float(bound[at]), at)
            return Judgement(outcome, message, tensor, *figures, float(found[at]), float(want[at]))
        if judgement.outcome is not Outcome.PASS:
            judgement = Judgement(outcome, f"the same for {change}")
    return judgement


def _worst(case: Case, values: Array) -> Array:
    """Return the largest of each channel's values, in the place of all of them."""
    return np.broadcast_to(values.max(axis=case.axes, keepdims=True), values.shape) if values.ndim > 1 else values


def _own_rounding(case: Case, want: Array) -> Array:
    """Return how far a tensor, wrong or right, errs by its own size: sums by m u, what is centred by k u.

    The rounding bound is that of a right one, which may be 0 where a wrong one is not.
    """
    condition = np.abs(case.x).max(axis=case.axes) * truth(case).forward.inv_std
    factor = UNIT_ROUNDOFF[case.spec.dtype] * (case.spec.m + np.nan_to_num(condition))
    own: Array = _worst(case, np.abs(want)) * factor.reshape(-1, *[1] * max(0, want.ndim - 2))
    return own
