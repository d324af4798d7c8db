"""Targets as test items: one per target and check. Imported only where there are targets, or the fixture is used."""

from __future__ import annotations

import json
import os
import textwrap
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bncheck
from bncheck.checks.catalogue import named
from bncheck.codec import decode, encode
from bncheck.errors import UsageError
from bncheck.executors.isolated import Isolated
from bncheck.job import Job
from bncheck.model import Expected, TargetSpec
from bncheck.pipeline import put_together
from bncheck.pytest_nodes import CheckItem, ModuleSource, Source, bug_in_words
from bncheck.report import Report, TargetReport, Verdict
from bncheck.reporters.destination import width
from bncheck.reporters.outputs import STANDARD_OUTPUT, Output, outputs, writing
from bncheck.reporters.short import in_one_line
from bncheck.reporters.wording import clean, conventions_in_words, count, verdict_in_words
from bncheck.settings import Settings, is_file, misfits, read_pyproject


class Items:
    """The plugin of one session: what is to be verified, and what came of it.

    Parameters
    ----------
    config : pytest.Config
        pytest's configuration.
    folder : Path
        Where to look for pyproject.toml.
    given : pytest.StashKey
        Where a test by hand has its reports.

    Raises
    ------
    pytest.UsageError
        If the settings cannot be read; names the file and the key.

    """

    def __init__(self, config: pytest.Config, folder: Path, given: pytest.StashKey[list[Any]]) -> None:
        self.config, self._given = config, given
        self.reports: dict[str, TargetReport] = {}
        with _as_usage_error():
            self.settings = Settings(**read_pyproject(folder))
            self.outputs = _outputs(config)
            for expected in self.settings.expected:
                named(expected.check)
        asked = config.getoption("bncheck_targets")
        here, root = config.invocation_params.dir, config.rootpath
        beside = (config.inipath.parent if config.inipath else root, config.getini("bncheck_targets"))
        groups = [(Path.cwd(), self.settings.targets), beside, (here, asked)]
        self.targets = [_located(folder, target) for folder, targets in groups for target in targets]
        self.picked = self._picked()
        self.due = self._due([_located(here, target) for target in asked])
        self.collected: set[str] = set()
        # Of the targets that were found, all that each is called; none for a source that cannot be verified.
        self.names: list[tuple[str, ...]] = []
        self._places = ExitStack()
        self._place: Isolated | None = None
        self._files = ExitStack()
        self._write: Callable[[Report], None] | None = None
        self._unwritten = ""
        if self.outputs and not hasattr(config, "workerinput"):
            with _as_usage_error():  # at once, so that a wrong path costs no run
                self._write = self._files.enter_context(writing(self.outputs, verbose=False))

    def _due(self, asked: list[str]) -> list[str]:
        """Return the targets of this session: all, or with paths given those below them and those asked for."""
        config = self.config
        if hasattr(config, "workerinput"):
            due: list[str] = config.workerinput["bncheck_due"]
            self.picked = config.workerinput["bncheck_picked"]
            return due
        if config.args_source is not pytest.Config.ArgsSource.ARGS:
            return self.targets
        given = [Path(config.invocation_params.dir, arg.partition("::")[0]).resolve() for arg in config.args]

        def is_below(target: str) -> bool:
            # A module is where the settings are.
            path = _path_of(target) if is_file(target) else config.rootpath
            return any(path.is_relative_to(place) for place in given)

        due = [target for target in self.targets if target in asked or is_below(target)]
        self.picked = {target: ids for target, ids in self.picked.items() if target not in due}
        return [target for target in self.targets if target in due or target in self.picked]

    def _picked(self) -> dict[str, list[str]]:
        """Return the ids of nodes among the paths given that belong to no file, by target; pytest looks for the others.

        A module's ids begin with its name, and before it, as pytest writes them, the way from here to the root.
        """
        picked: dict[str, list[str]] = {}
        others = []
        for arg in self.config.args:
            place, sep, rest = arg.partition("::")
            path = Path(os.path.normpath(self.config.invocation_params.dir / place))
            root = self.config.rootpath
            name = path.relative_to(root).as_posix() if path.is_relative_to(root) else place
            found = [] if path.exists() else [t for t in self.targets if _is_within(name, t) or _is_within(t, name)]
            for target in found:
                picked.setdefault(target, []).append(f"{name}{sep}{rest}")
            others += [] if found else [arg]
        self.config.args = others
        return picked

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist, which is always given paths, what is to be verified."""
        node.workerinput |= {"bncheck_due": self.due, "bncheck_picked": self.picked}

    def specs_of(self, path: Path) -> list[TargetSpec]:
        """Return what is to be verified in a file."""
        return [self._spec(t) for t in self.targets if is_file(t) and _path_of(t) == path.resolve()]

    def _spec(self, target: str) -> TargetSpec:
        return TargetSpec(target, declared=self.settings.declared)

    def job(self, spec: TargetSpec, codes: Iterable[str] = ()) -> Job:
        """Return what discovers and verifies a source, with these checks."""
        if self._place is None:
            self._place = self._places.enter_context(Isolated(self.settings.timeout, self.settings.jobs or 1))
        return Job(spec, replace(self.settings, select=tuple(codes) or self.settings.select), self._place)

    # ------------------------------------------------------------------------------------------------------- collection

    @pytest.hookimpl(wrapper=True)
    def pytest_collect_file(
        self, file_path: Path, parent: pytest.Collector
    ) -> Generator[None, list[pytest.Collector], list[pytest.Collector]]:
        """Collect a target's file as targets; as a test module only if its name says that it is one."""
        found = yield
        specs = self.specs_of(file_path)
        if not specs:
            return found
        named_like_tests = any(file_path.match(pattern) for pattern in self.config.getini("python_files"))
        others = [it for it in found if named_like_tests or not isinstance(it, pytest.Module)]
        return [*others, Source.from_parent(parent, path=file_path, plugin=self, specs=specs)]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Add the targets that pytest has not come across: modules, and files elsewhere or not there at all."""
        for target in self.due:
            if target in self.collected:
                continue
            path = _path_of(target)
            if path.is_file():
                source: pytest.Collector = Source.from_parent(
                    session, path=path, plugin=self, specs=self.specs_of(path)
                )
            else:
                source = ModuleSource.from_parent(session, name=target, plugin=self, specs=[self._spec(target)])
            # As pytest itself goes through what it collects: it counts the items, too.
            added = list(session.genitems(source))
            for picked in self.picked.get(target, ()):
                if not any(_is_within(item.nodeid, picked) for item in added):
                    raise pytest.UsageError(f"not found: {picked}")
            items += [item for item in added if self._is_picked(item, target)]

    def _is_picked(self, item: pytest.Item, target: str) -> bool:
        picked = self.picked.get(target)
        return picked is None or any(_is_within(item.nodeid, place) for place in picked)

    # ---------------------------------------------------------------------------------------------------------- running

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Send a target's report with that of an item or a test: workers of xdist have no other way to tell."""
        told = yield
        if call.when == "call":
            news = item.target.news() if isinstance(item, CheckItem) else getattr(item, "report", None)
            news = news if isinstance(news, TargetReport) else None
            by_hand = [target for report in item.stash.get(self._given, []) for target in report.targets]
            # A test by hand may verify the same target in another way; several workers verify it in the same.
            told_by = {f"{item.nodeid} {i}": target for i, target in enumerate(by_hand)}
            told_by |= {} if news is None else {news.name: news}
            told.bncheck = json.dumps({key: encode(target) for key, target in told_by.items()})  # type: ignore[attr-defined]
        return told

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep what a target came to."""
        for key, data in json.loads(getattr(report, "bncheck", "{}")).items():
            self.reports.setdefault(key, decode(TargetReport, data))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """End the worker; write the report. What could not be written is told in the summary."""
        self._places.close()
        if self._write is None:
            return
        try:
            self._write(self.report())
        except (UsageError, RuntimeError) as error:
            self._unwritten = str(error)
            is_usage = isinstance(error, UsageError)
            session.exitstatus = pytest.ExitCode.USAGE_ERROR if is_usage else pytest.ExitCode.INTERNAL_ERROR

    def pytest_unconfigure(self) -> None:
        """Leave nothing behind of a report that was not written."""
        self._files.close()

    def report(self) -> Report:
        """Return the report of all targets, in the order in which they were named."""
        files = [target.partition("::")[0] for target in self.targets]

        def place(report: TargetReport) -> int:
            return next((i for i, file in enumerate(files) if report.name.startswith(file)), len(files))

        return put_together(sorted(self.reports.values(), key=place), self.settings)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say of each target what it comes to, and what is wrong first; and how it was called, if that may be why."""
        left_out = [target for target in self.targets if target not in self.due]
        if left_out and any(Path(self.config.invocation_params.dir, arg).is_dir() for arg in self.config.args):
            said = f"bncheck: {count(len(left_out), 'target')} left out, not below the paths given"
            terminalreporter.write_line(clean(f"{said}: {', '.join(left_out)}"), yellow=True)
        hints = list(self._hints())
        if not self.reports and not self._unwritten and not hints:
            return
        terminalreporter.section("bncheck")
        for hint in hints:
            terminalreporter.write_line(clean(hint), yellow=True)
        if self._unwritten:
            terminalreporter.write_line(f"ERROR: {clean(self._unwritten)}", red=True)
        colors = {Verdict.PASS: {"green": True}, Verdict.FAIL: {"red": True}}
        for target in self.report().targets:
            line = f"{verdict_in_words(target)} {target.name}: {in_one_line(target)}"
            terminalreporter.write_line(line, **colors.get(target.verdict, {"yellow": True}))
            for part in self._facts(target):
                terminalreporter.write_line(part)

    def _hints(self) -> Iterator[str]:
        """Yield what is to be set right in the settings, where all targets were found."""
        if set(self.targets) <= self.collected and all(self.names):
            yield from misfits(self.settings.expected, [name for names in self.names for name in names])

    def _facts(self, target: TargetReport) -> Iterator[str]:
        if target.findings:
            counts = Counter(finding.outcome.value for finding in target.findings)
            said = ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
            dtype = f" in {target.dtype}" if target.dtype not in ("", "float64") else ""
            yield f"  checks: {said}; {count(target.cases, 'case')}{dtype}"
        asked = target.verdict is not Verdict.PASS or self.config.option.verbose > 0
        if asked and target.conventions is not None:
            said = ", ".join(conventions_in_words(target.conventions))
            yield from textwrap.wrap(said, width(), initial_indent="  ", subsequent_indent="  ")
        for diagnosis in target.unexpected[:1]:
            yield f"  {bug_in_words(diagnosis)}"


def _outputs(config: pytest.Config) -> list[Output]:
    """Return where the report goes; raise UsageError for formats without a file, and for those that do not exist."""
    forms, paths = config.getoption("bncheck_format"), config.getoption("bncheck_report")
    if not paths and not forms:
        return []
    here = config.invocation_params.dir
    found = outputs(forms, [Path(path) if path == STANDARD_OUTPUT else Path(here, path) for path in paths])
    if any(output.path is None for output in found):
        raise UsageError("a report of bncheck needs a file of its own beside pytest's: --bncheck-report FILE")
    return found


def _located(folder: Path, target: str) -> str:
    """Return a target whose file has a path that can be found from here."""
    path, sep, name = target.partition("::")
    if not is_file(target):
        return target
    whole, here = Path(folder, path).resolve(), Path.cwd()
    return f"{whole.relative_to(here) if whole.is_relative_to(here) else whole}{sep}{name}"


def _is_within(name: str, place: str) -> bool:
    """Tell whether a name is that of a target or a node, or below it: in a module are things, and these have checks."""
    return f"{name}:".startswith(f"{place}:")


def _path_of(target: str) -> Path:
    return Path(target.partition("::")[0]).resolve()


class _as_usage_error:  # noqa: N801 - reads as the statement that it is
    """What bncheck says of a wrong setting, pytest says: without a traceback, and nothing is run."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: object) -> None:
        if isinstance(error, UsageError):
            raise pytest.UsageError(str(error)) from None


class Package:
    """The package bncheck as the fixture hands it out: it remembers the reports that it returns."""

    def __init__(self, given: list[Any], config: pytest.Config) -> None:
        self._given, self._config = given, config

    @property
    def expected(self) -> tuple[Expected, ...]:
        """The expected failures of pyproject.toml, for ``verify(..., expected=bncheck.expected)``."""
        items = self._config.pluginmanager.get_plugin("bncheck-items")
        return items.settings.expected if items is not None else ()

    def verify(self, *targets: Any, **options: Any) -> Report:
        """Verify as :func:`bncheck.verify` does."""
        __tracebackhide__ = True  # pytest shows the caller's line
        report: Report = bncheck.verify(*targets, **options)
        self._given.append(report)
        return report

    def __getattr__(self, name: str) -> Any:
        return getattr(bncheck, name)
