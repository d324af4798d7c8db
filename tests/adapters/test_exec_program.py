"""Programs behind a command line: right ones pass, wrong ones fail, and broken ones get one clear line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bncheck import pipeline
from bncheck.adapters import exec_process, exec_program, resolve
from bncheck.errors import TargetError
from bncheck.executors.in_process import InProcess
from bncheck.executors.isolated import Isolated
from bncheck.model import Declared, Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.session import Setup
from bncheck.settings import Settings

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "fixtures" / "exec"
PYTHON = f"{sys.executable} {FIXTURES / 'bn.py'}"
CC = shutil.which("cc")
# From this batch size on the faulty program is at fault: discovery never gets there.
LARGE = 6
BN506 = ("BN506",)
# For Python, there are many ends of a line.
LONG = "a\x85b\u2028c\rd" * 10_000


def verify(command, executor=None, cases=10, timeout=20.0, **options):
    spec, settings = TargetSpec(command, program=True), Settings(cases=cases, timeout=timeout, **options)
    return pipeline.run([spec], settings, executor=executor or InProcess())


def only(report):
    (target,) = report.targets
    return target


def failing(report):
    return {f.code: f for f in only(report).findings if f.outcome is Outcome.FAIL}


def faulty(fault, rows=0):
    return f"{sys.executable} {FIXTURES / 'faulty.py'} '{fault}' {rows}"


def compiled(folder, *flags):
    if CC is None:
        pytest.skip("there is no C compiler (cc) here: programs in C are not built")
    out = folder / "bn"
    subprocess.run([CC, "-O2", *flags, "-o", out, FIXTURES / "bn.c", "-lm"], check=True)
    return str(out)


# --------------------------------------------------------------------------------------------------- right and wrong


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_right_program_in_c_passes(tmp_path, dtype):
    report = verify(compiled(tmp_path), dtype=dtype)
    assert report.verdict is Verdict.PASS, failing(report)
    assert only(report).conventions.layouts == ("NC", "NCL", "NCHW", "NCDHW")


def test_a_program_in_c_with_a_bug_fails(tmp_path):
    report = verify(compiled(tmp_path, "-DBUG"))
    assert report.verdict is Verdict.FAIL
    assert failing(report).keys() >= {"BN201", "BN211"}
    assert only(report).oracles.forward_is_reference == "yes"


@pytest.mark.parametrize("executor", [InProcess, lambda: Isolated(20.0)], ids=["in process", "isolated"])
def test_a_right_program_in_python_passes(executor):
    report = verify(PYTHON, executor(), cases=8)
    assert report.verdict is Verdict.PASS, failing(report)


def test_what_a_program_offers_is_found_out():
    found = only(verify(PYTHON, cases=2)).conventions
    assert (found.adapter, found.parameter_shape, found.eps_source) == ("exec", "(C,)", "argument")
    assert (found.momentum_sense, found.running_var, found.running_start) == ("new", "biased", "0, 1")
    assert found.mode_switch == "argument train"
    assert found.returns == "response (dx, dgamma, dbeta)"


def with_hello(folder, hello, old="", new=""):
    """Write bn.py with another hello, and another line where asked; return its command."""
    source = (FIXTURES / "bn.py").read_text()
    assert old in source
    path = folder / "bn.py"
    path.write_text(source.replace("ok 1 eps eval running_stats", hello).replace(old, new or old))
    return f"{sys.executable} {path}"


def test_an_eps_that_is_not_offered_is_measured(tmp_path):
    command = with_hello(tmp_path, "ok 1", '1 / np.sqrt(var + s["eps"])', "1 / np.sqrt(var + 1e-3)")
    found = only(verify(command, cases=2)).conventions
    assert (found.eps_source, found.eps) == ("fixed", 1e-3)


def test_running_statistics_that_are_not_offered_are_not_asked_for(tmp_path):
    command = with_hello(tmp_path, "ok 1 eps", '"running_stats": running_stats, ', '"nothing": None, ')
    report = verify(command)
    assert report.verdict is Verdict.PASS
    assert only(report).conventions.momentum_sense == ""


def test_a_layout_that_the_hello_states_is_the_only_one_tried(tmp_path):
    report = verify(with_hello(tmp_path, "ok 1 eps layout=NCHW"))
    assert report.verdict is Verdict.PASS
    assert only(report).conventions.layouts == ("NCHW",)


def test_a_stated_layout_that_ends_the_program_is_a_finding_and_not_left_out(tmp_path):
    old = '    s, x = sessions[session], given["x"]\n'
    command = with_hello(tmp_path, "ok 1 eps layout=NC,NCHW", old, f"{old}    if x.ndim == 4: sys.exit(3)\n")
    report = verify(command, cases=8, select=("BN101", "BN506"))
    found = only(report).conventions
    assert (report.verdict, found.layouts) == (Verdict.FAIL, ("NC", "NCHW"))
    assert "verified in NCHW because the program states it" in found.notes
    assert "exited with code 3" in failing(report)["BN506"].message


def test_a_layout_that_is_not_tried_by_itself_is_asked_for(tmp_path):
    """An order of axes beyond the usual ones: nothing else is put to the program, and --layout makes it work."""
    old = "axes, shape = (0, *range(2, x.ndim)), (1, -1, *[1] * (x.ndim - 2))"
    command = with_hello(tmp_path, "ok 1 eps layout=CNHW", old, "axes, shape = (1, 2, 3), (-1, 1, 1, 1)")
    assert "the layout stated, CNHW, is none of those that are tried: give it (--layout)" in only(verify(command)).error
    assert verify(command, layout="CNHW", cases=4).verdict is Verdict.PASS


def test_the_user_has_the_last_word_on_the_layout(tmp_path):
    report = verify(with_hello(tmp_path, "ok 1 eps layout=NCHW"), layout="NC")
    assert only(report).conventions.layouts == ("NC",)


def test_a_program_without_gamma_and_beta(tmp_path):
    folder = tmp_path / "bare"
    folder.mkdir()
    source = (FIXTURES / "bn.py").read_text().replace("ok 1 eps eval running_stats", "ok 1 eps without=gamma,beta")
    source = source.replace('return {"y": gamma * xhat + beta}', 'return {"y": xhat}')
    source = source.replace("dx = gamma * inv_std", "dx = inv_std")
    source = source.replace(', "dgamma": (dy * xhat).sum(axis=axes), "dbeta": dy.sum(axis=axes)}', "}")
    (folder / "bn.py").write_text(source)
    report = verify(f"{sys.executable} {folder / 'bn.py'}")
    assert report.verdict is Verdict.PASS, failing(report)
    assert only(report).conventions.parameter_shape == "none"


def test_one_process_serves_sessions_that_are_interleaved():
    spec = TargetSpec(PYTHON, program=True)
    target = resolve.target(spec, PYTHON)
    x, dy = np.random.default_rng(0).normal(size=(2, 4, 3))
    one, two = (target.open(Setup(np.full(3, g), np.zeros(3), 1e-5, 0.9)) for g in (1.0, 3.0))
    one.forward(x)
    two.forward(x)
    np.testing.assert_allclose(3 * one.backward(dy).dx, two.backward(dy).dx)


def test_numbers_of_closed_sessions_are_used_again(tmp_path):
    """More sessions than there are numbers, and the program is told of each that is over."""
    spy = with_hello(tmp_path, "ok 1 eps", "    del sessions[session]\n", "    del sessions[session]; log(session)\n")
    path = tmp_path / "bn.py"
    log = "def log(session):\n    with open(__file__ + '.log', 'a') as f: f.write(session + '\\n')\n\nsessions = {}"
    path.write_text(path.read_text().replace("sessions = {}", log))
    target = resolve.target(TargetSpec(spy, program=True), spy)
    for _ in range(exec_process.SESSIONS + 10):
        target.open(Setup(np.ones(3), np.zeros(3), 1e-5, 0.9)).forward(np.eye(4, 3))
    assert len((tmp_path / "bn.py.log").read_text().split()) > exec_process.SESSIONS


def test_the_sessions_leave_no_files(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert verify(PYTHON, cases=3).verdict is Verdict.PASS
    assert list(tmp_path.iterdir()) == []


def test_files_of_a_process_that_was_killed_are_removed_by_the_next(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    (tmp_path / f"bncheck-exec-{gone.pid}-abc").mkdir()
    (tmp_path / f"bncheck-exec-{gone.pid}-abc" / "request.npz").touch()
    kept = tmp_path / f"bncheck-exec-{os.getpid()}-abc"
    kept.mkdir()
    exec_program.candidate("./bn", Declared())
    assert list(tmp_path.iterdir()) == [kept]


# ------------------------------------------------------------------------------------------------ before any forward


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("./no_such_program_here", "it cannot be started: No such file or directory"),
        (str(FIXTURES / "bn.c"), "it cannot be started: Permission denied; it is source code: compile it first"),
        (str(FIXTURES), "it cannot be started: Permission denied; it is a folder"),
        ("'unclosed", "this is no command line"),
        ("''", "it cannot be started"),
        (f"{sys.executable} -c pass", "no answer to hello: the program exited with code 0; it wrote nothing"),
        (faulty("version"), "it speaks version 2 of the protocol, and this bncheck version 1"),
        (faulty("unknown item"), "its hello says 'epsilon', which means nothing. Did you mean eps?"),
        (faulty("layout"), "its hello: no layout is called 'NXHW'. Did you mean NHWC"),
        (faulty("no hello"), "it answered hello with 'hi there'"),
        (faulty("hello refused"), "it answered hello with an error: no licence found"),
        (faulty("endless line"), "without an end of line"),
        (
            faulty("exits"),
            r"no forward worked: the program exited with code 3; its last words: first line | the disk is",
        ),
        (faulty("crashes"), "no forward worked: the program was killed by signal 11 (SIGSEGV); it wrote nothing"),
        (faulty("refuses"), "no forward worked: ValueError: this batch is too large for me"),
        (faulty("truncated"), "no forward worked: the response to forward is no .npz, or is cut off"),
        (faulty("garbage"), "no forward worked: the response to forward is no .npz, or is cut off"),
        (faulty("wrong length"), "the response to forward is no .npz, or is cut off (Bad CRC-32"),
        (faulty("no file"), "no forward worked: the response to forward was not written"),
        (faulty("other name"), "the response to forward has no array 'y'. Known: out."),
        (faulty("no numbers"), "the response to forward holds 'y' as <U1, which are no numbers"),
        (faulty("Python objects"), "the response to forward holds 'y' as object, which are no numbers"),
        (faulty("other session"), "the program answered forward for session '1' where session 0 was asked"),
        (faulty("no session"), "the program answered forward without a session where session 0 was asked"),
        (faulty("chatter"), "the program answered forward with 'forward is done', and not with 'ok 0' or 'error TEXT'"),
    ],
)
def test_a_program_that_never_ran_is_refused_with_one_line(command, says):
    report = verify(command)
    target = only(report)
    assert report.verdict is Verdict.ERROR
    assert says in target.error
    assert "\n" not in target.error
    assert "Traceback" not in target.error


@pytest.mark.parametrize(
    "answer",
    [
        f"error {LONG}",
        LONG,
        f"ok {'9' * 60_000}",
        f"ok 1 {LONG}",
        f"ok 1 layout={LONG}",
        f"ok 1 layout=NC,{LONG}",
        f"ok 1 without={LONG}",
    ],
    ids=["error", "other", "version", "offer", "layout", "second layout", "without"],
)
def test_a_long_hello_is_told_in_one_short_line(answer):
    with pytest.raises(TargetError) as refusal:
        exec_program.parse_hello(exec_process.text_of(answer.encode()))
    assert len(str(refusal.value)) < 400
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("answer", [f"error {LONG}", LONG, f"ok {LONG}"], ids=["error", "other", "session"])
def test_a_long_answer_is_told_in_one_short_line(answer):
    with pytest.raises((ChildProcessError, exec_process.ProgramError)) as refusal:
        exec_process.heed(exec_process.text_of(answer.encode()), "forward", 0)
    assert len(str(refusal.value)) <= 1000
    assert len(str(refusal.value).splitlines()) == 1


def test_a_hello_that_never_comes_is_waited_for_so_long(monkeypatch):
    monkeypatch.setattr(exec_process, "HELLO_SECONDS", 0.5)
    started = time.monotonic()
    report = verify(faulty("silent"))
    assert report.verdict is Verdict.ERROR
    assert "no answer to hello: the program did not answer within 0.5 seconds. " in only(report).error
    assert "docs/exec-protocol.md" in only(report).error
    assert time.monotonic() - started < 5


def test_a_hello_may_take_longer_than_the_timeout_of_a_call(monkeypatch):
    report = verify("sleep 2", Isolated(0.5), timeout=0.5)
    assert report.verdict is Verdict.ERROR
    assert "no answer to hello: the program exited with code 0" in only(report).error


def test_what_was_written_in_place_of_a_hello_is_told(monkeypatch):
    monkeypatch.setattr(exec_process, "HELLO_SECONDS", 0.5)
    said = "did not answer within 0.5 seconds; it wrote 'Enter a number:', without an end of line. "
    assert said in only(verify("""sh -c 'printf "Enter a number: "; sleep 60'""")).error
    (target,) = verify("""sh -c 'echo Welcome; echo ok 1'""").targets
    assert "it answered hello with 'Welcome', and not with 'ok 1' and what it offers. " in target.error
    assert "docs/exec-protocol.md" in target.error


def test_a_parameter_shape_other_than_the_protocols_is_refused():
    with pytest.raises(TargetError, match=r"a program is given gamma and beta as \(C,\), never \(1, C\)"):
        exec_program.candidate("./bn", Declared(parameter_shape="(1, C)"))


def test_a_folder_for_files_with_a_blank_in_its_name_is_refused(monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", "/my files")
    with pytest.raises(TargetError, match="has a blank in its name, '/my files': set TMPDIR"):
        exec_program.candidate("./bn", Declared())


@pytest.mark.parametrize(
    ("command", "mode", "says"),
    [
        ("bn", 0o755, "a program of this folder is called with its path: ./bn"),
        ("bn.c", 0o644, "it is source code: compile it first"),
        ("./bn.jl", 0o644, "give julia bn.jl"),
        ("./bn", 0o644, "it is no program, or not executable: bn"),
    ],
)
def test_what_cannot_be_started_says_what_to_do(tmp_path, monkeypatch, command, mode, says):
    monkeypatch.chdir(tmp_path)
    (tmp_path / Path(command).name).touch()
    (tmp_path / Path(command).name).chmod(mode)
    with pytest.raises(TargetError, match=f"it cannot be started: .*; {re.escape(says)}$"):
        resolve.cards(TargetSpec(command, program=True))


@pytest.mark.parametrize("fault", ["chatter", "crashes"])
def test_a_program_that_breaks_however_it_is_called_is_told_alone(fault):
    with pytest.raises(TargetError, match="no forward worked: ") as caught:
        resolve.cards(TargetSpec(faulty(fault), program=True))
    assert caught.value.trace == ()  # neither layouts that were tried, nor that an adapter tells more


# -------------------------------------------------------------------------------------------------- after some forward


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("exits", "forward raised ChildProcessError: the program exited with code 3; its last words: first line | the"),
        ("crashes", "the program was killed by signal 11 (SIGSEGV)"),
        ("refuses", "forward raised ProgramError: ValueError: this batch is too large for me"),
        ("truncated", "the response to forward is no .npz, or is cut off"),
        ("other name", "the response to forward has no array 'y'. Known: out."),
        ("other session", "where session"),
        ("chatter", "answered forward with 'forward is done'"),
    ],
)
def test_what_goes_wrong_later_is_a_finding_and_the_other_cases_are_judged(fault, says):
    report = verify(faulty(fault, LARGE), cases=12, select=("BN1", "BN506"))
    target, finding = only(report), failing(report)["BN506"]
    assert report.verdict is Verdict.FAIL
    assert says in finding.message
    assert "\n" not in finding.message
    judged = next(f for f in target.findings if f.code == "BN101").counts
    assert judged["pass"] > 2
    assert sum(judged.values()) == target.cases == 12


def test_a_refusal_of_one_value_per_channel_is_fine_and_a_death_is_not(tmp_path):
    guard = "    s, x = sessions[session], given['x']\n    if x.size == x.shape[1]: {}\n"
    old = '    s, x = sessions[session], given["x"]\n'
    refusing = verify(
        with_hello(tmp_path, "ok 1 eps", old, guard.format("raise ValueError('one value')")), select=BN506
    )
    assert "BN506" not in failing(refusing)
    (tmp_path / "dying").mkdir()
    dying = verify(with_hello(tmp_path / "dying", "ok 1 eps", old, guard.format("sys.exit(1)")), select=BN506)
    assert "exited with code 1" in failing(dying)["BN506"].message


@pytest.mark.parametrize(("fault", "code", "says"), [("narrow", "BN502", "y is float32"), ("shape", "BN501", "y has")])
def test_shapes_and_dtypes_are_judged_like_those_of_any_code(fault, code, says):
    assert says in failing(verify(faulty(fault, LARGE), cases=8, select=(code,)))[code].message


def test_a_program_that_hangs_is_a_finding_for_its_case(tmp_path):
    report = verify(faulty("hangs", LARGE), Isolated(1.5), cases=8, timeout=1.5, select=("BN1", "BN506"))
    assert report.verdict is Verdict.FAIL
    assert "no sign of life for 1.5 seconds" in failing(report)["BN506"].message
    assert next(f for f in only(report).findings if f.code == "BN101").counts["pass"] > 0


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc, which is not here")
def test_no_program_outlives_its_worker(tmp_path):
    """Neither one that hangs when its worker is stopped, nor one that waits when all is done."""
    for fault in ("hangs", "none"):
        verify(faulty(fault, LARGE) + f" {tmp_path}", Isolated(1.5), cases=6, timeout=1.5)
    time.sleep(0.2)
    left = [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _read(p)]
    assert left == []


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


@pytest.mark.skipif(sys.platform != "linux", reason="a signal at the parent's death is a thing of Linux")
def test_a_program_that_hangs_dies_with_a_process_that_is_killed(tmp_path):
    """As the worker's own end when its parent is gone: no group is killed then, and no handler runs."""
    script = (
        "import os, signal\nfrom bncheck.adapters.exec_process import Process\n"
        f"p = Process([{sys.executable!r}, '-c', 'import time; time.sleep(60)'])\n"
        "print(p._child.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env, timeout=30)
    time.sleep(0.2)
    # Where nobody reaps orphans a zombie may be left, which has no command line.
    assert _read(Path(f"/proc/{done.stdout.strip()}/cmdline")) == b""


# --------------------------------------------------------------------------------------------------------------- docs


@pytest.mark.parametrize("name", ["bn.c", "bn.py"])
def test_the_programs_in_the_docs_are_those_that_are_tested(name):
    source = re.sub(r"#ifdef BUG.*?#endif\n", "", (FIXTURES / name).read_text(), flags=re.DOTALL)
    assert source in (ROOT / "docs" / "exec-protocol.md").read_text()


def test_the_words_and_items_in_the_docs_are_those_of_the_code():
    text = (ROOT / "docs" / "exec-protocol.md").read_text()
    for word in ("hello", "open", "forward", "backward", "running_stats", "close", *exec_program._OFFERS, "layout="):
        assert f"`{word}" in text


def test_a_program_that_gives_no_right_hello_is_reported_without_a_trace(tmp_path):
    (tmp_path / "noisy.py").write_text("print('noise')")
    (target,) = verify(f"{sys.executable} {tmp_path / 'noisy.py'}").targets
    assert "it answered hello with 'noise'" in target.error
    assert target.discovery == ()
