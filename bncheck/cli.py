"""The command line: ``bncheck verify TARGET``, and what helps to read its answer.

Only what ``--help`` needs is imported here; each command imports the rest when it runs.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import rich_click as click
from click.exceptions import Exit

from bncheck.case import CASE_SCHEMA, CaseSpec
from bncheck.cli_explain import explain, list_
from bncheck.cli_project import init, watch
from bncheck.cli_report import report as report_command
from bncheck.errors import BncheckError, UsageError
from bncheck.model import TargetSpec
from bncheck.options import (
    CASE_OPTIONS,
    DECLARED_OPTIONS,
    DEFAULTS,
    OUTPUT_OPTIONS,
    PROGRAMS,
    RUN_OPTIONS,
    SWEEP_OPTIONS,
    VERBOSE,
    examples,
    hints,
    remember_verbose,
    settings_from,
    specs_of,
    with_options,
)
from bncheck.registry import did_you_mean
from bncheck.report import CHANGED, Report, Verdict

if TYPE_CHECKING:
    from bncheck.executors.base import Executor
    from bncheck.journal import Journal
    from bncheck.reporters.outputs import Output
    from bncheck.settings import Settings

EXIT_CODES = {
    Verdict.PASS: 0,
    Verdict.FAIL: 1,
    Verdict.ERROR: 2,
    Verdict.INCONCLUSIVE: 4,
    Verdict.INTERRUPTED: 130,
}
OUR_FAULT = 3
EXIT_HELP = (
    "Exit codes: 0 right, 1 wrong, 2 usage or a target that cannot be loaded, 3 a fault of bncheck's own, "
    "4 inconclusive, 130 interrupted. Of several targets the first of 130, 3, 1, 2, 4 that holds."
)
DEMO = (
    "Two samples of Batch Normalization by hand: right.py is right, and the dx of misprinted.py follows a formula that "
    "many have copied from a page where two of its terms are misprinted. The first report should say PASS; the second "
    "that dx alone is wrong, against both oracles, with the numbers of a small case."
)


class Group(click.RichGroup):
    """The commands, and the exit code of everything that goes wrong in one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command, or say which one is near."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None and not ctx.resilient_parsing:
            hint = "To verify a file: bncheck verify " + name if "." in name else did_you_mean(name, self.commands)
            ctx.fail(f"There is no command {name!r}. {hint}")
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the command line; be interrupted there as everywhere."""
        try:
            return super().make_context(*args, **kwargs)
        except KeyboardInterrupt:  # a run that is stopped has its own status, and no traceback
            _stop(EXIT_CODES[Verdict.INTERRUPTED], "bncheck: interrupted")

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn what it raises into one line and an exit code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, Exit, click.Abort, BrokenPipeError):  # whoever reads the help may stop
            raise
        except BncheckError as error:
            _stop(2, f"bncheck: {_one_line(error)}")
        except KeyboardInterrupt:  # a run that is stopped has its own status, and no traceback
            _stop(EXIT_CODES[Verdict.INTERRUPTED], "bncheck: interrupted")
        except Exception as error:
            if ctx.meta.get(VERBOSE):
                import traceback

                traceback.print_exc()
            more = "" if ctx.meta.get(VERBOSE) else " -v shows the traceback."
            said = f"{type(error).__name__}: {_one_line(error)}"
            _stop(OUR_FAULT, f"bncheck itself failed, your code is not to blame: {said}\n{_where_to_report()}{more}")


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_HELP)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _, wanted: _print_version(ctx, wanted),
    help="Show the version and exit.",
)
@examples(
    "bncheck verify my_layers.py",
    "bncheck explain BN201",
    "bncheck demo",
)
def cli() -> None:
    """Tell whether a Batch Normalization written by hand is right, and if not, what is wrong.

    bncheck runs your code on many small cases, and compares it with the equations and with its own derivative.
    """


# ------------------------------------------------------------------------------------------------------------- commands


@cli.command(epilog=EXIT_HELP)
@click.argument("targets", nargs=-1, metavar="TARGET...")
@PROGRAMS
@with_options(CASE_OPTIONS, SWEEP_OPTIONS, RUN_OPTIONS, DECLARED_OPTIONS, OUTPUT_OPTIONS)
@examples(
    "bncheck verify my_layers.py",
    "bncheck verify my_layers.py::batchnorm_backward --dtype float32",
    "bncheck verify my_package.layers:BatchNorm --select BN2 --strict",
    "bncheck verify layers.py --output report.json --output report.html",
    "bncheck verify homework.ipynb::batchnorm_forward -v",
    "bncheck verify torch.nn:BatchNorm2d --profile pytorch --device cuda",
    "bncheck verify --exec './my_bn --flag'",
    "bncheck verify my_layers.py --cases 1000000 --max-time 3600 --journal night.jsonl",
)
def verify(
    targets: tuple[str, ...],
    programs: tuple[str, ...],
    journal: Path | None,
    resume: bool,
    dask: str | None,
    forms: tuple[str, ...],
    paths: tuple[Path, ...],
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Verify hand-written Batch Normalization.

    TARGET is file.py, file.py::name, notebook.ipynb::name or package.module:name. How the code wants to be called is
    found out; -v tells how, and options override it. Defaults stand in [tool.bncheck] of pyproject.toml.
    """
    from bncheck import pipeline
    from bncheck.reporters.outputs import outputs, writing
    from bncheck.reporters.progress import on_terminal

    wanted = outputs(forms, paths, quiet)
    settings = settings_from(options)
    specs = specs_of(targets, programs, settings)
    with _journal(journal, settings, resume) as kept, writing(wanted, verbose) as write:
        with on_terminal(quiet) as show:
            report = pipeline.run(specs, settings, show, _executor(dask, settings), kept)
        write(report)
    sys.stderr.writelines(f"bncheck: {hint}\n" for hint in hints(settings, specs, report))
    _finish(report, wanted, quiet, journal)


@cli.command(epilog=EXIT_HELP)
@click.argument("case_id", metavar="ID")
@click.argument("targets", nargs=-1, metavar="TARGET...")
@PROGRAMS
@with_options(RUN_OPTIONS, DECLARED_OPTIONS, OUTPUT_OPTIONS)
@examples(
    "bncheck replay 'v1:plain:seed=0,n=2,c=1' my_layers.py",
    "bncheck replay 'v1:plain:seed=0,n=65,c=3,eps=0.1' my_layers.py",
)
def replay(
    case_id: str,
    targets: tuple[str, ...],
    programs: tuple[str, ...],
    forms: tuple[str, ...],
    paths: tuple[Path, ...],
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Run one case again, and show every tensor of it.

    ID is what a report gives; it holds every parameter of the case, and you may change them.
    """
    from bncheck import pipeline
    from bncheck.reporters.outputs import outputs, writing

    wanted = outputs(forms, paths, quiet)
    settings = settings_from(options)
    case = _case(case_id, targets)
    specs = specs_of(targets, programs, settings)
    with writing(wanted, verbose) as write:
        report = pipeline.replay(specs, case.id, settings)
        write(report)
    _finish(report, wanted, quiet)


def _case(case_id: str, targets: tuple[str, ...]) -> CaseSpec:
    """Return the case of a replay id; say so where a target stands in its place."""
    try:
        return CaseSpec.parse(case_id)
    except UsageError:
        exchanged = next((target for target in targets if target.startswith(f"{CASE_SCHEMA}:")), None)
        if exchanged is None:
            raise
        ordered = [exchanged, case_id, *(target for target in targets if target != exchanged)]
    raise UsageError(f"the ID comes first, the TARGET after it: bncheck replay {shlex.join(ordered)}")


for _command in (init, watch, explain, list_, report_command):
    cli.add_command(_command)


@cli.command()
@click.option("--verbose", "-v", is_flag=True, callback=remember_verbose, help="Show all.")
@examples("bncheck demo", "bncheck demo -v")
def demo(verbose: bool) -> None:
    """Verify two small samples, to see what a report looks like.

    One is right, and one is wrong.
    """
    from bncheck import pipeline, samples
    from bncheck.reporters import REPORTERS
    from bncheck.reporters.destination import style_for, width, write_out
    from bncheck.reporters.pages import paragraph
    from bncheck.reporters.progress import on_terminal

    folder = Path(str(samples.__file__)).parent
    expected = {"right.py": Verdict.PASS, "misprinted.py": Verdict.FAIL}
    write_out(paragraph(DEMO, width()) + "\n")
    for name, verdict in expected.items():
        with on_terminal(quiet=False) as show:
            report = pipeline.run([TargetSpec(str(folder / name))], DEFAULTS, show)
        write_out(REPORTERS.get("rich")(report, style_for(None, verbose)) + "\n")
        if report.verdict is Verdict.INTERRUPTED:
            raise KeyboardInterrupt
        if report.verdict is not verdict:
            raise RuntimeError(f"{name} came out as {report.verdict.value}, and should be {verdict.value}")
    write_out("Now yours:  bncheck verify FILE.py\n")


# ------------------------------------------------------------------------------------------------ from options to a run


@contextmanager
def _journal(path: Path | None, settings: Settings, resume: bool) -> Iterator[Journal | None]:
    """Yield the journal that was asked for, and say what is to be known of it."""
    if path is None:
        if resume:
            raise UsageError("--resume goes on behind a journal: say which one, --journal FILE")
        yield None
        return
    from bncheck.journal import Journal

    with Journal(path, settings, resume) as journal:
        if journal.torn:
            sys.stderr.write(f"bncheck: the last line of {path} was torn or damaged; its case is run again\n")
        yield journal


def _executor(dask: str | None, settings: Settings) -> Executor | None:
    """Return where the cases run if that is elsewhere."""
    if dask is None:
        return None
    from bncheck.executors.on_dask import OnDask

    return OnDask(dask, settings)


def _finish(report: Report, wanted: Sequence[Output], quiet: bool, journal: Path | None = None) -> NoReturn:
    from bncheck.reporters.outputs import written_to

    if not quiet and (where := written_to(wanted)):
        sys.stderr.write(f"{report.verdict.value.upper()}: {where}\n")
        if journal is not None and report.verdict is Verdict.INTERRUPTED and not _has_changed(report):
            sys.stderr.write(f"bncheck: the same command with --resume goes on where {journal} ends\n")
    sys.exit(exit_code(report))


def _has_changed(report: Report) -> bool:
    return any(target.stopped == CHANGED for target in report.targets)


def exit_code(report: Report) -> int:
    """Return the exit code of the first that holds: interrupted, own fault, wrong, not run, inconclusive, right.

    What is wrong is known, and what cannot be loaded may be anything: that does not take the place of the other.
    A stub beside something that is filled in does not count. A report of nothing is no pass.
    """
    counted = [target.verdict for target in report.targets if not target.stub]
    verdicts = counted or [target.verdict for target in report.targets]
    if report.verdict is not Verdict.INTERRUPTED and any(target.own_fault for target in report.targets):
        return OUR_FAULT
    for grave in (Verdict.INTERRUPTED, Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE):
        if grave in (*verdicts, report.verdict):
            return EXIT_CODES[grave]
    return EXIT_CODES[Verdict.PASS] if verdicts else EXIT_CODES[Verdict.ERROR]


# -------------------------------------------------------------------------------------------------------------- wording


def _one_line(error: BaseException) -> str:
    from bncheck.reporters.wording import clean

    return clean(str(error)) or "no message"


def _where_to_report() -> str:
    from importlib.metadata import PackageNotFoundError, metadata

    try:
        urls = metadata("bncheck").get_all("Project-URL") or []
    except PackageNotFoundError:
        urls = []
    tracker = next((url.partition(",")[2].strip() for url in urls if "issue" in url.lower()), "bncheck's issue tracker")
    return f"Please report it to {tracker}, with the command that you ran."


def _stop(code: int, message: str) -> NoReturn:
    sys.stderr.write(message + "\n")
    sys.exit(code)


def _print_version(ctx: click.Context, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            number = version("bncheck")
        except PackageNotFoundError:
            number = "(not installed)"
        click.echo(f"bncheck {number}")
        ctx.exit()
