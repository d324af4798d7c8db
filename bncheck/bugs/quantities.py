"""What may stand in a term of the formulas: sums per channel of products, whole ones and cut ones; arrays of x's shape.

Diagnosis looks a fitted coefficient up among these, times a factor (see factors.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from bncheck.bugs.steps import Array, Steps, absolute


class Quantity(NamedTuple):
    """Something of the formulas: how it is written, what it is, and how much less likely it is than the right one."""

    text: str
    value: Callable[[Steps], Array]
    cost: float = 0.6


LETTERS = {2: "NC", 3: "NCL", 4: "NCHW", 5: "NCDHW"}


def axes_of(name: str) -> Callable[[Steps], tuple[int, ...]]:
    """Return a function from steps to the axes of a name ("N, H"); as many of them as the case has."""
    wanted = name.split(", ")
    return lambda s: tuple(axis for axis, letter in enumerate(LETTERS[s.x.ndim]) if letter in wanted)


def other_axes(ranks: Sequence[int]) -> list[str]:
    """Return the names of the sets of axes, "nothing" among them, that are not those of Batch Normalization.

    Parameters
    ----------
    ranks : sequence of int
        The numbers of axes of x in the cases that are looked at.

    """
    names = {"nothing"}
    for rank in set(ranks):
        letters = LETTERS[rank]
        right = letters.replace("C", "")
        for size in range(1, rank + 1):
            names |= {", ".join(chosen) for chosen in combinations(letters, size) if "".join(chosen) != right}
    # What is right in one of the cases can still be wrong in another: N of (N, C, L).
    return sorted(names, key=lambda name: (len(name), name))


# ---------------------------------------------------------------------------------------------------------------- cuts


def _last_row(s: Steps) -> Array:
    kept = np.ones((s.n, 1, *s.x.shape[2:]))
    kept[-1] = 0
    return kept


def _first_row(s: Steps) -> Array:
    kept = np.ones((s.n, 1, *s.x.shape[2:]))
    kept[0] = 0
    return kept


def _last_value(s: Steps) -> Array:
    kept = np.ones((s.n, 1, *s.x.shape[2:]))
    kept.reshape(-1)[-1] = 0
    return kept


def _last_column(s: Steps) -> Array:
    kept = np.ones((s.n, 1, *s.x.shape[2:]))
    if s.x.ndim > 2:
        kept[..., -1] = 0
    return kept


# What a loop that ends too early, or a slice, leaves out: 1 where a value counts, 0 where it does not.
CUTS = (
    Quantity("the last row", _last_row),
    Quantity("the first row", _first_row),
    Quantity("the last value", _last_value),
    Quantity("the last column", _last_column),
)


def cuts_of(steps: Sequence[Steps]) -> list[Quantity]:
    """Return the cuts that leave something out of one of these cases at least: (N, C) has no columns."""
    return [cut for cut in CUTS if not all(cut.value(s).all() for s in steps)]


def _whole_blocks(size: int, s: Steps) -> Array:
    kept = np.ones((s.n, 1, *s.x.shape[2:]))
    if s.n > size:
        kept[s.n - s.n % size :] = 0
    return kept


# Sizes of blocks that code is written with.
_BLOCKS = (4, 8, 10, 16, 20, 25, 32, 50, 64, 100, 128, 200, 250, 256, 500, 512, 1000, 1024)


def blocks_of(steps: Sequence[Steps]) -> list[Quantity]:
    """Return the cuts by a loop over whole blocks of rows that leave something out of each of these cases.

    Batches of one block and less are whole: code that takes the block for all is another path.
    """
    sizes = [size for size in _BLOCKS if all(s.n > size and s.n % size for s in steps)]
    return [Quantity(f"what is behind the last whole block of {b} rows", partial(_whole_blocks, b)) for b in sizes]


# ---------------------------------------------------------------------------------------------------------------- sums


_PRODUCTS: dict[str, Callable[[Steps], Array]] = {
    "dy": lambda s: s.dy,
    "dy * xhat": lambda s: s.dy * s.back_xhat,
    "dy * x": lambda s: s.dy * s.x,
    "dy * y": lambda s: s.dy * s.y,
    "dy / (x - mu)": lambda s: s.dy / s.back_centred,
    "dy * xhat**2": lambda s: s.dy * s.back_xhat**2,
    "abs(dy)": lambda s: absolute(s.dy),
    "abs(dy * xhat)": lambda s: absolute(s.dy * s.back_xhat),
    "dy + xhat": lambda s: s.dy + s.back_xhat,
    "dy - xhat": lambda s: s.dy - s.back_xhat,
    "d(x - mu)": lambda s: (s.right("direct_path") + s.right("variance_path")) / (s.back_gamma * s.back_inv_std),
    "x": lambda s: s.x,
    "x**2": lambda s: s.x**2,
    "dy**2": lambda s: s.dy**2,
}
_OF_ALL_CHANNELS: dict[str, Callable[[Steps], Array]] = {
    "dy": lambda s: s.dy,
    "dxhat": lambda s: s.dxhat,
    "dy * xhat": lambda s: s.dy * s.back_xhat,
    "dxhat * xhat": lambda s: s.dxhat * s.back_xhat,
    "dxhat / std": lambda s: s.dxhat * s.back_inv_std,
    "dxhat * xhat / std": lambda s: s.dxhat * s.back_xhat * s.back_inv_std,
    "dxhat * (x - mu)": lambda s: s.dxhat * s.back_centred,
}


def sums(right: str) -> list[Quantity]:
    """Return sums over the values of a channel, the right one first: whole, cut, and over all channels.

    Parameters
    ----------
    right : str
        The product that should be summed: "dy" or "dy * xhat".

    """
    found = [Quantity(f"sum({right})", partial(_sum, _PRODUCTS[right]), 0.0)]
    found += [Quantity(f"sum({text})", partial(_sum, of)) for text, of in _PRODUCTS.items() if text != right]
    for text in dict.fromkeys((right, "dy", "dy * xhat", "d(x - mu)")):
        cost = 0.3 if text == right else 1.0
        found += [
            Quantity(f"sum({text}) without {cut.text}", partial(_sum_of_cut, _PRODUCTS[text], cut), cost)
            for cut in CUTS
        ]
    found += [
        Quantity(f"sum({text}) over all channels", partial(_sum_of_all, of)) for text, of in _OF_ALL_CHANNELS.items()
    ]
    # dgamma as sum(dy * x) - mu * sum(dy), over the deviation.
    found += [
        Quantity("(sum(dy * x) + mu * sum(dy))", lambda s: s.sum(s.dy * s.x) + s.mu * s.sum(s.dy), 1.0),
        Quantity("(sum(dy * x) - sum(dy) / mu)", lambda s: s.sum(s.dy * s.x) - s.sum(s.dy) / s.mu, 1.0),
    ]
    for cut in CUTS:
        found += [
            Quantity(f"(sum(dy * x) without {cut.text} - mu * sum(dy))", partial(_apart, cut, None), 1.0),
            Quantity(f"(sum(dy * x) - mu * sum(dy) without {cut.text})", partial(_apart, None, cut), 1.0),
        ]
    found += [
        Quantity("1", lambda s: 1 + 0 * s.gamma),
        Quantity("mu", lambda s: s.mu + 0 * s.gamma),
        Quantity("beta", lambda s: s.beta),
        Quantity("sum(dy) * mean(dy * xhat)", lambda s: s.sum(s.dy) * s.mean(s.dy * s.back_xhat), 1.0),
    ]
    return found


def _sum(of: Callable[[Steps], Array], s: Steps) -> Array:
    return s.sum(of(s))


def _sum_of_cut(of: Callable[[Steps], Array], cut: Quantity, s: Steps) -> Array:
    return s.sum(of(s) * cut.value(s))


def _apart(first: Quantity | None, second: Quantity | None, s: Steps) -> Array:
    products = s.sum(s.dy * s.x * (1 if first is None else first.value(s)))
    found: Array = products - s.mu * s.sum(s.dy * (1 if second is None else second.value(s)))
    return found


def _sum_of_all(of: Callable[[Steps], Array], s: Steps) -> Array:
    found: Array = of(s).sum() + 0 * s.gamma
    return found


# ------------------------------------------------------------------------------------------------------------- patterns


def patterns(ranks: Sequence[int]) -> list[Quantity]:
    """Return arrays of x's shape, beside dy, 1 and xhat, that a wrong dx may be made of."""
    found = [
        Quantity("dy * xhat", lambda s: s.dy * s.back_xhat),
        Quantity("dy * xhat**2", lambda s: s.dy * s.back_xhat**2),
        Quantity("xhat**2", lambda s: s.back_xhat**2),
        Quantity("dy / xhat", lambda s: s.dy / s.back_xhat),
        Quantity("1 / xhat", lambda s: 1 / s.back_xhat + 0 * s.dy),
        Quantity("dy**2", lambda s: s.dy**2),
    ]
    for cut in CUTS:
        found += [
            Quantity(f"dy, 0 in {cut.text},", partial(_cut, lambda s: s.dy, cut)),
            Quantity(f"1, 0 in {cut.text},", partial(_cut, lambda s: 1 + 0 * s.dy, cut)),
            Quantity(f"xhat, 0 in {cut.text},", partial(_cut, lambda s: s.back_xhat, cut)),
        ]
    # Both, for one is not the other times a count of `factors`: a mean over N and H is W / m times the sum. And who
    # divides the sum by m has not divided the mean by W.
    kinds = (("sum", Steps.sum, 0.6), ("mean", Steps.mean, 0.7))
    names = [name for name in other_axes(ranks) if name != "nothing"]
    for name, (kind, reduction, cost), (text, of) in product(names, kinds, _OF_ALL_CHANNELS.items()):
        over = partial(_over, of, name, reduction)
        said = f"({kind} of {text} over {name})"
        if "* " in text:
            found.append(Quantity(f"xhat * {said}", _times_xhat(over), cost))
        else:
            found.append(Quantity(said, over, cost))
    return found


def _cut(of: Callable[[Steps], Array], cut: Quantity, s: Steps) -> Array:
    return of(s) * cut.value(s)


def _over(of: Callable[[Steps], Array], name: str, reduction: Callable[..., Array], s: Steps) -> Array:
    return reduction(s, of(s), axes_of(name)(s)) + 0 * s.dy


def _times_xhat(of: Callable[[Steps], Array]) -> Callable[[Steps], Array]:
    return lambda s: of(s) * s.back_xhat
