"""The isolated worker's side: reads tasks on its standard input, writes events on its standard output.

Before any user code runs, both are moved away: user code that reads standard input finds it empty, and what it prints
below Python, from C, goes to standard error, which the parent reads and bounds.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from bncheck.adapters import loading
from bncheck.driver import perform
from bncheck.executors.child import CALL
from bncheck.executors.wire import DONE, event_line, read_task
from bncheck.settings import Settings
from bncheck.tasks import Broken, Event

# The calls of a session, and of what stands behind it, by their names here, and what they are given.
_CALLS = {"forward": "x", "evaluate": "x", "backward": "dy", "added": "dy"}
_OWN = str(Path(__file__).resolve().parent.parent) + os.sep


def main() -> None:
    """Serve tasks until standard input ends."""
    tasks, events = _private_streams()
    loading.home = Path.cwd()
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    # A crash prints the Python line it happened on; so does the parent's SIGUSR1 before it stops a silent worker, and
    # then, if Python still runs, which call it is.
    faulthandler.enable(file=sys.__stderr__ or 2)
    if hasattr(faulthandler, "register"):
        signal.signal(signal.SIGUSR1, _say_call)
        faulthandler.register(signal.SIGUSR1, file=sys.__stderr__ or 2, chain=True)

    def tell(event: Event) -> None:
        try:
            events.write(event_line(event))
            events.flush()
        except OSError:
            # User code has closed the pipe, or the parent is gone: nothing can be told any more.
            os._exit(1)

    at_start = _address_space()
    for line in tasks:
        try:
            task = read_task(line)
            _limit_memory(task.settings, at_start)
            perform(task, tell)
        except Exception:  # a fault of bncheck itself: told, and the next task is done
            tell(Broken(traceback.format_exc()))
        events.write(DONE)
        events.flush()


def _say_call(number: int, frame: FrameType | None) -> None:
    """Write to standard error which call of user code is under way, and on what."""
    with contextlib.suppress(Exception):  # arrays of user code may raise when they are looked at
        while frame is not None:
            given = _CALLS.get(frame.f_code.co_name)
            if given in frame.f_locals and frame.f_code.co_filename.startswith(_OWN):
                shape = tuple(map(int, frame.f_locals[given].shape))
                stage = "forward" if given == "x" else "backward"
                os.write(2, f"\n{CALL} {stage} with {given} of shape {shape}\n".encode())
                return
            frame = frame.f_back


def _end_with_the_parent() -> None:
    """End this process when the parent does, even if user code never comes back."""
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _limit_memory(settings: Settings, at_start: int) -> None:
    """Let memory that user code asks for be refused before the machine has none left (macOS refuses nothing).

    The limit is on address space, on top of what the process had before the source was imported. A device's driver
    reserves more of that than there is memory: without a number of the user's there is no limit then.
    """
    if settings.memory is None and settings.device != "cpu":
        return
    try:
        import resource

        most = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = at_start + (most if settings.memory is None else int(settings.memory * 2**30))
        resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))
    except (ImportError, ValueError, OSError):  # Windows has no limits, and a system may refuse this one
        return


def _address_space() -> int:
    """Return the bytes of address space that this process has; 0 where the system does not tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    tasks, events = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    empty = os.open(os.devnull, os.O_RDONLY)
    os.dup2(empty, 0)
    os.close(empty)
    os.dup2(2, 1)
    return tasks, events
