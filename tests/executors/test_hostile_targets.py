"""What code may change in the process that it shares with bncheck: the verdict comes, and is about the code."""

import os
import time
from pathlib import Path

import numpy as np
import pytest

from bncheck import guard, pipeline
from bncheck.executors.in_process import InProcess
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
    "goes to a folder that is gone": (
        "import os, tempfile", "os.chdir(tempfile.mkdtemp()); os.rmdir(os.getcwd())",
    ),
    "clears the environment": ("import os", "os.environ.clear()"),
    "sets a variable": ("import os", "os.environ['OF_CODE'] = str(CALLS[0])"),
    "puts another environment in the place of the process's": ("import os", "os.environ, os.getcwd = {}, None"),
    "lets NumPy raise": ("", "np.seterr(all='raise')"),
    "silences NumPy": ("", "np.seterr(all='ignore')"),
    "has NumPy print in its own way": ("", "np.set_printoptions(precision=2)"),
    "lowers the depth of recursion": ("import sys", "sys.setrecursionlimit(80)"),
    "recurses as deep as it has asked for": (
        "import sys; sys.setrecursionlimit(9000)\ndef down(n): return n and down(n - 1)", "down(3000)",
    ),
    "makes warnings errors": ("import warnings", "warnings.simplefilter('error')"),
    "silences warnings": ("import warnings", "warnings.simplefilter('ignore')"),
    "replaces functions that it does not call": ("", "np.mean = np.var = np.sum = np.abs = lambda *a, **k: 0.0"),
    "deletes its own file": ("import os", "os.path.exists(__file__) and os.remove(__file__)"),
    "closes standard output": ("import sys", "sys.stdout.close()"),
    "traces every line": ("import sys", "sys.settrace(lambda *given: None)"),
    "leaves threads behind": (
        "import threading, time", "CALLS[0] > 3 or threading.Thread(target=time.sleep, args=(60,)).start()",
    ),
    "leaves child processes behind": (
        "import subprocess, sys",
        "CALLS[0] > 3 or subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])",
    ),
    "copies its process": ("import os, time", "CALLS[0] == 203 and os.fork() == 0 and time.sleep(60)"),
    "lets a copy of its process go on": ("import os", "CALLS[0] == 203 and os.fork()"),
    "sleeps at its end": ("import atexit, time; atexit.register(time.sleep, 600)", ""),
    "forgets modules": (
        "import sys", "CALLS[0] < 50 or [sys.modules.pop(name) for name in [*sys.modules] if 'bncheck' in name]",
    ),
    "returns arrays whose methods raise": (
        "class Odd(np.ndarray):\n    def no(self, *given, **named): raise RuntimeError('no')\n"
        "    __array_function__ = __array_ufunc__ = __getitem__ = __iter__ = __len__ = __eq__ = __bool__ = no\n"
        "    __repr__ = __reduce__ = copy = astype = reshape = ravel = sum = tolist = no",
        "y = y.view(Odd) if CALLS[0] > 200 else y",
    ),
    "keeps what cannot be pickled": (
        "import threading", "return y, type('Kept', (tuple,), {'lock': threading.Lock()})((xhat, gamma, inv_std))",
    ),
    "prints ten million letters": ("", "CALLS[0] > 200 and print('x' * 10**7)"),
}  # fmt: skip
# What is told of these: all else is in order.
TOLD = {
    "goes to another folder": ("BN517", "the current folder is another one after forward"),
    "goes to a folder that is gone": ("BN517", "the current folder is another one after forward"),
    "clears the environment": ("BN517", " gone and "),
    "sets a variable": ("BN517", "environment: OF_CODE set after forward"),
    "lets NumPy raise": ("BN517", "NumPy's error state: divide='raise', invalid='raise', over='raise', under='raise'"),
    "silences NumPy": ("BN517", "NumPy's error state: divide='ignore', invalid='ignore', over='ignore' after forward"),
    "has NumPy print in its own way": ("BN517", "NumPy's print options: precision after forward"),
    "lowers the depth of recursion": ("BN517", "the recursion limit is 80 after forward"),
    "makes warnings errors": ("BN517", "the warnings filters are others after forward"),
    "silences warnings": ("BN517", "the warnings filters are others after forward"),
    "replaces functions that it does not call": (
        "BN517",
        "NumPy's functions: abs, mean, sum, var replaced after forward",
    ),
    "prints ten million letters": ("BN507", "10000001 characters were printed"),
}
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
    "returns what raises whatever is asked of it": (
        "class Odd:\n    def __getattribute__(self, name): raise RuntimeError(name)\n"
        "    def __array__(self, *given, **named): raise RuntimeError('no')\n"
        "    __len__ = __iter__ = __repr__ = __eq__ = __bool__ = __array__",
        "y = Odd() if CALLS[0] > 200 else y", "BN506", "forward raised RuntimeError",
    ),
    "returns what is like an array until it is one": (
        "class Odd:\n    shape, ndim, dtype = (2, 2), 2, np.dtype(float)\n"
        "    def __array__(self, *given, **named): raise RuntimeError('no')\n    __len__ = __iter__ = __array__",
        "y = Odd() if CALLS[0] > 200 else y", "BN501", "y is a Odd, not an array",
    ),
    "returns what says that it is an array": (
        "class Odd:\n    __class__ = np.ndarray", "y = Odd() if CALLS[0] > 200 else y", "BN506", "forward raised",
    ),
    "returns arrays of which none can be made": (
        "class Odd(np.ndarray):\n    def __array_finalize__(self, other): 1 / (CALLS[0] < 201)",
        "y = y.view(Odd) if CALLS[0] > 200 else y", "BN506", "forward raised ZeroDivisionError",
    ),
    "returns something of a class that does not tell its name": (
        "def odd():\n    class Meta(type):\n        def __getattribute__(self, name): raise RuntimeError(name)\n"
        "    return Meta('Odd', (), {})()", "y = odd() if CALLS[0] > 200 else y", "BN501", "y is a Odd, not an array",
    ),
    "returns what cannot be pickled": (
        "import threading", "y = np.full(x.shape, threading.Lock()) if CALLS[0] > 200 else y", "BN502",
        "y is object (Python objects)",
    ),
    "returns a generator": ("", "y = (row for row in y) if CALLS[0] > 200 else y", "BN501", "y is a generator"),
    "raises what cannot be shown": (
        "class Odd(Exception):\n    def __str__(self): raise RuntimeError('no')\n    __repr__ = __str__\n"
        "def odd(): raise Odd", "CALLS[0] > 200 and odd()", "BN506", "raised Odd: (its message cannot be shown)",
    ),
    "raises a message of a million letters": (
        "def odd(): raise ValueError('x' * 10**6)", "CALLS[0] > 200 and odd()", "BN506", f"{'x' * 197}...",
    ),
    "raises an exception whose name has a million letters": (
        "def odd(): raise type('O' * 10**6, (Exception,), {})", "CALLS[0] > 200 and odd()", "BN506", f"{'O' * 197}...",
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
    code, told = TOLD.get(name, ("", ""))
    warned = {f.code: f.message for f in target.findings if f.outcome is Outcome.WARN}
    assert {*warned} == {code} - {""}
    assert told in warned.get(code, "")


@pytest.mark.parametrize("name", HARMFUL)
def test_what_goes_wrong_after_a_while_is_a_finding(name, tmp_path):
    before, inside, code, told = HARMFUL[name]
    target = verified(tmp_path, before, inside, Settings(cases=24, timeout=20.0, jobs=1))
    assert target.verdict is Verdict.FAIL
    finding = next(f for f in target.findings if f.code == code)
    assert finding.outcome is Outcome.FAIL
    assert told in finding.message


def test_a_target_that_comes_again_is_not_told_what_another_did():
    """In one process: the second time its module is there already, and nothing is loaded anew."""
    buggy = Path(__file__).parent.parent.parent / "fixtures" / "buggy"
    told = [
        {f.message for f in target.findings if f.code == "BN517" and f.outcome is Outcome.WARN}
        for name in ("eps_option_ignored", "folder_in_backward", "eps_option_ignored", "folder_in_backward")
        for target in pipeline.run(
            [TargetSpec(str(buggy / f"{name}.py"))], Settings(cases=40), executor=InProcess()
        ).targets
    ]
    assert told == [set(), {"the current folder is another one after backward"}] * 2


@pytest.mark.parametrize("act", ["print('x' * 1000)", "os.write(1, b'x' * 1000)"])
def test_what_prints_without_an_end_is_stopped(act, tmp_path):
    before = f"import os\ndef flood():\n    while True: {act}"
    target = verified(tmp_path, before, "CALLS[0] > 200 and flood()", Settings(cases=24, timeout=1.0, jobs=1))
    finding = next(f for f in target.findings if f.outcome is Outcome.FAIL)
    assert (target.verdict, finding.code) == (Verdict.FAIL, "BN506")
    assert "no sign of life for 1 seconds" in finding.message


LEAVING = """
import os, pathlib, subprocess, sys, threading, time

def leave():
    pathlib.Path(__file__).with_name("group").write_text(str(os.getpgrp()))
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(40)"])
    threading.Thread(target=time.sleep, args=(40,)).start()
    os.fork() or time.sleep(40)
"""


def test_no_process_of_the_worker_s_group_outlives_the_run(tmp_path):
    end = time.monotonic() + 30.0
    assert verified(tmp_path, LEAVING, "CALLS[0] in (1, 203) and leave()").verdict is Verdict.PASS
    group = int((tmp_path / "group").read_text())
    while there_is(group) and time.monotonic() < end:
        time.sleep(0.05)  # the system takes its time to bury them
    assert time.monotonic() < end, "the run has waited for them, or they are there still"


def there_is(group):
    """Tell whether a process of this group is still there."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_next_target_of_the_same_process_finds_folder_and_environment_as_they_were(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    looking = f"assert 'OF_CODE' not in os.environ and os.getcwd() == {str(tmp_path)!r}"
    for name, inside in (("first.py", "os.environ['OF_CODE'] = '1'; os.chdir('/')"), ("second.py", looking)):
        (tmp_path / name).write_text(RIGHT.format(before="import os", inside=inside))
    specs = [TargetSpec("first.py"), TargetSpec("second.py")]
    first, second = pipeline.run(specs, SOFT, executor=InProcess()).targets
    assert [f.code for f in first.findings if f.outcome is Outcome.WARN] == ["BN517"]
    assert second.verdict is Verdict.PASS
    assert [f for f in second.findings if f.outcome is Outcome.WARN] == []
    assert ("OF_CODE" in os.environ, os.getcwd()) == (False, str(tmp_path))


def test_what_a_library_does_when_a_call_first_imports_it_is_not_told(tmp_path):
    (tmp_path / "library.py").write_text(
        "import os, sys, warnings, numpy as np\nos.environ['OF_LIBRARY'] = '1'\nsys.setrecursionlimit(9000)\n"
        "warnings.simplefilter('always')\nnp.seterr(all='raise')\nnp.hypot = np.add\n"
    )
    inside = "import library, os; assert os.environ['OF_LIBRARY'] == '1'"
    target = verified(tmp_path, "", inside)
    assert target.verdict is Verdict.PASS, target.error or target.findings
    assert [f.message for f in target.findings if f.outcome is Outcome.WARN] == []


def test_what_is_changed_for_a_while_is_not_told(tmp_path):
    inside = "for state in ('raise', 'ignore'):\n        with np.errstate(all=state), warnings.catch_warnings():\n"
    inside += "            warnings.simplefilter('error')"
    target = verified(tmp_path, "import warnings", inside)
    assert [f.message for f in target.findings if f.outcome is Outcome.WARN] == []


LAYER = """
import numpy as np

class BatchNorm:
    def __init__(self, n):
        self.gamma, self.beta = np.ones(n), np.zeros(n)

    def forward(self, x):
        np.mean = np.var = np.sum = np.abs = lambda *given, **named: 0.0
        self.std = (x.var(0) + 1e-3) ** 0.5
        self.xhat = (x - x.mean(0)) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(0), dy.sum(0)
        return self.gamma / self.std * (dy - (self.dbeta + self.xhat * self.dgamma) / len(dy))
"""


def test_what_code_replaces_when_it_is_called_is_not_what_its_conventions_are_measured_with(tmp_path):
    path = tmp_path / "bn.py"
    path.write_text(LAYER)
    (target,) = pipeline.run([TargetSpec(str(path))], SOFT).targets
    assert target.verdict is Verdict.PASS, target.error or target.findings
    assert (target.conventions.eps, target.conventions.eps_source) == (1e-3, "fixed")


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
        assert set(np.geterr().values()) == {"call"}
        assert guard.replaced_in_numpy() == ["sqrt"]
        with guard.faults_of("forward", faults):
            assert np.sqrt is abs, "the code's own calls find it again"
    guard.forget_replaced()
    assert np.sqrt is usual
    assert [fault.kind for fault in faults] == ["SystemExit"]
