"""The command line: what it prints where, and what it exits with."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from render import broken, inconclusive, interrupted, misprinted, report, right, stub

from bncheck import pipeline
from bncheck.cli import cli, exit_code
from bncheck.cli_explain import LISTS
from bncheck.model import Declared, TargetSpec
from bncheck.report import Report, Verdict
from bncheck.reporters import REPORTERS
from bncheck.settings import Settings

COMMANDS = ("verify", "replay", "report", "watch", "init", "explain", "list", "demo")
ID = "v1:plain:seed=0,n=2,c=1"
SAMPLES = Path(__file__).parent.parent / "bncheck" / "samples"


@pytest.fixture(autouse=True)
def quiet_environment(monkeypatch, tmp_path):
    """Run far from any pyproject.toml and without the caller's wishes for colour."""
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "TERMINAL_WIDTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def pipe(monkeypatch):
    """Put a hand-made report, or an exception, in the place of a run; record what the run was asked for."""

    class Pipe:
        result = report(right())

        def run(self, specs, settings, progress=None, executor=None, journal=None):
            self.specs, self.settings, self.case = specs, settings, None
            return self.answer()

        def replay(self, specs, case_id, settings):
            self.specs, self.settings, self.case = specs, settings, case_id
            return self.answer()

        def answer(self):
            if isinstance(self.result, BaseException):
                raise self.result
            return self.result

    fake = Pipe()
    monkeypatch.setattr(pipeline, "run", fake.run)
    monkeypatch.setattr(pipeline, "replay", fake.replay)
    return fake


def invoke(*words):
    return CliRunner().invoke(cli, list(words), prog_name="bncheck")


def shell(*words, **more):
    """Run the real command in a process of its own."""
    root = str(Path(__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": root, **more.pop("env", {})}
    command = [sys.executable, "-m", "bncheck", *map(str, words)]
    return subprocess.run(command, capture_output=True, env=env, timeout=120, check=False, **more)


# ---------------------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("targets", "code"),
    [
        ((right(),), 0),
        ((misprinted(),), 1),
        ((broken(),), 2),
        ((stub(),), 2),
        ((inconclusive(),), 4),
        ((interrupted(),), 130),
        ((right(), misprinted()), 1),
        ((right(), broken()), 2),
        ((right(), inconclusive()), 4),
        ((misprinted(), broken()), 1),
        ((inconclusive(), broken()), 2),
        ((inconclusive(), misprinted()), 1),
        ((right(), inconclusive(), broken(), misprinted()), 1),
        ((misprinted(), interrupted()), 130),
    ],
)
@pytest.mark.parametrize("command", [("verify", "a.py"), ("replay", ID, "a.py")])
def test_exit_code_of_a_run(pipe, command, targets, code):
    pipe.result = report(*targets)
    assert invoke(*command).exit_code == code


def test_a_stub_beside_what_is_filled_in_does_not_count():
    made = replace(report(right(), stub()), verdict=Verdict.PASS)
    assert exit_code(made) == 0


def test_a_report_of_nothing_is_no_pass():
    assert exit_code(Report((), Verdict.PASS, "0", 0, "float64")) == 2


def test_an_interruption_before_the_first_target_counts():
    assert exit_code(Report((), Verdict.INTERRUPTED, "0", 0, "float64")) == 130


def test_ctrl_c_outside_a_run_exits_130_without_a_traceback(pipe):
    pipe.result = KeyboardInterrupt()
    result = invoke("verify", "a.py")
    assert (result.exit_code, result.stderr) == (130, "bncheck: interrupted\n")


def test_ctrl_c_while_modules_are_loaded_exits_130_without_a_traceback(tmp_path):
    (tmp_path / "rich_click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = shell("--version")  # from the folder with this module
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"bncheck: interrupted\n")


def test_ctrl_c_while_the_command_line_is_read_exits_130(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("click.Group.parse_args", interrupted)
    result = invoke("--version")
    assert (result.exit_code, result.stderr) == (130, "bncheck: interrupted\n")


def test_an_expected_failure_of_no_target_is_told_where_all_targets_ran(pipe):
    pipe.result = report(replace(right(), name="a.py::f"), replace(right(), name="x/b.py::g"))
    entry = '[[tool.bncheck.expected]]\ncheck = "BN508"\nreason = "known"\ntarget = "{}"\n'

    def told(*words, target="c.py::*", targets='["a.py", "x/b.py"]'):
        Path("pyproject.toml").write_text(f"[tool.bncheck]\ntargets = {targets}\n{entry.format(target)}")
        return invoke("verify", *words).stderr

    assert told().startswith("bncheck: expected failure of BN508: no target fits 'c.py::*'. Did you mean ")
    assert told("a.py", "x/b.py", "d.py") == told()
    for target in ("a.py::*", "b.py::g", "x/b.py::*", "./x/*", "*"):
        assert told(target=target) == ""
    assert "no target fits 'y/b.py::*'. Did you mean x/b.py::g" in told(target="y/b.py::*")
    assert told("a.py") == told("a.py", targets="[]") == ""
    pipe.result = report(broken())
    assert told() == ""


def test_a_fault_of_our_own_exits_3_and_says_whose_fault_it_is(pipe):
    pipe.result = ZeroDivisionError("1/0\x1b[31m")
    result = invoke("verify", "a.py")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "bncheck itself failed, your code is not to blame: ZeroDivisionError: 1/0\\x1b[31m" in result.stderr
    assert "Please report it" in result.stderr
    assert "Traceback" not in result.stderr


def test_verbose_shows_the_traceback_of_our_own_fault(pipe):
    pipe.result = ZeroDivisionError("1/0")
    assert "Traceback" in invoke("verify", "a.py", "-v").stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verify", "a.py", "--dtype", "float23"), "Did you mean float32"),
        (("verify", "a.py", "--cases", "0"), "cases must be at least 1"),
        (("verify", "a.py", "--timeout", "-1"), "timeout must be between 0 and"),
        (("verify", "a.py", "--timeout", "nan"), "timeout must be between 0 and"),
        (("verify", "a.py", "--timeout", "inf"), "timeout must be between 0 and"),
        (("verify", "a.py", "--layout", "NWCX"), "layout 'NWCX' is not known. Did you mean"),
        (("verify", "a.py", "--select", ""), "select has an empty code"),
        (("verify", "a.py", "--ignore", "BN2,"), "ignore has an empty code"),
        (("replay", "v1:plain:n=2,q=1", "a.py"), "no parameter is called 'q'"),
        (("replay", "nonsense", "a.py"), "is no replay id"),
        (("replay", "a.py", ID), f"the ID comes first, the TARGET after it: bncheck replay {ID} a.py"),
        (("replay", "a.py::f", "v1:plain:n=2,q=1"), "the ID comes first"),
        (("replay", "a.py", "b.py"), "is no replay id"),
        (("explain", "BN20X"), "BN201"),
        (("explain", "momentum"), "Did you mean momentum-is-"),
        (("explain", "epsilon"), "Did you mean eps"),
        (("explain", "gradient"), "Did you mean gradients or"),
        (("explain", "unbiased"), "variance"),
        (("explain", "qqqq"), "bncheck explain lists the pages"),
        (("explain", "dx-match-numeric"), "Did you mean dx-matches-numeric"),
        (("explain", "BN999"), "'BN999'. bncheck explain lists the pages"),
        (("explain", "BN231"), "Did you mean BN3"),
        (("list", "chekcs"), "Did you mean checks?"),
    ],
)
def test_a_usage_error_is_one_line_and_exits_2(pipe, words, said):
    result = invoke(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert said in result.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("verfy", "a.py"), "Did you mean verify?"),
        (("a.py",), "bncheck verify a.py"),
        (("verify", "a.py", "--format", "jsn"), "Did you mean json"),
        (("verify", "a.py", "--case", "3"), "--cases"),
        (("verify",), "TARGET"),
        (("verify", "a.py", "--cases", "many"), "--cases"),
    ],
)
def test_a_wrong_word_is_answered_with_the_right_one(pipe, words, said):
    result = invoke(*words)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in result.stderr


def test_a_wrong_check_is_a_usage_error():
    done = shell("verify", "a.py", "--select", "BN9")
    assert done.returncode == 2
    assert done.stderr.startswith(b"bncheck: no check's code starts with 'BN9'. Groups: BN1, BN2, BN3, BN4, ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("option", ["--select", "--ignore"])
def test_a_bug_in_the_place_of_a_check_is_answered_with_the_checks_that_tell_of_it(option):
    done = shell("verify", "a.py", option, "bug211")
    assert done.returncode == 2
    assert done.stderr.strip() == (
        b"bncheck: 'bug211' is a bug, and not a check. Checks are chosen by codes that begin with BN: BN201 and BN211 "
        b"tell of this bug."
    )


# ------------------------------------------------------------------------------------------------------------- options


def test_options_reach_the_run(pipe):
    invoke("verify", "a.py", "b.py::f", "--cases", "7", "--seed", "3", "--dtype", "float32", "--layout", "NHWC",
           "--select", "BN2, BN1", "--select", "BN5", "--ignore", "BN501", "--timeout", "2.5", "--strict")  # fmt: skip
    assert [spec.source for spec in pipe.specs] == ["a.py", "b.py::f"]
    given = {"strict": True, "layout": "NHWC"}
    assert pipe.settings == Settings(7, 3, "float32", ("BN2", "BN1", "BN5"), ("BN501",), 2.5, **given)


def test_what_is_declared_of_a_target_reaches_the_run(pipe):
    invoke("verify", "a.py", "--as", "layer-class", "--parameter-shape", "(1, C)", "--eps", "0.1", "--momentum-sense",
           "new", "--running-var", "biased", "--mode-switch", "flag", "--returns", "dx, dbeta, dgamma", "--profile",
           "keras", "--grad-scale", "mean", "--adapter", "b.py", "--device", "cuda", "--no-stand-ins")  # fmt: skip
    assert pipe.settings.declared == Declared(
        kind="layer-class", parameter_shape="(1, C)", eps=0.1, momentum_sense="new", running_var="biased",
        mode_switch="flag", returns="dx, dbeta, dgamma", profile="keras", grad_scale="mean", adapter_file="b.py",
        device="cuda", stand_ins=False,
    )  # fmt: skip


def test_programs_are_verified_beside_files(pipe):
    invoke("verify", "a.py", "--exec", "./my_bn 3")
    assert pipe.specs == [TargetSpec("a.py"), TargetSpec("./my_bn 3", program=True)]


def test_an_adapter_file_may_stand_for_itself(pipe):
    invoke("verify", "--adapter", "mine.py")
    assert [spec.source for spec in pipe.specs] == ["mine.py"]


def test_nothing_to_verify_is_one_line(pipe):
    result = invoke("verify")
    assert result.exit_code == 2
    assert "nothing to verify" in result.stderr


def test_without_options_the_defaults_hold(pipe):
    invoke("verify", "a.py")
    assert pipe.settings == Settings()


def test_pyproject_gives_defaults_and_the_command_line_overrides_them(pipe):
    Path("pyproject.toml").write_text('[tool.bncheck]\ncases = 9\nstrict = true\nselect = ["BN2"]\n')
    invoke("verify", "a.py")
    assert pipe.settings == Settings(cases=9, strict=True, select=("BN2",))
    invoke("verify", "a.py", "--cases", "8", "--no-strict", "--select", "BN1")
    assert pipe.settings == Settings(cases=8, strict=False, select=("BN1",))


def test_a_wrong_setting_in_pyproject_is_one_line(pipe):
    Path("pyproject.toml").write_text("[tool.bncheck]\ncase = 9\n")
    result = invoke("verify", "a.py")
    assert result.exit_code == 2
    assert "pyproject.toml: [tool.bncheck] has no setting 'case'. Did you mean cases" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_refused_value_in_pyproject_names_the_file_and_the_key(pipe):
    Path("pyproject.toml").write_text('[tool.bncheck]\ndtype = "float8"\n')
    result = invoke("verify", "a.py")
    assert result.exit_code == 2
    assert "pyproject.toml: [tool.bncheck] dtype 'float8' is not known." in result.stderr
    assert result.stderr.count("\n") == 1


def test_replay_hands_the_case_on(pipe):
    invoke("replay", ID, "a.py")
    assert pipe.case == ID


def test_replay_shows_every_tensor(pipe):
    pipe.result = report(replace(misprinted(), cases=1))
    assert "dgamma expected" in invoke("replay", ID, "a.py").stdout
    pipe.result = report(misprinted())
    assert "dgamma expected" not in invoke("verify", "a.py").stdout


def test_replay_lists_what_passes_only_when_asked(pipe):
    pipe.result = report(replace(misprinted(), cases=1))
    assert "BN101 y-matches-reference" not in invoke("replay", ID, "a.py").stdout
    assert "BN101 y-matches-reference" in invoke("replay", ID, "a.py", "-v").stdout


# -------------------------------------------------------------------------------------------------------------- output


def test_json_is_alone_on_standard_output(pipe):
    pipe.result = report(misprinted(), broken())
    result = invoke("verify", "a.py", "--format", "json")
    assert json.loads(result.stdout)["schema"] == "bncheck.report/1"
    assert result.exit_code == 1


def test_quiet_is_one_line_per_target(pipe):
    pipe.result = report(misprinted(), right())
    assert invoke("verify", "a.py", "-q").stdout.splitlines() == [
        "FAIL misprinted.py::batchnorm: BN201 dx-matches-numeric",
        "PASS right.py::batchnorm: 7 checks on 200 cases",
    ]
    assert json.loads(invoke("verify", "a.py", "-q", "--format", "json").stdout)


def test_no_colour_where_there_is_no_terminal(pipe):
    assert "\x1b" not in invoke("verify", "a.py").stdout


def test_colour_where_it_is_asked_for_unless_it_is_refused(pipe, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in CliRunner().invoke(cli, ["verify", "a.py"], color=True).stdout
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in CliRunner().invoke(cli, ["verify", "a.py"], color=True).stdout


@pytest.mark.parametrize("columns", ["60", "100", "10", "500"])
def test_the_report_is_as_wide_as_the_screen_within_reason(pipe, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    longest = max(map(len, invoke("verify", "a.py").stdout.splitlines()))
    assert min(max(int(columns), 40), 120) - 12 <= longest <= min(max(int(columns), 40), 120)


def test_ascii_where_the_terminal_knows_nothing_else(pipe):
    result = CliRunner(charset="ascii").invoke(cli, ["verify", "a.py"])
    assert result.exit_code == 0
    assert result.stdout.startswith("+ PASS")


def test_output_writes_the_file_whole_and_nothing_to_standard_output(pipe, tmp_path):
    pipe.result = report(misprinted())
    result = invoke("verify", "a.py", "--format", "json", "--output", "report.json")
    assert json.loads(Path("report.json").read_text())["verdict"] == "fail"
    assert (result.exit_code, result.stdout) == (1, "")
    assert "FAIL: the report is in report.json" in result.stderr
    assert os.listdir(tmp_path) == ["report.json"]


def test_output_replaces_a_file_only_when_the_run_is_over(pipe, tmp_path):
    Path("old.txt").write_text("old")
    pipe.result = ZeroDivisionError("1/0")
    assert invoke("verify", "a.py", "--output", "old.txt").exit_code == 3
    assert Path("old.txt").read_text() == "old"
    assert os.listdir(tmp_path) == ["old.txt"]


def test_output_follows_a_link(pipe, tmp_path):
    Path("real.txt").write_text("old")
    Path("link.txt").symlink_to("real.txt")
    invoke("verify", "a.py", "--output", "link.txt")
    assert Path("link.txt").is_symlink()
    assert Path("real.txt").read_text().startswith("✔ PASS")


def test_output_to_a_device_leaves_the_device(pipe):
    assert invoke("verify", "a.py", "--output", os.devnull).exit_code == 0
    assert not Path(os.devnull).is_file()


@pytest.mark.parametrize("place", ["no/such/folder/report.txt", "."])
def test_an_output_that_cannot_be_written_stops_before_the_run(pipe, place):
    pipe.specs = None
    result = invoke("verify", "a.py", "--output", place)
    assert result.exit_code == 2
    assert result.stderr.startswith("bncheck: cannot write ")
    assert result.stderr.count("\n") == 1
    assert pipe.specs is None


# ----------------------------------------------------------------------------------------------- help, explain and list


@pytest.mark.parametrize("words", [(), *((c,) for c in COMMANDS)])
@pytest.mark.parametrize("ask", ["--help", "-h"])
def test_help_has_examples_each_on_a_line(words, ask):
    result = invoke(*words, ask)
    assert result.exit_code == 0
    assert "Examples:" in result.stdout
    assert re.search(r"^   bncheck \w+.*$", result.stdout.partition("Examples:")[2], re.MULTILINE)


def test_every_command_is_tested_for_its_help():
    assert set(cli.commands) == set(COMMANDS)


def test_help_names_every_format():
    # What stands beside the names in the table of options is none.
    words = invoke("report", "--help").stdout.replace("[", " ").replace("]", " ").split()
    assert set(REPORTERS.names()) <= set(words)


def test_version():
    result = invoke("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("bncheck ")


@pytest.mark.parametrize("words", [("--help",), ("verify", "--help"), ("--version",)])
def test_help_and_version_load_nothing_heavy(words):
    code = (
        "import sys\n"
        "from bncheck.cli import cli\n"
        f"try: cli({list(words)!r}, prog_name='bncheck')\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "sys.stderr.write(repr(sorted({name.split('.')[0] for name in sys.modules} & {'numpy', 'scipy', 'pytest'})))\n"
        "sys.stderr.write(repr('bncheck.pipeline' in sys.modules))\n"
    )
    root = str(Path(__file__).parent.parent)
    env = {**os.environ, "PYTHONPATH": root}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True, timeout=60)
    assert "bncheck" in done.stdout
    assert done.stderr == "[]False"


@pytest.mark.parametrize("code", ["BN201", "bn201", "dx-matches-numeric"])
def test_explain_takes_codes_and_names(code):
    result = invoke("explain", code)
    assert result.exit_code == 0
    assert result.stdout.startswith("BN201 dx-matches-numeric\n")
    assert "\nTypical causes\n" in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_explain_takes_several():
    stdout = invoke("explain", "BN201", "BN101").stdout
    assert stdout.index("BN201 ") < stdout.index("\nBN101 ")


@pytest.mark.parametrize("what", sorted(LISTS))
def test_every_list_says_something(what):
    result = invoke("list", what)
    assert result.exit_code == 0
    assert len(result.stdout.strip()) > 10


def test_the_list_of_checks_has_codes_names_and_summaries():
    assert re.search(r"^BN201 +dx-matches-numeric +\w+", invoke("list", "checks").stdout, re.MULTILINE)


def test_without_a_name_the_lists_are_listed():
    result = invoke("list")
    assert (result.exit_code, result.stdout.split("\n")) == (0, [*(f"bncheck list {name}" for name in LISTS), ""])


def test_an_empty_list_says_that_it_is_empty(monkeypatch):
    from bncheck.bugs import catalogue
    from bncheck.registry import Registry

    empty = Registry("bug", "bncheck.samples")
    empty._loaded = True
    monkeypatch.setattr(catalogue, "BUGS", empty)
    assert invoke("list", "bugs").stdout == "No bugs are named yet.\n"


# ---------------------------------------------------------------------------------------------------------------- demo


def test_demo_shows_both_samples_and_exits_0(pipe, monkeypatch):
    answers = {"right.py": report(right()), "misprinted.py": report(misprinted())}
    monkeypatch.setattr(pipeline, "run", lambda specs, *_: answers[Path(specs[0].source).name])
    result = invoke("demo")
    assert result.exit_code == 0
    assert result.stdout.index("✔ PASS  right.py") < result.stdout.index("✘ FAIL  misprinted.py")


@pytest.mark.parametrize("wrong", [right(), misprinted(), inconclusive(), broken()])
def test_demo_that_comes_out_otherwise_is_our_fault(pipe, wrong):
    pipe.result = report(wrong)
    assert invoke("demo").exit_code == 3


def test_demo_can_be_interrupted(pipe):
    pipe.result = report(interrupted())
    assert invoke("demo").exit_code == 130


def test_the_samples_are_what_they_say():
    text = (SAMPLES / "misprinted.py").read_text()
    assert "dxhat * (-1 / np.sqrt(var + eps)) + dvar * 2 * (x - mu) / m + dvar / m" in text
    assert "import bncheck" not in text + (SAMPLES / "right.py").read_text()


# ------------------------------------------------------------------------------------------------------- the real thing


def test_the_real_demo():
    done = shell("demo")
    assert done.returncode == 0, done.stderr.decode()
    text = done.stdout.decode()
    assert "✔ PASS  right.py" in text
    assert re.search(r"A .* yes +no +ok +WRONG +ok +ok\n", text)


@pytest.mark.parametrize(("sample", "code"), [("right.py", 0), ("misprinted.py", 1), ("missing.py", 2)])
def test_a_real_run_prints_json_alone(sample, code):
    done = shell("verify", SAMPLES / sample, "--cases", "20", "--format", "json")
    assert done.returncode == code, done.stderr.decode()
    assert json.loads(done.stdout)["targets"]


def test_the_replay_command_of_a_report_can_be_run_as_it_stands(tmp_path):
    target = tmp_path / "a folder" / "it's.py"
    target.parent.mkdir()
    target.write_text((SAMPLES / "misprinted.py").read_text())
    text = shell("verify", target, "--cases", "20").stdout.decode()
    command = next(line.strip() for line in text.splitlines() if line.startswith("  bncheck replay "))
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        command.replace("bncheck", f"{sys.executable} -m bncheck", 1),
        shell=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "BN201" in done.stdout
    assert "dgamma expected" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="needs a shell's pipe")
def test_a_reader_that_goes_away_is_no_error(tmp_path):
    root = str(Path(__file__).parent.parent)
    done = subprocess.run(
        f"{sys.executable} -m bncheck list recipes | true; exit ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        env={**os.environ, "PYTHONPATH": root},
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_strict_turns_a_warning_into_exit_1(tmp_path):
    loud = (SAMPLES / "right.py").read_text().replace("    dbeta = dout", '    print("hello")\n    dbeta = dout')
    target = tmp_path / "loud.py"
    target.write_text(loud)
    assert shell("verify", target, "--cases", "5").returncode == 0
    done = shell("verify", target, "--cases", "5", "--strict")
    assert done.returncode == 1
    assert b"--strict" in done.stdout


def test_init_writes_an_adapter_that_verifies(tmp_path):
    target, adapter = SAMPLES / "right.py", tmp_path / "mine.py"
    assert invoke("init", "--adapter", str(target), "-o", str(adapter)).exit_code == 0
    result = invoke("verify", str(target), "--adapter", str(adapter), "--cases", "5", "-q")
    assert result.exit_code == 0, result.stdout


def test_init_overwrites_nothing(tmp_path):
    (tmp_path / "mine.py").write_text("mine")
    result = invoke("init", "--adapter", str(SAMPLES / "right.py"), "-o", str(tmp_path / "mine.py"))
    assert result.exit_code == 2
    assert "nothing is overwritten" in result.stderr
    assert (tmp_path / "mine.py").read_text() == "mine"


FRAMEWORKS = ("torch", "jax", "jaxlib", "flax", "keras", "tensorflow", "ml_dtypes", "cupy")
CORRECT = Path(__file__).parent.parent / "fixtures" / "correct"


def planted(folder):
    """Put a package for each framework where it is found first; one that is imported leaves a file behind."""
    for name in FRAMEWORKS:
        (folder / f"{name}.py").write_text(f"open(r'{folder}/{name}.imported', 'w').close()\n")
    return os.pathsep.join([str(folder), str(Path(__file__).parent.parent)])


def verified_beside_frameworks(target, folder):
    command = [sys.executable, "-X", "importtime", "-m", "bncheck", "verify", str(target), "--cases", "20"]
    done = subprocess.run(
        command, env=dict(os.environ, PYTHONPATH=planted(folder)), capture_output=True, text=True, timeout=120
    )
    named = re.findall(r"^import time:.*\|\s+(\S+)$", done.stderr, re.MULTILINE)
    return done, {name.split(".")[0] for name in named}, {path.stem for path in folder.glob("*.imported")}


def test_verifying_numpy_code_imports_no_framework(tmp_path):
    # The planted packages tell of the worker process too, whose imports no -X importtime shows.
    done, named, imported = verified_beside_frameworks(CORRECT / "cs231n_staged.py", tmp_path)
    assert done.returncode == 0
    assert {"numpy", "bncheck"} <= named
    assert not named & set(FRAMEWORKS)
    assert imported == set()


def test_a_framework_that_the_target_imports_is_seen(tmp_path):
    target = tmp_path / "my_bn.py"
    target.write_text("import torch\n" + (CORRECT / "cs231n_staged.py").read_text())
    _, _, imported = verified_beside_frameworks(target, tmp_path)
    assert imported == {"torch"}


def test_an_expected_failure_of_a_check_that_does_not_exist_is_told_before_anything_runs(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[[tool.bncheck.expected]]\ncheck = "BN58"\nreason = "why"\n')
    done = invoke("verify", str(SAMPLES / "right.py"))
    assert done.exit_code == 2
    assert "no check 'BN58'" in done.output


@pytest.mark.parametrize("words", [["--help"], ["verify", "--help"], ["list", "checks"], ["explain", "BN201"]])
def test_who_stops_reading_hears_no_complaint(words):
    """As in ``bncheck verify --help | head``."""
    program = subprocess.Popen(
        [sys.executable, "-m", "bncheck", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    program.stdout.close()
    assert program.stderr.read() == b""
    program.stderr.close()
    program.wait()
