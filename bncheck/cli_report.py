"""The command that writes a stored report anew, in any format."""

from __future__ import annotations

import sys
from pathlib import Path

import rich_click as click

from bncheck.errors import UsageError
from bncheck.options import OUTPUT_OPTIONS, examples, with_options


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path), metavar="FILE.json")
@click.option("--schema", is_flag=True, help="Show the JSON Schema of such files, or write it with --output, and end.")
@with_options(OUTPUT_OPTIONS)
@examples(
    "bncheck report report.json",
    "bncheck report report.json --output report.html",
    "bncheck report report.json --format sarif -o bn.sarif --format github",
    "bncheck report --schema --output report.schema.json",
)
def report(
    file: Path | None, schema: bool, forms: tuple[str, ...], paths: tuple[Path, ...], verbose: bool, quiet: bool
) -> None:
    """Show a report that was written as JSON, or write it in another format.

    FILE.json is what 'bncheck verify --format json' wrote; the code that it is about is not needed. The exit code says
    whether it could be read and written, not what is in it.
    """
    from bncheck.reporters.destination import opened
    from bncheck.reporters.outputs import STANDARD_OUTPUT, outputs, writing, written_to
    from bncheck.reporters.schema import kept
    from bncheck.reporters.stored import stored

    if schema:
        if file is not None or forms or len(paths) > 1:
            raise UsageError("--schema stands alone, or with one --output")
        place = next((path for path in paths if str(path) != STANDARD_OUTPUT), None)
        with opened(place, for_programs=True) as write_schema:
            write_schema(kept())
        return
    if file is None:
        raise UsageError("say which report: bncheck report FILE.json")
    wanted = outputs(forms, paths, quiet)
    made = stored(file)
    with writing(wanted, verbose) as write:
        write(made)
    if not quiet and (where := written_to(wanted)):
        sys.stderr.write(f"{where}\n")
