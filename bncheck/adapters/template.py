"""``bncheck init``: the text of an adapter file to start from, with what discovery understood filled in."""

from __future__ import annotations

import inspect
import textwrap
from dataclasses import replace

from bncheck import guard
from bncheck.adapters import resolve
from bncheck.adapters.adapter_writer import Writer
from bncheck.adapters.draft import draft, methods
from bncheck.adapters.loading import load, parse
from bncheck.adapters.plans import spelled
from bncheck.adapters.protocol import ADAPTERS, Candidate, Namespace
from bncheck.adapters.watching import UnclearError, observe
from bncheck.errors import BncheckError
from bncheck.model import Conventions, TargetSpec

_HEAD = """# Adapter for {source}
#
#     bncheck verify {source} --adapter THIS_FILE
#
# Each function takes what it needs, by name: module (the file of the target), target (what was named in it, else the
# module), gamma, beta, eps, momentum, channels, dtype; forward and backward also state, x, train, mode; backward dy.
"""
_SKELETON = '''

# def open(module, gamma, beta, eps, momentum):
#     """Make what a fresh layer needs, and return it: the state. Without this function the state is None."""
#     return module.BatchNorm(gamma, beta, eps)


def forward(module, state, x, gamma, beta, eps, train):
    """Return y, or (y, state) if backward needs a new state such as a cache."""
    raise NotImplementedError


def backward(module, state, dy):
    """Return dx, dgamma, dbeta."""
    raise NotImplementedError
'''


# Characters of a comment's line.
_LINE = 120


def adapter_source(spec: TargetSpec) -> str:
    """Return the text of an adapter file for a target: working where discovery understood it, a skeleton elsewhere.

    User code is run. Where a reference holds several targets the first one that can be run is taken.

    Raises
    ------
    TargetError
        If the target cannot be loaded.

    """
    spec = replace(spec, declared=replace(spec.declared, adapter_file=None))  # the one in pyproject.toml, say
    with guard.quiet():
        namespace = load(parse(spec.source), spec.declared.stand_ins)
        try:
            card = next(card for card in resolve.cards(spec) if card.conventions is not None)
            assert card.conventions is not None
            chosen = _candidate(card.name, card.conventions, namespace)
            return _source_of(spec, namespace, chosen, card.conventions)
        except (BncheckError, UnclearError) as error:
            return _skeleton(spec, namespace, str(error))


def _source_of(spec: TargetSpec, namespace: Namespace, chosen: Candidate, conventions: Conventions) -> str:
    """Return the text for one candidate that runs; raise UnclearError where its calls cannot be written down."""
    names = chosen.forward_name, chosen.backward_name
    thing = namespace.things.get(chosen.name.split(".")[0])
    if inspect.isclass(thing):
        methods = names[0].split(".")[-1], names[1].split(".")[-1]
        seen = observe((thing,), methods, conventions, spec.declared)
        writer = Writer(seen, methods, f"module.{thing.__name__}")
    else:
        if not all(name in namespace.things for name in names):
            raise UnclearError(f"{' and '.join(names)} are no functions of the file")
        seen = observe(tuple(namespace.things[n] for n in names), names, conventions, spec.declared)
        writer = Writer(seen, names, "")
    return "".join((_HEAD.format(source=spec.source), writer.constants(), *writer.functions()))


def _candidate(name: str, conventions: Conventions, namespace: Namespace) -> Candidate:
    found = ADAPTERS.get(conventions.adapter).candidates(namespace)
    chosen = next((c for c in found if namespace.label + c.name == name), None)
    if chosen is None:
        raise UnclearError(f"{name} is understood by the adapter {conventions.adapter}, which is not written down here")
    return chosen


def _skeleton(spec: TargetSpec, namespace: Namespace, why: str) -> str:
    """Return an adapter with everything still to be written, and what there is to call."""
    drafted = draft(namespace.things)
    kind = "a draft, by the names in the code" if drafted else "a skeleton only"
    # What was tried, and where, is told by verifying.
    said = why.partition(" Tried: ")[0].removeprefix(f"{spec.source}: ")
    lines = ["", textwrap.shorten(f"# This is {kind}: {said}", _LINE, placeholder=" ..."), "# What the target holds:"]
    for name, thing in namespace.things.items():
        lines.append(f"#   {'class ' * inspect.isclass(thing)}{name}{spelled(thing)}")
        lines += [f"#       .{method}" for method in methods(thing)] if inspect.isclass(thing) else []
    return _HEAD.format(source=spec.source) + "\n".join(lines) + ("\n" + drafted if drafted else _SKELETON)
