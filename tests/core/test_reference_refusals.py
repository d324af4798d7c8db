"""Which array the reference names when shapes do not fit, and where a bound ends."""

import numpy as np
import pytest

from bncheck.core.reference import ShapeError, backward, forward
from bncheck.core.rounding import rounding_bounds

X = np.random.default_rng(4).normal(size=(5, 2))


def test_a_refused_array_is_named_with_its_shape():
    fwd = forward(X, np.ones(2), np.zeros(2), 0.1)
    with pytest.raises(ShapeError, match="beta"):
        forward(X, np.ones(2), np.zeros(3), 0.1)
    with pytest.raises(ShapeError, match="gamma"):
        backward(X, fwd, np.ones(3))
    with pytest.raises(ShapeError, match=r"dy has shape \(4, 2\), but x has shape \(5, 2\)"):
        backward(X[:4], fwd, np.ones(2))


def test_a_bound_of_one_pass_grows_until_it_ends():
    """Its error of the variance grows with the square of the mean; at half of the variance there is no bound more."""
    means = 1e5 * 1.02 ** np.arange(1000)
    bounds = np.array(
        [
            rounding_bounds(X + mean, np.ones(2), np.zeros(2), X, 0.1, 2.0**-53, one_pass=True).dgamma.max()
            for mean in means
        ]
    )
    grown = bounds[1:] / bounds[:-1]
    end = int(np.argmax(grown > 100))
    assert (grown[:end] > 1.03).all()
    assert (bounds[end + 1 :] > 1e6 * bounds[end]).all()
