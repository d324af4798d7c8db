"""Line probes: the derivative of the user's own forward against the gradients of the user's own backward.

A probe moves x, gamma and beta along one random line, ``x + t vx, gamma + t vgamma, beta + t vbeta``, and follows
``phi_c(t)``, the sum over channel c of ``dy * forward(...)``. If the user's gradients are right, then
``phi_c(t) - sum(dx * (x_t - x)) - dgamma * (gamma_t - gamma) - dbeta * (beta_t - beta)`` has derivative 0 at t = 0,
where x_t is the input after rounding to the dtype. The derivative that is left is the error of the gradients along the
line.

Each channel of x moves by its own ``sqrt(var + eps)`` times numbers r in ±[1/2, 1]. Along that line
``var + eps`` is ``s**2 (1 + 2 a t + b t**2)`` with b = var(r) <= 1, so that the forward's poles, its roots, lie at
distance 1/sqrt(b) >= 1 from 0 whatever the case: what the line probe's radii are chosen for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bncheck.case import Case
from bncheck.core import line_probe
from bncheck.core.tolerance import UNIT_ROUNDOFF, K, decide
from bncheck.core.truth import allowances, forward_of, in_parts, statistics
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.experiments.laws import interpreted
from bncheck.experiments.training import is_tensor
from bncheck.guard import faults_of
from bncheck.model import GRADIENTS, Evidence, Fault, Outcome, Setup, Target
from bncheck.report import Probed

if TYPE_CHECKING:
    from bncheck.case import Array
    from bncheck.core.reference import Forward

Float = NDArray[np.float64]

# As many nodes are evaluated side by side as have this many elements, and at least one: half a MiB stays in the
# second cache, and a probe never holds more than a few tensors of the input's size.
_BLOCK_ELEMENTS = 2**16


@experiment("joint-probe", needs=("training",))
def joint_probe(target: Target, case: Case, seen: Seen) -> Evidence:
    """Move everything whose gradient is there at once: one probe vouches for dx, dgamma and dbeta together."""
    line = _Line.random(case, tuple(name for name in GRADIENTS if name in seen["training"].arrays), salt=1)
    return _probe("joint-probe", target, case, line, seen["training"], together=_takes_many(target, case))


def _takes_many(target: Target, case: Case) -> bool:
    """Tell whether many channels at once are no burden, and whether one that minds the others can be seen by its y.

    A program may have room for no more than it was written for. A channel with gamma = 0 is beta whatever it minds.
    """
    return interpreted(target, case) and target.conventions.adapter != "exec" and bool(case.gamma.all())


@experiment("lone-probes", needs=("training",))
def lone_probes(target: Target, case: Case, seen: Seen) -> Evidence:
    """Move x alone, gamma alone, beta alone, in fresh directions; what is outside its bar, once more by one channel.

    Sums per channel take for granted that channels are independent. The second probe does not: with one channel moving
    and the sum over all of y followed, ``sum(dx * vx)`` is the derivative whatever the forward mixes. What is recorded
    per tensor is the error of the last probe in the sum over all of y, its bar, and the most suspicious channel.
    """
    arrays: dict[str, Any] = {}
    evaluations = 0
    for tensor in GRADIENTS:
        if tensor not in seen["training"].arrays:
            continue
        found = _probe(tensor, target, case, _Line.random(case, (tensor,), salt=2), seen["training"])
        evaluations += found.facts["evaluations"]
        channel = 0
        if found.fault is None:
            outcome, channel = decide(np.abs(found.arrays["residual"]), found.arrays["bar"], found.arrays["scale"])
            if outcome is Outcome.FAIL:
                line = _Line.random(case, (tensor,), salt=3).only(channel)
                found = _probe(tensor, target, case, line, seen["training"])
                evaluations += found.facts["evaluations"]
        if found.fault is not None:
            return Evidence("lone-probes", {}, {"evaluations": evaluations}, found.fault)
        error, bar = abs(float(found.arrays["total"])), float(found.arrays["total_bar"])
        arrays |= {f"{tensor}.error": error, f"{tensor}.bar": bar, f"{tensor}.channel": channel}
    return Evidence("lone-probes", arrays, {"evaluations": evaluations})


@experiment("element-probes", needs=("training",))
def element_probes(target: Target, case: Case, seen: Seen) -> Evidence:
    """Measure every single derivative of ``sum(dy * forward)`` along unit vectors: for small cases, to say where."""
    arrays: dict[str, Any] = {}
    evaluations = 0
    for tensor, shape in (("dx", case.x.shape), ("dgamma", case.gamma.shape), ("dbeta", case.beta.shape)):
        numeric, bar = np.zeros(shape), np.zeros(shape)
        for index in np.ndindex(*shape):
            line = _Line.unit(case, tensor, index)
            found = _probe(tensor, target, case, line, None)
            evaluations += found.facts["evaluations"]
            if found.fault is not None:
                return Evidence("element-probes", {}, {"evaluations": evaluations}, found.fault)
            length = float(np.abs(line.part(tensor)[index]))
            numeric[index] = found.arrays["total"] / length
            bar[index] = found.arrays["total_bar"] / length
        arrays |= {tensor: numeric, f"{tensor}.bar": bar}
    return Evidence("element-probes", arrays, {"evaluations": evaluations})


def probed(evidence: Evidence | None) -> Probed | None:
    """Return what a probe saw in its worst channel, for the eye; None where nothing was probed."""
    if evidence is None or "coefficients" not in evidence.arrays:
        return None
    seen = evidence.arrays
    error = np.abs(seen["residual"])
    channel = decide(error, seen["bar"], seen["scale"])[1]
    return Probed(
        channel=channel,
        radius=float(evidence.facts["radius"]),
        coefficients=tuple(seen["coefficients"][:, channel].tolist()),
        level=float(seen["level"][channel]),
        error=float(error[channel]),
        allowed=K * float(seen["bar"][channel]),
    )


@dataclass(frozen=True, slots=True)
class _Line:
    """A direction in (x, gamma, beta); x's in the canonical layout, all float64."""

    vx: Float
    vgamma: Float
    vbeta: Float

    @classmethod
    def random(cls, case: Case, moving: tuple[str, ...], salt: int) -> _Line:
        shapes = {"dx": case.x.shape, "dgamma": case.gamma.shape, "dbeta": case.beta.shape}
        sizes = [math.prod(shape) if name in moving else 0 for name, shape in shapes.items()]
        bits = np.random.PCG64(np.random.SeedSequence([case.spec.seed, salt]))
        drawn = np.split(_draw(bits, sum(sizes)), np.cumsum(sizes)[:-1])
        # gamma and beta are of order 1; steps of order 1 make dx, dgamma and dbeta weigh alike in the probe.
        vx, vgamma, vbeta = (
            part.reshape(shape) if part.size else np.zeros(shape)
            for part, shape in zip(drawn, shapes.values(), strict=True)
        )
        vx *= _wide(_spread(case), case)
        return cls(vx, vgamma, vbeta)

    @classmethod
    def unit(cls, case: Case, tensor: str, index: tuple[int, ...]) -> _Line:
        line = cls(np.zeros(case.x.shape), np.zeros(case.gamma.shape), np.zeros(case.beta.shape))
        line.part(tensor)[index] = _spread(case)[index[1]] if tensor == "dx" else 1.0
        return line

    def part(self, tensor: str) -> Float:
        return {"dx": self.vx, "dgamma": self.vgamma, "dbeta": self.vbeta}[tensor]

    def only(self, channel: int) -> _Line:
        keep = np.zeros(self.vgamma.shape)
        keep[channel] = 1.0
        return _Line(self.vx * keep.reshape(-1, *[1] * (self.vx.ndim - 2)), self.vgamma * keep, self.vbeta * keep)


def _draw(bits: np.random.PCG64, count: int) -> Float:
    """Return numbers in ±[1/2, 1), dyadic with 11 bits, from raw bits (the same on every machine)."""
    # A word has 64 bits, little-endian on every machine: four numbers.
    raw = bits.random_raw(-(-count // 4)).astype("<u8", copy=False).view("<u2")[:count]
    numbers = (raw >> 6).astype(np.float64)
    numbers += 1024.0
    numbers *= 1 / 2048
    return np.negative(numbers, out=numbers, where=(raw & 1).astype(bool))


def _spread(case: Case) -> Float:
    spread: Float = 1.0 / statistics(case).inv_std
    # A constant channel without eps has no scale of its own.
    return np.where(np.isfinite(spread) & (spread > 0), spread, 1.0)


def _wide(per_channel: Float, case: Case) -> Float:
    """Return a (C,) array broadcast over the shape of x."""
    return np.broadcast_to(per_channel.reshape(-1, *[1] * (case.x.ndim - 2)), case.x.shape)


def _probe(
    name: str, target: Target, case: Case, line: _Line, claims: Evidence | None, *, together: bool = False
) -> Evidence:
    """Probe along a line; with `claims` the residual of the claimed gradients, without them the derivative itself.

    With `together` the nodes of a small case are evaluated in few calls where that gives the same.
    """
    faults: list[Fault] = []
    radius = line_probe.RADIUS[case.spec.dtype]
    values = np.zeros((line_probe.NODES, case.gamma.size))
    calls = 0
    own = claims.arrays.get("y") if together and claims is not None else None
    together = own is not None
    with faults_of("forward", faults):
        for block in _blocks(case):
            steps = line_probe.nodes(radius)[block]
            tried = together and len(steps) > 1
            phi = _side_by_side(target, case, line, steps, claims, own) if tried else None
            calls += tried + (phi is None) * len(steps)
            together, own = phi is not None, None  # what did not do once is not tried again; once is enough
            values[block] = _one_by_one(target, case, line, steps, claims) if phi is None else phi
    facts = {"evaluations": calls, "radius": radius}
    if faults:
        return Evidence(name, {}, facts, faults[0])
    noise, scale = _noise_and_scale(case, line)
    # The total over channels needs no independence of channels; its errors add up like independent ones.
    totals = values.sum(axis=1, keepdims=True), [np.sqrt((noise**2).sum())]
    found = line_probe.slope(np.append(values, totals[0], axis=1), radius, np.append(noise, totals[1]))
    arrays = {
        "residual": found.value[:-1],
        "bar": found.bar[:-1],
        "plateau": found.plateau[:-1],
        "coefficients": found.coefficients[:, :-1],
        "level": found.level[:-1],
        "scale": scale,
        "total": found.value[-1],
        "total_bar": found.bar[-1],
        "total_scale": scale.sum(),
    }
    return Evidence(name, arrays, facts)


def _blocks(case: Case) -> list[slice]:
    step = max(1, min(line_probe.NODES, _BLOCK_ELEMENTS // max(1, case.x.size)))
    return [slice(i, min(i + step, line_probe.NODES)) for i in range(0, line_probe.NODES, step)]


class _Inputs(NamedTuple):
    """Moved inputs, rounded to the dtype: xs (N, steps, C, *spatial), gammas and betas (steps, C)."""

    xs: Array
    gammas: Array
    betas: Array


def _moved(case: Case, line: _Line, steps: Float) -> _Inputs:
    """Return x, gamma and beta at each step."""
    dtype = case.x.dtype
    xs = np.empty((len(case.x), len(steps), *case.x.shape[1:]))
    t = steps.reshape(-1, *[1] * (case.x.ndim - 1))
    for rows in _rows(xs):
        np.multiply(t, line.vx[rows, None], out=xs[rows])
        xs[rows] += case.x[rows, None]
    gammas = case.gamma + steps[:, None] * line.vgamma
    betas = case.beta + steps[:, None] * line.vbeta
    return _Inputs(xs.astype(dtype, copy=False), gammas.astype(dtype, copy=False), betas.astype(dtype, copy=False))


def _rows(xs: Array) -> Iterator[slice]:
    """Yield rows of so many elements that they stay in the second cache."""
    step = max(1, _CACHED // max(1, xs.size // len(xs)))
    yield from (slice(i, i + step) for i in range(0, len(xs), step))


_CACHED = 2**17


def _claimed(case: Case, inputs: _Inputs, claims: Evidence | None) -> Float:
    """Return how much phi changes for each step if the claimed gradients are right, shape (steps, C).

    To be asked for before user code gets x: it may write into it.
    """
    known = {} if claims is None else claims.arrays
    change = np.zeros(inputs.gammas.shape)
    if "dx" in known:
        for rows in _rows(inputs.xs):
            taken = np.subtract(inputs.xs[rows], case.x[rows, None], dtype=np.float64)
            change += _per_channel(taken, known["dx"][rows])
    if "dgamma" in known:
        change += np.subtract(inputs.gammas, case.gamma, dtype=np.float64) * known["dgamma"]
    if "dbeta" in known:
        change += np.subtract(inputs.betas, case.beta, dtype=np.float64) * known["dbeta"]
    return change


def _one_by_one(target: Target, case: Case, line: _Line, steps: Float, claims: Evidence | None) -> Float:
    """Return phi less what the claims make of it, (steps, C), from one call for each step."""
    inputs = _moved(case, line, steps)
    claimed = _claimed(case, inputs, claims)
    phi = []
    for i in range(len(steps)):
        y = _forward(target, case, inputs.xs[:, i], inputs.gammas[i], inputs.betas[i])
        phi.append(_per_channel(y[:, None], case.dy))
    return np.concatenate(phi) - claimed


def _side_by_side(
    target: Target, case: Case, line: _Line, steps: Float, claims: Evidence | None, own: Array | None
) -> Float | None:
    """Return the same from one call with the steps side by side as channels; None where that is not the same.

    Channels of a Batch Normalization do not know of each other. Whether this one's do not is seen at the case itself,
    which stands among the steps: amid all those other channels, neither first nor last, it has to give `own`, the y
    that it gave alone. The steps are symmetric about the case, and would leave a mean over all of them as it is; so a
    stranger stands there, too. Alone and amid others y may differ by what two evaluations of a right one may. Without
    `own` nothing is looked at.
    """
    half, guests = len(steps) // 2, 0 if own is None else 2
    inputs = _moved(case, line, np.concatenate([steps[:half], guests * (0.0,), steps[half:]]))
    if guests:
        with np.errstate(over="ignore"):
            for moved, given in zip(inputs, (case.x, case.gamma, case.beta), strict=True):
                (moved[:, half + 1] if moved is inputs.xs else moved[half + 1])[...] = -2 * given[::-1]
    n, k, c = inputs.xs.shape[:3]
    merged = inputs.xs.reshape(n, k * c, *inputs.xs.shape[3:])
    claimed = _claimed(case, inputs, claims)
    faults: list[Fault] = []
    with faults_of("forward", faults):
        y = _forward(target, case, merged, inputs.gammas.reshape(-1), inputs.betas.reshape(-1))
    if faults or not is_tensor(y, merged.shape):
        return None
    ys = y.reshape(inputs.xs.shape)
    if own is not None:
        differs = np.abs(np.subtract(ys[:, half], own, dtype=np.float64)) > 2 * allowances(case).y
        if differs.any() or not np.isfinite(ys[:, half]).all():
            return None
    phi = _per_channel(ys, case.dy) - claimed
    return np.concatenate([phi[:half], phi[half + guests :]])


def _forward(target: Target, case: Case, x: Array, gamma: Array, beta: Array) -> Any:
    """Return y of a fresh session, which may be the code's own buffer; it is given x itself where it can be."""
    spec = case.spec
    session = target.open(Setup(gamma, beta, spec.eps, spec.momentum, spec.memory))
    return getattr(session, "evaluate", session.forward)(x)


def _per_channel(many: Array, one: Array) -> Float:
    """Sum ``many * one`` over all but the steps and the channels: (N, steps, C, ...) and (N, C, ...) to (steps, C)."""
    n, k, c = many.shape[:3]
    values = many.reshape(n, k, c, -1), one.reshape(n, c, -1)
    result: Float = np.einsum("nkci,nci->kc", *(v.astype(np.float64, copy=False) for v in values))
    return result


def _noise_and_scale(case: Case, line: _Line) -> tuple[Float, Float]:
    """Return, per channel, the rounding error of one phi as known beforehand, and the absolute terms of the slope."""
    found = [
        _of_part(part, forward_of(case, part), line.vx[:, at], line.vgamma[at], line.vbeta[at])
        for at, part in in_parts(case)
    ]
    noise, scale = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return noise, scale


def _of_part(part: Case, fwd: Forward, vx: Float, vgamma: Float, vbeta: Float) -> tuple[Float, Float]:
    """Return noise and scale of some channels.

    Every y is rounded by about ``u |gamma| (1 + max|x|/s) + u |beta|`` on its own: over a sum with dy this grows with
    the norm of dy. The error of mu, about ``u sqrt(m) max|x|`` for a sum in plain order, and that of var, ``u sqrt(m)``
    relative, are shared by the channel: they meet ``sum(dy)`` and ``sum(dy * xhat)``.
    """
    u, axes = UNIT_ROUNDOFF[part.spec.dtype], part.axes
    dy = part.dy.astype(np.float64, copy=False)
    inv_std, xhat = fwd.inv_std, fwd.xhat
    if not np.isfinite(inv_std).all():
        inv_std, xhat = np.where(np.isfinite(inv_std), inv_std, 0.0), np.nan_to_num(xhat)
    gamma, beta = np.abs(part.gamma.astype(np.float64)), np.abs(part.beta.astype(np.float64))
    condition = np.maximum(part.x.max(axis=axes), -part.x.min(axis=axes)).astype(np.float64) * inv_std
    dy_xhat, dy_abs = dy * xhat, np.abs(dy)
    shared = condition * np.abs(dy.sum(axis=axes)) + 0.5 * np.abs(dy_xhat.sum(axis=axes))
    norm = np.sqrt((dy * dy).sum(axis=axes))
    noise = u * (norm * (gamma * (1.0 + condition) + beta) + math.sqrt(fwd.m) * gamma * shared)
    scale = (dy_abs * np.abs(vx)).sum(axis=axes) * gamma * inv_std
    scale = scale + np.abs(dy_xhat).sum(axis=axes) * np.abs(vgamma)
    scale = scale + dy_abs.sum(axis=axes) * np.abs(vbeta)
    return noise, scale
