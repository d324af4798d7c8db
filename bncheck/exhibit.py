"""A judged case as reports show it: its arrays beside expected and found values, and the formula worked out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bncheck import location
from bncheck.case import Case
from bncheck.checks.catalogue import Check
from bncheck.checks.numerics import LOST, ROUNDINGS
from bncheck.core.tolerance import UNIT_ROUNDOFF, K, within
from bncheck.core.truth import allowances, truth
from bncheck.experiments.probes import probed
from bncheck.experiments.training import batch_before, batch_beside
from bncheck.model import GRADIENTS, TENSORS, Evidence, Judgement, Outcome
from bncheck.report import ArrayData, Comparison, Exhibit, Worked


def at_worst_element(judgement: Judgement, shown: Comparison) -> Judgement:
    """Let the judgement of an exhibited case point at the worst element of what is shown."""
    at, _ = _worst(shown)
    expected, found = shown.expected.values[at], shown.found.values[at]
    index = tuple(int(i) for i in np.unravel_index(at, shown.expected.shape))
    allowed, tensor = shown.allowed.values[at], judgement.tensor or shown.tensor
    error = math.inf if math.isnan(found - expected) else abs(found - expected)
    return replace(judgement, tensor=tensor, index=index, error=error, allowed=allowed, got=found, want=expected)


def exhibit(case: Case, seen: Mapping[str, Evidence], check: Check | None, *, forward_only: bool) -> Exhibit:
    """Return the case's arrays beside expected and found values of the check's tensor (of all tensors without one).

    Beside a derivative where the evidence has it of single elements, else beside the reference.
    """
    tensors = TENSORS if check is None else (check.tensor,) if check.tensor else ()
    found = seen["training"].arrays if "training" in seen else {}
    numeric = check is not None and check.oracle == "numeric" and "element-probes" in seen
    measured = seen["element-probes"].arrays if numeric else {}
    comparisons = []
    for tensor in tensors:
        if tensor not in found:
            continue
        expected, allowed, oracle = truth(case).tensor(tensor), getattr(allowances(case), tensor), "reference"
        if tensor in measured:
            expected, allowed, oracle = measured[tensor], K * measured[f"{tensor}.bar"], "numeric"
        comparisons.append(Comparison(tensor, oracle, _data(expected), _data(found[tensor]), _data(allowed)))
    inputs = {"x": case.x, "gamma": case.gamma, "beta": case.beta, "dy": case.dy}
    fault = seen["training"].fault if "training" in seen else None
    of_backward = check is None or check.tensor in GRADIENTS or (fault is not None and fault.stage == "backward")
    if forward_only or not of_backward:
        del inputs["dy"]
    printed = seen["training"].facts.get("printed_text", "") if "training" in seen else ""
    if case.x.size > _EXHIBITED_ELEMENTS:
        return Exhibit(case.spec.id, case.spec.eps, {}, (), printed=printed)
    if check is not None and (own := of_its_own(check.code, case, seen)):
        given, compared = own
        given = {_with_rows(name, array, case): array for name, array in given.items()}
        return Exhibit(case.spec.id, case.spec.eps, given, compared, printed=printed)
    arrays = {name: _data(array) for name, array in inputs.items()}
    worked = _worked(case, comparisons, found)
    probe = probed(seen.get("joint-probe")) if check is None or check.oracle == "numeric" else None
    return Exhibit(case.spec.id, case.spec.eps, arrays, tuple(comparisons), worked, printed, probe)


Shown = tuple[dict[str, ArrayData], tuple[Comparison, ...]]


def of_its_own(code: str, case: Case, seen: Mapping[str, Evidence]) -> Shown | None:
    """Return inputs and comparisons for a check that looks at something else than the tensors of a training step."""
    from bncheck.memory.exhibit import shown

    return shown(code, case, seen) or disturbed(code, case, seen) or at_edge(code, case.spec.dtype, seen)


# Rows of a batch at an edge of the dtype that are shown: it may have thousands.
_ROWS = 8


def at_edge(code: str, dtype: str, seen: Mapping[str, Evidence]) -> Shown | None:
    """Return the batch at an edge of the dtype that a check is about, with how it is made, and y beside its own."""
    edge, share = {"BN403": ("squares", LOST), "BN404": ("sums", ROUNDINGS * UNIT_ROUNDOFF[dtype])}.get(code, ("", 0.0))
    arrays = seen["edges"].arrays if edge and "edges" in seen else {}
    if f"{edge}.x" not in arrays:
        return None
    x, want, got = (arrays[f"{edge}.{name}"] for name in ("x", "want", "y"))
    made = f"x of mean {np.mean(x):.2g} and standard deviation {np.std(x):.2g}"
    made += f", the first {_ROWS} of {len(x)} rows" * (len(x) > _ROWS)
    ones = np.ones(x.shape[1])
    given = {made: x[:_ROWS], "gamma": ones, "beta": 0 * ones}
    allowed = np.full_like(want, share * np.abs(want).max())
    compared = Comparison("y", "reference", _data(want[:_ROWS]), _data(got[:_ROWS]), _data(allowed[:_ROWS]))
    return {name: _data(array) for name, array in given.items()}, (compared,)


# What a check of state compares with the training step: an experiment, and what the training step is beside it.
_BESIDE = {
    "BN505": ("training-again", "the first time"),
    "BN508": ("second-step", "a fresh layer"),
    "BN509": ("interleaved", "left alone"),
    "BN511": ("backward-twice", "the first backward"),
    "BN223": ("alone", "with the others"),
}


def disturbed(code: str, case: Case, seen: Mapping[str, Evidence]) -> Shown | None:
    """Return inputs and comparisons for a check of state: with what came before, and beside an undisturbed step.

    None for another check, and where nothing is otherwise than in the undisturbed step.
    """
    experiment, words = _BESIDE.get(code, ("", ""))
    evidence, undisturbed = seen.get(experiment), seen.get("training")
    if evidence is None or undisturbed is None or undisturbed.fault is not None:
        return None
    if code == "BN508" and _is_undisturbed(evidence, undisturbed):
        experiment, evidence = "many-steps", seen["many-steps"]
    one_size = "one_size" in evidence.facts
    # The same step gives the same bits; another one, in which less is wanted, the same but for the rounding of both.
    rounded = 2 if experiment == "alone" else 0
    comparisons = []
    for name in TENSORS:
        want, got = undisturbed.arrays.get(name), evidence.arrays.get(name)
        if want is None or got is None:
            continue
        allowed = np.broadcast_to(rounded * getattr(allowances(case), name), want.shape)
        if not np.array_equal(want, got, equal_nan=True) and within(got, want, allowed)[0] is Outcome.FAIL:
            comparisons.append(Comparison(name, words, _data(want), _data(got), _data(allowed)))
    if not comparisons and evidence.fault is None and not one_size:
        return None
    given = {}
    if experiment == "second-step":
        given = dict(zip(("x of the batch before", "dy of the batch before"), batch_before(case, 1), strict=True))
    if experiment == "interleaved":
        given = {"x of the other layer": batch_beside(case)}
    given |= {"x": case.x, "gamma": case.gamma, "beta": case.beta, "dy": case.dy}
    if "dx" not in undisturbed.arrays:  # there is no backward
        given = {name: array for name, array in given.items() if not name.startswith("dy")}
    return {name: _data(array) for name, array in given.items()}, tuple(comparisons)


def _is_undisturbed(evidence: Evidence, alone: Evidence) -> bool:
    both = [(array, alone.arrays[name]) for name, array in evidence.arrays.items() if name in alone.arrays]
    same = (np.array_equal(one, two, equal_nan=True) for one, two in both)
    return evidence.fault is None and "one_size" not in evidence.facts and all(same)


def _with_rows(name: str, array: ArrayData, case: Case) -> str:
    """Return the name of an input, with its number of rows where that is not the case's."""
    rows = next(iter(array.shape), 0)
    return f"{name} (N={rows})" if name.startswith(("x of", "dy of")) and rows != case.spec.n else name


def _worked(case: Case, comparisons: list[Comparison], found: Mapping[str, Any]) -> Worked | None:
    """Return the formula worked out for the tensor that is furthest off, in its worst channel."""

    def worst(shown: Comparison) -> tuple[float, int]:
        at, ratio = _worst(shown)
        return ratio, at

    fitting = [shown for shown in comparisons if shown.expected.shape == shown.found.shape]
    if not fitting:
        return None
    shown = max(fitting, key=lambda shown: worst(shown)[0])
    index = np.unravel_index(worst(shown)[1], shown.expected.shape)
    return location.worked(case, shown.tensor, int(index[len(index) > 1]), found[shown.tensor])


def _worst(shown: Comparison) -> tuple[int, float]:
    """Return the worst element of what is shown, as a flat index, and its error over the allowed one."""
    expected, found, allowed = (np.asarray(a.values) for a in (shown.expected, shown.found, shown.allowed))
    error = np.abs(found - expected)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(error == 0, 0.0, error / allowed)
    ratio = np.where(np.isnan(ratio), np.inf, ratio)
    at = int(np.argmax(ratio))
    return at, float(ratio[at])


# Larger cases than this are not carried in reports; their replay id gives them back.
_EXHIBITED_ELEMENTS = 4096


def _data(array: np.ndarray) -> ArrayData:
    flat = np.asarray(array, dtype=np.float64)
    return ArrayData(tuple(flat.shape), tuple(flat.ravel().tolist()))
