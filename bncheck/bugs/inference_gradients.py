"""Faults of the backward in eval mode, where the statistics are constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, bug
from bncheck.bugs.memory import Remembering, batch_statistics


def _divided(text: str, does: str, inv_std: Callable[[Any], Any], cost: float = 0.0) -> Choice:
    """Return what stands behind dy * gamma in dx, and what the backward does there in words."""
    return Choice(f"dy * gamma{text}", inv_std, cost, f"in eval mode the backward {does}")


@bug(
    "BUG721",
    "eval-backward-deviation",
    "in eval mode dx is {}, and not dy * gamma / sqrt(running_var + eps)",
    step="eval_back_inv_std",
    wrong="dx = {}",
    mend="divide by sqrt(running_var + eps), as the forward of eval mode does",
    choices=[
        _divided("", "does not divide by the standard deviation", lambda s: 1.0 + 0.0 * s.gamma),
        _divided(
            " / sqrt(var + eps), with the variance of the batch",
            "divides by the standard deviation of the batch",
            lambda s: 1 / np.sqrt(batch_statistics(s)[1] + s.eps),
        ),
        _divided(
            " / sqrt(var + eps), with the variance of the last training batch",
            "divides by the standard deviation of the last training batch",
            lambda s: s.last.inv_std,
        ),
        _divided(
            " / (running_var + eps)", "divides by running_var + eps: the root is missing", lambda s: 1 / (s.var + s.eps)
        ),
        _divided(" / running_var", "divides by running_var: root and eps are missing", lambda s: 1 / s.var),
        _divided(" / sqrt(running_var)", "divides by sqrt(running_var): eps is missing", lambda s: 1 / np.sqrt(s.var)),
        _divided(
            " / (sqrt(running_var) + eps)",
            "divides by sqrt(running_var) + eps: eps is outside of the root",
            lambda s: 1 / (np.sqrt(s.var) + s.eps),
        ),
        _divided(
            " * sqrt(running_var + eps)",
            "multiplies by the standard deviation, sqrt(running_var + eps), where it should divide by it",
            lambda s: np.sqrt(s.var + s.eps),
        ),
        _divided(
            " / (running_var + eps)**(3/2)",
            "divides by running_var + eps, and by its root once more",
            lambda s: (s.var + s.eps) ** -1.5,
            0.2,
        ),
    ],
)
def eval_backward_deviation(s: Remembering, value: Any) -> Any:
    """In eval mode dx is dy times one number per channel, and that number is wrong.

    Why it happens
    --------------
    The cache holds the deviation of a training batch; or eval mode was thought to pass gradients through.

    By hand
    -------
    gamma = 3, running_var = 4, eps near 0, dy = 2: dx = 3.

    References
    ----------
    pytorch/xla issue 913: a wrong gradient in eval mode.
    """
    return value(s)


@bug(
    "BUG722",
    "eval-dgamma-with-other-xhat",
    "in eval mode dgamma sums dy * {}, and not dy * xhat of the running statistics",
    step="eval_back_xhat",
    wrong="dgamma = sum(dy * {})",
    mend="keep the xhat of eval mode: (x - running_mean) / sqrt(running_var + eps)",
    choices=[
        Choice("xhat of the last training batch", lambda s: s.last.xhat),
        Choice(
            "xhat of the batch's own statistics",
            lambda s: (s.x - batch_statistics(s)[0]) / np.sqrt(batch_statistics(s)[1] + s.eps),
        ),
        Choice("(x - running_mean)", lambda s: s.centred),
        Choice("x", lambda s: s.x, 0.1),
        Choice(
            "(x - mu) / sqrt(running_var + eps), mu the batch's", lambda s: (s.x - batch_statistics(s)[0]) * s.inv_std
        ),
        Choice("x / sqrt(running_var + eps)", lambda s: s.x * s.inv_std),
    ],
)
def eval_dgamma_with_other_xhat(s: Remembering, value: Any) -> Any:
    """The xhat that dgamma is made of is not the one that y was made of.

    Why it happens
    --------------
    The branch for eval mode does not fill the cache, which holds the last step of training.

    By hand
    -------
    x = running_mean in every row: dgamma is 0.

    References
    ----------
    pytorch/xla issue 913: a wrong gradient in eval mode.
    """
    return value(s)
