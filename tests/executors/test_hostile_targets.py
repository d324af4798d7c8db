"""What code may change in the process that it shares with bncheck: the verdict comes, and is about the code."""

from pathlib import Path

import numpy as np
import pytest

from bncheck import guard, pipeline
from bncheck.model import Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.settings import Settings

RIGHT = """
import numpy as np

CALLS = [0]
{before}

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    CALLS[0] += 1
    mu, var = x.mean(axis=0), x.var(axis=0)
    inv_std = 1 / np.sqrt(var + eps)
    xhat = (x - mu) * inv_std
    y = gamma * xhat + beta
    {inside}
    return y, (xhat, gamma, inv_std)


def batchnorm_backward(dout, cache):
    xhat, gamma, inv_std = cache
    dbeta, dgamma = dout.sum(axis=0), (dout * xhat).sum(axis=0)
    return gamma * inv_std / len(dout) * (len(dout) * dout - dbeta - xhat * dgamma), dgamma, dbeta
"""
SOFT = Settings(cases=12, timeout=20.0, jobs=1)
# What goes on for as long as the code runs, and changes none of its numbers.
HARMLESS = {
    "goes to another folder": ("import os, tempfile", "os.chdir(tempfile.gettempdir())"),
    "clears the environment": ("import os", "os.environ.clear()"),
    "lets NumPy raise": ("", "np.seterr(all='raise')"),
    "lowers the depth of recursion": ("import sys", "sys.setrecursionlimit(80)"),
    "recurses as deep as it has asked for": (
        "import sys; sys.setrecursionlimit(9000)\ndef down(n): return n and down(n - 1)", "down(3000)",
    ),
    "makes warnings errors": ("import warnings", "warnings.simplefilter('error')"),
    "replaces functions that it does not call": ("", "np.mean = np.var = np.sum = np.abs = lambda *a, **k: 0.0"),
    "deletes its own file": ("import os", "os.path.exists(__file__) and os.remove(__file__)"),
    "closes standard output": ("import sys", "sys.stdout.close()"),
    "traces every line": ("import sys", "sys.settrace(lambda *given: None)"),
    "leaves threads behind": (
        "import threading, time", "CALLS[0] > 3 or threading.Thread(target=time.sleep, args=(60,)).start()",
    ),
    "sleeps at its end": ("import atexit, time; atexit.register(time.sleep, 600)", ""),
    "forgets modules": (
        "import sys", "CALLS[0] < 50 or [sys.modules.pop(name) for name in [*sys.modules] if 'bncheck' in name]",
    ),
}  # fmt: skip
HARMFUL = {
    "returns what has no shape": (
        "class Odd:\n    shape = property(lambda self: 1 / 0)\n    __array__ = lambda self, *given, **named: 1 / 0",
        "y = Odd() if CALLS[0] > 200 else y", "BN506", "forward raised ZeroDivisionError",
    ),
    "returns a function": ("", "y = (lambda: y) if CALLS[0] > 200 else y", "BN501", "y is a function, not an array"),
    "returns more than memory has room for": (
        "", "y = np.broadcast_to(0.0, (1 << 40, 3)) if CALLS[0] > 200 else y", "BN501",
        "y has shape (1099511627776, 3)",
    ),
    "makes more than memory has room for": (
        "", "CALLS[0] > 200 and np.ones(1 << 46)", "BN506", "forward raised MemoryError",
    ),
    "ends by its own signal": (
        "import os, signal", "CALLS[0] > 200 and os.kill(os.getpid(), signal.SIGTERM)", "BN506", "signal 15 (SIGTERM)",
    ),
    "raises what is no Exception": (
        "class Stop(BaseException): pass\ndef stop(): raise Stop('no')", "CALLS[0] > 200 and stop()", "BN506",
        "forward raised Stop: no",
    ),
    "recurses without an end": (
        "def down(n): return down(n + 1)", "CALLS[0] > 200 and down(0)", "BN506", "forward raised RecursionError",
    ),
}  # fmt: skip


def verified(folder, before, inside, settings=SOFT):
    path = folder / "bn.py"
    path.write_text(RIGHT.format(before=before, inside=inside))
    beside = folder / "beside.py"
    beside.write_text(RIGHT.format(before="", inside=""))
    report = pipeline.run([TargetSpec(str(path)), TargetSpec(str(beside))], settings)
    target, other = report.targets
    assert other.verdict is Verdict.PASS, "the other target of the run is none the worse for it"
    return target


@pytest.mark.parametrize("name", HARMLESS)
def test_what_changes_the_process_and_no_number_is_right(name, tmp_path):
    target = verified(tmp_path, *HARMLESS[name])
    assert target.verdict is Verdict.PASS, target.error or target.findings


@pytest.mark.parametrize("name", HARMFUL)
def test_what_goes_wrong_after_a_while_is_a_finding(name, tmp_path):
    before, inside, code, told = HARMFUL[name]
    target = verified(tmp_path, before, inside, Settings(cases=24, timeout=20.0, jobs=1))
    assert target.verdict is Verdict.FAIL
    finding = next(f for f in target.findings if f.code == code)
    assert finding.outcome is Outcome.FAIL
    assert told in finding.message


def test_a_function_of_numpy_that_is_replaced_counts_for_the_code_and_not_for_bncheck(tmp_path):
    target = verified(tmp_path, "np.sqrt = np.abs", "")
    assert target.verdict is Verdict.FAIL
    assert target.diagnoses[0].code == "BUG115", "it divides by var + eps now"
    assert target.conventions.notes[0].startswith("the code replaces numpy.sqrt for every caller")


def test_what_one_live_object_has_replaced_is_not_there_for_the_next():
    usual, right = np.sqrt, {}
    exec(RIGHT.format(before="", inside=""), right)
    forward, backward = right["batchnorm_forward"], right["batchnorm_backward"]

    def spoiling_forward(x, gamma, beta, eps=1e-5):
        np.sqrt = np.abs
        return forward(x, gamma, beta, eps)

    specs = [TargetSpec("live", live=(first, backward)) for first in (spoiling_forward, forward)]
    verdicts = [pipeline.run([spec], Settings(cases=8)).verdict for spec in specs]
    assert np.sqrt is usual
    assert verdicts == [Verdict.FAIL, Verdict.PASS]


def test_names_of_files_are_from_the_folder_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("bn.py").write_text(RIGHT.format(before="import os", inside="os.chdir('/')"))
    (target,) = pipeline.run([TargetSpec("bn.py")], SOFT).targets
    assert target.verdict is Verdict.PASS


def test_what_is_put_back_is_put_back_in_this_process_too():
    usual = np.sqrt
    faults = []
    with guard.quiet():
        with guard.faults_of("forward", faults):
            np.sqrt = abs
            np.seterr(all="raise")
            raise SystemExit(3)
        assert np.sqrt is usual
        assert set(np.geterr().values()) == {"ignore"}
        assert guard.replaced_in_numpy() == ["sqrt"]
        with guard.faults_of("forward", faults):
            assert np.sqrt is abs, "the code's own calls find it again"
    guard.forget_replaced()
    assert np.sqrt is usual
    assert [fault.kind for fault in faults] == ["SystemExit"]
