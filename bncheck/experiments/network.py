"""The user's code at work: in a small network, and learning by gradient descent."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from bncheck.case import Case
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.experiments.laws import tries_more
from bncheck.experiments.training import is_tensor, setup
from bncheck.guard import faults_of
from bncheck.model import Evidence, Fault
from bncheck.session import Target

# Inputs of the linear layer before the normalization.
_INPUTS = 3
# Steps of descent, and the batches' factors: powers of two, so that every batch is exact in the dtype.
_FACTORS = (1.0, -0.5, 2.0, 0.25, -1.0)


@experiment("network", needs=("training",))
def network(target: Target, case: Case, seen: Seen) -> Evidence:
    """Run ``z = tanh(BN(W u))`` with loss ``sum(k z)``, and ``tanh(BN(2 W u))`` with four times the eps.

    Arrays: ``u`` (N, K, *spatial), ``w`` (C, K), ``k`` like x; ``x``, ``y``, ``dy``, ``dx`` of the first network, and
    ``scaled_x``, ``scaled_y``, ``scaled_dx`` of the second, whose dy is the first one's.
    """
    if not tries_more(target, case):
        return Evidence("network")
    u, w, k = _inputs(case)
    x = np.einsum("ck,nk...->nc...", w, u).astype(case.x.dtype)
    arrays: dict[str, Any] = {"u": u, "w": w, "k": k, "x": x}
    faults: list[Fault] = []
    with faults_of("forward", faults):
        session = target.open(setup(case))
        y = session.forward(x)
        if not is_tensor(y, x.shape):
            return Evidence("network")
        dy = (k * (1 - np.tanh(y.astype(np.float64)) ** 2)).astype(x.dtype)
        arrays |= {"y": y, "dy": dy, "dx": session.backward(dy)[0]}
        if target.conventions.eps is None:
            # Twice the weights are exact, and so is four times the eps.
            scaled = target.open(replace(setup(case), eps=4 * case.spec.eps))
            arrays["scaled_y"] = scaled.forward(2 * x)
            arrays["scaled_dx"] = scaled.backward(dy)[0]
    facts: dict[str, Any] = {"evaluations": 4, "raised": str(faults[0]) if faults else ""}
    facts |= {"forward_only": target.conventions.forward_only, "eps_set": target.conventions.eps is None}
    shaped = {name: a for name, a in arrays.items() if name in ("u", "w", "k") or is_tensor(a, x.shape)}
    return Evidence("network", {name: np.asarray(a, dtype=np.float64) for name, a in shaped.items()}, facts)


@experiment("descent", needs=("training",))
def descent(target: Target, case: Case, seen: Seen) -> Evidence:
    """Let gamma and beta learn: a few steps ``gamma -= lr dgamma`` on batches made of the case's.

    The loss is ``sum((y - x)**2) / 2`` per batch. Arrays: ``x`` of each step, ``gamma`` and ``beta`` before
    each step and after the last. The fact "lr" is 1 / (2 m): at most half the inverse of the loss's curvature in gamma
    (``sum(xhat**2) <= m``) and in beta (m), so that what a step errs by shrinks in the next.
    """
    if not tries_more(target, case):
        return Evidence("descent")
    lr = 1 / (2 * case.spec.m)
    gamma, beta = case.gamma.astype(np.float64), case.beta.astype(np.float64)
    found: dict[str, list[Any]] = {"x": [], "gamma": [gamma], "beta": [beta]}
    faults: list[Fault] = []
    with faults_of("forward", faults):
        for factor in _FACTORS:
            x = (factor * case.x).astype(case.x.dtype)
            gamma, beta = (found[name][-1].astype(x.dtype) for name in ("gamma", "beta"))
            session = target.open(replace(setup(case), gamma=gamma.copy(), beta=beta.copy()))
            y = session.forward(x)
            if not is_tensor(y, x.shape):
                return Evidence("descent")
            dy = (y - x).astype(x.dtype)
            _, dgamma, dbeta, *_ = session.backward(dy)
            if not (is_tensor(dgamma, gamma.shape) and is_tensor(dbeta, beta.shape)):
                return Evidence("descent")
            found["gamma"].append(gamma.astype(np.float64) - lr * dgamma)
            found["beta"].append(beta.astype(np.float64) - lr * dbeta)
            found["x"].append(x)
    facts = {"evaluations": 2 * len(_FACTORS), "raised": str(faults[0]) if faults else "", "lr": lr}
    arrays = {} if faults else {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}
    return Evidence("descent", arrays, facts)


def _inputs(case: Case) -> tuple[Any, Any, Any]:
    """Return u, W and k: dyadic numbers in ±[1/8, 1) of few bits, so that W u is exact but in the half dtypes."""
    spec = case.spec
    shapes = ((spec.n, _INPUTS, *spec.spatial), (spec.c, _INPUTS), spec.shape)
    bits = np.random.PCG64(np.random.SeedSequence([spec.seed, 4]))
    drawn = []
    for shape in shapes:
        raw = bits.random_raw(math.prod(shape)).reshape(shape)
        size = ((raw >> np.uint64(58)).astype(np.float64) % 56 + 8) / 64
        drawn.append(np.where(raw & np.uint64(1), size, -size))
    return drawn[0], drawn[1], drawn[2]
