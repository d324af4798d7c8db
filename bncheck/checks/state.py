"""Promises about state: inputs left alone, and results that depend on the arguments and on nothing else."""

from __future__ import annotations

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import Seen, check
from bncheck.model import TENSORS, Evidence, Judgement, Outcome


@check("BN504", "inputs-untouched")
def inputs_untouched(case: Case, seen: Seen) -> Judgement:
    """The arrays handed over are as they were.

    Promise
    -------
    forward and backward do not write into x, gamma, beta or dy.

    Why it matters
    --------------
    The caller's next layer, or the residual branch, reads the same arrays.

    Evidence
    --------
    x, gamma, beta and dy, compared with copies after one training step.

    Typical causes
    --------------
    ``x -= mu``, ``dout *= gamma``: in-place operators on an argument.

    References
    ----------
    NumPy, "Copies and views".
    """
    changed = seen["training"].facts["changed"]
    if changed:
        return Judgement(Outcome.FAIL, f"{' and '.join(changed)} changed in place", changed[0])
    return Judgement(Outcome.PASS, "inputs are untouched")


@check("BN505", "same-twice", needs=("training", "training-again"))
def same_twice(case: Case, seen: Seen) -> Judgement:
    """The same training step in a fresh layer returns the same bits.

    Promise
    -------
    y and the gradients depend on the arguments alone: not on earlier calls, not on a random generator.

    Why it matters
    --------------
    What depends on hidden state cannot be verified, and cannot be reproduced.

    Evidence
    --------
    The same case twice, each in a fresh session, compared bit for bit.

    Typical causes
    --------------
    A cache or running statistics in a global or a default argument; gradients that accumulate; noise.

    References
    ----------
    Python FAQ, "Why are default values shared between objects?".
    """
    return _equal(seen["training"], seen["training-again"], "two equal steps")


@check("BN508", "step-independent", needs=("training", "second-step"), follows=("BN504", "BN505"))
def second_step_same(case: Case, seen: Seen) -> Judgement:
    """A training step does not depend on the steps before it.

    Promise
    -------
    In training mode y and the gradients follow from the batch at hand: a layer that has seen another batch, of another
    size, returns the same as a fresh one.

    Why it matters
    --------------
    What is left over from earlier steps grows with the length of the training; a first step shows nothing of it.

    Evidence
    --------
    Two training steps in one layer on different batches; the second compared bit for bit with the same step in a fresh
    layer.

    Typical causes
    --------------
    ``self.dgamma += ...`` and never cleared; a batch size remembered from the first call; a cache that keeps the first
    batch; running statistics that enter the training forward.

    References
    ----------
    MXNet issues 16297 and 18499, gradients that accumulate across calls.
    """
    if seen["second-step"].facts.get("refused_before"):
        return Judgement(Outcome.SKIP, "a layer that has seen a batch of another size could not be made")
    judgement = _equal(seen["training"], seen["second-step"], "a step of a fresh layer and one after another batch")
    refusal = seen["second-step"].facts.get("one_size")
    if refusal and judgement.outcome is Outcome.PASS:
        return Judgement(Outcome.WARN, f"works with batches of one size only: {refusal}")
    return judgement


@check("BN509", "layers-independent", needs=("training", "interleaved"), follows=("BN504", "BN505", "BN508"))
def layers_independent(case: Case, seen: Seen) -> Judgement:
    """Two layers do not disturb each other.

    Promise
    -------
    A layer's backward belongs to its own forward, whatever other layers do in between.

    Why it matters
    --------------
    Every network has several of them: forward runs through all before the first backward.

    Evidence
    --------
    The forward of one layer, the forward of another on another batch, then the backward of the first; compared bit for
    bit with an undisturbed step.

    Typical causes
    --------------
    A cache in a global, in a class attribute or in a default argument.

    References
    ----------
    Python FAQ, "Why are default values shared between objects?".
    """
    return _equal(seen["training"], seen["interleaved"], "a step and one with another layer's forward in its middle")


def _equal(first: Evidence, second: Evidence, which: str) -> Judgement:
    if (first.fault is None) != (second.fault is None):
        fault = first.fault or second.fault
        return Judgement(Outcome.FAIL, f"of {which} only one works: {fault}")
    for name in TENSORS:
        one, two = first.arrays.get(name), second.arrays.get(name)
        if one is None or two is None or np.array_equal(one, two, equal_nan=True):
            continue
        at = tuple(int(i) for i in np.argwhere(~((one == two) | (np.isnan(one) & np.isnan(two))))[0])
        error = float(abs(one[at] - two[at]))
        message = f"{name} differs between {which}"
        return Judgement(Outcome.FAIL, message, name, error, 0.0, at, float(two[at]), float(one[at]))
    return Judgement(Outcome.PASS, f"{which} give the same bits")
