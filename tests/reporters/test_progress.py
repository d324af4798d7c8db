"""The line that tells how far a run is: on any width the failures, the numbers and the time that is left."""

import io
import re

import pytest
from rich.console import Console

from bncheck.report import Progress
from bncheck.reporters import progress


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "cp437", "ascii"])
def test_failures_are_seen_and_no_line_is_wider_than_the_screen(width, encoding, monkeypatch):
    raw = io.BytesIO()
    screen = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace", write_through=True)
    made = Console(file=screen, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    monkeypatch.setattr("rich.console.Console", lambda **_: made)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with progress.on_terminal(quiet=False) as show:
        for done in (1, 700, 1379):
            show(Progress("a_rather_long_file_name.py::BatchNormalization", done, 2000, 379))
    drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", raw.getvalue().decode(encoding))
    lines = [line for line in re.split(r"[\r\n]", drawn) if "1379/2000" in line]
    assert lines
    assert all(len(line.rstrip()) <= width for line in lines)
    assert "379 failing" in lines[-1]
