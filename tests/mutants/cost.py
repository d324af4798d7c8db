"""Measures what the diagnosis of every frozen fault costs: ``PYTHONPATH=tests python -m mutants.cost``.

Prints CPU seconds of one thread, for each target that is diagnosed. Names are not looked at: no set is spent by it.
"""

import os

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import process_time

from . import materialise
from .frozen import Record, records


def main() -> None:
    for faults, of in ((1, "single faults"), (2, "pairs")):
        costs = sorted(_costs([record for split in ("work", "held", "held-2") for record in records(split, faults)]))
        cut = statistics.quantiles(costs, n=20)
        print(
            f"{of}: {len(costs)} diagnoses, median {cut[9]:.2f} s, 95% {cut[18]:.2f} s, most {costs[-1]:.2f} s", end=""
        )
        print(f", {sum(cost <= _GOAL for cost in costs)} within {_GOAL} s")


def _costs(those: Sequence[Record]) -> Iterator[float]:
    # Here and not above: nothing else in this package imports what it judges.
    import naming

    from bncheck.diagnose import diagnose

    for record in those:
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / f"bn_{record.key}.py"
            path.write_text(materialise(record))
            for seen, eps, _ in naming.answers(path):
                started = process_time()
                diagnose(seen, ignored_eps=eps)
                cost = process_time() - started
                if cost > _GOAL:
                    print(f"{cost:.2f}", record.source, record.key, flush=True)
                yield cost


_GOAL = 0.5  # seconds for each failing target


if __name__ == "__main__":
    main()
