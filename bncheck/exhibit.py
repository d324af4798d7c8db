"""A judged case as reports show it: its arrays beside expected and found values, and the formula worked out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bncheck import location
from bncheck.case import Case
from bncheck.checks.catalogue import Check
from bncheck.core.tolerance import K
from bncheck.core.truth import allowances, truth
from bncheck.experiments.probes import probed
from bncheck.model import GRADIENTS, TENSORS, Evidence, Judgement
from bncheck.report import ArrayData, Comparison, Exhibit, Worked


def at_worst_element(judgement: Judgement, shown: Comparison) -> Judgement:
    """Let the judgement of an exhibited case point at the worst element of what is shown."""
    at, _ = _worst(shown)
    expected, found = shown.expected.values[at], shown.found.values[at]
    index = tuple(int(i) for i in np.unravel_index(at, shown.expected.shape))
    error, allowed, tensor = abs(found - expected), shown.allowed.values[at], judgement.tensor or shown.tensor
    return replace(judgement, tensor=tensor, index=index, error=error, allowed=allowed, got=found, want=expected)


def exhibit(case: Case, seen: Mapping[str, Evidence], check: Check | None, *, forward_only: bool) -> Exhibit:
    """Return the case's arrays beside expected and found values of the check's tensor (of all tensors without one).

    Beside a derivative where the evidence has it of single elements, else beside the reference.
    """
    from bncheck.memory.exhibit import shown

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
    if forward_only or (check is not None and check.tensor not in GRADIENTS):
        del inputs["dy"]
    printed = seen["training"].facts.get("printed_text", "") if "training" in seen else ""
    if case.x.size > _EXHIBITED_ELEMENTS:
        return Exhibit(case.spec.id, case.spec.eps, {}, (), printed=printed)
    if check is not None and (own := shown(check.code, case, seen)):
        return Exhibit(case.spec.id, case.spec.eps, *own, printed=printed)
    arrays = {name: _data(array) for name, array in inputs.items()}
    worked = _worked(case, comparisons, found)
    probe = probed(seen.get("joint-probe")) if check is None or check.oracle == "numeric" else None
    return Exhibit(case.spec.id, case.spec.eps, arrays, tuple(comparisons), worked, printed, probe)


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
