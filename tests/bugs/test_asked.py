"""Which failing cases a target is diagnosed by, beside those that are drawn for it."""

import targets

from bncheck.asked import answered, answered_further
from bncheck.case import CaseSpec


def test_a_case_of_one_value_per_channel_tells_nothing():
    target = targets.Pair(layouts=("NC",))
    seen, _ = answered(target)
    failing = {"BN213": [CaseSpec(n=1, c=3).id, CaseSpec(n=5, c=3).id]}
    assert [observed.case.spec.n for observed in answered_further(target, seen, failing)] == [5]


def test_of_a_tensor_that_is_wrong_on_drawn_cases_no_others_are_asked_for():
    target = targets.spoiled(dbeta=lambda dbeta: -dbeta)
    seen, _ = answered(target)
    assert answered_further(target, seen, {"BN213": [CaseSpec(n=5, c=3).id]}) == []
