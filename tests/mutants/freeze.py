"""Writes frozen.json: ``PYTHONPATH=tests python -m mutants.freeze``. README.md says why it runs once."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import combinations

from .frozen import FILE, Fault, Record, materialise, to_json
from .held2_table import EVERY
from .mutate import Mutant, Tally, mutants
from .table import SOURCES
from .truth import results_of, right_results, wrong_tensors

SINGLES = 18  # of each source
DOUBLES = 7
TRIED = 400  # pairs of one source that are looked at


def mark(mutant: Mutant) -> str:
    """Return an order that has nothing to do with what a mutant is."""
    return sha256(f"{mutant.source}:{mutant.label.line}:{mutant.after}".encode()).hexdigest()


def joined(found: list[Mutant]) -> list[Mutant]:
    """Give mutants with equal results each other's families: what is true of one is true of all."""
    families = defaultdict(set)
    for mutant in found:
        families[mutant.fingerprint].add(mutant.label.family)
    joint = []
    for mutant in found:
        also = (families[mutant.fingerprint] | set(mutant.label.also)) - {mutant.label.family}
        joint.append(replace(mutant, label=replace(mutant.label, also=tuple(sorted(also)))))
    return joint


class Balance:
    """Prefers what has been taken least, beside how much of it there is."""

    def __init__(self, found: list[Mutant]):
        self.there = Counter(trait for mutant in found for trait in self.traits(mutant))
        self.taken: Counter[str] = Counter()

    @staticmethod
    def traits(mutant: Mutant) -> tuple[str, ...]:
        return (f"family {mutant.label.family}", f"operator {mutant.operator}", f"{mutant.source} {mutant.part}")

    def cost(self, some: Sequence[Mutant]) -> float:
        return sum(self.taken[trait] / self.there[trait] ** 0.5 for mutant in some for trait in self.traits(mutant))

    def take(self, some: Sequence[Mutant]) -> None:
        self.taken.update(trait for mutant in some for trait in self.traits(mutant))


def singles(found: list[Mutant], sources: Iterable[str] = SOURCES, count: int = SINGLES) -> list[Record]:
    balance, left, chosen = Balance(found), sorted(found, key=mark), []
    for _ in range(count):
        for source in sources:
            best = min((mutant for mutant in left if mutant.source == source), key=lambda each: balance.cost([each]))
            balance.take([best])
            left.remove(best)
            chosen.append(record([best], best.label.tensors))
    return chosen


def record(some: Sequence[Mutant], tensors: tuple[str, ...]) -> Record:
    faults = tuple(Fault(each.label.line, each.after, each.operator, each.label) for each in some)
    return Record(some[0].source, faults, tensors)


def doubles(found: list[Mutant], sources: Iterable[str] = SOURCES, count: int = DOUBLES) -> list[Record]:
    """Return pairs on different lines, each fault of which shows beside the other, a third of each kind."""
    balance, chosen = Balance(found), []
    for source in sources:
        own = sorted((mutant for mutant in found if mutant.source == source), key=lambda each: each.label.line)
        pairs = [pair for pair in combinations(own, 2) if pair[0].label.line != pair[1].label.line]
        pairs.sort(key=lambda pair: sha256((mark(pair[0]) + mark(pair[1])).encode()).hexdigest())
        for turn in range(count):
            kind = KINDS[turn % len(KINDS)]
            fitting = [pair for pair in pairs if kind(*pair)][:TRIED]
            for pair in sorted(fitting, key=balance.cost):
                made = _both_show(pair)
                pairs.remove(pair)
                if made is not None:
                    balance.take(pair)
                    chosen.append(made)
                    break
    return chosen


def _in_one_tensor(first: Mutant, second: Mutant) -> bool:
    return first.label.tensors == second.label.tensors == ("dx",)


def _in_two_gradients(first: Mutant, second: Mutant) -> bool:
    tensors = first.label.tensors, second.label.tensors
    return not any("y" in each for each in tensors) and set(tensors[0]).isdisjoint(tensors[1])


def _forward_and_backward(first: Mutant, second: Mutant) -> bool:
    return ("y" in first.label.tensors) != ("y" in second.label.tensors)


KINDS: tuple[Callable[[Mutant, Mutant], bool], ...] = (_in_one_tensor, _in_two_gradients, _forward_and_backward)


def _both_show(pair: tuple[Mutant, Mutant]) -> Record | None:
    """Return the record of a pair whose results differ from the right ones and from those of each fault alone."""
    source = EVERY[pair[0].source]
    both = results_of(source, materialise(record(pair, ())))
    if both is None:
        return None
    for each in pair:
        alone = results_of(source, materialise(record([each], ())))
        if alone is None or not wrong_tensors(both, alone):
            return None
    wrong = wrong_tensors(both, right_results(source.name))
    return record(pair, wrong) if wrong else None


def main() -> None:
    tally = Tally()
    found = joined([mutant for source in SOURCES.values() for mutant in mutants(source, tally)])
    chosen = singles(found) + doubles(found)
    digests = {name: sha256(source.text.encode()).hexdigest()[:16] for name, source in SOURCES.items()}
    lines = ",\n".join(json.dumps(to_json(each)) for each in chosen)
    FILE.write_text(f'{{"sources": {json.dumps(digests)},\n"records": [\n{lines}\n]}}\n', encoding="utf-8")
    print(tally)
    print(Counter((len(each.faults), each.split) for each in chosen))


if __name__ == "__main__":
    main()
