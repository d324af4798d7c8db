"""What eval mode answers, and what is wrong with it: y and its gradients, from the statistics that are held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from bncheck.bugs.catalogue import BUGS, Sample, Version
from bncheck.bugs.channelwise import readings_of_sum, readings_of_y
from bncheck.bugs.factors import Factors
from bncheck.bugs.memory import BEHIND_STATISTICS, IN_EVAL_MODE, INFERENCE, Past, Rule
from bncheck.memory.values import Batch, Named, all_fit
from bncheck.model import GRADIENTS

# Bugs of eval mode alone: of the statistics that it takes, and of what it makes of them.
_OF_EVAL = frozenset(("eval_mean", "eval_var", "eval_y"))
# What of the backward's steps may be wrong where the statistics are constants.
_BEHIND = frozenset(
    (
        "eval_back_xhat",
        "eval_back_inv_std",
        "back_gamma",
        "back_inv_std",
        "dxhat",
        "direct_path",
        "dgamma",
        "dbeta",
        "dx",
    )
)


def _behind_statistics(batch: Batch) -> Batch:
    return replace(batch, own={step: batch.own[step] for step in batch.own if step in BEHIND_STATISTICS})


class Answers:
    """Finds the bugs of one layer's eval mode.

    Parameters
    ----------
    asked : sequence of Batch
        Batches in eval mode, with the statistics held before each.
    after : sequence of Batch
        The same with the statistics held after each forward.
    rule : Rule
        The convention of the averages, for bugs that take another one of them.
    biased : bool
        Whether the running variance is one over m, so that eval mode may rightly correct it.

    """

    def __init__(
        self, asked: Sequence[Batch], after: Sequence[Batch], rule: Rule, biased: bool, without: Sequence[str] = ()
    ) -> None:
        self.rule, self.without = rule, frozenset(without)
        self.held = [held for held in (asked, after) if held]
        self.corrections: list[Callable[[Batch], float]] = [lambda batch: 1.0]
        if biased and asked:
            sizes = {step.m for step in asked[0].past.batches}
            self.corrections += [lambda batch, m=m: m / (m - 1) for m in sizes if m > 1]  # type: ignore[misc]

    def beside_the_forward(self) -> Answers:
        """Return the same for an eval mode without what training has wrong in mean and variance, if y is right then.

        It takes those that are held, so that such a fault may be there once more, or not.
        """
        other = copy(self)
        other.held = [[_behind_statistics(batch) for batch in held] for held in self.held]
        return other if other.right() and not self.right() else self

    def right(self) -> list[Batch]:
        """Return the batches with statistics that y of eval mode rightly follows from; none if it does not."""
        for held in self.held:
            for batches in self._forms(held):
                if all_fit(batches, "y", self.rule, {}):
                    return batches
        return []

    def _forms(self, held: Sequence[Batch]) -> Iterator[list[Batch]]:
        """Yield the statistics that eval mode may rightly use: as held, over m - 1, freed of their start at 0."""
        for correction in self.corrections:
            yield [_with(batch, 1.0, correction(batch)) for batch in held]
        for kept in {self.rule.kept(batch.steps(self.rule, {})) for batch in held}:
            left = [kept ** len(batch.past.batches) for batch in held]
            start = [batch.past.start for batch in held]
            if all(s is not None and not np.any(s[0]) and not np.any(s[1]) for s in start) and max(left) < 1:
                yield [_with(batch, 1 / (1 - gone), 1 / (1 - gone)) for batch, gone in zip(held, left, strict=True)]

    def named(self) -> list[Named]:
        """Return the bug that gives y in eval mode on every batch; none if y is right, or if none does."""
        if not self.held or self.right():
            return []
        found = []
        for held in self.held:
            samples = [Sample(batch.steps(self.rule, {}), dict(batch.found)) for batch in held]
            for version in self._of_y(samples):
                if all_fit(held, "y", self.rule, version.replaced):
                    found.append(Named(version, version.replaced, (IN_EVAL["y"],), self.rule, len(held)))
        return [min(found, key=lambda named: named.cost)] if found else []

    def _of_y(self, samples: Sequence[Sample]) -> Iterator[Version]:
        for code, bug in BUGS.items():
            if code in self.without:
                continue
            if set(bug.steps) <= _OF_EVAL:
                yield from bug.versions(samples)
            elif set(bug.steps) <= set(BEHIND_STATISTICS):
                yield from (replace(version, place=IN_EVAL_MODE) for version in bug.versions(samples))
        if "BUG134" not in self.without:
            for versions in readings_of_y(samples, Factors([sample.steps for sample in samples])):
                yield from (replace(version, place=IN_EVAL_MODE) for version in versions)

    def named_gradients(self) -> list[Named]:
        """Return the bugs that give the gradients of eval mode, where y is right; one for all of them if one does."""
        batches = [batch for batch in self.right() if set(GRADIENTS) & set(batch.found)]
        wrong = [
            name
            for name in GRADIENTS
            if batches and all(name in b.found for b in batches) and not all_fit(batches, name, self.rule, {})
        ]
        if not wrong:
            return []
        samples = [Sample(batch.steps(self.rule, {}), dict(batch.found)) for batch in batches]
        versions = list(self._of_gradients(wrong, samples))
        found: list[Named] = []
        for names in (tuple(wrong), *((name,) for name in wrong)):
            if any(set(names) & set(one.tensors) for one in found):
                continue
            options = [
                Named(
                    _in_eval(version), version.replaced, tuple(IN_EVAL[name] for name in names), self.rule, len(batches)
                )
                for version in versions
                if all(
                    all_fit(batches, name, self.rule, version.replaced) for name in _concerned(version, names, batches)
                )
            ]
            if options:
                found.append(min(options, key=lambda named: named.cost))
                if names == tuple(wrong):
                    break
        return found

    def _of_gradients(self, wrong: Sequence[str], samples: Sequence[Sample]) -> Iterator[Version]:
        for code, bug in BUGS.items():
            if code not in self.without and set(bug.steps) <= _BEHIND:
                yield from bug.versions(samples)
        factors = Factors([sample.steps for sample in samples])
        for tensor in set(wrong) & {"dgamma", "dbeta"}:
            for versions in readings_of_sum(tensor, samples, factors):
                yield from (version for version in versions if version.bug.code not in self.without)


def _concerned(version: Version, names: Sequence[str], batches: Sequence[Batch]) -> set[str]:
    """Return the tensors that a version has to give: those that are asked for, and what else it makes of its own."""
    own = {step for step in version.bug.steps if step in GRADIENTS and all(step in b.found for b in batches)}
    return own.union(names)


# How reports call the tensors of eval mode.
IN_EVAL = {name: f"{name} in eval mode" for name in ("y", *GRADIENTS)}


def _in_eval(version: Version) -> Version:
    """Return a bug of the training formulas that stands in eval mode; those of eval mode say so themselves."""
    own = any(step.startswith("eval_") for step in version.bug.steps)
    return version if own else replace(version, place=IN_EVAL_MODE)


def _with(batch: Batch, of_mean: float, of_var: float) -> Batch:
    """Return a batch before which other statistics were held: those that it has, times something."""
    past: Past = batch.past
    return replace(batch, past=replace(past, mean=past.mean * of_mean, var=past.var * of_var), table=INFERENCE)
