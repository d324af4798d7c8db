"""Right forms of the formulas that are the same function until one step is wrong.

A backward may be written in stages or closed, with xhat kept or made anew, with the second term of dmu. Right, these
are the same; with a fault they are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import Version
from bncheck.bugs.evidence import Observed
from bncheck.bugs.steps import FORWARD, STEPS, Array, Step, Steps

Replaced = Mapping[str, Step]


def _closed(s: Steps) -> Array:
    found: Array = -s.back_gamma * s.back_inv_std * s.back_xhat * s.mean(s.dy * s.back_xhat)
    return found


# Right forms of the formulas that differ as soon as one step is wrong: in stages, closed, with xhat computed anew, with
# the second term of dmu (0 if x is centred); a variance taken by itself.
FORMS: tuple[Replaced, ...] = (
    {},
    {"variance_path": _closed},
    {"back_xhat": lambda s: s.back_centred * s.back_inv_std},
    {"variance_path": _closed, "back_xhat": lambda s: s.back_centred * s.back_inv_std},
    {"mean_path": lambda s: -s.mean(s.direct_path + s.variance_path)},
    {"mean_path": lambda s: -s.mean(s.direct_path + s.variance_path), "variance_path": _closed},
)


def _anew(power: int) -> Step:
    """Return the variance path with inv_std**3 of which some powers are made of var and eps anew."""

    def path(s: Steps) -> Array:
        cubed = s.inv_std ** (3 - power) * (s.var + s.eps) ** (-power / 2)
        found: Array = s.sum(s.dxhat * s.back_centred) * -0.5 * cubed * 2 * s.back_centred / s.m
        return found

    return path


# Where the forward's inv_std is wrong, a backward that makes its own of var and eps has the right formula.
RECOMPUTED: tuple[Replaced, ...] = (
    {"back_inv_std": lambda s: s.right("inv_std")},
    {"back_inv_std": lambda s: s.right("inv_std"), "variance_path": _closed},
    {"back_inv_std": lambda s: s.right("inv_std"), "back_xhat": lambda s: s.back_centred * s.back_inv_std},
    *({"variance_path": _anew(power)} for power in (1, 2, 3)),
)
FORWARD_FORMS: tuple[Replaced, ...] = ({}, {"var": lambda s: s.mean((s.x - s.mean(s.x)) ** 2)})


def from_returned(seen: Sequence[Observed], tensor: str) -> Iterator[dict[str, Step]]:
    """Yield dx by the closed formula, made with dgamma or dbeta (or both) as the user's code returned them."""
    if tensor != "dx":
        return
    names = ("dgamma", "dbeta")
    sizes = {k: [np.size(o.found.get(k, ())) for o in seen] for k in names}
    given = {
        k for k in names if all(n in (o.case.gamma.size, o.case.x.size) for n, o in zip(sizes[k], seen, strict=True))
    }

    def of(name: str) -> Step:
        def path(s: Steps) -> Array:
            total = _as_x(s.returned[name], s) / s.m
            found: Array = -s.back_gamma * s.back_inv_std * (s.back_xhat * total if name == "dgamma" else total)
            return found

        return path

    paths = {"dgamma": "variance_path", "dbeta": "mean_path"}
    for used in (("dgamma",), ("dbeta",), names):
        if given.issuperset(used):
            yield {paths[name]: of(name) for name in used}


def _as_x(value: Any, s: Steps) -> Array:
    """Return what the user's code returned for dgamma or dbeta as it broadcasts against x; not summed, too."""
    found: Array = np.asarray(value)
    if found.size == s.gamma.size:
        return found.reshape(s.gamma.shape)
    if found.shape == s.x.shape:
        return found
    return np.moveaxis(found.reshape(s.n, *s.x.shape[2:], s.c), -1, 1)


# What the two ways of a step are made of: they are one function as long as all of this is right. Of the other steps
# nothing is known.
_BACK = {*FORWARD, "back_gamma", "back_inv_std", "back_centred", "back_xhat", "dxhat", "dvar"}
_MADE_OF = {
    "back_xhat": {*FORWARD, "back_inv_std", "back_centred"},
    "variance_path": _BACK,
    "mean_path": {*_BACK, "dmu", "direct_path", "variance_path"},
    "var": {"mu", "centred"},
}
_EVERY = {*STEPS}


def twins(steps: Sequence[Steps]) -> list[int]:
    """Return for each form of a case the place of the first that has the same value in every step."""
    found: list[int] = []
    for place, one in enumerate(steps):
        same = (other for other in dict.fromkeys(found) if _is_same(steps[other], one))
        found.append(next(same, place))
    return found


def _is_same(one: Steps, other: Steps) -> bool:
    for name in STEPS:
        a, b = np.asarray(getattr(one, name)), np.asarray(getattr(other, name))
        if a is not b and (a.shape != b.shape or not np.abs(a - b).max() <= _SAME * np.abs(a).max()):
            return False
    return True


# Rounding of two forms of one formula.
_SAME = 1e-9


def what_counts(
    forms: Sequence[Replaced], alike: Sequence[int], versions: Mapping[int, Sequence[tuple[Version, ...]]]
) -> Iterator[tuple[Replaced, tuple[Version, ...]]]:
    """Yield forms with wrong versions in them, each function once.

    Parameters
    ----------
    forms : sequence of mappings
        Right forms.
    alike : sequence of int
        For each the place of the first that has the same values: see :func:`twins`.
    versions : mapping
        Sets of wrong versions by that place.

    """
    for place, form in enumerate(forms):
        twin = alike[place]
        for chosen in versions[twin]:
            if place == twin or _differs(form, [forms[i] for i in range(place) if alike[i] == twin], chosen):
                yield form, chosen


def _differs(form: Replaced, before: Sequence[Replaced], versions: Sequence[Version]) -> bool:
    """Tell whether a form is another function than all those before it, of the same values, with these versions."""
    wrong = {name for version in versions for name in version.replaced}
    own = counting(form, wrong)
    return all(counting(other, wrong) != own for other in before)


def counting(form: Replaced, wrong: set[str]) -> dict[str, Step]:
    """Return the part of a form that makes a difference where these steps are wrong."""
    return {name: step for name, step in form.items() if name not in wrong and _MADE_OF.get(name, _EVERY) & wrong}
