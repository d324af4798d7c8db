from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bncheck import pipeline
from bncheck.adapters import keras_code, resolve
from bncheck.executors.in_process import InProcess
from bncheck.model import Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.session import Setup
from bncheck.settings import Settings

keras_code.prepare()
keras = pytest.importorskip("keras", reason="Keras is not installed")

FIXTURES = Path(__file__).parents[2] / "fixtures" / "keras"
LIBRARY = "keras.layers:BatchNormalization"
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
def test_the_library_s_layer_passes(dtype):
    report = verify(LIBRARY, dtype=dtype)
    assert report.verdict is Verdict.PASS, report.targets[0]
    found = report.targets[0].conventions
    assert (found.framework, found.layouts) == (keras.config.backend(), LAST)
    assert (found.momentum_sense, found.running_var, found.running_start) == ("kept", "biased", "0, 1")
    assert found.mode_switch == "argument training"


@pytest.mark.parametrize("name", ["right", "without_parameters"])
def test_right_layers_pass(name):
    report = verify(name)
    assert report.verdict is Verdict.PASS, report.targets[0]
    assert outcomes(report, Outcome.WARN) <= {"BN401", "BN403"}


def test_wrong_layers_fail_where_they_are_wrong():
    report = verify("statistics_as_constants")
    assert report.verdict is Verdict.FAIL
    assert outcomes(report, Outcome.FAIL) == {"BN201"}


@pytest.mark.parametrize("name", [LIBRARY, "right"])
def test_running_statistics_are_kept_and_used(name):
    spec = TargetSpec(source(name))
    (card,) = resolve.cards(spec)
    session = resolve.target(spec, card.name).open(Setup(GAMMA, BETA, 1e-2, 0.7))
    mean, var = np.zeros(4), np.ones(4)
    for rows in (6, 5, 7):
        x = RANDOM.normal(rows, 2.0, (rows, 4, 2, 3))
        session.forward(x)
        mean, var = 0.7 * mean + 0.3 * x.mean((0, 2, 3)), 0.7 * var + 0.3 * x.var((0, 2, 3))
        np.testing.assert_allclose(session.running_stats(), (mean, var), rtol=1e-10)
    x = RANDOM.normal(1.0, 2.0, (3, 4, 2, 3))
    wide = (1, 4, 1, 1)
    wanted = GAMMA.reshape(wide) * (x - mean.reshape(wide)) / np.sqrt(var.reshape(wide) + 1e-2) + BETA.reshape(wide)
    # The 1e-10 ask for more than float32: Keras is kept from rounding to it.
    np.testing.assert_allclose(session.forward(x, "eval"), wanted, rtol=1e-10)


def test_the_attributes_of_weights_say_what_they_are_where_their_own_names_do_not(tmp_path):
    text = Path(source("right")).read_text()
    for name in ("gamma", "beta", "moving_mean", "moving_var"):
        text = text.replace(f'name="{name}"', f'name="array{len(name)}"')
    wrong = text.replace("else:\n", "if not training:\n").replace("        if training:\n", "        if True:\n", 1)
    for name, code, verdict in (("right", text, Verdict.PASS), ("wrong", wrong, Verdict.FAIL)):
        (tmp_path / f"{name}.py").write_text(code)
        report = pipeline.run([TargetSpec(str(tmp_path / f"{name}.py"))], Settings(cases=5), executor=InProcess())
        assert report.verdict is verdict
        assert report.targets[0].conventions.momentum_sense == "kept"
        assert outcomes(report, Outcome.FAIL) == ({"BN304"} if name == "wrong" else set())


@pytest.mark.parametrize(("taken", "codes"), [("var", set()), ("mean", {"BN301"})])
def test_keras_weights_that_no_name_tells_are_known_by_what_they_do(tmp_path, taken, codes):
    text = Path(source("right")).read_text()
    for name, short in (("moving_mean", "aa"), ("moving_var", "bb")):
        text = text.replace(name, short)
    assert "aa.assign" in text
    text = text.replace("+ (1 - self.momentum) * var", f"+ (1 - self.momentum) * {taken}")
    (tmp_path / "own.py").write_text(text)
    report = pipeline.run([TargetSpec(str(tmp_path / "own.py"))], Settings(cases=5), executor=InProcess())
    assert report.targets[0].conventions.momentum_sense == "kept"
    assert outcomes(report, Outcome.FAIL) == codes


def test_keras_own_settings_are_put_back():
    before = keras.config.floatx(), keras.config.dtype_policy().name, keras.backend.result_type("float64", "float32")
    assert verify("right", cases=1).verdict is not Verdict.ERROR
    after = keras.config.floatx(), keras.config.dtype_policy().name, keras.backend.result_type("float64", "float32")
    assert after == before == ("float32", "float32", "float32")


def test_a_layer_handed_over_from_python_is_found():
    (card,) = resolve.cards(TargetSpec("BatchNormalization", (keras.layers.BatchNormalization,)))
    assert card.conventions.adapter == "keras-layer"


def test_it_passes_on_torch_too():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    command = [sys.executable, "-m", "bncheck", "verify", LIBRARY, "--cases", "5", "--format", "json"]
    environment = os.environ | {"KERAS_BACKEND": "torch"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["targets"][0]["conventions"]["framework"] == "torch"


# ------------------------------------------------------------------------------------------------- what Keras runs on


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """Return a function that sets which libraries are installed; Keras is not imported yet, and nothing chosen."""
    monkeypatch.delitem(sys.modules, "keras", raising=False)
    monkeypatch.setenv("KERAS_BACKEND", "")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))

    def installed(*names):
        monkeypatch.setattr(keras_code, "find_spec", lambda name: name if name in names else None)

    return installed


@pytest.mark.parametrize(
    ("installed", "chosen"),
    [(("jax", "torch"), "jax"), (("torch",), "torch"), (("tensorflow", "jax"), ""), ((), "")],
)
def test_an_installed_library_is_chosen(fresh, installed, chosen):
    fresh(*installed)
    keras_code.prepare()
    assert os.environ["KERAS_BACKEND"] == chosen


def test_a_choice_that_was_made_stays(fresh, monkeypatch, tmp_path):
    fresh("jax", "torch")
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    keras_code.prepare()
    assert os.environ["KERAS_BACKEND"] == ""  # Keras reads its file by itself
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras_code.prepare()
    assert os.environ["KERAS_BACKEND"] == "torch"


@pytest.mark.parametrize("text", ["", "[]", '{"backend": 3}', '{"backend": "tensorflow"}'])
def test_a_file_that_chooses_nothing_usable_is_passed_over(fresh, tmp_path, text):
    fresh("jax")
    (tmp_path / "keras.json").write_text(text)
    keras_code.prepare()
    assert os.environ["KERAS_BACKEND"] == "jax"


def test_an_import_that_was_is_left_alone(fresh, monkeypatch):
    fresh("jax")
    monkeypatch.setitem(sys.modules, "keras", keras)
    keras_code.prepare()
    assert os.environ["KERAS_BACKEND"] == ""
