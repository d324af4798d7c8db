"""Every right implementation passes, every wrong one is blamed for what its header says, and for nothing else."""

import re
from pathlib import Path

import pytest

from bncheck import pipeline
from bncheck.executors.in_process import InProcess
from bncheck.model import Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.reporters.matrices import how_many_differ
from bncheck.settings import Settings

FIXTURES = Path(__file__).parent.parent / "fixtures"
CORRECT = sorted((FIXTURES / "correct").glob("*.py"))
BUGGY = sorted((FIXTURES / "buggy").glob("*.py"))
# The recipes and a few draws; the slow ones among the fixtures evaluate Jacobians element by element.
CASES = 40
SLOW = {"explicit_jacobian", "loops_over_features"}


def verify(path, dtype="float64"):
    # The tail of a batch shows only beyond N = 64, which the draws reach. A right one is right on every default case.
    every = path.stem == "tail_block_lost" or (path in CORRECT and path.stem not in SLOW)
    cases = Settings().cases if every else CASES
    options = {"cases": cases, "dtype": dtype}
    return pipeline.run([TargetSpec(str(path))], Settings(**options), executor=InProcess())


def failing(report):
    return {f.code: f for target in report.targets for f in target.findings if f.outcome is Outcome.FAIL}


def complaining(report):
    return [f for target in report.targets for f in target.findings if f.outcome in (Outcome.FAIL, Outcome.WARN)]


def header(path, key, default=None):
    found = re.search(rf"^# {key}: (.*)$", path.read_text(), re.M)
    return found.group(1) if found or default is None else default


def test_there_are_enough_of_them():
    assert len(CORRECT) >= 8
    assert len(BUGGY) >= 30
    assert len({header(path, "expects") for path in BUGGY}) == len(BUGGY)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("path", CORRECT, ids=lambda p: p.stem)
def test_right_implementations_pass_without_a_warning(path, dtype):
    if path.stem == "torch_functional":
        pytest.importorskip("torch", reason="PyTorch is not installed: a pair that hands the work to it is not run")
    if path.stem in SLOW and dtype == "float32":
        pytest.skip("slow by design, and float64 is covered")
    report = verify(path, dtype)
    assert report.verdict is Verdict.PASS, failing(report)
    assert not [f for t in report.targets for f in t.findings if f.outcome is Outcome.WARN]


@pytest.mark.parametrize("path", BUGGY, ids=lambda p: p.stem)
def test_wrong_implementations_fail_where_their_header_says_and_fail_again_when_replayed(path):
    report = verify(path)
    blamed_for_what_its_header_says(path, report)
    fails_again(path, report)


def blamed_for_what_its_header_says(path, report):
    found = failing(report)
    caught = header(path, "caught", "")
    assert report.verdict is (Verdict.FAIL if found else Verdict.PASS)
    assert found or {f.code for f in complaining(report)} == {caught}
    if caught:
        assert {f.code for f in complaining(report) if f.follows_from is None} == {caught}
    blamed = {
        found[code].tensor
        for code in ("BN101", "BN211", "BN212", "BN213", "BN501")
        if code in found and found[code].tensor is not None
    }
    wrong = {word.strip() for word in header(path, "wrong").split(",")}
    assert blamed == wrong - {"contract"}
    contract = {"BN501", "BN502", "BN504", "BN505", "BN508"} & set(found)
    assert bool(contract or caught) == ("contract" in wrong), contract
    (target,) = report.targets
    if "contract" not in wrong:
        consistent = header(path, "backward") == "consistent"
        assert target.oracles.backward_is_own_derivative == ("yes" if consistent else "no")


def fails_again(path, report):
    (target,) = report.targets
    command = target.replay.split()
    assert command[:2] == ["bncheck", "replay"]
    again = pipeline.replay([TargetSpec(str(path))], command[2].strip("'"), Settings(), executor=InProcess())
    first = complaining(report)[0]
    assert first.code in {f.code for f in complaining(again)}
    assert bool(differing(again.targets[0])) or not differing(target)


def differing(target):
    """Return the tensors of the first exhibit that are not as expected."""
    return [c.tensor for c in target.exhibits[0].comparisons if how_many_differ(c)] if target.exhibits else []
