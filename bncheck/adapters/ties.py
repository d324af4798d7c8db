"""Which of the layouts that one reading fits is meant."""

from __future__ import annotations

from collections.abc import Sequence

from bncheck.adapters.probe import FULL, PROBES, Fit, RaisedError, Trial
from bncheck.adapters.protocol import Reading
from bncheck.adapters.target import as_array


def is_settled(found: list[Fit], reading: Reading) -> bool:
    """Tell whether torch's own layout fits its code, so that no other one could be meant.

    Its kernels check no sizes: with parameters of another size than axis 1 they write beyond the end of memory.
    """
    fit = next((fit for fit in found if fit.score == FULL and fit.way.layout.to_user is None), None)
    if fit is None or getattr(getattr(reading, "framework", None), "name", "") != "torch":
        return False
    return len(fit.way.layout.name) == 2 or _is_own_channel(fit, reading)


def by_statistics(best: Fit, found: Sequence[Fit], reading: Reading) -> Fit:
    """Return the best fit, or another one whose statistics run along its channels, where those of the best do not.

    A dgamma that is summed over the wrong axis has the shape of the other layout: where each of two layouts has one
    gradient's shape for it, the forward decides. So it does for maps whose gradients are summed to whatever shape gamma
    has; rows are (N, C) then, because statistics over the wrong one of two axes are a common bug.
    """
    whole = best.holds >= {"dgamma", "dbeta"}
    if not best.holds >= {"y", "gamma", "beta"} or (whole and len(best.way.layout.name) == 2):
        return best
    least = best.score if whole else 0
    others = [fit for fit in found if fit.way.layout != best.way.layout and fit.score >= least]
    rivals = [fit for fit in others if fit.holds >= {"y", "gamma", "beta"} and fit.holds & {"dgamma", "dbeta"}]
    own = (fit for fit in (best, *rivals) if _is_own_channel(fit, reading))
    return next(own, best) if rivals else best


def _is_own_channel(fit: Fit, reading: Reading) -> bool:
    trial = Trial(reading, fit.way, PROBES[len(fit.way.layout.name)][0], 0)
    try:
        y = as_array(trial.run(trial.gamma, trial.beta)[1])
        return y is not None and trial.mixes_own_channel(y)
    except RaisedError:  # what raises has no y that could mix anything
        return False
