"""Finding eps: whether it can be set, and its value where it is hard-coded.

y is affine in x with slope ``gamma * inv_std``. With gamma = 1, ``1 / slope**2 = var + eps`` for eps inside the root,
whatever the variance. Measured at variances from 1e-24 to 1, the smallest gives eps almost without error, and the
others say whether that form holds at all.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np

from bncheck import guard
from bncheck.adapters.probe import EPS, MOMENTUM
from bncheck.adapters.protocol import Leaving, Parameters, Reading
from bncheck.adapters.target import Way, canonical

# From 1e-8 on, what a check may meet; below, so that a tiny eps such as 1e-32 is told from none at all.
_VARIANCES = (1e-24, 1e-20, 1e-16, 1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
# Relative accuracy asked of a form: of float64 code first (a few elements lose 1e-15), then of float32 inside.
_ACCURACIES = (1e-12, 1e-9, 1e-5)
_SIZES = {2: (4, 3), 3: (4, 3, 2), 4: (4, 3, 2, 5), 5: (4, 3, 2, 2, 5)}
_FALLBACK = 1e-5
# A share of the largest y or dx. Where the variance is eps, another eps changes dx by half its relative difference:
# more than this for one that is 0.2% larger, while float32 errs by a millionth or so.
_UNLIKE = 1e-3


class Eps(NamedTuple):
    """How eps reaches the code ("argument", "attribute", "fixed"), its value if it is fixed, and a note.

    The source "ignored" is a fixed one beside an eps that the code accepts, and does not use. An `assumed` value was
    not measured.
    """

    source: str
    value: float | None
    note: str = ""
    assumed: bool = False


class _Form(NamedTuple):
    """One way in which eps may enter: ``slope ** -power = scale * var ** exponent + eps``."""

    power: int
    exponent: float
    note: str


_FORMS = (
    _Form(2, 1.0, ""),
    _Form(1, 0.5, "eps seems to sit outside the root: y is divided by sqrt(var) + eps"),
    _Form(1, 1.0, "y seems to be divided by var + eps, without the root"),
)


def find_eps(reading: Reading, way: Way) -> Eps:
    """Return how eps reaches the code of a reading that works with `way`."""
    place = reading.eps
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if place is not None and _responds(reading, way):
            return Eps(place.source, None)
        try:
            found = _infer(reading, way)
        except KeyboardInterrupt:
            raise
        except BaseException:
            # What raises without an eps of ours is assumed to have the usual one, and the report says so.
            found = Eps("fixed", _FALLBACK, f"eps could not be measured; {_FALLBACK:g} is assumed", assumed=True)
    if place is None or not (place.certain or place.named):
        return found
    if place.certain and found.assumed:  # a forward without any eps is wrong in another way
        return Eps(place.source, None)
    return _ignored(found, place.named or "an argument")


def _ignored(found: Eps, named: str) -> Eps:
    """Return what is said about an eps that the code accepts and does not use."""
    if named.startswith("attribute"):  # it may be there for something else
        return found._replace(note="; ".join(filter(None, (f"{named} is not the eps of the forward", found.note))))
    note = f"eps is accepted as {named} and ignored: {found.value:g} is used whatever it is"
    return Eps("ignored", found.value, "; ".join(filter(None, (note, found.note))))


def default_eps_differs(reading: Reading, way: Way) -> str:
    """Return how forward and backward disagree where neither is told eps, "" where they agree, or where one has to be.

    The forward's own eps is measured; told that one, forward and backward are to give the y and dx that they give
    untold. Where y is another one, what was measured is not what the code calls eps (``var + eps**2``).
    """
    bare = reading.untold() if isinstance(reading, Leaving) else None
    if bare is None:
        return ""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            own = _infer(bare, way)
            if own.assumed or not own.value:
                return ""
            # Where the variance is that eps, another one makes another dx.
            told, left = (_step(r, way, own.value, own.value)[1:] for r in (reading, bare))
        except KeyboardInterrupt:
            raise
        except BaseException:  # what needs an eps says so
            return ""
    if not _is_like(told[0], left[0]) or _is_like(told[1], left[1]):
        return ""
    return f"told no eps, the forward takes {own.value:g}, and the backward does not"


def _is_like(one: Any, other: Any) -> bool:
    """Tell whether two results are alike, or are nothing that can be compared."""
    if one is None or other is None or not np.isfinite(one).all():
        return True
    return bool(np.abs(one - other).max() <= _UNLIKE * np.abs(one).max())


def _responds(reading: Reading, way: Way) -> bool:
    """Tell whether y depends on the eps that is handed over."""
    try:
        small, large = (_forward(reading, way, 1.0, eps)[1] for eps in (EPS, 1.0))
    except KeyboardInterrupt:
        raise
    except BaseException:
        return True  # code that cannot stand another eps has read it
    if not (np.isfinite(small).all() and np.isfinite(large).all()):
        return True  # what is no number shows nothing
    return not np.allclose(small, large, rtol=1e-6, atol=0.0)


def _forward(reading: Reading, way: Way, variance: float, eps: float) -> tuple[Any, Any]:
    """Return x and y in the canonical layout for channels of the given variance, gamma = 1 and beta = 0."""
    x, y, _ = _step(reading, way, variance, eps, backward=False)
    return x, y


def _step(reading: Reading, way: Way, variance: float, eps: float, *, backward: bool = True) -> tuple[Any, Any, Any]:
    """Return x, y and dx of one step like that; dx is None without a backward."""
    sizes = _SIZES[len(way.layout.name)]
    x = np.random.default_rng(7).normal(0.0, 1.0, sizes)
    axes = (0, *range(2, len(sizes)))
    x -= x.mean(axis=axes, keepdims=True)
    x *= np.sqrt(variance / np.mean(x * x, axis=axes, keepdims=True))
    gamma, beta = way.parameter(np.ones(sizes[1])), way.parameter(np.zeros(sizes[1]))
    given = way.batch(x)
    x = way.layout.canonical(given).astype(float)  # as it is in the dtype that the code gets
    with guard.user_code():
        run = reading.start(Parameters(gamma, beta, eps, MOMENTUM, axis=way.layout.channel_axis))
        y = run.forward(given, True)
        dx = run.backward(way.batch(np.random.default_rng(8).normal(0.0, 1.0, sizes))).dx if backward else None
    y, dx = (None if a is None else np.asarray(canonical(a, way.layout, given.shape), dtype=float) for a in (y, dx))
    return x, y, dx


def _infer(reading: Reading, way: Way) -> Eps:
    """Return the fixed eps that the slopes of y against x speak for."""
    variances, slopes = [], []
    for variance in _VARIANCES:
        x, y = _forward(reading, way, variance, EPS)
        rows = tuple(np.moveaxis(a, 1, 0).reshape(a.shape[1], -1) for a in (x, y))
        xc, yc = (a - a.mean(axis=1, keepdims=True) for a in rows)
        variances.append(np.mean(xc * xc, axis=1))
        slopes.append(np.sum(xc * yc, axis=1) / np.sum(xc * xc, axis=1))
    var, slope = np.array(variances), np.array(slopes)
    for accuracy in _ACCURACIES:
        for form in _FORMS:
            for scaled in (False, True):
                found = _consistent(var, slope, form, accuracy, scaled)
                if found is not None:
                    return _describe(found, form, accuracy, scaled)
    return Eps("fixed", _FALLBACK, f"eps could not be inferred from y; {_FALLBACK:g} is assumed", assumed=True)


def _consistent(var: Any, slope: Any, form: _Form, accuracy: float, scaled: bool) -> float | None:
    """Return the one eps that `form` gives at every variance, None if it gives several.

    `scaled` allows one factor on the variance, such as m / (m - 1) for the unbiased one.
    """
    left, spread = slope ** -float(form.power), var**form.exponent
    scale = (left[-1] - left[0]) / (spread[-1] - spread[0]) if scaled else 1.0
    estimates = left - scale * spread
    eps = float(np.median(estimates[0]))
    if not np.isfinite(estimates).all() or not np.all(np.asarray(scale) > 0):
        return None
    allowed = accuracy * (np.abs(scale * spread) + abs(eps))
    if np.any(np.abs(estimates - eps) > allowed):
        return None
    # What is lost in the rounding of the smallest variance is no eps.
    return 0.0 if abs(eps) <= float(np.max(allowed[0])) or eps < 0 else eps


def _describe(eps: float, form: _Form, accuracy: float, scaled: bool) -> Eps:
    notes = [form.note] if form.note and eps else []
    if scaled:
        notes.append("the variance carries a constant factor (unbiased?)")
    if not eps:
        notes.append("no eps at all: a constant channel divides by zero")
        return Eps("fixed", 0.0, "; ".join(notes))
    error = 10 * accuracy * (eps + _VARIANCES[0])
    nice = next((n for n in (float(f"{eps:.{d}e}") for d in range(3)) if abs(n - eps) <= error), eps)
    return Eps("fixed", nice, "; ".join(notes))
