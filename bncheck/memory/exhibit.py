"""The numbers of a small case in which statistics, or eval mode, are wrong: what came in, expected and found values."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

import numpy as np

from bncheck.case import Case
from bncheck.checks.evaluation import statistics_used
from bncheck.checks.running import fraction_kept
from bncheck.core.tolerance import UNIT_ROUNDOFF
from bncheck.experiments.running import batches_of
from bncheck.model import Conventions, Evidence
from bncheck.report import ArrayData, Comparison

Shown = tuple[dict[str, ArrayData], tuple[Comparison, ...]]

# What of an evidence is compared: the readings before and after what leaves the statistics alone.
_LEFT_ALONE = {
    "BN304": ("running", (("eval", "after"), ("after", "backward")), "as they were"),
    "BN307": ("long-run", (("forward", "backward"),), "as they were"),
}


def shown(code: str, case: Case, seen: Mapping[str, Evidence]) -> Shown | None:
    """Return inputs and comparisons for a check of statistics or eval mode; None where it has none of its own."""
    if code in _LEFT_ALONE:
        return _left_alone(code, case, seen)
    evidence = seen.get("running")
    if evidence is None or "batch_mean" not in evidence.arrays:
        return None
    if code == "BN301":
        return _update(case, evidence)
    return _answer(case, evidence) if code == "BN302" else None


def _update(case: Case, evidence: Evidence) -> Shown | None:
    """Return the first update that departs from the rule that is nearest to all of them."""
    found, batch = ([evidence.arrays[f"{which}{name}"] for name in ("mean", "var")] for which in ("", "batch_"))
    conventions, sizes = evidence.facts["conventions"], evidence.facts["m"]
    fractions, factors = _fractions(case, conventions), _factors(conventions)

    def wanted(step: int, kept: Any, factor: Any) -> list[Any]:
        k, m = kept(step), sizes[step]
        taken = (batch[0][step], batch[1][step] * (factor(m) if m > 1 else 1.0))
        return [k * old[step] + (1 - k) * new for old, new in zip(found, taken, strict=True)]

    def missed(kept: Any, factor: Any) -> float:
        errors = [
            float(np.abs(want - held[step + 1]).max() > 1e-6 * (1 + np.abs(held[step + 1]).max()))
            for step in range(len(sizes))
            for want, held in zip(wanted(step, kept, factor), found, strict=True)
        ]
        return sum(errors)

    rule = min(product(fractions, factors), key=lambda rule: missed(*rule))
    for step, x in enumerate(batches_of(case)):
        u = UNIT_ROUNDOFF[case.spec.dtype]
        pairs = []
        for name, want, held in zip(("running_mean", "running_var"), wanted(step, *rule), found, strict=True):
            allowed = 1e3 * u * (np.abs(want) + np.abs(held[step]) + 1)
            pairs.append((name, want, held[step + 1], allowed))
        if all(np.isfinite(want).all() and (np.abs(want - got) <= allowed).all() for _, want, got, allowed in pairs):
            continue
        if not all(np.isfinite(want).all() for _, want, _, _ in pairs):
            continue
        inputs = {f"x of batch {step + 1}": _data(x)}
        if conventions.momentum_sense in ("kept", "new"):
            inputs["momentum"] = _data([case.spec.momentum])
        inputs |= {f"{name} before": _data(held[step]) for (name, *_), held in zip(pairs, found, strict=True)}
        worst = sorted(pairs, key=lambda pair: bool((np.abs(pair[1] - pair[2]) <= pair[3]).all()))
        return inputs, tuple(_compared(*pair, "the update rule") for pair in worst)
    return None


def _fractions(case: Case, conventions: Conventions) -> list[Any]:
    """Return the fractions that stay, by step: the one that was found, or those that a momentum may mean."""
    momentum = case.spec.momentum
    known = [] if conventions.momentum_sense in ("unknown", "last") else [lambda s: fraction_kept(case, conventions, s)]
    return [*known, lambda step: momentum, lambda step: 1 - momentum]


def _factors(conventions: Conventions) -> list[Any]:
    """Return what the biased variance is multiplied by: by the convention that was found, or by either."""
    biased, unbiased = (lambda m: 1.0), (lambda m: m / (m - 1))
    return {"biased": [biased], "unbiased": [unbiased]}.get(conventions.running_var, [biased, unbiased])


def _answer(case: Case, evidence: Evidence) -> Shown | None:
    """Return y in eval mode beside that of the statistics held."""
    used = statistics_used(case, evidence) if "y" in evidence.arrays else None
    if used is None:
        return None
    # A batch of a size of its own, so that code which remembers that of training is seen.
    inputs = {"x in eval mode": evidence.arrays["x"], "running_mean": evidence.arrays["mean"][-1]}
    inputs |= {"running_var": evidence.arrays["var"][-1], "gamma": case.gamma, "beta": case.beta}
    compared = _compared("y", used.y, evidence.arrays["y"], used.allowed, "eval mode")
    return {name: _data(array) for name, array in inputs.items()}, (compared,)


def _left_alone(code: str, case: Case, seen: Mapping[str, Evidence]) -> Shown | None:
    """Return the statistics before and after what should not change them."""
    experiment, times, words = _LEFT_ALONE[code]
    arrays = seen[experiment].arrays if experiment in seen else {}
    for earlier, later in times:
        pairs = [(n, arrays.get(f"{earlier}_{n}"), arrays.get(f"{later}_{n}")) for n in ("mean", "var")]
        changed = [(n, a, b) for n, a, b in pairs if a is not None and b is not None and not np.array_equal(a, b)]
        if changed:
            compared = (_compared(f"running_{n}", a, b, np.zeros_like(a), words) for n, a, b in changed)
            return {"x": _data(case.x)}, tuple(compared)
    return None


def _compared(name: str, want: Any, got: Any, allowed: Any, oracle: str) -> Comparison:
    return Comparison(name, oracle, _data(want), _data(got), _data(allowed))


def _data(array: Any) -> ArrayData:
    flat = np.asarray(array, dtype=np.float64)
    return ArrayData(tuple(flat.shape), tuple(flat.ravel().tolist()))
