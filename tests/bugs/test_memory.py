"""Every bug of what a layer remembers is caught by a check, has its name when it is planted, and is needed for it."""

import re
import time
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
from judging import SPEC, result
from naming import diagnosed
from planting import Planted

from bncheck import pipeline
from bncheck.adapters import resolve
from bncheck.adapters.profiles import misfit
from bncheck.adapters.rules import Statistics
from bncheck.bugs.catalogue import BUGS, Choice, Version
from bncheck.bugs.memory import OF_TRAINING
from bncheck.cases.courses import courses, long_course
from bncheck.checks.catalogue import CHECKS
from bncheck.executors.in_process import InProcess
from bncheck.experiments.memory import lived
from bncheck.guard import quiet
from bncheck.memory.search import CHECKED, OF_EVAL_GRADIENTS, OF_LONG_RUN, Search
from bncheck.memory.values import CONVENTIONS, KEPT, NEW, PLAIN, WEIGHTED, constant
from bncheck.model import Declared, Outcome, TargetSpec
from bncheck.settings import Settings

FIXTURES = Path(__file__).parents[2] / "fixtures"
CORRECT = sorted((FIXTURES / "correct").glob("*.py"))
BUGGY = sorted((FIXTURES / "buggy").glob("*.py"))
COURSES = {alike: courses("float64", (0, 2), None, alike) for alike in (False, True)}
LONG = long_course("float64", (0, 2), None)
OURS = {code: bug for code, bug in BUGS.items() if not OF_TRAINING.issuperset(bug.steps)}
# What a fitted parameter is tried with.
FITTED = {"BUG602": Choice("", 0.65), "BUG607": Choice("0.9", 0.9), "BUG609": Choice("20", 20)}
# When the statistics change, for bugs that are about that.
FITTED |= {f"BUG{number}": Choice("pytorch", "pytorch") for number in (613, 614, 615, 616)}
MISFIT = {
    "BUG613": "momentum is the fraction kept, and pytorch has new",
    "BUG614": "momentum is the fraction new, and pytorch has kept",
    "BUG615": "running variance biased, and pytorch has unbiased",
    "BUG616": "running variance unbiased, and pytorch has biased",
}
MOVED = {"backward": "eval backward", "forward": "eval", "shared": "eval"}


def versions():
    for code, bug in OURS.items():
        yield from [Version(bug, FITTED[code])] if code in FITTED else bug.versions([])


PLANTED = list(versions())


def planted(version, **told):
    """Return a layer with a bug in it."""
    code = version.bug.code
    moved = "backward" if code == "BUG610" else MOVED[version.choice.value] if code == "BUG611" else ""
    told |= {"BUG612": {"running_start": "first batch"}, "BUG607": {"unread": "momentum"}}.get(code, {})
    if code in MISFIT:
        told |= {"misfit": f"not as in pytorch: {MISFIT[code]}"}
    return Planted(version.replaced, moved=moved, **told)


def found_in(target, without=(), failing=CHECKED):
    """Return what is named of a target, as if every check failed."""
    with quiet():
        lives = [lived(target, *course) for course in COURSES[False]]
        long = lived(target, *LONG) if OF_LONG_RUN & set(failing) else None
    return [named.said() for named in Search(lives, target.conventions, without=without).named(sorted(failing), long)]


@cache
def results(place):
    return found_in(planted(PLANTED[place]))


EACH = pytest.mark.parametrize("place", range(len(PLANTED)), ids=[f"{v.bug.code} {v.choice.text}" for v in PLANTED])


# One version of each bug, for what takes longer.
FIRST_OF_EACH = [[v.bug.code for v in PLANTED].index(code) for code in OURS]


@EACH
def test_a_planted_bug_is_named(place):
    found = results(place)
    assert len(found) == 1, [d.title for d in found]
    # One of another code may be the same function: its values are the same, whichever name it has.
    if found[0].code == PLANTED[place].bug.code:
        return
    assert found[0].code in SAME.get(PLANTED[place].bug.code, ())


# A mean that starts at 0 and takes in 0 stays, whatever its fraction; a batch that is lost comes in as 0.
SAME = {"BUG606": {"BUG603", "BUG623", "BUG630"}, "BUG623": {"BUG603"}}


@pytest.mark.parametrize("code", OURS)
def test_most_versions_of_a_bug_have_its_name(code):
    own = [place for place, version in enumerate(PLANTED) if version.bug.code == code]
    named = [place for place in own if [d.code for d in results(place)] == [code]]
    assert len(named) >= 0.8 * len(own)


@pytest.mark.parametrize("code", [code for code in OURS if code not in ("BUG609", "BUG612")])
def test_a_planted_bug_is_caught_by_the_checks_that_ask_for_its_name(code):
    # What shows after many steps, and what starts with the first batch, has a test of its own.
    version = next(version for version in PLANTED if version.bug.code == code)
    judgements = result(planted(version), SPEC).judgements
    assert {name for name, judgement in judgements.items() if judgement.outcome is Outcome.FAIL} & CHECKED


@pytest.mark.parametrize("place", FIRST_OF_EACH, ids=[PLANTED[place].bug.code for place in FIRST_OF_EACH])
def test_without_its_signature_a_bug_gets_no_other_name(place):
    """What is named then gives the same values in other words: it is about the same statistic, in the same mode."""
    version, right = PLANTED[place], results(place)
    for other in found_in(planted(version), without=[version.bug.code, *(d.code for d in right)]):
        assert set(other.tensor.split(", ")) <= set(right[0].tensor.split(", "))
        assert (version.bug.code, other.code) in IN_OTHER_WORDS, other.title


# The same values in other words, by algebra: pairs of a bug and what it is called where its own name is missing.
IN_OTHER_WORDS = {
    ("BUG601", "BUG602"), ("BUG603", "BUG623"), ("BUG603", "BUG110"), ("BUG621", "BUG623"), ("BUG621", "BUG626"),
    ("BUG623", "BUG104"), ("BUG624", "BUG110"), ("BUG626", "BUG110"), ("BUG627", "BUG102"), ("BUG629", "BUG103"),
    ("BUG706", "BUG122"), ("BUG707", "BUG134"), ("BUG721", "BUG203"),
}  # fmt: skip


def test_discovery_says_how_a_convention_departs_from_a_profile():
    against = {"BUG613": ("kept", "biased", "pytorch"), "BUG614": ("new", "biased", "keras")}
    against |= {"BUG615": ("new", "biased", "pytorch"), "BUG616": ("kept", "unbiased", "keras")}
    for code, (sense, var, profile) in against.items():
        said = misfit(Statistics(sense, None, var, "0, 1"), Declared(profile=profile))
        found = found_in(Planted(misfit=said), failing={"BN303"})
        assert code in [d.code for d in found]
        assert all(profile in d.title for d in found)


# ------------------------------------------------------------------------------------------------------ no false names


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("rule", [*CONVENTIONS, constant(0.9), constant(0.37)], ids=lambda rule: rule.stays)
@pytest.mark.parametrize("start", [(0.0, 1.0), (0.0, 0.0), (0.3, 2.0)])
def test_a_convention_has_no_name(rule, unbiased, start):
    target = Planted(rule=rule._replace(unbiased=unbiased), start=start)
    assert found_in(target) == []


@pytest.mark.parametrize("rule", [KEPT, NEW])
def test_statistics_that_start_with_the_first_batch_have_no_name(rule):
    assert found_in(Planted(rule=rule, running_start="first batch")) == []


def test_a_convention_whose_statistics_are_of_single_precision_has_no_name():
    class Single(Planted):
        def open(self, setup):
            session = super().open(setup)
            move = session.forward

            def forward(x, mode="train"):
                y = move(x, mode)
                session.held = tuple(value.astype(np.float32).astype(np.float64) for value in session.held)
                return y

            session.forward = forward
            return session

    assert found_in(Single()) == []


def test_noise_has_no_name():
    random = np.random.default_rng(5)
    for name in ("mean_taken", "var_taken", "running_mean", "running_var", "eval_y", "later_dgamma"):
        noise = {name: lambda s: np.abs(random.normal(size=s.x.shape if name == "eval_y" else s.gamma.shape))}  # noqa: B023
        assert found_in(Planted(noise)) == []


def test_a_small_error_has_no_name():
    for name in ("running_mean", "running_var"):
        assert found_in(Planted({name: lambda s, name=name: s.right(name) * (1 + 1e-6)})) == []


@pytest.mark.parametrize("path", CORRECT, ids=lambda p: p.stem)
def test_a_right_fixture_has_no_name(path):
    if path.stem == "torch_functional":
        pytest.importorskip("torch", reason="PyTorch is not installed: a pair that hands the work to it is not run")
    spec = TargetSpec(str(path))
    with quiet():
        for card in resolve.cards(spec):
            target = resolve.target(spec, card.name)
            # BN306 leaves alone the backward of code that knows none of eval mode: it gives that of training.
            assert diagnosed(target, "float64", sorted(CHECKED - OF_EVAL_GRADIENTS), {}) == ()


# --------------------------------------------------------------------------------------------------- broken contracts


def header(path, key):
    found = re.search(rf"^# {key}: (.*)$", path.read_text(), re.M)
    return found.group(1) if found else ""


BY_CHECK = [path for path in BUGGY if header(path, "named").startswith("BN")]


@pytest.mark.parametrize("path", BY_CHECK, ids=lambda p: p.stem)
def test_a_broken_contract_has_the_name_of_its_check(path):
    """No formula is wrong, so that there is no wrong line beside a right one: the check's page is that of the fault."""
    report = pipeline.run([TargetSpec(str(path))], Settings(cases=16), executor=InProcess())
    (target,) = report.targets
    roots = [f.code for f in target.findings if f.outcome in (Outcome.FAIL, Outcome.WARN) and f.follows_from is None]
    assert header(path, "named") in roots
    assert not [d for d in target.diagnoses if d.is_named]
    assert CHECKS.get(header(path, "named")).doc


def test_every_wrong_fixture_has_a_name():
    assert all(header(path, "named") for path in BUGGY)


@pytest.mark.parametrize("path", [p for p in BUGGY if header(p, "caught") in CHECKED], ids=lambda p: p.stem)
def test_a_report_begins_with_the_name(path):
    report = pipeline.run([TargetSpec(str(path))], Settings(cases=12), executor=InProcess())
    (target,) = report.targets
    assert ", ".join(d.code for d in target.diagnoses) == header(path, "named")
    expected_and_found = target.exhibits[0].comparisons
    assert expected_and_found or header(path, "caught") in ("BN306", "BN308")


# ---------------------------------------------------------------------------------------------------------- two at once


def test_bugs_of_both_statistics_are_both_named():
    mean, var = (next(v for v in PLANTED if v.bug.code == code) for code in ("BUG623", "BUG624"))
    found = found_in(Planted({**mean.replaced, **var.replaced}))
    assert [(d.code, d.tensor) for d in found] == [("BUG623", "running_mean"), ("BUG624", "running_var")]


def test_bugs_of_the_update_and_of_eval_mode_are_both_named():
    update, answer = (next(v for v in PLANTED if v.bug.code == code) for code in ("BUG627", "BUG706"))
    assert {d.code for d in found_in(Planted({**update.replaced, **answer.replaced}))} == {"BUG627", "BUG706"}


def test_bugs_of_the_forward_are_told_in_eval_mode_and_in_the_update():
    outside, axes = (BUGS.get(code).versions([])[0] for code in ("BUG111", "BUG102"))
    (found,) = found_in(Planted({"eval_y": lambda s: s.gamma * s.centred * outside.replaced["inv_std"](s) + s.beta}))
    assert (found.code, found.title) == ("BUG111", f"in eval mode, {outside.title}")
    (found,) = found_in(Planted({"var_taken": partial(_wrong_var, axes.replaced)}), without=("BUG627",))
    assert (found.code, found.title) == ("BUG102", f"in the update of the running statistics, {axes.title}")


def _wrong_var(replaced, s):
    return s.also(replaced).var


# ------------------------------------------------------------------------------------------------------------ the words


def test_the_lines_are_in_the_letters_of_the_code():
    deviation = next(v for v in PLANTED if v.bug.code == "BUG624")
    lines = {
        rule.stays: found_in(Planted(deviation.replaced, rule=rule))[0].wrong for rule in (KEPT, NEW, constant(0.9))
    }
    assert lines == {
        "momentum": "running_var = momentum * running_var + (1 - momentum) * sqrt(var)",
        "(1 - momentum)": "running_var = (1 - momentum) * running_var + momentum * sqrt(var)",
        "0.9": "running_var = 0.9 * running_var + 0.1 * sqrt(var)",
    }


def test_nothing_is_said_of_what_no_failing_check_is_about():
    deviation = next(v for v in PLANTED if v.bug.code == "BUG624")
    assert found_in(planted(deviation), failing={"BN302"}) == []
    assert diagnosed(planted(deviation), "float64", ("BN101", "BN504"), {}) == ()


def unnamed_in(replaced, failing):
    (found,) = diagnosed(Planted(replaced), "float64", failing, {})
    assert (found.code, found.is_named) == ("BUG000", False)
    return found


def test_an_eval_mode_that_no_bug_explains_is_described():
    found = unnamed_in({"eval_var": lambda s: s.old_var + 0.01 * s.old_mean**2}, ("BN302",))
    assert found.title == "no known bug explains y in eval mode"
    assert found.wrong == "y = ? * gamma / sqrt(running_var + eps) * (x - running_mean) + beta"
    assert re.search(r"0\.\d+ to \S+ times as steep as it should be", found.explanation)
    found = unnamed_in({"eval_mean": lambda s: s.old_mean + 0.1 * s.beta**2}, ("BN302", "BN310"))
    assert found.wrong == "y = gamma / sqrt(running_var + eps) * x + ?"
    assert found.explanation.endswith("at x = running_mean it is not beta: look at the mean, and at beta")
    assert "in no channel is y a line" in unnamed_in({"eval_y": lambda s: np.tanh(s.xhat)}, ("BN302",)).explanation


def test_statistics_that_no_bug_explains_are_described():
    found = unnamed_in({"var_taken": lambda s: s.var + 0.1 * np.abs(s.mu) ** 1.5}, ("BN301",))
    assert (found.tensor, found.title) == ("running_var", "no known bug explains running_var")
    assert re.fullmatch(r"running_var = \S+ \* running_var \+ \S+ \* var \+ \?", found.wrong)
    assert 0.5 < found.explained < 1


def test_what_follows_from_a_wrong_forward_is_not_named_once_more():
    layer_norm = next(v for v in BUGS.get("BUG101").versions([]))
    own = layer_norm.replaced
    target = Planted(own)
    with quiet():
        lives = [lived(target, *course) for course in COURSES[False]]
    assert Search(lives, target.conventions, own).named(sorted(CHECKED)) == []


@pytest.mark.parametrize("rule", [PLAIN, WEIGHTED])
def test_averages_over_all_batches_are_told_from_miscounted_ones(rule):
    assert found_in(Planted(rule=rule, momentum_sense="cumulative")) == []


def test_code_for_batches_of_one_size_is_taken_through_batches_of_one_size():
    class OneSize(Planted):
        def open(self, setup):
            session = super().open(setup)
            forward, sizes = session.forward, []

            def one_size(x, mode="train"):
                sizes.append(len(x))
                if len(set(sizes)) > 1:
                    raise ValueError("a batch of another size")
                return forward(x, mode)

            session.forward = one_size
            return session

    deviation = next(v for v in PLANTED if v.bug.code == "BUG624")
    assert [d.code for d in diagnosed(OneSize(deviation.replaced), "float64", ("BN301",), {})] == ["BUG624"]


@pytest.mark.parametrize(("dtype", "named"), [("float32", ["BUG624"]), ("float16", [])])
def test_half_precision_is_too_coarse_for_names(dtype, named):
    deviation = next(v for v in PLANTED if v.bug.code == "BUG624")
    found = diagnosed(Planted(deviation.replaced), dtype, ("BN301", "BN508"), {})
    assert [d.code for d in found] == named


def test_a_diagnosis_takes_little_time():
    deviation = planted(next(v for v in PLANTED if v.bug.code == "BUG624"))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        diagnosed(deviation, "float64", ("BN301", "BN302"), {})
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 2.0  # some 0.3 s; the machine may be busy


EVAL_MODE = """import numpy as np


class BatchNorm:
    def __init__(self, n, eps=1e-5, momentum=0.9):
        self.gamma, self.beta, self.eps, self.momentum = np.ones(n), np.zeros(n), eps, momentum
        self.running_mean, self.running_var = np.zeros(n), np.ones(n)

    def forward(self, x, train=True):
        mu, var = (x.mean(axis=0), x.var(axis=0)) if train else ({mean}, {var})
        if train:
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
            {update}
        self.s = np.sqrt(var + self.eps)
        self.xhat = (x - mu) / self.s
        return self.gamma * self.xhat + self.beta

    def backward(self, d):
        self.dgamma, self.dbeta = (d * self.xhat).sum(axis=0), d.sum(axis=0)
        g = d * self.gamma
        return (g - g.mean(axis=0) - self.xhat * (g * self.xhat).mean(axis=0)) / self.s
"""
PARTS = {
    "mean": "self.running_mean",
    "var": "self.running_var",
    "update": "self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var",
}
# What eval mode has for mean and variance, the bug, and the formula as it is.
TAKEN_FOR = {
    "the mean for the variance": (
        {"var": "self.running_mean"},
        "BUG705",
        "(x - running_mean) / sqrt(running_mean + eps)",
    ),
    "its size for the variance": (
        {"var": "abs(self.running_mean)"},
        "BUG705",
        "(x - running_mean) / sqrt(|running_mean| + eps)",
    ),
    "the variance for the mean": (
        {"mean": "self.running_var"},
        "BUG706",
        "(x - running_var) / sqrt(running_var + eps)",
    ),
    "either for the other": (
        {"mean": "self.running_var", "var": "self.running_mean"},
        "BUG704",
        "(x - running_var) / sqrt(running_mean + eps)",
    ),
}


def reported(tmp_path, changes):
    path = tmp_path / "layer.py"
    path.write_text(EVAL_MODE.format(**PARTS | changes))
    return pipeline.run([TargetSpec(str(path))], Settings(cases=12), executor=InProcess()).targets[0]


def test_a_fault_of_training_is_none_of_eval_mode_where_that_takes_what_is_held(tmp_path):
    path = tmp_path / "layer.py"
    path.write_text(EVAL_MODE.format(**PARTS).replace("x.var(axis=0)", "x.var(axis=0, ddof=min(1, len(x) - 1))"))
    (target,) = pipeline.run([TargetSpec(str(path))], Settings(cases=12), executor=InProcess()).targets
    assert "BN310" in {f.code for f in target.findings if f.outcome == "fail"}  # it follows from BN101
    assert [d.code for d in target.diagnoses] == ["BUG101"]


@pytest.mark.parametrize("case", TAKEN_FOR)
def test_the_formula_of_eval_mode_is_the_one_that_was_measured_on_numbers(tmp_path, case):
    changes, code, line = TAKEN_FOR[case]
    target = reported(tmp_path, changes)
    (found,) = target.diagnoses
    assert (found.code, found.wrong) == (code, f"y = gamma * {line} + beta")
    # A mean under a root is negative in half of all cases, which say less.
    (compared,) = target.exhibits[0].comparisons
    assert np.isfinite(compared.found.values).all()


def test_the_momentum_of_a_case_is_told_from_the_default_of_the_code(tmp_path):
    target = reported(tmp_path, {"update": "pass"})
    assert [d.title for d in target.diagnoses] == ["running_var is never updated in training"]
    inputs = target.exhibits[0].inputs
    assert "momentum" not in inputs
    assert inputs["momentum given by bncheck"].values == (0.1,)
