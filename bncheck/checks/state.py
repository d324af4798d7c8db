"""Promises about state: inputs left alone, and results that depend on the arguments and on nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bncheck.case import Case
from bncheck.checks.catalogue import NOT_TRIED, Seen, check
from bncheck.model import TENSORS, Evidence, Judgement, Outcome

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@check("BN504", "inputs-untouched", needs=("training", "running"))
def inputs_untouched(case: Case, seen: Seen) -> Judgement:
    """The arrays handed over are as they were.

    Promise
    -------
    forward and backward do not write into x, gamma, beta or dy, and no result lies in their memory.

    Why it matters
    --------------
    The caller's next layer, or the residual branch, reads the same arrays; and a caller may change what it was
    returned (``dbeta *= lr``, a rectifier in place).

    Evidence
    --------
    x, gamma, beta and dy, compared with copies after one training step; x once more after a forward in eval mode.
    The memory of y, dx, dgamma and dbeta beside theirs.

    Typical causes
    --------------
    ``x -= mu``, ``dout *= gamma``: in-place operators on an argument; a view returned where the sum has one term.

    References
    ----------
    NumPy, "Copies and views".
    """
    changed = seen["training"].facts["changed"]
    if changed:
        return Judgement(Outcome.FAIL, f"{' and '.join(changed)} changed in place", changed[0])
    if seen["running"].facts.get("eval_changed"):
        return Judgement(Outcome.FAIL, "x changed in place in eval mode", "x")
    for result, given in seen["training"].facts["aliased"]:
        return Judgement(Outcome.FAIL, f"{result} lies in the memory of {given}: who changes one changes both", result)
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


# What is compared where one step comes before; a condition rests on it.
AFTER_ONE = "a step of a fresh layer and one after another batch"


@check("BN508", "step-independent", needs=("training", "second-step", "many-steps"), follows=("BN504", "BN505"))
def step_independent(case: Case, seen: Seen) -> Judgement:
    """A training step does not depend on the steps before it.

    Promise
    -------
    In training mode y and the gradients follow from the batch at hand, whatever a layer has seen before.

    Why it matters
    --------------
    What is left over from earlier steps grows with the length of the training; a first step shows nothing of it.

    Evidence
    --------
    Two training steps in one layer on different batches; the second compared bit for bit with the same step in a fresh
    layer. On a few small cases fifty steps, those on the same batch compared with that of a fresh layer.

    Typical causes
    --------------
    ``self.dgamma += ...`` and never cleared; a batch size remembered from the first call; a cache that keeps the first
    batch; running statistics that enter the training forward; a counter of steps, after which something else is done.

    References
    ----------
    MXNet issues 16297 and 18499, gradients that accumulate across calls.
    """
    if seen["second-step"].facts.get("refused_before"):
        return Judgement(Outcome.SKIP, "the step before, on a batch of another size, did not come back")
    judgement = _equal(seen["training"], seen["second-step"], AFTER_ONE)
    refusal = seen["second-step"].facts.get("one_size")
    if judgement.outcome is not Outcome.FAIL and (many := seen["many-steps"]).facts:
        which = f"a step of a fresh layer and one after {many.facts['before']} others"
        judgement = _equal(seen["training"], many, which)
    if refusal and judgement.outcome in (Outcome.PASS, Outcome.SKIP):
        return Judgement(Outcome.WARN, f"works with batches of one size only: {refusal}")
    return judgement


@check(
    "BN509",
    "layers-independent",
    needs=("training", "interleaved"),
    follows=("BN504", "BN505", "BN508"),
    of_backward=True,
)
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
    if second.fault is None and not second.facts:
        return Judgement(Outcome.SKIP, NOT_TRIED)
    if (first.fault is None) != (second.fault is None):
        return Judgement(Outcome.FAIL, f"of {which} only one works: {first.fault or second.fault}")
    for name in TENSORS:
        one, two = first.arrays.get(name), second.arrays.get(name)
        if one is not None and two is None and second.fault is None:
            return Judgement(Outcome.FAIL, f"of {which} only one has a {name} that fits", name)
        if one is None or two is None or np.array_equal(one, two, equal_nan=True):
            continue
        at = _first_difference(one, two)
        figures = (float(abs(one[at] - two[at])), 0.0, at, float(two[at]), float(one[at]))
        return Judgement(Outcome.FAIL, f"{name} differs between {which}", name, *figures)
    return Judgement(Outcome.PASS, f"{which} give the same bits")


@check(
    "BN511",
    "backward-repeatable",
    needs=("training", "backward-twice"),
    severity="warning",
    follows=("BN504", "BN505", "BN506", "BN508"),
    of_backward=True,
)
def backward_repeatable(case: Case, seen: Seen) -> Judgement:
    """A second backward from the same forward gives the same dx.

    Promise
    -------
    Backward reads what forward kept, and does not spoil it. A cache that serves once and then raises is fine, and so
    are gradients that add up over backwards until they are cleared, as those of a graph's nodes do.

    Why it matters
    --------------
    Gradient checks, two losses on one output and a graph that is kept call backward twice: a spoiled cache gives
    numbers, and they are wrong.

    Evidence
    --------
    Two backwards in a row, compared bit for bit.

    Typical causes
    --------------
    ``xhat *= ...`` or ``dxhat -= ...`` on an array of the cache.

    References
    ----------
    PyTorch documentation of ``retain_graph``.
    """
    evidence, once = seen["backward-twice"], seen["training"].arrays
    if not evidence.facts.get("tried"):
        return Judgement(Outcome.SKIP, NOT_TRIED)
    if raised := evidence.facts["raised"]:
        return Judgement(Outcome.SKIP, f"a second backward is refused: {raised}")
    dx, again = once.get("dx"), evidence.arrays.get("dx")
    if dx is None or again is None:
        return Judgement(Outcome.SKIP, "no dx of a second backward to compare")
    added = [name for name in ("dgamma", "dbeta") if _doubled(once.get(name), evidence.arrays.get(name))]
    if not np.array_equal(dx, again, equal_nan=True):
        if added:  # where gradients pile up, those between dx and dy do, too: dx may then be anything
            return Judgement(Outcome.SKIP, f"{' and '.join(added)} of a second backward add up, and dx with them")
        at = _first_difference(dx, again)
        figures = (float(abs(again[at] - dx[at])), 0.0, at, float(again[at]), float(dx[at]))
        return Judgement(Outcome.WARN, "dx of a second backward is another one", "dx", *figures)
    message = f"{' and '.join(added)} of a second backward add up" if added else "backward gives the same twice"
    return Judgement(Outcome.PASS, message)


@check(
    "BN512",
    "poison-stays-in-channel",
    needs=("training", "poisoned"),
    severity="warning",
    follows=("BN101", "BN201", "BN202", "BN203", "BN505", "BN605"),
)
def poison_stays_in_channel(case: Case, seen: Seen) -> Judgement:
    """A NaN or an infinity in one channel leaves the others as they were.

    Promise
    -------
    y, dx, dgamma and dbeta of all other channels are what they are without it.

    Why it matters
    --------------
    One dead channel can be found and mended; a map full of NaN tells nothing.

    Evidence
    --------
    A step with a NaN and an infinity in one channel of x, the other channels compared with the plain step.

    Typical causes
    --------------
    Sums over channels, or products with masks and matrices of zeros (0 times NaN is NaN).

    References
    ----------
    IEEE 754-2019, section 6.2.
    """
    evidence, plain = seen["poisoned"], seen["training"].arrays
    if "channel" not in evidence.facts:
        return Judgement(Outcome.SKIP, NOT_TRIED)
    if raised := evidence.facts["raised"]:
        return Judgement(Outcome.PASS, f"refuses what is not finite: {raised}")
    others = np.arange(case.spec.c) != evidence.facts["channel"]
    for name, found in evidence.arrays.items():
        want = plain.get(name)
        if want is None or not np.isfinite(want).all():
            continue
        got, clean = (np.moveaxis(a, 1, 0)[others] if a.ndim > 1 else a[others] for a in (found, want))
        if not np.isfinite(got).all():
            return Judgement(Outcome.WARN, f"a NaN in one channel of x reaches {name} of other channels", name)
        if not np.allclose(got, clean, rtol=1e-3, atol=1e-3 * float(np.abs(clean).max())):
            return Judgement(Outcome.WARN, f"a NaN in one channel of x changes {name} of other channels", name)
    return Judgement(Outcome.PASS, "a NaN stays in its channel")


@check("BN513", "empty-batch-is-clear", needs=("training", "empty-batch"), severity="warning")
def empty_batch_is_clear(case: Case, seen: Seen) -> Judgement:
    """A batch of no rows is refused, or gives a y of no rows.

    Promise
    -------
    No number comes out where none went in.

    Why it matters
    --------------
    The last shard of a data set may be empty. (What comes of the running statistics then, NaN in most code, is up to
    the caller.)

    Evidence
    --------
    A forward of x with N = 0.

    Typical causes
    --------------
    A buffer of an earlier batch handed out; a shape that is remembered.

    References
    ----------
    PyTorch, "Expected more than 1 value per channel when training".
    """
    facts = seen["empty-batch"].facts
    if "raised" not in facts:
        return Judgement(Outcome.SKIP, NOT_TRIED)
    if facts["raised"]:
        return Judgement(Outcome.PASS, f"an empty batch is refused: {facts['raised']}")
    want = (0, *case.x.shape[1:])
    if facts["shape"] != want:
        return Judgement(Outcome.WARN, f"y of an empty batch is {facts['shape']}, and not {want}", "y")
    return Judgement(Outcome.PASS, "an empty batch gives an empty y")


@check("BN514", "random-state-untouched", needs=("training", "random-state"), severity="warning")
def random_state_untouched(case: Case, seen: Seen) -> Judgement:
    """The global random generators are left alone.

    Promise
    -------
    Neither ``random`` nor ``numpy.random`` is drawn from, or seeded, by a forward or a backward.

    Why it matters
    --------------
    Experiments are reproduced by seeds: a layer that draws from the global generator, or seeds it, changes all that
    comes after it.

    Evidence
    --------
    The state of both generators before and after a training step of a layer that has run before: what its constructor
    and its first forward draw for its weights does not count.

    Typical causes
    --------------
    Noise or dropout inside; ``np.random.seed(0)`` left over from debugging.

    References
    ----------
    NumPy, NEP 19, "Random number generator policy".
    """
    moved = seen["random-state"].facts.get("moved")
    if moved is None:
        return Judgement(Outcome.SKIP, NOT_TRIED)
    if moved:
        return Judgement(Outcome.WARN, f"a step draws from, or seeds, the global generator of {' and '.join(moved)}")
    return Judgement(Outcome.PASS, "global random generators are left alone")


def _doubled(once: Array | None, twice: Array | None) -> bool:
    return once is not None and twice is not None and bool(once.any()) and np.allclose(twice, 2 * once)


def _first_difference(one: Array, two: Array) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(~((one == two) | (np.isnan(one) & np.isnan(two))))[0])
