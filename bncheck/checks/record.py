"""The promise about what a library records: running statistics are numbers, and no part of a graph."""

from __future__ import annotations

from bncheck.case import Case
from bncheck.checks.catalogue import NOT_TRIED, Seen, check
from bncheck.checks.running import NO_STATISTICS
from bncheck.model import Judgement, Outcome

# What a library may record for a statistic.
_KINDS = ("graph", "gradient")


@check("BN311", "statistics-without-graph", needs=("running",), severity="warning")
def statistics_without_graph(case: Case, seen: Seen) -> Judgement:
    """Running statistics are numbers: no graph of how they were made hangs on them, and no gradient is asked for them.

    Promise
    -------
    After training steps no running statistic is part of a graph that can be differentiated, nor a parameter that gets a
    gradient.

    Why it matters
    --------------
    Each average is made of the one before it. With its history it keeps the graphs of all batches so far (of the last
    one alone, if only the batch's part has a history): memory grows with every step, until there is none left. In eval
    mode a backward goes on into a graph of training, or raises. A statistic that gets gradients is among the parameters
    that an optimizer is given: it decays them with the weights, and trains them where the layer is in eval mode.

    Evidence
    --------
    What the library says of the statistics that a layer keeps, after three batches. Skipped where no library records
    what is done to them.

    Typical causes
    --------------
    The update stands outside of ``with torch.no_grad()``, and takes ``mean`` in the place of ``mean.detach()``. An
    ``nn.Parameter`` in the place of a buffer.

    References
    ----------
    PyTorch, "Frequently Asked Questions", "My model reports cuda runtime error(2): out of memory".
    """
    conventions, found = (seen["running"].facts.get(name) for name in ("conventions", "hanging"))
    if conventions is None or not conventions.momentum_sense:
        return NO_STATISTICS
    if not found:
        return Judgement(Outcome.SKIP, NOT_TRIED if found is None else "no library records what is done to them")
    hanging, trained = (sorted(place for place, what in found.items() if what == kind) for kind in _KINDS)
    if hanging:
        text = f"the graph of training hangs on {' and '.join(hanging)}"
        return Judgement(Outcome.WARN, f"{text}: update under torch.no_grad(), or with detached values")
    if trained:
        text = f"gradients are asked for {' and '.join(trained)}, and an optimizer would change what it is given"
        return Judgement(Outcome.WARN, f"{text}: keep buffers, or parameters with requires_grad=False")
    return Judgement(Outcome.PASS, "no graph hangs on the running statistics")
