"""BN302, BN304 to BN306 and BN310 on layers whose eval mode goes wrong in one way, and on right ones."""

from dataclasses import replace

import numpy as np
import pytest
import targets
from judging import SPEC, complaints, judged, roots
from layers import Keeping, Session, eval_gradients, normalise, wide

from bncheck.cases.arrays import build
from bncheck.cases.plan import plan
from bncheck.checks.agreement import eval_agrees_with_training
from bncheck.model import Evidence, Outcome
from bncheck.session import Gradients

EVAL = ["BN302", "BN304", "BN305", "BN306", "BN310"]
SPACE = replace(SPEC, n=5, spatial=(2, 2))
RIGHT = {"eval_backward": eval_gradients}
ALIKE = "training mode has the same dx on this case: the mode cannot be told"


def own(x):
    """Return the batch's own statistics."""
    axes = (0, *range(2, x.ndim))
    return x.mean(axis=axes), x.var(axis=axes)


def batch_statistics(x, mean, var, setup):
    return normalise(x, *own(x), setup)


def blended(x, mean, var, setup):
    """Running and batch statistics half and half, as the ONNX reference of opset 9 had it."""
    return normalise(x, *((a + b) / 2 for a, b in zip((mean, var), own(x), strict=True)), setup)


def eps_outside(x, mean, var, setup):
    scale = setup.gamma / (np.sqrt(var) + setup.eps)
    return wide(scale, x) * (x - wide(mean, x)) + wide(setup.beta, x)


def eps_twice(x, mean, var, setup):
    return normalise(x, mean, var + setup.eps, setup)


def no_root(x, mean, var, setup):
    return normalise(x, mean, (var + setup.eps) ** 2 - setup.eps, setup)


def no_gamma(x, mean, var, setup):
    return normalise(x, mean, var, replace(setup, gamma=np.ones_like(setup.gamma)))


def swapped(x, mean, var, setup):
    return normalise(x, var, np.abs(mean), setup)


@pytest.mark.parametrize("evaluate", [eps_outside, eps_twice, no_root, no_gamma, swapped], ids=lambda f: f.__name__)
def test_a_wrong_formula_in_eval_mode_fails_and_the_neighbours_hold(evaluate):
    layer = Keeping(evaluate=evaluate)
    assert judged("BN302", layer).outcome is Outcome.FAIL
    assert judged("BN310", layer).outcome is Outcome.FAIL
    assert judged("BN304", layer).outcome is judged("BN305", layer).outcome is Outcome.PASS
    # Two figures of one fault: the report shows one.
    assert roots(layer) == {"BN302"}


@pytest.mark.parametrize("evaluate", [batch_statistics, blended], ids=lambda f: f.__name__)
@pytest.mark.parametrize("spec", [SPEC, SPACE])
def test_eval_mode_that_looks_at_the_batch_fails_twice_and_is_told_once(evaluate, spec):
    every, alone = complaints(Keeping(evaluate=evaluate), spec)
    assert {"BN302", "BN305"} <= every
    assert alone == {"BN302"}


class LearningInEval(Session):
    """Takes batches in, whatever the mode."""

    def forward(self, x, mode="train"):
        if mode == "eval":
            y = super().forward(x, mode)
            self.learn(x)
            return y
        return super().forward(x, mode)


def test_statistics_that_eval_mode_moves_fail():
    layer = Keeping(session=LearningInEval)
    judgement = judged("BN304", layer)
    assert judgement.outcome is Outcome.FAIL
    assert judgement.message == "running_mean is changed by a forward in eval mode"
    assert roots(layer) == {"BN304"}


class VarianceMovesInEval(Session):
    """Writes one of the two."""

    def forward(self, x, mode="train"):
        y = super().forward(x, mode)
        if mode == "eval":
            self.variance = 1.000001 * self.variance
        return y


def test_one_statistic_that_moves_by_a_millionth_fails():
    judgement = judged("BN304", Keeping(session=VarianceMovesInEval))
    assert judgement.outcome is Outcome.FAIL
    assert "running_var" in judgement.message


class LearningInEvalBackward(Session):
    """Takes the batch in once more in the backward of eval mode."""

    def backward(self, dy):
        found = super().backward(dy)
        if self.mode == "eval":
            self.learn(self.x)
        return found


def test_statistics_that_a_backward_in_eval_mode_moves_fail():
    layer = Keeping(session=LearningInEvalBackward)
    assert judged("BN304", layer).message == "running_mean is changed by a backward in eval mode"
    assert roots(layer) == {"BN304"}


class WritingInEval(Session):
    """Centres x in place in eval mode."""

    def forward(self, x, mode="train"):
        y = super().forward(x, mode)
        if mode == "eval":
            before = x.copy()
            x -= wide(self.mean, x)
            self.written = {"x": (before, x)}
        return y

    def handed_over(self):
        return {**super().handed_over(), **getattr(self, "written", {})}


def test_an_input_that_eval_mode_writes_into_fails():
    layer = Keeping(session=WritingInEval)
    assert judged("BN504", layer).message == "x changed in place in eval mode"
    assert roots(layer) == {"BN504"}


class Placed(Keeping):
    """Adds to each sample what its place in the batch is."""

    def __init__(self):
        super().__init__(evaluate=lambda x, mean, var, setup: normalise(x, mean, var, setup) + 1e-3 * (len(x) == 6))


def test_a_y_that_depends_on_the_size_of_the_batch_fails():
    judgement = judged("BN305", Placed())
    assert judgement.outcome is Outcome.FAIL
    assert judgement.message == "y in eval mode depends on the batch"


# ------------------------------------------------------------------------------------------------------------ gradients


def spoiled(**changes):
    """Return a layer of which gradients in eval mode go through the given functions."""

    def backward(dy, x, mean, var, setup):
        found = eval_gradients(dy, x, mean, var, setup)
        return found._replace(**{name: change(getattr(found, name)) for name, change in changes.items()})

    return Keeping(eval_backward=backward)


def unscaled(dy, x, mean, var, setup):
    return eval_gradients(dy, x, mean, var, setup)._replace(dx=dy)


def batch_scaled(dy, x, mean, var, setup):
    """dx with the batch's own standard deviation."""
    return eval_gradients(dy, x, mean, var, setup)._replace(dx=eval_gradients(dy, x, mean, own(x)[1], setup).dx)


def gamma_missing(dy, x, mean, var, setup):
    return eval_gradients(dy, x, mean, var, setup)._replace(dx=dy * wide(1 / np.sqrt(var + setup.eps), x))


GRADIENTS_WRONG = {
    "unscaled": (Keeping(eval_backward=unscaled), "dx"),
    "batch's scale": (Keeping(eval_backward=batch_scaled), "dx"),
    "gamma missing": (Keeping(eval_backward=gamma_missing), "dx"),
    "dgamma averaged": (spoiled(dgamma=lambda v: v / 6), "dgamma"),
    "dbeta doubled": (spoiled(dbeta=lambda v: 2 * v), "dbeta"),
    "a millionth": (spoiled(dgamma=lambda v: v * 1.000001), "dgamma"),
}


@pytest.mark.parametrize("name", GRADIENTS_WRONG)
def test_wrong_gradients_of_eval_mode_fail_alone(name):
    layer, tensor = GRADIENTS_WRONG[name]
    judgement = judged("BN306", layer)
    assert (judgement.outcome, judgement.tensor) == (Outcome.FAIL, tensor)
    assert complaints(layer)[0] == {"BN306"}


def test_a_backward_of_training_mode_whatever_the_mode_is_skipped():
    judgement = judged("BN306", Keeping())
    assert judgement.outcome is Outcome.SKIP
    assert "training mode whatever the mode" in judgement.message


def of_training_with_running_statistics(dy, x, mean, var, setup):
    """Return what a backward of training mode makes of what the forward of eval mode has left in its cache."""
    axes = (0, *range(2, x.ndim))
    inv_std = 1 / np.sqrt(wide(var, x) + setup.eps)
    xhat = (x - wide(mean, x)) * inv_std
    spread = dy - dy.mean(axis=axes, keepdims=True) - xhat * (dy * xhat).mean(axis=axes, keepdims=True)
    return Gradients(wide(setup.gamma, x) * inv_std * spread, (dy * xhat).sum(axis=axes), dy.sum(axis=axes))


@pytest.mark.parametrize("backward", [of_training_with_running_statistics, eval_gradients], ids=lambda f: f.__name__)
@pytest.mark.parametrize("spec", [replace(SPEC, c=1, gamma="zero"), replace(SPEC, dy_scale=0.0)], ids=["gamma", "dy"])
def test_a_case_on_which_either_mode_has_the_same_gradient_tells_nothing(backward, spec):
    """0 times whatever the formula is: a pass of these cases alone would say that eval mode was verified."""
    judgement = judged("BN306", Keeping(eval_backward=backward), spec)
    assert (judgement.outcome, judgement.message) == (Outcome.SKIP, ALIKE)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backward", [None, of_training_with_running_statistics, eval_gradients])
def test_no_backward_that_is_right_in_training_or_in_eval_mode_fails_on_any_case_of_a_sweep(backward, dtype):
    layer = Keeping(eval_backward=backward) if backward is not None else Keeping()
    cases = [spec for spec in plan(150, 0, dtype, (2, 4)) if spec.n < 1000]
    failing = [spec.id for spec in cases if judged("BN306", layer, spec).outcome is Outcome.FAIL]
    assert (len(cases) > 100, failing) == (True, [])


def test_a_gradient_that_differs_from_that_of_training_is_decided_however_large_the_batch():
    spec = replace(SPEC, n=20_000, c=2)
    assert judged("BN306", Keeping(**RIGHT), spec).outcome is Outcome.PASS
    of_training = Keeping(eval_backward=of_training_with_running_statistics)
    assert "training mode whatever" in judged("BN306", of_training, spec).message


@pytest.mark.parametrize("seed", range(20))
def test_a_backward_of_training_mode_in_half_precision_is_no_wrong_one_of_eval_mode(seed):
    spec = replace(SPEC, n=4, c=5, seed=seed, dtype="float16", mean=80.0)
    judgement = judged("BN306", Keeping(eval_backward=of_training_in_half), spec)
    assert judgement.outcome is Outcome.SKIP
    assert "too few digits" in judgement.message


def of_training_in_half(dy, x, mean, var, setup):
    """Return the gradients of training mode, one-pass, every step rounded to half precision."""
    x, dy, gamma = (np.asarray(a, dtype=np.float16) for a in (x, dy, setup.gamma))
    mu = x.mean(axis=0, dtype=np.float16)
    var = np.maximum((x * x).mean(axis=0, dtype=np.float16) - mu * mu, 0)
    inv_std = (1 / np.sqrt(var + np.float16(setup.eps))).astype(np.float16)
    xhat = (x - mu) * inv_std
    dx = gamma * inv_std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))
    return Gradients(*(np.float64(a) for a in (dx, (dy * xhat).sum(axis=0), dy.sum(axis=0))))


def test_a_wrong_backward_of_training_mode_is_no_wrong_one_of_eval_mode():
    """Its dx in eval mode is that of no mode: the error is one, and lies in training mode."""
    judgement = judged("BN306", Keeping(backward=dx_too_large))
    assert judgement.outcome is Outcome.SKIP
    assert "dx is wrong in training mode too" in judgement.message
    right_in_eval = Keeping(backward=dx_too_large, eval_backward=eval_gradients)
    assert judged("BN306", right_in_eval).outcome is Outcome.PASS


def dx_too_large(dy, cache):
    found = targets.backward(dy, cache)
    return found._replace(dx=found.dx * 1.5)


def test_a_backward_that_raises_in_eval_mode_is_skipped_with_the_reason():
    def refuses(dy, x, mean, var, setup):
        raise RuntimeError("not in eval mode")

    judgement = judged("BN306", Keeping(eval_backward=refuses))
    assert judgement.outcome is Outcome.SKIP
    assert "not in eval mode" in judgement.message


def test_gradients_of_a_wrong_y_in_eval_mode_are_left_to_what_caused_it():
    judgement = judged("BN306", Keeping(evaluate=eps_outside, **RIGHT))
    assert judgement.outcome is Outcome.SKIP
    assert "BN302" in judgement.message


def test_gradients_of_two_values_are_skipped():
    assert judged("BN306", spoiled(dgamma=lambda v: 2 * v), replace(SPEC, n=2)).outcome is Outcome.SKIP


def test_gradients_that_are_all_missing_in_eval_mode_are_not_offered():
    assert judged("BN306", spoiled(dx=nothing, dgamma=nothing, dbeta=nothing)).outcome is Outcome.SKIP


def nothing(_):
    return None


@pytest.mark.parametrize("tensor", ["dx", "dgamma", "dbeta"])
def test_a_gradient_that_fits_in_training_alone_fails(tensor):
    judgement = judged("BN306", spoiled(**{tensor: lambda v: v[:1]}))
    assert (judgement.outcome, judgement.tensor) == (Outcome.FAIL, tensor)
    assert "fits in training" in judgement.message


def test_a_dx_that_is_missing_in_eval_mode_alone_fails():
    assert judged("BN306", spoiled(dx=nothing)).outcome is Outcome.FAIL
    # Parameters that stay without a gradient there are frozen, or their gradients are not found.
    assert judged("BN306", spoiled(dgamma=nothing)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    "change",
    [lambda v: v - v.mean(axis=0, keepdims=True), np.abs, lambda v: v / 6 - v.mean()],
    ids=["centred", "absolute", "averaged"],
)
def test_a_dx_of_eval_mode_that_is_neither_that_of_constants_nor_of_training_fails(change):
    judgement = judged("BN306", spoiled(dx=change))
    assert (judgement.outcome, judgement.tensor) == (Outcome.FAIL, "dx")


def test_parameters_that_are_frozen_in_eval_mode_are_no_failure():
    judgement = judged("BN306", spoiled(dgamma=np.zeros_like, dbeta=np.zeros_like))
    assert judgement.outcome is Outcome.SKIP
    assert "frozen" in judgement.message


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [(RuntimeError, Outcome.WARN), (NotImplementedError, Outcome.WARN), (AttributeError, Outcome.FAIL)],
)
def test_a_refusal_of_eval_mode_is_told_from_falling_over(kind, outcome):
    def raising(x, mean, var, setup):
        raise kind("what it says")

    assert judged("BN302", Keeping(evaluate=raising)).outcome is outcome


@pytest.mark.parametrize("wrong", [lambda y: None, lambda y: y[:1]])
def test_a_y_of_eval_mode_that_is_none_or_of_another_shape_fails(wrong):
    def evaluate(x, mean, var, setup):
        return wrong(normalise(x, mean, var, setup))

    assert judged("BN302", Keeping(evaluate=evaluate)).outcome is Outcome.FAIL


# ------------------------------------------------------------------------------------------------------------ agreement


def another_eps(x, mean, var, setup):
    return normalise(x, mean, var, replace(setup, eps=1e-5))


@pytest.mark.parametrize("var", ["biased", "unbiased"])
@pytest.mark.parametrize("sense", ["kept", "new", "cumulative"])
def test_two_branches_of_two_formulas_disagree(var, sense):
    assert judged("BN310", Keeping(sense, var)).outcome is Outcome.PASS
    judgement = judged("BN310", Keeping(sense, var, evaluate=another_eps))
    assert judgement.outcome is Outcome.FAIL
    assert "does not give the y of training" in judgement.message


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("start", [(0.0, 1.0), (0.0, 0.0)])
def test_agreement_waits_for_no_momentum(kept, start):
    def layer(evaluate):
        fixed = Keeping(start=start, update=lambda old, batch, momentum, step: kept * old + (1 - kept) * batch)
        fixed.evaluate = evaluate
        return fixed.told(momentum_sense="fixed", momentum=kept)

    assert judged("BN310", layer(normalise)).outcome is Outcome.PASS
    assert judged("BN310", layer(eps_outside)).outcome is Outcome.FAIL
    assert judged("BN310", layer(another_eps)).outcome is Outcome.FAIL


def test_a_rule_that_is_not_known_leaves_agreement_to_be_judged():
    """Whatever training left behind, eval mode is to use it as training uses its own."""

    def layer(evaluate):
        return Keeping(update=lambda old, batch, momentum, step: old + batch, evaluate=evaluate)

    assert judged("BN310", layer(normalise).told(momentum_sense="unknown")).outcome is Outcome.PASS
    assert judged("BN310", layer(eps_outside).told(momentum_sense="unknown")).outcome is Outcome.FAIL


def test_averages_corrected_for_their_start_in_inference_agree():
    def corrected(x, mean, var, setup):
        left = setup.momentum
        return normalise(x, mean / (1 - left), var / (1 - left), setup)

    layer = Keeping(start=(0.0, 0.0), evaluate=corrected).told(running_start="0, 0")
    assert judged("BN310", layer).outcome is Outcome.PASS
    assert judged("BN310", layer.told(running_start="0, 1")).outcome is Outcome.FAIL


def test_agreement_is_judged_to_the_last_digits():
    def nearly(x, mean, var, setup):
        return normalise(x, mean, var * (1 + 1e-12), setup)

    assert judged("BN310", Keeping(evaluate=nearly)).outcome is Outcome.FAIL


def test_statistics_that_no_batch_has_are_skipped():
    def negative(old, batch, momentum, step):
        return -batch

    judgement = judged("BN310", Keeping(update=negative, evaluate=lambda x, mean, var, setup: x))
    assert (judgement.outcome, judgement.message) == (Outcome.SKIP, "the statistics held are those of no batch")


def test_statistics_of_another_shape_are_skipped():
    facts = {"m": [6], "conventions": Keeping().conventions}
    seen = {"agreement": Evidence("agreement", dict.fromkeys(("x", "y", "trained"), np.zeros((6, 3))), facts)}
    judgement = eval_agrees_with_training(build(SPEC), seen)
    assert (judgement.outcome, judgement.message) == (Outcome.SKIP, "the running statistics have not the shape (C,)")


def test_statistics_of_which_the_variance_is_none_are_skipped():
    assert judged("BN310", Keeping(evaluate=eps_outside).told(running_var="")).outcome is Outcome.SKIP


# ------------------------------------------------------------------------------------------------------- right, skipped


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("var", ["biased", "unbiased"])
@pytest.mark.parametrize("eval_backward", [None, eval_gradients])
@pytest.mark.parametrize("spec", [SPEC, SPACE, replace(SPEC, mean=1e3), replace(SPEC, n=2), replace(SPEC, eps=1e-12)])
def test_a_right_layer_trips_nothing(spec, eval_backward, var, dtype):
    layer = Keeping(var=var, eval_backward=eval_backward)
    assert complaints(layer, replace(spec, dtype=dtype))[0] == set()
    if dtype == "float64":
        passing = {code for code in EVAL if judged(code, layer, spec).outcome is Outcome.PASS}
        assert passing >= {"BN302", "BN304", "BN305", "BN310"}
        assert ("BN306" in passing) == (eval_backward is not None and spec.m >= 4)


def test_the_statistics_of_algorithm_2_scaled_in_inference_are_right():
    """The paper averages biased variances and multiplies by m / (m - 1) when it is asked."""

    def unbiased_when_asked(x, mean, var, setup):
        return normalise(x, mean, var * 6 / 5, setup)

    assert judged("BN302", Keeping(evaluate=unbiased_when_asked)).outcome is Outcome.PASS


@pytest.mark.parametrize("code", EVAL)
def test_code_without_statistics_is_skipped(code):
    assert judged(code, targets.Pair()).outcome is Outcome.SKIP


@pytest.mark.parametrize("code", EVAL)
def test_code_that_cannot_be_told_the_mode_is_skipped(code):
    layer = Keeping(evaluate=eps_outside, session=LearningInEval).told(mode_switch="")
    assert judged(code, layer).outcome is Outcome.SKIP


def test_a_fixed_eps_is_that_of_every_formula():
    spec = replace(SPEC, eps=1e-3)
    assert complaints(Keeping(**RIGHT).told(eps_source="fixed", eps=1e-3), spec)[0] == set()
    assert roots(Keeping(evaluate=eps_outside).told(eps_source="fixed", eps=1e-3), spec) == {"BN302"}
