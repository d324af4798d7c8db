"""The registry of checks."""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bncheck.case import Case
from bncheck.errors import UsageError
from bncheck.model import Evidence, Judgement
from bncheck.registry import Registry, did_you_mean

Seen = Mapping[str, Evidence]
Judge = Callable[[Case, Seen], Judgement]


_SEVERITIES = {
    "error": "An error: where it fails, the verdict is FAIL.",
    "warning": "A warning: it is told, and the verdict stays PASS, unless warnings are to fail (--strict).",
}


# Why a check says nothing of a case: of a whole target any other reason tells more.
NOT_TRIED = "not tried on this case"
DIVIDED_BY_ZERO = "a constant channel without eps is 0/0"
OF_A_CASE = (NOT_TRIED, DIVIDED_BY_ZERO)


@dataclass(frozen=True, slots=True)
class Check:
    """One promise, and the function that judges whether a case's evidence keeps it.

    Attributes
    ----------
    code, name : str
        "BN201", "dx-matches-numeric".
    needs : tuple of str
        The experiments whose evidence it reads.
    confirm : tuple of str
        Further experiments that the driver runs when a judgement is suspect; the check then judges again.
    tensor : str or None
        The tensor that is judged.
    oracle : str
        "reference", "numeric" (derivative of the user's own forward) or "contract" (needs no oracle).
    severity : str
        "error", or "warning" for a check that never says more than WARN.
    follows : tuple of str
        Codes whose failure explains a failure of this check: it is then folded under the first of them that fails.
    of_backward : bool
        Whether the promise is about the backward, so that it does not apply to code that has none.
    judge : callable
        ``(case, seen) -> Judgement``; pure.

    """

    code: str
    name: str
    needs: tuple[str, ...]
    confirm: tuple[str, ...]
    tensor: str | None
    oracle: str
    severity: str
    follows: tuple[str, ...]
    of_backward: bool
    judge: Judge

    @property
    def doc(self) -> str:
        """The page of the check: promise, why it matters, evidence, typical causes, references, severity."""
        return f"{inspect.getdoc(self.judge) or ''}\n\nSeverity\n--------\n{_SEVERITIES[self.severity]}"


CHECKS: Registry[Check] = Registry("check", "bncheck.checks")


def check(
    code: str,
    name: str,
    *,
    needs: tuple[str, ...] = ("training",),
    confirm: tuple[str, ...] = (),
    tensor: str | None = None,
    oracle: str = "contract",
    severity: str = "error",
    follows: tuple[str, ...] = (),
    of_backward: bool = False,
) -> Callable[[Judge], Judge]:
    """Register a judge ``(case, seen) -> Judgement`` under `code`."""

    def register(judge: Judge) -> Judge:
        CHECKS.add(code, Check(code, name, needs, confirm, tensor, oracle, severity, follows, of_backward, judge))
        return judge

    return register


def meant(kind: str) -> bool:
    """Tell whether an exception of this class is a refusal that somebody meant.

    An IndexError or a ZeroDivisionError is none: the code fell over. A class of NumPy's or the user's own was raised by
    somebody who looked.
    """
    return kind in ("ValueError", "AssertionError", "RuntimeError") or not hasattr(builtins, kind)


def named(text: str) -> Check:
    """Return the one check of that code or name; raise UsageError if there is none."""
    for code, item in CHECKS.items():
        if text.upper() == code or text == item.name:
            return item
    known = [word for code, item in CHECKS.items() for word in (code, item.name)]
    raise UsageError(_is_bug(text) or f"there is no check {text!r}. {did_you_mean(text, known)}")


# Characters of a code that say what group of checks it belongs to: BN2.
_GROUP = 3


# The checks that fail where a bug of a group has been put in.
TELLING_OF = {
    "BUG0": ("BN101", "BN2"),
    "BUG1": ("BN101",),
    "BUG2": ("BN201", "BN211"),
    "BUG3": ("BN202", "BN212"),
    "BUG4": ("BN203", "BN213"),
    "BUG5": ("BN101", "BN2"),
    "BUG6": ("BN301", "BN303"),
    "BUG7": ("BN302", "BN305", "BN306"),
    "BUG9": ("BN508",),
}


def _is_bug(text: str) -> str:
    """Return a sentence for the code of a bug in the place of a check's, "" for anything else."""
    codes = TELLING_OF.get(text.upper()[:4])
    if codes is None:
        return ""
    listed = f"{', '.join(codes[:-1])} and {codes[-1]} tell" if len(codes) > 1 else f"{codes[0]} tells"
    return f"{text!r} is a bug, and not a check. Checks are chosen by codes that begin with BN: {listed} of this bug."


def _near(prefix: str, every: list[Check]) -> str:
    """Return a sentence about the groups of checks, for what is no more than a group, or the nearest checks."""
    if len(prefix) <= _GROUP:
        groups = dict.fromkeys(item.code[:_GROUP] for item in every)
        return f"Groups: {', '.join(groups)} (bncheck list checks)."
    return did_you_mean(prefix, [text for item in every for text in (item.code, item.name)])


def selected(select: tuple[str, ...], ignore: tuple[str, ...]) -> list[Check]:
    """Return the checks whose code or name starts with one of `select` (all, if empty) and with none of `ignore`.

    Raises
    ------
    UsageError
        If some entry fits no check, or none is left.

    """
    every = [item for _, item in CHECKS.items()]

    def fits(item: Check, prefix: str) -> bool:
        return item.code.startswith(prefix.upper()) or item.name == prefix

    for prefix in (*select, *ignore):
        if not any(fits(item, prefix) for item in every):
            raise UsageError(_is_bug(prefix) or f"no check's code starts with {prefix!r}. {_near(prefix, every)}")
    chosen = [
        item
        for item in every
        if (not select or any(fits(item, p) for p in select)) and not any(fits(item, p) for p in ignore)
    ]
    if not chosen:
        raise UsageError("no check is left after --select and --ignore")
    return chosen
