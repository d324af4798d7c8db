"""What a process may take: memory, and threads of numerical libraries."""

from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from bncheck import driver, pipeline
from bncheck.errors import UsageError
from bncheck.executors.in_process import InProcess
from bncheck.model import TargetSpec
from bncheck.pipeline import put_together
from bncheck.report import Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.settings import Settings
from bncheck.tasks import Task

RIGHT = Path(__file__).parent.parent.parent / "fixtures" / "correct" / "cs231n_staged.py"


@pytest.fixture
def hungry(tmp_path):
    """Code that asks for 4 GiB of address space, and touches none of it."""
    path = tmp_path / "bn.py"
    text = RIGHT.read_text()
    head = next(line for line in text.splitlines(True) if line.startswith("def "))
    path.write_text(text.replace(head, f"{head}    np.empty(2**29)\n", 1))
    return path


def test_more_memory_than_allowed_is_a_finding(hungry):
    (target,) = pipeline.run([TargetSpec(str(hungry))], Settings(cases=4, memory=1.0)).targets
    assert target.verdict is not Verdict.PASS
    assert "MemoryError" in target.error
    assert target.error.endswith("; --memory 1 (GiB) was the limit.")
    said = REPORTERS.get("plain")(put_together([target], Settings()), Style(200))
    assert "layout" not in target.error
    assert "An adapter of a few lines" not in said
    assert pipeline.run([TargetSpec(str(hungry))], Settings(cases=4, memory=16.0)).verdict is Verdict.PASS


@pytest.mark.parametrize("memory", [1.0, None])
def test_a_case_that_asks_for_more_memory_names_the_limit_if_one_was_given(tmp_path, memory):
    path = tmp_path / "bn.py"
    head = next(line for line in RIGHT.read_text().splitlines(True) if line.startswith("def "))
    inside = "    if len(x) == 63: np.empty(2**50)\n"
    path.write_text(RIGHT.read_text().replace(head, head + inside, 1))
    (target,) = pipeline.run([TargetSpec(str(path))], Settings(cases=60, memory=memory, select=("BN506",))).targets
    (found,) = target.findings
    assert "forward raised MemoryError" in found.message
    assert found.message.endswith("; --memory 1 (GiB) was the limit") is (memory is not None)


@pytest.mark.parametrize("memory", [0.0, 0.01, -1.0, 1e11, float("inf"), float("nan")])
def test_limits_that_make_no_sense_are_refused(memory):
    with pytest.raises(UsageError, match=r"memory must be between 0\.25 and 1048576 GiB"):
        Settings(memory=memory)


def test_one_thread_where_code_runs_in_this_process(monkeypatch):
    np.ones((2, 2)) @ np.ones((2, 2))  # its library is loaded
    seen = []
    monkeypatch.setattr(driver, "perform", lambda task, tell: seen.extend(threadpool_info()))
    InProcess().run(Task("discover", TargetSpec("bn.py"), Settings()), lambda event: None)
    assert seen
    assert {pool["num_threads"] for pool in seen} == {1}
