"""One training step, and the same once more: what the user's code returns, and what it does to its inputs."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bncheck.case import Case, CaseSpec
from bncheck.core.precision import kind
from bncheck.core.tolerance import UNIT_ROUNDOFF, within
from bncheck.core.truth import allowances, truth
from bncheck.experiments.catalogue import Seen, experiment
from bncheck.guard import changes_noted, class_name, faults_of, printing_counted
from bncheck.model import GRADIENTS, Evidence, Fault, Outcome
from bncheck.session import SavedStatistic, Saving, Setup, Sharing, Target

if TYPE_CHECKING:
    from bncheck.case import Array


@experiment("training")
def training_step(target: Target, case: Case, seen: Seen) -> Evidence:
    """Open, forward, backward."""
    return _step("training", target, case)


# What a layer keeps does not depend on the numbers: of the scripts about that, each draw runs one or two.
_TURNS = 3


def has_its_turn(case: Case, turn: int) -> bool:
    """Tell whether a case runs the script of that turn: every recipe does, and one draw in three."""
    return case.spec.recipe != "draw" or case.spec.seed % _TURNS == turn


@experiment("training-again")
def training_step_again(target: Target, case: Case, seen: Seen) -> Evidence:
    """Do the same in a fresh session: a right implementation returns the same bits."""
    if not has_its_turn(case, 0):
        return Evidence("training-again")
    return _step("training-again", target, case)


@experiment("second-step")
def second_step(target: Target, case: Case, seen: Seen) -> Evidence:
    """Run a step on another batch of another size first, and then the case's own.

    A layer that raises then may take one batch size only: it is asked again with a first batch of the same size. One
    that raised on the first batch already, or whose program ended there, has shown nothing of its second call.
    """
    if not has_its_turn(case, 1):
        return Evidence("second-step")
    found = _step("second-step", target, case, warm_up=1)
    if found.fault is None or found.facts["refused_before"]:
        return found
    same = _step("second-step", target, case, warm_up=0)
    if same.fault is not None:
        return found
    return replace(same, facts={**same.facts, "one_size": str(found.fault)})


@experiment("large-mean")
def large_mean(target: Target, case: Case, seen: Seen) -> Evidence:
    """Run one forward of a small batch whose mean is far above its spread: tells a one-pass variance from others.

    With ``k = mean / sd = u**-0.4`` a one-pass variance errs by about ``k**2 u = u**0.2``, others by ``k u = u**0.6``
    at most a few times m: a factor k = 2e6 in float64 and 800 in float32 lies between. In float16 it is 20,
    in bfloat16 9, and the fact "one_pass" stays away.
    """
    if case.spec.dtype in ("float16", "bfloat16"):
        return Evidence("large-mean")
    large = _batch_of_large_mean(case.spec.dtype, len(case.spec.spatial), case.spec.eps)
    faults: list[Fault] = []
    with faults_of("forward", faults):
        y = target.open(setup(large)).forward(large.x)
    if faults or not is_tensor(y, large.x.shape):
        return Evidence("large-mean", facts={"evaluations": 1})
    outcome, _ = within(np.asarray(y, dtype=np.float64), truth(large).forward.y, allowances(large).y)
    return Evidence("large-mean", facts={"one_pass": outcome is Outcome.FAIL, "evaluations": 1})


@lru_cache(maxsize=8)
def _batch_of_large_mean(dtype: str, rank: int, eps: float) -> Case:
    spec = CaseSpec("large-mean", n=8, c=8, spatial=(2,) * rank, dtype=dtype, eps=eps)
    # Multiples of the golden ratio, modulo 1, fill [0, 1) evenly and with all their bits: squares of short numbers
    # would be exact, and a one-pass variance of them right.
    spread = (np.arange(math.prod(spec.shape)) * 0.6180339887498949) % 1.0
    x = (UNIT_ROUNDOFF[dtype] ** -0.4 + 4.0 * spread).reshape(spec.shape).astype(dtype)
    ones = np.ones(spec.c, dtype)
    return Case(spec, x, ones, 0 * ones, x)


def setup(case: Case) -> Setup:
    """Return what a session of this case is opened with; the arrays are copies that user code may spoil."""
    spec = case.spec
    return Setup(case.gamma.copy(), case.beta.copy(), spec.eps, spec.momentum, spec.memory)


@experiment("interleaved")
def interleaved(target: Target, case: Case, seen: Seen) -> Evidence:
    """Run another layer's forward on another batch between forward and backward."""
    if not has_its_turn(case, 2):
        return Evidence("interleaved")
    return _step("interleaved", target, case, beside=True)


def batch_before(case: Case, more: int) -> tuple[Array, Array]:
    """Return x and dy of the step that comes before the case's own, with so many rows more."""
    return -np.concatenate([case.x, case.x[:more]])[::-1], np.concatenate([case.dy, case.dy[:more]])[::-1]


def batch_beside(case: Case) -> Array:
    """Return the x that another layer sees between forward and backward."""
    return -case.x[::-1]


def _step(name: str, target: Target, case: Case, *, warm_up: int | None = None, beside: bool = False) -> Evidence:
    """Run one step, after one on a batch of `warm_up` more rows if that is given."""
    faults: list[Fault] = []
    before: list[Fault] = []
    raw: dict[str, Any] = {}
    saved: list[SavedStatistic] = []
    misfit: str | None = ""
    changed: list[str] = []
    aliased: list[tuple[str, str]] = []
    with printing_counted() as printed, changes_noted() as left:
        with faults_of("forward", faults):
            session = target.open(setup(case))
            if warm_up is not None:
                # More rows than the case has: never a single value per channel, which a layer may refuse.
                x, dy = batch_before(case, warm_up)
                with faults_of("forward", before):
                    session.forward(x)
                    session.backward(dy)
            raw["y"] = session.forward(case.x)
            saved = session.saved() if isinstance(session, Saving) else []
        if not faults:
            if not target.conventions.forward_only:
                with faults_of("backward", faults):
                    if beside:
                        target.open(setup(case)).forward(batch_beside(case))
                    *gradients, misfit = session.backward(case.dy)
                    raw.update(zip(GRADIENTS, gradients, strict=True))
            changed = [k for k, (before, now) in session.handed_over().items() if not _same(before, now)]
            aliased = session.shared() if isinstance(session, Sharing) else []
    facts = {
        "shapes": {
            k: np.shape(v) if isinstance(v, np.ndarray | np.generic | float | int) else None for k, v in raw.items()
        },
        "dtypes": {k: _spelled(v.dtype) for k, v in raw.items() if isinstance(v, np.ndarray | np.generic)},
        "types": {k: class_name(v) for k, v in raw.items()},
        "misfit": misfit,
        "changed": changed,
        "aliased": aliased,
        "printed": printed.characters,
        "printed_text": printed.beginning,
        "left": sorted(left),
        "eps_source": target.conventions.eps_source,
        "eps_untold": target.conventions.eps_untold,
        "refused_before": bool(before),
        "saved": [one for one in saved if is_tensor(one.value, case.gamma.shape)],
        "evaluations": (2 - target.conventions.forward_only) * (1 + (warm_up is not None)) + beside,
    }
    wanted = {"y": case.x.shape, "dx": case.x.shape, "dgamma": case.gamma.shape, "dbeta": case.gamma.shape}
    arrays = {k: np.asarray(v, dtype=np.float64) for k, v in raw.items() if is_tensor(v, wanted[k])}
    return Evidence(name, arrays, facts, faults[0] if faults else None)


@lru_cache(maxsize=64)  # NumPy works it out anew each time
def _spelled(dtype: np.dtype[Any]) -> str:
    return str(dtype)


def _same(before: Any, now: Any) -> bool:
    # Nearly always they are the same, and without NaN: looking for NaN takes longer than all the rest.
    return bool(np.array_equal(before, now)) or bool(np.array_equal(before, now, equal_nan=True))


def is_tensor(value: Any, shape: tuple[int, ...]) -> bool:
    """Tell whether a result is an array of numbers of that shape."""
    return is_numeric(value) and value.shape == shape


def is_numeric(value: Any) -> bool:
    """Tell whether a result is an array of numbers."""
    return isinstance(value, np.ndarray | np.generic) and kind(value.dtype) in "fiub"
