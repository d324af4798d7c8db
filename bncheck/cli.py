"""The command line: ``bncheck verify TARGET``, and what helps to read its answer.

Only what ``--help`` needs is imported here; each command imports the rest when it runs.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import rich_click as click
from click.exceptions import Exit

from bncheck.case import CASE_SCHEMA, CaseSpec
from bncheck.cli_project import init, watch
from bncheck.errors import BncheckError, UsageError
from bncheck.model import TargetSpec
from bncheck.options import (
    CASE_OPTIONS,
    DECLARED_OPTIONS,
    DEFAULTS,
    OUTPUT_OPTIONS,
    PROGRAMS,
    RUN_OPTIONS,
    VERBOSE,
    examples,
    remember_verbose,
    settings_from,
    specs_of,
    with_options,
)
from bncheck.registry import Registry, did_you_mean
from bncheck.report import Report, Verdict

if TYPE_CHECKING:
    from bncheck.bugs.catalogue import Bug
    from bncheck.checks.catalogue import Check
    from bncheck.pages.catalogue import Page
    from bncheck.reporters import Style

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
    "4 inconclusive, 130 interrupted."
)
LISTS = {
    "adapters": ("bncheck.adapters.protocol", "ADAPTERS"),
    "bugs": ("bncheck.bugs.catalogue", "BUGS"),
    "checks": ("bncheck.checks.catalogue", "CHECKS"),
    "pages": ("bncheck.pages.catalogue", "PAGES"),
    "recipes": ("bncheck.cases.recipes", "RECIPES"),
    "reporters": ("bncheck.reporters", "REPORTERS"),
}
DEMO = (
    "Two samples of Batch Normalization by hand: right.py is right, and the dx of misprinted.py follows a formula that "
    "many have copied from a page where it is misprinted. The first report should say PASS; the second that dx alone "
    "is wrong, against both oracles, with the numbers of a small case."
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

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn what it raises into one line and an exit code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, Exit, click.Abort):
            raise
        except BncheckError as error:
            _stop(2, f"bncheck: {_one_line(error)}")
        except KeyboardInterrupt:
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
@with_options(CASE_OPTIONS, RUN_OPTIONS, DECLARED_OPTIONS, OUTPUT_OPTIONS)
@examples(
    "bncheck verify my_layers.py",
    "bncheck verify my_layers.py::batchnorm_backward --dtype float32",
    "bncheck verify my_package.layers:BatchNorm --select BN2 --strict",
    "bncheck verify layers.py --format json > report.json",
    "bncheck verify homework.ipynb::batchnorm_forward -v",
    "bncheck verify torch.nn:BatchNorm2d --profile pytorch --device cuda",
    "bncheck verify --exec './my_bn --flag'",
)
def verify(
    targets: tuple[str, ...],
    programs: tuple[str, ...],
    form: str | None,
    output: Path | None,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Verify hand-written Batch Normalization.

    TARGET is file.py, file.py::name, notebook.ipynb::name or package.module:name. How the code wants to be called is
    found out; -v tells how, and options override it. Defaults stand in [tool.bncheck] of pyproject.toml.
    """
    from bncheck import pipeline
    from bncheck.reporters.destination import opened, style_for
    from bncheck.reporters.progress import on_terminal

    settings = settings_from(options)
    specs = specs_of(targets, programs, settings)
    with opened(output) as write:
        with on_terminal(quiet) as show:
            report = pipeline.run(specs, settings, show)
        write(_rendered(report, form or ("short" if quiet else "rich"), style_for(output, verbose)))
    _finish(report, output, quiet)


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
    form: str | None,
    output: Path | None,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Run one case again, and show every tensor of it.

    ID is what a report gives; it holds every parameter of the case, and you may change them.
    """
    from bncheck import pipeline
    from bncheck.reporters.destination import opened, style_for

    settings = settings_from(options)
    case = _case(case_id, targets)
    specs = specs_of(targets, programs, settings)
    with opened(output) as write:
        report = pipeline.replay(specs, case.id, settings)
        write(_rendered(report, form or ("short" if quiet else "rich"), style_for(output, verbose=True)))
    _finish(report, output, quiet)


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


cli.add_command(init)
cli.add_command(watch)


@cli.command()
@click.argument("codes", nargs=-1, metavar="CODE...")
@examples(
    "bncheck explain BN201",
    "bncheck explain dx-matches-numeric",
    "bncheck explain BUG211",
    "bncheck explain train-and-eval",
)
def explain(codes: tuple[str, ...]) -> None:
    """Explain a check (what it promises, why that matters, what usually breaks it), or a bug that reports name.

    There are pages for beginners too; without CODE they are listed.
    """
    from bncheck.bugs.catalogue import BUGS
    from bncheck.checks.catalogue import CHECKS
    from bncheck.pages.catalogue import PAGES, about
    from bncheck.reporters.destination import width, write_out
    from bncheck.reporters.pages import columns, page

    if not codes:
        rows = [(name, _first_line(item)) for name, item in PAGES.items()]
        write_out(f"Pages for beginners; checks and bugs have theirs by code.\n\n{columns(rows, width())}")
        return
    known: list[Check | Bug] = [item for registry in (CHECKS, BUGS) for _, item in registry.items()]
    by_name: dict[str, Check | Bug | Page] = {item.name: item for item in known}
    by_name |= {item.code: item for item in known} | dict(PAGES.items())
    wanted = [next((name for name in (code, code.upper(), code.lower()) if name in by_name), code) for code in codes]
    for code, name in zip(codes, wanted, strict=True):
        if name not in by_name:
            speaking = about(code, {item.name: item.doc for item in known}, {n: p.doc for n, p in PAGES.items()})
            near = did_you_mean(code.upper() if code[:2].upper() in ("BN", "BU") else code.lower(), by_name)
            hint = f"Did you mean {' or '.join(speaking)}?" if speaking else near if "Did you" in near else ""
            listed = "bncheck explain lists the pages, bncheck list checks the checks."
            raise UsageError(f"no check, bug or page is called {code!r}. {hint or listed}")
    items = [by_name[name] for name in wanted]
    titles = [" ".join(filter(None, (getattr(item, "code", ""), item.name))) for item in items]
    write_out("\n".join(page(title, item.doc, width()) for title, item in zip(titles, items, strict=True)))


@cli.command("list")
@click.argument("what", metavar=f"[{'|'.join(LISTS)}]")
@examples(
    "bncheck list checks",
    "bncheck list recipes",
)
def list_(what: str) -> None:
    """List what bncheck knows, one line each."""
    import importlib

    from bncheck.reporters.destination import width, write_out
    from bncheck.reporters.pages import columns

    if what not in LISTS:
        raise UsageError(f"there is no list of {what!r}. {did_you_mean(what, LISTS)}")
    module, name = LISTS[what]
    registry: Registry[Any] = getattr(importlib.import_module(module), name)
    rows = [(key, getattr(item, "name", ""), _first_line(item)) for key, item in registry.items()]
    write_out(columns(rows, width()) if rows else f"No {what} are named yet.\n")


@cli.command()
@click.option("--verbose", "-v", is_flag=True, callback=remember_verbose, help="Show all.")
@examples(
    "bncheck demo",
    "bncheck demo -v",
)
def demo(verbose: bool) -> None:
    """Verify two small samples, one right and one wrong, to see what a report looks like."""
    from bncheck import pipeline, samples
    from bncheck.reporters.destination import style_for, width, write_out
    from bncheck.reporters.pages import paragraph
    from bncheck.reporters.progress import on_terminal

    folder = Path(str(samples.__file__)).parent
    expected = {"right.py": Verdict.PASS, "misprinted.py": Verdict.FAIL}
    write_out(paragraph(DEMO, width()) + "\n")
    for name, verdict in expected.items():
        with on_terminal(quiet=False) as show:
            report = pipeline.run([TargetSpec(str(folder / name))], DEFAULTS, show)
        write_out(_rendered(report, "rich", style_for(None, verbose)) + "\n")
        if report.verdict is Verdict.INTERRUPTED:
            raise KeyboardInterrupt
        if report.verdict is not verdict:
            raise RuntimeError(f"{name} came out as {report.verdict.value}, and should be {verdict.value}")
    write_out("Now yours:  bncheck verify FILE.py\n")


# ------------------------------------------------------------------------------------------------ from options to a run


def _finish(report: Report, output: Path | None, quiet: bool) -> NoReturn:
    if output is not None and not quiet:
        sys.stderr.write(f"{report.verdict.value.upper()}: the report is in {output}\n")
    sys.exit(exit_code(report))


def exit_code(report: Report) -> int:
    """Return the exit code of the first that holds: interrupted, own fault, wrong, not run, inconclusive, right.

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


def _rendered(report: Report, form: str, style: Style) -> str:
    from bncheck.reporters import REPORTERS

    return REPORTERS.get(form)(report, style)


# -------------------------------------------------------------------------------------------------------------- wording


def _first_line(item: Any) -> str:
    doc = getattr(item, "doc", None) or getattr(item, "__doc__", None) or ""
    return str(doc).strip().partition("\n")[0]


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
