"""From targets to a report: discover, sweep, judge, show. The same whichever executor runs the user's code."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bncheck.case import CaseSpec
from bncheck.errors import TargetError
from bncheck.executors.base import Abandoned, Died, Executor
from bncheck.executors.in_process import InProcess
from bncheck.executors.isolated import Isolated, WorkerError, workers
from bncheck.job import Job
from bncheck.journal import Journal
from bncheck.model import TargetCard, TargetSpec
from bncheck.report import Report, TargetReport, Verdict
from bncheck.settings import Settings
from bncheck.sweep import Show
from bncheck.tasks import Event, Refused, Task, Written


def run(
    specs: Sequence[TargetSpec],
    settings: Settings,
    progress: Show | None = None,
    executor: Executor | None = None,
    journal: Journal | None = None,
) -> Report:
    """Verify targets.

    Parameters
    ----------
    specs : sequence of TargetSpec
        Where the targets are; one source may hold several.
    settings : Settings
        What to do.
    progress : callable, optional
        Called with a Progress after every case.
    executor : Executor, optional
        Where user code runs. Without one: in an isolated process, or in this one if a spec holds live objects.
    journal : Journal, optional
        What has the results of cases that were run before; those of all others are added.

    Raises
    ------
    UsageError
        If the settings name a check that does not exist.

    """
    jobs = 1 if settings.jobs is None and any(spec.program for spec in specs) else workers(settings)
    return _run(specs, settings, executor, jobs, lambda job, card: job.verify(card, progress), journal)


def replay(specs: Sequence[TargetSpec], case_id: str, settings: Settings, executor: Executor | None = None) -> Report:
    """Verify one case alone, and show every tensor of it whether it fails or not."""
    case = CaseSpec.parse(case_id)
    settings = replace(settings, dtype=case.dtype)
    return _run(specs, settings, executor, 1, lambda job, card: job.replay(card, case))


def adapter_source(spec: TargetSpec, settings: Settings) -> str:
    """Return the text of an adapter file for a target, with what discovery understood filled in.

    Raises
    ------
    TargetError
        If the target cannot be loaded, or stops the process that it runs in.

    """
    answers: list[Event | Died | Abandoned] = []
    with Isolated(settings.timeout) as place:
        place.run(Task("adapter", replace(spec, declared=settings.declared), settings), answers.append)
    for answer in answers:
        if isinstance(answer, Written):
            return answer.text
        if isinstance(answer, Refused):
            raise TargetError(answer.message, answer.trace)
    how = next((answer.how for answer in answers if isinstance(answer, Died)), "it gave no answer")
    raise TargetError(f"no adapter can be written for {spec.source}: {how}")


def names(specs: Sequence[TargetSpec], settings: Settings) -> list[str]:
    """Return the names of what sources hold.

    Raises
    ------
    TargetError
        If one of them cannot be loaded, or holds nothing that can be verified.

    """
    found: list[str] = []
    with Isolated(settings.timeout) as place:
        for spec in specs:
            cards = Job(replace(spec, declared=settings.declared), settings, place).discover()
            if isinstance(cards, TargetReport):
                raise TargetError(cards.error or "; ".join(finding.message for finding in cards.findings))
            found += [card.name for card in cards]
    return found


def _run(
    specs: Sequence[TargetSpec],
    settings: Settings,
    executor: Executor | None,
    jobs: int,
    do: Callable[[Job, TargetCard], TargetReport],
    journal: Journal | None = None,
) -> Report:
    live = any(spec.live for spec in specs)
    reports: list[TargetReport] = []
    due = [spec.source for spec in specs]
    interrupted = False
    with executor or (InProcess() if live else Isolated(settings.timeout, jobs)) as place:
        # NumPy, plans and checks are loaded here while the worker, started by now, loads them too.
        from bncheck.cases import plan  # noqa: F401 - loaded now, used by verify()
        from bncheck.checks.catalogue import named, selected

        selected(settings.select, settings.ignore)  # a wrong code should cost no time
        for known in settings.expected:
            named(known.check)
        try:
            for spec in specs:
                job = Job(replace(spec, declared=settings.declared), settings, place, journal)
                for report in _reports(job, do, due):
                    reports.append(report)
                    if report.verdict is Verdict.INTERRUPTED:
                        raise KeyboardInterrupt
        except KeyboardInterrupt:
            interrupted = True
            reports += [TargetReport(name, Verdict.INTERRUPTED) for name in due]
    return put_together(reports, settings, interrupted=interrupted)


def put_together(reports: Sequence[TargetReport], settings: Settings, *, interrupted: bool = False) -> Report:
    """Return the report of a run from those of its targets."""
    from bncheck import verdict

    # A stub beside something that is filled in is left out of the verdict.
    filled = [report for report in reports if not report.stub] or reports
    verdicts = [report.verdict for report in filled] + [Verdict.INTERRUPTED] * interrupted
    overall = verdict.overall(verdicts)
    number, others = _version("bncheck") or "unknown", _versions(reports)
    told = tuple(_told_apart(reports))
    return Report(told, overall, number, settings.seed, settings.dtype, versions=others)


def _told_apart(reports: Sequence[TargetReport]) -> Iterator[TargetReport]:
    """Yield the reports; where there are files of one name in several folders, under their paths.

    One target that was verified in several dtypes has each but the usual one in its name.
    """
    dtypes = {name: {r.dtype for r in reports if r.name == name} - {""} for name in {r.name for r in reports}}
    files = [_file_of(report) for report in reports]
    folders = Counter(Path(file).name for file in set(files))
    for report, file in zip(reports, files, strict=True):
        name, sep, function = report.name.partition("::")
        whole = f"{file}{sep}{function}" if file and name == Path(file).name and folders[name] > 1 else report.name
        other = len(dtypes[report.name]) > 1 and report.dtype not in ("", "float64")
        yield replace(report, name=f"{whole} in {report.dtype}" if other else whole)


def _file_of(report: TargetReport) -> str:
    """Return the path of a target's file; of a source that cannot be verified, what the user called it; else ""."""
    named, _, function = report.name.partition("::")
    known = not function or len(Path(named).parts) > 1  # the name of a target has no folder
    file = report.defined.file if report.defined is not None else named * known
    notebook, cell, _ = file.partition(".ipynb, ")
    return f"{notebook}.ipynb" if cell else file


def _reports(job: Job, do: Callable[[Job, TargetCard], TargetReport], due: list[str]) -> Iterator[TargetReport]:
    """Yield the reports of one source; a fault of bncheck itself is reported too, and ends it.

    `due` are the names of what has no report yet, this source first; its targets take its place.
    """
    name, later = job.spec.source, due[1:]
    try:
        found = job.discover()
        if isinstance(found, TargetReport):
            due[:] = later
            yield found
            return
        for i, card in enumerate(found):
            name = card.name
            due[:] = [*(card.name for card in found[i:]), *later]
            report = do(job, card)
            del due[0]
            yield report
    except WorkerError as error:
        due[:] = later
        said = f"bncheck itself failed, your code is not to blame: {error}"
        yield TargetReport(name, Verdict.ERROR, error=said, own_fault=True)


def _versions(reports: Sequence[TargetReport]) -> dict[str, str]:
    """Return the versions of Python, NumPy and the targets' libraries, as far as they are known."""
    frameworks = {r.conventions.framework.partition(".")[0] for r in reports if r.conventions is not None}
    found = {"Python": platform.python_version()}
    known = {name: _version(name) for name in ("numpy", *sorted(frameworks - {"numpy", ""}))}
    return found | {name: number for name, number in known.items() if number}


def _version(package: str) -> str:
    """Return the version of an installed package, "" where it is not known."""
    from importlib.metadata import PackageNotFoundError, version  # it takes half as long as all of this module

    try:
        return version(package)
    except PackageNotFoundError:
        return ""
