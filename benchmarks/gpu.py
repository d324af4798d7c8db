"""A torch layer on a GPU: what verifying one large case costs, and how many activations cross to the host for it.

    make bench-gpu

Skipped, with the reason, where PyTorch sees no CUDA device. ``--device cpu`` tries the script itself, on a small case.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from unittest.mock import patch

from common import ORACLES, reached

from bncheck.adapters import resolve
from bncheck.adapters.torch_code import Torch
from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.checks.catalogue import selected
from bncheck.driver import judge
from bncheck.experiments.training import setup
from bncheck.guard import quiet
from bncheck.model import Declared, TargetSpec
from bncheck.session import Target

SHAPES = {"cuda": (32, 256, 56, 56), "cpu": (4, 8, 16, 16)}
DTYPES = ("float32", "bfloat16", "float16")
REPEATS = 5


def section(device: str) -> Iterator[str]:
    """Yield the lines of the report."""
    n, c, *spatial = SHAPES[device.partition(":")[0]]
    spec = TargetSpec("torch.nn:BatchNorm2d", declared=Declared(device=device))
    target = resolve.target(spec, resolve.cards(spec)[0].name)
    shape = "x".join(map(str, (n, c, *spatial)))
    yield f"torch.nn.BatchNorm2d on {device}, {shape}, y and all gradients by both oracles:"
    yield from (
        "",
        "| dtype | seconds for a case | in its own steps from and to the host | activations to the host |",
    )
    yield "|---|---|---|---|"
    for dtype in DTYPES:
        case = CaseSpec(n=n, c=c, spatial=tuple(spatial), dtype=dtype, eps=1e-3)
        check = partial(judge, target, case, selected(ORACLES, ()))
        with quiet():
            seconds, unit, copies = best(check), best(partial(step, target, case)), large_copies(check, case)
        goal = f"goal: y and dx alone, {reached(copies <= 2)}"
        yield f"| {dtype} | {seconds:.2f} | {seconds / unit:.1f} | {copies} ({goal}) |"
    yield ""


def best(action: Callable[[], object]) -> float:
    """Return the least seconds of repeated calls, the first of which loads kernels."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def step(target: Target, spec: CaseSpec) -> None:
    """Run a forward and a backward as bncheck runs them, from arrays of the host to arrays of the host."""
    case = build(spec)
    session = target.open(setup(case))
    session.forward(case.x)
    session.backward(case.dy)


def large_copies(action: Callable[[], object], case: CaseSpec) -> int:
    """Return how many times x's elements an action takes back from the device."""
    taken: list[int] = []
    take = Torch.take

    def counting(self: Torch, value: Any) -> Any:
        if isinstance(value, self.torch.Tensor):
            taken.append(value.numel())
        return take(self, value)

    with patch.object(Torch, "take", counting):
        action()
    return sum(size for size in taken if size >= case.m * case.c) // (case.m * case.c)


def main() -> None:
    """Print the section, or why there is none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="where the layer computes")
    device = parser.parse_args().device
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        print("skipped: PyTorch sees no CUDA device here")
        sys.exit(0)
    print("\n".join(section(device)))


if __name__ == "__main__":
    main()
