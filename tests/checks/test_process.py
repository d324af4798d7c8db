"""BN517 on targets that change what belongs to the whole process, and on some that do so for a while, or once."""

import os
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest
import targets
from judging import SPEC, complaints, judged

from bncheck import guard
from bncheck.cases.arrays import build
from bncheck.checks.catalogue import CHECKS
from bncheck.checks.process import _bounded
from bncheck.guard.process import Change
from bncheck.model import Evidence, Fault, Outcome


@pytest.fixture(autouse=True)
def _nothing_kept(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    guard.forget_replaced()
    yield
    guard.forget_replaced()


def acting(forward=lambda: None, backward=lambda: None, constructor=lambda: None):
    """Return a right target that does something beside."""

    def acting_forward(x, gamma, beta, eps):
        forward()
        return targets.forward(x, gamma, beta, eps)

    def acting_backward(dy, cache):
        backward()
        return targets.backward(dy, cache)

    class Acting(targets.Pair):
        def open(self, setup):
            constructor()
            return super().open(setup)

    return Acting(acting_forward, acting_backward)


def away():
    os.chdir(os.sep)


def silencing():
    np.seterr(all="ignore")


SILENCED = "NumPy's error state: divide='ignore', invalid='ignore', over='ignore'"
AWAY = "the current folder is another one"


@pytest.mark.parametrize(
    ("target", "told"),
    [
        (acting(away), f"{AWAY} after forward"),
        (acting(backward=away), f"{AWAY} after backward"),
        (acting(constructor=away), f"{AWAY} after forward"),
        (acting(away, away), f"{AWAY} after forward"),
        (acting(silencing), f"{SILENCED} after forward"),
        (acting(silencing, silencing), f"{SILENCED} after forward and backward"),
        (acting(away, silencing), f"{SILENCED} after backward; {AWAY} after forward"),
        (acting(lambda: os.environ.update(NEW="1")), "environment: NEW set after forward"),
        (acting(lambda: sys.setrecursionlimit(7654)), "the recursion limit is 7654 after forward"),
        (acting(backward=lambda: warnings.simplefilter("ignore")), "the warnings filters are others after backward"),
        (acting(lambda: setattr(np, "hypot", max)), "NumPy's functions: hypot replaced after forward"),
        (acting(lambda: np.set_printoptions(precision=2)), "NumPy's print options: precision after forward"),
    ],
)
def test_what_is_left_changed_warns_alone(target, told):
    judgement = judged("BN517", target)
    assert (judgement.outcome, judgement.message) == (Outcome.WARN, told)
    assert complaints(target)[0] == {"BN517"}


def test_what_is_told_has_an_end():
    def everything():
        silencing()
        away()
        np.set_printoptions(precision=1, suppress=True, linewidth=40, threshold=3, edgeitems=1)
        os.environ.update({"".join(chr(65 + (i * k) % 26) for k in range(300)): "1" for i in range(1, 30)})
        warnings.resetwarnings()

    message = judged("BN517", acting(everything)).message
    assert len(message) == 300
    assert message.startswith("NumPy's error state")
    assert message.endswith("...")


@np.errstate(all="raise")
@np.printoptions(precision=1)
def for_a_while():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
    folder = os.getcwd()
    away()
    os.chdir(folder)


def test_what_is_as_it_was_when_the_call_is_over_passes():
    assert judged("BN517", acting(for_a_while, for_a_while)).outcome is Outcome.PASS


def once(act):
    """Return what acts in its first call alone, as a library that is set up when it is first used."""
    left = [act]
    return lambda: left and left.pop()()


def test_what_one_step_alone_changes_is_not_told():
    assert judged("BN517", acting(once(silencing))).outcome is Outcome.PASS


def test_code_that_counts_on_what_its_last_call_has_changed_is_right():
    def forward():
        os.environ["OF_FORWARD"] = "1"
        os.mkdir("below") if not os.path.exists("below") else None
        os.chdir("below")

    def backward():
        assert os.environ.pop("OF_FORWARD") == "1"
        assert os.path.basename(os.getcwd()) == "below"
        os.chdir("..")

    assert complaints(acting(forward, backward))[0] == {"BN517"}


def test_a_step_that_raises_says_nothing():
    def raising():
        silencing()
        raise IndexError("odd")

    judgement = judged("BN517", acting(raising))
    assert (judgement.outcome, judgement.message) == (Outcome.SKIP, "forward or backward raised")
    assert complaints(acting(raising))[0] == {"BN506"}


def test_draws_that_are_not_run_twice_are_skipped():
    specs = [replace(SPEC, recipe="draw", seed=seed) for seed in range(3)]
    assert [judged("BN517", acting(away), spec).outcome for spec in specs] == [
        Outcome.WARN,
        Outcome.SKIP,
        Outcome.SKIP,
    ]


def test_the_random_state_is_the_matter_of_another_check():
    assert judged("BN517", acting(lambda: np.random.seed(0))).outcome is Outcome.PASS  # noqa: NPY002


@pytest.mark.parametrize(("length", "shown"), [(299, 299), (300, 300), (301, 300), (5000, 300)])
def test_a_long_list_of_changes_is_cut_to_300_characters(length, shown):
    text = "x" * length
    found = _bounded(text)
    assert len(found) == shown
    assert found == text if length == shown else found == text[:297] + "..."


@pytest.mark.parametrize("raised", ["training", "training-again"])
def test_either_of_the_two_steps_that_raises_says_nothing(raised):
    left = {"left": [Change("forward", "folder", "the folder is another one")]}
    seen = {name: Evidence(name, {}, left) for name in ("training", "training-again")}
    assert CHECKS.get("BN517").judge(build(SPEC), seen).outcome is Outcome.WARN
    seen[raised] = replace(seen[raised], fault=Fault("backward", "ValueError", "no"))
    told = CHECKS.get("BN517").judge(build(SPEC), seen)
    assert (told.outcome, told.message) == (Outcome.SKIP, "forward or backward raised")
