"""The right answer for one case, computed once and shared by whoever asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.case import Case
from bncheck.core import reference
from bncheck.core.precision import limits
from bncheck.core.rounding import UNBOUNDED, Bounds, rounding_bounds
from bncheck.core.tolerance import UNIT_ROUNDOFF, Compared, compared
from bncheck.model import TENSORS

Array = NDArray[np.float64]


class Truth(NamedTuple):
    """The reference's forward and gradients for a case."""

    forward: reference.Forward
    gradients: reference.Gradients

    def tensor(self, name: str) -> Array:
        """Return y, dx, dgamma or dbeta."""
        return self.forward.y if name == "y" else getattr(self.gradients, name)


# A case is judged by several checks in a row and then forgotten: a few places hold it, and what it is compared with.
@lru_cache(maxsize=4)
def truth(case: Case) -> Truth:
    """Return the reference's answer for `case`, in float64."""
    return _answer(case)


def _answer(case: Case) -> Truth:
    fwd = _forward(case)
    with np.errstate(all="ignore"):
        return Truth(fwd, reference.backward(case.dy, fwd, case.gamma, case.axes))


def _forward(case: Case) -> reference.Forward:
    with np.errstate(all="ignore"):  # eps = 0 on a constant channel is the target's matter, not ours
        return reference.forward(case.x, case.gamma, case.beta, case.spec.eps, case.axes)


def allowances(case: Case, *, one_pass: bool = False) -> Bounds:
    """Return how far rounding in the case's dtype may carry a right two-pass (or a one-pass) evaluation."""
    return _allowances(case, one_pass)


@lru_cache(maxsize=8)
def _allowances(case: Case, one_pass: bool) -> Bounds:
    return _bounds(case, truth(case).forward, one_pass)


def allowances_in(case: Case, dtype: str) -> Bounds:
    """Return how far rounding in another dtype than the case's may carry a right two-pass evaluation."""
    return _bounds(replace(case, spec=replace(case.spec, dtype=dtype)), truth(case).forward, one_pass=False)


def _bounds(case: Case, fwd: reference.Forward, one_pass: bool) -> Bounds:
    u = UNIT_ROUNDOFF[case.spec.dtype]
    tiny = float(limits(case.spec.dtype).smallest_subnormal)
    with np.errstate(all="ignore"):
        return rounding_bounds(
            case.x, case.gamma, case.beta, case.dy, case.spec.eps, u, case.axes, tiny=tiny, one_pass=one_pass, fwd=fwd
        )


# ------------------------------------------------------------------------------------------- a few channels at a time

# Larger cases are not compared whole: what is wanted and allowed takes some twenty tensors of their size. Parts of
# 2 MiB stay in the cache; eight channels side by side fill the cache lines of data that has the channels last.
_PART_ELEMENTS, _PART_CHANNELS = 2**18, 8


def in_parts(case: Case) -> Iterator[tuple[slice, Case]]:
    """Yield a large case a few channels at a time, with their place among all; a small one is its own only part."""
    places = _places(case)
    if len(places) == 1:
        yield places[0], case
        return
    for at in places:
        spec = replace(case.spec, c=at.stop - at.start)
        yield at, Case(spec, in_one_piece(case.x[:, at]), case.gamma[at], case.beta[at], in_one_piece(case.dy[:, at]))


def _places(case: Case) -> list[slice]:
    c = case.spec.c
    step = max(_PART_CHANNELS, c * _PART_ELEMENTS // max(1, case.x.size))
    return [slice(first, min(first + step, c)) for first in range(0, c, step)]


def in_one_piece(x: NDArray[Any]) -> NDArray[Any]:
    """Return a (N, C, *spatial) array with each channel in one piece of memory, as :class:`reference.Rows` takes it."""
    moved = np.moveaxis(x, 1, 0)
    whole = np.empty_like(moved, order="C")
    step = max(1, _BLOCK * len(x) // x.size)
    for i in range(0, len(x), step):
        whole[:, i : i + step] = moved[:, i : i + step]
    return np.moveaxis(whole, 0, 1)


# So many elements at a time are moved: what is read of a cache line is used before it has to leave the first cache.
_BLOCK = 2**12


class Statistics(NamedTuple):
    """Variance (biased) and 1/sqrt(var + eps) of every channel, shape (C,)."""

    var: Array
    inv_std: Array


@lru_cache(maxsize=4)
def statistics(case: Case) -> Statistics:
    """Return the reference's statistics of a case; of a large one without holding its tensors."""
    places = _places(case)
    if len(places) == 1:
        return Statistics(truth(case).forward.var, truth(case).forward.inv_std)
    var = np.concatenate([reference.variance(in_one_piece(case.x[:, at]), case.axes) for at in places])
    with np.errstate(divide="ignore"):
        return Statistics(var, 1.0 / np.sqrt(var + case.spec.eps))


def forward_of(case: Case, part: Case) -> reference.Forward:
    """Return the reference's forward of a part of a case; it is not kept where the part is not the case."""
    return truth(case).forward if part is case else _forward(part)


class _Found:
    """Tensors by name, as a key: the same where they are the same objects."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self.tensors = {name: tensors[name] for name in TENSORS if name in tensors}

    def __hash__(self) -> int:
        return hash(tuple(map(id, self.tensors.values())))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Found) or self.tensors.keys() != other.tensors.keys():
            return False
        return all(value is other.tensors[name] for name, value in self.tensors.items())


def beside(case: Case, found: Mapping[str, Array], *, one_pass: bool = False) -> Mapping[str, Compared]:
    """Compare y, dx, dgamma and dbeta, as many as there are, with the reference, element by element.

    Parameters
    ----------
    case : Case
        The case that they are of.
    found : mapping of str to array
        Float64 tensors of the right shapes; other names are not looked at.
    one_pass : bool
        Allow what a one-pass variance costs.

    """
    return _beside(case, _Found(found), one_pass)


@lru_cache(maxsize=2)
def _beside(case: Case, found: _Found, one_pass: bool) -> dict[str, Compared]:
    result: dict[str, Compared] = {}
    for at, part in in_parts(case):
        whole = part is case
        right = truth(case) if whole else _answer(part)
        bounds = allowances(case, one_pass=one_pass) if whole else _bounds(part, right.forward, one_pass)
        for name, tensor in found.tensors.items():
            axis = int(name in ("y", "dx"))
            got, want, allowed = tensor[:, at] if axis else tensor[at], right.tensor(name), getattr(bounds, name)
            if axis and not whole:  # channels first: elements that are beside each other in memory
                got, want, allowed = (np.moveaxis(a, 1, 0) for a in (in_one_piece(got), want, allowed))
            here = compared(got, want, allowed)
            if axis and not whole:
                here = here._replace(at=(here.at[1], here.at[0], *here.at[2:]))
            result[name] = _joined(result.get(name), here, axis, at.start)
    return result


def _joined(before: Compared | None, here: Compared, axis: int, first: int) -> Compared:
    """Return what is to be said of all parts so far; `here` begins at channel `first`, along an axis."""
    here = here._replace(at=tuple(i + first * (n == axis) for n, i in enumerate(here.at)))
    if before is None:
        return here
    worst = before if before.ratio >= here.ratio else here
    return worst._replace(
        allowed_sum=before.allowed_sum + here.allowed_sum,
        peak=max(before.peak, here.peak),
        size=before.size + here.size,
        finite=before.finite and here.finite,
    )


# Below so many roundings of its terms a tensor is a sum that cancels to nothing.
_NOTHING = 1e3
# An allowed error above this share of a tensor leaves room for much that is wrong.
_BLUNT = 0.01


def is_nothing(case: Case, tensor: str, allowed: float = 0.0) -> bool:
    """Tell whether all that is to be computed of a tensor cancels, so that most wrong formulas give it, too.

    So dx and dgamma where every channel has one value, dx at gamma = 0, and y but for beta in these cases; and a tensor
    that is small beside the error that was allowed.
    """
    right, dy = truth(case), np.abs(case.dy).astype(np.float64)
    gamma = np.abs(case.gamma).astype(np.float64)
    value, scale = right.tensor(tensor), float(dy.sum(axis=case.axes).max())
    if tensor == "y":
        beta = case.beta.astype(np.float64).reshape(-1, *[1] * (case.x.ndim - 2))
        value, scale = value - beta, float(gamma.max()) + float(np.abs(beta).max())
    elif tensor == "dx":
        scale = float(dy.max() * gamma.max() * right.forward.inv_std.max())
    least = max(_NOTHING * UNIT_ROUNDOFF[case.spec.dtype] * scale, allowed / _BLUNT)
    return bool(np.abs(value).max() <= least)


def lost_in_one_pass(case: Case, tensor: str) -> NDArray[np.bool_]:
    """Tell for every element of a tensor whether a variance ``mean(x**2) - mean(x)**2`` leaves no digit of it.

    There it may come out as 0 or below, and y with it as infinite or NaN.
    """
    # Bounds that hold are of the size of the tensor; the others are products with UNBOUNDED.
    allowed: Array = getattr(allowances(case, one_pass=True), tensor)
    lost: NDArray[np.bool_] = allowed > UNBOUNDED**0.5
    return lost
