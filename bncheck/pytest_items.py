"""Targets as test items: one per target and check. Imported only where there are targets, or the fixture is used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

import bncheck
from bncheck.checks.catalogue import named, selected
from bncheck.codec import decode, encode
from bncheck.errors import BncheckError, UsageError
from bncheck.executors.isolated import Isolated, WorkerError
from bncheck.model import Outcome, TargetCard, TargetSpec
from bncheck.pipeline import Job, put_together
from bncheck.report import Diagnosis, Finding, Report, TargetReport, Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.destination import width
from bncheck.reporters.outputs import STANDARD_OUTPUT, Output, outputs, writing
from bncheck.reporters.parts import named as named_bugs
from bncheck.reporters.parts import narrowed
from bncheck.reporters.short import in_one_line
from bncheck.reporters.wording import clean, conventions_in_words, count, verdict_in_words
from bncheck.settings import Settings, is_file, read_pyproject


class BncheckWarning(UserWarning):
    """A check of bncheck that warns."""


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
        self.due = self._due([_located(here, target) for target in asked])
        self.collected: set[str] = set()
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
            return due
        if config.args_source is not pytest.Config.ArgsSource.ARGS:
            return self.targets
        given = [Path(config.invocation_params.dir, arg.partition("::")[0]).resolve() for arg in config.args]

        def is_below(target: str) -> bool:
            # A module is where the settings are.
            path = _path_of(target) if is_file(target) else config.rootpath
            return any(path.is_relative_to(place) for place in given)

        return [target for target in self.targets if target in asked or is_below(target)]

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell a worker of xdist, which is always given paths, what is to be verified."""
        node.workerinput["bncheck_due"] = self.due

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
            items += _items_of(source)

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
        """Say of each target what it comes to, how it was called, and what is wrong first."""
        if not self.reports and not self._unwritten:
            return
        terminalreporter.section("bncheck")
        if self._unwritten:
            terminalreporter.write_line(f"ERROR: {clean(self._unwritten)}", red=True)
        colors = {Verdict.PASS: {"green": True}, Verdict.FAIL: {"red": True}}
        for target in self.report().targets:
            line = f"{verdict_in_words(target)} {target.name}: {in_one_line(target)}"
            terminalreporter.write_line(line, **colors.get(target.verdict, {"yellow": True}))
            if target.findings:
                counts = Counter(finding.outcome.value for finding in target.findings)
                said = ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
                terminalreporter.write_line(f"  checks: {said}; {count(target.cases, 'case')}")
            if target.conventions is not None:
                terminalreporter.write_line(f"  {', '.join(conventions_in_words(target.conventions))}")
            for diagnosis in target.diagnoses[:1]:
                terminalreporter.write_line(f"  {_bug(diagnosis)}")


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


def _path_of(target: str) -> Path:
    return Path(target.partition("::")[0]).resolve()


class _as_usage_error:  # noqa: N801 - reads as the statement that it is
    """What bncheck says of a wrong setting, pytest says: without a traceback, and nothing is run."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: object) -> None:
        if isinstance(error, UsageError):
            raise pytest.UsageError(str(error)) from None


# ----------------------------------------------------------------------------------------------------------- collectors


class _Sources(pytest.Collector):
    """Where targets are: a file, or a module."""

    plugin: Items
    specs: list[TargetSpec]

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        """Yield the targets. What cannot be verified is an item that fails: an error here would stop the session."""
        seen: set[str] = set()
        self.plugin.collected.update(spec.source for spec in self.specs)
        for spec in self.specs:
            for card in self._cards(spec):
                if isinstance(card, TargetReport):
                    yield Unusable.from_parent(self, name=f"unusable{len(seen) or ''}", report=card)
                    seen.add(spec.source)
                    continue
                name = card.name.rpartition("::")[2] or card.name
                if name in seen:
                    again = _unusable(card.name, f"{card.name} is among the targets twice")
                    yield Unusable.from_parent(self, name=f"{name}-again{len(seen)}", report=again)
                else:
                    yield TargetItems.from_parent(self, name=name, plugin=self.plugin, spec=spec, card=card)
                seen.add(name)

    def _cards(self, spec: TargetSpec) -> list[TargetCard | TargetReport]:
        """Return the targets of a source, or the report that there is none."""
        try:
            found = self.plugin.job(spec).discover()
        except (UsageError, WorkerError) as error:
            return [_unusable(spec.source, str(error))]
        return [found] if isinstance(found, TargetReport) else list(found)


class Source(_Sources, pytest.File):
    """A file with targets."""

    def __init__(self, *, plugin: Items, specs: list[TargetSpec], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plugin, self.specs = plugin, specs


class ModuleSource(_Sources):
    """A module with targets."""

    def __init__(self, *, plugin: Items, specs: list[TargetSpec], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plugin, self.specs = plugin, specs


class TargetItems(pytest.Collector):
    """One target: its checks, and the evidence for them, which is gathered once."""

    def __init__(self, *, plugin: Items, spec: TargetSpec, card: TargetCard, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plugin, self.spec, self.card = plugin, spec, card
        self._report: TargetReport | None = None
        self._told = False

    def collect(self) -> Iterator[pytest.Item]:
        """Yield an item per check."""
        try:
            checks = selected(self.plugin.settings.select, self.plugin.settings.ignore)
        except UsageError as error:
            yield Unusable.from_parent(self, name="unusable", report=_unusable(self.card.name, str(error)))
            return
        for check in checks:
            yield CheckItem.from_parent(self, name=f"{check.code}-{check.name}", code=check.code, target=self)

    def report(self) -> TargetReport:
        """Return what the checks that are to run say; verify the target if that is not known yet."""
        if self._report is None:
            codes = [item.code for item in self.session.items if isinstance(item, CheckItem) and item.target is self]
            # What follows from an expected failure is expected with it.
            expected = (named(known.check).code for known in self.plugin.settings.expected)
            codes = list(dict.fromkeys((*codes, *expected)))
            self._report = self.plugin.job(self.spec, codes).verify(self.card, None)
        if self._report.verdict is Verdict.INTERRUPTED:
            raise KeyboardInterrupt
        return self._report

    def news(self) -> TargetReport | None:
        """Return the report if it was not asked for yet."""
        told, self._told = self._told, self._report is not None
        return None if told else self._report


def _items_of(node: pytest.Item | pytest.Collector) -> Iterator[pytest.Item]:
    if isinstance(node, pytest.Item):
        yield node
    else:
        for child in node.collect():
            yield from _items_of(child)


# ---------------------------------------------------------------------------------------------------------------- items


class Unusable(pytest.Item):
    """Something among the targets that cannot be verified."""

    def __init__(self, *, report: TargetReport, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.report = report
        self.add_marker("bncheck")

    def runtest(self) -> None:
        """Say why."""
        pytest.fail(_first_reason(self.report), pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return what stands above the failure."""
        return self.path, 0, f"bncheck: {self.name}"


class CheckItem(pytest.Item):
    """One check of one target."""

    def __init__(self, *, code: str, target: TargetItems, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.code, self.target = code, target
        self.add_marker("bncheck")

    def runtest(self) -> None:
        """Let the check's finding be the test's outcome."""
        try:
            report = self.target.report()
        except (BncheckError, WorkerError) as error:
            pytest.fail(str(error), pytrace=False)
        finding = next((finding for finding in report.findings if finding.code == self.code), None)
        if finding is None:
            pytest.fail(_first_reason(report) if report.error else _not_judged(report), pytrace=False)
        if finding.expected and finding.outcome is Outcome.WARN:
            pytest.xfail(finding.expected)
        if finding.outcome is Outcome.SKIP:
            pytest.skip(finding.message)
        if finding.outcome is Outcome.INCONCLUSIVE and report.verdict is Verdict.PASS:
            pytest.skip(f"could not be decided, and follows from what was: {finding.message}")
        if finding.outcome is Outcome.WARN and not self.target.plugin.settings.strict:
            self.warn(BncheckWarning(f"{finding.code} {finding.name}: {finding.message}"))
        elif finding.outcome is not Outcome.PASS:
            self._fail(report, finding)

    def _fail(self, report: TargetReport, finding: Finding) -> NoReturn:
        """Fail with one line that says what is wrong, and the report of this check."""
        if finding.follows_from is not None:
            pytest.fail(f"follows from {finding.follows_from}: {finding.message}", pytrace=False)
        bugs = named_bugs(report, finding)
        first = "; ".join(map(_bug, bugs)) or f"{finding.outcome.value}: {finding.message}"
        alone = narrowed(report, finding)
        whole = put_together([alone], self.target.plugin.settings)
        pytest.fail(f"{first}\n{in_full(whole, self.config)}", pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return what stands above the failure."""
        return self.path, 0, f"{self.target.card.name}: {self.name}"


def _bug(diagnosis: Diagnosis) -> str:
    return f"{diagnosis.code} {diagnosis.name}: {diagnosis.title}"


def _unusable(name: str, reason: str) -> TargetReport:
    return TargetReport(name, Verdict.ERROR, error=reason)


def _first_reason(report: TargetReport) -> str:
    """Return why a target cannot be verified; code that stopped its process has a finding instead of an error."""
    return report.error or "; ".join(finding.message for finding in report.findings)


def _not_judged(report: TargetReport) -> str:
    ends = [f"{f.code} {f.name}: {f.message}" for f in report.findings if f.outcome is Outcome.FAIL]
    return f"could not be judged; {'; '.join(ends) or 'no case was run'}"


def in_full(report: Report, config: pytest.Config) -> str:
    """Return the report for people; in colour where pytest writes in colour to a terminal, and to nothing else."""
    writer = config.get_terminal_writer() if config.pluginmanager.hasplugin("terminalreporter") else None
    color = writer is not None and writer.hasmarkup and not getattr(config.option, "xmlpath", None)
    return REPORTERS.get("rich")(report, Style(width=width(), color=color))


class Package:
    """The package bncheck as the fixture hands it out: it remembers the reports that it returns."""

    def __init__(self, given: list[Any]) -> None:
        self._given = given

    def verify(self, *targets: Any, **options: Any) -> Report:
        """Verify as :func:`bncheck.verify` does."""
        __tracebackhide__ = True  # pytest shows the caller's line
        report: Report = bncheck.verify(*targets, **options)
        self._given.append(report)
        return report

    def __getattr__(self, name: str) -> Any:
        return getattr(bncheck, name)
