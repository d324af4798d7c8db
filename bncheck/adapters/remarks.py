"""What a report remarks on the conventions of a target: signs that something is not meant as it is, or had no use."""

from __future__ import annotations

import re

from bncheck.adapters.modes import Offering, is_said
from bncheck.adapters.probe import Fit
from bncheck.adapters.protocol import Reading
from bncheck.adapters.rules import Statistics
from bncheck.model import Declared


def forgetful(kept: Statistics, usual: float | None) -> str:
    """Return a note on a default momentum by which most of the statistics is new after each batch: a sign of its sides.

    Which side the momentum is on is a convention, and libraries have either; by its default value it can be told.
    """
    share = None if usual is None else {"kept": 1 - usual, "new": usual}.get(kept.sense)
    if share is None or share <= 0.5 or kept.kept is not None:
        return ""
    return (
        f"by its default momentum of {usual:g}, {share:.0%} of the running statistics are new after each batch: "
        "is it on the wrong side? --profile pytorch or cs231n, ... holds it to a convention"
    )


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
