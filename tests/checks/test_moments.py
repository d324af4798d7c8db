"""What statistics that start with the first batch may hold after it; the rest of the module is in test_totals."""

import numpy as np
import pytest

from bncheck.checks.moments import first


@pytest.mark.parametrize(
    ("name", "read", "start"),
    [
        ("var", 4.0, 4.0),
        ("var", 1.0, 1.0),  # 0.75 * 0 + 0.25 * 4
        ("var", 1.75, 1.75),  # 0.75 * 1 + 0.25 * 4
        ("var", 1.5, 1.75),
        ("mean", 1.75, 4.0),
        ("mean", 1.0, 4.0),
    ],
)
def test_a_variance_may_start_at_a_number_beside_a_mean_that_starts_with_the_batch(name, read, start):
    assert first(name, 0.75, np.array([4.0]), np.array([read])) == start
