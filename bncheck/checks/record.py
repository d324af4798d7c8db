"""The promise about what a library records: running statistics are numbers, and no part of a graph."""

from __future__ import annotations

from bncheck.case import Case
from bncheck.checks.catalogue import NOT_TRIED, Seen, check
from bncheck.checks.running import NO_STATISTICS
from bncheck.model import Judgement, Outcome


@check("BN311", "statistics-without-graph", needs=("running",), severity="warning")
def statistics_without_graph(case: Case, seen: Seen) -> Judgement:
    """Running statistics are numbers: the graph of how they were made does not hang on them.

    Promise
    -------
    After training steps no running statistic is part of a graph that can be differentiated.

    Why it matters
    --------------
    Each average is made of the one before it. With its history it keeps the graphs of all batches so far (of the last
    one alone, if only the batch's part has a history): memory grows with every step, until there is none left. In eval
    mode a backward goes on into a graph of training, or raises.

    Evidence
    --------
    What the library says of the statistics that a layer keeps, after three batches. Skipped where no library records
    what is done to them.

    Typical causes
    --------------
    The update stands outside of ``with torch.no_grad()``, and takes ``mean`` in the place of ``mean.detach()``.

    References
    ----------
    PyTorch, "Frequently Asked Questions", "My model reports cuda runtime error(2): out of memory".
    """
    conventions, found = (seen["running"].facts.get(name) for name in ("conventions", "hanging"))
    if conventions is None or not conventions.momentum_sense:
        return NO_STATISTICS
    if not found:
        return Judgement(Outcome.SKIP, NOT_TRIED if found is None else "no library records what is done to them")
    hanging = sorted(place for place, hangs in found.items() if hangs)
    if hanging:
        text = f"the graph of training hangs on {' and '.join(hanging)}"
        return Judgement(Outcome.WARN, f"{text}: update under torch.no_grad(), or with detached values")
    return Judgement(Outcome.PASS, "no graph hangs on the running statistics")
