"""Every check against an implementation that breaks its promise and no other, and against a right one."""

from dataclasses import replace

import numpy as np
import pytest
import targets
from judging import SPEC, complaints, outcomes, result, saying

from bncheck.bugs.catalogue import BUGS
from bncheck.case import CaseSpec
from bncheck.checks.catalogue import CHECKS, TELLING_OF, meant, named, selected
from bncheck.errors import UsageError
from bncheck.model import Outcome

# Checks of what this pair does not have, running statistics and parameters of its own: broken in other files.
NOT_THERE = {code for code in CHECKS.names() if code.startswith(("BN3", "BN7", "BN22"))} | {"BN404", "BN515", "BN518"}


def changed_forward(change):
    def forward(x, gamma, beta, eps):
        y, cache = targets.forward(x, gamma, beta, eps)
        return change(x, y), cache

    return targets.Pair(forward)


def eps_outside(x, gamma, beta, eps):
    xc = x - x.mean(0)
    inv_std = 1 / (np.sqrt((xc * xc).mean(0)) + eps)
    return gamma * xc * inv_std + beta, (xc * inv_std, inv_std, gamma, (0,))


def one_pass(x, gamma, beta, eps):
    var = (x * x).mean(0) - x.mean(0) ** 2
    inv_std = 1 / np.sqrt(var + eps)
    xhat = (x - x.mean(0)) * inv_std
    return gamma * xhat + beta, (xhat, inv_std, gamma, (0,))


def noisy(state=np.random.default_rng(0)):  # noqa: B008 - the shared generator is the fault
    return targets.spoiled(dx=lambda dx: dx + 1e-3 * state.standard_normal(dx.shape))


def in_place(dy, cache):
    dy *= 2
    return targets.backward(dy / 2, cache)


def in_float32(dy, cache):
    return targets.Gradients(*(g.astype(np.float32) for g in targets.backward(dy, cache)[:3]))


def printing(dy, cache):
    print("debug")
    return targets.backward(dy, cache)


def raising(dy, cache):
    raise ValueError("odd")


class Accumulating(targets.Pair):
    """dgamma piles up within a session."""

    def open(self, setup):
        session, total = super().open(setup), [0.0]
        plain = session.backward

        def backward(dy):
            found = plain(dy)
            total[0] = total[0] + found.dgamma
            return found._replace(dgamma=total[0])

        session.backward = backward
        return session


class Sharing(targets.Pair):
    """All sessions keep their cache in one place."""

    def __init__(self):
        shared = {}

        def forward(x, gamma, beta, eps):
            y, shared["cache"] = targets.forward(x, gamma, beta, eps)
            return y, None

        super().__init__(forward, lambda dy, cache: targets.backward(dy, shared["cache"]))


def ignoring_eps():
    """A target of which discovery has found that it does not listen to its eps."""
    target = targets.Pair()
    target.conventions = replace(target.conventions, eps_source="ignored")
    return target


# What each wrong implementation must be called by itself, and what else follows from that.
KILLS = {
    "BN101": (changed_forward(lambda x, y: y + 0.01), {"BN801", "BN803"}),
    "BN201": (targets.spoiled(dx=lambda v: v * 1.000001), {"BN211", "BN801"}),
    "BN202": (targets.spoiled(dgamma=lambda v: v / 6), {"BN212", "BN608", "BN803"}),
    "BN203": (targets.spoiled(dbeta=lambda v: v / 6), {"BN213", "BN608", "BN803"}),
    "BN501": (targets.spoiled(dgamma=lambda v: np.ones((6, 3))), set()),
    "BN503": (targets.spoiled(dbeta=lambda v: v * np.nan), set()),
    "BN504": (targets.Pair(backward=in_place), set()),
    "BN506": (targets.Pair(backward=raising), set()),
    "BN508": (Accumulating(), {"BN516"}),
    "BN509": (Sharing(), set()),
    "BN510": (ignoring_eps(), set()),
}  # fmt: skip


@pytest.mark.parametrize("code", KILLS)
def test_the_broken_promise_fails_and_no_other(code):
    target, following = KILLS[code]
    every, alone = complaints(target)
    assert alone == {code}
    assert every - alone <= following


def test_what_differs_from_call_to_call_fails_by_itself():
    every, alone = complaints(noisy())
    assert alone == {"BN505", "BN201"}
    assert every >= {"BN508", "BN509"}


def test_a_gradient_that_broadcasts_against_its_parameter_is_a_misfit():
    text = "dbeta has shape (3,) where beta has (3, 1): an update would grow beta to (3, 3)"

    def backward(dy, cache):
        return targets.backward(dy, cache)._replace(misfit=text)

    judgements = result(targets.Pair(backward=backward)).judgements
    judgement = judgements.pop("BN501")
    assert (judgement.outcome, judgement.message, judgement.tensor) == (Outcome.FAIL, text, "dbeta")
    assert Outcome.FAIL not in {other.outcome for other in judgements.values()}


def test_forward_wrong_with_its_own_derivative():
    """eps outside the root with the backward of the right forward: everything that depends on inv_std is off."""
    assert {"BN101", "BN201", "BN212"} <= saying(Outcome.FAIL, outcomes(targets.Pair(eps_outside)))


def test_fewer_digits_than_the_input_fail_and_more_warn():
    assert "BN502" in saying(Outcome.FAIL, outcomes(targets.Pair(backward=in_float32)))
    wider = targets.spoiled(dx=lambda v: v.astype(np.float64))
    found = outcomes(wider, replace(SPEC, dtype="float32"))
    assert saying(Outcome.WARN, found) == {"BN502"}
    assert not saying(Outcome.FAIL, found)


def test_a_print_warns():
    found = outcomes(targets.Pair(backward=printing))
    assert saying(Outcome.WARN, found) == {"BN507"}
    assert not saying(Outcome.FAIL, found)


@pytest.mark.parametrize("spec", [replace(SPEC, mean=1e4), replace(SPEC, mean=1e4, n=100), replace(SPEC, mean=1e5)])
def test_a_one_pass_variance_warns_with_its_digits(spec):
    found = outcomes(targets.Pair(one_pass), spec)
    assert saying(Outcome.WARN, found) == {"BN401", "BN403"}
    assert not saying(Outcome.FAIL, found)


def not_tried(spec):
    """Return the checks that leave a case out: laws and networks are tried where it is small and has a variance."""
    codes = set() if spec.spatial else {"BN609"}
    if spec.sd == 1e-3:
        codes.add("BN602")  # no constant that can be added without rounding
    if spec.m == 1 or spec.m * spec.c > 64:
        codes |= {code for code in CHECKS.names() if code.startswith("BN8")} | {"BN511", "BN512", "BN514", "BN516"}
    if spec.m == 1 or spec.m * spec.c > 512:
        codes |= {code for code in CHECKS.names() if code.startswith("BN6")}
    return codes


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "spec",
    [SPEC, replace(SPEC, n=1), replace(SPEC, constant=1), replace(SPEC, gamma="zero"), replace(SPEC, spatial=(2, 3)),
     replace(SPEC, dy_scale=1e6), replace(SPEC, sd=1e-3), replace(SPEC, mean=100.0), replace(SPEC, n=1000)],
    ids=lambda s: s.id,
)  # fmt: skip
def test_a_right_implementation_trips_nothing(spec, dtype):
    found = outcomes(targets.Pair(), replace(spec, dtype=dtype))
    assert not saying(Outcome.FAIL, found) | saying(Outcome.WARN, found)
    if dtype == "float64":
        tried = set(found) - NOT_THERE - not_tried(spec)
        assert saying(Outcome.PASS, found) == tried
        assert saying(Outcome.SKIP, found) == set(found) - tried


def test_refusing_one_value_per_channel_is_right_and_raising_elsewhere_is_not():
    def forward(x, gamma, beta, eps):
        if x.shape[0] < 3:
            raise ValueError("expected more than 2 values per channel")
        return targets.forward(x, gamma, beta, eps)

    target = targets.Pair(forward)
    assert outcomes(target, replace(SPEC, n=1))["BN506"] is Outcome.PASS
    assert outcomes(target, replace(SPEC, n=2))["BN506"] is Outcome.FAIL


def test_no_eps_warns():
    found = outcomes(targets.Pair(eps=0.0), replace(SPEC, eps=0.0))
    assert saying(Outcome.WARN, found) == {"BN402"}
    assert not saying(Outcome.FAIL, found)


def test_without_eps_constant_channels_are_skipped():
    target = targets.Pair(eps=0.0)
    found = outcomes(target, replace(SPEC, eps=0.0, constant=1))
    assert saying(Outcome.SKIP, found) == set(found)


def test_a_numerical_failure_is_withdrawn_where_both_results_equal_the_reference(monkeypatch):
    """Both oracles would have to be wrong for a false alarm: here the probe's bar is forced to be far too small."""
    monkeypatch.setattr("bncheck.checks.against_own_forward.K", 1e-9)
    monkeypatch.setattr("bncheck.core.tolerance.K", 1e-9)
    judgements = result(targets.Pair()).judgements
    assert judgements["BN201"].outcome is Outcome.INCONCLUSIVE
    assert "equals the reference" in judgements["BN201"].message


@pytest.mark.parametrize("code", CHECKS.names())
def test_every_check_has_its_page(code):
    check = CHECKS.get(code)
    for section in ("Promise", "Why it matters", "Evidence", "Typical causes", "References"):
        assert f"\n{section}\n{'-' * len(section)}\n" in check.doc, section
    assert check.severity in ("error", "warning")
    assert code.startswith("BN")
    assert set(check.follows) <= set(CHECKS.names())


def test_selection_by_prefix_and_name():
    assert [c.code for c in selected(("BN20",), ())] == ["BN201", "BN202", "BN203"]
    assert [c.code for c in selected(("dx-matches-numeric",), ())] == ["BN201"]
    assert "BN101" not in [c.code for c in selected((), ("bn1",))]


@pytest.mark.parametrize(("select", "ignore"), [(("BN9",), ()), ((), ("nonsense",)), (("BN101",), ("BN1",))])
def test_a_selection_of_nothing_is_a_usage_error(select, ignore):
    with pytest.raises(UsageError):
        selected(select, ignore)


OF_BUGS = "is a bug, and not a check. Checks are chosen by codes that begin with BN:"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("BUG101", f"'BUG101' {OF_BUGS} BN101 tells of this bug."),
        ("bug217", f"'bug217' {OF_BUGS} BN201 and BN211 tell of this bug."),
        ("BUG705", f"'BUG705' {OF_BUGS} BN302, BN305 and BN306 tell of this bug."),
        ("dx-matches-numerik", "there is no check 'dx-matches-numerik'. Did you mean dx-matches-numeric?"),
        ("BN10i", "there is no check 'BN10i'. Did you mean BN510 or BN310 or BN101?"),
    ],
)
def test_who_names_no_check_is_told_what_may_be_meant(text, said):
    with pytest.raises(UsageError) as refused:
        named(text)
    assert str(refused.value).startswith(said.removesuffix("?"))


def test_a_check_is_named_by_its_code_in_any_case_and_by_its_name():
    assert {named(text).code for text in ("BN201", "bn201", "dx-matches-numeric")} == {"BN201"}


@pytest.mark.parametrize(
    ("select", "ignore", "said"),
    [
        (("BN9",), (), "no check's code starts with 'BN9'. Groups: BN1, BN2, BN3, BN4, BN5, BN6, BN7, BN8 (bncheck"),
        (("BN2011",), (), "no check's code starts with 'BN2011'. Did you mean BN211 or BN201"),
        ((), ("BUG301",), f"'BUG301' {OF_BUGS} BN202 and BN212 tell of this bug."),
        (("BN101",), ("BN1",), "no check is left after --select and --ignore"),
    ],
)
def test_a_selection_of_nothing_says_what_there_is(select, ignore, said):
    with pytest.raises(UsageError) as refused:
        selected(select, ignore)
    assert str(refused.value).startswith(said)


def test_refusals_are_meant_where_somebody_raised_them():
    assert all(meant(kind) for kind in ("ValueError", "AssertionError", "RuntimeError", "LinAlgError", "MyOwnError"))
    assert not any(meant(kind) for kind in ("IndexError", "ZeroDivisionError", "TypeError", "KeyError", "NameError"))


class Remembering(targets.Pair):
    """Keeps something of the first batch that a session sees."""

    def __init__(self, what):
        super().__init__()
        self.what = what

    def open(self, setup):
        session, first = super().open(setup), {}
        plain, back = session.forward, session.backward

        def forward(x, mode="train"):
            y = plain(x)
            first.setdefault("n", len(x))
            first.setdefault("mean", x.mean(0))
            return y + (first["mean"] - x.mean(0)) if self.what == "mean" else y

        def backward(dy):
            found = back(dy)
            return found._replace(dx=found.dx * len(dy) / first["n"]) if self.what == "size" else found

        session.forward, session.backward = forward, backward
        return session


def test_a_layer_that_refuses_one_value_per_channel_is_not_warmed_up_with_one():
    def forward(x, gamma, beta, eps):
        if x.shape[0] < 2:
            raise ValueError("expected more than 1 value per channel")
        return targets.forward(x, gamma, beta, eps)

    found = outcomes(targets.Pair(forward), replace(SPEC, n=2))
    assert not saying(Outcome.FAIL, found)
    assert found["BN508"] is Outcome.PASS


@pytest.mark.parametrize("mean", [300.0, 2000.0, 1e5])
def test_a_clipped_one_pass_variance_is_never_a_failure_of_the_derivative(mean):
    def forward(x, gamma, beta, eps):
        var = np.maximum((x * x).mean(0) - x.mean(0) ** 2, 0)
        inv_std = 1 / np.sqrt(var + x.dtype.type(eps))
        xhat = (x - x.mean(0)) * inv_std
        return gamma * xhat + beta, (xhat, inv_std, gamma, (0,))

    for seed in range(40):
        spec = CaseSpec(n=2 + seed % 4, c=2, mean=mean, dtype="float32", seed=seed)
        assert not saying(Outcome.FAIL, outcomes(targets.Pair(forward), spec)), spec.id


@pytest.mark.parametrize("what", ["mean", "size"])
def test_what_is_left_of_an_earlier_batch_is_found(what):
    assert saying(Outcome.FAIL, outcomes(Remembering(what))) == {"BN508"}


class OneSize(targets.Pair):
    """Refuses a batch of another size than the first that a session sees."""

    def open(self, setup):
        session = super().open(setup)
        plain, first = session.forward, []

        def forward(x, mode="train"):
            first.append(x.shape)
            if x.shape != first[0]:
                raise ValueError(f"made for {first[0]}")
            return plain(x, mode)

        session.forward = forward
        return session


def test_a_layer_for_one_batch_size_warns():
    found = outcomes(OneSize())
    assert saying(Outcome.WARN, found) == {"BN508"}
    assert not saying(Outcome.FAIL, found)


@pytest.mark.parametrize("code", BUGS.names())
def test_every_bug_is_told_by_checks_that_there_are(code):
    told = TELLING_OF[code[:4]]
    assert selected(told, ())
    for asked in (lambda: selected((code,), ()), lambda: selected((), (code,)), lambda: named(code)):
        with pytest.raises(UsageError, match=f"'{code}' is a bug, and not a check.* {told[-1]} tells? of"):
            asked()
