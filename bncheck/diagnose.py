"""From what the user's code returned to the name of the bug: which wrong version of the reference explains it.

Every known bug is the reference with one fault. A bug is named when each value of a tensor, on every case where that
tensor is wrong, is what the faulty reference gives, to within rounding: one bug for y, one or two for a gradient. The
gradients are judged relative to the user's own forward. What no bug explains exactly gets no name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from bncheck.bugs.catalogue import BUGS, Sample, Version
from bncheck.bugs.steps import FORWARD, Array, Step, Steps
from bncheck.case import Case
from bncheck.core.tolerance import UNIT_ROUNDOFF
from bncheck.core.truth import allowances, truth
from bncheck.model import TENSORS
from bncheck.report import Diagnosis

Replaced = Mapping[str, Step]


class Observed(NamedTuple):
    """A case, and the tensors that the user's code returned for it, in the shape that they came in."""

    case: Case
    found: Mapping[str, Any]


def diagnose(seen: Sequence[Observed], without: Sequence[str] = ()) -> tuple[Diagnosis, ...]:
    """Return the bugs that explain what is wrong, in the order of the formulas.

    Parameters
    ----------
    seen : sequence of Observed
        Cases with enough values per channel, and with spread parameters, to tell the bugs apart.
    without : sequence of str
        Codes of bugs that are left out of the search.

    """
    search = _Search([item for item in seen if item.found], frozenset(without))
    named: dict[Version, list[str]] = {}
    for tensor in ("y", "dbeta", "dx", "dgamma"):
        for version in search.explain(tensor):
            named.setdefault(version, []).append(tensor)
    return tuple(_diagnosis(version, tensors) for version, tensors in named.items())


def _diagnosis(version: Version, tensors: Sequence[str]) -> Diagnosis:
    bug = version.bug
    tensors = [*tensors, *(step for step in bug.steps if step in TENSORS)]
    where = ", ".join(name for name in TENSORS if name in tensors)
    lines = (version.fill(bug.wrong), version.fill(bug.right), version.fill(bug.mend))
    return Diagnosis(bug.code, bug.name, version.title, lines[2], where, 1.0, wrong=lines[0], right=lines[1])


class _Search:
    """Looks for the bugs of one tensor after the other; what was found of the forward is what gradients build on."""

    def __init__(self, seen: Sequence[Observed], without: frozenset[str]) -> None:
        self.seen = seen
        self.bugs = [bug for code, bug in BUGS.items() if code not in without]
        self.own: dict[str, Step] = {}
        self.backward: tuple[Version, ...] = ()
        self.named: set[str] = set()

    def explain(self, tensor: str) -> tuple[Version, ...]:
        """Return the bugs of a tensor; none if it is right, follows from what is named, or is explained by none."""
        wrong = [o for o in self.seen if tensor in o.found and not fits(o, tensor, truth(o.case).tensor(tensor))]
        if not wrong or tensor in self.named:
            return ()
        if tensor == "y":
            found = self._named(tensor, wrong, _FORWARD_FORMS)
            self.own = {name: step for version in found for name, step in version.replaced.items()}
            return found
        own = [own_gradient(o, self.own, tensor) for o in wrong] if self.own else []
        if own and all(fits(o, tensor, value) for o, value in zip(wrong, own, strict=True)):
            return ()  # what the user's own forward makes of it
        forms = [{**self.own, **form} for form in _FORMS]
        forms += [{**self.own, **form} for form in _from_returned(wrong, tensor)]
        if any(fits_all(wrong, tensor, form) for form in forms):
            return ()  # the formula, with what the forward or another gradient got wrong: that is named
        if tensor == "dgamma":
            carried = {name: step for version in self.backward for name, step in version.replaced.items()}
            if carried and any(fits_all(wrong, tensor, {**form, **carried}) for form in forms):
                return self.backward
        found = self._named(tensor, wrong, forms) or (self._named(tensor, wrong, _FORMS) if self.own else ())
        if tensor == "dx":
            self.backward = tuple(v for v in found if v.bug.steps[0] == "back_inv_std")
        return found

    def _named(self, tensor: str, wrong: Sequence[Observed], forms: Sequence[Replaced]) -> tuple[Version, ...]:
        """Return the one bug, or else the two, that give every value of a tensor; the simplest of several."""
        wrong = sorted(wrong, key=lambda o: o.case.x.size)
        for count in (1, 2):
            for form in forms if count == 1 else forms[:_FORMS_OF_PAIRS]:
                samples = [Sample(_steps(o, form), dict(o.found)) for o in wrong]
                for versions in self._sets(tensor, samples, count):
                    replaced = {**form, **{name: step for v in versions for name, step in v.replaced.items()}}
                    concerned = {tensor, *(name for v in versions for name in v.bug.steps if name in TENSORS)}
                    if all(fits_all(wrong, name, replaced) for name in concerned):
                        self.named |= concerned
                        return versions
        return ()

    def _sets(self, tensor: str, samples: Sequence[Sample], count: int) -> Iterator[tuple[Version, ...]]:
        concerned = [bug for bug in self.bugs if _concerns(tensor, bug.steps)]
        versions = sorted((v for bug in concerned for v in bug.versions(samples)), key=lambda v: v.choice.cost)
        if count == 1:
            yield from ((version,) for version in versions)
        elif tensor == "dx":
            yield from _pairs_of_paths(samples, versions)


def _concerns(tensor: str, steps: Sequence[str]) -> bool:
    if tensor == "y":
        return set(steps) <= set(FORWARD)
    if tensor == "dx":
        return not set(steps) & {*FORWARD, "dgamma", "dbeta"}
    return tensor in steps or (tensor == "dgamma" and steps[0] == "back_inv_std")


def _pairs_of_paths(samples: Sequence[Sample], versions: Sequence[Version]) -> Iterator[tuple[Version, ...]]:
    """Yield the pairs whose changes of dx add up to what is found, on the case with the fewest numbers.

    What a bug of one path changes does not depend on a bug of another: the changes of all bugs are computed once.
    """
    first = samples[0]
    right = _value(first.steps, "dx")
    found = np.asarray(first.found["dx"])
    if right is None or found.shape != right.shape:
        return
    changes = []
    for version in versions:
        value = _value(first.steps.also(version.replaced), "dx")
        size = float(np.abs(right).max())
        if value is not None and np.shape(value) == right.shape and np.abs(value - right).max() > _NOTHING * size:
            changes.append((version, value - right))
    for (a, of_a), (b, of_b) in combinations(changes, 2):
        if not set(a.bug.steps) & set(b.bug.steps):
            left = np.abs(found - right - of_a - of_b).max()
            if left <= _ROUGHLY * float(np.abs(found).max()):
                yield a, b
    for a, _ in changes:  # what the backward begins with, and one path
        if a.bug.steps[0].startswith("back_"):
            for b, _ in changes:
                if not b.bug.steps[0].startswith("back_"):
                    value = _value(first.steps.also({**a.replaced, **b.replaced}), "dx")
                    if value is not None and np.abs(found - value).max() <= _ROUGHLY * float(np.abs(found).max()):
                        yield a, b


# A change below this share of dx is none; two that add up to this share of dx are looked at on all cases.
_NOTHING = 1e-9
_ROUGHLY = 1e-3


def _closed(s: Steps) -> Array:
    found: Array = -s.back_gamma * s.back_inv_std * s.back_xhat * s.mean(s.dy * s.back_xhat)
    return found


# Right forms of the formulas that differ as soon as one step is wrong: in stages, closed, with xhat computed anew; a
# variance taken by itself.
_FORMS: tuple[Replaced, ...] = (
    {},
    {"variance_path": _closed},
    {"back_xhat": lambda s: s.back_centred * s.back_inv_std},
    {"variance_path": _closed, "back_xhat": lambda s: s.back_centred * s.back_inv_std},
)
# Pairs are tried with the first of these alone: they are many.
_FORMS_OF_PAIRS = 2
_FORWARD_FORMS: tuple[Replaced, ...] = ({}, {"var": lambda s: s.mean((s.x - s.mean(s.x)) ** 2)})


def _from_returned(seen: Sequence[Observed], tensor: str) -> Iterator[dict[str, Step]]:
    """Yield dx by the closed formula, made with dgamma or dbeta (or both) as the user's code returned them."""
    if tensor != "dx":
        return
    names = ("dgamma", "dbeta")
    given = {k for k in names if all(k in o.found and np.size(o.found[k]) == o.case.gamma.size for o in seen)}

    def of(name: str) -> Step:
        def path(s: Steps) -> Array:
            total = np.reshape(s.returned[name], s.gamma.shape) / s.m
            found: Array = -s.back_gamma * s.back_inv_std * (s.back_xhat * total if name == "dgamma" else total)
            return found

        return path

    paths = {"dgamma": "variance_path", "dbeta": "mean_path"}
    for used in (("dgamma",), ("dbeta",), names):
        if given.issuperset(used):
            yield {paths[name]: of(name) for name in used}


def own_gradient(observed: Observed, replaced: Replaced, tensor: str) -> Any:
    """Return a gradient of sum(dy * y) for a wrong version of the forward, by complex steps; None where it has none.

    For an analytic f, Im f(x + ih) / h is its derivative without cancellation (Squire & Trapp 1998, SIAM Review 40).
    """
    steps = _steps(observed, replaced)
    name = {"dx": "x", "dgamma": "gamma", "dbeta": "beta"}[tensor]
    start = getattr(steps, name)
    found = np.empty(start.shape)
    with np.errstate(all="ignore"):
        for at in np.ndindex(start.shape):
            moved = _steps(observed, replaced)
            values = start.astype(complex)
            values[at] += 1e-30j
            setattr(moved, name, values)
            y = _value(moved, "y")
            if y is None or np.shape(y) != moved.dy.shape:
                return None
            found[at] = (moved.dy * y).sum().imag / 1e-30
    return found


def _steps(observed: Observed, replaced: Replaced) -> Steps:
    return Steps(observed.case, replaced, observed.found)


def _value(steps: Steps, tensor: str) -> Any:
    """Return a tensor of a wrong version; None where it cannot be computed."""
    with np.errstate(all="ignore"):
        try:
            return getattr(steps, tensor)
        except (ValueError, TypeError, ZeroDivisionError):
            return None


def fits_all(seen: Sequence[Observed], tensor: str, replaced: Replaced) -> bool:
    """Tell whether a wrong version gives every value of a tensor on every case."""
    return all(tensor in o.found and fits(o, tensor, _value(_steps(o, replaced), tensor)) for o in seen)


# A wrong version may err some times as much as the right one, in the bound's units: it adds what the right one lacks.
_ROUNDING = 64.0


def fits(observed: Observed, tensor: str, value: Any) -> bool:
    """Tell whether a tensor of the user's is this value to within rounding, whatever axes of length 1 it has."""
    if value is None or np.iscomplexobj(value):
        return False
    found, value = (np.squeeze(np.asarray(a, dtype=np.float64)) for a in (observed.found[tensor], value))
    if found.shape != value.shape or not (np.isfinite(found).all() and np.isfinite(value).all()):
        return False
    right = truth(observed.case).tensor(tensor)
    size = float(np.abs(value).max())
    # The bound is that of the right tensor; what is larger errs by more.
    grown = max(1.0, size / max(float(np.abs(right).max()), np.finfo(float).tiny))
    allowed = float(np.max(getattr(allowances(observed.case), tensor))) * grown
    allowed += UNIT_ROUNDOFF[observed.case.spec.dtype] * size
    return bool(np.abs(found - value).max() <= _ROUNDING * allowed)
