"""What stands in for sys.stdout while user code runs."""

import io
import logging
import sys

import pytest

from bncheck import guard
from bncheck.guard import Printed, printing_counted


def wrapped_again():
    out = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8", write_through=True)
    out.write("four")


def detached():
    sys.stdout.detach().write(b"four")


@pytest.mark.parametrize(
    ("act", "said", "count"),
    [
        (lambda: print("ähm"), "ähm\n", 4),
        (lambda: print("out", file=sys.stderr, flush=True), "out\n", 4),
        (lambda: sys.stdout.writelines(["a", "b"]), "ab", 2),
        (lambda: sys.stdout.buffer.write("ä".encode()), "ä", 2),
        (lambda: sys.stdout.buffer.write(memoryview(b"abcd")[1:3]), "bc", 2),
        (lambda: sys.stdout.buffer.write(b"\xff"), "\ufffd", 1),
        (lambda: sys.stdout.reconfigure(encoding="utf-8", line_buffering=True), "", 0),
        (lambda: logging.StreamHandler(sys.stderr).emit(logging.makeLogRecord({"msg": "log"})), "log\n", 4),
        (wrapped_again, "four", 4),
        (detached, "four", 4),
    ],
)
def test_what_user_code_does_to_its_streams_works_and_is_counted(act, said, count):
    with printing_counted() as printed:
        act()
        # Whatever was done to the stream, printing goes on.
        print("!", end="")
    assert (printed.beginning, printed.characters) == (said + "!", count + 1)


def test_it_is_a_stream_without_a_file():
    printed = Printed()
    assert (printed.isatty(), printed.writable(), printed.readable(), printed.seekable()) == (False, True, False, False)
    assert printed.encoding == "utf-8"
    assert isinstance(printed.name, str)
    with pytest.raises(io.UnsupportedOperation):
        printed.fileno()
    with pytest.raises(io.UnsupportedOperation):
        printed.buffer.fileno()


@pytest.mark.parametrize("write", [lambda p: p.write(b"bytes"), lambda p: p.write(3), lambda p: p.buffer.write("text")])
def test_what_no_stream_takes_is_a_type_error(write):
    with pytest.raises(TypeError):
        write(Printed())


def test_only_the_beginning_is_kept():
    printed = Printed()
    for _ in range(100):
        assert printed.write("x" * 1000) == 1000
        assert printed.buffer.write(b"y" * 1000) == 1000
    assert printed.characters == 200_000
    assert printed.beginning == "x" * 1000 + "y" * 1000


@pytest.mark.parametrize(("inner", "place"), [("torch", "my_bn.py:1"), ("my_library", "deep.py:1")])
def test_a_line_of_a_framework_is_not_the_place_that_is_named(tmp_path, inner, place):
    deep = tmp_path / "site-packages" / inner / "deep.py"
    scope = {}
    exec(compile("def fails(): raise ValueError('deep down')", str(deep), "exec"), scope)
    exec(compile("def calls(): fails()", str(tmp_path / "my_bn.py"), "exec"), scope)
    with pytest.raises(ValueError, match="deep down") as caught:
        scope["calls"]()
    assert guard.where(caught.value) == place
    with pytest.raises(ValueError, match="deep down") as caught:
        scope["fails"]()
    assert guard.where(caught.value.with_traceback(caught.tb.tb_next)) == "deep.py:1"  # there is no other line
