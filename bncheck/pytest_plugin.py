"""The pytest plugin: targets as test items, and the fixture ``bncheck`` for tests written by hand.

Loading it costs a project that does not use it nothing: all that needs more than pytest is in
:mod:`bncheck.pytest_items`, which is imported once there is something to verify.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

# The reports that a test got from the fixture; shown where it fails.
GIVEN = pytest.StashKey[list[Any]]()
# Anything that is longer than this is no pyproject.toml.
_LARGEST = 1_000_000


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options: what to verify beside what the settings name, and where to report it."""
    group = parser.getgroup("bncheck", "bncheck (Batch Normalization)")
    group.addoption(
        "--bncheck",
        action="append",
        default=[],
        dest="bncheck_targets",
        metavar="TARGET",
        help="Verify this too: file.py, file.py::name or package.module:name. May be given several times.",
    )
    group.addoption(
        "--bncheck-report",
        action="append",
        default=[],
        dest="bncheck_report",
        metavar="FILE",
        help="Write bncheck's report of all targets there, in the format that the name ends in (text: .txt).",
    )
    group.addoption(
        "--bncheck-format",
        action="append",
        default=[],
        dest="bncheck_format",
        metavar="NAME",
        help="Format of that report, as 'bncheck verify --format' has it. Both may be given several times.",
    )
    parser.addini("bncheck_targets", "Targets to verify, one per line: see --bncheck.", type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and the part that does the work if there is work."""
    config.addinivalue_line("markers", "bncheck: one check of bncheck on one Batch Normalization.")
    asked = config.getoption("bncheck_targets") or config.getini("bncheck_targets")
    # As the command line does, and for whoever runs pytest from outside of the project.
    folders = [folder for folder in (config.invocation_params.dir, config.rootpath) if _mentioned(folder)]
    if asked or config.getoption("bncheck_report") or folders:
        from bncheck.pytest_items import Items

        folder = folders[0] if folders else config.rootpath
        config.pluginmanager.register(Items(config, folder, GIVEN), "bncheck-items")


def _mentioned(folder: Path) -> bool:
    """Tell whether the nearest pyproject.toml speaks of bncheck."""
    for place in (folder, *folder.parents):
        path = place / "pyproject.toml"
        if path.is_file():
            with path.open("rb") as file:
                return b"bncheck" in file.read(_LARGEST)
    return False


@pytest.fixture
def bncheck(request: pytest.FixtureRequest) -> Any:
    """Return the package, whose ``verify`` shows its report where a test fails: ``assert bncheck.verify(layer)``."""
    from bncheck.pytest_items import Package

    return Package(request.node.stash.setdefault(GIVEN, []), request.config)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the fixture reported beside the failure of the test."""
    told = yield
    if told.failed and item.stash.get(GIVEN, None):
        from bncheck.pytest_nodes import in_full

        told.sections += [("bncheck", in_full(report, item.config)) for report in item.stash[GIVEN] if not report]
    return told
