"""Faults of the fraction k of the old statistics that stays: another in each line, ignored, miscounted, frozen."""

from __future__ import annotations

from typing import Any

from bncheck.bugs.catalogue import Choice, bug
from bncheck.bugs.memory import Remembering


@bug(
    "BUG602",
    "fractions-differ",
    "running_mean and running_var forget at different rates: {}",
    step="running_var",
    wrong="running_var keeps another fraction of the old value than running_mean: {}",
    mend="use one momentum in both lines",
    choices=lambda samples: [],
)
def fractions_differ(s: Remembering, kept: float) -> Any:  # its parameter is solved for: see bncheck.memory
    """One of the two lines has a number of its own for the fraction that stays.

    Why it happens
    --------------
    A literal 0.9 in one line, and the argument momentum in the other.

    By hand
    -------
    Set momentum to 0 and to 1, and give it one batch: mean and variance both move, or neither does.

    References
    ----------
    PyTorch and Keras documentation of BatchNorm.
    """
    return kept * s.old_var + (1 - kept) * s.var_taken


@bug(
    "BUG607",
    "momentum-ignored",
    "momentum is accepted and ignored: {} of the old statistics stays, whatever it is",
    step="kept",
    wrong="running = {} * running + (1 - {}) * batch",
    right="running = momentum * running + (1 - momentum) * batch, or the other way round",
    mend="use the momentum that the caller gives",
    choices=lambda samples: [],
)
def momentum_ignored(s: Remembering, kept: float) -> Any:  # its parameter is solved for: see bncheck.memory
    """The fraction that stays is a number of the code's own.

    Why it happens
    --------------
    A literal 0.9 in the update, beside an argument momentum that nothing reads.

    By hand
    -------
    Set momentum to 0 and to 1, and give it one batch: what is left of the start must differ.

    References
    ----------
    PyTorch and Keras documentation of BatchNorm.
    """
    return kept


_COUNTS = [
    Choice("(t + 1) / (t + 2)", lambda t: (t + 1) / (t + 2), 0.0, "the average over batches counts one too many"),
    Choice("(t - 1) / t", lambda t: max(t - 1, 0) / max(t, 1), 0.0, "the average over batches counts one too few"),
    Choice("1 / (t + 1)", lambda t: 1 / (t + 1), 0.0, "old and new have changed places in the average over batches"),
]


@bug(
    "BUG608",
    "count-of-batches",
    "the average over batches keeps {} of the old value",
    step="kept",
    wrong="at batch t + 1: running = {} * running + (1 - {}) * batch",
    right="at batch t + 1: running = t / (t + 1) * running + 1 / (t + 1) * batch",
    mend="of t + 1 batches the new one is one: it comes in with 1 / (t + 1)",
    choices=_COUNTS,
)
def count_of_batches(s: Remembering, fraction: Any) -> Any:
    """A plain average over all batches so far counts them wrongly.

    Why it happens
    --------------
    The counter is raised before it is used, or after it, and the other was meant.

    By hand
    -------
    One batch: the average is that batch. Two batches: it is half of their sum.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2; PyTorch documentation of BatchNorm, momentum=None.
    """
    return fraction(len(s.batches))


@bug(
    "BUG609",
    "statistics-frozen",
    "the running statistics are no longer updated after the first {} batches",
    step="kept",
    wrong="running = running, in every batch after the first {}",
    right="running = k * running + (1 - k) * batch, in every step of training",
    mend="update in every step of training, however many there were",
    choices=lambda samples: [],
)
def statistics_frozen(s: Remembering, batches: int) -> Any:  # its parameter is read off a long run
    """The first batches come in, and no later one.

    Why it happens
    --------------
    A warm-up, or a counter of steps, that is compared the wrong way round.

    By hand
    -------
    Print running_mean over a hundred batches: it must not stand still while batches differ.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.1.
    """
    return s.right("kept") if len(s.batches) < batches else 1.0
