"""Sources and targets as collectors of pytest, checks as its items."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, Protocol

import pytest

from bncheck.checks.catalogue import CHECKS, named, selected
from bncheck.errors import BncheckError, UsageError
from bncheck.executors.isolated import WorkerError
from bncheck.job import Job
from bncheck.model import Outcome, TargetCard, TargetSpec
from bncheck.pipeline import put_together
from bncheck.report import Diagnosis, Finding, Report, TargetReport, Verdict
from bncheck.reporters import REPORTERS, Style
from bncheck.reporters.destination import width
from bncheck.reporters.parts import meaning
from bncheck.reporters.parts import named as named_bugs
from bncheck.reporters.short import nameless
from bncheck.settings import Settings


class BncheckWarning(UserWarning):
    """A check of bncheck that warns."""


class Plugin(Protocol):
    """What the nodes of a session have in common."""

    settings: Settings
    collected: set[str]
    names: list[tuple[str, ...]]

    def job(self, spec: TargetSpec, codes: Iterable[str] = ()) -> Job:
        """Return what discovers and verifies a source, with these checks."""


# ----------------------------------------------------------------------------------------------------------- collectors


class _Sources(pytest.Collector):
    """Where targets are: a file, or a module."""

    plugin: Plugin
    specs: list[TargetSpec]

    def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
        """Yield the targets. What cannot be verified is an item that fails: an error here would stop the session."""
        seen: set[str] = set()
        self.plugin.collected.update(spec.source for spec in self.specs)
        for spec in self.specs:
            for card in self._cards(spec):
                self.plugin.names.append(() if isinstance(card, TargetReport) else spec.names_of(card.name))
                if isinstance(card, TargetReport):
                    yield Unusable.from_parent(self, name=f"unusable{len(seen) or ''}", report=card, plugin=self.plugin)
                    seen.add(spec.source)
                    continue
                name = card.name.rpartition("::")[2] or card.name
                if name not in seen:  # it may be named by itself, too
                    ids = {"nodeid": card.name} if isinstance(self, ModuleSource) else {}
                    yield TargetItems.from_parent(self, name=name, plugin=self.plugin, spec=spec, card=card, **ids)
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

    def __init__(self, *, plugin: Plugin, specs: list[TargetSpec], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plugin, self.specs = plugin, specs


class ModuleSource(_Sources):
    """A module with targets: what is called as bncheck calls it, since its file may be anywhere."""

    def __init__(self, *, plugin: Plugin, specs: list[TargetSpec], name: str, **kwargs: Any) -> None:
        super().__init__(name=name, nodeid=name, **kwargs)
        self.plugin, self.specs = plugin, specs


class TargetItems(pytest.Collector):
    """One target: its checks, and the evidence for them, which is gathered once."""

    def __init__(self, *, plugin: Plugin, spec: TargetSpec, card: TargetCard, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plugin, self.spec, self.card = plugin, spec, card
        self._report: TargetReport | None = None
        self._told = False

    def collect(self) -> Iterator[pytest.Item]:
        """Yield an item per check."""
        try:
            checks = selected(self.plugin.settings.select, self.plugin.settings.ignore)
        except UsageError as error:
            report = _unusable(self.card.name, str(error))
            yield Unusable.from_parent(self, name="unusable", report=report, plugin=self.plugin)
            return
        for check in checks:
            yield CheckItem.from_parent(self, name=f"{check.code}-{check.name}", code=check.code, target=self)

    def report(self) -> TargetReport:
        """Return what the checks that are to run say; verify the target if that is not known yet."""
        if self._report is None:
            codes = [item.code for item in self.session.items if isinstance(item, CheckItem) and item.target is self]
            codes += self._causes(codes)
            self._report = self.plugin.job(self.spec, codes).verify(self.card, None)
        if self._report.verdict is Verdict.INTERRUPTED:
            raise KeyboardInterrupt
        return self._report

    def _causes(self, codes: Collection[str]) -> list[str]:
        """Return the checks that are not chosen, and whose expected failure makes one of a chosen check expected."""
        causes = {cause for code in codes for cause in CHECKS.get(code).follows}.difference(codes)
        known = (k for k in self.plugin.settings.expected if k.fits(self.spec.names_of(self.card.name)))
        return [code for code in dict.fromkeys(named(k.check).code for k in known) if code in causes]

    def news(self) -> TargetReport | None:
        """Return the report if it was not asked for yet."""
        told, self._told = self._told, self._report is not None
        return None if told else self._report


# ---------------------------------------------------------------------------------------------------------------- items


class Unusable(pytest.Item):
    """Something among the targets that cannot be verified."""

    def __init__(self, *, report: TargetReport, plugin: Plugin, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.report, self.plugin = report, plugin
        self.add_marker("bncheck")

    def runtest(self) -> None:
        """Say why."""
        pytest.fail(_why(self.report, self.plugin.settings), pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return what stands above the failure."""
        return self.path, 0, f"bncheck: {self.report.name}"


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
            reason = _why(report, self.target.plugin.settings) if report.error else _not_judged(report)
            pytest.fail(reason, pytrace=False)
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
        first = "; ".join(map(bug_in_words, bugs)) or f"{finding.outcome.value}: {finding.message}"
        whole = put_together([report], self.target.plugin.settings)
        pytest.fail(f"{first}\n{in_full(whole, self.config, finding.code)}", pytrace=False)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return where a warning is from, and what stands above a failure."""
        line = self.target.card.defined
        is_there = line is not None and Path(line.file).is_file()
        path, number = (Path(line.file), line.number - 1) if line is not None and is_there else (self.path, 0)
        return path, number, f"{self.target.card.name}: {self.name}"


def bug_in_words(diagnosis: Diagnosis) -> str:
    """Return a bug's code, name and title."""
    return f"{diagnosis.code} {diagnosis.name}: {diagnosis.title}"


def _unusable(name: str, reason: str) -> TargetReport:
    return TargetReport(name, Verdict.ERROR, error=reason)


def _why(report: TargetReport, settings: Settings) -> str:
    """Return why a target cannot be verified, and what to do about it.

    Code that stopped its process has a finding instead of an error.
    """
    reason = nameless(report) or "; ".join(finding.message for finding in report.findings)
    advice = meaning(report, put_together([report], settings)) if report.error else ()
    return "\n".join([reason, *advice])


def _not_judged(report: TargetReport) -> str:
    ends = [f"{f.code} {f.name}: {f.message}" for f in report.findings if f.outcome is Outcome.FAIL]
    return f"could not be judged; {'; '.join(ends) or 'no case was run'}"


def in_full(report: Report, config: pytest.Config, only: str = "") -> str:
    """Return the report for people, or what it says of one check alone.

    It is in colour where pytest writes in colour to a terminal, and to nothing else.
    """
    writer = config.get_terminal_writer() if config.pluginmanager.hasplugin("terminalreporter") else None
    color = writer is not None and writer.hasmarkup and not getattr(config.option, "xmlpath", None)
    return REPORTERS.get("rich")(report, Style(width=width(), color=color, only=only))
