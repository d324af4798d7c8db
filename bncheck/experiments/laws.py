"""Training steps that the laws of Batch Normalization tie to the case's own: no oracle has to be asked.

Every law says of a changed step what its results are in terms of the unchanged one's. The evidence holds the changed
results carried back, so that a law that holds makes ``<law>.<tensor>`` equal to the tensor of the training step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bncheck.case import Case
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.experiments.training import is_tensor, setup
from bncheck.guard import faults_of
from bncheck.model import GRADIENTS, TENSORS, Evidence, Fault
from bncheck.session import Target

Found = Mapping[str, Any]

# The laws are the same for every case: they are tried where numbers are few, and many cases are not needed. A law costs
# one or two steps, all of them about as much as the line probe; what else has few ways to be wrong, on less still.
_ELEMENTS = 512
_FEW_ELEMENTS = 64
_ONE_DRAW_IN = 8
# Steps of another shape are compiled anew by some libraries: they are left to small recipes.
_ROWS = 8
# JAX compiles anew for every shape and every kind of call: there a few ordinary cases have to do.
_COMPILING = "jax"
_COMPILED_ON = ("plain", "custom", "shrunk")


def interpreted(target: Target, case: Case) -> bool:
    """Tell whether calls cost what they compute, or the case is one of the few for which compiling is worth it."""
    return target.conventions.framework != _COMPILING or case.spec.recipe in _COMPILED_ON


def tries_laws(target: Target, case: Case) -> bool:
    """Tell whether the laws are tried on a case: small, more than one value per channel, and one draw in eight."""
    spec = case.spec
    if not interpreted(target, case):
        return False
    drawn = spec.recipe == "draw" and spec.seed % _ONE_DRAW_IN
    return not drawn and spec.m > 1 and case.x.size <= _ELEMENTS


def tries_more(target: Target, case: Case) -> bool:
    """Tell whether what costs more, or has fewer ways to be wrong, is tried: on the smallest of those cases."""
    return tries_laws(target, case) and case.x.size <= _FEW_ELEMENTS


def _may_change_shape(case: Case) -> bool:
    return case.spec.recipe != "draw" and case.spec.n <= _ROWS


@dataclass(frozen=True)
class _Steps:
    """Runs single training steps of a target, each in a fresh session."""

    target: Target
    case: Case

    def run(self, x: Any, dy: Any, gamma: Any = None, beta: Any = None) -> Found:
        """Return y and the gradients of one step; those of a shape that does not fit are left out."""
        gamma, beta = (own if given is None else given for given, own in ((gamma, self.gamma), (beta, self.beta)))
        session = self.target.open(replace(setup(self.case), gamma=gamma.copy(), beta=beta.copy()))
        found: dict[str, Any] = {"y": session.forward(x)}
        found |= zip(GRADIENTS, session.backward(dy)[:3], strict=True)
        shapes = {"y": x.shape, "dx": x.shape, "dgamma": gamma.shape, "dbeta": beta.shape}
        return {k: np.asarray(found[k], dtype=np.float64) for k in TENSORS if is_tensor(found[k], shapes[k])}

    def forward(self, gamma: Any, beta: Any) -> Any:
        """Return y of the case's x with other parameters."""
        session = self.target.open(replace(setup(self.case), gamma=gamma, beta=beta))
        return np.asarray(session.forward(self.case.x), dtype=np.float64)

    @property
    def gamma(self) -> Any:
        return self.case.gamma

    @property
    def beta(self) -> Any:
        return self.case.beta


@experiment("laws", needs=("training",))
def laws(target: Target, case: Case, seen: Seen) -> Evidence:
    """Run the steps of all laws. Arrays "<law>.<tensor>"; the fact "raised" says which laws raised, and what."""
    if not tries_laws(target, case):
        return Evidence("laws")
    steps = _Steps(target, case)
    arrays: dict[str, Any] = {}
    raised: dict[str, str] = {}
    count = 0
    for law, changed, calls in _LAWS:
        faults: list[Fault] = []
        with faults_of("forward", faults):
            found = changed(steps, seen["training"].arrays)
            arrays |= {f"{law}.{tensor}": value for tensor, value in found.items()}
            count += calls if found else 0
        if faults:
            raised[law] = str(faults[0])
    layouts = target.conventions.layouts
    facts = {"raised": raised, "evaluations": count, "both": "NC" in layouts and len(layouts) > 1}
    return Evidence("laws", arrays, facts)


def _shifted(steps: _Steps, own: Found) -> Found:
    """Law 2: x + c, with a constant per channel, gives the same y and the same gradients."""
    case = steps.case
    peak = np.abs(case.x).max(axis=case.axes, keepdims=True).astype(np.float64)
    shift = np.where(peak > 0, np.exp2(np.floor(np.log2(np.where(peak > 0, peak, 1.0)))), 1.0).astype(case.x.dtype)
    moved = case.x + shift
    back = moved - case.x  # the two-sum: what rounding took away from the sum (Knuth, TAOCP 2, 4.2.2, theorem B)
    if ((case.x - (moved - back)) + (shift - back)).any():
        return {}
    return steps.run(moved, case.dy)


def _permuted(steps: _Steps, own: Found) -> Found:
    """Law 4: the batch in another order gives y and dx in that order, and the same dgamma and dbeta."""
    case = steps.case
    order = np.roll(np.arange(len(case.x))[::-1], 1)
    found = steps.run(case.x[order], case.dy[order])
    back = np.argsort(order)
    return {name: value[back] if name in ("y", "dx") else value for name, value in found.items()}


def _other_channels(steps: _Steps, own: Found) -> Found:
    """Law 5: with all other channels changed, one channel's results stay. The rest is filled up from the own step."""
    case = steps.case
    if case.spec.c == 1:
        return {}
    kept = case.spec.seed % case.spec.c
    others = np.arange(case.spec.c) != kept
    wide = others.reshape(-1, *[1] * (case.x.ndim - 2))
    x, dy = (np.where(wide, -2 * a[::-1], a) for a in (case.x, case.dy))
    gamma, beta = (np.where(others, -2 * a, a) for a in (steps.gamma, steps.beta))
    found = steps.run(x, dy, gamma, beta)
    same = {name: wide if name in ("y", "dx") else others for name in found}
    return {name: np.where(same[name], own[name], value) for name, value in found.items() if name in own}


def _sum_of_upstream(steps: _Steps, own: Found) -> Found:
    """Law 6 for backward: the gradients for dy + dy' minus those for dy' are those for dy."""
    case = steps.case
    other = -case.dy[::-1] / 2
    both, one = steps.run(case.x, case.dy + other), steps.run(case.x, other)
    return {name: both[name] - one[name] for name in GRADIENTS if name in both and name in one}


def _sum_of_parameters(steps: _Steps, own: Found) -> Found:
    """Law 6 for the forward: y is affine in (gamma, beta); with p' = -p/2 it is y(p + p') - y(p') + y(0)."""
    gamma, beta = steps.gamma, steps.beta
    ys = [steps.forward(factor * gamma, factor * beta) for factor in (gamma.dtype.type(f) for f in (0.5, -0.5, 0.0))]
    return {"y": ys[0] - ys[1] + ys[2]} if all(y.shape == steps.case.x.shape for y in ys) else {}


def _repeated(steps: _Steps, own: Found) -> Found:
    """Law 7: the batch twice gives y and dx twice, and twice the dgamma and dbeta."""
    case = steps.case
    if not _may_change_shape(case):
        return {}
    found = steps.run(np.concatenate([case.x] * 2), np.concatenate([case.dy] * 2))
    half = len(case.x)
    return {name: value[half:] if name in ("y", "dx") else value / 2 for name, value in found.items()}


def _flattened(steps: _Steps, own: Found) -> Found:
    """Law 9: (N, C, H, W) gives what (N*H*W, C) gives, if the target takes both."""
    case = steps.case
    if not case.spec.spatial or "NC" not in steps.target.conventions.layouts or not _may_change_shape(case):
        return {}
    last = np.moveaxis(case.x, 1, -1).shape
    flat = [np.moveaxis(a, 1, -1).reshape(-1, case.spec.c) for a in (case.x, case.dy)]
    found = steps.run(*flat)
    return {
        name: np.moveaxis(value.reshape(last), -1, 1) if name in ("y", "dx") else value for name, value in found.items()
    }


Law = Callable[[_Steps, Found], Found]
_LAWS: tuple[tuple[str, Law, int], ...] = (
    ("shift", _shifted, 2),
    ("permutation", _permuted, 2),
    ("channels", _other_channels, 2),
    ("upstream", _sum_of_upstream, 4),
    ("parameters", _sum_of_parameters, 3),
    ("repetition", _repeated, 2),
    ("space", _flattened, 2),
)
