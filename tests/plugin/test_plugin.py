"""The pytest plugin on small projects: what is collected, what comes of it, what it costs those who do not use it."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import bncheck.api
import bncheck.cases.plan
import bncheck.condition
import bncheck.pytest_items
import bncheck.verdict  # noqa: F401 - see below
from bncheck.checks.catalogue import CHECKS
from bncheck.codec import report_from_json
from bncheck.reporters import REPORTERS

pytest_plugins = ["pytester"]

# What a run within this process loads is forgotten behind it, and NumPy cannot be loaded twice: it is all here before.
LOADED_BEFORE = CHECKS.names(), REPORTERS.names()

RIGHT = """
import numpy as np

def bn_forward(x, gamma, beta, eps):
    mu, var = x.mean(0), x.var(0)
    inv_std = 1 / np.sqrt(var + eps)
    xhat = (x - mu) * inv_std
    return gamma * xhat + beta, (xhat, inv_std, gamma)

def bn_backward(dy, cache):
    xhat, inv_std, gamma = cache
    dx = gamma * inv_std * (dy - dy.mean(0) - xhat * (dy * xhat).mean(0))
    return dx, (dy * xhat).sum(0), dy.sum(0)
"""
WRONG = RIGHT.replace("dy - dy.mean(0) - xhat", "dy - xhat")
ONE_PASS = RIGHT.replace("x.var(0)", "(x**2).mean(0) - x.mean(0) ** 2")
CRASHING = RIGHT.replace("xhat, inv_std, gamma = cache", "import os; os._exit(3)")
FEW = 'select = ["BN101", "BN2", "BN503", "BN602", "BN604"]\ncases = 12\n'


@pytest.fixture
def project(pytester):
    """Return what makes a project: files by name, and what stands in [tool.bncheck]."""

    def make(settings="", options="", **files):
        pytester.makepyprojecttoml(f"[tool.bncheck]\n{settings}\n[tool.pytest.ini_options]\n{options}")
        for name, text in files.items():
            pytester.path.joinpath(f"{name}.py").write_text(textwrap.dedent(text))
        return pytester

    return make


def outcomes(result):
    return {name: n for name, n in result.parseoutcomes().items() if name in ("passed", "failed", "skipped", "xfailed")}


def ids(pytester, *options):
    lines = pytester.runpytest_inprocess("--collect-only", "-q", *options).outlines
    return [line for line in lines if "::" in line]


# ----------------------------------------------------------------------------------------------------------- collection


def test_every_check_of_every_target_is_an_item(project):
    found = ids(project('targets = ["right.py"]\nselect = ["BN1", "BN20"]', right=RIGHT))
    assert found == [
        "right.py::bn_forward::BN101-y-matches-reference",
        "right.py::bn_forward::BN201-dx-matches-numeric",
        "right.py::bn_forward::BN202-dgamma-matches-numeric",
        "right.py::bn_forward::BN203-dbeta-matches-numeric",
    ]


def test_without_a_choice_all_checks_are_there(project):
    assert len(ids(project('targets = ["right.py"]', right=RIGHT))) == len(CHECKS.names())


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("-k", "BN201"), 1),
        (("-m", "bncheck"), 4),
        (("-m", "not bncheck"), 1),
        (("right.py::bn_forward::BN101-y-matches-reference",), 1),
        (("right.py",), 4),
        (("test_own.py",), 1),
        (("test_own.py", "--bncheck", "other.py::bn_forward"), 5),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_items_are_chosen_like_any_other(project, options, count):
    made = project(
        'targets = ["right.py"]\nselect = ["BN1", "BN20"]',
        right=RIGHT,
        other=RIGHT,
        test_own="def test_one(): pass",
    )
    assert len(ids(made, *options)) == count


def test_targets_come_from_the_ini_file_and_from_the_command_line_too(project):
    made = project(FEW, "bncheck_targets = ['one.py']", one=RIGHT, two=RIGHT, three=RIGHT)
    found = ids(made, "--bncheck", "two.py", "-k", "BN101")
    assert [line.split("::")[0] for line in found] == ["one.py", "two.py"]


def test_a_module_is_a_target_by_its_name(project):
    made = project('targets = ["layers_of_mine:bn_forward"]\n' + FEW, layers_of_mine=RIGHT)
    made.syspathinsert()
    result = made.runpytest_subprocess("-k", "BN201 or BN101", "--junitxml", "junit.xml")
    assert outcomes(result) == {"passed": 2}
    result.stdout.fnmatch_lines(["collected 13 items / 11 deselected / 2 selected", "layers_of_mine:bn_forward ..*"])
    named = made.path.joinpath("junit.xml").read_text()
    assert 'classname="layers_of_mine:bn_forward" name="BN101-y-matches-reference"' in named


def test_the_id_of_a_module_s_item_can_be_given_back(project):
    settings = 'targets = ["layers_of_mine:bn_forward", "right.py"]\nselect = ["BN101", "BN201"]\ncases = 3\n'
    made = project(settings, layers_of_mine=RIGHT, right=RIGHT)
    made.syspathinsert()
    wanted = "layers_of_mine:bn_forward::BN201-dx-matches-numeric"
    assert wanted in ids(made)
    assert ids(made, wanted) == [wanted]
    assert ids(made, wanted, "right.py", "-k", "BN201") == ["right.py::bn_forward::BN201-dx-matches-numeric", wanted]
    assert len(ids(made, "layers_of_mine:bn_forward")) == 2
    assert outcomes(made.runpytest_subprocess("-p", "xdist", "-n", "1", wanted)) == {"passed": 1}
    result = made.runpytest_inprocess("layers_of_mine:bn_forward::BN299")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: not found: layers_of_mine:bn_forward::BN299"])
    # From a folder below pytest writes the way to the root before it.
    command = [sys.executable, "-m", "pytest", "-q", f"../{wanted}"]
    below, env = made.mkdir("below"), os.environ | {"PYTHONPATH": f"{made.path}"}
    done = subprocess.run(command, cwd=below, env=env, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout


def test_targets_that_are_not_below_the_folder_given_are_told(project):
    made = project('targets = ["right.py", "layers_of_mine:bn"]', right=RIGHT)
    made.mkdir("tests").joinpath("test_own.py").write_text("def test_one(): pass")
    said = "bncheck: 2 targets left out, not below the paths given: right.py, layers_of_mine:bn"
    assert said in made.runpytest_inprocess("-q", "tests").outlines
    for options in ((".", "-k", "test_one"), ("tests/test_own.py",), ("tests/test_own.py::test_one",)):
        assert "left out" not in made.runpytest_inprocess("-q", *options).stdout.str()


def test_a_target_outside_of_testpaths_is_found_and_not_imported_by_pytest(project):
    made = project(
        'targets = ["src.py"]\n' + FEW, 'testpaths = ["tests"]', src=RIGHT + "\ndef test_is_no_test(): 1 / 0\n"
    )
    made.mkdir("tests").joinpath("test_own.py").write_text("def test_one(): pass")
    result = made.runpytest_inprocess("-q", "-k", "BN101 or test_")
    assert outcomes(result) == {"passed": 2}


def test_a_target_that_pytest_would_not_visit_is_verified_all_the_same(project):
    made = project('targets = ["build/bad.py", "good.py"]\n' + FEW, good=RIGHT)
    made.mkdir("build").joinpath("bad.py").write_text(WRONG)
    for options in ((), ("--bncheck", "build/bad.py", "good.py"), (".",), ("-p", "xdist", "-n", "1")):
        result = made.runpytest_subprocess("-q", "-k", "BN201", *options)
        assert outcomes(result) == {"passed": 1, "failed": 1} if "--bncheck" not in options else result.ret == 1


def test_a_module_is_verified_with_the_folder_of_the_settings(project):
    made = project('targets = ["layers_of_mine:bn_forward"]\n' + FEW, layers_of_mine=RIGHT)
    made.mkdir("tests").joinpath("test_own.py").write_text("def test_one(): pass")
    made.syspathinsert()
    assert any("BN201" in line for line in ids(made, "."))
    assert not any("BN201" in line for line in ids(made, "tests"))


def test_settings_in_a_line_are_settings(pytester):
    settings = '[tool]\nbncheck = {targets = ["right.py"], select = ["BN101"]}\n'
    pytester.path.joinpath("pyproject.toml").write_text(settings)
    pytester.path.joinpath("right.py").write_text(RIGHT)
    assert outcomes(pytester.runpytest_inprocess("-q")) == {"passed": 1}


def test_a_test_module_that_holds_a_target_is_both(project):
    made = project('targets = ["test_bn.py"]\n' + FEW, test_bn=RIGHT + "\ndef test_mine(): pass\n")
    assert outcomes(made.runpytest_inprocess("-q", "-k", "BN101 or test_mine")) == {"passed": 2}


def test_settings_are_found_from_a_folder_below(project):
    made = project('targets = ["right.py"]\n' + FEW, right=RIGHT)
    below = made.mkdir("below")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "BN101"], cwd=below, capture_output=True, text=True, check=False
    )
    assert "1 passed" in done.stdout, done.stdout


# ------------------------------------------------------------------------------------------------------------- outcomes


def test_a_right_target_passes_and_a_wrong_one_fails_by_the_name_of_its_bug(project):
    made = project('targets = ["right.py", "wrong.py"]\n' + FEW, right=RIGHT, wrong=WRONG)
    result = made.runpytest_inprocess("-rf")
    assert outcomes(result)["passed"] >= 6
    result.stdout.fnmatch_lines(["FAILED wrong.py::bn_forward::BN201-dx-matches-numeric - Failed: BUG2*"])
    # The report of that check stands above it, with the case and the command that replays it.
    result.stdout.fnmatch_lines(
        ["*the path through the mean is missing in dx*", "*dx found*", "*bncheck replay v1:*wrong.py::bn_forward"]
    )
    # What follows from it is told in one line.
    result.stdout.fnmatch_lines(["FAILED wrong.py::bn_forward::BN211-* - Failed: follows*"])
    result.stdout.fnmatch_lines(
        [
            "*= bncheck =*",
            "PASS right.py::bn_forward: *",
            "FAIL wrong.py::bn_forward: *BN201*",
            "  checks: 2 fail, 8 pass, 3 skip; 12 cases",
            "  layout NC, *",
            "*BUG2*",
        ]
    )
    # How a target was called is told of one that fails; the table of an item says what all checks said.
    assert sum(line.startswith("  layout NC, ") for line in result.outlines) == 1
    result.stdout.fnmatch_lines(["  A *yes *no *ok *WRONG *ok *ok", "  B *no *WRONG *ok *ok"])
    assert "✔ BN101" not in result.stdout.str()


def test_how_a_right_target_was_called_is_told_where_asked(project):
    made = project('targets = ["right.py"]\nselect = ["BN101"]\ncases = 3', right=RIGHT)
    assert "layout NC" not in made.runpytest_inprocess().stdout.str()
    made.runpytest_inprocess("-v").stdout.fnmatch_lines(["  layout NC, *", "  running statistics"])


def test_what_does_not_apply_is_skipped_and_says_why(project):
    made = project('targets = ["right.py"]\nselect = ["BN301"]\ncases = 3', right=RIGHT)
    result = made.runpytest_inprocess("-rs")
    assert outcomes(result) == {"skipped": 1}
    result.stdout.fnmatch_lines(["SKIPPED*running statistics*"])


def test_a_warning_warns_and_fails_where_warnings_are_to_fail(project):
    made = project('targets = ["one_pass.py"]\nselect = ["BN401"]', one_pass=ONE_PASS)
    result = made.runpytest_subprocess()
    assert outcomes(result) == {"passed": 1}
    result.stdout.fnmatch_lines(["  one_pass.py:4: BncheckWarning: BN401 variance-keeps-its-digits: *"])
    made = project('targets = ["one_pass.py"]\nselect = ["BN401"]\nstrict = true', one_pass=ONE_PASS)
    assert outcomes(made.runpytest_inprocess()) == {"failed": 1}


def test_what_cannot_be_decided_fails(project):
    """A single case with x of float16's largest numbers leaves y open."""
    made = project('targets = ["right.py"]\nselect = ["BN101"]\ncases = 12', right=RIGHT)
    made.makeconftest(
        """
        import dataclasses
        from bncheck.model import Outcome
        from bncheck.job import Job
        from bncheck.report import Verdict

        whole = Job.verify

        def verify(self, card, progress):
            report = whole(self, card, progress)
            findings = tuple(dataclasses.replace(f, outcome=Outcome.INCONCLUSIVE) for f in report.findings)
            return dataclasses.replace(report, findings=findings, verdict=Verdict.INCONCLUSIVE)

        Job.verify = verify
        """
    )
    result = made.runpytest_subprocess("-rf")
    assert outcomes(result) == {"failed": 1}
    result.stdout.fnmatch_lines(["FAILED right.py::bn_forward::BN101* - Failed: inconclusive*"])


def test_what_follows_from_what_was_decided_is_skipped_and_not_failed(project):
    made = project('targets = ["right.py"]\ndtype = "float16"', right=RIGHT)
    result = made.runpytest_subprocess("-rs")
    assert "failed" not in outcomes(result)
    result.stdout.fnmatch_lines(["SKIPPED*could not be decided, and follows from what was*"])


EXPECTED = '[[tool.bncheck.expected]]\ncheck = "{}"\nreason = "the paper of 2014 has it so"\n'


def test_an_expected_failure_is_one_and_has_to_happen(project):
    made = project('targets = ["wrong.py"]\n' + FEW + EXPECTED.format("BN201"), wrong=WRONG)
    result = made.runpytest_inprocess("-rx", "-k", "BN201 or BN101")
    assert outcomes(result) == {"passed": 1, "xfailed": 1}
    result.stdout.fnmatch_lines(["XFAIL *BN201*the paper of 2014 has it so*"])
    assert outcomes(made.runpytest_inprocess("-k", "BN211")) == {"xfailed": 1}
    made = project('targets = ["wrong.py"]\n' + FEW + EXPECTED.format("BN101"), wrong=WRONG)
    assert outcomes(made.runpytest_inprocess("-k", "BN101")) == {"failed": 1}


def test_an_expected_failure_that_is_run_alone_is_no_open_question(project):
    made = project('targets = ["wrong.py"]\n' + FEW + EXPECTED.format("BN201"), wrong=WRONG)
    result = made.runpytest_inprocess("wrong.py::bn_forward::BN201-dx-matches-numeric")
    assert outcomes(result) == {"xfailed": 1}
    result.stdout.fnmatch_lines(["PASS wrong.py::bn_forward: 0 checks on 12 cases, 1 expected failure"])


def test_a_test_by_hand_is_told_the_expected_failures_by_the_fixture(project):
    by_hand = "def test_bn(bncheck): assert bncheck.verify('wrong.py', cases=12, expected={})"
    for said, told in (("bncheck.expected", {"passed": 1}), ("()", {"failed": 1})):
        made = project(EXPECTED.format("BN201"), test_own=by_hand.format(said), wrong=WRONG)
        assert outcomes(made.runpytest_inprocess("test_own.py")) == told
    made.path.joinpath("pyproject.toml").unlink()
    made.path.joinpath("test_own.py").write_text("def test_none(bncheck): assert bncheck.expected == ()")
    assert outcomes(made.runpytest_inprocess("test_own.py")) == {"passed": 1}


def test_an_expected_failure_of_no_target_is_told(project):
    slip = 'target = "rigth.py::*"\n'
    made = project(
        'targets = ["right.py", "wrong.py"]\n' + FEW + EXPECTED.format("BN203") + slip, right=RIGHT, wrong=RIGHT
    )
    said = "expected failure of BN203: no target fits 'rigth.py::[*]'. Did you mean right.py::bn_forward?"
    made.runpytest_inprocess("-k", "BN101").stdout.fnmatch_lines([said])
    made.runpytest_inprocess("wrong.py").stdout.no_fnmatch_line("*rigth*")


def test_an_expected_failure_that_nothing_chosen_follows_from_is_not_looked_for(project):
    made = project('targets = ["wrong.py"]\n' + FEW + EXPECTED.format("BN203"), wrong=WRONG)
    result = made.runpytest_inprocess("-k", "BN101")
    result.stdout.fnmatch_lines(["PASS wrong.py::bn_forward: 1 check on 12 cases", "  checks: 1 pass; 12 cases"])


def test_an_expected_failure_that_was_mended_is_told_as_such_and_as_nothing_else(project):
    both = EXPECTED.format("BN202") + EXPECTED.format("BN203")
    halved = RIGHT.replace("dy.sum(0)\n", "dy.mean(0)\n")
    made = project('targets = ["old.py"]\n' + FEW + both, old=halved)
    result = made.runpytest_inprocess("-rf", "-k", "BN202 or BN203 or BN201 or BN101 or BN213")
    assert outcomes(result) == {"failed": 1, "passed": 2, "xfailed": 2}
    result.stdout.fnmatch_lines(["  A *yes *no *ok *– *– *WRONG", "  B *no *– *ok *ok *WRONG"])
    result.stdout.fnmatch_lines(["FAIL old.py::bn_forward: BN202 dgamma-matches-numeric"])
    assert "BUG4" not in result.stdout.str()


def test_the_last_failures_are_run_alone(project):
    made = project('targets = ["right.py", "wrong.py"]\n' + FEW, right=RIGHT, wrong=WRONG)
    first = outcomes(made.runpytest_inprocess("-q"))
    again = outcomes(made.runpytest_inprocess("-q", "--lf"))
    assert again == {"failed": first["failed"]}


def test_the_first_failure_stops_where_asked(project):
    made = project('targets = ["wrong.py"]\n' + FEW, wrong=WRONG)
    assert outcomes(made.runpytest_inprocess("-q", "-x"))["failed"] == 1


COUNTING = """
from bncheck.job import Job

whole = Job.verify

def verify(self, card, progress):
    with open("sweeps.txt", "a") as file:
        file.write(f"{card.name} {','.join(self.settings.select)}\\n")
    return whole(self, card, progress)

Job.verify = verify
"""


def test_the_evidence_is_gathered_once_and_for_the_chosen_checks_alone(project):
    made = project('targets = ["right.py"]\n' + FEW, right=RIGHT)
    made.makeconftest(COUNTING)
    made.runpytest_subprocess("-q")
    made.runpytest_subprocess("-q", "-k", "BN201 or BN503")
    lines = made.path.joinpath("sweeps.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["right.py::bn_forward"] * 2
    assert lines[1].split()[1] == "BN201,BN503"
    assert len(lines[0].split(",")) > 5


# ------------------------------------------------------------------------------------------------------ xdist and files


@pytest.mark.parametrize("how", ["load", "loadscope"])
def test_workers_of_xdist_share_the_items(project, how):
    pytest.importorskip("xdist", reason="pytest-xdist is not installed: no workers to share items")
    made = project('targets = ["right.py", "wrong.py"]\n' + FEW, right=RIGHT, wrong=WRONG)
    made.makeconftest(COUNTING)
    result = made.runpytest_subprocess("-n", "2", "--dist", how, "--bncheck-report", "report.json", "-rf")
    assert outcomes(result)["passed"] >= 6
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["FAILED wrong.py::bn_forward::BN201-dx-matches-numeric - Failed: BUG2*"])
    sweeps = made.path.joinpath("sweeps.txt").read_text().splitlines()
    assert len(sweeps) == 2 if how == "loadscope" else len(sweeps) <= 4
    report = report_from_json(json.loads(made.path.joinpath("report.json").read_text()))
    assert [target.name for target in report.targets] == ["right.py::bn_forward", "wrong.py::bn_forward"]
    assert [target.verdict.value for target in report.targets] == ["pass", "fail"]
    told = [line for line in result.outlines if line.startswith(("PASS ", "FAIL "))]
    assert len(told) == 2


def test_a_report_for_machines_and_one_for_people_are_written(project):
    made = project('targets = ["wrong.py"]\n' + FEW, wrong=WRONG)
    result = made.runpytest_inprocess("--junitxml", "junit.xml", "--bncheck-report", "report.json")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    junit = made.path.joinpath("junit.xml").read_text()
    assert "BN201-dx-matches-numeric" in junit
    assert "BUG2" in junit
    assert "\x1b" not in junit
    assert "#x1B" not in junit
    report = report_from_json(json.loads(made.path.joinpath("report.json").read_text()))
    assert not report
    assert report.targets[0].diagnoses[0].code.startswith("BUG2")
    made.runpytest_inprocess("--bncheck-report", "report.txt")
    assert made.path.joinpath("report.txt").read_text().startswith("✘ FAIL  wrong.py::bn_forward")
    made.runpytest_inprocess("--bncheck-report", "short", "--bncheck-format", "short")
    assert made.path.joinpath("short").read_text().startswith("FAIL wrong.py::bn_forward: ")
    made.runpytest_inprocess("--bncheck-report", "a.sarif", "--bncheck-report", "b.md")
    assert json.loads(made.path.joinpath("a.sarif").read_text())["version"] == "2.1.0"
    assert made.path.joinpath("b.md").read_text().startswith("## bncheck: FAIL")


def test_a_target_that_ends_its_process_fails_and_the_others_go_on(project):
    pytest.importorskip("xdist", reason="pytest-xdist is not installed: no workers to share items")
    made = project(
        'targets = ["crashing.py", "right.py"]\nselect = ["BN101", "BN506"]\ncases = 6', right=RIGHT, crashing=CRASHING
    )
    result = made.runpytest_subprocess("-n", "2", "-rf")
    assert outcomes(result) == {"failed": 1, "passed": 2}
    result.stdout.fnmatch_lines(["FAILED crashing.py::unusable - Failed: *exited with code 3*"])


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("again", ["right.py", "right.py::bn_forward", "./right.py::bn_forward"])
def test_a_target_that_is_named_twice_is_verified_once(project, again):
    made = project('targets = ["right.py"]\nselect = ["BN1", "BN20"]\ncases = 3\n', right=RIGHT)
    result = made.runpytest_inprocess("--bncheck", again)
    assert outcomes(result) == {"passed": 4}
    made = project(f'targets = ["right.py", "{again}"]\nselect = ["BN1"]\ncases = 3\n', right=RIGHT)
    assert outcomes(made.runpytest_inprocess()) == {"passed": 1}


@pytest.mark.parametrize(
    ("settings", "files", "message"),
    [
        ('targets = ["absent.py"]', {}, "absent.py: no such file"),
        ('targets = ["broken.py"]', {"broken": "def bn_forward(:\n"}, "broken.py"),
        (
            'targets = ["raising.py"]',
            {"raising": f"{RIGHT}\nimport numpyy_is_absent\nnumpyy_is_absent.needed()\n1/0"},
            "",
        ),
        ('targets = ["empty.py"]', {"empty": "x = 1\n"}, "empty.py"),
        ('targets = ["right.py::bn_backwards"]', {"right": RIGHT}, "Did you mean"),
        ('targets = ["right.py"]\nselect = ["BN9X"]', {"right": RIGHT}, "BN9X"),
        ('targets = ["absent.module:bn"]', {}, "absent"),
    ],
    ids=["absent", "syntax", "import", "nothing", "name", "code", "module"],
)
def test_what_cannot_be_verified_fails_by_itself_and_other_tests_run(project, settings, files, message):
    made = project(settings + "\ncases = 3\n", test_own="def test_one(): pass", **files)
    result = made.runpytest_inprocess("-rf", "-k", "unusable or again or test_one or BN101")
    told = outcomes(result)
    assert told["passed"] >= 1
    if message:
        assert told["failed"] == 1
        assert message in result.stdout.str()
    assert "Traceback" not in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str()


NEEDY = """
    class BatchNorm:
        def __init__(self, cfg):
            self.gamma, self.beta = cfg.gamma, cfg.beta
        def forward(self, x): return x
        def backward(self, dout): return dout
"""


def test_what_cannot_be_verified_is_told_once_by_its_name_with_what_helps(project):
    made = project('targets = ["needy.py", "absent.py"]\ncases = 3\n', needy=NEEDY)
    result = made.runpytest_inprocess()
    assert [line.strip("_ ") for line in result.outlines if line.startswith("____")] == [
        "bncheck: needy.py",
        "bncheck: absent.py",
    ]
    result.stdout.fnmatch_lines(["BatchNorm.__init__ cannot be run: bncheck found nothing to give it as cfg"])
    result.stdout.fnmatch_lines(["An adapter of a few lines tells how to call it: bncheck init --adapter."])
    result.stdout.fnmatch_lines(["ERROR absent.py: no such file.*", "FAILED absent.py::unusable *"])


@pytest.mark.parametrize(
    ("settings", "options", "message"),
    [
        ('targets = ["right.py"]\n' + EXPECTED.format("BN999"), (), "BN999"),
        ('target = ["right.py"]', (), "has no setting 'target'. Did you mean targets"),
        ("targets = 3", (), "targets should be a list of strings"),
        ("cases = 0", (), "cases must be at least 1"),
        ("cases = ", (), "pyproject.toml"),
        ('targets = ["right.py"]', ("--bncheck-report", "r", "--bncheck-format", "jsn"), "Did you mean json"),
        ('targets = ["right.py"]', ("--bncheck-format", "json"), "needs a file of its own"),
        ('targets = ["right.py"]', ("--bncheck-report", "-"), "needs a file of its own"),
        (
            'targets = ["right.py"]',
            ("--bncheck-report", "a.json", "--bncheck-report", "a.md", "--bncheck-format", "github"),
            "needs a file of its own",
        ),
        ('targets = ["right.py"]', ("--bncheck-report", "no/such/folder.json", "-k", "BN101"), "cannot write"),
        ('targets = ["right.py"]', ("--bncheck-report", "right.py"), "is no report but source code"),
    ],
    ids=["expected", "key", "kind", "value", "toml", "format", "alone", "printed", "left", "place", "source"],
)
def test_wrong_settings_are_an_error_of_usage(project, settings, options, message):
    made = project(settings, right=RIGHT)
    result = made.runpytest_subprocess(*options)
    assert result.ret in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.INTERNAL_ERROR)
    said = result.stdout.str() + result.stderr.str()
    assert message in said
    assert "Traceback" not in said


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
def test_a_report_that_cannot_be_written_stops_before_the_run(project, workers):
    made = project('targets = ["right.py"]\n' + FEW, right=RIGHT, test_own="def test(): open('ran', 'w').close()")
    result = made.runpytest_subprocess("--bncheck-report", "r.sarif", "--bncheck-report", "no/r.json", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert not [*made.path.glob("ran"), *made.path.glob("r.sarif"), *made.path.glob(".bncheck*")]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_report_that_turns_out_unwritable_costs_neither_the_summary_nor_the_others(project):
    made = project('targets = ["right.py"]\n' + FEW, right=RIGHT)
    result = made.runpytest_subprocess("--bncheck-report", "/dev/full", "--bncheck-report", "r.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["ERROR: cannot write /dev/full: No space left on device; the report is in *r.json"])
    result.stdout.fnmatch_lines(["PASS right.py::bn_forward*"])
    assert json.loads(made.path.joinpath("r.json").read_text())["verdict"] == "pass"


def test_nothing_is_left_of_a_report_where_pytest_stops_early(project):
    made = project('targets = ["right.py"]', right=RIGHT, conftest="import pytest\ndef pytest_sessionstart(): 1 / 0")
    made.path.joinpath("r.json").write_text("old")
    made.runpytest_subprocess("--bncheck-report", "r.json")
    made.runpytest_subprocess("--bncheck-report", "r.json", "--help")
    assert made.path.joinpath("r.json").read_text() == "old"
    assert not list(made.path.glob(".bncheck*"))


# ---------------------------------------------------------------------------------------------------- tests by hand


BY_HAND = """
    def test_mine(bncheck):
        report = bncheck.verify("wrong.py", select="BN2", cases=12)
        assert report.targets[0].name == "wrong.py::bn_forward"
        assert report

    def test_raising(bncheck):
        bncheck.verify("wrong.py", select="BN2", cases=12).raise_for_failure()

    def test_other_names(bncheck):
        assert bncheck.Verdict.PASS == "pass"
"""


def test_a_test_by_hand_shows_the_report_where_it_fails(project):
    made = project("cases = 12", wrong=WRONG, test_own=BY_HAND)
    result = made.runpytest_inprocess("-rf")
    assert outcomes(result) == {"failed": 2, "passed": 1}
    result.stdout.fnmatch_lines(["E*assert <bncheck report: FAIL wrong.py::bn_forward: BUG2*>"])
    result.stdout.fnmatch_lines(["*- bncheck -*", "✘ FAIL  wrong.py::bn_forward*", "*dx found*"])
    result.stdout.fnmatch_lines(["E*VerificationFailure: wrong.py::bn_forward: fail", "E*BUG2*(dx)*"])
    assert "def verify" not in result.stdout.str()  # the caller's line, and not bncheck's own


def test_what_cannot_be_verified_is_in_the_report(project):
    made = project('targets = ["absent.py", "right.py"]\n' + FEW, right=RIGHT)
    made.runpytest_inprocess("--bncheck-report", "report.json")
    report = report_from_json(json.loads(made.path.joinpath("report.json").read_text()))
    assert [target.verdict.value for target in report.targets] == ["error", "pass"]
    assert report.verdict.value == "error"


def test_tests_by_hand_are_in_the_report(project):
    made = project("cases = 12", wrong=WRONG, test_own=BY_HAND)
    made.runpytest_inprocess("--bncheck-report", "report.json")
    report = report_from_json(json.loads(made.path.joinpath("report.json").read_text()))
    assert [target.name for target in report.targets] == ["wrong.py::bn_forward"] * 2


IN_FLOAT32 = """
    def test_in_float32(bncheck):
        assert bncheck.verify("right.py", dtype="float32", cases=12, select="BN101")
"""


def test_a_target_in_another_dtype_says_so(project):
    made = project('targets = ["right.py"]\nselect = "BN101"\ncases = 12', right=RIGHT, test_own=IN_FLOAT32)
    result = made.runpytest_inprocess()
    lines = ["right.py::bn_forward in float32: 1 check*", "  checks: 1 pass; 12 cases in float32"]
    result.stdout.fnmatch_lines([f"PASS {lines[0]}", lines[1]])
    result.stdout.fnmatch_lines(["PASS right.py::bn_forward: 1 check*", "  checks: 1 pass; 12 cases"])
    made.runpytest_inprocess("test_own.py").stdout.fnmatch_lines(["PASS right.py::bn_forward: 1 check*", lines[1]])


SLIPS = """
    import bncheck as own
    from slipping_layers import BatchNorm

    def test_a_target(bncheck): bncheck.verify("absent.py")
    def test_a_layer(bncheck): bncheck.verify(BatchNorm(3))
    def test_an_option(): own.verify("right.py", casez=40)
    def test_a_check(): own.verify("right.py", select="BN9X")
    def test_a_value(): own.verify("right.py", cases=0)
"""
LAYERS = """
    class BatchNorm:
        def __init__(self, n, eps=1e-5): pass
        def forward(self, x): return x
        def backward(self, dout): return dout
"""


def test_a_slip_in_a_test_by_hand_is_told_without_bncheck_s_own_code(project):
    made = project("", test_own=SLIPS, slipping_layers=LAYERS, right=RIGHT)
    result = made.runpytest_inprocess()
    assert outcomes(result) == {"failed": 5}
    result.stdout.fnmatch_lines(["E*absent.py: no such file*"])
    result.stdout.fnmatch_lines(["E*class BatchNorm is a layer of one size*verify(lambda n: BatchNorm(n, eps=...))*"])
    places = [line for line in result.outlines if ".py:" in line and not line.startswith(("E ", "FAILED"))]
    assert [place.partition(":")[0] for place in places] == ["test_own.py"] * 5


# ----------------------------------------------------------------------------------------------- what it costs others


COSTLY = ("numpy", "scipy", "rich", "rich_click", "torch", "bncheck.pytest_items", "bncheck.settings")
LOADED = f"""
import sys

def test_what_is_loaded():
    assert not sorted({{*sys.modules}} & {{*{COSTLY!r}}})
"""


def test_a_project_that_does_not_use_it_loads_nothing(pytester):
    pytester.makepyfile(LOADED)
    pytester.makepyprojecttoml("[tool.other]\nname = 'x'\n")
    assert outcomes(pytester.runpytest_subprocess("-q")) == {"passed": 1}
    # The test sees what it looks for.
    pytester.makeconftest("import numpy")
    result = pytester.runpytest_subprocess("-q")
    assert outcomes(result) == {"failed": 1}
    result.stdout.fnmatch_lines(["*'numpy'*"])


def test_the_plugin_is_there_where_bncheck_is_installed():
    from importlib.metadata import entry_points

    found = [point.value for point in entry_points(group="pytest11") if point.name == "bncheck"]
    assert found == ["bncheck.pytest_plugin"] * len(found)
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert 'bncheck = "bncheck.pytest_plugin"' in text
