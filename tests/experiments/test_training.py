"""What one training step records."""

import sys

import numpy as np
import pytest
import targets

from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.contract import prints_nothing
from bncheck.checks.state import step_independent
from bncheck.experiments.training import large_mean, second_step, training_step
from bncheck.model import Outcome

CASE = build(CaseSpec(n=4, c=3))


def step(target):
    return training_step(target, CASE, {})


def test_right_tensors_are_kept_as_float64_in_full():
    seen = step(targets.Pair())
    assert set(seen.arrays) == {"y", "dx", "dgamma", "dbeta"}
    assert seen.facts["changed"] == []
    assert seen.fault is None


def test_a_tensor_of_another_shape_is_told_by_its_shape():
    seen = step(targets.spoiled(dgamma=lambda v: np.ones((4, 3)), dbeta=lambda v: None))
    assert "dgamma" not in seen.arrays
    assert seen.facts["shapes"]["dgamma"] == (4, 3)
    assert seen.facts["shapes"]["dbeta"] is None
    assert seen.facts["types"]["dbeta"] == "NoneType"


@pytest.mark.parametrize("name", ["x", "gamma", "beta"])
def test_in_place_changes_are_named(name):
    def forward(x, gamma, beta, eps):
        result = targets.forward(x, gamma, beta, eps)
        {"x": x, "gamma": gamma, "beta": beta}[name][0] += 1
        return result

    assert step(targets.Pair(forward)).facts["changed"] == [name]


def test_what_is_printed_is_counted_and_its_first_line_is_shown():
    def backward(dy, cache):
        print("\nshapes", dy.shape)
        return targets.backward(dy, cache)

    seen = {"training": step(targets.Pair(backward=backward))}
    assert seen["training"].facts["printed"] == len("\nshapes (4, 3)\n")
    assert prints_nothing(CASE, seen).message.endswith("beginning with 'shapes (4, 3)'")


@pytest.mark.parametrize("error", [ValueError("no"), SystemExit(3), BaseException("odd")])
def test_whatever_user_code_raises_is_a_fault_of_its_stage(error):
    def backward(dy, cache):
        raise error

    fault = step(targets.Pair(backward=backward)).fault
    assert (fault.stage, fault.kind) == ("backward", type(error).__name__)
    assert fault.where.startswith("test_training.py:")


def test_ctrl_c_is_the_users_own():
    def forward(x, gamma, beta, eps):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        step(targets.Pair(forward))


def test_prints_are_counted_and_not_shown(capsys):
    def forward(x, gamma, beta, eps):
        print("four")
        print("err", file=sys.stderr)
        return targets.forward(x, gamma, beta, eps)

    assert step(targets.Pair(forward)).facts["printed"] == len("four\nerr\n")
    assert capsys.readouterr() == ("", "")


def test_the_case_itself_stays_whole_when_user_code_writes_into_its_input():
    before = CASE.x.copy()

    def forward(x, gamma, beta, eps):
        x[:] = 0
        return targets.forward(x, gamma, beta, eps)

    step(targets.Pair(forward))
    np.testing.assert_array_equal(CASE.x, before)


def _welford(x):
    """Mean and variance, updated element by element."""
    mean, squares = np.zeros_like(x[0]), np.zeros_like(x[0])
    for i, row in enumerate(x):
        delta = row - mean
        mean = mean + delta / x.dtype.type(i + 1)
        squares = squares + delta * (row - mean)
    return mean, squares / x.dtype.type(len(x))


VARIANCES = {
    "two-pass": lambda x: (x.mean(0), ((x - x.mean(0)) ** 2).mean(0)),
    "welford": _welford,
    "one-pass": lambda x: (x.mean(0), (x * x).mean(0) - x.mean(0) ** 2),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.1])
@pytest.mark.parametrize("kind", VARIANCES)
def test_a_one_pass_variance_is_told_from_others(kind, eps, dtype):
    def forward(x, gamma, beta, eps):
        mean, var = VARIANCES[kind](x)
        return gamma * (x - mean) / np.sqrt(var + x.dtype.type(eps)) + beta, None

    with np.errstate(all="ignore"):
        seen = large_mean(targets.Pair(forward), build(CaseSpec(eps=eps, dtype=dtype)), {})
    assert seen.facts["one_pass"] is (kind == "one-pass")


class Ending(targets.Pair):
    """A program that ends in the backward of more than four rows, and answers no call of that session any more."""

    def open(self, setup):
        session, ended = super().open(setup), []
        forward, backward = session.forward, session.backward

        def called(call):
            def answer(given, *mode):
                if ended:
                    raise ChildProcessError("the program ended while this session was open")
                if call is backward and len(given) > 4:
                    ended.append(True)
                    raise ChildProcessError("the program was killed by signal 11 (SIGSEGV)")
                return call(given)

            return answer

        session.forward, session.backward = called(forward), called(backward)
        return session


def test_what_comes_of_a_crash_in_the_step_before_says_nothing_of_the_next():
    target = Ending()
    seen = {"training": step(target), "second-step": second_step(target, CASE, {})}
    judgement = step_independent(CASE, seen)
    assert (judgement.outcome, judgement.message) == (
        Outcome.SKIP,
        "the step before, on a batch of another size, did not come back",
    )
    assert "one_size" not in seen["second-step"].facts
