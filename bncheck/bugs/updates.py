"""Faults of the rule by which running statistics are averaged; k is the fraction of the old value that stays."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from bncheck.bugs.catalogue import Choice, bug
from bncheck.bugs.memory import STATISTICS, Remembering
from bncheck.bugs.steps import Array

MEAN, VAR = STATISTICS
_BOTH = "running_mean running_var"
_RULE = "running_mean = k * running_mean + (1 - k) * mu"
# Which of the two statistics a fault is in.
_WHICH = [Choice("the running statistics", (MEAN, VAR)), Choice(MEAN, (MEAN,), 0.2), Choice(VAR, (VAR,), 0.2)]


def _mixed(s: Remembering, which: tuple[str, ...], mix: Callable[[Array, Array], Array]) -> Any:
    """Return both statistics after an update, `which` of them by another mixture of the old value and the new one."""
    pairs = ((MEAN, s.old_mean, s.mean_taken), (VAR, s.old_var, s.var_taken))
    return tuple(mix(old, taken) if name in which else s.right(name) for name, old, taken in pairs)


@bug(
    "BUG601",
    "momentum-on-other-side",
    "one of the running statistics has momentum on the other side than the other one: {}",
    step=_BOTH,
    wrong="{}",
    right=_RULE,
    mend="weigh old and new alike in both lines",
    choices=[
        Choice(
            f"{name} = (1 - k) * {name} + k * {batch}",
            (name,),
            0.0,
            f"{name} has momentum on the other side than {other}",
        )
        for name, batch, other in ((VAR, "var", MEAN), (MEAN, "mu", VAR))
    ],
)
def momentum_on_other_side(s: Remembering, which: tuple[str, ...]) -> Any:
    """What is the old one's share in one of the statistics is the new one's in the other.

    Why it happens
    --------------
    Two conventions meet: in some books momentum is the fraction that stays, in PyTorch the one that comes in.

    By hand
    -------
    momentum = 0, and one batch: either both statistics are the batch's, or neither has moved.

    References
    ----------
    PyTorch and Keras documentation of BatchNorm; Paddle issue 51120.
    """
    return _mixed(s, which, lambda old, taken: (1 - s.kept) * old + s.kept * taken)


@bug(
    "BUG603",
    "statistics-never-updated",
    "{} never updated in training",
    step=_BOTH,
    wrong="{}: left at the start, whatever the batches",
    right="running = k * running + (1 - k) * batch",
    mend="update running_mean and running_var in every forward of training, and store them",
    choices=[
        Choice("running statistics", (MEAN, VAR), 0.0, "the running statistics are never updated in training"),
        Choice(MEAN, (MEAN,), 0.2, "running_mean is never updated in training"),
        Choice(VAR, (VAR,), 0.2, "running_var is never updated in training"),
    ],
)
def never_updated(s: Remembering, which: tuple[str, ...]) -> Any:
    """The statistics with which inference normalises are those that the layer was made with.

    Why it happens
    --------------
    The update is computed into a local name and never stored, or is not written at all.

    By hand
    -------
    Print running_mean before and after a step of training.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.1; aprender issue 2166.
    """
    return _mixed(s, which, lambda old, taken: old)


@bug(
    "BUG604",
    "last-batch-alone",
    "{} alone of the last batch",
    step=_BOTH,
    wrong="{}: running = batch",
    right=_RULE,
    mend="average over the batches: keep a fraction of the old value",
    choices=[
        Choice("both", (MEAN, VAR), 0.0, "the running statistics are those of the last batch alone"),
        Choice(MEAN, (MEAN,), 0.2, "running_mean is the mean of the last batch alone"),
        Choice(VAR, (VAR,), 0.2, "running_var is the variance of the last batch alone"),
    ],
)
def last_batch_alone(s: Remembering, which: tuple[str, ...]) -> Any:
    """Nothing of the batches before the last one is left.

    Why it happens
    --------------
    ``self.running_mean = mu``; or the old value is read from a name that is set to 0 in every call.

    By hand
    -------
    Train on two different batches: running_mean must not be the mean of the second one.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.1.
    """
    return _mixed(s, which, lambda old, taken: taken)


@bug(
    "BUG605",
    "updated-twice",
    "each forward takes its batch into {} twice",
    step=_BOTH,
    wrong="running = k * (k * running + (1 - k) * batch) + (1 - k) * batch, in one forward: {}",
    right=_RULE,
    mend="update once per step of training",
    choices=_WHICH,
)
def updated_twice(s: Remembering, which: tuple[str, ...]) -> Any:
    """One forward counts as two, so that what was before is forgotten twice as fast.

    Why it happens
    --------------
    The update stands in the forward and in what the forward calls.

    By hand
    -------
    momentum = 0.5, running_mean = 0, and a batch of mean 1: after it running_mean is 0.5, and not 0.75.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.1.
    """
    return _mixed(s, which, lambda old, taken: s.mixed(s.mixed(old, taken), taken))


# A mixture, what is wrong with it, and its value.
_MIXTURES: list[tuple[str, str, Callable[[Remembering, Array, Array], Array]]] = [
    ("running + batch", "a sum, and no average", lambda s, old, new: old + new),
    (
        "running + (1 - k) * batch",
        "nothing of the old value is taken off",
        lambda s, old, new: old + (1 - s.kept) * new,
    ),
    ("running + k * batch", "nothing of the old value is taken off", lambda s, old, new: old + s.kept * new),
    ("k * running + batch", "the batch counts in full", lambda s, old, new: s.kept * old + new),
    ("(1 - k) * running + batch", "the batch counts in full", lambda s, old, new: (1 - s.kept) * old + new),
    ("k * running + k * batch", "both have the same weight", lambda s, old, new: s.kept * (old + new)),
    (
        "(1 - k) * running + (1 - k) * batch",
        "both have the same weight",
        lambda s, old, new: (1 - s.kept) * (old + new),
    ),
    (
        "running + (1 - k) * (running - batch)",
        "it moves away from the batch",
        lambda s, old, new: old + (1 - s.kept) * (old - new),
    ),
    (
        "k * running - (1 - k) * batch",
        "the batch is subtracted",
        lambda s, old, new: s.kept * old - (1 - s.kept) * new,
    ),
    ("(1 - k) * batch", "the old value is lost", lambda s, old, new: (1 - s.kept) * new),
    ("k * batch", "the old value is lost", lambda s, old, new: s.kept * new),
    ("k * running", "the batch is lost", lambda s, old, new: s.kept * old),
    ("(1 - k) * running", "the batch is lost", lambda s, old, new: (1 - s.kept) * old),
]


def _named(line: str, which: tuple[str, ...]) -> str:
    """Return an update in the names of the statistics that it is of."""
    names = {MEAN: (MEAN, "mu"), VAR: (VAR, "var")}[which[0]] if len(which) == 1 else ("running", "batch")
    of = f"{names[0]} = {line}"
    return re.sub(r"\bbatch\b", names[1], re.sub(r"\brunning\b", names[0], of))


@bug(
    "BUG606",
    "weights-of-update",
    "{}",
    step=_BOTH,
    wrong="{}",
    right="running = k * running + (1 - k) * batch",
    mend="the two weights are k and 1 - k, and sum to 1",
    choices=[
        Choice(
            _named(line, which), (mix, which), 0.2 * (len(which) == 1) + 0.01 * place, f"{_named(line, which)}: {why}"
        )
        for place, (line, why, mix) in enumerate(_MIXTURES)
        for which in ((MEAN, VAR), (MEAN,), (VAR,))
    ],
)
def weights_of_update(s: Remembering, value: Any) -> Any:
    """Old and new do not share one whole: the average drifts away from what it averages.

    Why it happens
    --------------
    A factor is forgotten, given twice, or has the wrong sign; ``+=`` stands where ``=`` was meant.

    By hand
    -------
    Give it the same batch again and again: the statistics must come to those of the batch, and stay there.

    References
    ----------
    PyTorch documentation of BatchNorm, the update rule.
    """
    mix, which = value
    return _mixed(s, which, lambda old, taken: mix(s, old, taken))
