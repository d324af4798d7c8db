"""Foreign code may do what it likes in its own process: a finding comes back, and the sweep goes on behind it."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bncheck import pipeline
from bncheck.errors import UsageError
from bncheck.executors.in_process import InProcess
from bncheck.executors.isolated import Isolated
from bncheck.executors.wire import event_line, read_event, read_task, task_line
from bncheck.model import CaseResult, Judgement, Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.settings import Settings
from bncheck.tasks import Begun, Judged, Refused, Task

HOSTILE = Path(__file__).parent.parent.parent / "fixtures" / "hostile"
CORRECT = HOSTILE.parent / "correct"


def verify(path, timeout=20.0, **options):
    return pipeline.run([TargetSpec(str(path))], Settings(timeout=timeout, **options))


def survival(report):
    (target,) = report.targets
    return next(f for f in target.findings if f.code == "BN506")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("segfault", "signal 11 (SIGSEGV)"),
        ("segfault_backward", "signal 11 (SIGSEGV)"),
        ("os_exit", "exited with code 3"),
        ("sys_exit", "backward raised SystemExit"),
        ("raises", "backward raised ValueError"),
    ],
)
def test_a_violent_end_is_a_finding_and_the_report_still_comes(name, told):
    report = verify(HOSTILE / f"{name}.py", cases=30)
    assert report.verdict is Verdict.FAIL
    finding = survival(report)
    assert finding.outcome is Outcome.FAIL
    assert told in finding.message
    assert f"{name}.py:" in finding.message or name == "os_exit"


def test_an_endless_loop_is_stopped_and_placed():
    report = verify(HOSTILE / "endless.py", timeout=1.0, cases=80)
    finding = survival(report)
    assert "no sign of life for 1 seconds (endless.py:" in finding.message
    assert finding.counts["pass"] > 0


@pytest.mark.parametrize(
    ("source", "verdict", "told"),
    [
        (
            "class Settings:\n  import time; time.sleep(60)",
            Verdict.ERROR,
            "cannot be imported: no sign of life for 3 seconds",
        ),
        (
            "class Settings:\n  import ctypes; ctypes.string_at(0)",
            Verdict.ERROR,
            "cannot be imported: the process was killed by signal 11",
        ),
        (
            "def batchnorm_forward(x, gamma, beta, eps):\n  __import__('time').sleep(60)",
            Verdict.FAIL,
            "3 seconds (a first call has 3 times --timeout 1) (early.py:2, in batchnorm_forward), in forward with x of "
            "shape (4, 3); if it is only slow, give it more (--timeout); this was before the first case",
        ),
    ],
    ids=["import hangs", "import crashes", "first forward hangs"],
)
def test_an_end_before_the_first_case(tmp_path, monkeypatch, source, verdict, told):
    monkeypatch.setattr("bncheck.executors.isolated._IMPORT_SECONDS", 3.0)
    path = tmp_path / "early.py"
    path.write_text(f"{source}\ndef batchnorm_backward(dout, cache):\n    return dout, dout, dout\n")
    report = verify(path, timeout=1.0)
    (target,) = report.targets
    assert report.verdict is verdict
    assert told in target.error + "".join(f.message for f in target.findings)
    assert not any(f.counts for f in target.findings)  # of no case is anything known


def test_a_hang_of_a_later_call_in_discovery_has_the_seconds_that_were_asked_for(tmp_path):
    path = tmp_path / "early.py"
    path.write_text(
        "def batchnorm_forward(x, gamma, beta):\n  return x * gamma + beta, x\n"
        "def batchnorm_backward(dout, cache):\n  __import__('time').sleep(60)\n"
    )
    message = survival(verify(path, timeout=1.5)).message
    assert message.startswith(
        "no sign of life for 1.5 seconds (early.py:4, in batchnorm_backward), in backward with dy of shape (4, 3);"
    )


def test_many_slow_calls_in_discovery_are_no_hang(tmp_path):
    path = wrapped(tmp_path, "import time", "time.sleep(0.15)")
    report = verify(path, timeout=1.0, cases=1, select=("BN1",))
    assert report.verdict is Verdict.PASS


def test_a_hang_says_in_which_call_it_was(tmp_path):
    path = wrapped(tmp_path, "", "while x.shape[0] > 7: pass")
    report = verify(path, timeout=1.0, cases=4, select=("BN508",))
    found = survival(report)
    assert "seconds (wrapped.py:" in found.message
    assert ", in forward with x of shape (" in found.message
    assert report.targets[0].replay.startswith("bncheck replay v1:")


def test_a_flood_of_output_is_a_warning_and_does_not_stop_the_sweep():
    report = verify(HOSTILE / "flood.py", cases=4)
    (target,) = report.targets
    assert report.verdict is Verdict.PASS
    assert [f.code for f in target.findings if f.outcome is Outcome.WARN] == ["BN507"]


def test_what_is_printed_is_kept_and_shown_on_request(tmp_path):
    report = verify(wrapped(tmp_path, "import os", "print('first line')\nprint('second line')"), cases=4)
    (shown,) = report.targets[0].exhibits
    assert shown.printed == "first line\nsecond line\n"
    plain = REPORTERS.get("plain")
    assert "second line" not in plain(report, Style(width=80))
    assert "second line" in plain(report, Style(width=80, verbose=True))


def test_cases_after_a_death_are_still_judged(tmp_path):
    path = wrapped(tmp_path, "import ctypes", "if x.shape[0] == 2: ctypes.string_at(0)")
    report = verify(path, cases=30, select=("BN1", "BN506"))
    judged = next(f for f in report.targets[0].findings if f.code == "BN101")
    assert sum(judged.counts.values()) + survival(report).counts["fail"] == report.targets[0].cases
    assert judged.counts["pass"] > 3


def test_the_same_report_whether_isolated_or_not():
    spec, settings = TargetSpec(str(CORRECT / "cs231n_staged.py")), Settings(cases=60)
    reports = [pipeline.run([spec], settings, executor=place) for place in (InProcess(), Isolated(20.0))]
    one, two = (tuple(replace(t, seconds=0.0) for t in report.targets) for report in reports)
    assert one == two


def test_no_process_is_left_behind(tmp_path):
    saying = "open(os.path.join(os.path.dirname(__file__), 'pid'), 'w').write(str(os.getpid()))"
    assert verify(wrapped(tmp_path, "import os", saying), cases=5)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def wrapped(folder, before, inside):
    """Write a right implementation whose forward runs the statements `inside` first; return its path."""
    path = folder / "wrapped.py"
    lines = "".join(f"    {line}\n" for line in inside.splitlines())
    path.write_text(
        f"{before}\n{(CORRECT / 'cs231n_staged.py').read_text()}\nplain = batchnorm_forward\n"
        f"def batchnorm_forward(x, gamma, beta, bn_param):\n{lines}    return plain(x, gamma, beta, bn_param)\n"
    )
    return path


def test_user_code_cannot_reach_the_wire(tmp_path):
    """Reading standard input finds nothing, and writing below Python does not garble the events."""
    path = wrapped(tmp_path, "import os", """os.write(1, b'["Judged", {}]\\n')\nassert os.read(0, 10) == b''""")
    assert verify(path, cases=10).verdict is Verdict.PASS


def broken_worker(folder):
    """Return a PYTHONPATH with which bncheck fails in the worker, and in the worker alone."""
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "if '-c' in sys.orig_argv:\n"
        "    import bncheck.driver\n"
        "    def broken(*a):\n        raise RuntimeError('ours')\n"
        "    bncheck.driver.judge = broken\n"
    )
    return os.pathsep.join([str(folder), str(HOSTILE.parent.parent)])


def test_a_fault_of_bncheck_itself_is_not_put_down_to_the_user(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", broken_worker(tmp_path))
    (target,) = verify(CORRECT / "cs231n_staged.py", cases=5).targets
    assert target.own_fault
    assert target.verdict is Verdict.ERROR
    assert target.error.startswith("bncheck itself failed, your code is not to blame: RuntimeError: ours")


def test_a_fault_of_bncheck_itself_ends_with_3(tmp_path):
    found = subprocess.run(
        [sys.executable, "-m", "bncheck", "verify", str(CORRECT / "cs231n_staged.py")],
        env={**os.environ, "PYTHONPATH": broken_worker(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 3, found.stderr
    assert "RuntimeError: ours" in found.stdout


def test_targets_do_not_meet_in_one_process(tmp_path):
    """Two folders, each with its own helpers.py, of which one is wrong: the order must not matter."""
    source = (
        (CORRECT / "cs231n_staged.py")
        .read_text()
        .replace("def batchnorm_forward", "from helpers import one\n\n\ndef batchnorm_forward", 1)
    )
    for folder, value in (("right", "1.0"), ("wrong", "1.5")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helpers.py").write_text(f"one = {value}\n")
        tail = "\nplain = batchnorm_forward\ndef batchnorm_forward(x, gamma, beta, bn_param):\n"
        tail += "    y, cache = plain(x, gamma, beta, bn_param)\n    return one * y, cache\n"
        (tmp_path / folder / "bn.py").write_text(source + tail)
    for order in (("right", "wrong"), ("wrong", "right")):
        specs = [TargetSpec(str(tmp_path / folder / "bn.py")) for folder in order]
        report = pipeline.run(specs, Settings(cases=10))
        assert [t.verdict is Verdict.PASS for t in report.targets] == [folder == "right" for folder in order]


@pytest.mark.parametrize("name", ["random", "json", "numpy", "bncheck"])
def test_a_file_may_be_called_like_a_module(tmp_path, name):
    (tmp_path / f"{name}.py").write_text((CORRECT / "cs231n_staged.py").read_text())
    code = f"import sys; sys.path.insert(0, {str(HOSTILE.parent.parent)!r}); from bncheck.__main__ import main; main()"
    found = subprocess.run(
        [sys.executable, "-P", "-c", code, "verify", f"{name}.py", "--cases", "5", "--format", "short"],
        cwd=tmp_path, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout + found.stderr


def test_slow_code_is_not_taken_for_a_hang(tmp_path):
    path = wrapped(tmp_path, "import time", "time.sleep(0.03)")
    assert verify(path, timeout=0.7, cases=2, select=("BN201",)).verdict is Verdict.PASS


def test_what_was_not_run_after_several_deaths_is_said(tmp_path):
    path = wrapped(tmp_path, "import os", "if len(x) > 4: os._exit(3)")
    assert "after 3 such ends" in survival(verify(path, cases=40)).message


def test_the_workers_end_when_their_parent_is_killed(tmp_path):
    path = wrapped(
        tmp_path,
        "import os, pathlib",
        f"pathlib.Path({str(tmp_path)!r}, f'{{os.getpid()}}.pid').touch()\nwhile len(x) > 4: pass",
    )
    parent = subprocess.Popen([sys.executable, "-m", "bncheck", "verify", str(path)], stdout=subprocess.DEVNULL)
    for _ in range(600):
        time.sleep(0.1)
        if list(tmp_path.glob("*.pid")):
            break
    time.sleep(1.0)
    parent.kill()
    parent.wait()
    left = {int(file.stem) for file in tmp_path.glob("*.pid")}
    assert left
    for _ in range(50):
        time.sleep(0.1)
        left = {pid for pid in left if is_there(pid)}
        if not left:
            return
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    pytest.fail("a worker outlived its parent")


def is_there(pid):
    """Tell whether a process is still there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_interrupt_gives_a_partial_report():
    done = []

    def progress(state):
        done.append(state.done)
        if state.done == 7:
            raise KeyboardInterrupt

    report = pipeline.run([TargetSpec(str(CORRECT / "cs231n_staged.py"))], Settings(cases=60), progress)
    assert report.verdict is Verdict.INTERRUPTED
    assert report.targets[0].cases == 7
    assert done == list(range(1, 8))


def test_what_an_interruption_leaves_without_a_case_is_named(tmp_path):
    """Other targets of the source that is being verified, and sources that were not come to."""
    source = (CORRECT / "cs231n_staged.py").read_text()
    path = tmp_path / "two.py"
    path.write_text(source + source.replace("def ", "def other_"))

    def progress(state):
        raise KeyboardInterrupt

    specs = [TargetSpec(str(path)), TargetSpec("einsum_pair.py")]
    report = pipeline.run(specs, Settings(cases=60), progress)
    assert report.verdict is Verdict.INTERRUPTED
    assert [(target.name, target.verdict, target.cases) for target in report.targets] == [
        ("two.py::batchnorm_forward", Verdict.INTERRUPTED, 1),
        ("two.py::other_batchnorm_forward", Verdict.INTERRUPTED, 0),
        ("einsum_pair.py", Verdict.INTERRUPTED, 0),
    ]
    shown = REPORTERS.get("plain")(report, Style())
    assert shown.count("none of its cases was run") == 2
    assert "Stopped after 1 case;" in shown


def test_lines_come_back_as_they_went():
    judgement = Judgement(Outcome.FAIL, "x", "y", float("inf"), 1.0, (0, 1))
    result = CaseResult("v1:custom:seed=0,n=2,c=1", {"BN101": judgement}, 3)
    for event in (Begun("a"), Judged(result), Refused("why", False)):
        assert read_event(event_line(event)) == event
    task = Task("sweep", TargetSpec("a.py"), Settings(), "a.py::f", ("x", "y"))
    assert read_task(task_line(task)) == task


@pytest.mark.parametrize("line", [b"", b"{}", b"[1, 2]", b'["Nothing", {}]', b'["Judged", {}]', b"\xff\n"])
def test_garbage_on_the_wire_is_refused(line):
    with pytest.raises(UsageError):
        read_event(line)


BEGUN = "time.sleep(0.02)\nif x.shape == (8, 5): open(os.path.join(os.path.dirname(__file__), 'begun'), 'w')"


def stopped_in_the_sweep(folder, number):
    """Return exit code, output and errors of a run that gets a signal in the second case of its sweep."""
    path = wrapped(folder, "import os, time", BEGUN)
    command = [sys.executable, "-m", "bncheck", "verify", str(path), "--format", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (folder / "begun").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_stop_ends_with_130_and_a_report(tmp_path, number):
    code, out, err = stopped_in_the_sweep(tmp_path, number)
    assert code == 130, err
    assert '"verdict": "interrupted"' in out
    assert "Traceback" not in err


def test_falling_silent_on_a_large_batch_only_is_a_warning(tmp_path):
    path = wrapped(tmp_path, "", "while len(x) > 600: pass")
    report = verify(path, timeout=1.0, cases=75)
    assert survival(report).outcome is Outcome.WARN
    assert "--timeout" in survival(report).message
    assert report.verdict is Verdict.PASS
