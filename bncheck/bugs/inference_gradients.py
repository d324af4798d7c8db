"""Faults of the backward in eval mode, where the statistics are constants."""

from __future__ import annotations

from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, bug
from bncheck.bugs.memory import Remembering, batch_statistics


@bug(
    "BUG721",
    "eval-backward-deviation",
    "in eval mode the backward divides by {}",
    step="eval_back_inv_std",
    wrong="dx = dy * gamma / {}",
    mend="divide by sqrt(running_var + eps), as the forward of eval mode does",
    choices=[
        Choice("nothing: 1 / std is missing", lambda s: 1.0 + 0.0 * s.gamma),
        Choice("the deviation of the batch", lambda s: 1 / np.sqrt(batch_statistics(s)[1] + s.eps)),
        Choice("the deviation of the last training batch", lambda s: s.last.inv_std),
        Choice("running_var + eps: the root is missing", lambda s: 1 / (s.var + s.eps)),
        Choice("running_var: root and eps are missing", lambda s: 1 / s.var),
        Choice("sqrt(running_var): eps is missing", lambda s: 1 / np.sqrt(s.var)),
        Choice("sqrt(running_var) + eps", lambda s: 1 / (np.sqrt(s.var) + s.eps)),
        Choice("1 / sqrt(running_var + eps): it multiplies", lambda s: np.sqrt(s.var + s.eps)),
        Choice("running_var + eps, with its root, twice", lambda s: (s.var + s.eps) ** -1.5, 0.2),
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
