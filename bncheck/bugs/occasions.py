"""Faults of when running statistics change: in the backward, in eval mode, at the first batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, bug
from bncheck.bugs.memory import Remembering


@bug(
    "BUG610",
    "updated-in-backward",
    "the backward takes the batch into the running statistics once more",
    step="held_mean held_var",
    wrong="backward: running = k * running + (1 - k) * batch, after the forward has done so",
    right="running = k * running + (1 - k) * batch, once per step",
    mend="leave the statistics alone in the backward: keep a cache, and do not run the forward again",
)
def updated_in_backward(s: Remembering) -> Any:
    """One step of training takes its batch in twice: in the forward, and in the backward.

    Why it happens
    --------------
    The backward calls the forward to rebuild its cache.

    By hand
    -------
    Print running_mean before and after the backward: nothing changes there.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.1.
    """
    return s.running_mean, s.running_var


@bug(
    "BUG611",
    "updated-in-eval",
    "{} in eval mode takes its batch into the running statistics",
    step="held_mean held_var",
    wrong="{} in eval mode: running = k * running + (1 - k) * batch",
    right="running_mean and running_var are only read in eval mode",
    mend="update in training mode only",
    choices=[
        Choice("a forward", "forward", 0.0),
        Choice("the backward", "backward", 0.0),
        Choice("a forward", "shared", 0.3, "a forward in eval mode adds to the running statistics"),
    ],
)
def updated_in_eval(s: Remembering, how: str) -> Any:
    """What a model is asked changes what it will answer.

    Why it happens
    --------------
    The update stands outside of the branch for training.

    By hand
    -------
    Run the same batch in eval mode twice: running_mean stays as it is, and y is the same.

    References
    ----------
    PyTorch documentation of BatchNorm, track_running_stats.
    """
    if how == "shared":
        return s.old_mean + (1 - s.kept) * s.mean_taken, s.old_var + (1 - s.kept) * s.var_taken
    return s.running_mean, s.running_var


_STARTS = [
    Choice("mu", lambda s: s.mu),
    Choice("sqrt(var)", lambda s: np.sqrt(s.var)),
    Choice("sqrt(var + eps)", lambda s: np.sqrt(s.var + s.eps)),
    Choice("var + eps", lambda s: s.var + s.eps),
    Choice("mean(x**2)", lambda s: s.mean(s.x**2)),
    Choice("sum((x - mu)**2)", lambda s: s.sum(s.centred**2)),
    Choice("the first row", lambda s: s.x[:1].mean(axis=s.axes, keepdims=True)),
]


@bug(
    "BUG612",
    "variance-starts-wrongly",
    "running_var starts with {} of the first batch, and not with its variance",
    step="start_var",
    wrong="running_var = {}, at the first batch",
    mend="start running_var with the variance of the first batch, or with 1",
    choices=_STARTS,
)
def variance_starts_wrongly(s: Remembering, value: Any) -> Any:
    """Statistics that start with the first batch start with another number of it.

    Why it happens
    --------------
    A line is copied: ``if self.running_var is None: self.running_var = mu``.

    By hand
    -------
    Print running_var after one batch beside np.var(x, axis=0).

    References
    ----------
    Ioffe & Szegedy 2015, section 3.1.
    """
    return value(s)
