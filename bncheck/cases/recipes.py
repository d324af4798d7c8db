"""The corners where hand-written Batch Normalization goes wrong, one recipe each; its docstring says what lives there.

Unless a recipe is about them, N and C differ, H differs from W, and eps, mean, sd and dy are ordinary: so what fails in
one recipe alone fails because of its corner. All recipes together have about 34 000 elements of x.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import wraps
from itertools import product

from bncheck.case import CaseSpec
from bncheck.registry import Registry

Recipe = Callable[[], Sequence[CaseSpec]]

RECIPES: Registry[Recipe] = Registry("recipe", "bncheck.cases")


def recipe(name: str) -> Callable[[Callable[[], Iterable[CaseSpec]]], Recipe]:
    """Return a decorator that registers a generator of cases under `name`, and labels its cases with it."""

    def decorate(function: Callable[[], Iterable[CaseSpec]]) -> Recipe:
        @wraps(function)
        def labelled() -> Sequence[CaseSpec]:
            return [replace(spec, recipe=name) for spec in function()]

        return RECIPES.add(name, labelled)

    return decorate


# --------------------------------------------------------------------------------------------------------------- shapes


@recipe("plain")
def plain() -> Iterable[CaseSpec]:
    """Nothing special: every wrong formula fails here first, on few numbers."""
    return CaseSpec(n=4, c=3), CaseSpec(n=8, c=5), CaseSpec(n=5, c=3, spatial=(2, 3))


@recipe("one-value")
def one_value() -> Iterable[CaseSpec]:
    """One value per channel: var is 0, m/(m - 1) divides by zero; the answer is y = beta, dx = 0, never NaN."""
    return CaseSpec(n=1, c=1), CaseSpec(n=1, c=4)


@recipe("batch-one")
def batch_one() -> Iterable[CaseSpec]:
    """N = 1 with spatial axes: averages over N alone, squeezed axes, instance norm mistaken for batch norm."""
    return CaseSpec(n=1, c=3, spatial=(7,)), CaseSpec(n=1, c=3, spatial=(4, 5))


@recipe("batch-few")
def batch_few() -> Iterable[CaseSpec]:
    """N = 2 and 3: m/(m - 1) is largest, so biased and unbiased variance differ most; xhat is near +-1."""
    return CaseSpec(n=2, c=3), CaseSpec(n=3, c=2)


@recipe("batch-odd")
def batch_odd() -> Iterable[CaseSpec]:
    """Odd N: halves of a batch split by ``N // 2``, unrolled loops by two and four."""
    return (CaseSpec(n=n, c=4) for n in (5, 11))


@recipe("batch-power-of-two")
def batch_power_of_two() -> Iterable[CaseSpec]:
    """Powers of two and their neighbours: tail loops of vectorised and blocked code, buffers of 64 or 128 rows."""
    return (CaseSpec(n=n, c=3) for n in (15, 16, 17, 31, 33, 63, 64, 65, 127, 129))


@recipe("batch-thousand")
def batch_thousand() -> Iterable[CaseSpec]:
    """N of 1000 and more: fixed buffers, block counts (MIOpen above 768), factors 1/N that vanish in tolerances."""
    return (CaseSpec(n=n, c=c) for n, c in ((1000, 3), (1023, 2), (4096, 2)))


@recipe("channel-one")
def channel_one() -> Iterable[CaseSpec]:
    """C = 1: axes that are squeezed away, sums over all axes that happen to be right, shape (1,) against ()."""
    return CaseSpec(n=6, c=1), CaseSpec(n=5, c=1, spatial=(3, 2))


@recipe("channels-many")
def channels_many() -> Iterable[CaseSpec]:
    """More channels than samples, and than a block of 64 or 128: statistics over the wrong axis, channel tails."""
    return CaseSpec(n=5, c=17), CaseSpec(n=9, c=64), CaseSpec(n=7, c=130), CaseSpec(n=3, c=33, spatial=(2, 3))


@recipe("square")
def square() -> Iterable[CaseSpec]:
    """N = C (= H = W): broadcasting along the wrong axis raises nothing; with N = C it is wrong without a trace."""
    return CaseSpec(n=4, c=4), CaseSpec(n=3, c=3, spatial=(3, 3))


@recipe("spatial-line")
def spatial_line() -> Iterable[CaseSpec]:
    """(N, C, L): three axes, for which (N, C) code averages over the batch alone and 4-D code transposes wrongly."""
    return CaseSpec(n=4, c=3, spatial=(5,)), CaseSpec(n=17, c=2, spatial=(9,))


@recipe("spatial-plane")
def spatial_plane() -> Iterable[CaseSpec]:
    """(N, C, H, W) with H != W: 1/N where 1/(N H W) belongs, swapped H and W, channels taken from the last axis."""
    shapes = ((2, 3, 4, 5), (2, 16, 3, 5), (16, 4, 5, 3), (33, 3, 8, 7), (2, 2, 17, 33))
    return (CaseSpec(n=n, c=c, spatial=(h, w)) for n, c, h, w in shapes)


@recipe("spatial-single")
def spatial_single() -> Iterable[CaseSpec]:
    """Spatial axes of size 1: squeezed shapes, 1-D results where 4-D ones are due."""
    return CaseSpec(n=6, c=3, spatial=(1, 1)), CaseSpec(n=5, c=2, spatial=(1, 4))


@recipe("spatial-volume")
def spatial_volume() -> Iterable[CaseSpec]:
    """(N, C, D, H, W): axes counted by hand."""
    return CaseSpec(n=2, c=3, spatial=(2, 3, 2)), CaseSpec(n=5, c=2, spatial=(3, 2, 4))


# --------------------------------------------------------------------------------------------------------------- values


@recipe("constant-channel")
def constant_channel() -> Iterable[CaseSpec]:
    """Channels without variance: 0/0, a negative E[x^2] - E[x]^2 under the root, eps outside it or missing."""
    return (
        CaseSpec(n=8, c=3, constant=1),
        CaseSpec(n=8, c=3, constant=3),
        CaseSpec(n=6, c=2, constant=1, mean=1000.0),
        CaseSpec(n=3, c=2, spatial=(2, 3), constant=1),
    )


@recipe("mean-large")
def mean_large() -> Iterable[CaseSpec]:
    """Mean far above the spread: E[x^2] - E[x]^2 cancels, loses all digits or goes negative."""
    yield CaseSpec(n=8, c=3, mean=1e4)
    yield CaseSpec(n=8, c=3, mean=1e6)
    yield CaseSpec(n=7, c=16, mean=1e8)
    yield CaseSpec(n=33, c=3, spatial=(7, 8), mean=1e4)


@recipe("spread")
def spread() -> Iterable[CaseSpec]:
    """Tiny and huge spreads: powers of the standard deviation (1, 2, 3) mixed up, eps that drowns the variance."""
    return (CaseSpec(n=8, c=3, sd=sd) for sd in (1e-6, 1000.0))


@recipe("eps")
def eps() -> Iterable[CaseSpec]:
    """Every eps in use, and large ones: eps ignored, hard-coded, outside the root, or missing in the backward."""
    return (CaseSpec(n=7, c=3, eps=eps) for eps in (1e-12, 1e-8, 1e-3, 0.1, 10.0))


@recipe("eps-near-variance")
def eps_near_variance() -> Iterable[CaseSpec]:
    """Variance about eps: sqrt(var) + eps, (var + eps)**2 and one eps for another differ most from what is right."""
    pairs = ((1e-12, 1e-6), (1e-5, 0.003), (1e-3, 0.03), (0.1, 0.3), (10.0, 3.0))
    return (CaseSpec(n=6, c=4, eps=eps, sd=sd) for eps, sd in pairs)


@recipe("gamma")
def gamma() -> Iterable[CaseSpec]:
    """Gamma 0, negative, all 1: divided by gamma (backward from y), abs(gamma), and what gamma = 1 hides."""
    return (CaseSpec(n=7, c=3, gamma=kind) for kind in ("zero", "negative", "one"))


@recipe("upstream-scale")
def upstream_scale() -> Iterable[CaseSpec]:
    """Huge and tiny dy: clipped or squared gradients, absolute tolerances, half precision."""
    return (CaseSpec(n=7, c=3, dy_scale=scale) for scale in (1e6, 1e-6))


@recipe("momentum")
def momentum() -> Iterable[CaseSpec]:
    """Momentum far from 1/2 on either side: old and new statistics swapped, Bessel's factor from N instead of N H W."""
    return CaseSpec(n=5, c=3, momentum=0.9), CaseSpec(n=3, c=2, spatial=(2, 3), momentum=0.3)


@recipe("memory")
def memory() -> Iterable[CaseSpec]:
    """Memory in other orders, with gaps, read-only: flat indexing, reshape that copies, inputs changed in place."""
    kinds = ("F", "strided", "readonly")
    shapes = (CaseSpec(n=6, c=4), CaseSpec(n=3, c=4, spatial=(2, 5)))
    yield from (replace(shape, memory=kind) for shape, kind in product(shapes, kinds))
    yield CaseSpec(n=3, c=4, spatial=(2, 5), memory="channels_last")
