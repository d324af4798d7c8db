"""How many of the frozen faults have their name: the share of the work part, and no wrong name."""

from collections import Counter

import naming
import pytest
from mutants import records

# A fault that lies in the order of the results alone is none where the names that are returned say that order: it is
# reported as a convention.
BY_CONTRACT = "swapped results"


def sampled(faults, step):
    """Return every so manieth fault of the work part, less those that lie in the order of results."""
    chosen = list(records(split="work", faults=faults))[::step]
    return [record for record in chosen if all(fault.label.family != BY_CONTRACT for fault in record.faults)]


@pytest.mark.parametrize(("faults", "step", "share"), [(1, 6, 0.95), (2, 6, 0.8)], ids=["single", "pairs"])
def test_most_faults_have_their_name(faults, step, share):
    chosen = sampled(faults, step)
    judged = Counter(naming.judged(record, naming.diagnoses(record)) for record in chosen)
    assert judged["named"] >= share * len(chosen), judged
    assert judged["wrong"] <= 0.02 * len(chosen), judged
