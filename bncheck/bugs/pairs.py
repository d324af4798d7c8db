"""Two faults of the forward at once: which pairs of wrong versions give y on one case.

They are many thousands, and each takes a dozen operations on few numbers. Channels do not know each other: so what
all first faults make of a case is laid side by side as the channels of one large case, on which each second fault runs
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Sample, Version
from bncheck.bugs.steps import FORWARD, Array, Step, Steps

# Two bugs that give y to this share of it are looked at on all cases.
_CLOSE = 1e-6


def close_pairs(sample: Sample, versions: Sequence[Version]) -> list[tuple[Version, Version]]:
    """Return the pairs of versions, in different steps of the forward, that give y on one case: nearly, in float64."""
    places = [sorted(FORWARD.index(step) for step in version.bug.steps) for version in versions]
    wanted = {pair for pair in combinations(range(len(versions)), 2) if not set(places[pair[0]]) & set(places[pair[1]])}
    found: set[tuple[int, int]] = set()
    for place in range(1, len(FORWARD)):
        before = [i for i, of in enumerate(places) if of[-1] < place]
        behind = [j for j, of in enumerate(places) if of[0] == place]
        if before and behind:
            beside = _SideBySide(sample, [versions[i].replaced for i in before], place)
            for j in behind:
                fits = beside.fits(versions[j].replaced)
                if fits is not None:
                    pairs = {(min(i, j), max(i, j)): fit for i, fit in zip(before, fits, strict=True)}
                    wanted -= pairs.keys()
                    found |= {pair for pair, fit in pairs.items() if fit}
    y = sample.found["y"]
    for a, b in wanted:
        value = _value(sample.steps.also({**versions[a].replaced, **versions[b].replaced}))
        if value is not None and np.shape(value) == np.shape(y) and _is_close(value, y).all():
            found.add((a, b))
    return [(versions[a], versions[b]) for a, b in sorted(found)]


def _value(steps: Steps) -> Any:
    """Return y; None where it cannot be computed."""
    with np.errstate(all="ignore"):
        try:
            return steps.y
        except (ValueError, TypeError, ZeroDivisionError):
            return None


def _is_close(value: Any, y: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.abs(value - y) <= _CLOSE * np.abs(y).max()


class _SideBySide:
    """What some versions make of a case up to a step, as the channels of one large case: with right steps at both ends.

    Parameters
    ----------
    sample : Sample
        The case.
    replaced : sequence of mappings
        The wrong steps of each version, all of them before `place`.
    place : int
        The place, in `FORWARD`, of the step that comes next.

    """

    def __init__(self, sample: Sample, replaced: Sequence[dict[str, Step]], place: int) -> None:
        self._alone, self._y = sample.steps, sample.found["y"]
        self._names = FORWARD[:place]
        rows = [self._before(sample.steps.also(wrong)) for wrong in ({}, *replaced, {})]
        #: Whether a version can be computed at all.
        self._told = [row is not None for row in rows]
        whole: list[list[Array]] = [row for row in rows if row is not None]
        self._count = len(whole)
        steps = sample.steps.also({})
        for name in ("x", "dy", "gamma", "beta"):
            setattr(steps, name, np.concatenate([getattr(steps, name)] * self._count, axis=1))
        steps.c *= self._count
        self._steps = steps
        self._values = {name: np.concatenate(column, axis=1) for name, *column in zip(self._names, *whole, strict=True)}

    def _before(self, steps: Steps) -> list[Array] | None:
        with np.errstate(all="ignore"):
            try:
                return [np.broadcast_to(getattr(steps, name), steps.x.shape) for name in self._names]
            except (ValueError, TypeError, ZeroDivisionError):
                return None

    def fits(self, replaced: dict[str, Step]) -> list[bool] | None:
        """Tell for each version whether it gives y with these wrong steps besides; None if they mix channels."""
        alone = _value(self._alone.also(replaced))
        steps = self._steps.also(replaced)
        for name, value in self._values.items():
            setattr(steps, name, value)
        value, c = _value(steps), self._alone.c
        if alone is None or np.shape(alone) != self._alone.x.shape or np.shape(value) != steps.x.shape:
            return None
        for end in (value[:, :c], value[:, -c:]):
            if not np.allclose(end, alone, rtol=_CLOSE, atol=0, equal_nan=True):
                return None
        if np.shape(self._y) != self._alone.x.shape:
            return [False] * (len(self._told) - 2)
        close = _is_close(value, np.concatenate([self._y] * self._count, axis=1))
        by_version = iter(np.moveaxis(close, 1, 0).reshape(self._count, -1).all(axis=1).tolist())
        return [told and next(by_version) for told in self._told][1:-1]
