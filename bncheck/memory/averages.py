"""By what rule the running statistics are averaged, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from bncheck.bugs.catalogue import BUGS, Bug, Choice, Sample, Version
from bncheck.bugs.memory import STATISTICS, Rule
from bncheck.bugs.steps import Array
from bncheck.memory.values import CONVENTIONS, FIRST, Batch, Named, Replaced, all_fit, constant, fitted, stays_in
from bncheck.model import Conventions

MEAN, VAR = STATISTICS
# What of an update a bug may be in.
_STEPS = frozenset(("kept", "mean_taken", "var_taken", MEAN, VAR))
# Faults of the batch's own statistics, which an update that makes them anew may have beside a right forward. Over m - 1
# is a convention there.
_OF_BATCH = frozenset(("mu", "centred", "var"))
_NOT_HERE = ("BUG101", "BUG133")
_BESIDES = "in the update of the running statistics, "


class _Tried(NamedTuple):
    """A wrong version of the update: a bug's, the steps that it replaces, and the statistics that it changes."""

    version: Version
    replaced: Replaced
    changed: tuple[str, ...]


class Averages:
    """Finds the rule by which one layer's updates go, or the bugs in it; `meant` is the rule that discovery found."""

    def __init__(self, updates: Sequence[Batch], without: Sequence[str] = (), meant: Conventions | None = None) -> None:
        self.updates, self.meant = updates, meant
        self.without = frozenset(without)
        self._known: dict[tuple[str, bool], Array] = {}

    # ---------------------------------------------------------------------------------------------------- conventions

    def right(self) -> list[Rule]:
        """Return the conventions that give both statistics on every batch; none if something is wrong."""
        found = [rule for rule in _rules() if self._all(rule, {}, STATISTICS)]
        if found or not self.updates:
            return found
        for unbiased in (False, True):
            kept = self.solved(MEAN, unbiased, {}), self.solved(VAR, unbiased, {})
            if kept[0] is not None and kept[1] is not None and abs(kept[0] - kept[1]) < _SAME:
                return [constant(kept[0], unbiased)]
        return []

    def odd(self) -> list[str]:
        """Return the statistics that no convention gives, and no fraction of the old value."""
        return [
            name
            for name in STATISTICS
            if self.updates
            and not any(self._all(rule, {}, (name,)) for rule in _rules())
            and all(self.solved(name, unbiased, {}) is None for unbiased in (False, True))
        ]

    def _all(self, rule: Rule, replaced: Replaced, names: Sequence[str]) -> bool:
        return all(all_fit(self.updates, name, rule, replaced) for name in names)

    def solved(self, name: str, unbiased: bool, replaced: Replaced) -> float | None:
        """Return the one fraction by which a statistic follows a version; None if there is none, or if any will do.

        A value is linear in the fraction, so that two of them tell it.
        """
        if not self.updates:
            return None
        first = self.updates[0]
        found, ends = first.found[name], [constant(kept, unbiased) for kept in (0.0, 1.0)]
        zero, one = (fitted(first.value(name, rule, replaced), np.shape(found)) for rule in ends)
        if zero is None or one is None:
            return None
        with np.errstate(all="ignore"):
            kept = float(((found - zero) * (one - zero)).sum() / ((one - zero) ** 2).sum())
        if not _LEAST < kept < 1 - _LEAST:  # NaN, too
            return None
        # A literal is a short number.
        options = [constant(value, unbiased) for value in dict.fromkeys((round(kept, 9), kept))]
        fitting = [rule for rule in options if all_fit(self.updates, name, rule, replaced)]
        return fitting[0].kept(first.steps(fitting[0], {})) if fitting else None

    # ----------------------------------------------------------------------------------------------------------- bugs

    def named(self) -> list[Named]:
        """Return the bugs that give both statistics, the fewest and simplest; if none do, what one of them tells."""
        if not self.updates or self.right():
            return []
        tried = list(self._versions())
        # A rule that one of the statistics follows as it should is the one that was meant, and the other one's too.
        likely = [rule for rule in _rules() if any(self._all(rule, {}, (name,)) for name in STATISTICS)]
        for rules in (likely, [rule for rule in _rules() if rule not in likely], None):
            options = list(self._options(tried, rules))
            if options:
                # Of two rules that explain as much, the one that was meant.
                return min(options, key=lambda named: (sum(10 + one.cost for one in named), not self._fits(named)))
        return self._alone(tried)

    def _fits(self, named: Sequence[Named]) -> bool:
        return self.meant is not None and all(one.rule.stays == stays_in(self.meant) for one in named)

    def _versions(self) -> Iterator[_Tried]:
        for code, bug in BUGS.items():
            if code in self.without or code in _NOT_HERE:
                continue
            if set(bug.steps) <= _STEPS:
                for version in bug.versions([]):
                    yield _Tried(version, version.replaced, self._changed(version.replaced))
            elif set(bug.steps) <= _OF_BATCH:
                samples = [Sample(batch.steps(CONVENTIONS[0], {}), {}) for batch in self.updates]
                for version in bug.versions(samples):
                    yield from _anew(replace(version, place=_BESIDES))

    def _changed(self, replaced: Replaced) -> tuple[str, ...]:
        """Return the statistics that a version makes something else of, on any batch."""
        rule = CONVENTIONS[0]
        return tuple(
            name
            for name in STATISTICS
            if any(np.any(batch.value(name, rule, replaced) != batch.value(name, rule, {})) for batch in self.updates)
        )

    def _options(self, tried: Sequence[_Tried], rules: Sequence[Rule] | None) -> Iterator[list[Named]]:
        """Yield sets of bugs that give both statistics by one rule: a convention's, or a solved fraction's."""
        for unbiased in (False, True):
            for rule in [None] if rules is None else [rule for rule in rules if rule.unbiased == unbiased]:
                if mean := self._giving(MEAN, rule, unbiased, tried):
                    yield from self._joint(mean, self._giving(VAR, rule, unbiased, tried))

    def _giving(
        self, name: str, rule: Rule | None, unbiased: bool, tried: Sequence[_Tried]
    ) -> list[tuple[_Tried | None, Rule]]:
        """Return the versions that give one statistic, each with its rule; None stands for the right one."""
        found: list[tuple[_Tried | None, Rule]] = []
        for one in (None, *self._near(name, rule, unbiased, [one for one in tried if name in one.changed])):
            replaced = {} if one is None else one.replaced
            if rule is not None:
                if all_fit(self.updates, name, rule, replaced):
                    found.append((one, rule))
            elif (kept := self.solved(name, unbiased, replaced)) is not None:
                found.append((one, constant(kept, unbiased)))
        return found

    def _near(self, name: str, rule: Rule | None, unbiased: bool, tried: Sequence[_Tried]) -> list[_Tried]:
        """Return the versions that are near on the first batch, of those that change what comes in alone; and others.

        Most versions are of that kind, and what they take in is the same by any rule: it is made once.
        """
        first = self.updates[0]
        old = (first.past.mean if name == MEAN else first.past.var)[None]
        found, taken = first.found[name][None], self._taken(name, unbiased, tried)
        with np.errstate(all="ignore"):
            if rule is None:
                away = old - taken
                kept = ((found - taken) * away).sum(axis=1, keepdims=True) / (away * away).sum(axis=1, keepdims=True)
            else:
                kept = np.full((len(tried), 1), rule.kept(first.steps(rule, {})))
            missed = np.abs(kept * old + (1 - kept) * taken - found).max(axis=1, initial=0.0)
        far = missed > _FAR * max(1.0, float(np.abs(found).max()))
        return [one for one, away in zip(tried, far, strict=True) if not away]

    def _taken(self, name: str, unbiased: bool, tried: Sequence[_Tried]) -> Array:
        """Return what versions take in on the first batch, a row each; NaN if it is not that simple, inf if nothing."""
        key = name, unbiased
        if key not in self._known:
            step = {MEAN: "mean_taken", VAR: "var_taken"}[name]
            self._known[key] = np.array([self._row(step, unbiased, one.replaced) for one in tried])
        return self._known[key]

    def _row(self, step: str, unbiased: bool, replaced: Replaced) -> Array:
        first = self.updates[0]
        shape = first.past.mean.shape
        if step not in replaced or not {"mean_taken", "var_taken"}.issuperset(replaced):
            return np.full(shape, np.nan)
        one, other = (fitted(first.value(step, constant(kept, unbiased), replaced), shape) for kept in (0.3, 0.6))
        if one is None or other is None:
            return np.full(shape, np.inf)
        return one if np.array_equal(one, other) else np.full(shape, np.nan)

    def _joint(
        self, mean: Sequence[tuple[_Tried | None, Rule]], var: Sequence[tuple[_Tried | None, Rule]]
    ) -> Iterator[list[Named]]:
        for one, rule in mean:
            for other, also in var:
                bugs = [bug for bug in (one, other) if bug is not None]
                if rule.stays != also.stays or not bugs:
                    continue
                if one is other:
                    yield [self._name(bugs[0], rule)]
                elif all(len(bug.changed) == 1 for bug in bugs):
                    yield [self._name(bug, rule) for bug in bugs]

    def _alone(self, tried: Sequence[_Tried]) -> list[Named]:
        """Return what can be told where no one rule gives both: fractions that differ, or one statistic's bug."""
        if found := self._differing():
            return found
        known = [name for name in STATISTICS if any(self._all(rule, {}, (name,)) for rule in _rules())]
        for name in [name for name in STATISTICS if name not in known]:
            options = [
                self._name(one, rule)
                for rule in _rules()
                for one, _ in self._giving(name, rule, rule.unbiased, tried)
                if one is not None and one.changed == (name,)
            ]
            if options:
                return [min(options, key=lambda named: named.cost)]
        return []

    def _differing(self) -> list[Named]:
        """Return the bug of two statistics that follow right rules of their own, with other fractions."""
        for unbiased in (False, True):
            rules = [rule for rule in _rules() if rule.unbiased == unbiased]
            mean = [rule for rule in rules if all_fit(self.updates, MEAN, rule, {})]
            var = [rule for rule in rules if all_fit(self.updates, VAR, rule, {})]
            for name, known in ((MEAN, mean), (VAR, var)):
                kept = None if known else self.solved(name, unbiased, {})
                known += [] if kept is None else [constant(kept, unbiased)]
            if mean and var and "BUG602" not in self.without:
                text = f"{mean[0].stays} of it stays in running_mean, {var[0].stays} in running_var"
                version = Version(BUGS.get("BUG602"), Choice(text, var[0].kept))
                return [Named(version, {}, (VAR,), mean[0], len(self.updates))]
        return []

    def _name(self, tried: _Tried, rule: Rule) -> Named:
        return Named(tried.version, tried.replaced, tried.changed, rule, len(self.updates))


# A version that misses the first batch by more than this part of it need not be tried further.
_FAR = 1e-3
# Fractions that were solved for agree to this; a fraction of 0 or 1 is a bug of its own.
_SAME = 1e-7
_LEAST = 1e-6


def named_start(first: Sequence[Batch], without: Sequence[str] = ()) -> list[Named]:
    """Return what is wrong with statistics that start with the first batch's own, on that batch."""
    rules = [FIRST, FIRST._replace(unbiased=True)]
    if any(all_fit(first, VAR, rule, {}) for rule in [*rules, *_rules()]) or "BUG612" in without:
        return []
    if not all_fit(first, MEAN, FIRST, {}):
        return []
    for version in BUGS.get("BUG612").versions([]):
        replaced = {"var_taken": version.replaced["start_var"]}
        if all_fit(first, VAR, FIRST, replaced):
            return [Named(version, replaced, (VAR,), FIRST, len(first))]
    return []


def _rules() -> list[Rule]:
    return [rule._replace(unbiased=unbiased) for rule in CONVENTIONS for unbiased in (False, True)]


def _anew(version: Version) -> Iterator[_Tried]:
    """Yield updates whose batch statistics are wrong, beside a forward that is right: one of them, or both."""
    taken = {f"{name}_taken": partial(_taken, version.replaced, f"{name}_taken") for name in ("mean", "var")}
    if "mu" in version.bug.steps:
        yield _Tried(version, taken, STATISTICS)
        if version.bug.code != _OF_BOTH:  # a mean that is wrong alone has a name of its own
            yield _Tried(version, {"mean_taken": taken["mean_taken"]}, (MEAN,))
    if {"centred", "var"} & set(version.bug.steps):
        told = replace(version, bug=_of_variance(version.bug)) if version.bug.code == _OF_BOTH else version
        yield _Tried(told, {"var_taken": taken["var_taken"]}, (VAR,))


# Mean and variance over other axes.
_OF_BOTH = "BUG106"


def _of_variance(bug: Bug) -> Bug:
    """Return a bug of mean and variance as it is said where the mean beside that variance is right."""
    mean = "mean and variance are", "mu, var = mean and var"
    var = "the variance is", "var = variance"
    return replace(
        bug,
        title=bug.title.replace(mean[0], var[0]),
        wrong=bug.wrong.replace(mean[1], var[1]),
        right=bug.right.replace(mean[1], var[1]),
        mend=bug.mend.replace("mean and one variance", "variance"),
    )


def _taken(forward: Replaced, name: str, s: Any) -> Any:
    return s.also(forward).right(name)
