"""What statistics that start with the first batch may hold after it, and second moments; more is in test_totals."""

from types import SimpleNamespace

import numpy as np
import pytest

from bncheck.case import CaseSpec
from bncheck.checks.moments import first, in_moments
from bncheck.model import Conventions, Evidence


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


def moments_of(sizes, n=6):
    """Return what follows the rule of an unbiased total, of batches of means 5, -1 and variances 6, 2."""
    arrays = {"batch_mean": np.array([[5.0, -1.0]] * 2), "batch_var": np.array([[6.0, 2.0]] * 2)}
    evidence = Evidence("long-run", arrays, {} if sizes is None else {"m": sizes})
    conventions = Conventions("", (), "", "", None, "", running_var="unbiased total")
    return (
        in_moments("var", SimpleNamespace(spec=CaseSpec(n=n, c=2)), evidence, conventions).arrays["batch_var"].tolist()
    )


def test_each_batch_s_variance_is_made_unbiased_by_its_own_size():
    assert moments_of([2, 5]) == [[12.0 + 25, 4.0 + 1], [7.5 + 25, 2.5 + 1]]
    assert moments_of([1, 3]) == [[6.0 + 25, 2.0 + 1], [9.0 + 25, 3.0 + 1]]  # there is nothing to be made of one value


def test_batches_of_no_size_of_their_own_are_the_case_s():
    assert moments_of(None, n=3) == [[9.0 + 25, 3.0 + 1]] * 2
