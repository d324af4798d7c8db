"""From judgements to findings, the two-oracle table and the verdict."""

from dataclasses import replace

import pytest

from bncheck import verdict
from bncheck.case import CaseSpec
from bncheck.checks.eval_gradients import NOTHING_IN_EVAL, OF_TRAINING
from bncheck.model import CaseResult, Conventions, Expected, Judgement, Outcome
from bncheck.report import Condition, Diagnosis, Finding, Verdict

SMALL, LARGE = CaseSpec(n=2, c=1).id, CaseSpec(n=64, c=8).id
P, F, W, S, I = Outcome.PASS, Outcome.FAIL, Outcome.WARN, Outcome.SKIP, Outcome.INCONCLUSIVE  # noqa: E741


def result(case, **codes):
    return CaseResult(case, {code: Judgement(o, f"{code} {o}", error=1.0, allowed=2.0) for code, o in codes.items()})


def finding(code, outcome, tensor=None):
    return Finding(code, code, outcome, "error", "", tensor)


def table(y, dx_numeric, dx_reference, *more):
    found = [finding("BN101", y, "y"), finding("BN201", dx_numeric, "dx"), finding("BN211", dx_reference, "dx"), *more]
    return verdict.oracle_table(found)


@pytest.mark.parametrize(
    ("numeric", "reference", "said"),
    [
        (F, F, "The backward fits the right forward."),
        (P, P, "fits the right"),
        (P, F, "dx is the derivative of the wrong one"),
    ],
)
def test_a_dx_that_follows_a_wrong_forward_has_to_be_mended_with_it(numeric, reference, said):
    """Gamma is missing in y, and in dx, which is the derivative of that y; dgamma is right once y is."""
    found = [finding("BN101", F, "y"), finding("BN201", numeric, "dx"), finding("BN211", reference, "dx")]
    found += [finding("BN202", F, "dgamma"), finding("BN212", P, "dgamma")]
    named = Diagnosis("BUG131", "affine-part", "", "", "y", 1.0)
    _, oracles = verdict.with_names(found, verdict.oracle_table(found), [named])
    assert said in oracles.conclusion
    assert oracles.conclusion.startswith("The forward is wrong: mend it first")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [((P, F, P), F), ((P, W, P), W), ((P, I), P), ((I, I), I), ((I, S), I), ((S, S), S), ((P, S), P), ((F, W), F)],
)
def test_a_check_says_the_gravest_thing_it_said(outcomes, expected):
    (found,) = verdict.findings([result(CaseSpec(seed=i).id, BN101=o) for i, o in enumerate(outcomes)])
    assert found.outcome is expected
    assert sum(found.counts.values()) == len(outcomes)


def test_the_smallest_failing_case_speaks_for_the_check():
    (found,) = verdict.findings([result(LARGE, BN101=F), result(SMALL, BN101=F)])
    assert found.case == SMALL
    assert verdict.representative("BN101", F, [result(LARGE, BN101=F), result(SMALL, BN101=F)]) == SMALL
    assert verdict.representative("BN101", F, [result(LARGE, BN101=P)]) is None


def test_further_failing_cases_have_several_channels_and_are_few():
    results = [result(CaseSpec(seed=i, n=3 + i, c=1 + i % 4).id, BN101=F if i % 2 else P) for i in range(100)]
    cases = [CaseSpec.parse(case) for case in verdict.further("BN101", results)]
    assert 4 <= len(cases) <= 8
    assert all(case.c > 1 and case.seed % 2 for case in cases)
    assert verdict.further("BN211", results) == verdict.further("BN101", results[::2]) == ()


def test_consequences_are_folded_under_their_cause_and_come_last():
    found = verdict.findings([result(SMALL, BN101=F, BN211=F, BN201=P, BN212=P)])
    by_code = {f.code: f for f in found}
    assert by_code["BN211"].follows_from == "BN101"
    assert by_code["BN101"].follows_from is None
    assert [f.code for f in found] == ["BN101", "BN211", "BN201", "BN212"]
    by_code = {f.code: f for f in verdict.findings([result(SMALL, BN101=F, BN211=F, BN201=F)])}
    assert by_code["BN211"].follows_from == "BN201", "the nearest cause first"


@pytest.mark.parametrize(
    ("outcomes", "conclusion"),
    [
        ((P, P, P), "Forward and backward are right in training mode."),
        ((P, F, F), "The backward is wrong; the forward is right in training mode."),
        ((F, P, F), "The forward is wrong; the backward is consistent with it."),
        ((F, F, P), "The forward is wrong; the backward is that of a right one."),
        ((F, P, P), "The forward is off by something that has no derivative (a constant)."),
        ((F, F, F), "The forward and the backward are wrong, or the backward was derived for yet another forward."),
        ((P, F, P), "Contradiction: the backward equals the reference but not the measured derivative."),
        ((P, I, P), "Not everything could be decided."),
    ],
)
def test_the_two_oracle_table(outcomes, conclusion):
    assert table(*outcomes).conclusion == conclusion


def test_a_derivative_that_was_never_measured_leaves_the_question_open():
    """So it is with a forward that raises wherever it is probed: the check is skipped on every case."""
    found = [finding("BN101", P, "y"), finding("BN201", S, "dx"), finding("BN211", P, "dx")]
    assert verdict.verdict(found, verdict.oracle_table(found), strict=False) is Verdict.INCONCLUSIVE
    alone = [found[1], finding("BN501", P)]
    assert verdict.oracle_table(alone) is None
    assert verdict.verdict(alone, None, strict=False) is Verdict.INCONCLUSIVE
    not_asked = [found[0], found[2]]
    assert verdict.verdict(not_asked, verdict.oracle_table(not_asked), strict=False) is Verdict.PASS


def test_a_tensor_of_a_wrong_shape_is_a_no():
    shapes = finding("BN501", F, "dx")
    found = table(P, S, S, shapes)
    assert (found.backward_is_own_derivative, found.backward_is_reference) == ("no", "no")


def test_nan_somewhere_is_a_no_only_where_nothing_else_was_seen():
    assert table(P, P, P, finding("BN503", F, "dx")).backward_is_reference == "yes"
    assert table(P, S, S, finding("BN503", F, "dx")).backward_is_reference == "no"


def test_right_numbers_with_a_broken_promise_are_not_called_right():
    conclusion = table(P, P, P, finding("BN504", F, "x")).conclusion
    assert conclusion == "The numbers of a training step are right; another promise is broken: BN504 BN504."


def test_a_part_is_not_called_the_whole():
    assert "Only a part" in verdict.oracle_table([finding("BN101", P, "y")]).conclusion
    assert "Only a part" in verdict.oracle_table([finding("BN201", P, "dx")]).conclusion


def test_no_oracle_asked_no_table():
    assert verdict.oracle_table([finding("BN506", F)]) is None


@pytest.mark.parametrize(
    ("found", "strict", "expected"),
    [
        ([P, P], False, Verdict.PASS),
        ([P, F], False, Verdict.FAIL),
        ([P, W], False, Verdict.PASS),
        ([P, W], True, Verdict.FAIL),
        ([P, I], False, Verdict.INCONCLUSIVE),
        ([S, S], False, Verdict.INCONCLUSIVE),
        ([], False, Verdict.INCONCLUSIVE),
        ([F, I], False, Verdict.FAIL),
    ],
)
def test_verdict(found, strict, expected):
    assert verdict.verdict([finding("BN101", o) for o in found], None, strict=strict) is expected


def test_a_contradiction_is_inconclusive():
    found = [finding("BN101", P, "y"), finding("BN201", I, "dx"), finding("BN211", P, "dx")]
    assert verdict.verdict(found, verdict.oracle_table(found), strict=False) is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("several", "expected"),
    [
        ([Verdict.PASS, Verdict.FAIL, Verdict.ERROR], Verdict.FAIL),
        ([Verdict.PASS, Verdict.INCONCLUSIVE, Verdict.ERROR], Verdict.ERROR),
        ([Verdict.PASS, Verdict.INCONCLUSIVE], Verdict.INCONCLUSIVE),
        ([Verdict.PASS, Verdict.PASS], Verdict.PASS),
        ([Verdict.PASS, Verdict.INTERRUPTED, Verdict.FAIL], Verdict.INTERRUPTED),
        ([], Verdict.ERROR),
    ],
)
def test_several_targets(several, expected):
    assert verdict.overall(several) is expected


# --------------------------------------------------------------------------------------------------- expected failures

KNOWN = (Expected("BN508", "one object on purpose"),)


def known(found, expected=KNOWN, target="my_bn.py::BatchNorm1d"):
    found = verdict.with_expected(found, expected, (target,))
    return {f.code: f for f in found}, verdict.verdict(found, None, strict=True)


def test_a_failure_that_is_expected_fails_nothing_and_is_still_told():
    found, outcome = known(verdict.findings([result(SMALL, BN101=P, BN508=F)]))
    assert (found["BN508"].outcome, found["BN508"].expected) == (W, "one object on purpose")
    assert found["BN508"].message.startswith("fails, as expected (one object on purpose): ")
    assert outcome is Verdict.PASS


def test_what_follows_from_an_expected_failure_is_expected_with_it():
    found, outcome = known(verdict.findings([result(SMALL, BN101=P, BN508=F, BN509=F)]))
    assert found["BN509"].follows_from == "BN508"
    assert found["BN509"].outcome is W
    assert outcome is Verdict.PASS


def test_an_expected_failure_alone_leaves_nothing_open():
    assert known(verdict.findings([result(SMALL, BN508=F)]))[1] is Verdict.PASS
    assert known(verdict.findings([result(SMALL, BN508=F, BN101=I)]))[1] is Verdict.INCONCLUSIVE


def test_another_failure_still_fails():
    assert known(verdict.findings([result(SMALL, BN101=F, BN508=F)]))[1] is Verdict.FAIL


def test_an_expected_failure_that_does_not_happen_any_more_is_one():
    found, outcome = known(verdict.findings([result(SMALL, BN101=P, BN508=P)]))
    assert found["BN508"].outcome is F
    assert "does not" in found["BN508"].message
    assert outcome is Verdict.FAIL


@pytest.mark.parametrize("undecided", [S, I])
def test_an_expectation_that_was_not_tried_is_left_alone(undecided):
    found, _ = known(verdict.findings([result(SMALL, BN101=P, BN508=undecided)]))
    assert found["BN508"].outcome is undecided
    assert "BN508" not in known(verdict.findings([result(SMALL, BN101=P)]))[0]


@pytest.mark.parametrize(
    ("pattern", "outcome"), [("*BatchNorm1d", W), ("*BatchNorm2d", F), ("my_bn.py::*", W), ("*", W)]
)
def test_expectations_are_of_the_targets_that_they_name(pattern, outcome):
    expected = (Expected("step-independent", "why", pattern),)
    found, _ = known(verdict.findings([result(SMALL, BN101=P, BN508=F)]), expected)
    assert found["BN508"].outcome is outcome


@pytest.mark.parametrize(
    ("hidden", "passed", "expected"),
    [
        ({"error": 0.5, "allowed": 1.0}, ("BN101", "BN211"), Verdict.PASS),
        ({"error": 2.0, "allowed": 1.0}, ("BN101", "BN211"), Verdict.INCONCLUSIVE),  # seen outside its bar
        ({}, ("BN101", "BN211"), Verdict.INCONCLUSIVE),
        ({"error": 0.5, "allowed": 1.0}, ("BN101", "BN212"), Verdict.INCONCLUSIVE),
        ({"error": 0.5, "allowed": 1.0}, ("BN211",), Verdict.INCONCLUSIVE),
    ],
)
def test_a_derivative_that_rounding_hides_is_right_where_y_and_gradient_are(hidden, passed, expected):
    found = [*(finding(code, P) for code in passed), replace(finding("BN201", I, "dx"), **hidden)]
    headline = verdict.oracle_table(found)
    assert verdict.verdict(found, headline, strict=False) is expected
    assert ("they equal the reference" in headline.conclusion) == (expected is Verdict.PASS)


def test_laws_follow_from_derivatives_that_follow():
    passed = [finding(code, P) for code in ("BN101", "BN211", "BN212", "BN213")]
    hidden = [replace(finding(code, I), error=0.5, allowed=1.0) for code in ("BN201", "BN202", "BN203")]
    law = finding("BN605", I)
    assert verdict.verdict([*passed, *hidden, law], None, strict=False) is Verdict.PASS
    assert verdict.verdict([*passed[:3], *hidden, law], None, strict=False) is Verdict.INCONCLUSIVE


def test_laws_that_could_not_be_decided_leave_no_question_open_where_the_oracles_answered():
    oracles = [finding(code, P) for code in ("BN101", "BN201", "BN202", "BN203")]
    assert verdict.verdict([*oracles, finding("BN605", I)], None, strict=False) is Verdict.PASS
    assert verdict.verdict([*oracles[1:], finding("BN605", I)], None, strict=False) is Verdict.INCONCLUSIVE
    assert verdict.verdict([*oracles, finding("BN302", I)], None, strict=False) is Verdict.INCONCLUSIVE


def named(tensor, code="BUG111", *, is_named=True):
    return Diagnosis(code, "", "", "", tensor, 1.0, is_named=is_named)


# A backward that fails beside a wrong forward follows from it where nothing but the forward has a bug with a name.
FORWARD_ALONE = [
    ([named("y")], "BN101"),
    ([named("y"), named("running_var", "BUG601")], "BN101"),
    ([named("y"), named("dx", "BUG211")], None),
    ([named("y", "BUG000", is_named=False)], None),
    ([named("dx", "BUG211")], None),
    ([], None),
]


@pytest.mark.parametrize(("diagnoses", "cause"), FORWARD_ALONE)
def test_a_backward_without_a_bug_of_its_own_follows_from_the_forward(diagnoses, cause):
    failed = [finding("BN101", F, "y"), finding("BN201", F, "dx")]
    failed.append(replace(finding("BN211", F, "dx"), follows_from="BN201"))
    found, oracles = verdict.with_names(failed, verdict.oracle_table(failed), diagnoses)
    assert [f.follows_from for f in found] == [None, cause, cause or "BN201"]
    assert ("mend it first" in oracles.conclusion) is (cause is not None)


@pytest.mark.parametrize(("others", "rounded"), [([], True), ([named("dx", "BUG211")], False)])
def test_code_in_a_smaller_dtype_is_not_called_wrong(others, rounded):
    failed = [finding("BN101", F, "y"), finding("BN201", P, "dx"), finding("BN211", F, "dx")]
    _, oracles = verdict.with_names(failed, verdict.oracle_table(failed), [named("y, dx", "BUG501"), *others])
    assert oracles.conclusion.startswith("Right to within the rounding") is rounded


@pytest.mark.parametrize(("words", "all_rounded"), [("C > 1 and x in Fortran order", False), ("C > 1", True)])
def test_code_in_a_smaller_dtype_that_misreads_memory_is_not_called_right_but_for_rounding(words, all_rounded):
    odd = replace(finding("BN201", F, "dx"), condition=Condition(words, 5, 5, 0, 9))
    failed = [finding("BN101", F, "y"), odd]
    single = replace(named("y, dx", "BUG501"), title="it computes in float32: nothing errs by more", explanation="old")
    _, oracles = verdict.with_names(failed, verdict.oracle_table(failed), [single])
    said = verdict.with_memory(single, failed)

    assert oracles.conclusion.startswith("Right to within the rounding") is all_rounded
    assert ("nothing errs by more" in said.title) is all_rounded
    assert ("np.ascontiguousarray" in said.explanation) is not all_rounded
    assert "old" in said.explanation


def test_what_has_no_name_and_fails_with_strided_arrays_alone_is_told_of_contiguous_ones():
    unnamed = named("dx", "BUG000", is_named=False)
    strided = replace(finding("BN201", F, "dx"), condition=Condition("x with gaps in memory", 5, 5, 0, 9))

    assert "np.ascontiguousarray" in verdict.with_memory(unnamed, [strided]).explanation
    assert verdict.with_memory(unnamed, [finding("BN201", F, "dx")]) == unnamed


def test_names_change_nothing_where_the_forward_is_right():
    failed = [finding("BN101", P, "y"), finding("BN201", F, "dx"), finding("BN211", F, "dx")]
    oracles = verdict.oracle_table(failed)
    assert verdict.with_names(failed, oracles, [named("dx", "BUG211")]) == (tuple(failed), oracles)


NOT_VERIFIED = "gradients of eval mode were not verified"


@pytest.mark.parametrize(
    ("outcome", "message", "note"),
    [
        (
            S,
            OF_TRAINING,
            "gradients of eval mode were not verified: backward is that of training mode whatever the mode",
        ),
        (S, NOTHING_IN_EVAL, f"{NOT_VERIFIED}: {NOTHING_IN_EVAL}"),
        (S, "the code keeps no running statistics", None),
        (P, OF_TRAINING, None),
    ],
)
def test_gradients_of_eval_mode_that_were_not_verified_are_noted(outcome, message, note):
    conventions = Conventions("test", ("NC",), "(C,)", "argument", None, "tuple", notes=("first",))
    found = [finding("BN101", P), replace(finding("BN306", outcome), message=message)]
    assert verdict.with_notes(conventions, found).notes == ((note, "first") if note else ("first",))
    assert verdict.with_notes(None, found) is None
