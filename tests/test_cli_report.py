"""``bncheck report``: stored reports again, in any format; several formats in one run; nothing partial left behind."""

import json
import os
import re
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from render import REPORTS, located, report

from bncheck import pipeline
from bncheck.cli import cli
from bncheck.codec import report_from_json, to_json
from bncheck.errors import UsageError
from bncheck.reporters import REPORTERS, Style, stored
from bncheck.reporters import outputs as outputs_module
from bncheck.reporters.destination import IN_A_FILE
from bncheck.reporters.outputs import Output, form_of, outputs

ID = "v1:plain:seed=0,n=2,c=1"
SEVERAL = ("--format", "junit", "-o", "a.xml", "--format", "sarif", "--output", "b", "--format", "github")


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    Path("r.json").write_text(json.dumps(to_json(report(located()))))


@pytest.fixture
def runs(monkeypatch):
    """Put a hand-made report in the place of a run."""
    monkeypatch.setattr(pipeline, "run", lambda *given: report(located()))
    monkeypatch.setattr(pipeline, "replay", lambda specs, case_id, settings: report(located()))


def invoke(*words):
    return CliRunner().invoke(cli, list(words), prog_name="bncheck")


def in_a_file(form, verbose=False):
    return REPORTERS.get(form)(report(located()), Style(width=IN_A_FILE, verbose=verbose))


# ------------------------------------------------------------------------------------------------------ stored reports


@pytest.mark.parametrize("form", sorted(set(REPORTERS.names()) - {"html"}))
def test_a_stored_report_makes_the_same_as_the_run(form):
    result = invoke("report", "r.json", "--format", form, "--output", "out")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "the report is in out\n")
    assert Path("out").read_text(encoding="utf-8") == in_a_file(form)


def test_it_is_shown_for_people_by_default():
    result = invoke("report", "r.json")
    assert result.exit_code == 0
    assert result.stdout.startswith("✘ FAIL  misprinted.py::batchnorm")
    assert invoke("report", "r.json", "-q").stdout.count("\n") == 1
    assert "Worked out for channel 0" in invoke("report", "r.json", "-v").stdout


def test_the_code_is_not_needed_and_nothing_is_run(monkeypatch):
    monkeypatch.setattr(pipeline, "_run", None)
    assert invoke("report", "r.json").exit_code == 0


def test_the_schema_is_printed():
    result = invoke("report", "--schema")
    assert result.exit_code == 0
    Draft202012Validator(json.loads(result.stdout)).validate(json.loads(Path("r.json").read_text()))


def test_the_schema_is_written_where_it_is_wanted():
    assert invoke("report", "--schema", "-o", "s.json").stdout == ""
    assert Path("s.json").read_text(encoding="utf-8") == invoke("report", "--schema").stdout
    assert invoke("report", "--schema", "r.json").exit_code == 2
    assert invoke("report", "--schema", "--format", "html").exit_code == 2


def test_a_library_that_is_broken_stops_nothing_while_it_is_loaded_ahead(monkeypatch):
    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)
    monkeypatch.setitem(outputs_module.AHEAD, "plain", ("no_such_library", "json"))
    assert invoke("report", "r.json", "--format", "plain").exit_code == 0
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(5)
    assert told == []


def test_a_byte_order_mark_is_no_fault():
    Path("bom.json").write_bytes(b"\xef\xbb\xbf" + Path("r.json").read_bytes())
    assert invoke("report", "bom.json").exit_code == 0


def deep(levels):
    return '{"schema": "bncheck.report/1", "targets": ' + "[" * levels + "]" * levels + "}"


def spoiled(change):
    data = to_json(report(located()))
    change(data)
    return json.dumps(data)


def _wrong_shape(data):
    data["targets"][0]["exhibits"][0]["comparisons"][0]["found"]["shape"] = [3, 3]


def _negative_shape(data):
    data["targets"][0]["exhibits"][0]["inputs"]["x"]["shape"] = [-3, -2]


def _many_axes(data):
    data["targets"][0]["exhibits"][0]["inputs"]["x"] = {"shape": [1] * 3000, "values": [1.0]}


def _long_axes_of_nothing(data):
    data["targets"][0]["exhibits"][0]["inputs"]["x"] = {"shape": [4096, 4096, 4096, 0], "values": []}


def _endless_counts(data):
    data["targets"][0]["findings"][0]["counts"] = {"pass": 10**4300 - 1, "fail": 10**4300 - 1}


def _hostile_code(data):
    data["targets"][0]["findings"][0]["code"] = "BN\x1b[31m"


BAD = {
    "truncated": (lambda: Path("r.json").read_text()[:-100], "this is no JSON: .*it may be cut off"),
    "cut in a text": (lambda: '{"schema": "bnch', "this is no JSON: Unterminated string .*it may be cut off"),
    "empty": (lambda: "", "this is no JSON"),
    "no object": (lambda: "[1]", "this is no report of bncheck"),
    "foreign": (lambda: '{"version": "2.1.0"}', "no report of bncheck: schema should be"),
    "SARIF": (lambda: in_a_file("sarif"), "this is SARIF, and no report of bncheck: --format json writes what"),
    "newer": (lambda: '{"schema": "bncheck.report/2"}', "a newer bncheck wrote this report: .*report/2"),
    "much newer": (lambda: '{"schema": "bncheck.report/10"}', "a newer bncheck wrote this report"),
    "other number": (lambda: '{"schema": "bncheck.report/01x"}', "no report of bncheck: schema should be"),
    "too deep": (lambda: deep(100_000), "nested too deep"),
    "deep": (lambda: deep(900), "(nested too deep|should be an object)"),
    "not finite": (lambda: spoiled(lambda d: d.update(seed=float("nan"))), "no strict JSON: NaN"),
    "endless number": (lambda: f'{{"schema": {"1" * 10_000}}}', "no JSON that can be read"),
    "missing": (lambda: spoiled(lambda d: d["targets"][0].pop("name")), r"Report\.targets\[0\]: 'name' is missing"),
    "wrong shape": (lambda: spoiled(_wrong_shape), r"comparisons\[0\]\.found has 6 values"),
    "negative shape": (lambda: spoiled(_negative_shape), r"inputs\['x'\] has 6 values"),
    "many axes": (lambda: spoiled(_many_axes), r"inputs\['x'\] has 1 values"),
    "long axes of nothing": (lambda: spoiled(_long_axes_of_nothing), r"inputs\['x'\] has 0 values"),
    "endless counts": (lambda: spoiled(_endless_counts), r"counts\['pass'\]: should be a whole number of at most 100"),
    "hostile code": (lambda: spoiled(_hostile_code), "is no code or name of a check"),
    "control": (lambda: '{"schema": "\\u001b[31m"}', r"schema should be .*x1b"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_report_is_one_line_and_exits_2(name):
    make, said = BAD[name]
    Path("bad.json").write_text(make())
    result = invoke("report", "bad.json", "--output", "out.html")
    assert result.exit_code == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("bncheck: bad.json: ")
    assert result.stderr.count("\n") == 1
    assert "\x1b" not in result.stderr
    assert re.search(said, result.stderr)
    assert sorted(os.listdir()) == ["bad.json", "r.json"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfe{\x00}\x00", "this is not UTF-8 (byte 0); it looks like UTF-16: write it with --output"),
        (b'{"schema": "\xe9"}', "this is not UTF-8 (byte 12)"),
        (bytes(range(256)), "this is not UTF-8"),
    ],
)
def test_what_is_no_text_is_one_line(data, said):
    Path("bad.json").write_bytes(data)
    result = invoke("report", "bad.json")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert said in result.stderr


@pytest.mark.parametrize(("place", "said"), [("none.json", "No such file"), (".", "Is a directory")])
def test_what_cannot_be_read_is_one_line(place, said):
    result = invoke("report", place)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr


def test_no_more_is_read_than_a_report_can_have(monkeypatch):
    monkeypatch.setattr(stored, "LARGEST", 1_000_000)
    Path("large.json").write_bytes(b" " * 1_000_001)
    result = invoke("report", "large.json")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "it has more than 1 MB" in result.stderr


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no device without an end")
def test_a_device_without_an_end_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(stored, "LARGEST", 1_000_000)
    assert "it has more than 1 MB" in invoke("report", "/dev/zero").stderr


def test_without_a_file_it_says_what_it_needs():
    result = invoke("report")
    assert result.exit_code == 2
    assert "say which report: bncheck report FILE.json" in result.stderr


# ------------------------------------------------------------------------------------------------------ several formats


@pytest.mark.parametrize("command", [("report", "r.json"), ("verify", "a.py"), ("replay", ID, "a.py")])
def test_several_formats_in_one_run(runs, command):
    result = invoke(*command, *SEVERAL)
    assert result.exit_code == (0 if command[0] == "report" else 1)
    verbose = command[0] == "replay"
    assert Path("a.xml").read_text(encoding="utf-8") == in_a_file("junit", verbose)
    assert Path("b").read_text(encoding="utf-8") == in_a_file("sarif", verbose)
    assert result.stdout == REPORTERS.get("github")(report(located()), Style())
    assert result.stderr.endswith("the reports are in a.xml and b\n")
    assert sorted(os.listdir()) == ["a.xml", "b", "r.json"]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.json", "json"), ("a.sarif", "sarif"), ("a.xml", "junit"), ("a.md", "markdown"), ("a.html", "html"),
        ("a.htm", "html"), ("a.txt", "plain"), ("a.MD", "markdown"), ("a", "plain"), ("a.log", "plain"),
        ("json", "plain"), (".json", "plain"), ("a.b/c", "plain"),
    ],
)  # fmt: skip
def test_the_ending_names_the_format(name, form):
    assert form_of(Path(name)) == form


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("report.jsn", "report.jsn ends in the name of no format. Did you mean json"),
        ("a.htlm", "Did you mean htm or html"),
        ("b/out.foo", "Known: .*json.* What ends in .txt is text"),
    ],
)
def test_an_ending_that_may_be_a_slip_is_refused_before_the_run(monkeypatch, name, said):
    monkeypatch.setattr(pipeline, "run", lambda *_: pytest.fail("it ran"))
    result = invoke("verify", "a.py", "-o", name)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert re.search(said, result.stderr)
    assert paired(("json",), name) == {name: "json"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_a_pipe_may_be_called_anything():
    os.mkfifo("pipe.foo")
    assert paired((), "pipe.foo") == {"pipe.foo": "plain"}


def test_files_alone_take_their_formats_from_their_endings():
    assert paired((), "a.json", "b.sarif", "-") == {"a.json": "json", "b.sarif": "sarif", "-": "rich"}


def test_the_endings_decide_where_there_are_fewer_formats_than_files():
    files = {"r.json": "json", "r.html": "html", "r.sarif": "sarif", "r.xml": "junit", "r.md": "markdown"}
    assert paired(("github",), *files) == {**files, "-": "github"}
    assert paired(("sarif",), "r.json", "r.sarif") == {"r.json": "json", "r.sarif": "sarif"}
    assert paired(("github",), "r.json", "-") == {"r.json": "json", "-": "github"}
    assert paired(("json",), "r.json", "-") == {"r.json": "json", "-": "rich"}


def test_a_name_that_ends_in_no_format_takes_any():
    assert paired(("json", "short", "sarif"), "a", "b.txt", "c.sarif.json") == {
        "a": "json", "b.txt": "short", "c.sarif.json": "sarif",
    }  # fmt: skip


def test_the_place_of_standard_output_can_be_named():
    assert paired(("rich", "json"), "-", "a.json") == {"-": "rich", "a.json": "json"}


def test_quiet_prints_one_line_per_target_where_nothing_else_is_printed():
    assert outputs((), (Path("a.json"),), quiet=True) == [Output("json", Path("a.json")), Output("short", None)]
    assert outputs(("json",), (), quiet=True) == [Output("json", None)]
    assert outputs((), (), quiet=True) == [Output("short", None)]
    result = invoke("report", "r.json", "-q", "-o", "q.json")
    assert (result.stdout.count("\n"), result.stderr) == (1, "")
    assert Path("q.json").exists()


def test_capitals_do_not_matter():
    assert paired(("JSON",), "a") == {"a": "json"}
    assert json.loads(invoke("report", "r.json", "--format", "Json").stdout)


@pytest.mark.parametrize(("name", "form"), [("xml", "junit"), ("md", "markdown"), ("TXT", "plain"), ("htm", "html")])
def test_an_ending_in_the_place_of_a_format_is_answered_with_the_format(name, form):
    result = invoke("report", "r.json", "--format", name)
    assert result.exit_code == 2
    assert f"Did you mean {form}?" in " ".join(result.stderr.replace("│", " ").split())


def paired(forms, *paths):
    return {str(output.path or "-"): output.form for output in outputs(forms, tuple(map(Path, paths)))}


@pytest.mark.parametrize(
    ("forms", "paths", "said"),
    [
        (("json",), ("a", "b"), "2 outputs and 1 formats: each --output belongs to one --format"),
        (("json",), ("a", "b.sarif"), "or ends in the name of its own, and a does not"),
        (("rich", "github"), ("a.json", "a.sarif", "a.md"), "rich and github cannot both be printed"),
        (("json", "sarif"), ("a.sarif", "a.json"), "--format sarif -o a.sarif --format json -o a.json$"),
        (("sarif",), ("a.json",), "a.json ends in the name of json.*: --format json -o a.json --format sarif$"),
        (("sarif", "json"), ("a.json",), "a.json ends in the name of json.*: --format json -o a.json --format sarif$"),
        (("rich", "github"), ("a.json",), "name each --output after the --format that it belongs to"),
        (("json", "rich"), (), "json and rich cannot both be printed"),
        ((), ("-", "-"), "cannot both be printed"),
        (("json", "sarif"), ("a", "./a"), "two formats cannot both be written to"),
        (("rich", "html"), ("a.html",), "a.html ends in the name of html, .*: --format html -o a.html --format rich$"),
        (("jsn",), (), "no format is called 'jsn'"),
    ],
)
def test_what_does_not_pair_up_is_refused(forms, paths, said):
    with pytest.raises(UsageError, match=said):
        outputs(forms, tuple(map(Path, paths)))


def test_formats_that_do_not_pair_up_stop_before_the_run(monkeypatch):
    monkeypatch.setattr(pipeline, "run", lambda *_: pytest.fail("it ran"))
    result = invoke("verify", "a.py", "--format", "json", "--format", "rich")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


# ---------------------------------------------------------------------------------------------------- nothing partial


@pytest.mark.parametrize("place", ["no/such/folder/b.sarif", "."])
def test_one_file_that_cannot_be_written_leaves_none(runs, place):
    result = invoke("verify", "a.py", "--format", "json", "-o", "a.json", "--format", "sarif", "-o", place)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("bncheck: cannot write ")
    assert os.listdir() == ["r.json"]


def test_a_reporter_that_fails_costs_no_other_format(monkeypatch):
    Path("b.sarif").write_text("old")
    monkeypatch.setitem(REPORTERS._items, "sarif", lambda made, style: 1 / 0)
    result = invoke("report", "r.json", *"--format sarif -o b.sarif --format json -o a.json --format short".split())
    assert result.exit_code == 3
    assert "the format sarif ends in ZeroDivisionError: division by zero; the report is in a.json" in result.stderr
    assert result.stdout.startswith("FAIL misprinted.py")
    assert json.loads(Path("a.json").read_text())["verdict"] == "fail"
    assert Path("b.sarif").read_text() == "old"
    assert sorted(os.listdir()) == ["a.json", "b.sarif", "r.json"]


def test_a_fault_of_bncheck_counts_more_than_a_place_that_cannot_be_written(monkeypatch):
    def unusable(made, style):
        raise UsageError("not here")

    monkeypatch.setitem(REPORTERS._items, "github", unusable)
    monkeypatch.setitem(REPORTERS._items, "sarif", unusable)
    result = invoke("report", "r.json", "-o", "a.sarif", "-o", "a.json", "--format", "github")
    assert (result.exit_code, result.stderr) == (2, "bncheck: not here; not here; the report is in a.json\n")
    monkeypatch.setitem(REPORTERS._items, "sarif", lambda made, style: 1 / 0)
    assert invoke("report", "r.json", "-o", "a.sarif", "-o", "a.json", "--format", "github").exit_code == 3


def test_the_names_of_files_are_shown_and_not_obeyed():
    result = invoke("report", "r.json", "-o", "\x1b[31mred.json")
    assert (result.exit_code, result.stderr) == (0, "the report is in \\x1b[31mred.json\n")


def test_a_report_may_be_written_over_itself():
    result = invoke("report", "r.json", "--output", "r.json")
    assert result.exit_code == 0
    assert json.loads(Path("r.json").read_text())["verdict"] == "fail"


@pytest.mark.skipif(sys.platform == "win32", reason="the modes of folders are others there")
@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only_is_one_line(tmp_path):
    Path("closed").mkdir(mode=0o500)
    result = invoke("report", "r.json", "--output", "closed/a.md")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


@pytest.mark.parametrize("name", sorted(REPORTS))
def test_every_report_comes_back(name):
    Path("one.json").write_text(REPORTERS.get("json")(REPORTS[name], Style()))
    assert to_json(stored.stored(Path("one.json"))) == to_json(REPORTS[name])


# ------------------------------------------------------------------------------------------- reports changed by hand


def changed_reports():
    """Return stored reports of which one list, object, text or number is emptied, cut or out of all bounds."""
    whole = to_json(report(located()))

    def places(data, place=()):
        yield place
        items = data.items() if isinstance(data, dict) else enumerate(data[:2]) if isinstance(data, list) else ()
        for key, value in items:
            yield from places(value, (*place, key))

    for place in list(places(whole))[1:]:
        data = json.loads(json.dumps(whole))
        at = data
        for step in place[:-1]:
            at = at[step]
        old = at[place[-1]]
        for new in ([], {}, "", None, -1, 10**30, "NaN", [-1], *([old[:1]] if isinstance(old, list) else [])):
            at[place[-1]] = new
            try:
                yield report_from_json(data)
            except UsageError:  # refused, which is the other thing that may happen
                continue
        at[place[-1]] = old


@pytest.fixture(scope="module")
def changed():
    """Return those that are let through, each once."""
    kept = {}
    for made in changed_reports():
        try:
            kept.setdefault(repr((made.targets, made.versions, made.seed)), stored._sound(made))
        except UsageError:  # what is refused is not kept; enough has to be
            continue
    assert len(kept) > 100
    return list(kept.values())


@pytest.mark.parametrize("form", sorted(set(REPORTERS.names()) - {"html", "rich"}))
def test_a_report_changed_by_hand_is_shown_or_refused(changed, form):
    for made in changed:
        assert isinstance(REPORTERS.get(form)(made, Style(verbose=True)), str)
