"""Line probes on targets whose errors are known."""

import numpy as np
import pytest
import targets

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.core import line_probe
from bncheck.core.tolerance import K
from bncheck.experiments import moves
from bncheck.experiments.probes import element_probes, joint_probe, lone_probes, probed
from bncheck.experiments.training import training_step
from bncheck.model import GRADIENTS, Evidence

SPECS = [
    CaseSpec(n=2, c=1),
    CaseSpec(n=3, c=2, eps=10.0),
    CaseSpec(n=8, c=4, mean=3.0),
    CaseSpec(n=5, c=3, spatial=(2, 3)),
    CaseSpec(n=64, c=8, gamma="zero"),
    CaseSpec(n=4, c=2, constant=1),
]


def probe(target, spec, experiment=joint_probe):
    case = build(spec)
    return experiment(target, case, {"training": training_step(target, case, {})}).arrays


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_claims_are_made_of_what_inputs_really_moved_by(dtype):
    case = build(CaseSpec(n=5, c=3, spatial=(2,), mean=3.0, dtype=dtype))
    line = moves.Line.random(case, GRADIENTS, salt=1)
    steps, random = np.array([-0.01, 0.003]), np.random.default_rng(1)
    claims = {"dx": random.normal(size=case.x.shape), "dgamma": random.normal(size=3), "dbeta": random.normal(size=3)}
    found = moves.moved(case, line, steps, Evidence("training", claims))
    assert {found.xs.dtype, found.gammas.dtype, found.betas.dtype} == {np.dtype(dtype)}
    for at in range(2):
        wanted = ((found.xs[:, at].astype(float) - case.x.astype(float)) * claims["dx"]).sum(axis=(0, 2))
        wanted += (found.gammas[at].astype(float) - case.gamma.astype(float)) * claims["dgamma"]
        wanted += (found.betas[at].astype(float) - case.beta.astype(float)) * claims["dbeta"]
        np.testing.assert_allclose(found.change[at], wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.id)
def test_right_gradients_leave_a_residual_within_the_bar(spec, dtype):
    from dataclasses import replace

    found = probe(targets.Pair(), replace(spec, dtype=dtype))
    assert (np.abs(found["residual"]) <= K * found["bar"]).all()
    assert abs(found["total"]) <= K * found["total_bar"]


@pytest.mark.parametrize("spec", SPECS[1:4], ids=lambda s: s.id)
def test_the_bar_is_small_against_what_is_measured(spec):
    found = probe(targets.Pair(), spec)
    assert (K * found["bar"] < 1e-9 * found["scale"]).all()


@pytest.mark.parametrize("seed", range(6))
def test_a_gamma_of_0_moves_too_and_what_it_then_shares_is_in_the_bar(seed):
    """inv_std rounded once, for all 4096 elements of a channel: no plateau shows what errs alike at all nodes."""

    def forward(x, gamma, beta, eps):
        x = x.astype(np.float64)
        xhat = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + eps)
        return gamma * xhat * (1 + 2**-11) + beta, xhat

    def backward(dy, xhat):
        return targets.Gradients(np.zeros(dy.shape), (dy * xhat).sum(axis=0), dy.sum(axis=0))

    spec = CaseSpec(n=4096, c=2, gamma="zero", dtype="float16", eps=1.0, seed=seed)
    found = probe(targets.Pair(forward, backward), spec)
    assert (np.abs(found["residual"]) <= K / 2 * found["bar"]).all()


def test_one_wrong_element_by_1e_9_is_seen():
    def off(dx):
        dx = dx.copy()
        dx[3, 2] *= 1 + 1e-9
        return dx

    found = probe(targets.spoiled(dx=off), CaseSpec(n=8, c=4, seed=5))
    outside = np.abs(found["residual"]) > K * found["bar"]
    assert outside.tolist() == [False, False, True, False]


@pytest.mark.parametrize("tensor", ["dx", "dgamma", "dbeta"])
def test_lone_probes_tell_whose_gradient_is_wrong(tensor):
    found = probe(targets.spoiled(**{tensor: lambda v: 1.01 * v}), CaseSpec(n=8, c=4), lone_probes)
    outside = {name: bool(found[f"{name}.error"] > K * found[f"{name}.bar"]) for name in ("dx", "dgamma", "dbeta")}
    assert outside == {name: name == tensor for name in outside}


def test_a_forward_that_mixes_channels_with_its_exact_backward_is_cleared_by_the_lone_probe():
    """y = x - mean of everything: sums per channel misjudge it, the sum over all channels does not."""

    def forward(x, gamma, beta, eps):
        return gamma * (x - x.mean()) + beta, (x, gamma)

    def backward(dy, cache):
        x, gamma = cache
        dxc = dy * gamma
        return targets.Gradients(dxc - dxc.mean(), (dy * (x - x.mean())).sum(0), dy.sum(0))

    mixing = targets.Pair(forward, backward)
    spec = CaseSpec(n=6, c=3)
    joint, lone = probe(mixing, spec), probe(mixing, spec, lone_probes)
    assert (np.abs(joint["residual"]) > K * joint["bar"]).any()
    assert all(lone[f"{t}.error"] <= K * lone[f"{t}.bar"] for t in ("dx", "dgamma", "dbeta"))


def test_element_probes_measure_every_derivative():
    spec = CaseSpec(n=4, c=2, spatial=(2,), eps=0.1)
    case = build(spec)
    found = probe(targets.Pair(), spec, element_probes)
    _, cache = targets.forward(case.x, case.gamma, case.beta, 0.1)
    for name, want in zip(GRADIENTS, targets.backward(case.dy, cache), strict=False):
        assert (np.abs(found[name] - want) <= K * found[f"{name}.bar"]).all()
        assert found[f"{name}.bar"].max() < 1e-12


def test_large_cases_are_evaluated_one_node_at_a_time_with_the_same_result(monkeypatch):
    spec = CaseSpec(n=6, c=3)
    together = probe(targets.Pair(), spec)
    monkeypatch.setattr("bncheck.experiments.probes._BLOCK_ELEMENTS", 1)
    for name, value in probe(targets.Pair(), spec).items():
        np.testing.assert_allclose(value, together[name], rtol=1e-6, atol=1e-15)


def evaluations(target, spec):
    case = build(spec)
    return joint_probe(target, case, {"training": training_step(target, case, {})}).facts["evaluations"]


def test_the_nodes_of_a_small_case_take_one_call():
    assert evaluations(targets.Pair(), CaseSpec(n=6, c=3, spatial=(2, 3))) == 1


def mixing(x, gamma, beta, eps):
    y, cache = targets.forward(x, gamma, beta, eps)
    return y + 1e-9 * x.mean(), cache


def counting(x, gamma, beta, eps):
    y, cache = targets.forward(x, gamma, beta, eps)
    return y / x.shape[1], cache


def at_one_end(place):
    def forward(x, gamma, beta, eps):
        y, cache = targets.forward(x, gamma, beta, eps)
        y[:, place] = 0.0
        return y, cache

    return forward


def of_one_size(x, gamma, beta, eps):
    if x.shape[1] > 16:
        raise ValueError("too many channels")
    return targets.forward(x, gamma, beta, eps)


def short(rest):
    """Right for as many channels as there are at the case, and the guests among the nodes."""

    def forward(x, gamma, beta, eps):
        y, cache = targets.forward(x, gamma, beta, eps)
        y[:, 32:] = rest
        return y, cache

    return forward


@pytest.mark.parametrize(
    "forward",
    [mixing, counting, at_one_end(0), at_one_end(-1), of_one_size, short(np.nan), short(0.0)],
    ids=["mix", "count", "first", "last", "raise", "NaN", "zero"],
)
def test_a_forward_that_is_another_beside_other_channels_is_evaluated_by_itself(forward):
    spec = CaseSpec(n=6, c=3)
    target = targets.Pair(forward)
    assert evaluations(target, spec) == 1 + line_probe.NODES
    found, case = probe(target, spec), build(spec)
    # By itself: the derivative is that of the function which the case is given to.
    line = moves.Line.random(case, GRADIENTS, salt=1)

    def phi(t):
        moved = (a + t * v for a, v in ((case.x, line.vx), (case.gamma, line.vgamma), (case.beta, line.vbeta)))
        return (case.dy * forward(*moved, spec.eps)[0]).sum()

    claims = training_step(target, case, {}).arrays
    claimed = sum((claims[n] * v).sum() for n, v in (("dx", line.vx), ("dgamma", line.vgamma), ("dbeta", line.vbeta)))
    slope = (8 * (phi(1e-3) - phi(-1e-3)) - (phi(2e-3) - phi(-2e-3))) / 12e-3
    assert found["total"] == pytest.approx(slope - claimed, abs=1e-9)


def test_where_gamma_is_0_nothing_shows_whether_channels_mind_each_other():
    """Layer normalization of one channel is beta, like Batch Normalization with gamma = 0, and not beside others."""

    def forward(x, gamma, beta, eps):
        xhat = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + eps)
        return gamma * xhat + beta, None

    def backward(dy, cache):
        return targets.Gradients(np.zeros_like(dy), np.zeros(dy.shape[1]), dy.sum(0))

    spec = CaseSpec(n=4, c=1, gamma="zero")
    assert evaluations(targets.Pair(forward, backward), spec) == line_probe.NODES
    found = probe(targets.Pair(forward, backward), spec)
    assert (np.abs(found["residual"]) <= K * found["bar"]).all()


def test_a_forward_that_raises_while_probed_is_a_fault():
    calls = []

    def forward(x, gamma, beta, eps):
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("tired")
        return targets.forward(x, gamma, beta, eps)

    target, case = targets.Pair(forward), build(CaseSpec())
    evidence = joint_probe(target, case, {"training": training_step(target, case, {})})
    assert evidence.fault is not None
    assert (evidence.fault.stage, evidence.fault.kind) == ("forward", "ValueError")


def test_what_is_shown_of_a_probe_gives_back_its_slope_and_its_worst_channel():
    case = build(CaseSpec(n=6, c=3))
    target = targets.Pair(backward=lambda dy, cache: spoilt(targets.backward(dy, cache), 2))
    evidence = joint_probe(target, case, {"training": training_step(target, case, {})})
    shown = probed(evidence)
    assert shown.channel == 2
    assert shown.error > shown.allowed
    # The slope at 0 of a Chebyshev series: c1 - 3 c3 + 5 c5 ..., over the radius.
    slope = sum(k * c * (-1) ** (k // 2) for k, c in enumerate(shown.coefficients) if k % 2) / shown.radius
    assert abs(slope) == pytest.approx(shown.error, rel=1e-9)
    assert abs(shown.coefficients[-1]) < 20 * shown.level < abs(shown.coefficients[1])


def spoilt(gradients, channel):
    gradients[1][channel] *= 1.5
    return gradients


def test_nothing_is_shown_where_nothing_was_probed():
    assert probed(None) is None
