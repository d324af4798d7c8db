"""The Python front."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import targets

import bncheck
from bncheck.model import Outcome
from bncheck.report import Diagnosis, Finding, Report, TargetReport, Verdict
from bncheck.reporters.short import in_one_line

CORRECT = Path(__file__).parent.parent / "fixtures" / "correct"


def forward(x, gamma, beta, eps=1e-5):
    return targets.forward(x, gamma, beta, eps)


def backward(dout, cache):
    found = targets.backward(dout, cache)
    return found.dx, found.dgamma, found.dbeta


def halved(dout, cache):
    found = targets.backward(dout, cache)
    return found.dx / 2, found.dgamma, found.dbeta


class Layer:
    def __init__(self, gamma, beta, eps=1e-5):
        self.gamma, self.beta, self.eps = gamma, beta, eps

    def forward(self, x):
        y, self.cache = targets.forward(x, self.gamma, self.beta, self.eps)
        return y

    def backward(self, dout):
        found = targets.backward(dout, self.cache)
        self.dgamma, self.dbeta = found.dgamma, found.dbeta
        return found.dx


@pytest.mark.parametrize("given", [(forward, backward), (Layer,), (str(CORRECT / "einsum_pair.py"),)])
def test_what_is_right_is_truthy(given):
    report = bncheck.verify(*given, cases=30)
    assert report
    assert report.targets[0].cases == 30
    report.raise_for_failure()


def test_what_is_wrong_is_falsy_and_says_so_in_an_assertion_error():
    report = bncheck.verify(forward, halved, cases=30)
    assert not report
    with pytest.raises(AssertionError, match="BN201 dx-matches-numeric: dx is not the derivative of the forward"):
        report.raise_for_failure()


def test_a_live_object_has_no_replay_command():
    assert bncheck.verify(forward, halved, cases=10).targets[0].replay == ""


def test_selection_and_dtype_are_passed_on():
    report = bncheck.verify(forward, backward, select="BN1,BN503", ignore=["BN503"], dtype="float32", cases=10)
    assert {f.code for f in report.targets[0].findings} == {"BN101"}
    assert report.dtype == "float32"


def test_codes_may_have_blanks_between_them():
    report = bncheck.verify(forward, backward, select="BN101, BN503", cases=10)
    assert {f.code for f in report.targets[0].findings} == {"BN101", "BN503"}


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        ((3,), {}, "takes a forward and a backward function, a layer class, or"),
        ((Layer(1, 0), backward), {}, "takes a forward and a backward function, a layer class, or"),
        (("my.py", backward), {}, "leave out the second argument"),
        ((backward, forward), {}, "takes the forward first: are backward and forward swapped"),
        ((forward, backward), {"dtype": "float46"}, "Did you mean float"),
        ((forward, backward), {"select": "BN999"}, "no check's code starts with 'BN999'"),
        ((forward, backward), {"cazes": 3}, "cazes"),
        ((forward, backward), {"cases": 0}, "at least 1"),
        ((forward, backward), {"cases": "10"}, "cases should be a whole number, not '10'"),
        ((forward, backward), {"seed": 1.5}, "seed should be a whole number, not 1.5"),
        ((forward, backward), {"select": ""}, "select has an empty code"),
        ((forward, backward), {"ignore": [3]}, "ignore should be a string or a list of strings"),
        ((forward, backward), {"layout": "NHCX"}, "layout 'NHCX' is not known. Did you mean"),
        ((forward, backward), {"timeout": float("inf")}, "timeout must be between 0 and"),
    ],
)
def test_misuse_is_a_usage_error_that_helps(given, options, told):
    with pytest.raises(bncheck.UsageError, match=told):
        bncheck.verify(*given, **options)


def test_a_forward_alone_is_no_pair():
    with pytest.raises(bncheck.TargetError, match="needs the backward function too"):
        bncheck.verify(forward)


class Callable(Layer):
    def __call__(self, x):
        return self.forward(x)


@pytest.mark.parametrize("kind", [Layer, Callable])
def test_a_layer_that_is_made_already_is_refused_with_the_way_out(kind):
    name = kind.__name__
    said = rf"class {name} is a layer of one size.*verify\({name}\), or .*verify\(lambda n: {name}\(n, eps=\.\.\.\)\)"
    with pytest.raises(bncheck.TargetError, match=said):
        bncheck.verify(kind(1, 0))


def test_what_makes_a_layer_of_a_size_is_a_target():
    class Sized(Layer):
        def __init__(self, n, rate, eps=1e-5):
            super().__init__(np.ones(n), np.zeros(n) + 0 * rate, eps)

    assert bncheck.verify(lambda n: Sized(n, 0.1, eps=1e-3), cases=10)


@pytest.mark.parametrize("given", [("nowhere.py",), (3,), (Layer(1, 0),)])
def test_a_slip_is_told_at_the_call_and_not_where_it_was_noticed(given):
    with pytest.raises(bncheck.BncheckError) as told:
        bncheck.verify(*given)
    assert [entry.name for entry in told.traceback][1:] == ["verify"]
    assert told.value.__suppress_context__


def test_what_an_expected_failure_is_called_is_not_what_is_wrong_now():
    def found(code, tensor, **more):
        return Finding(code, f"{tensor}-matches-numeric", Outcome.FAIL, "error", "", tensor, **more)

    def bug(code, tensor):
        return Diagnosis(code, "factor", "", "", tensor, 1.0)

    known = replace(found("BN203", "dbeta"), outcome=Outcome.WARN, expected="as in the paper")
    findings = (found("BN202", "dgamma"), known)
    target = TargetReport("a", Verdict.FAIL, findings=findings, diagnoses=(bug("BUG411", "dbeta"),))
    report = Report((target,), Verdict.FAIL, "0", 0, "float64")
    assert repr(report) == "<bncheck report: FAIL a: BN202 dgamma-matches-numeric>"
    assert in_one_line(target) == "BN202 dgamma-matches-numeric"
    with pytest.raises(AssertionError) as told:
        report.raise_for_failure()
    assert "BUG411" not in str(told.value)
    named = replace(target, diagnoses=(bug("BUG311", "dgamma"), bug("BUG411", "dbeta"), bug("BUG901", "y")))
    assert [diagnosis.code for diagnosis in named.unexpected] == ["BUG311", "BUG901"]
    both = replace(target, diagnoses=(bug("BUG500", "dgamma, dbeta"),))
    assert both.unexpected == both.diagnoses


def test_a_target_that_cannot_be_understood_raises():
    with pytest.raises(bncheck.TargetError, match=r"no such file|not exist|No such"):
        bncheck.verify("nowhere.py")
    with pytest.raises(bncheck.StubError, match="not implemented yet"):
        bncheck.verify(forward, lambda dout, cache: None)


def test_public_names_are_all_there_and_listed():
    assert set(bncheck.__all__) <= set(dir(bncheck))
    for name in bncheck.__all__:
        assert getattr(bncheck, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'verfy'"):
        _ = bncheck.verfy


@pytest.mark.parametrize("module", ["bncheck", "bncheck.pytest_plugin", "bncheck.errors", "bncheck.model"])
def test_importing_costs_nothing(module):
    heavy = "numpy", "scipy", "rich", "torch"
    code = f"import sys, {module}; print([n for n in {heavy!r} if n in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
