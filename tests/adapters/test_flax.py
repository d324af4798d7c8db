from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bncheck import pipeline
from bncheck.adapters import resolve
from bncheck.adapters.pure_layers import bound, derives
from bncheck.executors.in_process import InProcess
from bncheck.model import Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.session import Setup
from bncheck.settings import Settings

flax = pytest.importorskip("flax", reason="Flax is not installed")
import flax.linen as nn  # noqa: E402
from flax import nnx  # noqa: E402

FIXTURES = Path(__file__).parents[2] / "fixtures" / "flax"
LIBRARY = ("flax.linen:BatchNorm", "flax.nnx:BatchNorm")
LAST = ("NC", "NLC", "NHWC", "NDHWC")
RANDOM = np.random.default_rng(5)
GAMMA, BETA = RANDOM.uniform(0.5, 2.0, 4), RANDOM.normal(size=4)


def source(name):
    return name if ":" in name else str(FIXTURES / f"{name}.py")


def verify(name, **settings):
    return pipeline.run([TargetSpec(source(name))], Settings(**({"cases": 5} | settings)), executor=InProcess())


def outcomes(report, outcome):
    """Return the codes of the findings with that outcome which follow from no other."""
    findings = [finding for target in report.targets for finding in target.findings]
    return {finding.code for finding in findings if finding.outcome is outcome and not finding.follows_from}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", LIBRARY)
def test_the_library_s_layers_pass(name, dtype):
    report = verify(name, dtype=dtype)
    assert report.verdict is Verdict.PASS, report.targets[0]
    assert outcomes(report, Outcome.WARN) <= {"BN401", "BN402", "BN403"}  # the variance is one-pass
    found = report.targets[0].conventions
    assert (found.framework, found.layouts, found.eps_source) == ("jax", LAST, "argument")
    assert (found.momentum_sense, found.running_var, found.running_start) == ("kept", "biased", "0, 1")


def test_a_one_pass_variance_is_a_warning_and_no_failure():
    report = verify("flax.linen:BatchNorm", cases=60, select="BN1, BN4")
    assert report.verdict is Verdict.PASS
    assert "BN401" in outcomes(report, Outcome.WARN)


@pytest.mark.parametrize("name", ["linen_right", "nnx_right", "linen_without_parameters"])
def test_right_modules_pass_without_a_warning(name):
    report = verify(name)
    assert report.verdict is Verdict.PASS, report.targets[0]
    assert not outcomes(report, Outcome.WARN)


@pytest.mark.parametrize(("left_out", "shape"), [("use_scale", "(C,)"), ("use_bias", "(C,)")])
def test_one_parameter_alone_is_fine(left_out, shape, tmp_path):
    text = (FIXTURES / "linen_without_parameters.py").read_text()
    kept = {"use_scale": "use_bias", "use_bias": "use_scale"}[left_out]
    (tmp_path / "mine.py").write_text(text.replace(f"            {kept}=False,\n", ""))
    report = pipeline.run([TargetSpec(str(tmp_path / "mine.py"))], Settings(cases=6), executor=InProcess())
    assert report.verdict is Verdict.PASS, report.targets[0]
    assert report.targets[0].conventions.parameter_shape == shape


@pytest.mark.parametrize(
    ("name", "codes"),
    [("linen_statistics_as_constants", {"BN201"}), ("nnx_eval_ignored", {"BN302"})],
)
def test_wrong_modules_fail_where_they_are_wrong(name, codes):
    report = verify(name)
    assert report.verdict is Verdict.FAIL
    assert outcomes(report, Outcome.FAIL) == codes


@pytest.mark.parametrize(
    ("name", "switch"),
    [
        ("linen_right", "argument train"),
        ("linen_without_parameters", "constructor argument use_running_average"),
        ("nnx_right", "methods train() and eval()"),
        ("flax.linen:BatchNorm", "argument use_running_average"),
        ("flax.nnx:BatchNorm", "argument use_running_average"),
    ],
)
def test_running_statistics_are_kept_and_used(name, switch):
    spec = TargetSpec(source(name))
    (card,) = resolve.cards(spec)
    target = resolve.target(spec, card.name)
    assert target.conventions.mode_switch == switch
    session = target.open(Setup(GAMMA, BETA, 1e-2, 0.7))
    mean, var = np.zeros(4), np.ones(4)
    for rows in (6, 5, 7):
        x = RANDOM.normal(rows, 2.0, (rows, 4, 2, 3))
        session.forward(x)
        mean, var = 0.7 * mean + 0.3 * x.mean((0, 2, 3)), 0.7 * var + 0.3 * x.var((0, 2, 3))
        np.testing.assert_allclose(session.running_stats(), (mean, var), rtol=1e-10)
    x = RANDOM.normal(1.0, 2.0, (3, 4, 2, 3))
    wide = (1, 4, 1, 1)
    wanted = GAMMA.reshape(wide) * (x - mean.reshape(wide)) / np.sqrt(var.reshape(wide) + 1e-2) + BETA.reshape(wide)
    np.testing.assert_allclose(session.forward(x, "eval"), wanted, rtol=1e-10)
    np.testing.assert_allclose(session.running_stats(), (mean, var), rtol=1e-10)


def test_statistics_that_initializing_takes_in_are_not_those_of_an_earlier_batch(tmp_path):
    text = (FIXTURES / "linen_right.py").read_text().replace("if not self.is_initializing():", "if True:")
    (tmp_path / "mine.py").write_text(text)
    spec = TargetSpec(str(tmp_path / "mine.py"))
    target = resolve.target(spec, resolve.cards(spec)[0].name)
    for scale in (1e200, 1.0):  # the squares of the first are no numbers any more
        x = scale * RANDOM.normal(size=(6, 4))
        session = target.open(Setup(GAMMA, BETA, 1e-2, 0.7))
        session.forward(x)
        mean = 0.7 * 0.3 + 0.3 * x.mean(0)  # initialized with a batch of ones, as in Flax's own pages
        np.testing.assert_allclose(session.running_stats()[0], mean, rtol=1e-10)


def test_layers_handed_over_from_python_are_found():
    for cls in (nn.BatchNorm, nnx.BatchNorm):
        (card,) = resolve.cards(TargetSpec("BatchNorm", (cls,)))
        assert card.conventions.adapter == "flax-module"


def test_a_gamma_of_another_name_is_not_taken_for_none(tmp_path):
    text = (FIXTURES / "linen_right.py").read_text().replace('"gamma"', '"stretch"')
    (tmp_path / "mine.py").write_text(text)
    report = pipeline.run([TargetSpec(str(tmp_path / "mine.py"))], Settings(cases=3), executor=InProcess())
    assert report.verdict is Verdict.ERROR
    assert "params/stretch" in report.targets[0].error


def test_other_modules_in_a_file_are_left_alone(tmp_path):
    text = (FIXTURES / "linen_right.py").read_text()
    text += "\n\nclass Head(nn.Module):\n    @nn.compact\n    def __call__(self, x):\n        return nn.Dense(3)(x)\n"
    (tmp_path / "mine.py").write_text(text)
    (card,) = resolve.cards(TargetSpec(str(tmp_path / "mine.py")))
    assert card.name == "mine.py::BatchNorm"


def test_a_call_that_wants_more_is_told_so(tmp_path):
    text = (FIXTURES / "linen_right.py").read_text().replace("x, train: bool", "x, labels, train: bool")
    (tmp_path / "mine.py").write_text(text)
    report = pipeline.run([TargetSpec(str(tmp_path / "mine.py"))], Settings(cases=3), executor=InProcess())
    assert report.verdict is Verdict.ERROR
    assert "labels" in report.targets[0].error


@pytest.mark.parametrize(
    ("signature", "keys"),
    [
        ("use_running_average=None", {"use_running_average": "test"}),
        ("train: bool", {"train": "train"}),
        ("deterministic=True", {"deterministic": "test"}),
        ("num_features, *, epsilon=1e-5, rngs", {"num_features": "size", "epsilon": "eps", "rngs": "rngs"}),
        ("momentum=0.9, use_scale=True, scale=True, axis=-1", {"momentum": "momentum"}),
        ("dtype=None, param_dtype=float", {"param_dtype": "dtype"}),
        ("promote_dtype=len", {}),
        ("channels=None, name=None", {"channels": "size"}),
        ("*args, **kwargs", {}),
    ],
)
def test_arguments_are_read_by_their_names(signature, keys):
    scope = {}
    exec(f"def f(self, {signature}): ...", scope)
    assert bound(scope["f"]) == keys


def test_modules_are_told_from_other_classes():
    assert derives(nn.Dense, "flax.linen", "Module")
    assert not derives(nn.Dense, "flax.nnx", "Module")
    assert not derives(nn.Module, "flax.linen", "Module")
    assert not derives(dict, "flax.linen", "Module")
    assert not derives(len, "flax.linen", "Module")
