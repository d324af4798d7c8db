"""Make ``python -m bncheck`` the same as ``bncheck``."""

from __future__ import annotations

import os
import signal

TYPE_CHECKING = False  # that of typing: nothing is loaded before Ctrl-C is heeded
if TYPE_CHECKING:
    from types import FrameType
    from typing import NoReturn


def main() -> None:
    """Run the command line; exit with its code."""
    # While modules are loaded there is nothing to report, and a traceback of theirs tells nobody anything.
    is_heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_heeded:
        signal.signal(signal.SIGINT, _leave)
    from bncheck.cli import cli

    if is_heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Being asked to stop is like Ctrl-C: workers end, and what is known so far is reported.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # So is a terminal that is closed, where the platform tells; nohup asks to go on.
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:
        signal.signal(hangup, signal.default_int_handler)
    cli(prog_name="bncheck")


# As bncheck.cli has it, which is not loaded yet.
_INTERRUPTED = 130


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    """End at once, with what is said of any interruption."""
    os.write(2, b"bncheck: interrupted\n")
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    main()
