"""Variances of all values of several batches, beside the values themselves."""

from types import SimpleNamespace

import numpy as np
import pytest

from bncheck.checks.pooling import pooled_bound, pooled_kinds, pooled_variances
from bncheck.model import Evidence

SIZES = (4, 6, 3)
RNG = np.random.default_rng(1)
BATCHES = [RNG.normal([0.0, 5.0], [1.0, 3.0], size=(m, 2)) for m in SIZES]
EVIDENCE = Evidence(
    "long-run",
    {
        "batch_mean": np.stack([x.mean(axis=0) for x in BATCHES]),
        "batch_var": np.stack([x.var(axis=0) for x in BATCHES]),
    },
    facts={"m": list(SIZES)},
)


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_they_are_the_variances_of_all_values_together(batches):
    together = np.concatenate(BATCHES[:batches])
    biased, unbiased = pooled_variances(EVIDENCE, np.array(SIZES[:batches], float)[:, None])
    np.testing.assert_allclose(biased, together.var(axis=0), rtol=1e-13)
    np.testing.assert_allclose(unbiased, together.var(axis=0, ddof=1), rtol=1e-13)


def test_a_batch_that_counts_twice_is_there_twice():
    twice = np.concatenate([*BATCHES, BATCHES[2]])
    biased, unbiased = pooled_variances(EVIDENCE, np.array([[4.0], [6.0], [6.0]]))
    np.testing.assert_allclose(biased, twice.var(axis=0), rtol=1e-13)
    np.testing.assert_allclose(unbiased, twice.var(axis=0, ddof=1), rtol=1e-13)


def test_of_two_values_the_unbiased_variance_is_twice_the_biased():
    pair = Evidence("running", {"batch_mean": np.array([[4.0]]), "batch_var": np.array([[9.0]])})  # of 1 and 7
    assert [found.item() for found in pooled_variances(pair, np.array([[2.0]]))] == [9.0, 18.0]


def test_values_or_batches_may_count_alike():
    together = np.concatenate(BATCHES[:2])
    means = np.stack([x.mean(axis=0) for x in BATCHES[:2]])
    alike = np.mean([x.var(axis=0) for x in BATCHES[:2]], axis=0) + ((means[0] - means[1]) / 2) ** 2
    found = pooled_kinds(EVIDENCE, 2)
    wanted = [together.var(axis=0), together.var(axis=0, ddof=1), alike]
    np.testing.assert_allclose(found, wanted, rtol=1e-13)


def test_rounding_may_carry_each_channel_by_its_own_largest_value():
    """Four roundings of a square for each of 13 values, and 8 more: an upper bound whose growth is what matters."""
    x = np.array([[1.0, -20.0], [0.5, 10.0]])
    bound = pooled_bound(SimpleNamespace(x=x, axes=(0,)), EVIDENCE, u=0.5**10)
    np.testing.assert_array_equal(bound, (13 + 8) * 0.5**10 * 4 * np.array([1.0, 400.0]))
