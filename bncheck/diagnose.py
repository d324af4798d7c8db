"""From what the user's code returned to the name of the bug: which wrong version of the reference explains it.

Every known bug is the reference with one fault. A bug is named when each value of a tensor, on every case where that
tensor is wrong, is what the faulty reference gives, to within rounding: one bug for y, one or two for a gradient. The
gradients are judged relative to the user's own forward. What no bug explains exactly gets no name.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from bncheck.bugs.catalogue import BUGS, Choice, Sample, Version
from bncheck.bugs.channelwise import readings_of_sum, readings_of_y
from bncheck.bugs.evidence import Observed, fits, is_rounded, wrong_of
from bncheck.bugs.factors import Factors
from bncheck.bugs.fits import fits_of
from bncheck.bugs.forms import FORMS, FORWARD_FORMS, RECOMPUTED, Replaced, counting, from_returned, twins, what_counts
from bncheck.bugs.memory import OF_TRAINING
from bncheck.bugs.pairs import alike_on, close_pairs
from bncheck.bugs.steps import FORWARD, OF_GRADIENTS, Step
from bncheck.bugs.terms import readings
from bncheck.bugs.versions import fits_all, own_gradient, steps_with, value_of
from bncheck.bugs.words import RIGHT, in_words, unnamed
from bncheck.core.digits import is_noise
from bncheck.model import TENSORS
from bncheck.report import Diagnosis


def diagnose(
    seen: Sequence[Observed],
    without: Sequence[str] = (),
    ignored_eps: float | None = None,
    further: Sequence[Observed] = (),
) -> tuple[Diagnosis, ...]:
    """Return the bugs that explain what is wrong, in the order of the formulas: see :func:`explain`."""
    return tuple(diagnosis for diagnosis, _ in explain(seen, without, ignored_eps, further))


def explain(
    seen: Sequence[Observed],
    without: Sequence[str] = (),
    ignored_eps: float | None = None,
    further: Sequence[Observed] = (),
) -> list[tuple[Diagnosis, Version | None]]:
    """Return the bugs that explain what is wrong, in the order of the formulas, and the wrong versions that they are.

    A tensor that no bug explains comes last, without a version: its diagnosis says what the tensor is made of. If that
    is y, nothing is said of the gradients, which may be right for it.

    Parameters
    ----------
    seen : sequence of Observed
        Cases with enough values per channel, and with spread parameters, to tell the bugs apart.
    without : sequence of str
        Codes of bugs that are left out of the search.
    ignored_eps : float or None
        The eps that is used whatever the caller gives, if so; the cases have it too.
    further : sequence of Observed
        Cases on which something is wrong, whatever they are made for. They are looked at for tensors in which `seen`
        shows nothing wrong; a bug is named there if it gives every value of all cases, the right ones, too.

    """
    search = _Search([o for o in seen if o.found], frozenset(without), [o for o in further if o.found])
    named: dict[str, tuple[Version, list[str]]] = {}
    if ignored_eps is not None:
        bug = BUGS.get("BUG113" if ignored_eps else "BUG112")
        if bug.code not in without:
            version = Version(bug, Choice(f"{ignored_eps:.3g}", ignored_eps))
            named[version.title] = version, ["y"]
    with np.errstate(all="ignore"):  # wrong versions divide by 0, and failing cases have channels that are constant
        for tensor in ("y", "dbeta", "dx", "dgamma"):
            for version in search.explain(tensor):
                # One bug in several tensors is said once: its title has its parameter.
                named.setdefault(version.title, (version, []))[1].append(tensor)
    found: list[tuple[Diagnosis, Version | None]]
    found = [(_diagnosis(version, tensors, search), version) for version, tensors in named.values()]
    # Of a tensor that is wrong on other cases alone, terms say nothing: they are right on these.
    return found + [(_unnamed(tensor, search), None) for tensor in search.unnamed if not search.is_hidden(tensor)]


def own_steps(explained: Sequence[tuple[Diagnosis, Version | None]]) -> dict[str, Step] | None:
    """Return the steps of the forward that are known to be wrong; None where y is wrong and has no name."""
    if any(version is None and diagnosis.tensor == "y" for diagnosis, version in explained):
        return None
    versions = [v for _, v in explained if v is not None and not v.anew and v.bug.code not in _OF_NO_STEP]
    forward = [v for v in versions if set(v.bug.steps) <= set(FORWARD)]
    return {name: step for version in forward for name, step in version.replaced.items()}


def is_single(explained: Sequence[tuple[Diagnosis, Version | None]]) -> bool:
    """Tell whether what is wrong with the forward is that it computes in single precision."""
    versions = [(v, d.tensor.split(", ")) for d, v in explained if v is not None]
    return any((v.bug.code, v.choice.value) == ("BUG501", "float32") and "y" in tensors for v, tensors in versions)


def _diagnosis(version: Version, tensors: Sequence[str], search: _Search) -> Diagnosis:
    bug = version.bug
    # An eps that is used whatever is asked for is right on the drawn cases, which have it, too.
    cases = max(len(search.wrong(tensor)) for tensor in tensors) or len(search.seen)
    if any(search.is_hidden(tensor) and search.wrong(tensor) for tensor in tensors):
        cases = 0  # none that was drawn shows it
    tensors = [*tensors, *(step for step in _made_of(bug.steps) if step in TENSORS)]
    where = ", ".join(name for name in TENSORS if name in tensors)
    wrong, right, mend = version.fill(bug.wrong), version.fill(bug.right), version.fill(bug.mend)
    return Diagnosis(bug.code, bug.name, version.title, mend, where, 1.0, wrong=wrong, right=right, cases=cases)


def _unnamed(tensor: str, search: _Search) -> Diagnosis:
    """Return what can be said of a tensor that no known bug explains."""
    wrong = search.wrong(tensor)
    samples = [Sample(steps_with(o, search.own), dict(o.found)) for o in wrong]
    said = in_words(tensor, samples, Factors([sample.steps for sample in samples]))
    return unnamed(tensor, said, RIGHT[tensor], len(wrong))


class _Search:
    """Looks for the bugs of one tensor after the other; what was found of the forward is what gradients build on."""

    def __init__(self, seen: Sequence[Observed], without: frozenset[str], further: Sequence[Observed] = ()) -> None:
        self.seen, self.further = seen, further
        self._wrong: dict[str, list[Observed]] = {}
        self.without = without
        self.bugs = [bug for code, bug in BUGS.items() if code not in without and OF_TRAINING.issuperset(bug.steps)]
        self.own: dict[str, Step] = {}
        self.backward: tuple[Version, ...] = ()
        self.named: set[str] = set()
        self.is_narrow = False
        self.unnamed: list[str] = []

    def wrong(self, tensor: str) -> list[Observed]:
        """Return the cases on which a tensor is wrong: of the further ones, if it is on none of the others."""
        if tensor not in self._wrong:
            self._wrong[tensor] = wrong_of(self.seen, tensor) or wrong_of(self.further, tensor)
        return self._wrong[tensor]

    def is_hidden(self, tensor: str) -> bool:
        """Tell whether the cases that tell bugs apart show nothing wrong in a tensor."""
        return not any(o is other for o in self.seen for other in self.wrong(tensor)[:1])

    def _asked(self, tensor: str) -> list[Observed]:
        """Return the cases on which a version has to give a tensor; what shows on few of them alone, on all."""
        wrong = self.wrong(tensor)
        return [o for o in (*self.seen, *self.further) if tensor in o.found] if self.is_hidden(tensor) else wrong

    def explain(self, tensor: str) -> tuple[Version, ...]:
        """Return the bugs of a tensor; none if it is right, follows from what is named, or is explained by none."""
        wrong = self.wrong(tensor)
        if not wrong or tensor in self.named or "y" in self.unnamed:
            return ()  # what follows from a forward that has no name may be right
        # Rounding explains more than a formula does: it comes first where y is made of few digits, and last elsewhere.
        rounded = self._rounded(tensor, wrong, "float32")
        if rounded and (tensor in ("y", "dbeta") or self.is_narrow):
            self.is_narrow = True
            return rounded
        rounded = () if tensor == "dx" and not any(is_noise(o.case, "dx", o.found["dx"]) for o in wrong) else rounded
        if tensor == "y":
            found, self.own = self._forward(wrong)
        elif self._follows(tensor, wrong, self.own):
            return ()
        else:
            forms = self._forms(tensor, wrong, self.own)
            if tensor == "dgamma":
                carried = {name: step for version in self.backward for name, step in version.replaced.items()}
                if carried and any(fits_all(wrong, tensor, {**form, **carried}) for form in forms):
                    return self.backward
            found = self._named(tensor, wrong, forms) or (self._named(tensor, wrong, FORMS) if self.own else ())
        # Rounding in half precision hides much that is wrong: what has another name is not it.
        found = found or rounded or self._rounded(tensor, wrong, "float16")
        if tensor == "dx":
            self.backward = tuple(v for v in found if v.bug.steps[0] in ("back_inv_std", "back_centred") or v.anew)
        if not found:
            self.unnamed.append(tensor)
        return found

    def _rounded(self, tensor: str, wrong: Sequence[Observed], dtype: str) -> tuple[Version, ...]:
        """Return the bug of code that computes in a smaller dtype, if that explains a tensor."""
        if "BUG501" in self.without or not all(is_rounded(o, tensor, dtype) for o in wrong):
            return ()
        return (Version(BUGS.get("BUG501"), Choice(dtype, dtype)),)

    def _forward(self, wrong: Sequence[Observed]) -> tuple[tuple[Version, ...], dict[str, Step]]:
        """Return the bugs that give y, and the wrong steps.

        Where several do (no value of x is left in y, say), the gradients decide: one of which they follow is meant.
        """
        first: tuple[tuple[Version, ...], dict[str, Step]] = (), {}
        for versions, replaced in islice(self._all_named("y", wrong, FORWARD_FORMS), _ALIKE):
            if not first[0]:
                first = versions, replaced
            elif len(versions) > len(first[0]):
                break
            gradients = [(tensor, self.wrong(tensor)) for tensor in ("dx", "dgamma")]
            if all(self._follows(tensor, seen, replaced) for tensor, seen in gradients if seen):
                return versions, replaced
        return first

    def _follows(self, tensor: str, wrong: Sequence[Observed], own: dict[str, Step]) -> bool:
        """Tell whether a wrong gradient is what the user's own forward makes of it, or the formula of its parts."""
        if any(fits_all(wrong, tensor, form) for form in self._forms(tensor, wrong, own)):
            return True
        smallest = sorted(wrong, key=lambda o: o.case.x.size)
        return bool(own) and all(fits(o, tensor, own_gradient(o, own, tensor)) for o in smallest)

    @staticmethod
    def _forms(tensor: str, wrong: Sequence[Observed], own: dict[str, Step]) -> list[dict[str, Step]]:
        """Return the right forms of the formulas, with what the forward, or another gradient, got wrong."""
        forms = [{**own, **form} for form in (*FORMS, *(RECOMPUTED if own else ()))]
        return forms + [{**own, **form} for form in from_returned(wrong, tensor)]

    def _named(self, tensor: str, wrong: Sequence[Observed], forms: Sequence[Replaced]) -> tuple[Version, ...]:
        """Return the fewest bugs that give every value of a tensor; the simplest of several."""
        return next((versions for versions, _ in self._all_named(tensor, wrong, forms)), ())

    def _all_named(
        self, tensor: str, wrong: Sequence[Observed], forms: Sequence[Replaced]
    ) -> Iterator[tuple[tuple[Version, ...], dict[str, Step]]]:
        """Yield the bugs that give every value of a tensor, the fewest and simplest first, and the wrong steps."""
        wrong = sorted(wrong, key=lambda o: o.case.x.size)
        for form, versions in self._candidates(tensor, wrong, forms):
            if any(version.bug.code in self.without for version in versions):
                continue
            replaced = {**form, **{name: step for v in versions for name, step in v.replaced.items()}}
            concerned = {tensor, *(name for v in versions for name in _made_of(v.bug.steps) if name in TENSORS)}
            if all(fits_all(seen, name, replaced) for seen in (wrong, self._asked(tensor)) for name in concerned):
                self.named |= concerned
                yield tuple(sorted(versions, key=lambda version: version.bug.code)), replaced

    def _candidates(
        self, tensor: str, wrong: Sequence[Observed], forms: Sequence[Replaced]
    ) -> Iterator[tuple[Replaced, tuple[Version, ...]]]:
        """Yield sets of bugs and the forms that they are in: one bug in any form first, then what the terms tell."""
        concerned = [bug for bug in self.bugs if _concerns(tensor, bug.steps)]
        samples = [[Sample(steps_with(o, form), dict(o.found)) for o in wrong] for form in forms]
        factors = Factors([sample.steps for sample in samples[0]])
        fits = list(fits_of(samples[0])) if tensor == "dx" else []
        alike = twins([seen[-1].steps for seen in samples])
        read: dict[int, list[tuple[Version, ...]]] = {}
        made: dict[int, list[tuple[Version, ...]]] = {}
        for place in set(alike):
            seen = samples[place]
            if tensor == "dx":
                read[place] = readings(seen, fits, factors)
            else:
                read[place] = readings_of_y(seen, factors) if tensor == "y" else readings_of_sum(tensor, seen, factors)
            made[place] = [(version,) for bug in concerned for version in bug.versions(seen)]
        ones = list(what_counts(forms, alike, made))
        told = list(what_counts(forms, alike, read))
        ones += [item for item in told if len(item[1]) == 1]
        yield from sorted(ones, key=lambda item: _cost(item[1]) + _cost_of_form(*item))
        if tensor != "y":
            anew = [bug for bug in self.bugs if _concerns("y", bug.steps) and not {"xhat", "y"} & set(bug.steps)]
            for form, seen in zip(forms[:_FORMS_OF_PAIRS], samples, strict=False):
                made_anew = [v for bug in anew for v in bug.versions(seen) if bug.code not in _BY_Y]
                for group in alike_on(seen[0], made_anew):
                    of_own = [replace(made_anew[at], anew=True) for at in group]
                    ways = [var for var in FORWARD_FORMS if not var or counting(var, set(of_own[0].bug.steps))]
                    for way in ways:
                        if fits_all(wrong[:1], tensor, {**form, **way, **of_own[0].replaced}):
                            yield from (({**form, **way}, (version,)) for version in of_own)
        known = [version for (version,) in made[0]]
        several = [(form, _as_known(samples[0], versions, known)) for form, versions in told if len(versions) > 1]
        yield from sorted(several, key=lambda item: _cost(item[1]))
        if tensor == "y":
            simple = [version for version in known if version.bug.code != _OTHER_MODE]
            yield from ((forms[0], pair) for pair in close_pairs(samples[0][0], simple))
        if tensor == "dx":
            begun = [version for version in known if version.bug.steps[0].startswith("back_")]
            for form in forms[:_FORMS_OF_PAIRS]:
                for version in begun:
                    seen = [Sample(steps_with(o, {**form, **version.replaced}), dict(o.found)) for o in wrong]
                    yield from ((form, (version, *other)) for other in readings(seen, fits, factors, single=True))


def _as_known(samples: Sequence[Sample], versions: Sequence[Version], known: Sequence[Version]) -> tuple[Version, ...]:
    """Return versions, those that are put together of a factor and a quantity replaced by bugs of the same value."""
    found = list(versions)
    first = samples[0].steps  # the smallest
    for place, version in enumerate(versions):
        if version.bug.code in _PUT_TOGETHER:
            (step,) = version.bug.steps
            value = value_of(first.also(version.replaced), step)
            for other in known:
                if other.bug.steps == version.bug.steps:
                    same = value_of(first.also(other.replaced), step)
                    if same is not None and np.allclose(same, value, rtol=1e-6, atol=0):
                        found[place] = other
                        break
    return tuple(found)


# Bugs whose parameter is a factor times a quantity.
_PUT_TOGETHER = ("BUG217", "BUG218", "BUG225")


def _cost(versions: Sequence[Version]) -> float:
    # Each bug more costs as much as anything that may be written down in one; one in two tensors spares another.
    spared = sum(v.bug.steps[0] in OF_GRADIENTS for v in versions)
    return 10.0 * (len(versions) - spared) + sum(v.choice.cost for v in versions)


def _cost_of_form(form: Replaced, versions: Sequence[Version]) -> float:
    """Return what it costs that the mean path follows from what is wrong in another: no bug's line says so."""
    follows = "mean_path" in form and any({"direct_path", "variance_path"} & set(v.bug.steps) for v in versions)
    return 1.0 if follows else 0.0


def _made_of(steps: Sequence[str]) -> Sequence[str]:
    """Return what steps are, and the gradients that are said with them."""
    return OF_GRADIENTS.get(steps[0], steps)


def _concerns(tensor: str, steps: Sequence[str]) -> bool:
    if tensor == "y":
        return set(steps) <= set(FORWARD)
    if tensor == "dx":
        return not set(steps) & {*FORWARD, "dgamma", "dbeta"}
    return tensor in steps or (tensor == "dgamma" and steps[0] == "back_inv_std")


# So many bugs that give the same y are looked at.
_ALIKE = 16
# Bugs whose parameter is read off y.
_BY_Y = ("BUG113",)
# Statistics of the other mode: beside that nothing of the batch's is left to be wrong.
_OTHER_MODE = "BUG133"
# What is wrong where no step of the batch's own is: statistics of the other mode, digits.
_OF_NO_STEP = (_OTHER_MODE, "BUG501")


# Pairs are tried with the first of these alone: they are many.
_FORMS_OF_PAIRS = 2
