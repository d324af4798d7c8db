"""How the lines of a child process are read."""

import os
import queue
import threading

import pytest

from bncheck.executors.child import _CHUNK, Child


def read(stream):
    """Return a child that has no process, and reads a pipe's end until it ends."""
    child = Child.__new__(Child)
    child._read, child._lines = queue.SimpleQueue(), []
    child._read_events(stream)
    return child


def lines_of(written):
    ours, theirs = os.pipe()

    def write():
        with os.fdopen(theirs, "wb") as stream:
            stream.write(written)

    writer = threading.Thread(target=write)  # more than a pipe holds
    writer.start()
    with os.fdopen(ours, "rb") as stream:
        child = read(stream)
    writer.join()
    found = []
    while (line := child.next(1.0)) is not None:
        found.append(line)
    return found


@pytest.mark.parametrize("long", [1, _CHUNK - 1, _CHUNK, 3 * _CHUNK])
def test_lines_come_in_their_order_whatever_their_length(long):
    lines = [b"a\n", b"x" * long + b"\n", b"\n", b"b\n"]
    assert lines_of(b"".join(lines)) == lines


def test_a_line_that_was_torn_is_none():
    assert lines_of(b"a\nb\ntor") == [b"a\n", b"b\n"]
    assert lines_of(b"") == []


def test_a_pipe_that_is_closed_here_ends_the_reader():
    ours, theirs = os.pipe()
    stream = os.fdopen(ours, "rb")
    stream.close()
    assert read(stream).next(1.0) is None
    os.close(theirs)
