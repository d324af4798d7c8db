"""Where in a tensor the error sits, and the formula worked out on a small case. Computes; calls no user code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bncheck.case import Case, CaseSpec
from bncheck.core.truth import allowances, truth
from bncheck.report import Quantity, Worked

Indices = frozenset[int]

# ----------------------------------------------------------------------------------------------------------- the place

# Batch sizes above that of a failing case, each with a number of channels; no two alike, blocks of 2, 4 and 8 left with
# different tails.
_PROBES = ((0, 5), (1, 4), (2, 7), (5, 6), (9, 5), (14, 9))
# How many cases have to agree. A case has 4 channels at least, each of which may be right or wrong: of all ways in
# which that could come out, 20 places in as many cases meet one by chance in fewer than 20 / 2**16 cases in all.
_AGREEING = 4
_BLOCKS = (2, 4, 8, 16, 32, 64)


def probes(spec: CaseSpec) -> list[CaseSpec]:
    """Return cases like a failing one with more rows and channels, so that right elements can stand beside wrong ones.

    Half of them have batch sizes as odd or even as that of the failing case, and all of them do if they are shifted
    by it: whoever fails at odd N only fails on enough of these.
    """
    constant = 2 if spec.constant else 0
    sizes = [(spec.n + more, c) for more, c in _PROBES] + [(spec.n + 2 * more, c) for more, c in _PROBES[1:]]
    return [
        replace(spec, recipe="place", seed=seed, n=n, c=c, constant=constant, numbers="drawn")
        for seed, (n, c) in enumerate(sizes, 1)
    ]


def place(tensor: str, seen: Sequence[tuple[Case, Any]]) -> str:
    """Return which elements alone are wrong in all cases where some are ("only in the last channel"); "" if none such.

    Parameters
    ----------
    tensor : str
        y, dx, dgamma or dbeta.
    seen : sequence of (Case, array)
        Cases, and the tensor that the user's code returned for each.

    """
    masks = [(case, mask) for case, found in seen if (mask := _wrong(tensor, case, found)) is not None and mask.any()]
    channels = [(case, _indices(mask, 1 if mask.ndim > 1 else 0)) for case, mask in masks]
    told = _told(channels, list(_channels()), lambda case: case.spec.c)
    if told or tensor not in ("y", "dx"):
        return told
    rows = [(case, _indices(mask, 0)) for case, mask in masks]
    first = min((min(wrong) for _, wrong in rows), default=0)
    return _told(rows, list(_rows(first)), lambda case: case.spec.n)


def _wrong(tensor: str, case: Case, found: Any) -> Any:
    """Return for every element whether it is wrong; None where the shapes differ."""
    want, allowed = truth(case).tensor(tensor), getattr(allowances(case), tensor)
    if np.shape(found) != want.shape:
        return None
    with np.errstate(invalid="ignore", over="ignore"):
        return ~(np.abs(np.asarray(found, dtype=np.float64) - want) <= allowed)


def _indices(mask: Any, axis: int) -> Indices:
    """Return the indices along an axis under which something is wrong."""
    others = tuple(i for i in range(mask.ndim) if i != axis)
    return frozenset(np.flatnonzero(mask.any(axis=others)).tolist())


Predicted = tuple[str, Callable[[Case], Indices]]


def _told(seen: Sequence[tuple[Case, Indices]], places: Sequence[Predicted], size: Callable[[Case], int]) -> str:
    for words, predicted in places:
        agreeing = [case for case, wrong in seen if wrong == predicted(case)]
        telling = [case for case in agreeing if len(predicted(case)) < size(case)]
        if len(agreeing) == len(seen) and len(telling) >= _AGREEING:
            return f"only in {words}"
    return ""


def _channels() -> Iterator[Predicted]:
    yield "the last channel", lambda case: frozenset({case.spec.c - 1})
    yield "channel 0", lambda case: frozenset({0})
    yield "the constant channels", lambda case: frozenset(range(case.spec.constant))
    yield "channels with gamma < 0", lambda case: frozenset(np.flatnonzero(case.gamma < 0).tolist())
    yield "channels with gamma > 0", lambda case: frozenset(np.flatnonzero(case.gamma > 0).tolist())
    yield "channels after the first", lambda case: frozenset(range(1, case.spec.c))
    yield "channels before the last", lambda case: frozenset(range(case.spec.c - 1))
    yield "odd channels", lambda case: frozenset(range(1, case.spec.c, 2))
    yield "even channels", lambda case: frozenset(range(0, case.spec.c, 2))
    for block in _BLOCKS[1:]:
        yield f"channels beyond the last multiple of {block}", _beyond(block, lambda case: case.spec.c)


def _rows(first: int) -> Iterator[Predicted]:
    yield "the last row of the batch", lambda case: frozenset({case.spec.n - 1})
    yield "the first row of the batch", lambda case: frozenset({0})
    for block in _BLOCKS:
        yield f"rows beyond the last multiple of {block}", _beyond(block, lambda case: case.spec.n)
    yield f"rows from {first} on", lambda case: frozenset(range(first, case.spec.n))
    yield "odd rows", lambda case: frozenset(range(1, case.spec.n, 2))
    yield "even rows", lambda case: frozenset(range(0, case.spec.n, 2))


def _beyond(block: int, size: Callable[[Case], int]) -> Callable[[Case], Indices]:
    return lambda case: frozenset(range(size(case) // block * block, size(case)))


# ----------------------------------------------------------------------------------------------------------- by hand


def worked(case: Case, tensor: str, channel: int, found: Any) -> Worked:
    """Return the formulas worked out for one channel, up to a tensor, and what was found in its place."""
    right = truth(case).forward

    def of(array: Any) -> Any:
        """Return this channel's values as float64, in the order of the batch."""
        return np.asarray(array, dtype=np.float64)[:, channel].ravel()

    x, dy, xhat = of(case.x), of(case.dy), of(right.xhat)
    gamma, beta = float(case.gamma[channel]), float(case.beta[channel])
    mu, var, inv_std = (float(np.ravel(a)[channel]) for a in (right.mu, right.var, right.inv_std))
    m, dbeta, dgamma = x.size, dy.sum(), (dy * xhat).sum()
    steps: list[tuple[str, str, Any]] = [
        ("x", "", x),
        ("mu", "sum(x) / m", mu),
        ("xc", "x - mu", x - mu),
        ("var", "sum(xc xc) / m", var),
        ("inv_std", "1 / sqrt(var + eps)", inv_std),
        ("xhat", "xc inv_std", xhat),
    ]
    if tensor == "y":
        steps.append(("y", "gamma xhat + beta", of(right.y)))
    else:
        steps += [("dy", "", dy)]
    if tensor in ("dx", "dbeta"):
        steps.append(("dbeta", "sum(dy)", dbeta))
    if tensor in ("dx", "dgamma"):
        steps += [("p", "dy xhat", dy * xhat), ("dgamma", "sum(p)", dgamma)]
    if tensor == "dx":
        steps += [
            ("a", "dy - dbeta / m", dy - dbeta / m),
            ("b", "xhat dgamma / m", xhat * dgamma / m),
            ("dx", "gamma inv_std (a - b)", of(truth(case).gradients.dx)),
        ]
    given = np.asarray(found, dtype=np.float64)
    yours = given[:, channel].ravel() if tensor in ("y", "dx") else given[channel]
    steps.append((f"your {tensor}", "", yours))
    told = tuple(Quantity(name, formula, tuple(np.ravel(value).tolist())) for name, formula, value in steps)
    return Worked(channel, m, gamma, beta, told)
