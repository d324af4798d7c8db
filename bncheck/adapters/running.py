"""Finding the convention of the running statistics: how they are updated, from which variance, and where they start.

Three forwards in training mode on small batches, read before and after each. An update is linear in what it mixes,
``rm_new = k rm + (1 - k) mu``: k follows from the running mean, channel by channel, and says whether momentum is the
fraction that stays or the one that comes in, once the same is done with another momentum. What the running variance
takes in follows from the same k: the biased variance, or ``m / (m - 1)`` times it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from bncheck import guard
from bncheck.adapters.given import find_given
from bncheck.adapters.inferred import averaged, decayed, keeps_deviation, measured, of_last, taken_from
from bncheck.adapters.protocol import Parameters, Reading, Run
from bncheck.adapters.rules import (
    BY_BACKWARD,
    CHANGING,
    DECAYED,
    DEVIATIONS,
    FINISHED,
    MISCOUNTING,
    NONE,
    Statistics,
    convention,
)
from bncheck.adapters.target import Way, running_of, with_rows
from bncheck.adapters.walks import (
    ACCURACY,
    BURN_IN,
    MISCOUNTED,
    MOMENTA,
    STILL,
    Step,
    Walk,
    as_written,
    averages_deviation,
    averages_spread,
    fraction_kept,
    fraction_throughout,
    per_channel,
)
from bncheck.errors import AdapterError

# Batches after which a fraction of 0.99 or 0.999 that warm-ups end with has been reached: 1 / 1100 is less than 0.001.
_LONG = 1100


class _Late(NamedTuple):
    """The running mean after the first of many batches, and the fractions that stay in it at the last two."""

    first: Any
    fractions: tuple[float | None, float | None]


class _Trying(NamedTuple):
    """Code to walk with, in one way, with one eps; whole steps of it where each forward has its backward.

    `usual` is the momentum that it has unless another is given, None where that is not known.
    """

    reading: Reading
    way: Way
    eps: float
    usual: float | None = None
    whole: bool = False

    def convention_or_none(self) -> Statistics:
        """Return the convention of the statistics; ``NONE`` where they cannot be read on three batches in a row."""
        try:
            return self.convention()
        except (KeyboardInterrupt, AdapterError):
            raise
        except BaseException:  # what code raises says nothing of its statistics
            return NONE

    def convention(self) -> Statistics:
        """Return the convention of the statistics, and where they are; ``NONE`` if there are none to be read."""
        places, first = None, self.walk(MOMENTA[0], None)
        if first is None:
            places = self.places()
            first = None if places is None else self.walk(MOMENTA[0], places)
        known = self.followed(first, places)
        if known == NONE and first is None:
            places = self.read_in_inference()
            first = None if places is None else self.walk(MOMENTA[0], places)
            known = NONE if first is None else self.followed(first, places)
        return known._replace(places=places)

    def followed(self, first: Walk | None, places: tuple[str, str] | None) -> Statistics:
        """Return the convention of statistics that did what the first walk says; None stands for no statistics."""
        second = None if first is None else self.walk(MOMENTA[1], places)
        known = NONE if first is None or second is None else convention(first, second, self.usual)
        if known.note.startswith(MISCOUNTING) and not self.miscounts(known.note[len(MISCOUNTING) :], places):
            known = Statistics("changing", note=CHANGING)
        if known.sense == "cumulative" and known.var and self.forgets(places):
            known = Statistics("changing", note=CHANGING)
        if known.sense == "unknown" and known.note.endswith(STILL) and not getattr(self.reading, "forward_only", False):
            known = self._replace(whole=True).by_backward(known, places)
        if known.note not in DEVIATIONS and (known.sense in ("", "unknown") or not known.var):
            known = self.by_inference(known, first)
        return known

    def walk(self, momentum: float, places: tuple[str, str] | None) -> Walk | None:
        """Train on three batches; return what the statistics at `places` did, None if they cannot be read."""
        before, steps = None, []
        for run, batch in self._batches(momentum):
            found = _read(running_of(run, places), self.channels)
            if batch is None:
                before = found
            elif found is None:
                return None
            else:
                steps.append(Step(*batch, found))
        numbers = [float(value) for value in run.keeping().values() if isinstance(value, int | float)]
        return Walk(before, steps, frozenset(numbers))

    def miscounts(self, how: str, places: tuple[str, str] | None) -> bool:
        """Tell whether statistics go on to count batches as they begin: a warm-up ends at a floor or a cap.

        A burn-in, whose first batch leaves them as they start, is no wrong count either.
        """
        late = self.late(places)
        # The means of a batch differ by channel: of this one none came in.
        if late is None or (how == BURN_IN and np.ptp(late.first) == 0):
            return False
        kept = late.fractions[-1]
        return kept is not None and abs(kept - MISCOUNTED[how](_LONG)) < ACCURACY

    def forgets(self, places: tuple[str, str] | None) -> bool:
        """Tell whether an average over all batches has come to a fraction that stays: ``max(1 / t, 0.1)`` comes in."""
        late = self.late(places)
        last, kept = (None, None) if late is None else late.fractions
        if last is None or kept is None:
            return False
        return abs(kept - last) < ACCURACY < min(kept, (_LONG - 1) / _LONG - kept)

    def late(self, places: tuple[str, str] | None) -> _Late | None:
        """Return what the running mean does after many batches; None if it cannot be read."""
        means: list[Any] = []
        met: list[Any] = []
        first: Any = None
        for run, batch in self._batches(MOMENTA[0], _LONG):
            found = _read(running_of(run, places), self.channels)
            if batch is None:
                continue
            if found is None:
                return None
            first = found[0] if first is None else first
            means, met = [*means[-2:], found[0]], [*met[-2:], batch[0]]
        before, last = (fraction_kept(means[i - 1], means[i], met[i]) for i in (1, 2))
        return _Late(first, (before, last))

    def places(self) -> tuple[str, str] | None:
        """Return where running mean and variance are kept, told by what they do in training; None if nowhere."""
        _, kept, batches = self._held()
        shared = [place for place in kept[0] if all(place in later for later in kept)]
        for mean in shared:
            k = fraction_throughout([one[mean] for one in kept], [batch[0] for batch in batches])
            # With k = 0 it is the batch's own mean, which a cache holds; with k = 1 nothing moves.
            if k is None or not 0.01 < k < 0.999:
                continue
            for place in shared:
                if averages_spread(place, kept, batches, k):
                    return mean, place
            # Beside a mean in a list or a dict stands its variance, whatever the rule that it follows.
            inside = [place for place in shared if place != mean and _holder(place) == _holder(mean) != ""]
            if len(inside) == 1:
                return mean, inside[0]
        return None

    def read_in_inference(self) -> tuple[str, str] | None:
        """Return where the mean and the variance are that training changes and eval mode takes; None if nowhere.

        By that they are statistics whatever rule they follow, and though no name says so.
        """
        if not self.reading.mode_switch:
            return None
        run, kept, _ = self._held()
        found = measured(run, self.way, self._x())
        before, now = kept[-2:]
        moved = {place: now[place] for place in now if not np.array_equal(now[place], before.get(place, np.nan))}
        return None if found is None else taken_from(found, moved, self.eps)

    def _held(self) -> tuple[Run, list[dict[str, Any]], list[tuple[Any, Any, int]]]:
        """Train on three batches; return the run, what it kept per channel after each, by place, and the batches."""
        kept, batches = [], []
        for run, batch in self._batches(MOMENTA[0]):
            if batch is not None:
                found = {place: per_channel(value, self.channels) for place, value in with_rows(run.keeping()).items()}
                kept.append({place: array.copy() for place, array in found.items() if array is not None})
                batches.append(batch)
        return run, kept, batches

    def _x(self) -> Any:
        """Return the batch on which eval mode is measured."""
        return np.random.default_rng(12).normal(size=self.way.layout.few)

    def by_inference(self, known: Statistics, walk: Walk | None) -> Statistics:
        """Return the convention of statistics of which what is held says too little, by what eval mode does."""
        if not self.reading.mode_switch:
            return known
        met = list(self._batches(MOMENTA[0]))
        run, batches = met[-1][0], [batch for _, batch in met if batch is not None]
        found = measured(run, self.way, self._x())
        if found is None:
            return known
        if walk is not None and known.sense not in ("", "unknown"):
            one, two = walk.steps[:2]
            kept = fraction_kept(one.running[0], two.running[0], two.mu)
            good = kept is not None and averages_deviation(walk.steps, kept, self.eps)
            which = keeps_deviation(found, walk.steps[-1].running) if good else None
            return known if which is None else NONE._replace(note=DEVIATIONS[which])
        if variance := averaged(found, batches, self.eps):
            return Statistics("finished", None, variance, note=FINISHED)
        if late := decayed(found, batches, self.eps):
            return Statistics("finished", self.decay(late[0]), late[1], note=DECAYED)
        last = "" if known.sense else of_last(found, batches, self.eps)
        return Statistics("last", 0.0, last) if last else known

    def decay(self, found: float) -> float | None:
        """Return the fraction by which earlier batches count less, found with the first momentum; None if it is told.

        That is where another momentum makes another fraction.
        """
        met = list(self._batches(MOMENTA[1]))
        later = measured(met[-1][0], self.way, self._x())
        other = None if later is None else decayed(later, [batch for _, batch in met if batch is not None], self.eps)
        return None if other is None or abs(other[0] - found) > 1e-3 else as_written(found, other[0])

    def by_backward(self, known: Statistics, places: tuple[str, str] | None) -> Statistics:
        """Return the convention of statistics that no forward moves, by what whole steps do; `known` if nothing."""
        first, second = (self.walk(momentum, places) for momentum in MOMENTA)
        found = NONE if first is None or second is None else convention(first, second, self.usual)
        if found.sense in ("", "unknown"):
            return known
        return found._replace(by="backward", note="; ".join(filter(None, (found.note, BY_BACKWARD))))

    @property
    def channels(self) -> int:
        return self.way.layout.few[1]

    def _batches(self, momentum: float, number: int = 3) -> Iterator[tuple[Run, tuple[Any, Any, int] | None]]:
        """Yield a run before any forward (with None), and after each: with the batch's mean, variance and m."""
        sizes = self.way.layout.few
        random = np.random.default_rng(11)
        ones, zeros = self.way.parameter(np.ones(sizes[1])), self.way.parameter(np.zeros(sizes[1]))
        with guard.user_code():
            axis = self.way.layout.channel_axis
            run = self.reading.start(Parameters(ones, zeros, self.eps, momentum, axis=axis))
        yield run, None
        axes = (0, *range(2, len(sizes)))
        for scale in (1.0 + i % 3 for i in range(number)):
            given = self.way.batch(random.normal(0.7 * scale, scale, sizes))
            x = self.way.layout.canonical(given).astype(float)  # the code may change what it is given
            with guard.user_code():
                run.forward(given, True)
                if self.whole:
                    run.backward(given.copy())
            yield run, (x.mean(axis=axes), x.var(axis=axes), x.size // sizes[1])


def find_statistics(reading: Reading, way: Way, eps: float | None, usual: float | None = None) -> Statistics:
    """Return the convention of the running statistics of code that works with `way`; ``NONE`` if it keeps none.

    `usual` is the momentum that the code has unless another is given: who mixes up the two sides is told by it.
    """
    trying = _Trying(reading, way, 1e-5 if eps is None else eps, usual)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        known = trying.convention_or_none()
        given = None if _is_known(known) else find_given(reading, way, trying.eps)
        if given is None:
            return known
        if given.reading is None:
            return NONE._replace(note=given.note)
        found = trying._replace(reading=given.reading).convention_or_none()
        return found._replace(given=given.reading) if given.lost or _is_known(found) else known


def _is_known(found: Statistics) -> bool:
    return found != NONE and not found.note.endswith(STILL)


def _read(found: tuple[Any, Any] | None, channels: int) -> tuple[Any, Any] | None:
    """Return copies of running statistics as (C,)."""
    if found is None:
        return None
    mean, var = (per_channel(value, channels) for value in found)
    return None if mean is None or var is None else (mean.copy(), var.copy())


def _holder(place: str) -> str:
    """Return what precedes the last key or index of a place: "running" of "running[0]", "" of a plain attribute."""
    return place.rpartition("[")[0] if place.endswith("]") else ""
