"""Faults that show from the second step on: what earlier steps have left in a layer."""

from __future__ import annotations

from typing import Any

from bncheck.bugs.catalogue import Choice, bug
from bncheck.bugs.memory import Remembering
from bncheck.bugs.steps import Steps

_GRADIENTS = ("dgamma", "dbeta")
_LATER = " ".join(f"later_{name}" for name in _GRADIENTS)
_WHICH = [
    Choice("dgamma and dbeta", ("dgamma", "dbeta")),
    Choice("dgamma", ("dgamma",), 0.1),
    Choice("dbeta", ("dbeta",), 0.1),
]


def _earlier(s: Remembering, name: str) -> Any:
    """Return the sum of what earlier steps gave for a gradient."""
    return sum(getattr(step, name) for step in s.batches)


@bug(
    "BUG901",
    "gradients-added-up",
    "what earlier steps gave is added to {}: it is never cleared",
    step=_LATER,
    wrong="{}: gradient = gradient of the steps before + gradient of this step",
    right="the gradients are those of this batch alone",
    mend="assign the gradients in backward, or clear them before each step",
    choices=_WHICH,
)
def gradients_added_up(s: Remembering, which: tuple[str, ...]) -> Any:
    """Each step moves the parameters by all gradients since the beginning.

    Why it happens
    --------------
    ``self.dgamma += ...`` in the backward, and nothing that sets it to 0.

    By hand
    -------
    Run the same step twice: dgamma must be the same both times.

    References
    ----------
    MXNet issues 16297 and 18499, gradients that accumulate across calls.
    """
    return tuple(getattr(s, n) + (_earlier(s, n) if n in which else 0.0) for n in _GRADIENTS)


@bug(
    "BUG902",
    "gradients-averaged-over-steps",
    "what is returned for {} is an average over the steps so far",
    step=_LATER,
    wrong="{}: gradient = average of the gradients of all steps so far",
    right="the gradients are those of this batch alone",
    mend="return the gradient of this step; averaging is the optimiser's task",
    choices=_WHICH,
)
def gradients_averaged(s: Remembering, which: tuple[str, ...]) -> Any:
    """What backward returns is an average over time.

    Why it happens
    --------------
    A smoothing that belongs into the optimiser stands in the layer.

    By hand
    -------
    Run a step with dy = 0 after another: all gradients must be 0.

    References
    ----------
    Ioffe & Szegedy 2015, section 3: the gradients of one batch.
    """
    steps = 1 + len(s.batches)
    return tuple((getattr(s, n) + _earlier(s, n)) / steps if n in which else getattr(s, n) for n in _GRADIENTS)


def _closed(s: Steps, m: float) -> Any:
    """Return dx by the closed formula, with another count than the batch's own."""
    a, b = s.sum(s.dy) / m, s.xhat * s.sum(s.dy * s.xhat) / m
    return s.gamma * s.inv_std * (s.dy - a - b)


@bug(
    "BUG903",
    "batch-size-remembered",
    "{} by the batch size of the first step",
    step="later_y later_dx",
    wrong="{} by the batch size of the first step",
    right="m = the number of values that one channel has in this batch",
    mend="read the batch size from the x of each step",
    choices=[
        Choice("the means in dx are divided", lambda s, m: (s.y, _closed(s, m))),
        Choice("all of dx is divided", lambda s, m: (s.y, s.dx * s.m / m), 0.1),
    ],
)
def batch_size_remembered(s: Remembering, value: Any) -> Any:
    """The first batch decides by what later ones are divided.

    Why it happens
    --------------
    ``if self.m is None: self.m = x.shape[0]``, and never again.

    By hand
    -------
    Train on 4 rows, then on 8: the mean of dx over each channel is 0 both times.

    References
    ----------
    Ioffe & Szegedy 2015, section 3: m is the size of the batch at hand.
    """
    return value(s, s.first.m)


@bug(
    "BUG904",
    "first-step-again",
    "every later step returns {} of the first step again",
    step=_LATER,
    wrong="{}: those of the first step",
    right="the gradients are those of this batch alone",
    mend="fill the cache anew in every forward",
    choices=_WHICH,
)
def first_step_again(s: Remembering, which: tuple[str, ...]) -> Any:
    """The cache is filled once.

    Why it happens
    --------------
    A cache that is only set where it is empty, or that is appended to and read at its beginning.

    By hand
    -------
    Run two different steps: their gradients must differ.

    References
    ----------
    Ioffe & Szegedy 2015, section 3: the gradients of one batch.
    """
    return tuple(getattr(s.first, n) if n in which else getattr(s, n) for n in _GRADIENTS)
