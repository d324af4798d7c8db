"""The command line: ``bncheck verify TARGET``, and what helps to read its answer.

Only what ``--help`` needs is imported here; each command imports the rest when it runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import rich_click as click

from bncheck.errors import BncheckError, UsageError
from bncheck.model import DTYPES, CaseSpec, Report, TargetSpec, Verdict
from bncheck.registry import Registry, did_you_mean
from bncheck.settings import Settings, read_pyproject

if TYPE_CHECKING:
    from bncheck.model import Progress
    from bncheck.reporters import Style

EXIT_CODES = {
    Verdict.PASS: 0,
    Verdict.FAIL: 1,
    Verdict.ERROR: 2,
    Verdict.INCONCLUSIVE: 4,
    Verdict.INTERRUPTED: 130,
}
OUR_FAULT = 3
EXIT_HELP = """\b
Exit codes:
  0  right            3  a fault of bncheck's own
  1  wrong            4  inconclusive
  2  usage, or a target that cannot be loaded"""
DEFAULTS = Settings()
# Tables wider than this are hard to read; narrower than that, numbers no longer fit.
NARROWEST, WIDEST, IN_A_FILE = 40, 120, 100
LISTS = {
    "adapters": ("bncheck.adapters.protocol", "ADAPTERS"),
    "bugs": ("bncheck.bugs.catalogue", "BUGS"),
    "checks": ("bncheck.checks.catalogue", "CHECKS"),
    "recipes": ("bncheck.cases.recipes", "RECIPES"),
    "reporters": ("bncheck.reporters", "REPORTERS"),
}
VERBOSE = "bncheck.verbose"


class Group(click.RichGroup):
    """The commands, and the exit code of everything that goes wrong in one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
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
        except (click.ClickException, click.exceptions.Exit, click.Abort):
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
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=lambda c, p, v: _print_version(c, v),
              help="Show the version and exit.")
def cli() -> None:
    """Is this Batch Normalization right, and if not, which line is wrong?

    \b
    Examples:
      bncheck verify my_layers.py
      bncheck explain BN201
      bncheck demo
    """


# ------------------------------------------------------------------------------------------------------------- options


class FormatName(click.ParamType):
    """The name of a reporter; the registry is asked only when it is needed."""

    name = "format"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return all names, for the help text."""
        from bncheck.reporters import REPORTERS

        return f"[{'|'.join(REPORTERS.names())}]"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name if it is one, or say which one is near."""
        from bncheck.reporters import REPORTERS

        try:
            REPORTERS.get(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)
        return value


def _codes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return the codes of ``--select BN2 --select BN101,BN503`` one by one; None where none was given."""
    return tuple(code.strip() for value in values for code in value.split(",") if code.strip()) or None


def _remember_verbose(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    ctx.meta[VERBOSE] = value
    return value


SETTINGS_OPTIONS = (
    click.option("--layout", metavar="[NC|CN|NCHW|NHWC]", help="Layout of x; found out when left out."),
    click.option("--select", multiple=True, callback=_codes, metavar="CODES", help="Only these checks: BN2,BN503."),
    click.option("--ignore", multiple=True, callback=_codes, metavar="CODES", help="Leave these checks out."),
    click.option("--timeout", type=float, metavar="SECONDS",
                 help=f"Stop code that gives no sign of life for so long. [default: {DEFAULTS.timeout:g}]"),
    click.option("--strict/--no-strict", default=None, help="Whether warnings fail. [default: no-strict]"),
)
OUTPUT_OPTIONS = (
    click.option("--format", "form", type=FormatName(), help="How to report. [default: rich; with -q: short]"),
    click.option("--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="Write the report there."),
    click.option("--verbose", "-v", is_flag=True, callback=_remember_verbose,
                 help="Show all: what passed, every tensor, tracebacks."),
    click.option("--quiet", "-q", is_flag=True, help="No progress, and one line per target."),
)


def _with(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[Any], Any]:
    """Return a decorator that adds options in the order in which they are to be listed."""

    def decorate(function: Any) -> Any:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


# ------------------------------------------------------------------------------------------------------------ commands


@cli.command(epilog=EXIT_HELP)
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--cases", type=int, metavar="N", help=f"Cases per target. [default: {DEFAULTS.cases}]")
@click.option("--seed", type=int, metavar="S", help=f"Seed of the random cases. [default: {DEFAULTS.seed}]")
@click.option("--dtype", metavar=f"[{'|'.join(DTYPES)}]", help=f"dtype of the arrays. [default: {DEFAULTS.dtype}]")
@_with(SETTINGS_OPTIONS, OUTPUT_OPTIONS)
def verify(
    targets: tuple[str, ...], form: str | None, output: Path | None, verbose: bool, quiet: bool, **options: Any
) -> None:
    """Verify hand-written Batch Normalization.

    TARGET is file.py, file.py::name or package.module:name. Defaults stand in [tool.bncheck] of pyproject.toml.

    \b
    Examples:
      bncheck verify my_layers.py
      bncheck verify my_layers.py::batchnorm_backward --dtype float32
      bncheck verify my_package.layers:BatchNorm --select BN2 --strict
      bncheck verify layers.py --format json > report.json
    """
    from bncheck import pipeline

    settings = _settings(options)
    specs = [TargetSpec(target) for target in targets]
    with _output(output) as write:
        with _progress(quiet) as show:
            report = pipeline.run(specs, settings, show)
        write(_rendered(report, form or ("short" if quiet else "rich"), _style(verbose, output)))
    _finish(report, output, quiet)


@cli.command(epilog=EXIT_HELP)
@click.argument("case_id", metavar="ID")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@_with(SETTINGS_OPTIONS, OUTPUT_OPTIONS)
def replay(
    case_id: str,
    targets: tuple[str, ...],
    form: str | None,
    output: Path | None,
    verbose: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Run one case again, and show every tensor of it.

    ID is what a report gives; it holds every parameter of the case, and you may change them.

    \b
    Examples:
      bncheck replay 'v1:plain:seed=0,n=2,c=1' my_layers.py
      bncheck replay 'v1:plain:seed=0,n=65,c=3,eps=0.1' my_layers.py::batchnorm_backward
    """
    from bncheck import pipeline

    settings = _settings(options)
    case = CaseSpec.parse(case_id)
    with _output(output) as write:
        report = pipeline.replay([TargetSpec(target) for target in targets], case.id, settings)
        write(_rendered(report, form or ("short" if quiet else "rich"), _style(True, output)))
    _finish(report, output, quiet)


@cli.command()
@click.argument("codes", nargs=-1, required=True, metavar="CODE...")
def explain(codes: tuple[str, ...]) -> None:
    """Explain a check: what it promises, why that matters, what usually breaks it.

    \b
    Examples:
      bncheck explain BN201
      bncheck explain dx-matches-numeric
    """
    from bncheck.checks.catalogue import CHECKS

    checks = [check for _, check in CHECKS.items()]
    by_name = {**{check.name: check for check in checks}, **{check.code: check for check in checks}}
    wanted = [code if code in by_name else code.upper() for code in codes]
    for code, name in zip(codes, wanted, strict=True):
        if name not in by_name:
            near = did_you_mean(name if name[:2] == "BN" else code.lower(), by_name)
            raise UsageError(f"no check is called {code!r}. {near}")
    pages = [_page(by_name[name]) for name in wanted]
    _print("\n".join(pages))


@cli.command("list")
@click.argument("what", metavar=f"[{'|'.join(LISTS)}]")
def list_(what: str) -> None:
    """List what bncheck knows, one line each.

    \b
    Examples:
      bncheck list checks
      bncheck list recipes
    """
    import importlib

    if what not in LISTS:
        raise UsageError(f"there is no list of {what!r}. {did_you_mean(what, LISTS)}")
    module, name = LISTS[what]
    registry: Registry[Any] = getattr(importlib.import_module(module), name)
    rows = [(key, getattr(item, "name", ""), _first_line(item)) for key, item in registry.items()]
    if not rows:
        _print(f"No {what} are named yet.\n")
        return
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, (*widths, 0), strict=True) if width or text)
             for row in rows)
    _print("".join(f"{line.rstrip()}\n" for line in lines))


@cli.command()
@click.option("--verbose", "-v", is_flag=True, callback=_remember_verbose, help="Show all.")
def demo(verbose: bool) -> None:
    """Verify two small samples, one right and one wrong, to see what a report looks like.

    \b
    Examples:
      bncheck demo
      bncheck demo -v
    """
    from bncheck import pipeline, samples

    folder = Path(str(samples.__file__)).parent
    expected = {"right.py": Verdict.PASS, "misprinted.py": Verdict.FAIL}
    _print(
        "Two samples of Batch Normalization by hand follow: right.py is right, and misprinted.py holds a formula for dx\n"
        "that many have copied from a page where it is misprinted. The first report should say PASS; the second should\n"
        "say that only dx is wrong, against both oracles, and show it on the smallest case that fails.\n\n"
    )
    for name, verdict in expected.items():
        with _progress(quiet=False) as show:
            report = pipeline.run([TargetSpec(str(folder / name))], DEFAULTS, show)
        _print(_rendered(report, "rich", _style(verbose, None)) + "\n")
        if report.verdict is Verdict.INTERRUPTED:
            raise KeyboardInterrupt
        if report.verdict is not verdict:
            raise RuntimeError(f"{name} came out as {report.verdict.value}, and should be {verdict.value}")
    _print("Now yours:  bncheck verify FILE.py\n")


# ------------------------------------------------------------------------------------------------ from options to a run


def _settings(options: dict[str, Any]) -> Settings:
    """Return the settings: pyproject.toml's, overridden by what the command line gave."""
    given = {key: value for key, value in options.items() if value is not None}
    return dataclasses.replace(Settings(**read_pyproject(Path.cwd())), **given)


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Callable[[Progress], None] | None]:
    """Show how far a run is, on standard error and only if that is a terminal; leave no trace."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    from bncheck.reporters.wording import clean

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def show(progress: Progress) -> None:
            failures = f", {progress.failures} failing" if progress.failures else ""
            said = escape(clean(progress.target)) + failures
            bar.update(task, description=said, completed=progress.done, total=progress.total)

        yield show


def _finish(report: Report, output: Path | None, quiet: bool) -> NoReturn:
    if output is not None and not quiet:
        sys.stderr.write(f"{report.verdict.value.upper()}: the report is in {output}\n")
    sys.exit(exit_code(report))


def exit_code(report: Report) -> int:
    """Return the exit code: interrupted before wrong before not run before inconclusive before right.

    A stub beside something that is filled in does not count. A report of nothing is no pass.
    """
    counted = [target.verdict for target in report.targets if not target.stub]
    verdicts = counted or [target.verdict for target in report.targets]
    for grave in (Verdict.INTERRUPTED, Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE):
        if grave in (*verdicts, report.verdict):
            return EXIT_CODES[grave]
    return EXIT_CODES[Verdict.PASS] if verdicts else EXIT_CODES[Verdict.ERROR]


# ------------------------------------------------------------------------------------------------------------- output


def _style(verbose: bool, output: Path | None) -> Style:
    """Return what standard output, or a file, can show."""
    import shutil

    from bncheck.reporters import Style

    if output is not None:
        return Style(width=IN_A_FILE, verbose=verbose)
    color = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if os.environ.get("FORCE_COLOR"):
        color = True
    if os.environ.get("NO_COLOR"):
        color = False
    width = shutil.get_terminal_size((80, 24)).columns
    return Style(min(max(width, NARROWEST), WIDEST), color, not _encodes("✔✘◀─→·"), verbose)


def _encodes(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _rendered(report: Report, form: str, style: Style) -> str:
    from bncheck.reporters import REPORTERS

    return REPORTERS.get(form)(report, style)


def _print(text: str) -> None:
    """Write to standard output; end quietly if nobody reads it any more (``| head``)."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it exits, and would complain; let that go nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _output(path: Path | None) -> Iterator[Callable[[str], None]]:
    """Yield what writes the report: to standard output, or to `path`, whole or not at all.

    A file is opened before the run, so that a wrong path costs no time; it has a temporary name until it is complete.
    """
    if path is None:
        yield _print
        return
    path = path.resolve()
    # A device or a pipe is written to, not replaced.
    special = path.exists() and not path.is_file()
    temporary = path if special else path.with_name(f".{path.name[:100]}.{os.getpid()}.tmp")
    try:
        with temporary.open("w" if special else "x", encoding="utf-8", errors="backslashreplace") as file:
            yield lambda text: None if file.write(text) else None
        if not special:
            temporary.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if not special:
            temporary.unlink(missing_ok=True)


def _page(check: Any) -> str:
    """Return a check's page: its title, then its sections wrapped to the terminal."""
    import re
    import shutil
    import textwrap

    width = min(max(shutil.get_terminal_size((80, 24)).columns, NARROWEST), IN_A_FILE)
    lines = [f"{check.code} {check.name}"]
    for paragraph in re.split(r"\n\s*\n", check.doc.strip()):
        title, underline, body = (*paragraph.split("\n", 2), "", "")[:3]
        if underline and set(underline.strip()) == {"-"}:
            lines += ["", title]
        else:
            body = paragraph
        indent = "  " if body is not paragraph or len(lines) > 1 else ""
        lines += textwrap.wrap(" ".join(body.split()), width, initial_indent=indent, subsequent_indent=indent)
    return "\n".join(lines) + "\n"


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
        _print(f"bncheck {number}\n")
        ctx.exit()
