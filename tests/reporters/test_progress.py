"""The line that tells how far a run is: on any width the failures, the numbers and the time that is left."""

import io
import re

import pytest
from rich.console import Console

from bncheck.report import Progress
from bncheck.reporters import progress

NAME = "a_rather_long_file_name.py::BatchNormalization"


@pytest.fixture
def drawn(monkeypatch):
    """Return a function that shows steps, each with the second at which it comes, and returns the lines drawn."""

    def draw(steps, width=80, encoding="utf-8"):
        raw, clock = io.BytesIO(), [0.0]
        screen = io.TextIOWrapper(raw, encoding=encoding, errors="backslashreplace", write_through=True)
        options = {"force_terminal": True, "color_system": None, "legacy_windows": False}
        made = Console(file=screen, width=width, get_time=lambda: clock[0], **options)
        monkeypatch.setattr("rich.console.Console", lambda **_: made)
        monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
        with progress.on_terminal(quiet=False) as show:
            for second, step in steps:
                clock[0] = second
                show(step)
        text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", raw.getvalue().decode(encoding))
        return re.split(r"[\r\n]", text)

    return draw


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "cp437", "ascii"])
def test_failures_are_seen_and_no_line_is_wider_than_the_screen(drawn, width, encoding):
    steps = [(done / 100, Progress(NAME, done, 2000, 379)) for done in (1, 700, 1379)]
    lines = [line for line in drawn(steps, width, encoding) if "1379/2000" in line]
    assert lines
    assert all(len(line.rstrip()) <= width for line in lines)
    assert "379 failing" in lines[-1]


def test_a_name_that_is_cut_shows_that_it_is(drawn):
    steps = [(done / 100, Progress(NAME, done, 2000, 0)) for done in (1, 700, 1379)]
    line = next(line for line in drawn(steps) if "1379/2000" in line).rstrip()
    assert line.endswith("…")
    assert NAME not in line


def test_cases_of_a_journal_are_no_speed(drawn):
    """1000 are read in a second, the others run at two a second: of the 990 that are left it takes 8 minutes."""
    read = [(done / 1000, Progress("bn.py", done, 2000, 0, done)) for done in range(1, 1001)]
    ran = [(1.0 + n / 2, Progress("bn.py", 1000 + n, 2000, 0, 1000)) for n in range(1, 11)]
    line = next(line for line in drawn([*read, *ran], 120) if "1010/2000" in line)
    assert "2 cases/s, left: 08:15" in line
