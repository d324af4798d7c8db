"""The commands that set up a project and watch over it: ``init`` and ``watch``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from bncheck.errors import UsageError
from bncheck.model import TargetSpec
from bncheck.options import CASE_OPTIONS, DECLARED_OPTIONS, RUN_OPTIONS, examples, settings_from, specs_of, with_options
from bncheck.report import Verdict

if TYPE_CHECKING:
    from bncheck.settings import Settings


@click.command()
@click.argument("targets", nargs=-1, metavar="TARGET...")
@with_options(CASE_OPTIONS, RUN_OPTIONS, DECLARED_OPTIONS)
@examples(
    "bncheck watch my_layers.py",
    "bncheck watch my_layers.py::batchnorm_backward --select BN2",
)
def watch(targets: tuple[str, ...], **options: Any) -> None:
    """Verify again whenever a file is saved, until Ctrl-C.

    Notebooks and what lies beside the target count, too. Needs the extra 'watch'.
    """
    from bncheck import pipeline
    from bncheck.reporters import REPORTERS
    from bncheck.reporters.destination import style_for, write_out
    from bncheck.reporters.progress import on_terminal
    from bncheck.watch import saved

    settings = settings_from(options)
    specs = specs_of(targets, (), settings)
    with contextlib.suppress(KeyboardInterrupt):  # it is how a watch ends
        for _ in saved([spec.source for spec in specs]):
            with on_terminal(quiet=False) as show:
                report = pipeline.run(specs, settings, show)
            click.clear()  # on a terminal alone
            write_out(REPORTERS.get("rich")(report, style_for(None, verbose=False)))
            if report.verdict is Verdict.INTERRUPTED:
                return
            write_out("\nWaiting for a change; Ctrl-C ends.\n")


@click.command()
@click.argument("targets", nargs=-1, metavar="TARGET...")
@click.option("--adapter", is_flag=True, help="Write an adapter: functions of yours that speak for the target.")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path), metavar="FILE", help="The adapter. [default: shown only]"
)
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@with_options(DECLARED_OPTIONS[:2])
@examples(
    "bncheck init my_layers.py --dry-run",
    "bncheck init my_layers.py",
    "bncheck init --adapter my_layers.py",
    "bncheck init --adapter my_layers.py::MyNorm -o my_adapter.py",
)
def init(targets: tuple[str, ...], adapter: bool, output: Path | None, dry_run: bool, **options: Any) -> None:
    """Write files to begin with: settings, a test and a CI workflow; or, with --adapter, an adapter.

    An adapter is for code that bncheck does not understand by itself; what discovery did understand is filled in.
    Nothing is overwritten.
    """
    settings = settings_from(options)
    if adapter:
        if len(targets) != 1:
            raise UsageError("an adapter is for one target: bncheck init --adapter TARGET")
        _write_adapter(targets[0], None if dry_run else output, settings)
    elif not targets:
        raise UsageError("say what is to be verified: bncheck init TARGET")
    elif output is not None:
        raise UsageError("--output is for an adapter; the other files have their places")
    elif any(options.values()):
        raise UsageError("what is known of the target goes into [tool.bncheck]; here it is for an adapter alone")
    else:
        _write_project(targets, dry_run, settings)


def _write_adapter(target: str, output: Path | None, settings: Settings) -> None:
    from bncheck import pipeline
    from bncheck.reporters.destination import write_out

    if output is not None and output.exists():
        raise UsageError(f"{output} is there already, and nothing is overwritten")
    text = pipeline.adapter_source(TargetSpec(target), settings)
    if output is None:
        write_out(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from None
    sys.stderr.write(f"written: {output}\nNow:  bncheck verify {target} --adapter {output}\n")


def _write_project(targets: tuple[str, ...], dry_run: bool, settings: Settings) -> None:
    from bncheck import pipeline
    from bncheck.reporters.destination import write_out
    from bncheck.scaffold import pieces

    for name in pipeline.names([TargetSpec(target) for target in targets], settings):
        write_out(f"found: {name}\n")
    for piece in pieces(Path(), targets):
        if piece.kept:
            write_out(f"kept: {piece.path}: {piece.kept}\n")
            continue
        if not dry_run:
            piece.write()
        write_out(f"{'would be ' * dry_run}{'added to' if piece.added else 'written'}: {piece.path}\n")
        if dry_run:
            write_out("".join(f"    {line}".rstrip() + "\n" for line in piece.text.strip().splitlines()))
    write_out("Nothing was written.\n" if dry_run else "Now:  pytest\n")
