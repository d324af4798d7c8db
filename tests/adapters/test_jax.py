from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bncheck import pipeline
from bncheck.adapters import resolve
from bncheck.core import reference
from bncheck.errors import TargetError
from bncheck.executors.in_process import InProcess
from bncheck.model import Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.session import Setup
from bncheck.settings import Settings

jax = pytest.importorskip("jax", reason="JAX is not installed")
jnp = jax.numpy

from bncheck.adapters.jax_code import Jax, same_forward  # noqa: E402

FIXTURES = Path(__file__).parents[2] / "fixtures" / "jax"
RANDOM = np.random.default_rng(5)
X, DY = RANDOM.normal(0.5, 2.0, (7, 3)), RANDOM.normal(size=(7, 3))
GAMMA, BETA = RANDOM.uniform(0.5, 2.0, 3), RANDOM.normal(size=3)


def verify(name, **settings):
    spec = TargetSpec(f"{FIXTURES / name}.py::batchnorm")
    return pipeline.run([spec], Settings(**({"cases": 5} | settings)), executor=InProcess())


def outcomes(report, outcome):
    """Return the codes of the findings with that outcome which follow from no other."""
    findings = [finding for target in report.targets for finding in target.findings]
    return {finding.code for finding in findings if finding.outcome is outcome and not finding.follows_from}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ["right", "running_statistics", "rule_right"])
def test_right_functions_pass_without_a_warning(name, dtype):
    report = verify(name, dtype=dtype)
    assert report.verdict is Verdict.PASS, report.targets[0]
    assert not outcomes(report, Outcome.WARN)
    assert report.targets[0].conventions.framework == "jax"


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("unbiased_variance", {"BN101"}),
        ("gamma_lost", {"BN101"}),
        ("rule_mean_path_dropped", {"BN201"}),
        ("rule_gamma_missing_in_dx", {"BN201"}),
        ("rule_dgamma_averaged", {"BN202"}),
        ("rule_dgamma_dbeta_swapped", {"BN202", "BN203"}),
        ("rule_eps_outside_root", {"BN506"}),
    ],
)
def test_wrong_functions_fail_where_they_are_wrong(name, codes):
    report = verify(name)
    assert report.verdict is Verdict.FAIL
    assert outcomes(report, Outcome.FAIL) == codes


def test_a_rule_whose_forward_is_another_function_is_told_so():
    report = verify("rule_eps_outside_root")
    (finding,) = (f for f in report.targets[0].findings if f.outcome is Outcome.FAIL)
    assert "defvjp" in finding.message


def test_running_statistics_are_kept_and_used():
    spec = TargetSpec(str(FIXTURES / "running_statistics.py"))
    (card,) = resolve.cards(spec)
    assert (card.conventions.momentum_sense, card.conventions.running_var) == ("kept", "biased")
    session = resolve.target(spec, card.name).open(Setup(GAMMA, BETA, 1e-3, 0.7))
    mean, var = np.zeros(3), np.ones(3)
    for scale in (1.0, 2.0, 3.0):
        session.forward(scale * X + scale)
        mean, var = 0.7 * mean + 0.3 * (scale * X + scale).mean(0), 0.7 * var + 0.3 * (scale * X).var(0)
    np.testing.assert_allclose(session.running_stats(), (mean, var), rtol=1e-12)
    wanted = GAMMA * (X - mean) / np.sqrt(var + 1e-3) + BETA
    np.testing.assert_allclose(session.forward(X, "eval"), wanted, rtol=1e-12)


# --------------------------------------------------------------------------------------------------- the library itself


def batchnorm(x, gamma, beta, eps=1e-3):
    mean = x.mean(0)
    return gamma * (x - mean) / jnp.sqrt(((x - mean) ** 2).mean(0) + eps) + beta


@pytest.fixture
def framework(monkeypatch):
    """Return JAX with a list of what it compiled."""
    framework = Jax("cpu")
    framework.seen = []
    compiled = framework.compiled
    monkeypatch.setattr(framework, "compiled", lambda f: framework.seen.append(f) or compiled(f))
    return framework


def right(framework, function, eps=1e-3):
    (y, _), pull = framework.differentiate(lambda *arrays: (function(*arrays), {}), (X, GAMMA, BETA))
    wanted = reference.forward(X, GAMMA, BETA, eps)
    np.testing.assert_allclose(y, wanted.y, rtol=1e-12)
    for got, want in zip(pull(DY), reference.backward(DY, wanted, GAMMA)[:3], strict=True):
        assert isinstance(got, np.ndarray)
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12)


def test_value_and_gradients_are_the_reference_s(framework):
    right(framework, batchnorm)


def test_equal_traces_are_compiled_once(framework):
    for _ in range(3):
        right(framework, lambda *arrays: batchnorm(*arrays))
    assert len(framework.seen) == 2  # the forward and its gradient


def test_numbers_within_a_function_make_another_trace(framework):
    right(framework, lambda *arrays: batchnorm(*arrays))
    right(framework, lambda *arrays: batchnorm(*arrays, eps=1e-3 + 1e-9), eps=1e-3 + 1e-9)
    assert len(framework.seen) == 4


def test_arrays_that_a_function_holds_are_no_part_of_what_is_compiled(framework):
    for shift in (1.0, 2.0):
        held = jnp.full(3, shift)
        (y, kept), _ = framework.differentiate(lambda x, held=held: (x + held, {"held": 2 * held}), (X,))
        np.testing.assert_array_equal(y, X + shift)
        np.testing.assert_array_equal(kept["held"], np.full(3, 2 * shift))
    assert len(framework.seen) == 1


def test_arrays_that_an_inner_function_holds_are_told_apart(framework):
    def adding(held):
        return jax.jit(lambda x: x + held)

    for shift in (1.0, 2.0):
        inner = adding(np.full(3, shift))
        (y, _), _ = framework.differentiate(lambda x, inner=inner: (inner(x), {}), (X,))
        np.testing.assert_array_equal(y, X + shift)


def test_rules_that_hold_other_numbers_are_told_apart(framework):
    """The trace of a forward does not tell what a rule does with its static arguments."""

    def made(factor):
        @jax.custom_vjp
        def double(x):
            return 2.0 * x

        double.defvjp(lambda x: (2.0 * x, None), lambda _, dy: (factor * dy,))
        return double

    for factor in (2.0, 3.0):
        rule = made(factor)
        _, pull = framework.differentiate(lambda x, rule=rule: (rule(x), {}), (X,))
        np.testing.assert_array_equal(pull(DY)[0], factor * DY)


def test_code_that_looks_at_values_runs_operation_by_operation(framework):
    def looking(x, gamma, beta):
        return batchnorm(x, gamma, beta) if x.max() > 0 else x

    right(framework, looking)
    assert not framework.seen


def test_code_that_raises_says_what_it_says(framework):
    with pytest.raises(ZeroDivisionError, match="mine"):
        framework.differentiate(lambda x: (_ for _ in ()).throw(ZeroDivisionError("mine")), (X,))


def test_float64_stays_float64_and_float32_stays_float32():
    framework = Jax("cpu")
    for dtype in (np.float64, np.float32):
        given = framework.give(X.astype(dtype))
        assert isinstance(given, jax.Array)
        taken = framework.take(given)
        assert taken.dtype == dtype
        np.testing.assert_array_equal(taken, X.astype(dtype))
    assert framework.take("text") == "text"
    with pytest.raises(TypeError):
        framework.assign(given, given)


def test_a_device_that_is_not_there_is_said_to_be_missing():
    with pytest.raises(TargetError, match="'tpu:7' is not available"):
        Jax("tpu:7")


@pytest.mark.parametrize(("shift", "raises"), [(1e-9, False), (1e-3, True)])
def test_only_what_is_no_rounding_makes_two_functions(shift, raises):
    y = X.copy()
    ruled = y + shift
    if raises:
        with pytest.raises(ValueError, match="different y"):
            same_forward(y, ruled, X)
    else:
        same_forward(y, ruled, X)


@pytest.mark.parametrize("x", [X + 1e6, np.ones((7, 3)), X[:1], X[:, :1]])
def test_batches_on_which_rounding_is_large_decide_nothing(x):
    same_forward(x, x + 1.0, x)


def test_a_forward_learns_nothing_so_that_its_eta_is_left_alone(tmp_path):
    source = "import jax.numpy as jnp\ndef batch_normalization(activations, eta=1e-3):\n"
    source += "    return (activations - activations.mean(axis=0)) / jnp.sqrt(activations.var(axis=0) + eta)\n"
    (tmp_path / "my_bn.py").write_text(source)
    spec = TargetSpec(str(tmp_path / "my_bn.py"))
    (card,) = resolve.cards(spec)
    assert (card.conventions.eps_source, card.conventions.eps) == ("fixed", 1e-3)
