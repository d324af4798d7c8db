"""What a report remarks on the conventions of a target: signs that something is not meant as it is, or had no use."""

from __future__ import annotations

import inspect
import re
from typing import Any

from bncheck.adapters.identifiers import aside
from bncheck.adapters.modes import Offering, is_said
from bncheck.adapters.plans import arguments
from bncheck.adapters.probe import Fit
from bncheck.adapters.protocol import Candidate, Namespace, Reading
from bncheck.adapters.words import STATISTICS
from bncheck.model import Declared


def swapped(fit: Fit, declared: Declared) -> str:
    """Return a note on gradients that come in an order of their own: nothing else shows it to who takes them apart."""
    order = re.findall(r"\bd(?:gamma|beta)\b", fit.returns) if fit.returns.startswith("tuple") else []
    if declared.returns or order != ["dbeta", "dgamma"]:
        return ""
    return "dbeta is returned before dgamma; --returns 'dx, dgamma, dbeta' holds the code to the usual order"


def unswitched(reading: Reading, sense: str) -> str:
    """Return a note on running statistics that change in training of code that is not known to be told that it infers.

    Of statistics that a forward is given it is their keeper who knows.
    """
    if sense in ("", "unknown") or not isinstance(reading, Offering) or reading.mode_switch or reading.given_statistics:
        return ""
    return (
        "eval mode was not verified: no switch between training and inference was found; if there is one, "
        "--mode-switch NAME names it"
    )


def unused(declared: Declared, reading: Reading) -> list[str]:
    """Return what the user said that nothing was done with."""
    said, used = declared.mode_switch, reading.mode_switch
    instead = f"{used} is used" if used else "none is used"
    unused = [f"mode switch {said!r} was not found; {instead}"] if said and not is_said(said, used) else []
    if declared.device != "cpu" and reading.framework.name == "numpy":
        unused.append(f"device {declared.device} is not used: the arrays are NumPy's")
    return unused


# An argument in a call that is spelled out: "bn(x, gamma, bn_param=options)".
_ARGUMENT = re.compile(r"[(,]\s*(\w+)\s*(?=[=,)])")
# Arguments of which no more than these are named.
_MOST_NAMED = 4


def at_defaults(candidate: Candidate, namespace: Namespace, reading: Reading) -> str:
    """Return a note on the optional arguments that a function, or a class and its forward, was given nothing for.

    Of running statistics and of what has nothing to do with Batch Normalization nothing is said, nor of objects, which
    somebody else made.
    """
    named, _, method = candidate.forward_name.partition(".")
    thing = namespace.things.get(named)
    if not inspect.isfunction(thing) and not inspect.isclass(thing):
        return ""
    functions: list[Any] = [thing, getattr(thing, method, None)]
    given = {*_ARGUMENT.findall(reading.spelled()), *re.findall(r"\w+$", reading.mode_switch)}
    known = [argument for function in functions if callable(function) for argument in arguments(function) or ()]
    known = [a for a in known if not a.required and a.role not in STATISTICS and aside(a.name) in (None, "axis")]
    left = [name for name in dict.fromkeys(a.name for a in known) if name not in given]
    more = f" and {len(left) - _MOST_NAMED} more" if len(left) > _MOST_NAMED else ""
    ran = "default was" if len(left) == 1 else "defaults were"
    return f"{', '.join(left[:_MOST_NAMED])}{more}: only the {ran} run" if left else ""
