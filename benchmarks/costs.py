"""What checking one case costs, in units of the code's own forward + backward: other checkers and bncheck.

    python benchmarks/costs.py                             the section of benchmarks/RESULTS.md
    python benchmarks/costs.py cost "finite loop" 64x64    ratios, forwards, and seconds of the first check

Each figure comes from a process of its own. A checker that is not finished within a minute is stopped, and is not tried
on larger cases.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from common import CORRECT, ORACLES, ROOT, reached, spread, target_of
from peers import EPS, PEERS, Code, Inputs, accepts, plain

from bncheck.case import CaseSpec
from bncheck.cases.plan import plan
from bncheck.checks.catalogue import selected
from bncheck.driver import judge
from bncheck.guard import keep_freed_memory, quiet
from bncheck.model import Outcome

LIMIT = 60.0
# What imports, the code's own steps and further checks may take beside the one that is limited, in seconds: arrays of
# the largest case alone take bncheck some, and it is not given up there.
ASIDE, ASIDE_OWN = 30.0, 300.0
LONG = 2.0
SHAPES = ("8x4", "64x64", "128x128", "1024x1024", "32x64x28x28", "1000000x100")
GOALS = {"8x4": 20, "64x64": 20}
GOAL = 15
_REJECTED = "rejects this right code"
OWN = {"bncheck": ORACLES, "bncheck, all checks": ()}
# A process that bncheck runs keeps what is freed; the code's own steps are timed under the same rule.
keep_freed_memory()


class Cost(NamedTuple):
    """What checks cost, in units of the code's own forward + backward, and the forwards that a check called."""

    ratios: list[float]
    forwards: int
    seconds: float


def cost(tool: str, shape: str) -> Cost:
    """Measure one checker on one case: each check beside the code's own steps right before and after it.

    Processors change their speed: the same step may take nearly twice as long a moment later.
    """
    sizes = tuple(map(int, shape.split("x")))
    path, code = plain(sizes)
    inputs = Inputs.drawn(sizes)

    def step() -> None:
        _, cache = code.forward(*inputs.parameters)
        code.backward(inputs.dy, cache)

    def unit() -> float:
        return statistics.median(timed(step, 1 if inputs.x.size >= 1e7 else 9))

    if tool in OWN:
        check = own_check(path, sizes, OWN[tool])
    else:
        peer_check(tool, plain((8, 4))[1], Inputs.drawn((8, 4)))  # what is loaded at first does not count
        check = partial(peer_check, tool, code, inputs)
    unit()  # the first is slower
    before = unit()
    start = time.perf_counter()
    forwards = check()
    first = time.perf_counter() - start
    if first > LONG:  # one that takes long is not asked again
        return Cost([2 * first / (before + unit())], forwards, first)
    ratios = []
    for _ in range(51 if tool in OWN else 5):
        (seconds,) = timed(check, 1)
        after = unit()
        ratios.append(2 * seconds / (before + after))
        before = after
    return Cost(ratios, forwards, first)


def peer_check(tool: str, code: Code, inputs: Inputs) -> int:
    """Check by another checker, and return how many forwards that took."""
    code.forwards = 0
    if not accepts(tool, code, inputs):
        raise SystemExit(_REJECTED)
    return code.forwards


def own_check(path: Path, sizes: tuple[int, ...], codes: tuple[str, ...]) -> Callable[[], int]:
    """Return a function that verifies one case, and tells how many calls of the code that took."""
    target, checks = target_of(path), selected(codes, ())
    case = CaseSpec(n=sizes[0], c=sizes[1], spatial=sizes[2:], eps=EPS)

    def check() -> int:
        with quiet():
            result = judge(target, case, checks)[0]
        assert all(found.outcome in (Outcome.PASS, Outcome.SKIP) for found in result.judgements.values()), result
        return result.evaluations

    return check


def timed(action: Callable[[], object], repeats: int) -> list[float]:
    """Return the seconds of repeated calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return times


def table() -> Iterator[str]:
    """Yield the table of costs."""
    medians: dict[str, dict[str, float]] = {}
    yield from ("| checker | " + " | ".join(SHAPES) + " |", "|---" * (1 + len(SHAPES)) + "|")
    for tool in (*PEERS, *OWN):
        cells: list[str] = []
        for shape in SHAPES:
            command = [sys.executable, __file__, "cost", tool, shape]
            aside = ASIDE_OWN if tool in OWN else ASIDE
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT + aside)
            except subprocess.TimeoutExpired:  # over a minute: larger shapes take longer still
                break
            if done.returncode:
                said = done.stderr.strip().splitlines()[-1]
                cells.append(_REJECTED if said == _REJECTED else f"fails: {said[:60]}")
                continue
            found = Cost(*json.loads(done.stdout))
            median = medians.setdefault(tool, {})[shape] = statistics.median(found.ratios)
            goal = f" {reached(median <= GOALS.get(shape, GOAL))}" if tool == "bncheck" else ""
            if found.seconds > LIMIT and tool not in OWN:
                break
            cells.append(f"{spread(found.ratios, ',.0f')} ({found.forwards:,}){goal}")
        cells += ["over a minute", *["-"] * len(SHAPES)][: len(SHAPES) - len(cells)]
        yield f"| {tool} | " + " | ".join(cells) + " |"
    yield "| goal for bncheck | " + " | ".join(f"at most {GOALS.get(shape, GOAL)}" for shape in SHAPES) + " |"
    drawn(medians)


def drawn(medians: dict[str, dict[str, float]]) -> None:
    """Draw the medians."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "costs"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    for tool, found in medians.items():
        own = tool == "bncheck"
        line = {"linewidth": 2.5 if own else 1.2, "marker": "o", "markersize": 4, "color": "black" if own else None}
        axes.semilogy([SHAPES.index(shape) for shape in found], list(found.values()), label=tool, **line)
    axes.set_xticks(range(len(SHAPES)), SHAPES)
    axes.set(xlabel="x", ylabel="cost / (forward + backward)")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, ncols=2)
    figure.savefig(ROOT / "benchmarks" / "costs.svg", metadata={"Date": None})


# -------------------------------------------------------------------------------------------------------------- memory

LARGE = "1000000x100"


def peak(what: str) -> float:
    """Return the peak GiB of this process after the code's own step on the large case, or after a check of it."""
    sizes = tuple(map(int, LARGE.split("x")))
    path, code = plain(sizes)
    if what == "step":
        inputs = Inputs.drawn(sizes)
        _, cache = code.forward(*inputs.parameters)
        code.backward(inputs.dy, cache)
    else:
        own_check(path, sizes, ORACLES)()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def memory() -> Iterator[str]:
    """Yield what the check of a large case takes beside the code's own step."""
    peaks = {}
    for what in ("step", "check"):
        done = subprocess.run([sys.executable, __file__, "peak", what], capture_output=True, text=True, check=True)
        peaks[what] = float(done.stdout)
    rows, columns = map(int, LARGE.split("x"))
    tensor = rows * columns * 8 / 2**30
    more = (peaks["check"] - peaks["step"]) / tensor
    yield (
        f"Peak memory at {LARGE} float64, where a tensor takes {tensor:.2f} GiB: the code's own step "
        f"{peaks['step']:.1f} GiB, one check of y and all gradients {peaks['check']:.1f} GiB, {more:+.1f} tensors "
        f"(goal: at most 4 more, {reached(more <= 4)})."
    )


# --------------------------------------------------------------------------------------------------------------- rates

DRAWS = 600
SMALL = 1000  # elements of x; two draws in three have no more


def rates() -> Iterator[str]:
    """Yield how many random small cases one process judges in a second."""
    target = target_of(CORRECT / "cs231n_staged.py")
    drawn_cases = (spec for spec in plan(10 * DRAWS, 0, "float64", (0,)) if spec.recipe == "draw")
    specs = list(islice((spec for spec in drawn_cases if spec.m * spec.c <= SMALL), DRAWS))
    yield from (f"| checks, random cases of at most {SMALL} elements | cases/s in process | goal |", "|---|---|---|")
    for name, codes, goal in (
        ("BN201 to BN203, the gradients", ("BN201", "BN202", "BN203"), 1000),
        ("all", (), 400),
    ):
        checks = selected(codes, ())

        def sweep() -> None:
            with quiet():
                for spec in specs:
                    judge(target, spec, checks)  # noqa: B023 - called before the next round

        speeds = sorted(DRAWS / seconds for seconds in timed(sweep, 5))
        yield f"| {name} | {spread(speeds, ',.0f')} | at least {goal}, {reached(statistics.median(speeds) >= goal)} |"


def section() -> Iterator[str]:
    """Yield the lines of the report."""
    yield (
        "Cost of one case in units of the code's own forward + backward (minimum - median - maximum), and in brackets "
        "the forwards that it called. Float64. bncheck's first row is y and all three gradients by both oracles."
    )
    yield from ("", *table(), "", "![Cost of one case](costs.svg)", "")
    yield from (*memory(), "", *rates(), "")


def main() -> None:
    """Print one figure, or the section."""
    if sys.argv[1:2] == ["cost"]:
        print(json.dumps(cost(*sys.argv[2:4])))
    elif sys.argv[1:2] == ["peak"]:
        print(peak(sys.argv[2]))
    else:
        print("\n".join(section()))


if __name__ == "__main__":
    main()
