"""Conventions that are right in themselves, and not those of the library that is to be followed."""

from __future__ import annotations

from typing import Any

from bncheck.bugs.catalogue import Choice, bug
from bncheck.bugs.memory import Remembering

_KEPT = "running = momentum * running + (1 - momentum) * batch"
_NEW = "running = (1 - momentum) * running + momentum * batch"
_BIASED = "running_var averages var = sum((x - mu)**2) / m"
_UNBIASED = "running_var averages var * m / (m - 1)"


def _profile(samples: Any) -> list[Choice]:
    """Return no choices: which library is meant is said, and not measured."""
    return []


@bug(
    "BUG613",
    "momentum-is-kept",
    "momentum is the fraction that stays, and in {} it is the one that comes in",
    step="kept",
    wrong=_KEPT,
    right=_NEW,
    mend="swap momentum and 1 - momentum, or hand over 1 - momentum: what is 0.9 here is 0.1 there",
    choices=_profile,
)
def momentum_is_kept(s: Remembering, profile: str) -> Any:
    """A momentum that is carried over from the library means its opposite here.

    Why it happens
    --------------
    Books and Keras call the fraction that stays momentum, PyTorch the one that comes in.

    By hand
    -------
    momentum = 0.1, running_mean = 0, a batch of mean 1: in PyTorch running_mean becomes 0.1.

    References
    ----------
    PyTorch documentation of BatchNorm, the note on momentum.
    """
    return s.momentum


@bug(
    "BUG614",
    "momentum-is-new",
    "momentum is the fraction that comes in, and in {} it is the one that stays",
    step="kept",
    wrong=_NEW,
    right=_KEPT,
    mend="swap momentum and 1 - momentum, or hand over 1 - momentum: what is 0.1 here is 0.9 there",
    choices=_profile,
)
def momentum_is_new(s: Remembering, profile: str) -> Any:
    """A momentum that is carried over from the library means its opposite here.

    Why it happens
    --------------
    Books and Keras call the fraction that stays momentum, PyTorch the one that comes in.

    By hand
    -------
    momentum = 0.9, running_mean = 0, a batch of mean 1: in Keras running_mean becomes 0.1.

    References
    ----------
    Keras documentation of BatchNormalization, the argument momentum.
    """
    return 1 - s.momentum


@bug(
    "BUG615",
    "running-variance-is-biased",
    "running_var averages the variance over m, and in {} it is that over m - 1",
    step="var_taken",
    wrong=_BIASED,
    right=_UNBIASED,
    mend="multiply the batch's variance by m / (m - 1) before it comes into running_var; {} does so",
    choices=_profile,
)
def running_variance_is_biased(s: Remembering, profile: str) -> Any:
    """Inference divides by less than the library does, by a part of 1 / m.

    Why it happens
    --------------
    The variance that normalises the batch, which is over m, is at hand.

    By hand
    -------
    One batch of two rows, -1 and 1, nothing of the start kept: PyTorch's running_var is 2, and not 1.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2; mlx issue 3817; PyTorch documentation of BatchNorm.
    """
    return s.var


@bug(
    "BUG616",
    "running-variance-is-unbiased",
    "running_var averages the variance over m - 1, and in {} it is that over m",
    step="var_taken",
    wrong=_UNBIASED,
    right=_BIASED,
    mend="take the batch's variance over m into running_var as it is; {} does so",
    choices=_profile,
)
def running_variance_is_unbiased(s: Remembering, profile: str) -> Any:
    """Inference divides by more than the library does, by a part of 1 / m.

    Why it happens
    --------------
    The paper and PyTorch correct the variance for inference, Keras and Flax do not.

    By hand
    -------
    One batch of two rows, -1 and 1, nothing of the start kept: Keras' running_var is 1, and not 2.

    References
    ----------
    Keras documentation of BatchNormalization; Ioffe & Szegedy 2015, Algorithm 2.
    """
    return s.var * s.m / (s.m - 1)
