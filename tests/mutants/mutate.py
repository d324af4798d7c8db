"""All single faults of a source: every operator at every place, less those that change no result or raise."""

from collections.abc import Callable
from dataclasses import dataclass

from .labels import Label, also_of, family_of
from .operators import OPERATORS, of_statements
from .places import Change, Place, applied, bare, line_after
from .table import Source
from .truth import fingerprint, results_of, right_results, wrong_tensors


@dataclass(frozen=True)
class Mutant:
    """One edit of a source: the line before and after it, without annotations, and what it makes wrong."""

    source: str
    operator: str
    part: str
    before: str
    after: str
    label: Label
    fingerprint: tuple[str, ...]


@dataclass
class Tally:
    """What became of the changes that the operators proposed."""

    raised: int = 0
    unchanged: int = 0
    repeated: int = 0
    kept: int = 0


def changes(place: Place) -> list[Change]:
    """Return every change that the operators propose, in the order of the text."""
    found = [change for node in place.expressions() for operator in OPERATORS for change in operator(place, node)]
    found = [change for change in found if change.line in place.parts] + list(of_statements(place))
    return sorted(found, key=lambda change: (change.line, change.start, change.operator, change.new))


def described(part: str, change: Change, tensors: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """Return the family of a change, and the other families that are true of it."""
    family = family_of(part, change.operator, change.focus)
    return family, also_of(part, change.operator, family, tensors)


def mutants(
    source: Source,
    tally: Tally,
    propose: Callable[[Place], list[Change]] = changes,
    describe: Callable[[str, Change, tuple[str, ...]], tuple[str, tuple[str, ...]]] = described,
) -> list[Mutant]:
    """Return a source's single faults; of those with equal results on one line, the first."""
    place = Place(source)
    right = right_results(source.name)
    found: list[Mutant] = []
    seen: set[tuple[object, ...]] = set()
    for change in propose(place):
        text = applied(place.lines, change)
        results = results_of(source, text)
        if results is None:
            tally.raised += 1
            continue
        tensors = wrong_tensors(results, right)
        if not tensors:
            tally.unchanged += 1
            continue
        mark = fingerprint(results)
        if mark in seen:
            tally.repeated += 1
            continue
        seen.add(mark)
        tally.kept += 1
        part = place.parts.get(change.line, "")
        family, also = describe(part, change, tensors)
        label = Label(family, also, tensors, change.line)
        before, after = bare(place.lines[change.line - 1]), bare(line_after(place.lines, change))
        found.append(Mutant(source.name, change.operator, part, before, after, label, mark))
    return found
