"""Faults of eval mode: y and its gradients, made of the statistics that the layer holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Choice, bug
from bncheck.bugs.memory import Remembering, batch_statistics

_LINE = "y = gamma * (x - running_mean) / sqrt(running_var + eps) + beta"


@bug(
    "BUG701",
    "batch-statistics-in-eval",
    "in eval mode x is normalised with the batch's own {}",
    step="eval_mean eval_var",
    wrong="in eval mode: normalised with the batch's own {}",
    right=_LINE,
    mend="use running_mean and running_var when it is not training",
    choices=[
        Choice("statistics", lambda s, mu, var: (mu, var)),
        Choice("mean, and the running variance", lambda s, mu, var: (mu, s.old_var)),
        Choice("variance, and the running mean", lambda s, mu, var: (s.old_mean, var)),
        Choice("statistics (the variance over m - 1)", lambda s, mu, var: (mu, var * s.m / (s.m - 1)), 0.1),
        Choice(
            "variance over m - 1, and the running mean", lambda s, mu, var: (s.old_mean, var * s.m / (s.m - 1)), 0.2
        ),
        Choice("spread about the running mean", lambda s, mu, var: (s.old_mean, s.mean((s.x - s.old_mean) ** 2)), 0.2),
    ],
)
def batch_statistics_in_eval(s: Remembering, value: Any) -> Any:
    """An answer depends on the other questions in its batch, and a single one is answered with beta.

    Why it happens
    --------------
    The training flag is not read, or not handed on.

    By hand
    -------
    Run one row alone, and the same row among others: y must be the same.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.1 and Algorithm 2.
    """
    return value(s, *batch_statistics(s))


def _by(kept: float) -> Any:
    """Return the average by a fraction that is written into the code."""
    return lambda s, old, new: kept * old + (1 - kept) * new


@bug(
    "BUG702",
    "statistics-blended-in-eval",
    "in eval mode the batch's own statistics are blended into the running ones: {}",
    step="eval_mean eval_var",
    wrong="in eval mode: statistics = {}",
    right=_LINE,
    mend="use running_mean and running_var as they are",
    choices=[
        Choice("k * running + (1 - k) * batch", lambda s, old, new: s.blended(old, new)),
        Choice("(1 - k) * running + k * batch", lambda s, old, new: s.blended(new, old), 0.1),
        Choice("(running + batch) / 2", lambda s, old, new: (old + new) / 2, 0.1),
        *(
            Choice(f"{kept:g} * running + {1 - kept:.4g} * batch", _by(kept), 0.2)
            for kept in (0.9, 0.99, 0.999, 0.95, 0.8, 0.1, 0.01, 0.001, 0.05, 0.2)
        ),
    ],
)
def statistics_blended_in_eval(s: Remembering, mix: Any) -> Any:
    """Eval mode takes one more step of the average before it normalises.

    Why it happens
    --------------
    The update is computed whatever the mode, and its result is used in both.

    By hand
    -------
    Run one row alone, and the same row among others: y must be the same.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2; onnx issue 8442.
    """
    mu, var = batch_statistics(s)
    return mix(s, s.old_mean, mu), mix(s, s.old_var, var)


@bug(
    "BUG703",
    "last-batch-in-eval",
    "in eval mode x is normalised with the {} of the last training batch",
    step="eval_mean eval_var",
    wrong="in eval mode: normalised with the {} of the last training batch",
    right=_LINE,
    mend="use running_mean and running_var, and not what the last forward has left in the cache",
    choices=[
        Choice("statistics", lambda s: (s.last.mu, s.last.var)),
        Choice("mean", lambda s: (s.last.mu, s.old_var), 0.1),
        Choice("variance", lambda s: (s.old_mean, s.last.var), 0.1),
        Choice(
            "statistics (the variance over m - 1)", lambda s: (s.last.mu, s.last.var * s.last.m / (s.last.m - 1)), 0.1
        ),
    ],
)
def last_batch_in_eval(s: Remembering, value: Any) -> Any:
    """What the last step of training has left in the layer decides all answers.

    Why it happens
    --------------
    Eval mode reads ``self.mu`` and ``self.var``, which the forward of training sets.

    By hand
    -------
    Train on two batches, then ask: the answer must depend on both.

    References
    ----------
    Ioffe & Szegedy 2015, section 3.1.
    """
    return value(s)


@bug(
    "BUG704",
    "statistics-swapped-in-eval",
    "in eval mode mean and variance have changed places",
    step="eval_mean eval_var",
    wrong="y = gamma * (x - running_var) / sqrt(running_mean + eps) + beta",
    right=_LINE,
    mend="subtract running_mean, divide by the root of running_var + eps",
)
def statistics_swapped_in_eval(s: Remembering) -> Any:
    """Either of the two statistics is taken for the other.

    Why it happens
    --------------
    They are handed over without names, in the order that was not expected.

    By hand
    -------
    running_mean = 5, running_var = 4, x = 7: xhat is 1.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2.
    """
    return s.old_var, s.old_mean


@bug(
    "BUG705",
    "running-variance-misread",
    "in eval mode {} stands where running_var belongs",
    step="eval_var",
    wrong="y = gamma * (x - running_mean) / sqrt({} + eps) + beta",
    mend="put running_var there as it is held: y = gamma * (x - running_mean) / sqrt(running_var + eps) + beta",
    choices=[
        Choice("running_var**2", lambda s: s.old_var**2),
        Choice("sqrt(running_var)", lambda s: np.sqrt(s.old_var)),
        Choice("running_var * (m - 1) / m", lambda s: s.old_var * (s.m - 1) / s.m, 0.1),
        Choice("running_var * m / (m - 1) with m of the batch in eval mode", lambda s: s.old_var * s.m / (s.m - 1)),
        Choice("running_var * m / (m - 1), applied once more,", lambda s: s.old_var * s.last.m / (s.last.m - 1)),
        Choice("running_var - running_mean**2", lambda s: s.old_var - s.old_mean**2),
        Choice("1 / running_var", lambda s: 1 / s.old_var),
        Choice("1", lambda s: 1.0 + 0.0 * s.old_var, 0.1),
        Choice("running_mean", lambda s: s.old_mean),
        Choice("|running_mean|", lambda s: np.abs(s.old_mean), 0.1),
        Choice("running_mean**2", lambda s: s.old_mean**2, 0.1),
    ],
)
def running_variance_misread(s: Remembering, value: Any) -> Any:
    """What is held as a variance is read as something else.

    Why it happens
    --------------
    Training stores a variance, and eval mode was written for a deviation; or a correction is applied once more.

    By hand
    -------
    running_mean = 0, running_var = 4, eps near 0, x = 2: xhat is 1.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2.
    """
    return value(s)


@bug(
    "BUG706",
    "running-mean-misread",
    "in eval mode {} stands where running_mean belongs",
    step="eval_mean",
    wrong="y = gamma * (x - {}) / sqrt(running_var + eps) + beta",
    mend="subtract running_mean as it is held",
    choices=[
        Choice("-running_mean", lambda s: -s.old_mean),
        Choice("running_var", lambda s: s.old_var),
        Choice("0", lambda s: 0.0 * s.old_mean),
        Choice("beta", lambda s: s.beta, 0.1),
        Choice("running_mean * m", lambda s: s.old_mean * s.m, 0.1),
        Choice("running_mean * m / (m - 1)", lambda s: s.old_mean * s.last.m / (s.last.m - 1), 0.1),
    ],
)
def running_mean_misread(s: Remembering, value: Any) -> Any:
    """What is subtracted from x is not the running mean.

    Why it happens
    --------------
    A sign is lost in the folded form; the mean is taken to be 0, as xhat's is.

    By hand
    -------
    x = running_mean in every row: y = beta.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2.
    """
    return value(s)


@bug(
    "BUG707",
    "folded-wrongly",
    "in eval mode y is {}",
    step="eval_y",
    wrong="y = {}",
    mend="with scale = gamma / sqrt(running_var + eps): y = scale * x + (beta - scale * running_mean)",
    choices=[
        Choice("scale * x + beta - running_mean", lambda s: s.gamma * s.inv_std * s.x + s.beta - s.mu),
        Choice(
            "scale * x + beta - running_mean / sqrt(running_var + eps)",
            lambda s: s.inv_std * (s.gamma * s.x - s.mu) + s.beta,
        ),
        Choice("scale * x + beta - gamma * running_mean", lambda s: s.gamma * (s.inv_std * s.x - s.mu) + s.beta),
        Choice("scale * (x + beta - running_mean)", lambda s: s.gamma * s.inv_std * (s.x - s.mu + s.beta)),
        Choice("x: nothing is done to it", lambda s: s.x + 0.0 * s.gamma),
    ],
)
def folded_wrongly(s: Remembering, value: Any) -> Any:
    """The formula is written as one scale and one shift, and one of the two is wrong.

    Why it happens
    --------------
    The bracket is multiplied out by hand; y = x is what a layer of dropout does in eval mode.

    By hand
    -------
    x = running_mean in every row: y = beta. Add 1 to x: y grows by gamma / sqrt(running_var + eps).

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2, step 11.
    """
    return value(s)


@bug(
    "BUG708",
    "last-xhat-in-eval",
    "in eval mode y is made of the {} of the last training batch, and not of x",
    step="eval_y",
    wrong="y = gamma * xhat + beta, with the {} of the last training batch",
    right=_LINE,
    mend="normalise the x that is handed over",
    choices=[
        Choice("xhat", lambda s: s.gamma * s.last.xhat + s.beta),
        Choice("x", lambda s: s.gamma * (s.last.x - s.mu) * s.inv_std + s.beta),
    ],
)
def last_xhat_in_eval(s: Remembering, value: Any) -> Any:
    """Whatever is asked, the answer is that for the last batch of training.

    Why it happens
    --------------
    The branch for eval mode computes a new xhat under one name, and y reads the cache under another.

    By hand
    -------
    Ask for two different batches in eval mode: the answers must differ.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2.
    """
    return value(s)
