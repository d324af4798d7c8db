"""The Python front: ``bncheck.verify(...)``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from bncheck import pipeline
from bncheck.adapters.words import stem
from bncheck.errors import StubError, TargetError, UsageError
from bncheck.model import TargetSpec
from bncheck.registry import did_you_mean
from bncheck.report import Report, Verdict
from bncheck.reporters.progress import in_notebook
from bncheck.settings import Settings


def verify(
    forward: Callable[..., Any] | type | str | object,
    backward: Callable[..., Any] | None = None,
    *,
    select: str | Sequence[str] = (),
    ignore: str | Sequence[str] = (),
    **options: Any,
) -> Report:
    """Verify a Batch Normalization and return the report, which is truthy when everything is right.

    Live objects run in this process; a file runs in a process of its own, as on the command line. In a notebook a bar
    shows how far it is, and the report is shown as the command line shows it.

    Parameters
    ----------
    forward : callable, class, layer or str
        The forward function of a pair; or a layer class; or a function or layer that a framework differentiates
        (``torch.nn.BatchNorm2d``, a module made from it, a function in JAX); or a target as the command line takes it
        ("my_bn.py", "my_bn.py::batchnorm_forward", "package.module:name").
    backward : callable, optional
        The backward function of the pair.
    select, ignore : str or sequence of str
        Codes or prefixes of checks to run, or to leave out: "BN2, BN503", ["BN101", "BN503"].
    **options
        The other fields of :class:`bncheck.settings.Settings`: cases, seed, dtype, timeout, strict, and what is known
        of the target (layout, eps, returns, profile, device ...: :class:`bncheck.model.Declared`).

    Returns
    -------
    Report
        With ``verdict``, ``targets`` and ``raise_for_failure()``.

    Raises
    ------
    UsageError
        If an option or a check does not exist, or a value does not fit.
    TargetError
        If the target cannot be loaded or understood (StubError if it is not filled in yet).

    Examples
    --------
    >>> import bncheck
    >>> report = bncheck.verify("bncheck/samples/right.py")
    >>> bool(report)
    True

    """
    __tracebackhide__ = True  # pytest shows the caller's line
    try:
        return _verified(_spec(forward, backward), dict(options, select=select, ignore=ignore))
    except (UsageError, TargetError) as error:
        # It is about the call: where in bncheck it was noticed is of no interest to the caller.
        raise error.with_traceback(None) from None


def _verified(spec: TargetSpec, options: dict[str, Any]) -> Report:
    known = [field.name for field in dataclasses.fields(Settings) if field.name != "targets"]
    for name in options:
        if name not in known:
            raise UsageError(f"verify() has no option {name!r}. {did_you_mean(name, known)}")
    settings = Settings(**options)
    with in_notebook() as show:
        report = pipeline.run([spec], settings, show)
    if report.verdict is Verdict.ERROR:
        broken = next(target for target in report.targets if target.verdict is Verdict.ERROR)
        raise (StubError if broken.stub else TargetError)(broken.error)
    return report


Function = Callable[..., Any]


def _spec(forward: Any, backward: Function | None) -> TargetSpec:
    if isinstance(forward, str):
        if backward is not None:
            raise UsageError("a target given as text has its backward in it; leave out the second argument")
        return TargetSpec(forward)
    live = (forward,) if backward is None else (forward, backward)
    if not all(callable(item) for item in live) and not _is_layer(live):
        raise UsageError("verify() takes a forward and a backward function, a layer class, or a target as text")
    names = [getattr(item, "__name__", "") for item in live]
    if [stem(name).direction for name in names] == ["backward", "forward"]:
        raise UsageError(f"verify() takes the forward first: are {names[0]} and {names[1]} swapped?")
    return TargetSpec(getattr(forward, "__qualname__", type(forward).__name__), live)


def _is_layer(live: tuple[Any, ...]) -> bool:
    """Tell whether it is one layer that cannot be called itself; discovery says what can be done with it."""
    from bncheck.adapters.layer_class import method_pairs  # it loads NumPy

    return len(live) == 1 and bool(method_pairs(type(live[0])))
