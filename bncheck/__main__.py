"""Make ``python -m bncheck`` the same as ``bncheck``."""

from __future__ import annotations

from bncheck.cli import cli


def main() -> None:
    """Run the command line; exit with its code."""
    cli(prog_name="bncheck")


if __name__ == "__main__":
    main()
