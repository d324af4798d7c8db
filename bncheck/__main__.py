"""Make ``python -m bncheck`` the same as ``bncheck``."""

from __future__ import annotations

import signal

from bncheck.cli import cli


def main() -> None:
    """Run the command line; exit with its code."""
    # Being asked to stop is like Ctrl-C: workers end, and what is known so far is reported.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cli(prog_name="bncheck")


if __name__ == "__main__":
    main()
