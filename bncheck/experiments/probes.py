"""Line probes: the derivative of the user's own forward against the gradients of the user's own backward.

A probe moves x, gamma and beta along one random line, ``x + t vx, gamma + t vgamma, beta + t vbeta``, and follows
``phi_c(t)``, the sum over channel c of ``dy * forward(...)``. If the user's gradients are right, then
``phi_c(t) - sum(dx * (x_t - x)) - dgamma * (gamma_t - gamma) - dbeta * (beta_t - beta)`` has derivative 0 at t = 0,
where x_t is the input after rounding to the dtype. The derivative that is left is the error of the gradients along the
line.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from bncheck.case import Case
from bncheck.core import line_probe
from bncheck.core.tolerance import DECIDABLE, UNIT_ROUNDOFF, K, decide
from bncheck.core.truth import allowances, forward_of, in_parts
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.experiments.laws import interpreted
from bncheck.experiments.moves import Float, Line, moved, per_channel
from bncheck.experiments.training import is_tensor
from bncheck.guard import faults_of
from bncheck.model import GRADIENTS, Evidence, Fault, Outcome
from bncheck.report import Probed
from bncheck.session import Setup, Target

if TYPE_CHECKING:
    from bncheck.case import Array
    from bncheck.core.reference import Forward

# As many nodes are evaluated side by side as have this many elements, and at least one: half a MiB stays in the
# second cache, and a probe never holds more than a few tensors of the input's size.
_BLOCK_ELEMENTS = 2**16


@experiment("joint-probe", needs=("training",))
def joint_probe(target: Target, case: Case, seen: Seen) -> Evidence:
    """Move everything whose gradient is there at once: one probe vouches for dx, dgamma and dbeta together."""
    line = Line.random(case, tuple(name for name in GRADIENTS if name in seen["training"].arrays), salt=1)
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
        found = _probe(tensor, target, case, Line.random(case, (tensor,), salt=2), seen["training"])
        evaluations += found.facts["evaluations"]
        channel = 0
        if found.fault is None:
            outcome, channel = decide(np.abs(found.arrays["residual"]), found.arrays["bar"], found.arrays["scale"])
            if outcome is Outcome.FAIL:
                line = Line.random(case, (tensor,), salt=3).only(channel)
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
            line = Line.unit(case, tensor, index)
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


def _probe(
    name: str, target: Target, case: Case, line: Line, claims: Evidence | None, *, together: bool = False
) -> Evidence:
    """Probe along a line; with `claims` the residual of the claimed gradients, without them the derivative itself.

    With `together` the nodes of a small case are evaluated in few calls where that gives the same.
    """
    noise, scale = _noise_and_scale(case, line)
    calls, found, fault = _followed(target, case, line, claims, noise, together=together)
    if together and fault is None and _blinded(found, scale):
        more, found, fault = _followed(target, case, line, claims, noise, together=False)
        calls += more
    facts = {"evaluations": calls, "radius": line_probe.RADIUS[case.spec.dtype]}
    if fault is not None:
        return Evidence(name, {}, facts, fault)
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


def _followed(
    target: Target, case: Case, line: Line, claims: Evidence | None, noise: Float, *, together: bool
) -> tuple[int, line_probe.Slope, Fault | None]:
    """Follow phi along a line; return the calls it took, the slope per channel and of their total, and what was raised.

    The total needs no independence of channels; its errors add up like independent ones.
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
    total, its_noise = values.sum(axis=1, keepdims=True), [np.sqrt((noise**2).sum())]
    found = line_probe.slope(np.append(values, total, axis=1), radius, np.append(noise, its_noise))
    return calls, found, faults[0] if faults else None


def _blinded(found: line_probe.Slope, scale: Float) -> bool:
    """Tell whether a slope decides nothing for another reason than rounding as it is known beforehand.

    So it is where code is right for as many channels as the case has, and not for those of all nodes side by side.
    """
    if not np.isfinite(found.value).all():
        return True
    bar, floor = found.bar[:-1], found.floor[:-1]
    return not (K * bar <= DECIDABLE * scale).any() and bool((K * floor <= DECIDABLE * scale).any())


def _blocks(case: Case) -> list[slice]:
    step = max(1, min(line_probe.NODES, _BLOCK_ELEMENTS // max(1, case.x.size)))
    return [slice(i, min(i + step, line_probe.NODES)) for i in range(0, line_probe.NODES, step)]


def _one_by_one(target: Target, case: Case, line: Line, steps: Float, claims: Evidence | None) -> Float:
    """Return phi less what the claims make of it, (steps, C), from one call for each step."""
    inputs = moved(case, line, steps, claims)
    phi = []
    for i in range(len(steps)):
        y = _forward(target, case, inputs.xs[:, i], inputs.gammas[i], inputs.betas[i])
        phi.append(per_channel(y[:, None], case.dy))
    return np.concatenate(phi) - inputs.change


def _side_by_side(
    target: Target, case: Case, line: Line, steps: Float, claims: Evidence | None, own: Array | None
) -> Float | None:
    """Return the same from one call with the steps side by side as channels; None where that is not the same.

    Channels of a Batch Normalization do not know of each other. Whether this one's do not is seen at the case itself,
    which stands among the steps: amid all those other channels, neither first nor last, it has to give `own`, the y
    that it gave alone. The steps are symmetric about the case, and would leave a mean over all of them as it is; so a
    stranger stands there, too. Alone and amid others y may differ by what two evaluations of a right one may. Without
    `own` nothing is looked at.
    """
    half, guests = len(steps) // 2, 0 if own is None else 2
    inputs = moved(case, line, np.concatenate([steps[:half], guests * (0.0,), steps[half:]]), claims)
    if guests:
        with np.errstate(over="ignore"):
            inputs.xs[:, half + 1] = -2 * case.x[::-1]
            inputs.gammas[half + 1] = -2 * case.gamma[::-1]
            inputs.betas[half + 1] = -2 * case.beta[::-1]
    n, k, c = inputs.xs.shape[:3]
    merged = inputs.xs.reshape(n, k * c, *inputs.xs.shape[3:])
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
    phi = per_channel(ys, case.dy) - inputs.change
    return np.concatenate([phi[:half], phi[half + guests :]])


def _forward(target: Target, case: Case, x: Array, gamma: Array, beta: Array) -> Any:
    """Return y of a fresh session, which may be the code's own buffer; it is given x itself where it can be."""
    spec = case.spec
    session = target.open(Setup(gamma, beta, spec.eps, spec.momentum, spec.memory))
    return getattr(session, "evaluate", session.forward)(x)


def _noise_and_scale(case: Case, line: Line) -> tuple[Float, Float]:
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
    relative, are shared by the channel: they meet ``sum(dy)`` and ``sum(dy * xhat)``. What moves of gamma and beta
    grows with the step: of a gamma of 0 nothing else is rounded, and no plateau shows what errs alike at all nodes.
    """
    u, axes = UNIT_ROUNDOFF[part.spec.dtype], part.axes
    dy = part.dy.astype(np.float64, copy=False)
    inv_std, xhat = fwd.inv_std, fwd.xhat
    if not np.isfinite(inv_std).all():
        inv_std, xhat = np.where(np.isfinite(inv_std), inv_std, 0.0), np.nan_to_num(xhat)
    gamma, beta = np.abs(part.gamma.astype(np.float64)), np.abs(part.beta.astype(np.float64))
    growing = line_probe.GROWING * line_probe.RADIUS[part.spec.dtype]
    moved_gamma, moved_beta = gamma + growing * np.abs(vgamma), beta + growing * np.abs(vbeta)
    condition = np.maximum(part.x.max(axis=axes), -part.x.min(axis=axes)).astype(np.float64) * inv_std
    dy_xhat, dy_abs = dy * xhat, np.abs(dy)
    shared = condition * np.abs(dy.sum(axis=axes)) + 0.5 * np.abs(dy_xhat.sum(axis=axes))
    norm = np.sqrt((dy * dy).sum(axis=axes))
    noise = u * (norm * (moved_gamma * (1.0 + condition) + moved_beta) + math.sqrt(fwd.m) * moved_gamma * shared)
    scale = (dy_abs * np.abs(vx)).sum(axis=axes) * gamma * inv_std
    scale = scale + np.abs(dy_xhat).sum(axis=axes) * np.abs(vgamma)
    scale = scale + dy_abs.sum(axis=axes) * np.abs(vbeta)
    return noise, scale
