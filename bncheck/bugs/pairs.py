"""Two faults of the forward at once: which pairs of wrong versions give y on one case.

They are many thousands, and each takes a dozen operations on few numbers. Channels do not know each other: so what
all first faults make of a case is laid side by side as the channels of one large case, on which each second fault runs
once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Sample, Version
from bncheck.bugs.steps import FORWARD, Array, Step, Steps

# Two bugs that give y to this share of it are looked at on all cases.
_CLOSE = 1e-6


def close_pairs(sample: Sample, versions: Sequence[Version]) -> list[tuple[Version, Version]]:
    """Return the pairs of versions, in different steps of the forward, that give y on one case: nearly, in float64."""
    with np.errstate(all="ignore"):
        groups = alike_on(sample, versions)
        if _is_line(sample.steps, sample.found["y"]):
            # Two faults of which one bends y do not make a line of it again.
            groups = [g for g in groups if _is_line(sample.steps, _value(sample.steps.also(versions[g[0]].replaced)))]
        pairs = _close(sample, [versions[group[0]] for group in groups])
    several = {pair for a, b in pairs for pair in product(groups[a], groups[b])}
    return [(versions[min(pair)], versions[max(pair)]) for pair in sorted(several, key=sorted)]


def _is_line(s: Steps, y: Any) -> bool:
    """Tell whether y is nearly a line in x, channel by channel."""
    if np.shape(y) != s.x.shape:
        return False
    centred, moved = s.x - s.mean(s.x), y - s.mean(y)
    left = moved - s.mean(moved * centred) / s.mean(centred * centred) * centred
    return bool(np.abs(left).max() <= _LINE * np.abs(y).max())


# What a fault bends by less than this is straight: more than two faults may be off by, less than any of them bends.
_LINE = 1e-4


def alike_on(sample: Sample, versions: Sequence[Version]) -> list[list[int]]:
    """Return the places of versions, those together of one bug that do the same: a case without a map has no axis W."""
    groups: dict[object, list[int]] = {}
    for at, version in enumerate(versions):
        steps = sample.steps.also(version.replaced)
        values = [_value(steps, name) for name in version.bug.steps]
        told = None if any(value is None for value in values) else [np.asarray(value).tobytes() for value in values]
        groups.setdefault((version.bug.code, at if told is None else tuple(told)), []).append(at)
    return list(groups.values())


def _close(sample: Sample, versions: Sequence[Version]) -> list[tuple[int, int]]:
    """Return the places of the pairs that give y on one case."""
    places = [sorted(FORWARD.index(step) for step in version.bug.steps) for version in versions]
    steps_of = np.array([sum(1 << at for at in of) for of in places], dtype=np.int64)
    wanted = np.triu(steps_of[:, None] & steps_of == 0, 1)
    found = np.zeros_like(wanted)
    for place in range(1, len(FORWARD)):
        before = [i for i, of in enumerate(places) if of[-1] < place]
        behind = [j for j, of in enumerate(places) if of[0] == place]
        if before and behind:
            beside = _SideBySide(sample, [versions[i].replaced for i in before], place)
            for j in behind:
                fits = beside.fits(versions[j].replaced)
                first, second = np.minimum(before, j), np.maximum(before, j)
                wanted[first, second], found[first, second] = False, fits
    gives = _Given(sample.found["y"])
    for a, b in zip(*np.nonzero(wanted), strict=True):
        found[a, b] = gives(_value(sample.steps.also({**versions[a].replaced, **versions[b].replaced})))
    return [(int(a), int(b)) for a, b in zip(*np.nonzero(found), strict=True)]


def _value(steps: Steps, name: str = "y") -> Any:
    """Return y, or another step; None where it cannot be computed."""
    try:
        return getattr(steps, name)
    except (ValueError, TypeError, ZeroDivisionError):  # two faults may leave shapes that do not fit
        return None


class _Given:
    """Tells whether a value is nearly y."""

    def __init__(self, y: Any) -> None:
        self.y = np.asarray(y)
        self._bound = _CLOSE * float(np.abs(self.y).max())

    def __call__(self, value: Any) -> bool:
        return value is not None and np.shape(value) == self.y.shape and bool(self.close(value).all())

    def close(self, value: Any, times: int = 1) -> Any:
        """Return element by element whether a value is near y, or near so many of them side by side."""
        y = self.y if times == 1 else np.concatenate([self.y] * times, axis=1)
        return np.abs(value - y) <= self._bound


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
        self._alone, self._gives = sample.steps, _Given(sample.found["y"])
        self._names = FORWARD[:place]
        self._first = [self._begun(sample.steps.also(wrong)) for wrong in ({}, *replaced, {})]
        whole = [self._row(steps) for steps in self._first if steps is not None]
        self._count = len(whole)
        steps = sample.steps.also({})
        for name in ("x", "dy", "gamma", "beta"):
            setattr(steps, name, np.concatenate([getattr(steps, name)] * self._count, axis=1))
        steps.c *= self._count
        self._steps = steps
        self._values = {name: np.concatenate(column, axis=1) for name, *column in zip(self._names, *whole, strict=True)}

    def _begun(self, steps: Steps) -> Steps | None:
        """Return the steps with the first ones computed; None where they cannot be."""
        try:
            for name in self._names:
                if np.broadcast_shapes(np.shape(getattr(steps, name)), steps.x.shape) != steps.x.shape:
                    return None
        except (ValueError, TypeError, ZeroDivisionError):  # a fault may leave shapes that do not fit
            return None
        return steps

    def _row(self, steps: Steps) -> list[Array]:
        return [np.broadcast_to(getattr(steps, name), steps.x.shape) for name in self._names]

    def fits(self, replaced: dict[str, Step]) -> list[bool]:
        """Tell for each version whether it gives y with these wrong steps besides."""
        value = self._together(replaced)
        if value is None:
            return [steps is not None and self._fits_alone(steps, replaced) for steps in self._first[1:-1]]
        if self._gives.y.shape != self._alone.x.shape:
            return [False] * (len(self._first) - 2)
        close = self._gives.close(value, self._count)
        by_version = iter(np.moveaxis(close, 1, 0).reshape(self._count, -1).all(axis=1).tolist())
        return [steps is not None and next(by_version) for steps in self._first][1:-1]

    def _together(self, replaced: dict[str, Step]) -> Any:
        """Return what the wrong steps make of all versions at once; None if they mix channels."""
        alone = _value(self._alone.also(replaced))
        steps = self._steps.also(replaced)
        for name, value in self._values.items():
            setattr(steps, name, value)
        value, c = _value(steps), self._alone.c
        if alone is None or np.shape(alone) != self._alone.x.shape or np.shape(value) != steps.x.shape:
            return None
        ends = (value[:, :c], value[:, -c:])
        return value if all(np.allclose(end, alone, rtol=_CLOSE, atol=0, equal_nan=True) for end in ends) else None

    def _fits_alone(self, first: Steps, replaced: dict[str, Step]) -> bool:
        steps = first.also(replaced)
        made = first.__dict__
        steps.__dict__.update({name: made[name] for name in self._names})
        return self._gives(_value(steps))
