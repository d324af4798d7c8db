"""What becomes of a target's findings once their cases were run again."""

import inspect
import textwrap

import numpy as np
import pytest

import bncheck
from bncheck import job, pipeline
from bncheck.case import CaseSpec
from bncheck.executors.in_process import InProcess
from bncheck.model import Outcome, TargetSpec
from bncheck.report import Diagnosis, Finding, Verdict
from bncheck.settings import Settings


class OnceWrong:
    """A pair whose forward is wrong in one call alone, behind those of discovery."""

    def __init__(self, wrong_in):
        self.calls, self.wrong_in = 0, wrong_in

    def batchnorm_forward(self, x, gamma, beta, eps):
        """Return y and a cache."""
        self.calls += 1
        mu, var = x.mean(axis=0), x.var(axis=0)
        inv_std = 1 / np.sqrt(var + eps)
        xhat = (x - mu) * inv_std
        return gamma * xhat + beta + (self.calls == self.wrong_in), (xhat, gamma, inv_std)

    def batchnorm_backward(self, dy, cache):
        """Return the gradients."""
        xhat, gamma, inv_std = cache
        dgamma, dbeta = (dy * xhat).sum(axis=0), dy.sum(axis=0)
        return gamma * inv_std * (dy - dbeta / len(dy) - xhat * dgamma / len(dy)), dgamma, dbeta


def verified(wrong_in):
    code = OnceWrong(wrong_in)
    return code, bncheck.verify(code.batchnorm_forward, code.batchnorm_backward, cases=5, select="BN101")


def test_a_failure_that_does_not_come_again_keeps_what_was_seen():
    code, right = verified(0)
    assert right.verdict is Verdict.PASS
    _, report = verified(code.calls - 1)  # on one of the last cases: their number is that of the run before
    (finding,) = (found for found in report.targets[0].findings if found.outcome is Outcome.FAIL)
    assert report.verdict is Verdict.FAIL
    assert finding.code == "BN101"
    assert finding.message.endswith("; when this case was run again, it was otherwise")
    assert finding.error > 0.1
    assert finding.error > finding.allowed


@pytest.mark.parametrize(("is_named", "leads"), [(False, True), (True, False)])
def test_without_a_name_the_place_leads(is_named, leads):
    """What is wrong only behind the first channel is no formula: a sum of it goes on from channel to channel."""
    place = "only in channels after the first"
    found = Finding("BN203", "", Outcome.FAIL, "error", "", "dbeta", place=place)
    diagnosis = Diagnosis("BUG000", "", "no known bug explains dbeta", "", "dbeta", 0.0, is_named=is_named)
    told = job._conditioned(diagnosis, [found])
    assert told.title.startswith(f"dbeta is wrong {place}") is leads
    assert ("not set to 0" in told.explanation) is leads
    assert (place in told.condition) is not leads


# ------------------------------------------------------------------------------------------------------------- replays


def replayed(tmp_path, source, case):
    path = tmp_path / "pair.py"
    path.write_text(f"import numpy as np\n{textwrap.dedent(source)}")
    (target,) = pipeline.replay([TargetSpec(str(path))], case.id, Settings(), executor=InProcess()).targets
    return target


def test_a_replay_id_with_other_axes_is_refused_with_those_that_are_taken(tmp_path):
    code = inspect.getsource(OnceWrong.batchnorm_forward) + inspect.getsource(OnceWrong.batchnorm_backward)
    code = (
        textwrap.dedent(code)
        .replace("self, ", "")
        .replace("self.calls += 1", "")
        .replace("(self.calls == self.wrong_in)", "0")
    )
    assert replayed(tmp_path, code, CaseSpec(n=3, c=2)).error == ""
    target = replayed(tmp_path, code, CaseSpec(n=3, c=2, spatial=(2, 2)))
    assert target.error == "the replay id has 2 spatial axes, and pair.py::batchnorm_forward takes 0"


def test_what_is_not_written_yet_cannot_be_replayed(tmp_path):
    stubs = "def bn_forward(x, gamma, beta, eps):\n    pass\ndef bn_backward(dy, cache):\n    pass"
    target = replayed(tmp_path, stubs, CaseSpec(n=3, c=2))
    assert target.stub
    assert "not implemented yet: bn_forward returns None" in target.error


def test_what_raises_in_every_way_cannot_be_replayed(tmp_path):
    raising = "def bn_forward(x, gamma, beta, eps):\n    return [][0]\ndef bn_backward(dy, cache):\n    return [][0]"
    target = replayed(tmp_path, raising, CaseSpec(n=3, c=2))
    assert not target.stub
    assert "IndexError" in target.error
