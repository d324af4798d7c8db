"""The journal of a sweep: what was run is not run again, and what is damaged is not believed."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from io import FileIO
from pathlib import Path
from zlib import crc32

import pytest

from bncheck import pipeline, sweep
from bncheck.errors import UsageError
from bncheck.executors.in_process import InProcess
from bncheck.executors.isolated import Isolated
from bncheck.journal import Journal, sum_of
from bncheck.model import Declared, TargetSpec
from bncheck.report import Verdict
from bncheck.reporters.parts import of_journal
from bncheck.settings import Settings

RIGHT = Path(__file__).parent.parent / "fixtures" / "correct" / "cs231n_staged.py"
SETTINGS = Settings(cases=20, select=("BN1", "BN503"))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "bn.py"
    path.write_text(RIGHT.read_text())
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.jsonl"


def run(source, path, settings=SETTINGS, *, resume=False, show=None):
    """Verify with a journal; return the report and how many cases were run, not read."""
    place = Counting()
    with Journal(path, settings, resume) as journal:
        (report,) = pipeline.run([TargetSpec(str(source))], settings, show, place, journal).targets
    return report, place.ran


class Counting(InProcess):
    """Performs tasks here, and counts the cases."""

    def __init__(self):
        self.ran = 0

    def run(self, task, hear):
        self.ran += len(task.cases) if task.kind == "sweep" else 0
        super().run(task, hear)


def stop_at(case):
    def show(progress):
        if progress.done == case:
            raise KeyboardInterrupt

    return show


def line(record):
    text = json.dumps(record).encode()
    return b'["%08x",%s]\n' % (crc32(text), text)


def test_every_line_is_json_with_its_checksum(source, path):
    run(source, path)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 2 + SETTINGS.cases
    for whole in lines:
        check, record = json.loads(whole)
        assert int(check, 16) == crc32(whole[12:-2])
        assert record


def test_what_was_run_is_not_run_again(source, path):
    whole, _ = run(source, path.with_name("other"), SETTINGS)
    partial, _ = run(source, path, show=stop_at(8))
    assert (partial.verdict, partial.cases) == (Verdict.INTERRUPTED, 8)
    again, ran = run(source, path, resume=True)
    assert (again.verdict, again.cases, ran) == (Verdict.PASS, 20, 12)
    assert again.digest == whole.digest
    assert again.findings == whole.findings
    assert run(source, path, resume=True)[1] == 0


def test_more_cases_are_those_before_and_some_behind(source, path):
    run(source, path)
    longer, ran = run(source, path, replace(SETTINGS, cases=30), resume=True)
    assert (longer.cases, ran) == (30, 10)
    shorter, ran = run(source, path, replace(SETTINGS, cases=5), resume=True)
    assert (shorter.cases, ran) == (5, 0)
    assert longer.digest == run(source, path.with_name("o"), replace(SETTINGS, cases=30))[0].digest


def test_a_journal_is_not_written_over(source, path):
    run(source, path)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="is there already: --resume goes on behind it"):
        run(source, path)
    assert path.read_bytes() == before


def test_resuming_nothing_begins(source, path):
    assert run(source, path, resume=True)[1] == 20


@pytest.mark.parametrize("cut", [1, 2, 40, 200])
def test_a_torn_last_line_is_run_again(source, path, cut):
    whole, _ = run(source, path)
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - cut)
    with Journal(path, SETTINGS, True) as journal:
        assert journal.torn
    again, ran = run(source, path, resume=True)
    assert (again.digest, ran) == (whole.digest, 1)


def test_a_journal_torn_in_its_first_line_begins_anew(source, path):
    run(source, path)
    path.write_bytes(path.read_bytes()[:50])
    assert run(source, path, resume=True)[1] == 20


@pytest.mark.parametrize(
    "spoil",
    [
        lambda lines: [*lines[:5], lines[5].replace(b'"p"', b'"f"', 1), *lines[6:]],
        lambda lines: [*lines[:5], b"\n", *lines[5:]],
        lambda lines: [*lines[:5], lines[5][:-9] + b"\n", *lines[6:]],
        lambda lines: [*lines[:5], b"x" * (1 << 21) + b"\n", *lines[5:]],
    ],
    ids=["changed", "empty", "cut", "endless"],
)
def test_a_damaged_line_is_refused_by_its_number(source, path, spoil):
    run(source, path)
    path.write_bytes(b"".join(spoil(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(UsageError, match=r"run\.jsonl, line 6: this is no line of a journal, or it is damaged"):
        run(source, path, resume=True)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (replace(SETTINGS, seed=1), "it was begun with seed 0, and this is 1"),
        (replace(SETTINGS, dtype="float32"), "it was begun with dtype 'float64', and this is 'float32'"),
        (replace(SETTINGS, select=("BN1",)), "it was begun with select"),
        (replace(SETTINGS, timeout=7.0), "it was begun with timeout 20.0, and this is 7.0"),
        (replace(SETTINGS, memory=8.0), "it was begun with memory None, and this is 8.0"),
    ],
)
def test_other_settings_are_refused(source, path, settings, said):
    run(source, path)
    with pytest.raises(UsageError, match=said):
        run(source, path, settings, resume=True)


def test_what_changes_no_result_may_be_other(source, path):
    run(source, path)
    free = replace(SETTINGS, jobs=2, strict=True, max_time=99.0)
    assert run(source, path, free, resume=True)[1] == 0


def test_other_code_is_refused(source, path):
    run(source, path)
    source.write_text(source.read_text() + "\n# mended\n")
    with pytest.raises(UsageError, match=r"bn\.py::batchnorm_forward has changed since .*run\.jsonl was begun"):
        run(source, path, resume=True)


@pytest.mark.parametrize(
    "record", [5, [1, 2], {"bncheck": "0.0.1", "settings": {}}, {"bncheck": "0.1.0"}, {"target": "a"}], ids=repr
)
def test_what_is_no_journal_of_this_bncheck_is_refused(source, path, record):
    path.write_bytes(line(record) + line({}))
    with pytest.raises(UsageError, match="cannot be resumed"):
        run(source, path, resume=True)


def test_results_made_by_hand_are_refused(source, path):
    run(source, path)
    path.write_bytes(path.read_bytes() + line(["v1:plain:seed=0,n=4,c=3", 1, [["BN101", "p", 5]]]))
    with pytest.raises(UsageError, match="no result of a case"):
        run(source, path, replace(SETTINGS, cases=30), resume=True)


def test_results_of_other_cases_are_refused(source, path):
    run(source, path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    cases = [json.loads(whole)[1][0] for whole in lines[2:]]
    said = rf"run\.jsonl, line 3 is case {cases[1]}, expected {cases[0]}: a line is missing or doubled"
    with pytest.raises(UsageError, match=said):
        run(source, path, resume=True)


def doubled(lines):
    return [*lines[:9], lines[8], *lines[9:]]


@pytest.mark.parametrize(
    ("spoil", "number"),
    [
        (doubled, 10),
        (lambda lines: [*lines[:9], *lines[10:]], 10),
        (lambda lines: [*lines[:5], b"\n", *lines[5:]], 6),
        (lambda lines: [lines[0], b"\n", *lines[1:]], 2),
    ],
    ids=["doubled", "missing", "damaged", "damaged at once"],
)
def test_the_way_out_of_a_damaged_journal_that_is_told_leads_out(source, path, spoil, number):
    whole, _ = run(source, path)
    path.write_bytes(b"".join(spoil(path.read_bytes().splitlines(keepends=True))))
    with pytest.raises(UsageError, match=rf"line {number}\b") as refused:
        run(source, path, resume=True)
    told = re.search(r"What is before it can be kept: (head -n .*) > GOOD\.jsonl, and resume", str(refused.value))
    path.with_name("GOOD.jsonl").write_bytes(subprocess.run(told[1], shell=True, capture_output=True).stdout)
    again, ran = run(source, path.with_name("GOOD.jsonl"), resume=True)
    assert (again.digest, ran) == (whole.digest, SETTINGS.cases - max(0, number - 3))


def test_a_last_line_that_is_whole_and_wrong_is_run_again(source, path):
    whole, _ = run(source, path)
    *lines, last = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines, last.replace(b'"p"', b'"f"', 1)]))
    again, ran = run(source, path, resume=True)
    assert (again.digest, ran) == (whole.digest, 1)


@pytest.mark.parametrize("jobs", [0, 1, 2])
def test_a_report_and_its_journal_have_the_same_cases_when_time_is_over(source, path, jobs):
    settings = replace(SETTINGS, cases=100_000, max_time=1.5)
    with Journal(path, settings, False) as journal:
        place = Isolated(20.0, jobs) if jobs else InProcess()
        (report,) = pipeline.run([TargetSpec(str(source))], settings, None, place, journal).targets
    assert report.stopped == "--max-time 1.5 was over"
    assert 0 < report.cases == lines_of(path) - 2


def test_a_report_tells_what_was_read_from_its_journal_and_how_to_go_on(source, path):
    partial, _ = run(source, path, show=stop_at(8))
    assert (partial.journal, partial.resumed) == (str(path), 0)
    assert of_journal(partial) == f"The same command with --resume goes on where {path} ends."
    again, _ = run(source, path, resume=True)
    assert again.resumed == 8
    assert of_journal(again) == f"8 of 20 cases were read from {path}."


def test_a_sweep_whose_file_was_changed_is_not_to_be_resumed(monkeypatch, source, path):
    monkeypatch.setattr(sweep, "PART", 10)

    def save(progress):
        if progress.done == 5:
            source.write_text(RIGHT.read_text() + "\n# mended\n")

    report, _ = run(source, path, show=save)
    assert (report.verdict, report.cases) == (Verdict.INTERRUPTED, 10)
    assert of_journal(report) == ""


def test_progress_tells_what_was_read(source, path):
    run(source, path, show=stop_at(8))
    seen = []
    run(source, path, resume=True, show=lambda progress: seen.append((progress.done, progress.read)))
    assert seen == [(n, min(n, 8)) for n in range(1, 21)]


def test_a_target_that_a_journal_does_not_know_is_said_to_begin(source, path, capsys):
    other = source.with_name("other.py")
    other.write_text(RIGHT.read_text())
    run(source, path)
    run(source, path, resume=True)
    assert capsys.readouterr().err == ""
    run(other, path, resume=True)
    told = f"bncheck: {path} has no cases of other.py::batchnorm_forward; they begin here\n"
    assert capsys.readouterr().err == told
    run(other, path, resume=True)
    assert capsys.readouterr().err == ""


def test_two_runs_do_not_write_one_journal(path):
    with Journal(path, SETTINGS, False), pytest.raises(UsageError, match="another bncheck is writing"):
        Journal(path, SETTINGS, True)


@pytest.mark.parametrize("place", ["missing/run.jsonl", ".", "/dev/full"])
def test_places_that_no_journal_can_have(tmp_path, place):
    with pytest.raises(UsageError, match=place.rpartition("/")[2] if "/" in place else str(tmp_path)):
        Journal(tmp_path / place, SETTINGS, False)


def test_a_full_disk_ends_the_sweep_with_what_is_known(source, path):
    with Journal(path, SETTINGS, False) as journal:

        def fill(progress):
            if progress.done == 6:
                journal._file.close()
                journal._file = FileIO("/dev/full", "a")

        (report,) = pipeline.run([TargetSpec(str(source))], SETTINGS, fill, InProcess(), journal).targets
    assert (report.verdict, report.cases) == (Verdict.INTERRUPTED, 6)
    assert lines_of(path) == 2 + 6
    assert report.stopped == f"the journal {path}: No space left on device"
    assert run(source, path, resume=True)[0].cases == 20


def test_several_targets_share_a_journal(source, path):
    other = source.with_name("other.py")
    other.write_text(RIGHT.read_text())
    specs = [TargetSpec(str(source)), TargetSpec(str(other))]
    with Journal(path, SETTINGS, False) as journal:
        first = pipeline.run(specs, SETTINGS, None, InProcess(), journal)
    place = Counting()
    with Journal(path, SETTINGS, True) as journal:
        second = pipeline.run(specs, SETTINGS, None, place, journal)
    assert place.ran == 0
    assert [t.digest for t in first.targets] == [t.digest for t in second.targets]


def test_files_of_one_name_in_two_folders_are_two(source, path):
    other = source.parent / "other" / "bn.py"
    other.parent.mkdir()
    other.write_text(RIGHT.read_text() + "\n# another\n")
    specs = [TargetSpec(str(source)), TargetSpec(str(other))]
    for resume, ran in ((False, 40), (True, 0)):
        place = Counting()
        with Journal(path, SETTINGS, resume) as journal:
            assert pipeline.run(specs, SETTINGS, None, place, journal).verdict is Verdict.PASS
        assert place.ran == ran


def test_an_interrupt_in_the_middle_of_writing_leaves_no_gap(source, path):
    """What other processes have further on is told after an interrupt, and must not be written behind a hole."""
    settings = replace(SETTINGS, cases=400)
    with Journal(path, settings, False) as journal:
        add = journal.add

        def interrupted(result, text):
            if lines_of(path) == 62:
                time.sleep(1.0)  # the other process goes on
                raise KeyboardInterrupt
            add(result)

        journal.add = interrupted
        (partial,) = pipeline.run([TargetSpec(str(source))], settings, None, Isolated(20.0, 2), journal).targets
    assert (partial.verdict, partial.cases, lines_of(path)) == (Verdict.INTERRUPTED, 60, 62)
    assert run(source, path, settings, resume=True)[1] == 340


def test_a_disk_that_is_full_as_the_second_target_begins(source, path):
    other = source.with_name("other.py")
    other.write_text(RIGHT.read_text())
    with Journal(path, SETTINGS, False) as journal:

        def fill(progress):
            if progress.done == SETTINGS.cases:
                journal._file.close()
                journal._file = FileIO("/dev/full", "a")

        specs = [TargetSpec(str(source)), TargetSpec(str(other))]
        first, second = pipeline.run(specs, SETTINGS, fill, InProcess(), journal).targets
    assert (first.verdict, second.verdict) == (Verdict.PASS, Verdict.INTERRUPTED)
    assert second.stopped.endswith("No space left on device")


def test_an_adapter_file_belongs_to_the_code(source, tmp_path):
    adapter = tmp_path / "adapter.py"
    adapter.write_text("# one")
    spec = TargetSpec(str(source), declared=Declared(adapter_file=str(adapter)))
    before = sum_of(spec)
    assert before != sum_of(TargetSpec(str(source)))
    adapter.write_text("# two")
    assert sum_of(spec) != before


def command(source, path, *arguments, **options):
    line = [sys.executable, "-m", "bncheck", "verify", str(source), "--journal", str(path), "-q", *arguments]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def lines_of(path):
    return path.read_bytes().count(b"\n") if path.exists() else 0


def test_a_run_that_is_killed_goes_on_where_it_was(source, path):
    whole, _ = run(source, path.with_name("o"), replace(SETTINGS, cases=900, select=("BN101",)))
    wanted = ("--cases", "900", "--select", "BN101", "--format", "json")
    with command(source, path, *wanted) as first:
        while lines_of(path) < 300:
            assert first.poll() is None
            time.sleep(0.01)
        first.send_signal(signal.SIGKILL)
    assert 300 <= lines_of(path) < 902
    with command(source, path, *wanted, "--resume") as second:
        out, err = second.communicate()
    assert second.returncode == 0, err
    (target,) = json.loads(out)["targets"]
    assert (target["cases"], target["digest"]) == (900, whole.digest)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_a_whole_journal(source, path, number):
    with command(source, path, "--cases", "100000", "--select", "BN101", "--jobs", "2") as process:
        while lines_of(path) < 200:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(number)
        out, _ = process.communicate()
    assert process.returncode == 130
    count = lines_of(path) - 2
    assert re.search(rf"^INTERRUPTED bn\.py::batchnorm_forward: .* on {count:,} cases", out)
    settings = Settings(cases=count + 50, select=("BN101",))
    report, ran = run(source, path, settings, resume=True)
    assert ran == 50
    assert report.digest == run(source, path.with_name("o"), settings)[0].digest


def test_an_interrupted_run_with_a_file_for_its_report_says_how_to_go_on(source, path):
    line = [sys.executable, "-m", "bncheck", "verify", str(source), "--journal", str(path), "--cases", "100000"]
    line += ["--select", "BN101", "-o", str(path.with_name("r.json"))]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while lines_of(path) < 50:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err.splitlines()[-1] == f"bncheck: the same command with --resume goes on where {path} ends"


def test_no_room_for_the_journal_is_said_in_the_report(source, path):
    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))

    # Bytecode of the package, written under this limit, would be torn, and stay.
    whole = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    with command(source, path, "--cases", "500", preexec_fn=small_files, env=whole) as process:
        out, err = process.communicate()
    assert process.returncode == 130, err
    assert "INTERRUPTED" in out
    assert os.path.getsize(path) <= 30_000
    with command(source, path, "--cases", "60", "--resume") as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    assert err == f"bncheck: the last line of {path} was torn or damaged; its case is run again\n"


def test_resume_wants_a_journal(source):
    line = [sys.executable, "-m", "bncheck", "verify", str(source), "--resume"]
    done = subprocess.run(line, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "bncheck: --resume goes on behind a journal: say which one, --journal FILE\n"
