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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bncheck.case import Case
from bncheck.core import line_probe
from bncheck.core.tolerance import UNIT_ROUNDOFF, K, decide
from bncheck.core.truth import allowances, truth
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.experiments.laws import interpreted
from bncheck.experiments.training import is_tensor
from bncheck.guard import faults_of
from bncheck.model import GRADIENTS, Evidence, Fault, Outcome, Setup, Target
from bncheck.report import Probed

if TYPE_CHECKING:
    from bncheck.case import Array

Float = NDArray[np.float64]

# Small cases are evaluated with all nodes side by side; from this many elements of x on, one node at a time, so that a
# probe never holds more than a few tensors of the input's size.
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
        bits = np.random.PCG64(np.random.SeedSequence([case.spec.seed, salt]))
        spread = _spread(case)
        # gamma and beta are of order 1; steps of order 1 make dx, dgamma and dbeta weigh alike in the probe.
        sizes = {"dx": _wide(spread, case), "dgamma": np.ones(case.gamma.shape), "dbeta": np.ones(case.beta.shape)}
        parts = [size * (_draw(bits, size.shape) if name in moving else 0.0) for name, size in sizes.items()]
        return cls(*parts)

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


def _draw(bits: np.random.PCG64, shape: tuple[int, ...]) -> Float:
    """Return numbers in ±[1/2, 1), dyadic with 11 bits, from raw bits (the same on every machine)."""
    raw = bits.random_raw(math.prod(shape)).reshape(shape)
    size = ((raw >> np.uint64(54)).astype(np.float64) + 1024.0) / 2048.0
    return np.where(raw & np.uint64(1), size, -size)


def _spread(case: Case) -> Float:
    spread: Float = 1.0 / truth(case).forward.inv_std
    # A constant channel without eps has no scale of its own.
    return np.where(np.isfinite(spread) & (spread > 0), spread, 1.0)


def _wide(per_channel: Float, case: Case) -> Float:
    """Return a (C,) array broadcast over the shape of x."""
    return np.broadcast_to(per_channel.reshape(-1, *[1] * (case.x.ndim - 2)), case.x.shape)


def _probe(
    name: str, target: Target, case: Case, line: _Line, claims: Evidence | None, *, together: bool = False
) -> Evidence:
    """Probe along a line; with `claims` the residual of the claimed gradients, without them the derivative itself.

    With `together` the nodes of a small case are evaluated in one call where that gives the same.
    """
    faults: list[Fault] = []
    radius = line_probe.RADIUS[case.spec.dtype]
    values = np.zeros((line_probe.NODES, case.gamma.size))
    calls = 0
    with faults_of("forward", faults):
        for block in _blocks(case):
            steps = line_probe.nodes(radius)[block]
            xs, gammas, betas = inputs = _moved(case, line, steps)
            own = claims.arrays.get("y") if together and claims is not None and len(steps) == line_probe.NODES else None
            ys = None if own is None else _side_by_side(target, case, inputs, own)
            calls += (own is not None) + (ys is None) * len(steps)
            if ys is None:
                ys = np.stack([_forward(target, case, *node) for node in zip(xs, gammas, betas, strict=True)])
            phi = _per_channel(ys.astype(np.float64), case.dy.astype(np.float64))
            values[block] = phi - _claimed(case, line, inputs, claims)
    facts = {"evaluations": calls, "radius": radius}
    if faults:
        return Evidence(name, {}, facts, faults[0])
    noise, scale = _noise_and_scale(case, line)
    per_channel = line_probe.slope(values, radius, noise)
    # The total over channels needs no independence of channels; its errors add up like independent ones.
    total = line_probe.slope(values.sum(axis=1), radius, float(np.sqrt((noise**2).sum())))
    arrays = {
        "residual": per_channel.value,
        "bar": per_channel.bar,
        "plateau": per_channel.plateau,
        "coefficients": per_channel.coefficients,
        "level": per_channel.level,
        "scale": scale,
        "total": total.value,
        "total_bar": total.bar,
        "total_scale": scale.sum(),
    }
    return Evidence(name, arrays, facts)


def _blocks(case: Case) -> list[slice]:
    step = max(1, min(line_probe.NODES, _BLOCK_ELEMENTS // max(1, case.x.size)))
    return [slice(i, min(i + step, line_probe.NODES)) for i in range(0, line_probe.NODES, step)]


Inputs = tuple["Array", "Array", "Array"]


def _moved(case: Case, line: _Line, steps: Float) -> Inputs:
    """Return x, gamma and beta at each step, rounded to the dtype, with the steps as first axis."""
    t = steps.reshape(-1, *[1] * case.x.ndim)
    dtype = case.x.dtype
    x, gamma, beta = (
        case.x + t * line.vx,
        case.gamma + steps[:, None] * line.vgamma,
        case.beta + steps[:, None] * line.vbeta,
    )
    return x.astype(dtype), gamma.astype(dtype), beta.astype(dtype)


def _claimed(case: Case, line: _Line, inputs: Inputs, claims: Evidence | None) -> Float:
    """Return how much phi changes for each step if the claimed gradients are right, shape (steps, C)."""
    xs, gammas, betas = inputs
    change = np.zeros((len(xs), case.gamma.size))
    if claims is not None:
        known = claims.arrays
        if "dx" in known and line.vx.any():
            change += _per_channel(xs.astype(np.float64) - case.x, known["dx"])
        if "dgamma" in known:
            change += (gammas.astype(np.float64) - case.gamma) * known["dgamma"]
        if "dbeta" in known:
            change += (betas.astype(np.float64) - case.beta) * known["dbeta"]
    return change


def _side_by_side(target: Target, case: Case, inputs: Inputs, own: Array) -> Any:
    """Return y at every step from one call, the steps side by side as channels; None where that is not the same.

    Channels of a Batch Normalization do not know of each other. Whether this one's do not is seen at the case itself,
    which stands among the steps: amid all those other channels, neither first nor last, it has to give the y that it
    gave alone. The steps are symmetric about the case, and would leave a mean over all of them as it is; so a stranger
    stands there, too. Alone and amid others y may differ by what two evaluations of a right one may.
    """
    half = len(inputs[0]) // 2
    with np.errstate(over="ignore"):
        guests = [(a, (-2 * a[::-1]).astype(a.dtype)) for a in (case.x, case.gamma, case.beta)]
    xs, gammas, betas = (
        np.concatenate([steps[:half], np.stack(two), steps[half:]]) for steps, two in zip(inputs, guests, strict=True)
    )
    k, n, c = xs.shape[:3]
    x = np.moveaxis(xs, 0, 1).reshape(n, k * c, *xs.shape[3:])
    faults: list[Fault] = []
    with faults_of("forward", faults):
        y = _forward(target, case, x, gammas.reshape(-1), betas.reshape(-1))
    if faults or not is_tensor(y, x.shape):
        return None
    ys = np.moveaxis(y.reshape(n, k, *case.x.shape[1:]), 1, 0)
    same = np.abs(ys[half].astype(np.float64) - own) <= 2 * allowances(case).y
    return np.concatenate([ys[:half], ys[half + 2 :]]) if same.all() else None


def _forward(target: Target, case: Case, x: Array, gamma: Array, beta: Array) -> Any:
    spec = case.spec
    return target.open(Setup(gamma, beta, spec.eps, spec.momentum, spec.memory)).forward(x)


def _per_channel(many: Float, one: Float) -> Float:
    """Sum ``many * one`` over all but the leading axis and the channels: (k, N, C, ...) and (N, C, ...) to (k, C)."""
    k, n, c = many.shape[:3]
    result: Float = np.einsum("knci,nci->kc", many.reshape(k, n, c, -1), one.reshape(n, c, -1))
    return result


def _noise_and_scale(case: Case, line: _Line) -> tuple[Float, Float]:
    """Return, per channel, the rounding error of one phi as known beforehand, and the absolute terms of the slope.

    Every y is rounded by about ``u |gamma| (1 + max|x|/s) + u |beta|`` on its own: over a sum with dy this grows with
    the norm of dy. The error of mu, about ``u sqrt(m) max|x|`` for a sum in plain order, and that of var, ``u sqrt(m)``
    relative, are shared by the channel: they meet ``sum(dy)`` and ``sum(dy * xhat)``.
    """
    u = UNIT_ROUNDOFF[case.spec.dtype]
    axes = case.axes
    fwd = truth(case).forward
    dy = case.dy.astype(np.float64)
    inv_std = np.where(np.isfinite(fwd.inv_std), fwd.inv_std, 0.0)
    gamma, beta = np.abs(case.gamma.astype(np.float64)), np.abs(case.beta.astype(np.float64))
    condition = np.abs(case.x).max(axis=axes).astype(np.float64) * inv_std
    xhat = np.nan_to_num(fwd.xhat)
    shared = condition * np.abs(dy.sum(axis=axes)) + 0.5 * np.abs((dy * xhat).sum(axis=axes))
    norm = np.sqrt((dy * dy).sum(axis=axes))
    noise = u * (norm * (gamma * (1.0 + condition) + beta) + math.sqrt(fwd.m) * gamma * shared)
    scale = (np.abs(dy * line.vx)).sum(axis=axes) * gamma * inv_std
    scale = scale + np.abs(dy * xhat).sum(axis=axes) * np.abs(line.vgamma)
    scale = scale + np.abs(dy).sum(axis=axes) * np.abs(line.vbeta)
    return noise, scale
