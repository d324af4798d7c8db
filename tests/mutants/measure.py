"""Judges the diagnoses of one part of the frozen faults: ``PYTHONPATH=tests python -m mutants.measure held-2``.

For "held-2" once, at the end, and never before: README.md tells why.
"""

import sys
from collections import Counter, defaultdict

from .frozen import records

VERDICTS = ("named", "part", "unknown", "wrong", "failed")


def main(split: str) -> None:
    # Here and not above: nothing else in this package imports what it judges.
    import naming

    counts: dict[int, Counter[str]] = defaultdict(Counter)
    families: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records(split):
        try:
            verdict = naming.judged(record, naming.diagnoses(record))
        except Exception as error:  # one record that cannot be judged does not spoil the only run
            verdict = "failed"
            print(f"{type(error).__name__}: {error}")
        counts[len(record.faults)][verdict] += 1
        for fault in record.faults:
            families[fault.label.family][f"{len(record.faults)} {verdict}"] += 1
        if verdict != "named":
            print(verdict, record.source, record.key, [fault.after.strip() for fault in record.faults], flush=True)
    for faults, found in sorted(counts.items()):
        print(f"{faults} of {found.total()}:", ", ".join(f"{verdict} {found[verdict]}" for verdict in VERDICTS))
    for family, found in sorted(families.items()):
        print(f"{family}:", ", ".join(f"{verdict} {count}" for verdict, count in sorted(found.items())))


if __name__ == "__main__":
    main(sys.argv[1])
