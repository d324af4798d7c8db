"""What fitted coefficients are: the right ones, 0, or a factor times something of the formulas.

One fault in one term, two in two, and one before the whole come out alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from bncheck.bugs.catalogue import BUGS, Choice, Sample, Version
from bncheck.bugs.factors import Factor, Factors
from bncheck.bugs.fits import BASE, FITTED, Fit, Solved
from bncheck.bugs.quantities import Quantity, sums
from bncheck.bugs.steps import PATHS, Array, Steps


def _coefficient(s: Steps, path: Array, array: Quantity) -> Array:
    """Return how much of an array there is in a path."""
    along = array.value(s)
    found: Array = s.sum(path * along) / s.sum(along * along)
    return found


class Part(NamedTuple):
    """A coefficient in words: a factor times a quantity."""

    quantity: Quantity
    factor: Factor

    @property
    def cost(self) -> float:
        """How much stands in it."""
        return self.quantity.cost + self.factor.cost

    def value(self, s: Steps) -> Array:
        """Return it per channel."""
        with np.errstate(all="ignore"):
            return self.factor.value(s) * self.quantity.value(s)

    def times(self, array: str) -> str:
        """Return it as it is written before an array."""
        factor = "" if self.factor.is_one else self.factor.text
        parts = [part for part in (factor, self.quantity.text, array) if part and part != "1"]
        if parts[:1] == ["-1"] and len(parts) > 1:
            parts = [f"-{parts[1]}", *parts[2:]]
        return " * ".join(f"({part})" if "/ " in part and len(parts) > 1 else part for part in parts) or "1"


def _per_channel(value: Array, s: Steps) -> Array:
    """Return one value for each channel; a number that is none where a user's statistic differs within a channel."""
    value = np.asarray(value, dtype=np.float64)
    return np.broadcast_to(value.squeeze(), (s.c,)) if value.size in (1, s.c) else np.full(s.c, np.inf)


class Quantities:
    """Quantities with their values on some samples, to look coefficients up among."""

    def __init__(self, samples: Sequence[Sample], quantities: Sequence[Quantity]) -> None:
        self.quantities = quantities
        with np.errstate(all="ignore"):
            rows = [[_per_channel(q.value(a.steps), a.steps) for a in samples] for q in quantities]
        self.values = np.stack([np.concatenate(row) for row in rows])

    def part(self, values: Sequence[Array], factors: Factors, tolerance: float) -> Part | None:
        """Return the simplest factor times quantity that equals these values on every sample; None if none does."""
        found = np.concatenate([np.ravel(value) for value in values])
        with np.errstate(all="ignore"):
            ratios = found / self.values
        parts = [Part(self.quantities[i], factor) for i, factor in factors.among(ratios, tolerance)]
        return min(parts, key=lambda part: part.cost, default=None)


def _same(a: Sequence[Array], b: Sequence[Array], tolerance: float) -> bool:
    return all(
        np.allclose(x, y, rtol=10 * tolerance, atol=tolerance * np.abs(y).max()) for x, y in zip(a, b, strict=True)
    )


_UNIT = Quantity("1", lambda s: 1 + 0 * s.gamma, 0.0)


def _in_place_of(right: str) -> list[Quantity]:
    """Return what may stand beside xhat, or 1, in dx in the place of ``sum(right)``; as means."""

    def mean(quantity: Quantity) -> Quantity:
        text = quantity.text.replace("sum(", "mean(")
        if text == quantity.text:
            return quantity
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
    samples: Sequence[Sample], fit: Fit, factors: Factors, *, plain: bool = False
) -> list[tuple[Version, ...]]:
    """Return sets of bugs that give dx by its coefficients.

    Parameters
    ----------
    samples : sequence of Sample
        Cases on which dx is wrong, with the steps that it is judged relative to.
    fit : Fit
        What dx is made of there.
    factors : Factors
        Of the same cases.
    plain : bool
        Whether coefficients are looked up as factors of the right ones alone.

    """
    tolerance = FITTED[samples[0].steps.case.spec.dtype]
    if any(np.size(a.steps.back_gamma * a.steps.back_inv_std) != a.steps.c for a in samples):
        return []  # a deviation that differs within a channel: the coefficients are not its own
    terms = _Terms(samples, fit, factors, tolerance, plain=plain)
    found: list[tuple[Version, ...]] = []
    commons: dict[str, Factor] = {"1": Factor(1.0, ())}
    for path in PATHS:
        # A factor before the whole of dx is one that some path has.
        factor = terms.factor(path)
        if factor is not None:
            commons.setdefault(factor.text, factor)
    for common in commons.values():
        found += terms.read(common)
    return found


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

    def __init__(self, samples: Sequence[Sample], fit: Fit, factors: Factors, tolerance: float, *, plain: bool) -> None:
        self.samples, self.fit, self.factors, self.tolerance = samples, fit, factors, tolerance
        self.prefixes = [a.steps.back_gamma * a.steps.back_inv_std for a in samples]
        self.found = dict(zip(PATHS, zip(*(c[:3] for c in fit.coefficients), strict=True), strict=True))
        with np.errstate(all="ignore"):
            self.right = {
                path: [_coefficient(a.steps, getattr(a.steps, path), array) for a in samples]
                for path, array in zip(PATHS, BASE, strict=True)
            }
        self.quantities = {path: Quantities(samples, of[:1] if plain else of) for path, (_, _, of) in _WHAT.items()}
        self.plain = plain

    def factor(self, path: str) -> Factor | None:
        """Return the factor between a path's coefficient and the right one."""
        with np.errstate(all="ignore"):
            ratios = [f / r for f, r in zip(self.found[path], self.right[path], strict=True)]
        return self.factors.of(ratios, self.tolerance)

    def read(self, common: Factor) -> list[tuple[Version, ...]]:
        """Return sets of bugs that explain the coefficients, given a factor before the whole."""
        scales = [common.value(a.steps) for a in self.samples]
        options = {path: self._options(path, scales) for path in PATHS}
        if not all(options.values()):
            return []
        extras = []
        for place, array in enumerate(self.fit.arrays[3:], start=3):
            lot = zip(self.fit.coefficients, self.prefixes, scales, strict=True)
            part = self._looked_up("mean_path", [-c[place] / (p * scale) for c, p, scale in lot])
            if part is None:
                return []
            extras.append((array, part))
        head = () if common.is_one else (_scaled("BUG224", common),)
        read = [dict(zip(PATHS, chosen, strict=True)) for chosen in product(*options.values())]
        found = [(*head, *told) for paths in read for told in _told(paths, extras)]
        return [versions for versions in found if 0 < len(versions) <= _MOST]

    def _looked_up(self, path: str, values: Sequence[Array]) -> Part | None:
        return self.quantities[path].part(values, self.factors, self.tolerance)

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
        if not self.plain:
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
        home = _home_of(array, part, left)
        if home is None:
            versions.append(_version("BUG226", part.times(array.text), (array, part), part.cost))
        else:
            left.remove(home)
            # What the mean and the variance path subtract, the direct path adds.
            sign = -1.0 if home == "direct_path" else 1.0
            versions.append(_version(_WHAT[home][1], part.times(array.text), _instead(array, part, sign), part.cost))
    parts = {path: reading.part for path, reading in read.items() if reading.part is not None}
    lean = read["mean_path"].leans
    if lean is not None:
        variance = parts.pop("variance_path", None)
        part = variance or Part(_WHAT["variance_path"][2][0], Factor(1.0, ()))
        array = Quantity(f"({lean.text}) / std", lambda s: (s.back_centred + lean.value(s)) * s.back_inv_std)
        versions.append(_version("BUG218", part.times(array.text), _instead(array, part), part.cost + 0.5))
    if left == ["mean_path", "variance_path"] and not parts and not versions:
        yield (Version(BUGS.get("BUG213"), Choice("", None)),)
        return
    versions += [Version(BUGS.get(_DROPPED[path]), Choice("", None)) for path in left]
    if set(parts) == {"mean_path", "variance_path"} and all(p.quantity.cost == 0.0 for p in parts.values()):
        mean, variance_ = parts["mean_path"].factor, parts["variance_path"].factor
        if mean.text == variance_.text:
            yield (_scaled("BUG227", mean), *versions)
            return
    yield (*versions, *_paths(parts))


def _home_of(array: Quantity, part: Part, lost: Sequence[str]) -> str | None:
    text = f"{part.quantity.text} {array.text}"
    likely = "variance_path" if "xhat" in text else "direct_path" if array.text.startswith("dy,") else "mean_path"
    return likely if likely in lost else lost[-1] if lost else None


def _paths(parts: dict[str, Part]) -> list[Version]:
    found = []
    for path, part in parts.items():
        scaled, other, _ = _WHAT[path]
        if part.quantity.cost == 0.0:
            found.append(_scaled(scaled, part.factor))
        else:
            array = dict(zip(PATHS, BASE, strict=True))[path]
            found.append(_version(other, part.times(array.text), _instead(array, part), part.cost))
    return found


def _instead(array: Quantity, part: Part, sign: float = 1.0) -> Callable[[Steps], Array]:
    return lambda s: sign * part.value(s) * array.value(s)


def _version(code: str, text: str, value: Any, cost: float, said: str = "") -> Version:
    return Version(BUGS.get(code), Choice(text, value, cost / 10, said))


# Factors that readers know by another name.
_SAID = {
    "-1": "{what} has the wrong sign",
    "2": "{what} is twice what it should be",
    "1/2": "{what} is half of what it should be",
    "m": "{what} is m times too large: it is not averaged",
    "1 / m": "{what} is divided by m once too often",
    "H W": "{what} is H·W times too large: it is divided by N, and not by m = N·H·W",
    "(m/(m - 1))": "{what} is divided by m - 1, and not by m",
    "m / C": "{what} is divided by C, and not by m",
    "gamma": "{what} has gamma once too often",
    "1 / gamma": "gamma is missing in {what}",
    "std": "{what} is not divided by the standard deviation, as often as it should be",
    "1 / std": "{what} is divided by the standard deviation once too often",
}
_SAID_OF = {
    ("dgamma", "1 / m"): "dgamma is averaged over the batch, and not summed",
    ("dbeta", "1 / m"): "dbeta is averaged over the batch, and not summed",
    ("the variance path of dx", "std**2"): "dvar has the power -1/2 of var + eps, and not -3/2",
}
CALLED = {
    "BUG221": "the direct path of dx",
    "BUG222": "the mean path of dx",
    "BUG223": "the variance path of dx",
    "BUG224": "dx",
    "BUG227": "both means in dx",
    "BUG311": "dgamma",
    "BUG411": "dbeta",
}


def _scaled(code: str, factor: Factor) -> Version:
    what = CALLED[code]
    said = _SAID_OF.get((what, factor.text)) or _SAID.get(factor.text, "").format(what=what)
    return _version(code, factor.text, factor, factor.cost, said)


def readings_of_sum(tensor: str, samples: Sequence[Sample], factors: Factors) -> list[tuple[Version, ...]]:
    """Return the bug that gives dgamma or dbeta as a factor times a sum."""
    values = [np.asarray(sample.found.get(tensor)) for sample in samples]
    if not samples or any(v.size != a.steps.c or v.dtype.kind != "f" for v, a in zip(values, samples, strict=True)):
        return []
    lookup = Quantities(samples, sums("dy * xhat" if tensor == "dgamma" else "dy"))
    part = lookup.part(values, factors, FITTED[samples[0].steps.case.spec.dtype])
    scaled, other = ("BUG311", "BUG303") if tensor == "dgamma" else ("BUG411", "BUG402")
    if part is None or (part.quantity.cost == 0.0 and part.factor.is_one):
        return []
    if part.quantity.cost == 0.0:
        return [(_scaled(scaled, part.factor),)]
    return [(_version(other, part.times(""), part.value, part.cost),)]


class Line(NamedTuple):
    """Y as a line in x per channel: its slope and its mean share over the right ones, and the share explained."""

    slope: Array
    mean_share: Array
    error: float
    share: float


def line_of_y(sample: Sample) -> Line | None:
    """Fit y to a line in x, channel by channel; None where y has another shape, or is not finite."""
    s, y = sample.steps, np.asarray(sample.found["y"])
    if y.shape != s.x.shape or not np.isfinite(y).all():
        return None
    centred = s.x - s.mean(s.x)
    slope = s.sum(centred * y) / s.sum(centred**2)
    offset = s.mean(y) - slope * s.mean(s.x)
    left = slope * s.x + offset - y
    moved = float(((y - s.mean(y)) ** 2).sum())
    share = 1 - float((left**2).sum()) / moved if moved else 1.0
    with np.errstate(all="ignore"):
        of_slope = slope / (s.gamma * s.inv_std)
        of_mean = (s.beta - offset) / (s.gamma * s.inv_std * s.mu)
    return Line(of_slope, of_mean, float(np.abs(left).max()) / (float(np.abs(y).max()) or 1.0), share)


def readings_of_y(samples: Sequence[Sample], factors: Factors) -> list[tuple[Version, ...]]:
    """Return the bug that gives y as another line in x per channel, its slope and mean share with a factor each."""
    lines = [line_of_y(sample) for sample in samples]
    if any(
        line is None or line.error > FITTED[a.steps.case.spec.dtype] for line, a in zip(lines, samples, strict=True)
    ):
        return []
    slopes, shares = [line.slope for line in lines if line], [line.mean_share for line in lines if line]
    tolerance = FITTED[samples[0].steps.case.spec.dtype]
    slope_factor, share_factor = factors.of(slopes, tolerance), factors.of(shares, 10 * tolerance)
    if slope_factor is None or share_factor is None or (slope_factor.is_one and share_factor.is_one):
        return []
    parts = [("", slope_factor, "x"), ("- ", share_factor, "mu")]
    line = " ".join(f"{sign}{'' if f.is_one else f'({f.text}) * '}gamma / std * {of}" for sign, f, of in parts)
    cost = 1.0 + slope_factor.cost + share_factor.cost
    return [(_version("BUG134", f"{line} + beta", (slope_factor, share_factor), cost),)]
