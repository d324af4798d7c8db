"""Values of wrong versions of what a layer remembers, and whether they are what was found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from bncheck.bugs.catalogue import Version
from bncheck.bugs.memory import IN_EVAL_MODE, OF_TRAINING, UPDATE, Past, Remembering, Rule
from bncheck.bugs.steps import FORWARD, Array, RightStep, Step, Steps
from bncheck.case import Case
from bncheck.core.tolerance import UNIT_ROUNDOFF
from bncheck.model import Conventions
from bncheck.report import Diagnosis

Replaced = Mapping[str, Step]

# Fractions of the old value that stay, as conventions have them; none of them is wrong. Batches count alike in a plain
# average, or values do.
KEPT = Rule(lambda s: s.momentum, "momentum", "(1 - momentum)")
NEW = Rule(lambda s: 1 - s.momentum, "(1 - momentum)", "momentum")
PLAIN = Rule(lambda s: len(s.batches) / (len(s.batches) + 1), "t / (t + 1)", "1 / (t + 1)")
WEIGHTED = Rule(lambda s: 1 - s.m / (s.m + sum(b.m for b in s.batches)), "(1 - m / M)", "m / M")
FIRST = Rule(lambda s: 0.0, "0", "1")
CONVENTIONS = (KEPT, NEW, PLAIN, WEIGHTED)


def constant(kept: float, unbiased: bool = False) -> Rule:
    """Return the rule of a fraction that is written into the code."""
    return Rule(lambda s: kept, f"{round(kept, 6):g}", f"{round(1 - kept, 6):g}", unbiased)


def stays_in(conventions: Conventions) -> str:
    """Return the fraction of the old value that stays by a convention, as its rule has it."""
    if conventions.momentum is not None:
        return constant(conventions.momentum).stays
    return {"kept": KEPT.stays, "new": NEW.stays}.get(conventions.momentum_sense, "")


class Named(NamedTuple):
    """A bug, the steps that it makes wrong, the rule that it was found by, and how many batches show it."""

    version: Version
    replaced: Replaced
    tensors: tuple[str, ...]
    rule: Rule
    batches: int

    @property
    def cost(self) -> float:
        """How much is to be written down for it, each bug by itself apart."""
        return self.version.choice.cost + (0.5 if self.version.place else 0.0)

    def said(self) -> Diagnosis:
        """Return the bug in words: in the letters of the code's own convention."""
        version, bug = self.version, self.version.bug
        texts = (*(version.fill(text) for text in (bug.wrong, bug.right, bug.mend)), version.title)
        wrong, right, mend, title = (_in_letters(text, self.rule) for text in texts)
        if version.place == IN_EVAL_MODE:
            right, mend = _of_eval_mode(right), _of_eval_mode(mend)
        where = ", ".join(self.tensors)
        return Diagnosis(bug.code, bug.name, title, mend, where, 1.0, wrong=wrong, right=right, cases=self.batches)


# What is said of dx in training, and what holds where the statistics are constants.
_CONSTANTS = {
    "gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))": "gamma / sqrt(running_var + eps) * dy",
    "write dx in stages: dxhat, dvar, dmu, and the three paths": "the statistics are constants in eval mode: "
    "dx = gamma / sqrt(running_var + eps) * dy, and no other path",
    "the bracket begins with dy itself": "begin with dy itself",
}


def _of_eval_mode(text: str) -> str:
    for of_training, of_eval in _CONSTANTS.items():
        text = text.replace(of_training, of_eval)
    return text


def _in_letters(text: str, rule: Rule) -> str:
    """Return a text with the reader's letters in the place of k and 1 - k."""
    return re.sub(r"\bk\b", rule.stays, text.replace("(1 - k)", rule.comes))


@dataclass(frozen=True)
class Batch:
    """A batch that a layer met: by which steps it is to be judged, what was before, what was found after.

    `unit` is the unit roundoff of what was found; `own` are the steps that the forward is known to have wrong.
    """

    case: Case
    table: Mapping[str, RightStep]
    past: Past
    found: Mapping[str, Any]
    unit: float
    own: Replaced

    def steps(self, rule: Rule, replaced: Replaced) -> Remembering:
        """Return the steps by a rule, with some of them replaced."""
        steps = self._plain.again(rule=rule, replaced={**self.own, **replaced})
        if self.table is UPDATE and OF_TRAINING.isdisjoint(replaced):
            vars(steps).update(self.forward)  # the same whatever is wrong with the update
        return steps

    @cached_property
    def _plain(self) -> Remembering:
        return Remembering(self.case, self.table, self.past)

    @cached_property
    def forward(self) -> dict[str, Any]:
        """The steps of the batch's own forward."""
        steps = Steps(self.case, self.own)
        with np.errstate(all="ignore"):
            return {name: getattr(steps, name) for name in FORWARD}

    def value(self, name: str, rule: Rule, replaced: Replaced) -> Any:
        """Return what a wrong version gives; None where it cannot be computed."""
        with np.errstate(all="ignore"):
            try:
                return getattr(self.steps(rule, replaced), name)
            except (ValueError, TypeError, ZeroDivisionError):  # shapes that do not fit this batch, a division by 0
                return None

    def fits(self, name: str, rule: Rule, replaced: Replaced) -> bool:
        """Tell whether a wrong version gives what was found of a step, to within rounding."""
        return name in self.found and self._same(self.found[name], self.value(name, rule, replaced))

    def _same(self, found: Any, value: Any) -> bool:
        value = fitted(value, np.shape(found))
        there = np.isfinite(found)  # a root of what is below 0 is no number, in the wrong version as in the code
        if value is None or not there.any() or not np.array_equal(there, np.isfinite(value)):
            return False
        found, value = found[there], value[there]
        # Sums of squares err by the size of the largest, and by some more where they are squared once more.
        peak = float(np.abs(self.case.x).max())
        size = max(float(np.abs(value).max()), float(np.abs(found).max()), 1.0) + peak * peak
        return bool(np.abs(found - value).max() <= _ROUNDING * self.unit * size)


# Some ten operations, on sums of some ten values: what rounding does is far below, in single precision too, of what
# tells two wrong versions apart.
_ROUNDING = 32.0


def fitted(value: Any, shape: tuple[int, ...]) -> Array | None:
    """Return a value as (C,) or in the shape of x; one number stands for all channels. None if it does not fit."""
    if value is None or np.iscomplexobj(value):
        return None
    array = np.asarray(value, dtype=np.float64)
    if array.shape == shape:
        return array
    if array.size == 1:
        return np.full(shape, float(array.reshape(-1)[0]))
    squeezed = np.squeeze(array)
    return squeezed if squeezed.shape == shape else None


def unit_of(case: Case, found: Sequence[Any]) -> float:
    """Return the unit roundoff of numbers: that of single precision where they all are of it."""
    own = UNIT_ROUNDOFF[case.spec.dtype]
    arrays = [np.asarray(value, dtype=np.float64) for value in found]
    with np.errstate(over="ignore"):
        single = any(np.array_equal(a, a.astype(np.float32)) and np.any(a != np.round(a, 3)) for a in arrays)
    return max(own, UNIT_ROUNDOFF["float32"]) if single else own


# Coarser numbers cannot tell all bugs apart.
FINE = 1e-6


def all_fit(batches: Sequence[Batch], name: str, rule: Rule, replaced: Replaced) -> bool:
    """Tell whether a wrong version gives every value of a step, on every batch."""
    return bool(batches) and all(batch.fits(name, rule, replaced) for batch in batches)
