"""What the fitted coefficients of dx are: the right ones, 0, or a factor times something of the formulas.

One fault in one term, two in two, and one before the whole come out alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product
from typing import NamedTuple

import numpy as np

from bncheck.bugs.catalogue import BUGS, Choice, Sample, Version
from bncheck.bugs.factors import Factor, Factors
from bncheck.bugs.fits import BASE, FITTED, Fit, Solved
from bncheck.bugs.parts import Part, Quantities, scaled, version
from bncheck.bugs.quantities import Quantity, sums
from bncheck.bugs.steps import PATHS, Array, Steps


def _coefficient(s: Steps, path: Array, array: Quantity) -> Array:
    """Return how much of an array there is in a path."""
    along = array.value(s)
    found: Array = s.sum(path * along) / s.sum(along * along)
    return found


def _same(a: Sequence[Array], b: Sequence[Array], tolerance: float) -> bool:
    # np.allclose, without the checks of types that take most of its time; nan is close to nothing.
    return all(
        bool(((x == y) | (np.abs(x - y) <= tolerance * (np.abs(y).max() + 10 * np.abs(y)))).all())
        for x, y in zip(a, b, strict=True)
    )


_UNIT = Quantity("1", lambda s: 1 + 0 * s.gamma, 0.0)


# How the name of a sum over all channels ends.
_OF_ALL = ") over all channels"


def _in_place_of(right: str) -> list[Quantity]:
    """Return what may stand beside xhat, or 1, in dx in the place of ``sum(right)``; as means."""

    def mean(quantity: Quantity) -> Quantity:
        text = quantity.text.replace("sum(", "mean(")
        if text == quantity.text:
            return quantity
        if text.endswith(_OF_ALL):
            of = text.removeprefix("mean(").removesuffix(_OF_ALL)
            text = f"(mean of {of} over everything)"
            return Quantity(text, lambda s: quantity.value(s) / (s.m * s.c), quantity.cost)
        return Quantity(text, lambda s: quantity.value(s) / s.m, quantity.cost)

    return [mean(quantity) for quantity in sums(right)]


_WHAT = {
    "direct_path": ("BUG221", "BUG225", [_UNIT, *_in_place_of("dy")]),
    "mean_path": ("BUG222", "BUG217", _in_place_of("dy")),
    "variance_path": ("BUG223", "BUG218", _in_place_of("dy * xhat")),
}
_DROPPED = {"direct_path": "BUG214", "mean_path": "BUG211", "variance_path": "BUG212"}


class _Reading(NamedTuple):
    """What one coefficient may be: in the place of the right one, or beside it; neither where it is right, or gone."""

    part: Part | None = None
    extra: Part | None = None
    gone: bool = False
    leans: Quantity | None = None


def readings(
    samples: Sequence[Sample], fits: Sequence[Fit], factors: Factors, *, single: bool = False
) -> list[tuple[Version, ...]]:
    """Return sets of bugs that give dx by its coefficients.

    Parameters
    ----------
    samples : sequence of Sample
        Cases on which dx is wrong, with the steps that it is judged relative to.
    fits : sequence of Fit
        What dx may be made of there.
    factors : Factors
        Of the same cases.
    single : bool
        Whether one fault alone is looked for, a factor of a right coefficient: beside others that are known.

    """
    known: dict[str, Quantities] = {}
    return [versions for fit in fits for versions in _readings(samples, fit, factors, known, single=single)]


def _readings(
    samples: Sequence[Sample], fit: Fit, factors: Factors, known: dict[str, Quantities], *, single: bool
) -> list[tuple[Version, ...]]:
    """Return the sets of bugs for one fit; `known` is filled with what coefficients are looked up among, by path."""
    tolerance = FITTED[samples[0].steps.case.spec.dtype]
    # Where one fault is looked for, the first case alone rules most out, and they are many.
    for seen in (samples[:1], samples) if single else (samples,):
        if any(np.size(a.steps.back_gamma * a.steps.back_inv_std) != a.steps.c for a in seen):
            return []  # a deviation that differs within a channel: the coefficients are not its own
        terms = _Terms(seen, fit, factors, tolerance, known, single=single)
        if single and not terms.may_be_one_fault():
            return []
    found: list[tuple[Version, ...]] = []
    commons: dict[str, Factor] = {"1": Factor(1.0, ())}
    # A factor before the whole of dx is one that some path has; with one path right it would be one fault of two.
    for path in () if single and terms.has_right_path() else PATHS:
        factor = terms.factor(path)
        if factor is not None:
            commons.setdefault(factor.text, factor)
    for common in commons.values():
        found += terms.read(common)
    return [versions for versions in found if len(versions) == 1] if single else found


# More faults in one tensor than this are no name: whatever it is, it could be put together of so many.
_MOST = 2


def states(samples: Sequence[Sample], fits: Sequence[Solved], factors: Factors) -> dict[str, tuple[str, Factor | None]]:
    """Return for each path whether its coefficient is "right", "gone" or "other", and the factor where there is one."""
    tolerance = FITTED[samples[0].steps.case.spec.dtype]
    # What is fitted beside an unknown rest is off by as much as the rest correlates with the terms.
    loose = tolerance if all(fit.error <= tolerance for fit in fits) else _LOOSE
    found = {}
    for place, (path, array) in enumerate(zip(PATHS, BASE, strict=True)):
        with np.errstate(all="ignore"):
            right = [_coefficient(a.steps, getattr(a.steps, path), array) for a in samples]
            ratios = [fit.coefficients[place] / r for fit, r in zip(fits, right, strict=True)]
        size = max(float(np.abs(value).max()) for value in right)
        state, factor = "other", None
        if all(np.allclose(ratio, 1, rtol=0, atol=10 * loose) for ratio in ratios):
            state = "right"
        elif all(float(np.abs(fit.coefficients[place]).max()) <= 100 * loose * size for fit in fits):
            state = "gone"
        elif loose == tolerance:
            factor = factors.of(ratios, tolerance)
        found[path] = (state, factor)
    return found


_LOOSE = 1e-3


class _Terms:
    """The coefficients of dx beside the right ones."""

    def __init__(
        self,
        samples: Sequence[Sample],
        fit: Fit,
        factors: Factors,
        tolerance: float,
        quantities: dict[str, Quantities],
        *,
        single: bool,
    ) -> None:
        self.samples, self.fit, self.factors, self.tolerance = samples, fit, factors, tolerance
        self.prefixes = [a.steps.back_gamma * a.steps.back_inv_std for a in samples]
        of_paths = [c[:3] for c in fit.coefficients[: len(samples)]]
        self.found = dict(zip(PATHS, zip(*of_paths, strict=True), strict=True))
        with np.errstate(all="ignore"):
            self.right = {
                path: [_coefficient(a.steps, getattr(a.steps, path), array) for a in samples]
                for path, array in zip(PATHS, BASE, strict=True)
            }
        self.single = single
        self._quantities = quantities

    def may_be_one_fault(self) -> bool:
        """Tell whether one path is right, or two have the same factor: one fault leaves no less of dx."""
        if self.has_right_path():
            return True
        crossed = [
            [[f * r for f, r in zip(self.found[a], self.right[b], strict=True)] for a, b in (pair, pair[::-1])]
            for pair in combinations(PATHS, 2)
        ]
        return any(_same(one, other, 10 * self.tolerance) for one, other in crossed)

    def has_right_path(self) -> bool:
        """Tell whether the coefficient of some path is the right one, or near it."""
        return any(_same(self.found[path], self.right[path], 10 * self.tolerance) for path in PATHS)

    def factor(self, path: str) -> Factor | None:
        """Return the factor between a path's coefficient and the right one."""
        with np.errstate(all="ignore"):
            ratios = [f / r for f, r in zip(self.found[path], self.right[path], strict=True)]
        return self.factors.of(ratios, self.tolerance)

    def read(self, common: Factor) -> list[tuple[Version, ...]]:
        """Return sets of bugs that explain the coefficients, given a factor before the whole."""
        scales = [common.value(a.steps) for a in self.samples]
        options: dict[str, list[_Reading]] = {}
        for path in PATHS:
            options[path] = self._options(path, scales)
            if not options[path]:
                return []
        extras = []
        for place, array in enumerate(self.fit.arrays[3:], start=3):
            lot = zip(self.fit.coefficients, self.prefixes, scales, strict=True)
            part = self._looked_up("mean_path", [-c[place] / (p * scale) for c, p, scale in lot])
            if part is None:
                return []
            extras.append((array, part))
        head = () if common.is_one else (scaled("BUG224", common),)
        read = [dict(zip(PATHS, chosen, strict=True)) for chosen in product(*options.values())]
        found = [(*head, *told) for paths in read for told in _told(paths, extras)]
        return [versions for versions in found if 0 < len(versions) <= _MOST]

    def _looked_up(self, path: str, values: Sequence[Array]) -> Part | None:
        if path not in self._quantities:
            of = _WHAT[path][2][: 1 if self.single else None]
            self._quantities[path] = Quantities(self.samples, of)
        return self._quantities[path].part(values, self.factors, self.tolerance)

    def _options(self, path: str, scales: Sequence[Array]) -> list[_Reading]:
        found = self.found[path]
        right = [r * scale for r, scale in zip(self.right[path], scales, strict=True)]
        # Beside the largest coefficient of its kind, what is this small is 0.
        size = max(float(np.abs(value).max()) for value in right)
        if _same(found, right, self.tolerance):
            return [_Reading()]
        if all(float(np.abs(value).max()) <= 100 * self.tolerance * size for value in found):
            return [_Reading(gone=True)]
        sign = 1 if path == "direct_path" else -1
        units = [sign * p * scale for p, scale in zip(self.prefixes, scales, strict=True)]
        with np.errstate(all="ignore"):
            whole = [f / unit for f, unit in zip(found, units, strict=True)]
            beside = [(r - f) * sign / unit for f, r, unit in zip(found, right, units, strict=True)]
        part = self._looked_up(path, whole)
        parts = [_Reading(part=part)]
        if not self.single:
            # A number before the right term is that, and not the term with more of its kind beside it.
            number = part is not None and not part.factor.features and part.quantity.cost == 0.0
            extra = self._looked_up("mean_path", [-sign * b for b in beside] if sign < 0 else beside)
            if extra is not None and (extra.factor.is_one or not number):
                parts.append(_Reading(extra=extra))
        if path == "mean_path":
            parts += self._leaning(found, right)
        return [part for part in parts if part.part or part.extra or part.leans]

    def _leaning(self, found: Sequence[Array], right: Sequence[Array]) -> list[_Reading]:
        """Return what stands for x - mu in the variance path: it adds to what all values have in common."""
        slopes = self.found["variance_path"]
        lot = zip(found, right, slopes, self.samples, strict=True)
        with np.errstate(all="ignore"):
            leans = [(f - r) / slope / a.steps.back_inv_std for f, r, slope, a in lot]
        return [
            _Reading(leans=quantity)
            for quantity in _LEANS
            if all(
                np.allclose(lean, quantity.value(a.steps), rtol=100 * self.tolerance, atol=0)
                for lean, a in zip(leans, self.samples, strict=True)
            )
        ]


# x - mu + this is what stands for x - mu.
_LEANS = (
    Quantity("x", lambda s: s.mu),
    Quantity("x + mu", lambda s: 2 * s.mu),
    Quantity("x - 2 mu", lambda s: -s.mu),
    Quantity("x - var", lambda s: s.mu - s.var),
    Quantity("x - sqrt(var + eps)", lambda s: s.mu - np.sqrt(s.var + s.eps)),
    Quantity("x - beta", lambda s: s.mu - s.beta),
    Quantity("x - gamma", lambda s: s.mu - s.gamma),
)


def _told(read: dict[str, _Reading], extras: Sequence[tuple[Quantity, Part]]) -> Iterator[tuple[Version, ...]]:
    """Yield the bugs that these coefficients come to."""
    lost = [path for path in PATHS if read[path].gone]
    beside = list(extras)
    for path, array in zip(PATHS, BASE, strict=True):
        extra = read[path].extra
        if extra is not None:
            beside.append((array, extra))
    versions = []
    left = list(lost)
    for array, part in beside:
        # A path that is gone, and an array that should not be there: the one stands in the place of the other.
        home, cost = _home_of(array, part, left), part.cost + array.cost
        if home is None:
            versions.append(version("BUG226", part.times(array.text), (array, part), cost))
        else:
            left.remove(home)
            # What the mean and the variance path subtract, the direct path adds.
            sign = -1.0 if home == "direct_path" else 1.0
            versions.append(version(_WHAT[home][1], part.times(array.text), _instead(array, part, sign), cost))
    parts = {path: reading.part for path, reading in read.items() if reading.part is not None}
    lean = read["mean_path"].leans
    if lean is not None:
        variance = parts.pop("variance_path", None)
        part = variance or Part(_WHAT["variance_path"][2][0], Factor(1.0, ()))
        array = Quantity(f"({lean.text}) / std", lambda s: (s.back_centred + lean.value(s)) * s.back_inv_std)
        versions.append(version("BUG218", part.times(array.text), _instead(array, part), part.cost + 0.5))
    if left == ["mean_path", "variance_path"] and not parts and not versions:
        yield (Version(BUGS.get("BUG213"), Choice("", None)),)
        return
    versions += [Version(BUGS.get(_DROPPED[path]), Choice("", None)) for path in left]
    if set(parts) == {"mean_path", "variance_path"} and all(p.quantity.cost == 0.0 for p in parts.values()):
        mean, variance_ = parts["mean_path"].factor, parts["variance_path"].factor
        if mean.text == variance_.text:
            yield (scaled("BUG227", mean), *versions)
            return
    yield (*versions, *_paths(parts))


def _home_of(array: Quantity, part: Part, lost: Sequence[str]) -> str | None:
    text = f"{part.quantity.text} {array.text}"
    likely = "variance_path" if "xhat" in text else "direct_path" if array.text.startswith("dy,") else "mean_path"
    return likely if likely in lost else lost[-1] if lost else None


def _paths(parts: dict[str, Part]) -> list[Version]:
    found = []
    for path, part in parts.items():
        of_factor, other, _ = _WHAT[path]
        if part.quantity.cost == 0.0:
            found.append(scaled(of_factor, part.factor))
        else:
            array = dict(zip(PATHS, BASE, strict=True))[path]
            found.append(version(other, part.times(array.text), _instead(array, part), part.cost))
    return found


def _instead(array: Quantity, part: Part, sign: float = 1.0) -> Callable[[Steps], Array]:
    return lambda s: sign * part.value(s) * array.value(s)
