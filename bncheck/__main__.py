"""Make ``python -m bncheck`` the same as ``bncheck``."""

from __future__ import annotations

import signal

from bncheck.cli import cli


def main() -> None:
    """Run the command line; exit with its code."""
    # Being asked to stop is like Ctrl-C: workers end, and what is known so far is reported.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    # So is a terminal that is closed, where the platform tells; nohup asks to go on.
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is signal.SIG_DFL:
        signal.signal(hangup, signal.default_int_handler)
    cli(prog_name="bncheck")


if __name__ == "__main__":
    main()
