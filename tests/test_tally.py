"""What a sweep has shown, counted in memory that does not grow."""

import pytest

from bncheck import verdict
from bncheck.case import CaseSpec
from bncheck.model import CaseResult, Judgement, Outcome
from bncheck.tally import OF_A_KIND, WHOLE, Tally

PASS, FAIL = Judgement(Outcome.PASS, "", "y", 1e-17, 1e-16), Judgement(Outcome.FAIL, "off", "y", 1.0, 0.5)


def result(number, judgement=PASS, code="BN101"):
    return CaseResult(CaseSpec(seed=number, n=number % 50 + 2).id, {code: judgement}, 3)


def test_counts_are_those_of_all_cases():
    results = [result(i, FAIL if i % 3 == 0 else PASS) for i in range(3 * WHOLE)]
    tally = Tally.of(results)
    assert (tally.cases, tally.evaluations, tally.failures) == (3 * WHOLE, 9 * WHOLE, WHOLE)
    (found,) = verdict.findings(tally)
    assert found.counts == {"fail": WHOLE, "pass": 2 * WHOLE}


def test_results_are_kept_up_to_a_bound_and_failures_beyond_it():
    tally = Tally.of(result(i, FAIL if i >= WHOLE and i % 2 else PASS) for i in range(4 * WHOLE))
    assert len(tally.kept) == WHOLE + OF_A_KIND
    assert sum(r.judgements["BN101"].outcome is Outcome.FAIL for r in tally.kept) == OF_A_KIND


def test_each_check_has_its_share_of_what_is_kept():
    tally = Tally.of(result(i, FAIL, "BN101" if i < 3 * WHOLE else "BN503") for i in range(4 * WHOLE))
    kinds = [next(iter(r.judgements)) for r in tally.kept]
    assert (kinds.count("BN101"), kinds.count("BN503")) == (WHOLE + OF_A_KIND, OF_A_KIND)


def test_the_smallest_failure_speaks_wherever_it_comes():
    small = CaseResult("v1:plain:seed=9,n=2,c=1", {"BN101": FAIL})
    (found,) = verdict.findings(Tally.of([*(result(i, FAIL) for i in range(1, 2 * WHOLE) if i % 50), small]))
    assert found.case == small.case


def test_the_largest_error_speaks_for_a_pass():
    near = Judgement(Outcome.PASS, "", "y", 9e-17, 1e-16)
    (found,) = verdict.findings(Tally.of([*(result(i) for i in range(2 * WHOLE)), result(7, near)]))
    assert found.error == 9e-17


def test_reasons_do_not_grow_without_bound():
    tally = Tally.of(result(i, Judgement(Outcome.SKIP, f"reason {i}")) for i in range(500))
    assert len(tally.reasons["BN101"]) == 100
    assert tally.reasons["BN101"].total() == 500
    assert verdict.findings(tally)[0].counts == {"skip": 500}


def test_the_digest_is_of_every_judgement_and_of_their_order():
    one, two = result(1), result(2)
    digests = {
        Tally.of(lot).digest
        for lot in ([one, two], [two, one], [one], [one, result(2, FAIL)], [one, result(2, code="BN102")])
    }
    assert len(digests) == 5
    assert Tally.of([one, two]).digest == Tally.of([result(1), result(2)]).digest


@pytest.mark.parametrize("count", [10, 10 * WHOLE])
def test_memory_is_flat(count):
    tally = Tally.of(result(i) for i in range(count))
    assert len(tally.kept) == min(count, WHOLE)
    assert len(tally.telling) == 1
