"""BN602 to BN609 on layers that break one law: no oracle is asked, so the reference's own checks may fail beside."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import targets
from judging import SPEC, complaints, judged, roots

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.catalogue import CHECKS
from bncheck.checks.laws import _own_rounding, _worst
from bncheck.model import GRADIENTS, Evidence, Outcome
from bncheck.session import Gradients

SPACE = replace(SPEC, n=5, spatial=(2, 3))
# Channels of a mean far from 0, so that what is not centred shows.
OFF = replace(SPEC, mean=3.0)
LAWS = ["BN602", "BN604", "BN605", "BN606", "BN607", "BN608", "BN609"]


def uncentred_variance(x, gamma, beta, eps):
    """The mean square of x in the place of the variance."""
    inv_std = 1 / np.sqrt((x * x).mean(0) + eps)
    xhat = (x - x.mean(0)) * inv_std
    return gamma * xhat + beta, (xhat, inv_std, gamma, (0,))


def without_last_row(x, gamma, beta, eps):
    """Statistics that leave the last row out."""
    mean, var = x[:-1].mean(0), x[:-1].var(0)
    xhat = (x - mean) / np.sqrt(var + eps)
    return gamma * xhat + beta, (xhat, 1 / np.sqrt(var + eps), gamma, (0,))


def layer_norm(x, gamma, beta, eps):
    """Statistics over the features."""
    xhat = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + eps)
    return gamma * xhat + beta, (xhat, 1.0, gamma, (0,))


def whole_array(x, gamma, beta, eps):
    """Statistics of the whole array."""
    xhat = (x - x.mean()) / np.sqrt(x.var() + eps)
    return gamma * xhat + beta, (xhat, 1 / np.sqrt(x.var() + eps), gamma, (0,))


def clipped_gamma(x, gamma, beta, eps):
    """A scale that is never negative."""
    return targets.forward(x, np.abs(gamma), beta, eps)


def unbiased(x, gamma, beta, eps):
    """The variance over m - 1."""
    xhat = (x - x.mean(0)) / np.sqrt(x.var(0, ddof=1) + eps)
    return gamma * xhat + beta, (xhat, 1.0, gamma, (0,))


def per_pixel(x, gamma, beta, eps):
    """Statistics over the batch alone, in code that takes (N, C) and (N, C, H, W)."""
    shape = (1, -1, *[1] * (x.ndim - 2))
    inv_std = 1 / np.sqrt(x.var(axis=0, keepdims=True) + eps)
    xhat = (x - x.mean(axis=0, keepdims=True)) * inv_std
    axes = (0, *range(2, x.ndim))
    return gamma.reshape(shape) * xhat + beta.reshape(shape), (xhat, inv_std, gamma.reshape(shape), axes)


def clipping(dy, cache):
    """Gradients cut off at 1/2."""
    return Gradients(*(np.clip(g, -0.5, 0.5) for g in targets.backward(dy, cache)[:3]))


def tail_lost(dy, cache):
    """The last row of an odd batch added to nothing, left out of dgamma."""
    found, xhat = targets.backward(dy, cache), cache[0]
    return found._replace(dgamma=(dy * xhat)[:-1].sum(0))


def everything(dy, cache):
    """dgamma summed over the features too."""
    found = targets.backward(dy, cache)
    return found._replace(dgamma=np.full_like(found.dgamma, found.dgamma.sum()))


def averaged(dy, cache):
    """Parameter gradients that are means over the batch."""
    found = targets.backward(dy, cache)
    return found._replace(dgamma=found.dgamma / len(dy), dbeta=found.dbeta / len(dy))


def decaying(dy, cache):
    """A decay of the weights in dgamma: 0.1 gamma whatever dy is."""
    return targets.backward(dy, cache)._replace(dgamma=targets.backward(dy, cache).dgamma + 0.1 * cache[2].ravel())


# The law, a layer that breaks it, the laws that hold all the same, and a case. Which others break is not demanded.
BROKEN = {
    "BN602": (targets.Pair(uncentred_variance), ["BN604", "BN605", "BN606", "BN607", "BN608"], OFF),
    "BN604": (targets.Pair(without_last_row), ["BN602", "BN605", "BN606", "BN607"], SPEC),
    "BN604 backward": (targets.Pair(backward=tail_lost), ["BN602", "BN605", "BN606", "BN607"], SPEC),
    "BN605": (targets.Pair(layer_norm), ["BN604", "BN606", "BN607", "BN608"], SPEC),
    "BN605 whole": (targets.Pair(whole_array), ["BN604", "BN606", "BN607", "BN608"], SPEC),
    "BN605 backward": (targets.Pair(backward=everything), ["BN602", "BN604", "BN606", "BN607", "BN608"], SPEC),
    "BN606": (targets.Pair(backward=clipping), ["BN602", "BN604", "BN605", "BN607"], SPEC),
    "BN606 decay": (targets.Pair(backward=decaying), ["BN602", "BN604", "BN605", "BN607"], SPEC),
    "BN607": (targets.Pair(clipped_gamma), ["BN602", "BN604", "BN606", "BN608"], SPEC),
    "BN608": (targets.Pair(unbiased), ["BN602", "BN604", "BN605", "BN606", "BN607"], SPEC),
    "BN608 backward": (targets.Pair(backward=averaged), ["BN602", "BN604", "BN605", "BN606", "BN607"], SPEC),
    "BN609": (targets.Pair(per_pixel), ["BN602", "BN604", "BN605", "BN606", "BN607", "BN608"], SPACE),
}


@pytest.mark.parametrize("name", BROKEN)
def test_the_law_that_is_broken_fails_and_its_neighbours_hold(name):
    target, holding, spec = BROKEN[name]
    code = name.split()[0]
    assert judged(code, target, spec).outcome is Outcome.FAIL
    assert {law for law in holding if judged(law, target, spec).outcome is not Outcome.PASS} == set()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_law_is_folded_under_what_the_oracles_say(name):
    target, _, spec = BROKEN[name]
    every, alone = complaints(target, spec)
    assert name.split()[0] in every - alone
    assert not alone & set(LAWS)


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
@pytest.mark.parametrize("spec", [SPEC, OFF, SPACE, replace(SPEC, n=2), replace(SPEC, c=1), replace(SPEC, mean=-100.0)])
def test_a_right_layer_keeps_every_law(spec, dtype):
    found = {law: judged(law, targets.Pair(), replace(spec, dtype=dtype)) for law in LAWS}
    assert not [law for law, judgement in found.items() if judgement.outcome in (Outcome.FAIL, Outcome.WARN)]
    if dtype == "float64":
        assert all(found[law].outcome is Outcome.PASS for law in ("BN604", "BN606", "BN607", "BN608"))


def test_an_error_of_one_in_a_hundred_thousand_breaks_a_law():
    target = targets.Pair(
        backward=lambda dy, cache: Gradients(*(g + 1e-5 * abs(g) for g in targets.backward(dy, cache)[:3]))
    )
    assert {judged("BN606", target).tensor} <= set(GRADIENTS)
    assert judged("BN606", target).outcome is Outcome.FAIL


def test_space_is_left_out_where_one_layout_is_taken():
    judgement = judged("BN609", targets.Pair(per_pixel, layouts=("NCHW",)), SPACE)
    assert (judgement.outcome, judgement.message) == (Outcome.SKIP, "the code takes (N, C) or maps, and not both")


@pytest.mark.parametrize("spec", [replace(SPEC, n=1), replace(SPEC, n=300), replace(SPEC, recipe="draw", seed=1)])
def test_laws_are_left_out_where_they_tell_nothing_or_cost_much(spec):
    assert {judged(law, targets.Pair(per_pixel), spec).outcome for law in LAWS} == {Outcome.SKIP}


def test_one_channel_has_no_others():
    assert judged("BN605", targets.Pair(), replace(SPEC, c=1)).outcome is Outcome.SKIP


def test_a_layer_that_raises_in_a_changed_step_is_skipped_with_the_reason():
    def forward(x, gamma, beta, eps):
        if len(x) == 2 * SPEC.n:
            raise ValueError("no twelve")
        return targets.forward(x, gamma, beta, eps)

    judgement = judged("BN608", targets.Pair(forward))
    assert judgement.outcome is Outcome.SKIP
    assert "no twelve" in judgement.message
    assert roots(targets.Pair(forward)) == set()


def test_gradients_that_are_missing_leave_the_law_of_y():
    target = targets.spoiled(dx=lambda dx: None, dgamma=lambda v: None, dbeta=lambda v: None)
    assert judged("BN604", target).outcome is Outcome.PASS
    assert judged("BN606", target).outcome is Outcome.SKIP


# ------------------------------------------------------------------------------------------------------ numbers by hand


@pytest.mark.parametrize("shape", [(4, 2), (4, 2, 3)])
def test_the_worst_of_a_channel_stands_for_all_of_it(shape):
    case = SimpleNamespace(axes=(0, *range(2, len(shape))))
    values = np.random.default_rng(0).uniform(size=shape)
    found = _worst(case, values)
    assert found.shape == shape
    for channel in range(2):
        assert (found[:, channel] == values[:, channel].max()).all()
    np.testing.assert_array_equal(_worst(case, values[0, :, ...].ravel()[:2]), values[0, :, ...].ravel()[:2])


@pytest.mark.parametrize(("dtype", "u"), [("float64", 2.0**-53), ("float16", 2.0**-11)])
@pytest.mark.parametrize("spatial", [(), (3,)])
def test_what_is_wrong_errs_by_its_own_size(dtype, u, spatial):
    """A sum of m terms by m u, what is centred by as many u as the largest value has standard deviations."""
    case = build(CaseSpec(n=5, c=3, spatial=spatial, dtype=dtype, mean=7.0, eps=0.1, seed=1))
    x, m = np.moveaxis(case.x.astype(np.float64), 1, 0).reshape(3, -1), 5 * int(np.prod(spatial))
    share = u * (m + np.abs(x).max(axis=1) / np.sqrt(x.var(axis=1) + 0.1))
    sums, tensor = np.array([1.0, -2.0, 0.5]), np.random.default_rng(2).normal(size=case.x.shape)
    np.testing.assert_allclose(_own_rounding(case, sums), share * np.abs(sums), rtol=1e-12)
    found = np.moveaxis(_own_rounding(case, tensor), 1, 0).reshape(3, -1)
    size = np.abs(np.moveaxis(tensor, 1, 0).reshape(3, -1)).max(axis=1)
    np.testing.assert_allclose(found, np.broadcast_to((share * size)[:, None], found.shape), rtol=1e-12)


# ----------------------------------------------------------------------------------------------------- evidence by hand


def of_law(code, law, own, found, case, **facts):
    laws = {f"{law}.{name}": values for name, values in found.items()}
    return CHECKS.get(code).judge(case, {"laws": Evidence("laws", laws, facts), "training": Evidence("training", own)})


@pytest.mark.parametrize(
    ("code", "law", "facts", "lacking"),
    [("BN609", "space", {}, False), ("BN609", "space", {"both": True}, False),
     ("BN609", "space", {"both": False}, True),
     ("BN602", "shift", {"both": False}, False), ("BN602", "shift", {}, False)],
)  # fmt: skip
def test_why_a_law_is_not_judged_is_told(code, law, facts, lacking):
    told = of_law(code, law, {}, {}, build(SPEC), **facts)
    message = "the code takes (N, C) or maps, and not both" if lacking else "not tried on this case"
    assert (told.outcome, told.message) == (Outcome.SKIP, message)


@pytest.mark.parametrize("lost", ["own", "found"])
def test_a_tensor_that_is_not_finite_leaves_the_others_to_be_judged(lost):
    case = build(SPEC)
    dbeta = case.dy.sum(axis=0)
    own, found = {"dgamma": dbeta + 1, "dbeta": dbeta}, {"dgamma": dbeta + 1, "dbeta": dbeta}
    (own if lost == "own" else found)["dgamma"] = np.array([1.0, np.nan, 2.0])
    assert of_law("BN602", "shift", own, found, case).outcome is Outcome.PASS
    assert of_law("BN602", "shift", own, found | {"dbeta": dbeta + 1}, case).tensor == "dbeta"


def test_a_law_is_held_to_the_rounding_of_what_is_wrong_where_the_right_value_has_none():
    """With gamma 0 the right dx is 0, and exact: a wrong one errs by m u of its own size."""
    case = build(replace(SPEC, gamma="zero"))
    want = 1.0 + 0 * case.x
    off = np.zeros(case.x.shape)
    (channel,) = np.flatnonzero(case.gamma == 0)
    off[2, channel] = SPEC.n * 2.0**-53
    assert of_law("BN602", "shift", {"dx": want}, {"dx": want + off}, case).outcome is Outcome.PASS
    told = of_law("BN602", "shift", {"dx": want}, {"dx": want + 1000 * off}, case)
    assert (told.outcome, told.index) == (Outcome.FAIL, (2, channel))


def test_a_law_that_the_two_pass_bound_decides_is_not_left_open_for_the_one_pass_bound():
    """At a mean of 10^7 of the spread one pass may lose every digit, and two passes half of them."""
    assert judged("BN604", targets.Pair(), replace(SPEC, mean=1e7)).outcome is Outcome.PASS
