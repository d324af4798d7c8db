"""The promise about what belongs to the whole process: a call leaves it as it was."""

from __future__ import annotations

from bncheck.case import Case
from bncheck.checks.catalogue import NOT_TRIED, Seen, check
from bncheck.model import Judgement, Outcome

# Characters of all that is told.
_LONGEST = 300


@check("BN517", "process-untouched", needs=("training", "training-again"), severity="warning")
def process_untouched(case: Case, seen: Seen) -> Judgement:
    """What belongs to the whole process is left alone.

    Promise
    -------
    The constructor, forward and backward leave as they were: the current folder, the variables of the environment,
    NumPy's error state, its print options and its functions, the recursion limit and the filters of warnings.

    Why it matters
    --------------
    Who calls a layer does not expect that files are looked for elsewhere from then on, or that a division by zero in
    other code raises, or is not told any more.

    Evidence
    --------
    The process after the forward, with the constructor before it, and after the backward, in each of two equal training
    steps. bncheck puts back what has changed; the folder, the environment, functions of NumPy and a deeper recursion
    are there again in the code's own next call, which may count on them.

    What only one of the two steps shows is not told: a library may set something up when it is first used. What changes
    first in a call that imports a module may be that module's doing, and what changes when the code itself is imported
    is no call's: neither is told. ``with np.errstate(...)`` and ``with warnings.catch_warnings()`` leave all as it was.
    The global random generators are looked at by BN514.

    Typical causes
    --------------
    ``np.seterr(all="ignore")``, ``warnings.simplefilter("ignore")`` or ``np.set_printoptions`` inside a layer;
    ``os.chdir`` to read a file; ``sys.setrecursionlimit``; a function of NumPy that is replaced.

    References
    ----------
    NumPy documentation of ``numpy.errstate``; Python documentation of ``warnings.catch_warnings`` and
    ``contextlib.chdir``.
    """
    first, second = seen["training"], seen["training-again"]
    if first.fault is not None or second.fault is not None:
        return Judgement(Outcome.SKIP, "forward or backward raised")
    if not second.facts:
        return Judgement(Outcome.SKIP, NOT_TRIED)
    again = {(change.stage, change.what) for change in second.facts["left"]}
    stages: dict[str, list[str]] = {}
    for change in sorted(first.facts["left"], key=lambda change: change.stage != "forward"):
        if (change.stage, change.what) in again:
            stages.setdefault(change.how, []).append(change.stage)
    if not stages:
        return Judgement(Outcome.PASS, "the process is left as it was")
    told = [f"{how} after {' and '.join(after)}" for how, after in sorted(stages.items())]
    return Judgement(Outcome.WARN, _bounded("; ".join(told)))


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."
