"""Where reports go: files, devices, pipes, standard output; what is refused, and what is never left behind."""

import codecs
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from render import located, report

from bncheck import __main__
from bncheck.cli import cli
from bncheck.codec import to_json
from bncheck.errors import UsageError
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.destination import opened, style_for
from bncheck.reporters.specimen import specimen

ROOT = Path(__file__).parent.parent.parent
POSIX = pytest.mark.skipif(os.name != "posix", reason="files of other kinds, shells and signals are others there")
FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
ROOTLESS = pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR", "PYTHONIOENCODING", "MPLBACKEND", "MATPLOTLIBRC"):
        monkeypatch.delenv(name, raising=False)
    Path("r.json").write_text(json.dumps(to_json(report(located()))))


def shell(line, **env):
    """Run a line of bash, in which `bncheck` is the real command."""
    function = f'bncheck() {{ "{sys.executable}" -m bncheck "$@"; }}; '
    return subprocess.run(
        ["/bin/bash", "-c", function + line],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        timeout=120,
        check=False,
    )


def told(done):
    """Return how a command ended, and what it said of it."""
    return done.returncode, done.stderr.decode()


def write(place, text="text"):
    with opened(Path(place)) as to:
        to(text)


# -------------------------------------------------------------------------------------------------------------- files


def test_a_file_is_there_as_soon_as_it_is_written_and_nothing_else():
    with opened(Path("a.md")) as to:
        assert len(os.listdir()) == 2
        to("✘ text")
        assert Path("a.md").read_bytes() == "✘ text".encode()
        assert sorted(os.listdir()) == ["a.md", "r.json"]
    assert sorted(os.listdir()) == ["a.md", "r.json"]


def test_what_is_never_written_leaves_what_was_there():
    Path("a.md").write_text("old")
    with opened(Path("a.md")):
        pass
    assert Path("a.md").read_text() == "old"
    assert sorted(os.listdir()) == ["a.md", "r.json"]


@pytest.mark.parametrize("place", ["r.json/a.md", "none/a.md", ".", "a" * 300, "名" * 90 + ".md"])
def test_a_place_that_cannot_be_is_refused_at_once(place):
    with pytest.raises(UsageError, match="cannot write"), opened(Path(place)):
        pytest.fail("it was opened")
    assert os.listdir() == ["r.json"]


@POSIX
@ROOTLESS
@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_folder_without_rights_is_refused_at_once(mode):
    Path("closed").mkdir(mode=mode)
    with pytest.raises(UsageError, match="cannot write"), opened(Path("closed/a.md")):
        pytest.fail("it was opened")


@pytest.mark.parametrize("name", ["a" * 250 + ".md", "名" * 80 + ".md"])
def test_a_name_as_long_as_names_may_be_can_be_written(name):
    write(name)
    assert Path(name).read_text() == "text"


def test_what_is_left_of_a_killed_run_does_not_stop_the_next(monkeypatch):
    Path(f".a.md.{os.getpid()}.tmp").write_text("left")
    write("a.md")
    assert Path("a.md").read_text() == "text"


@pytest.mark.parametrize("name", ["bn.py", "BN.PY", "bn.ipynb", "bn.cu", "bn.pyi", "pyproject.toml"])
def test_source_code_is_not_written_over(name):
    Path(name).write_text("old")
    with pytest.raises(UsageError, match="is no report but source code"), opened(Path(name)):
        pytest.fail("it was opened")
    assert Path(name).read_text() == "old"
    Path("link.md").symlink_to(name)
    with pytest.raises(UsageError, match="is no report but source code"), opened(Path("link.md")):
        pytest.fail("it was opened")


def test_a_new_file_may_be_called_anything():
    write("new.py")
    assert Path("new.py").read_text() == "text"


@POSIX
def test_a_disk_that_is_full_is_one_line_and_leaves_nothing():
    # Nothing else is to be written: bytecode under this limit would be torn, and stay, and so would what is covered.
    nothing = {"PYTHONDONTWRITEBYTECODE": "1", "COVERAGE_PROCESS_CONFIG": ""}
    done = shell("ulimit -f 1; bncheck report r.json -o out.json", **nothing)
    assert told(done) == (2, "bncheck: cannot write out.json: File too large\n")
    assert os.listdir() == ["r.json"]


# ------------------------------------------------------------------------------------------ devices, pipes, descriptors


@POSIX
def test_the_reader_of_a_named_pipe_gets_all_of_it():
    os.mkfifo("pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append(Path("pipe").read_text()), daemon=True)
    reader.start()
    write("pipe")
    reader.join(10)
    assert got == ["text"]


@POSIX
def test_a_reader_of_a_named_pipe_that_goes_away_is_no_error():
    os.mkfifo("pipe")
    reader = os.open("pipe", os.O_RDONLY | os.O_NONBLOCK)
    with opened(Path("pipe")) as to:
        os.close(reader)
        to("text")


@POSIX
@pytest.mark.parametrize(
    "line",
    [
        "bncheck report r.json --format json -o /dev/stdout | cat",
        "bncheck report r.json --format json -o >(cat) | cat",
        "bncheck report r.json --format json -o /dev/stdout > out; cat out",
        "ln -s /dev/stdout link; bncheck report r.json --format json -o link | cat",
    ],
)
def test_pipes_of_the_shell_are_written_to(line):
    done = shell(line)
    assert json.loads(done.stdout)["verdict"] == "fail", done.stderr


@POSIX
def test_the_file_that_standard_output_is_added_to_is_not_replaced():
    Path("log").write_text("before\n")
    assert shell("bncheck report r.json --format short -o /dev/stdout >> log").returncode == 0
    assert Path("log").read_text().startswith("before\nFAIL misprinted.py")


@FULL
def test_a_device_that_is_full_is_one_line():
    with pytest.raises(UsageError, match="cannot write /dev/full: No space left on device"):
        write("/dev/full")


# ---------------------------------------------------------------------------------------------------- standard output


@FULL
@pytest.mark.parametrize("words", ["report r.json", "report r.json --format json", "report --schema", "list checks"])
def test_standard_output_that_is_full_is_one_line(words):
    done = shell(f"bncheck {words} > /dev/full")
    assert told(done) == (2, "bncheck: cannot write to standard output: No space left on device\n")


@POSIX
@pytest.mark.parametrize("words", ["report r.json", "report --schema", "explain BN201", "verify none.py"])
def test_standard_output_that_is_closed_is_one_line(words):
    done = shell(f"bncheck {words} >&-")
    assert told(done) == (2, "bncheck: cannot write to standard output: it is closed\n")


@POSIX
def test_a_closed_standard_output_does_not_matter_to_files():
    done = shell("bncheck report r.json -o a.md >&-")
    assert told(done) == (0, "the report is in a.md\n")
    assert Path("a.md").read_text(encoding="utf-8").startswith("#")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-16"])
@pytest.mark.parametrize("form", ["junit", "markdown", "github", "json"])
def test_what_programs_read_is_utf_8_whatever_the_terminal_knows(encoding, form):
    made = json.loads(Path("r.json").read_text())
    made["targets"][0]["name"] = "Bücher/名.py::batchnorm"
    Path("r.json").write_text(json.dumps(made))
    command = ["report", "r.json", "--format", form]
    printed = CliRunner(charset=encoding).invoke(cli, command).stdout_bytes
    assert CliRunner().invoke(cli, [*command, "-o", "file"]).exit_code == 0
    assert printed == Path("file").read_bytes()
    if form == "junit":
        assert ElementTree.fromstring(printed)[0].get("name") == "Bücher/名.py::batchnorm"


def test_what_people_read_is_in_the_encoding_of_their_terminal():
    printed = CliRunner(charset="cp1252").invoke(cli, ["report", "r.json"]).stdout_bytes
    assert printed.decode("cp1252").startswith("x FAIL")


def test_a_standard_output_of_text_alone_gets_text(monkeypatch):
    class Notebook(codecs.StreamWriter):
        encoding = "utf-8"

        def __init__(self):
            self.texts = []

        def write(self, text):
            self.texts.append(text)

        def flush(self):
            pass

        def __getattr__(self, name):
            raise AttributeError(name)

    stream = Notebook()
    monkeypatch.setattr(sys, "stdout", stream)
    with opened(None, for_programs=True) as to:
        to("✘ text")
    assert stream.texts == ["✘ text"]


@pytest.mark.parametrize(("value", "color"), [("1", True), ("yes", True), ("0", False), ("false", False), ("", False)])
def test_force_color_can_say_no(monkeypatch, value, color):
    monkeypatch.setenv("FORCE_COLOR", value)
    assert style_for(None, verbose=False).color is color


# ------------------------------------------------------------------------------------------------------------ signals


SLOW = """
import time
import numpy as np

def bn_forward(x, gamma, beta, eps):
    time.sleep(0.05)
    mu, var = x.mean(0), x.var(0)
    inv_std = 1 / np.sqrt(var + eps)
    xhat = (x - mu) * inv_std
    return gamma * xhat + beta, (xhat, inv_std, gamma)

def bn_backward(dy, cache):
    xhat, inv_std, gamma = cache
    dx = gamma * inv_std * (dy - dy.mean(0) - xhat * (dy * xhat).mean(0))
    return dx, (dy * xhat).sum(0), dy.sum(0)
"""


@POSIX
@pytest.mark.parametrize("name", ["SIGHUP", "SIGTERM", "SIGINT"])
def test_a_run_that_is_stopped_leaves_no_other_file_behind(name):
    Path("slow.py").write_text(SLOW)
    command = [sys.executable, "-m", "bncheck", "verify", "slow.py", "--jobs", "1", "-o", "out.json"]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    heard = partial(signal.signal, signal.SIGHUP, signal.SIG_DFL)  # whether or not nohup began these tests
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=env, preexec_fn=heard, **pipes) as run:
        until = time.monotonic() + 60
        while not any(path.endswith(".tmp") for path in os.listdir()) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(0.5)
        run.send_signal(getattr(signal, name))
        _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert not [path for path in os.listdir() if path.endswith(".tmp")]


@POSIX
@pytest.mark.parametrize("before", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_closed_terminal_ends_a_run_unless_nohup_says_otherwise(monkeypatch, before):
    usual = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    monkeypatch.setattr("bncheck.cli.cli", lambda prog_name: None)
    try:
        signal.signal(signal.SIGHUP, before)
        __main__.main()
        after = signal.getsignal(signal.SIGHUP)
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
    assert after is (signal.default_int_handler if before is signal.SIG_DFL else signal.SIG_IGN)


# --------------------------------------------------------------------------------------------------------------- html


@pytest.fixture(scope="module")
def usual():
    """Return the page of a report with plots."""
    pytest.importorskip("matplotlib", reason="there is no page with plots without the extra html")
    page = REPORTERS.get("html")(specimen(), Style())
    assert "var(--bad)" in page
    return page


@POSIX
@pytest.mark.parametrize(
    ("settings", "backend"),
    [
        ("text.usetex: True", ""),
        ("axes.grid: True\nlines.linewidth: 9\nfont.family: monospace\nbackend: nonsense", "TkAgg"),
        ("", "nonsense"),
    ],
)
def test_a_page_looks_the_same_whatever_the_user_says_to_matplotlib(usual, settings, backend):
    Path("s.json").write_text(json.dumps(to_json(specimen())))
    Path("matplotlibrc").write_text(settings)
    done = shell("bncheck report s.json -o a.html", MPLBACKEND=backend)
    assert done.returncode == 0, done.stderr
    assert Path("a.html").read_text() == usual


def test_the_settings_and_the_backend_of_the_process_stay(usual, monkeypatch):
    matplotlib = pytest.importorskip("matplotlib", reason="there is no page with plots without the extra html")
    monkeypatch.setenv("MPLBACKEND", "nonsense")
    with matplotlib.rc_context({"axes.grid": True, "lines.linewidth": 9.0}):
        before = dict(matplotlib.rcParams.copy())
        assert REPORTERS.get("html")(specimen(), Style()) == usual
        assert dict(matplotlib.rcParams.copy()) == before
    assert os.environ["MPLBACKEND"] == "nonsense"


@POSIX
def test_a_matplotlib_that_cannot_be_imported_costs_no_other_format(usual):
    Path("s.json").write_text(json.dumps(to_json(specimen())))
    Path("matplotlibrc").write_bytes(b"\xff\xfe\x00")
    done = shell("bncheck report s.json -o a.html -o a.json")
    code, said = told(done)
    assert code == 2, said
    assert "bncheck: the format html needs matplotlib" in said
    assert sorted(os.listdir()) == ["a.json", "matplotlibrc", "r.json", "s.json"]
