"""The options of the command line, each defined once, and how they become settings."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import rich_click as click

from bncheck.case import DTYPES
from bncheck.errors import UsageError
from bncheck.model import PROFILES, TargetSpec
from bncheck.report import Report, Verdict
from bncheck.settings import Settings, misfits, read_pyproject

DEFAULTS = Settings()
VERBOSE = "bncheck.verbose"


class FormatName(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """The name of a reporter; the registry is asked only when it is needed."""

    name = "format"

    def get_metavar(self, param: click.Parameter, ctx: click.Context | None = None) -> str:
        """Return all names, for the help text."""
        from bncheck.reporters import REPORTERS

        return f"[{' | '.join(REPORTERS.names())}]"  # with blanks, so that it can be wrapped

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name if it is one, or say which one is near."""
        from bncheck.reporters import REPORTERS

        value = value.lower()
        try:
            REPORTERS.get(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)
        return value


def _codes(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...] | None:
    """Return what was given; None where nothing was, so that it overrides nothing. Settings splits the codes."""
    return values or None


def remember_verbose(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    """Note that the user asked for everything, for whoever reports an error."""
    ctx.meta[VERBOSE] = value
    return value


PROGRAMS = click.option(
    "--exec", "programs", multiple=True, metavar="COMMAND", help="A program in any language: docs/exec-protocol.md."
)
# What the user may say about a target instead of leaving it to discovery.
DECLARED_OPTIONS = (
    click.option("--layout", metavar="LAYOUT", help="Layout of x: NC, CN, NCL, NLC, NCHW, NHWC, NCDHW or NDHWC."),
    click.option("--parameter-shape", metavar="SHAPE", help="Shape of gamma and beta: '(C,)', '(1, C)', '(C, 1)'."),
    click.option("--eps", type=float, metavar="VALUE", help="The value of an eps that is hard-coded."),
    click.option(
        "--momentum-sense", metavar="[kept|new]", help="Whether momentum is the fraction that stays, or that comes in."
    ),
    click.option("--running-var", metavar="[biased|unbiased]", help="Which variance the running variance takes in."),
    click.option("--mode-switch", metavar="NAME", help="Argument, key, attribute or method that says train or eval."),
    click.option("--returns", metavar="NAMES", help="What backward returns, in order: 'dx, dbeta, dgamma'."),
    click.option(
        "--profile",
        metavar="NAME",
        help=f"Whose running statistics to hold it to: {', '.join(PROFILES)}. [default: auto]",
    ),
    click.option(
        "--grad-scale",
        metavar="[sum|mean]",
        help="Whether dgamma and dbeta are sums, or are meant to be means over the batch. [default: sum]",
    ),
    click.option("--as", "kind", metavar="ADAPTER", help="The one adapter to try: see 'bncheck list adapters'."),
    click.option(
        "--adapter", "adapter_file", metavar="FILE", help="Functions of yours that speak for it: see 'bncheck init'."
    ),
    click.option("--device", metavar="NAME", help="Where a framework's arrays live: cpu, cuda, cuda:1. [default: cpu]"),
    click.option(
        "--stand-ins/--no-stand-ins",
        default=None,
        help="Whether missing modules may be replaced where batch norm does not need them. [default: stand-ins]",
    ),
)
CASE_OPTIONS = (
    click.option("--cases", type=int, metavar="N", help=f"Cases per target. [default: {DEFAULTS.cases}]"),
    click.option("--seed", type=int, metavar="S", help=f"Seed of the random cases. [default: {DEFAULTS.seed}]"),
    click.option("--dtype", metavar="NAME", help=f"dtype of arrays: {', '.join(DTYPES)}. [default: {DEFAULTS.dtype}]"),
    click.option(
        "--max-time",
        type=float,
        metavar="SECONDS",
        help="Run the cases of a target for so long; those that ran decide.",
    ),
)
# Of sweeps so long that they may be ended, or be too much for one machine.
SWEEP_OPTIONS = (
    click.option(
        "--journal",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Append the result of each case to this file, so that a sweep that ended early can be resumed.",
    ),
    click.option(
        "--resume", is_flag=True, help="Take the results that the journal has, and run the cases behind them."
    ),
    click.option(
        "--dask",
        metavar="[ADDRESS|local]",
        help="Share the cases among the workers of a Dask cluster: the address of its scheduler, tcp://HOST:8786, or "
        "local to begin one here (on one machine --jobs is quicker). Needs the extra dask.",
    ),
)
RUN_OPTIONS = (
    click.option("--select", multiple=True, callback=_codes, metavar="CODES", help="Only these checks: BN2,BN503."),
    click.option("--ignore", multiple=True, callback=_codes, metavar="CODES", help="Leave these checks out."),
    click.option(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help=f"Stop code that gives no sign of life for so long. [default: {DEFAULTS.timeout:g}]",
    ),
    click.option(
        "--jobs", type=int, metavar="N", help="Processes that share the cases. [default: as many as pay off, at most 4]"
    ),
    click.option(
        "--memory",
        type=float,
        metavar="GIB",
        help="GiB of memory that each process may take on top of what it starts with. [default: the machine's]",
    ),
    click.option("--strict/--no-strict", default=None, help="Whether warnings fail. [default: no-strict]"),
)
OUTPUT_OPTIONS = (
    click.option(
        "--format",
        "forms",
        multiple=True,
        type=FormatName(),
        help="How to report; may be given several times. [default: what FILE ends in; rich; with -q: short]",
    ),
    click.option(
        "--output",
        "-o",
        "paths",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Write the report there: the first format to the first FILE, and so on. With fewer formats than files "
        "each file has the format that it ends in, and the format that is left is printed.",
    ),
    click.option(
        "--verbose",
        "-v",
        is_flag=True,
        callback=remember_verbose,
        help="Show all: what passed, every tensor, tracebacks.",
    ),
    click.option("--quiet", "-q", is_flag=True, help="No progress, and one line per target, beside files too."),
)

_TARGET = "How the target wants to be called (found out where left out)"


def _panels(command: str) -> Any:
    """Return the panels of a command's help: what to run, what is known of the target, how to report."""

    def names(options: tuple[Any, ...]) -> list[str]:
        return [parameter.opts[0] for option in options for parameter in option(lambda: None).__click_params__]

    own = [*(["--exec"] if command != "watch" else []), *(names(CASE_OPTIONS) if command != "replay" else [])]
    own += names(SWEEP_OPTIONS) if command == "verify" else []
    return [
        {"name": "What to run", "options": [*own, *names(RUN_OPTIONS)]},
        {"name": _TARGET, "options": names(DECLARED_OPTIONS)},
        {"name": "How to report", "options": [*(names(OUTPUT_OPTIONS) if command != "watch" else []), "--help"]},
    ]


for _command in ("verify", "replay", "watch"):
    click.rich_click.OPTION_GROUPS[f"bncheck {_command}"] = _panels(_command)


def with_options(*groups: tuple[Callable[[Any], Any], ...]) -> Callable[[Any], Any]:
    """Return a decorator that adds options in the order in which they are to be listed."""

    def decorate(function: Any) -> Any:
        for option in reversed([option for group in groups for option in group]):
            function = option(function)
        return function

    return decorate


def settings_from(options: dict[str, Any]) -> Settings:
    """Return the settings: pyproject.toml's, overridden by what the command line gave."""
    given = {key: value for key, value in options.items() if value is not None}
    return dataclasses.replace(Settings(**read_pyproject(Path.cwd())), **given)


def examples(*lines: str) -> Callable[[Any], Any]:
    """Return a decorator that adds examples to a command's help, each on a line of its own."""

    def decorate(function: Any) -> Any:
        # \b tells click to leave the line breaks of the paragraph alone.
        listed = "\n".join(f"  {line}" for line in lines)
        function.__doc__ = f"{inspect.cleandoc(function.__doc__)}\n\n\b\nExamples:\n{listed}"
        return function

    return decorate


def specs_of(targets: tuple[str, ...], programs: tuple[str, ...], settings: Settings) -> list[TargetSpec]:
    """Return what to verify: what is asked for, else an adapter file by itself, else the settings' targets."""
    adapter_file = settings.adapter_file
    if not targets and not programs:
        targets = (adapter_file,) if adapter_file else settings.targets
    if not targets and not programs:
        raise UsageError(
            "nothing to verify: give a TARGET, such as my_layers.py, or --exec COMMAND, "
            "or name targets in [tool.bncheck] of pyproject.toml"
        )
    if programs and adapter_file:
        raise UsageError("--exec speaks for itself; leave out --adapter")
    return [TargetSpec(target) for target in targets] + [TargetSpec(command, program=True) for command in programs]


def hints(settings: Settings, specs: Sequence[TargetSpec], report: Report) -> list[str]:
    """Return what is to be set right in the settings, as far as a run can tell: that all their targets ran."""
    unknown = {target.verdict for target in report.targets} & {Verdict.ERROR, Verdict.INTERRUPTED}
    if unknown or not settings.targets or not {*settings.targets} <= {spec.source for spec in specs}:
        return []
    # Of files of one name in several folders reports give the path.
    told = [t.name.rpartition("/")[2] if "::" in t.name else t.name for t in report.targets]
    names = [name for bare in told for spec in specs for name in spec.names_of(bare) if name.endswith(bare)]
    return list(misfits(settings.expected, names))
