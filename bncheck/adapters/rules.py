"""Which rule running statistics follow, by what they did on a few batches with two momenta."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

from bncheck.adapters.protocol import Reading
from bncheck.adapters.walks import (
    ACCURACY,
    Walk,
    fraction_kept,
    is_pooled,
    miscount,
    sense_of,
    standing_still,
    start_of,
    total_of,
    variance_of,
)

CHANGING = "the fraction that stays in the running statistics changes from batch to batch"
MISCOUNTING = "the running statistics average over all batches, and count "
_UNKNOWN = "the running statistics fit no known update rule"
BY_BACKWARD = "the backward updates the running statistics, and the forward leaves them: judged after whole steps"
# No check of a running variance is meant for it.
DEVIATIONS = tuple(
    f"a running {what} is kept in the place of a variance: it is not judged"
    for what in ("standard deviation", "inverse of the standard deviation")
)
FINISHED = "the running statistics are worked out when inference begins: averages over all batches"
DECAYED = f"{FINISHED}, of which later ones count more"


class Statistics(NamedTuple):
    """The convention, in the words of :class:`bncheck.model.Conventions`; `kept` as its momentum.

    `places` say where the statistics are among what the code keeps, if their names do not; `by` is what updates them.
    `given` is the reading that gives them to the forward, where it takes them and the one that was found does not.
    """

    sense: str = ""
    kept: float | None = None
    var: str = ""
    start: str = ""
    note: str = ""
    places: tuple[str, str] | None = None
    by: str = "forward"
    given: Reading | None = None


NONE = Statistics()


def convention(walk: Walk, other: Walk, usual: float | None) -> Statistics:
    """Return the convention of statistics that did what two walks with two momenta say."""
    before, steps, numbers = walk
    kept, later = (fraction_kept(steps[i - 1].running[0], steps[i].running[0], steps[i].mu) for i in (1, 2))
    if kept is None or later is None or min(kept, later) > 1 - ACCURACY:
        still = standing_still(steps)
        return Statistics("unknown", note=still or _UNKNOWN)
    others, at_last = (fraction_kept(a.running[0], b.running[0], b.mu) for a, b in pairwise(other.steps))
    sense, momentum = sense_of(kept, later, others, numbers)
    # With a large momentum a warm-up may be over at once: ``max(momentum, 1 / t)``.
    if others is not None and at_last is not None and abs(kept - later) < ACCURACY < abs(others - at_last):
        sense = "changing"
    if sense == "miscounted":
        return Statistics("unknown", note=f"{MISCOUNTING}{miscount(kept, later)}")
    if sense == "changing":
        return Statistics(sense, note=CHANGING)
    variance = variance_of(steps, kept)
    if not variance and variance_of(
        [step._replace(running=(step.running[0], step.running[1] ** 2)) for step in steps], kept
    ):
        return NONE._replace(note=DEVIATIONS[0])  # the root of a running variance: as good
    if not variance and sense == "cumulative" and is_pooled(steps):
        variance = "pooled"
    first = steps[0]
    if not variance:
        variance, first = total_of(steps, kept)
    if not variance and (still := standing_still(steps)):
        return Statistics(sense, momentum, note=still)
    note = "" if variance else "the running variance follows neither the biased nor the unbiased variance of the batch"
    start = start_of(first, kept, sense, variance, before)
    if not variance and abs(kept - 0.5) > ACCURACY and (other_side := variance_of(steps, 1 - kept)):
        note = "the running variance has momentum on the other side than the running mean"
        if _forgets(sense, momentum, usual):
            note = "the running mean has momentum on the other side than the running variance"
            sense, variance = {"kept": "new", "new": "kept"}.get(sense, sense), other_side
            momentum = None if momentum is None else 1 - momentum
    return Statistics(sense, momentum, variance, start, note)


def _forgets(sense: str, momentum: float | None, usual: float | None) -> bool:
    """Tell whether little of an old value stays, so that it is that line which has mixed up the two sides."""
    if momentum is None and usual is not None:
        momentum = usual if sense == "kept" else 1 - usual
    return momentum is not None and momentum < 0.5
