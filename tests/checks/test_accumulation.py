"""What a second backward made of a gradient: added to it, replaced it, or neither."""

import numpy as np
import pytest

from bncheck.checks.accumulation import _ADDED, _REPLACED, _became

ONCE = np.array([4.0, -1.0])


@pytest.mark.parametrize(
    ("once", "again", "became"),
    [
        (ONCE, ONCE, _REPLACED),
        (ONCE, 2 * ONCE, _ADDED),
        (ONCE, 2 * ONCE + [0.0, 0.003], _ADDED),  # 0.004 is a thousandth of the largest
        (ONCE, 2 * ONCE + [0.0, 0.03], ""),
        (ONCE, 2 * ONCE + [0.03, 0.0], ""),
        (ONCE, 2 * ONCE + [0.011, 0.0], _ADDED),  # and a thousandth of itself: 0.008
        (1e-3 * ONCE, 2e-3 * ONCE + [0.0, 1e-4], ""),
        (ONCE, 3 * ONCE, ""),
        (ONCE, ONCE[:1], ""),
        (ONCE, np.zeros((2, 2)), ""),
        (0 * ONCE, 0 * ONCE, ""),  # nothing shows whether nothing was added
        (None, ONCE, ""),
        (ONCE, None, ""),
    ],
)
def test_what_a_second_backward_made_of_a_gradient(once, again, became):
    assert _became(once, again) == became
