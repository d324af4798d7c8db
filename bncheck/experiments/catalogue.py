"""The registry of experiments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bncheck.case import Case
from bncheck.model import Evidence
from bncheck.registry import Registry
from bncheck.session import Target

Seen = Mapping[str, Evidence]
Script = Callable[[Target, Case, Seen], Evidence]


@dataclass(frozen=True, slots=True)
class Experiment:
    """A script, and the experiments whose evidence it reads."""

    name: str
    needs: tuple[str, ...]
    run: Script


EXPERIMENTS: Registry[Experiment] = Registry("experiment", "bncheck.experiments")


def experiment(name: str, needs: tuple[str, ...] = ()) -> Callable[[Script], Script]:
    """Register a script ``(target, case, seen) -> Evidence`` under `name`."""

    def register(script: Script) -> Script:
        EXPERIMENTS.add(name, Experiment(name, needs, script))
        return script

    return register


def in_order(names: tuple[str, ...]) -> list[Experiment]:
    """Return the named experiments and all that they need, each once, needed ones first."""
    ordered: dict[str, Experiment] = {}

    def visit(name: str) -> None:
        if name not in ordered:
            found = EXPERIMENTS.get(name)
            for needed in found.needs:
                visit(needed)
            ordered[name] = found

    for name in names:
        visit(name)
    return list(ordered.values())
