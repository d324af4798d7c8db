"""The numbers of a small case in which statistics, or eval mode, are wrong: what came in, expected and found values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from bncheck.adapters.profiles import profile_missed
from bncheck.case import Case
from bncheck.checks.evaluation import statistics_used
from bncheck.checks.running import fraction_kept
from bncheck.core.tolerance import UNIT_ROUNDOFF
from bncheck.experiments.running import batches_of
from bncheck.model import Conventions, Evidence
from bncheck.report import ArrayData, Comparison

Shown = tuple[dict[str, ArrayData], tuple[Comparison, ...]]

_NAMES = ("running_mean", "running_var")
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
    start = evidence.facts["conventions"].running_start
    if np.isnan(evidence.arrays["var"][0]).any() and ", " in start:  # a layer that is made at its first forward
        evidence = _started(evidence, start)
    if code in ("BN301", "BN303"):
        return _update(case, evidence) if code == "BN301" else _as_in_profile(case, evidence)
    return _answer(case, evidence) if code == "BN302" else None


def _as_in_profile(case: Case, evidence: Evidence) -> Shown | None:
    """Return the first update that departs from the profile that is to be held, or from where it starts."""
    conventions: Conventions = evidence.facts["conventions"]
    missed = profile_missed(conventions.misfit)
    if missed is None:
        return None
    name, (sense, var, start) = missed
    fraction = conventions.momentum
    if fraction is not None and {sense, conventions.momentum_sense} == {"kept", "new"}:
        fraction = 1 - fraction
    meant = replace(conventions, momentum_sense=sense, momentum=fraction, running_var=var)
    if start not in ("", conventions.running_start):
        evidence = _started(evidence, start)
    rule = _Rule(lambda step: fraction_kept(case, meant, step), _factors(meant)[0])
    return _first_departure(case, evidence, rule, f"as in {name}")


def _started(evidence: Evidence, start: str) -> Evidence:
    """Return the evidence with statistics that start from two numbers, "0, 1"."""
    arrays = {key: evidence.arrays[key].copy() for key in ("mean", "var")}
    for array, first in zip(arrays.values(), start.split(", "), strict=True):
        array[0] = float(first)
    return replace(evidence, arrays={**evidence.arrays, **arrays})


class _Rule(NamedTuple):
    """The fraction that stays, by step, and what the biased variance of m values is multiplied by."""

    kept: Callable[[int], float]
    factor: Callable[[int], float]

    def wanted(self, evidence: Evidence, step: int) -> list[Any]:
        """Return mean and variance after a step, from those that were read before it."""
        k, m = self.kept(step), evidence.facts["m"][step]
        mean, var = (evidence.arrays[f"batch_{name}"][step] for name in ("mean", "var"))
        taken = mean, var * (self.factor(m) if m > 1 else 1.0)
        return [k * evidence.arrays[n][step] + (1 - k) * new for n, new in zip(("mean", "var"), taken, strict=True)]


def _update(case: Case, evidence: Evidence) -> Shown | None:
    """Return the first update that departs from the rule that is nearest to all of them."""
    conventions = evidence.facts["conventions"]

    def missed(rule: _Rule) -> float:
        errors = [
            float(np.abs(want - held[step + 1]).max() > 1e-6 * (1 + np.abs(held[step + 1]).max()))
            for step in range(len(evidence.facts["m"]))
            for want, held in zip(rule.wanted(evidence, step), _held(evidence), strict=True)
        ]
        return sum(errors)

    rules = [_Rule(*parts) for parts in product(_fractions(case, conventions), _factors(conventions))]
    return _first_departure(case, evidence, min(rules, key=missed), "the update rule")


def _held(evidence: Evidence) -> list[Any]:
    return [evidence.arrays[name] for name in ("mean", "var")]


def _first_departure(case: Case, evidence: Evidence, rule: _Rule, oracle: str) -> Shown | None:
    found, conventions = _held(evidence), evidence.facts["conventions"]
    for step, x in enumerate(batches_of(case)):
        u = UNIT_ROUNDOFF[case.spec.dtype]
        pairs = []
        for name, want, held in zip(_NAMES, rule.wanted(evidence, step), found, strict=True):
            allowed = 1e3 * u * (np.abs(want) + np.abs(held[step]) + 1)
            pairs.append((name, want, held[step + 1], allowed))
        if all(np.isfinite(want).all() and (np.abs(want - got) <= allowed).all() for _, want, got, allowed in pairs):
            continue
        if not all(np.isfinite(want).all() for _, want, _, _ in pairs):
            continue
        inputs = {f"x of batch {step + 1}": _data(x)}
        if conventions.momentum_sense in ("kept", "new") and conventions.momentum is None:
            # Cases choose their own: the default in the code is another number.
            inputs["momentum given by bncheck"] = _data([case.spec.momentum])
        inputs |= {f"{name} before": _data(held[step]) for name, held in zip(_NAMES, found, strict=True)}
        worst = sorted(pairs, key=lambda pair: bool((np.abs(pair[1] - pair[2]) <= pair[3]).all()))
        return inputs, tuple(_compared(*pair, oracle) for pair in worst)
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
