"""What other checkers and bncheck see: the smallest error, wrong implementations, and right ones taken for wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from common import BUGGY, CORRECT, ORACLES, Change, Planted, grown, target_of

# Behind `common`, which says with how many threads NumPy starts.
import numpy as np  # isort: skip

from peers import EPS, PEERS, Arrays, Code, Inputs, accepts, plain

from bncheck import verify
from bncheck.adapters import resolve
from bncheck.case import CaseSpec
from bncheck.checks.catalogue import selected
from bncheck.driver import judge
from bncheck.model import GRADIENTS, Outcome, TargetSpec
from bncheck.report import Verdict
from bncheck.session import Setup, Target

# --------------------------------------------------------------------------------------------------- smallest errors

OWN = "bncheck"
# What bncheck has to say of one case, and what its numerical derivative alone has.
OWN_CHECKS = {OWN: ORACLES, "bncheck, the line probe alone": ("BN201", "BN202", "BN203")}
ERRORS = tuple(10.0**e for e in range(-14, 1))
PLANTED = tuple((tensor, place) for tensor in ("dx", "dgamma", "dbeta") for place in ("all", "one"))
DRAWS = 10
SMALL = (8, 4)


def smallest(tool: str, tensor: str, place: str) -> float | None:
    """Return the smallest error, in norms of the tensor, that is seen in each of ten draws; None if none is."""
    seen = _own_sees if tool in OWN_CHECKS else _peer_sees
    low, high = 0, len(ERRORS)
    while low < high:
        middle = (low + high) // 2
        change = grown(ERRORS[middle], place)
        if all(seen(tool, tensor, change, seed) for seed in range(DRAWS)):
            high = middle
        else:
            low = middle + 1
    return ERRORS[low] if low < len(ERRORS) else None


def _peer_sees(tool: str, tensor: str, change: Change, seed: int) -> bool:
    code, which = plain(SMALL)[1], GRADIENTS.index(tensor)

    def backward(dy: Any, cache: Any) -> Arrays:
        gradients = list(code.backward(dy, cache))
        gradients[which] = change(gradients[which])
        return gradients[0], gradients[1], gradients[2]

    return not accepts(tool, Code(code.forward, backward), Inputs.drawn(SMALL, seed))


def _own_sees(tool: str, tensor: str, change: Change, seed: int) -> bool:
    target = Planted(target_of(CORRECT / "cs231n_staged.py"), tensor, change)
    result = judge(target, CaseSpec(seed=seed, n=SMALL[0], c=SMALL[1], eps=EPS), selected(OWN_CHECKS[tool], ()))[0]
    return any(found.outcome is Outcome.FAIL for found in result.judgements.values())


def sensitivity() -> Iterator[str]:
    """Yield the table of the smallest errors seen."""
    yield from ("| checker | " + " | ".join(map(", ".join, PLANTED)) + " |", "|---" * (1 + len(PLANTED)) + "|")
    for tool in (*PEERS, *OWN_CHECKS):
        found = [smallest(tool, tensor, place) for tensor, place in PLANTED]
        yield f"| {tool} | " + " | ".join("-" if e is None else f"{e:.0e}" for e in found) + " |"


# ------------------------------------------------------------------------------------- bugs caught, and false alarms


def code_of(target: Target) -> Code:
    """Return a target as other checkers take it: whatever its shape, as one forward and one backward."""

    def forward(x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        session: Any = target.open(Setup(np.asarray(gamma), np.asarray(beta), EPS, 0.1))
        return session.evaluate(np.asarray(x)), session  # the code gets x itself, and y is what it returned

    def backward(dy: Any, session: Any) -> Arrays:
        dx, dgamma, dbeta, _ = session.backward(np.asarray(dy))
        return dx, dgamma, dbeta

    return Code(forward, backward)


def _shape(target: Target) -> tuple[int, ...]:
    """Return a small shape that the target takes."""
    rank = min(len(layout) for layout in target.conventions.layouts)
    return {2: SMALL, 3: (4, 3, 4), 4: (4, 3, 2, 2), 5: (4, 3, 2, 2, 1)}[rank]


def bugs() -> Iterator[str]:
    """Yield which wrong implementation each checker finds something wrong with, a line for each."""
    yield from (f"| fixtures/buggy | {' | '.join(PEERS)} | {OWN} |", "|---" * (2 + len(PEERS)) + "|")
    caught: Counter[str] = Counter()
    files = sorted(BUGGY.glob("*.py"))
    for path in files:
        report = verify(str(path), cases=200)  # first: with others, what code does to its process is done, and stays
        warned = any(finding.outcome is Outcome.WARN for finding in report.targets[0].findings)
        target = target_of(path)
        code, inputs = code_of(target), Inputs.drawn(_shape(target))
        marks = {peer: "" if accepts(peer, code, inputs) else "x" for peer in PEERS}
        marks[OWN] = "x" if report.verdict is Verdict.FAIL else "warning" if warned else ""
        caught.update(tool for tool, mark in marks.items() if mark == "x")
        yield f"| {path.stem} | " + " | ".join(marks[tool] for tool in (*PEERS, OWN)) + " |"
    yield f"| **of {len(files)}** | " + " | ".join(f"**{caught[tool]}**" for tool in (*PEERS, OWN)) + " |"


def false_alarms() -> Iterator[str]:
    """Yield on how many right implementations, of how many, each checker raises an alarm."""
    targets = [
        (path, card.name)
        for path in sorted(CORRECT.glob("*.py"))
        if path.stem != "torch_functional"  # its gradients come from torch itself: nothing to check by torch
        for card in resolve.cards(TargetSpec(str(path)))
    ]
    yield from (f"| dtype | {' | '.join(PEERS)} | {OWN} |", "|---" * (2 + len(PEERS)) + "|")
    for dtype in ("float64", "float32"):
        alarms = Counter(dict.fromkeys((*PEERS, OWN), 0))
        for path, name in targets:
            target = target_of(path, name)
            code, inputs = code_of(target), Inputs.drawn(_shape(target), dtype=dtype)
            alarms.update(peer for peer in PEERS if not accepts(peer, code, inputs))
            _, sep, inside = name.partition("::")  # a card is called by the file's name, a reference has its path
            alarms[OWN] += verify(f"{path}{sep}{inside}", cases=200, dtype=dtype).verdict is Verdict.FAIL
        cells = (f"{alarms[tool]} of {len(targets)}" for tool in (*PEERS, OWN))
        yield f"| {dtype} | " + " | ".join(cells) + " |"


# -------------------------------------------------------------------------------------------------------------- report


def section() -> Iterator[str]:
    """Yield the lines of the report."""
    yield (
        f"The smallest error, in norms of the tensor, that is seen in each of {DRAWS} draws of 8 x 4, spread over all "
        "of the tensor or put on its largest element:"
    )
    yield from ("", *sensitivity(), "")
    yield (
        "Right implementations (fixtures/correct) on which an alarm is raised. Every checker is at its defaults, which "
        "are made for float64; with float32 inputs too."
    )
    yield from ("", *false_alarms(), "")
    yield "Wrong implementations (fixtures/buggy): something is found wrong (x), in gradients or not, or warned of:"
    yield from ("", *bugs(), "")


if __name__ == "__main__":
    print("\n".join(section()))
