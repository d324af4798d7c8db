"""Journals of sweeps: whatever a file holds is gone on with, or refused in one line, and never mended by guessing."""

import json
import tempfile
from functools import cache
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spoiling import TEXTS, encoded, spoiled_bytes, spoiled_data, times

from bncheck.errors import UsageError
from bncheck.journal import Journal
from bncheck.model import CaseResult, Judgement, Outcome, TargetSpec
from bncheck.settings import Settings

# Of a failure, which may be large.
pytestmark = pytest.mark.filterwarnings("ignore:Generating overly large repr")

SETTINGS, SPEC, TARGET = Settings(), TargetSpec("nowhere.module:bn"), "nowhere.module:bn"
OFF = Judgement(Outcome.FAIL, "off", "dx", 1.0, float("inf"), (0, 1), 0.5, float("nan"), True)
RESULTS = tuple(
    CaseResult(f"v1:plain:seed={seed},n=2,c=1", {"BN101": Judgement(Outcome.PASS), "BN201": OFF}, 7)
    for seed in range(3)
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "a.jsonl"


@cache
def contents():
    """Return the bytes of a journal."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        with Journal(path, SETTINGS, resume=False) as journal:
            journal.begin(TARGET, SPEC)
            for result in RESULTS:
                journal.add(result)
        return (path.read_bytes(),)


@cache
def records():
    return ([json.loads(line)[1] for line in contents()[0].splitlines()],)


def results_or_refused(file, content):
    """Go on with a journal of these bytes; return the results that are in it, or None if it is refused."""
    file.write_bytes(content)
    try:
        with Journal(file, SETTINGS, resume=True) as journal:
            return [result for _, result in journal.results(TARGET, SPEC)]
    except UsageError as error:
        said = str(error)
    assert 0 < len(said) < 400 + len(str(file))
    return None


def test_what_is_spoiled_is_right_to_begin_with(file):
    assert repr(results_or_refused(file, contents()[0])) == repr(list(RESULTS))


@times(3)
@given(spoiled_bytes(contents))
def test_spoiled_bytes_are_no_results(file, content):
    found = results_or_refused(file, content)
    assert found is None or set(map(repr, found)) <= set(map(repr, RESULTS))


@times(3)
@given(spoiled_data(records), st.sampled_from(["", "\n", "[", "[" * 20_000]))
def test_spoiled_records_with_their_right_sums_are_taken_or_refused(file, records, behind):
    texts = [json.dumps(record) for record in records] if isinstance(records, list) else [json.dumps(records)]
    lines = [b'["%08x",%s]\n' % (crc32(text.encode()), text.encode()) for text in [*texts, behind]]
    found = results_or_refused(file, b"".join(lines))
    assert all(isinstance(result, CaseResult) for result in found or ())


@times(2)
@given(st.binary() | TEXTS.map(encoded))
def test_any_bytes_are_no_results(file, content):
    assert not results_or_refused(file, content)
