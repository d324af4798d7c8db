"""From a layer's courses to the names of its bugs.

As in :mod:`bncheck.diagnose`, a bug is named where each value, on every drawn batch, is what the formulas with one step
replaced give, to within rounding. First it is asked whether any of the known conventions gives all values: then nothing
is wrong, whichever it is. Only what a failing check is about is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from bncheck.bugs.catalogue import BUGS, Choice, Version
from bncheck.bugs.memory import INFERENCE, LATER, STATISTICS, UPDATE, Past, Rule
from bncheck.bugs.steps import Step, Steps
from bncheck.cases.courses import courses, long_course
from bncheck.core.tolerance import UNIT_ROUNDOFF
from bncheck.experiments.memory import Call, Lived, lived
from bncheck.memory.answers import IN_EVAL, Answers
from bncheck.memory.averages import Averages, named_start
from bncheck.memory.unnamed import mixes_channels, of_answers, of_update
from bncheck.memory.values import CONVENTIONS, FINE, KEPT, Batch, Named, all_fit, unit_of
from bncheck.model import TENSORS, Conventions
from bncheck.report import Diagnosis
from bncheck.session import Target

# Which failing checks speak of what.
OF_RULE = frozenset(("BN301", "BN309"))
OF_PROFILE = frozenset(("BN303",))
OF_LONG_RUN = frozenset(("BN308",))
OF_ANSWERS = frozenset(("BN302", "BN305", "BN310"))
OF_EVAL_GRADIENTS = frozenset(("BN306",))
OF_OTHER_UPDATES = frozenset(("BN304", "BN307"))
OF_LATER_STEPS = frozenset(("BN508",))
CHECKED = OF_RULE | OF_PROFILE | OF_LONG_RUN | OF_ANSWERS | OF_EVAL_GRADIENTS | OF_OTHER_UPDATES | OF_LATER_STEPS


def searched(
    target: Target,
    dtype: str,
    failing: Sequence[str],
    own: Mapping[str, Step] | None,
    without: Sequence[str] = (),
    *,
    single: bool = False,
) -> tuple[Search, list[Named]] | None:
    """Return the bugs in what a target remembers, behind the checks that fail: its code runs through some courses.

    Parameters
    ----------
    target : Target
        The user's code.
    dtype : str
        In which dtype it is verified.
    failing : sequence of str
        Codes of the checks that fail; nothing is said of what none of them is about.
    own : mapping of str to callable, or None
        The steps of the forward that are known to be wrong; None where it is wrong in a way that is not known.
    without : sequence of str
        Codes of bugs that are left out.
    single : bool
        Whether its forward is known to compute in single precision.

    """
    if own is None or CHECKED.isdisjoint(failing):
        return None
    conventions = target.conventions
    ranks = tuple(len(layout) - 2 for layout in conventions.layouts)
    dtype = conventions.dtype or dtype
    if UNIT_ROUNDOFF[dtype] > FINE:
        return None
    lives = [lived(target, *course) for course in courses(dtype, ranks, conventions.eps)]
    if any(len(life.training) < 2 for life in lives):  # code for batches of one size
        lives = [lived(target, *course) for course in courses(dtype, ranks, conventions.eps, alike=True)]
    long = None if OF_LONG_RUN.isdisjoint(failing) else lived(target, *long_course(dtype, ranks, conventions.eps))
    search = Search(lives, conventions, own, without, single=single)
    return search, search.named(failing, long)


class Search:
    """Looks for the bugs in what one layer remembers.

    Parameters
    ----------
    lives : sequence of Lived
        What it did in courses of batches.
    conventions : Conventions
        What discovery found out about it.
    own : mapping of str to callable
        The steps of the forward that are known to be wrong; what follows from them is not wrong once more.
    without : sequence of str
        Codes of bugs that are left out.
    single : bool
        Whether its forward is known to compute in single precision.

    """

    def __init__(
        self,
        lives: Sequence[Lived],
        conventions: Conventions,
        own: Mapping[str, Step] | None = None,
        without: Sequence[str] = (),
        *,
        single: bool = False,
    ) -> None:
        self.lives, self.conventions, self.own, self.without = lives, conventions, dict(own or {}), tuple(without)
        self.single = single
        self.by_backward = conventions.updated_by == "backward"
        self.starts_with_batch = conventions.running_start == "first batch"
        self.averages = Averages(list(self._updates()), without, conventions)
        known = self.averages.right()
        if own and not known:  # the statistics may be the batch's own all the same
            averages = Averages([replace(batch, own={}) for batch in self.averages.updates], without, conventions)
            known = averages.right()
            self.averages = averages if known else self.averages
        self.rule: Rule = known[0] if known else KEPT
        self.rules = known or list(CONVENTIONS)

    def named(self, failing: Sequence[str], long: Lived | None = None) -> list[Named]:
        """Return the bugs behind failing checks; `long` is a course of many batches."""
        codes = set(failing)
        found: list[Named] = []
        if codes & OF_RULE and self.conventions.momentum_sense not in _WORKED_OUT_LATER:
            found += self._of_rule(codes)
        if codes & OF_PROFILE:
            found += self._of_profile()
        if codes & OF_LONG_RUN and not found and long is not None:
            found += self._frozen(long)
        if codes & OF_OTHER_UPDATES:
            found += self._other_updates()
        if codes & (OF_ANSWERS | OF_EVAL_GRADIENTS) and self.conventions.momentum_sense not in _WORKED_OUT_LATER:
            answers = self.answers()
            found += answers.named() if codes & OF_ANSWERS else []
            found += answers.named_gradients() if codes & OF_EVAL_GRADIENTS else []
        if codes & OF_LATER_STEPS:
            found += self._later()
        return found or (self._of_digits(codes) if self.single else [])

    def unnamed(self, failing: Sequence[str], named: Sequence[Named]) -> list[Diagnosis]:
        """Return what can be said of statistics and of y in eval mode that are wrong, and that no bug explains."""
        codes, known = set(failing), {tensor for one in named for tensor in one.tensors}
        if self.conventions.momentum_sense in _WORKED_OUT_LATER or mixes_channels(self.averages.updates, self.own):
            return []
        found: list[Diagnosis] = []
        if codes & {"BN301"}:
            found += of_update([name for name in self.averages.odd() if name not in known], self.averages.updates)
        if codes & OF_ANSWERS and IN_EVAL["y"] not in known:
            answers = self.answers()
            if answers.held and not answers.right():
                found.append(of_answers(answers.held[0], self.rule))
        return found

    def _of_digits(self, codes: set[str]) -> list[Named]:
        """Return the bug of code that computes in single precision, if all that it explains is right but for digits."""
        fine = Search(self.lives, self.conventions, self.own, self.without)
        tensors = fine.averages.odd() if codes & OF_RULE and self.averages.right() else []
        if codes & OF_ANSWERS and self.answers().right() and not fine.answers().right():
            tensors.append(IN_EVAL["y"])
        version = Version(BUGS.get("BUG501"), Choice("float32", "float32"))
        return [Named(version, {}, tuple(tensors), self.rule, len(self.averages.updates))] if tensors else []

    # ------------------------------------------------------------------------------------------------------ the update

    def _updates(self, lives: Sequence[Lived] | None = None) -> Iterator[Batch]:
        for life in self.lives if lives is None else lives:
            met: list[Steps] = []
            for call in life.training:
                later = call.behind if self.by_backward else call.after
                if not (self.starts_with_batch and not met) and _readable(call.before) and _readable(later):
                    yield self._batch(call, UPDATE, call.before, met, life, _named(later))
                met.append(Steps(call.case, self.own))

    def _batch(
        self, call: Call, table: Any, held: Any, met: Sequence[Steps], life: Lived, found: Mapping[str, Any]
    ) -> Batch:
        start = life.training[0].before if life.training else None
        past = Past(held[0], held[1], KEPT, tuple(met), start)
        unit = UNIT_ROUNDOFF["float32"] if self.single else unit_of(call.case, [*held, *found.values()])
        return Batch(call.case, table, past, found, unit, self.own)

    def _of_rule(self, codes: set[str]) -> list[Named]:
        if any(batch.unit > FINE for batch in self.averages.updates):
            return []
        if self.starts_with_batch and (found := named_start(list(self._first()), self.without)):
            return found
        if named := self.averages.named():
            return named
        if self.conventions.unread and "BN309" in codes and "BUG607" not in self.without:
            kept = [self.averages.solved(name, self.rule.unbiased, {}) for name in STATISTICS]
            if kept[0] is not None and not any(self.rule.stays == rule.stays for rule in CONVENTIONS):
                version = Version(BUGS.get("BUG607"), Choice(f"{round(kept[0], 6):g}", kept[0]))
                return [Named(version, version.replaced, STATISTICS, self.rule, len(self.averages.updates))]
        return []

    def _of_profile(self) -> list[Named]:
        """Return in what a right rule departs from the profile that is to be held, as discovery says it."""
        misfit = self.conventions.misfit or ""
        profile = misfit.removeprefix("not as in ").partition(":")[0].partition(",")[0]
        return [
            Named(Version(BUGS.get(code), Choice(profile, profile)), {}, tensors, self.rule, len(self.averages.updates))
            for code, (has, wants, tensors) in _AGAINST_PROFILE.items()
            if f"{has}, and {profile} has {wants}" in misfit and code not in self.without
        ]

    def _first(self) -> Iterator[Batch]:
        """Yield the first batches, before which nothing was held."""
        for life in self.lives:
            if life.training and _readable(life.training[0].after):
                zeros = np.zeros(life.training[0].case.gamma.size)
                yield self._batch(life.training[0], UPDATE, (zeros, zeros), (), life, _named(life.training[0].after))

    def _frozen(self, long: Lived) -> list[Named]:
        """Return the bug of statistics that stand still from some batch on."""
        updates = list(self._updates([long]))
        still = [all(np.array_equal(b.found[name], old) for name, old in _held_of(b)) for b in updates]
        if "BUG609" in self.without or not updates or not still[-1] or all(still):
            return []
        last = max(place for place, one in enumerate(still) if not one)
        batches = len(updates[last + 1].past.batches)
        version = Version(BUGS.get("BUG609"), Choice(str(batches), batches))
        # The fraction was found on few batches; here it is asked whether it holds up to that one, and none beyond.
        for rule in self.rules:
            if all(all_fit(updates, name, rule, version.replaced) for name in STATISTICS):
                return [Named(version, version.replaced, STATISTICS, rule, len(updates))]
        return []

    # ------------------------------------------------------------------------------------------- updates where none is

    def _other_updates(self) -> list[Named]:
        """Return the bugs of statistics that a backward changes, or a batch in eval mode."""
        found: list[Named] = []
        for code, values in (("BUG610", (None,)), ("BUG611", ("forward", "shared")), ("BUG611", ("backward",))):
            pairs = self.pairs(code, values[0])
            moved = any(not np.array_equal(b.found[name], old) for b in pairs for name, old in _held_of(b, _HELD))
            if not moved or code in self.without:
                continue
            if found and pairs and values == ("backward",):
                continue  # the same backward, whatever the mode
            options = [
                Named(version, version.replaced, STATISTICS, rule, len(pairs))
                for version in BUGS.get(code).versions([])
                for rule in self._all_rules()
                if version.choice.value in values
                and all(all_fit(pairs, name, rule, version.replaced) for name in _HELD)
            ]
            found += options[:1]
        return found

    def _all_rules(self) -> list[Rule]:
        """Return the conventions, those that the training updates follow first."""
        return [*self.rules, *(rule._replace(unbiased=unbiased) for rule in CONVENTIONS for unbiased in (False, True))]

    def pairs(self, code: str, value: Any) -> list[Batch]:
        """Return the batches around whose calls an update where none should be shows, by bug and choice."""
        if code == "BUG610" and self.by_backward:
            return []
        return list(self._pairs(*_AROUND[code, value]))

    def _pairs(self, part: str, earlier: str, later: str) -> Iterator[Batch]:
        """Yield batches with the statistics at one time as what was held, and at a later one as what was found."""
        for life in self.lives:
            met = [Steps(call.case, self.own) for call in life.training]
            for place, call in enumerate(getattr(life, part)):
                held, then = getattr(call, earlier), getattr(call, later)
                if _readable(held) and _readable(then):
                    before = met[:place] if part == "training" else met
                    yield self._batch(call, UPDATE, held, before, life, {"held_mean": then[0], "held_var": then[1]})

    # ------------------------------------------------------------------------------------------------------- eval mode

    def answers(self) -> Answers:
        """Return what finds the bugs of eval mode."""
        asked = [list(self._asked(when)) for when in ("before", "after")]
        fine = [batches if all(b.unit <= FINE for b in batches) else [] for batches in asked]
        biased = self.conventions.running_var != "unbiased"
        return Answers(fine[0], fine[1], self.rule, biased, self.without).beside_the_forward()

    def _asked(self, when: str) -> Iterator[Batch]:
        for life in self.lives:
            met = [Steps(call.case, self.own) for call in life.training]
            for call in life.inference:
                held = getattr(call, when)
                if _readable(held) and np.shape(call.found.get("y", ())) == call.case.x.shape:
                    yield self._batch(call, INFERENCE, held, met, life, call.found)

    # ------------------------------------------------------------------------------------------------------ leftovers

    def _later(self) -> list[Named]:
        """Return the bug of a step that depends on the steps before it."""
        later = []
        for life in self.lives:
            met: list[Steps] = []
            for call in life.training:
                if met:
                    found = {f"later_{name}": call.found[name] for name in TENSORS if name in call.found}
                    zeros = np.zeros(call.case.gamma.size)
                    later.append(self._batch(call, LATER, (zeros, zeros), met, life, found))
                met.append(Steps(call.case, self.own))
        names = [f"later_{n}" for n in TENSORS if later and all(f"later_{n}" in b.found for b in later)]
        wrong = [name for name in names if not all_fit(later, name, KEPT, {})]
        versions = [
            version
            for code, bug in BUGS.items()
            if code not in self.without and set(bug.steps) <= _LATER_STEPS
            for version in bug.versions([])
        ]
        options = [
            Named(version, version.replaced, tuple(name.removeprefix("later_") for name in wrong), KEPT, len(later))
            for version in versions
            if wrong and all(all_fit(later, name, KEPT, version.replaced) for name in names)
        ]
        return [min(options, key=lambda named: named.cost)] if options else []


# How discovery says that a convention is another than the profile's: what is there, what should be, and of what.
_AGAINST_PROFILE = {
    "BUG613": ("momentum is the fraction kept", "new", STATISTICS),
    "BUG614": ("momentum is the fraction new", "kept", STATISTICS),
    "BUG615": ("running variance biased", "unbiased", STATISTICS[1:]),
    "BUG616": ("running variance unbiased", "biased", STATISTICS[1:]),
}
# In which calls, and between which readings, a backward or a batch in eval mode updates.
_AROUND = {
    ("BUG610", None): ("training", "after", "behind"),
    ("BUG611", "forward"): ("inference", "before", "after"),
    ("BUG611", "shared"): ("inference", "before", "after"),
    ("BUG611", "backward"): ("inference", "after", "behind"),
}
# Statistics that no training batch updates in sight.
_WORKED_OUT_LATER = ("", "finished")
_LATER_STEPS = frozenset(f"later_{name}" for name in TENSORS)
# What statistics are called that another call than a training forward changes.
_HELD = ("held_mean", "held_var")


def _named(held: Any) -> dict[str, Any]:
    return dict(zip(STATISTICS, held, strict=True))


def _readable(held: Any) -> bool:
    return held is not None and bool(np.isfinite(held[0]).all() and np.isfinite(held[1]).all())


def _held_of(batch: Batch, names: Sequence[str] = STATISTICS) -> list[tuple[str, Any]]:
    return list(zip(names, (batch.past.mean, batch.past.var), strict=True))
