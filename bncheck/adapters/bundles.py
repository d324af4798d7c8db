"""What a factory returns, as one object: its functions as methods, the variables that they share as attributes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import CellType
from typing import Any

from bncheck.adapters.frameworks import is_array
from bncheck.adapters.layer_class import method_pairs
from bncheck.adapters.words import stem


class Bundle:
    """A forward, and a backward where there is one; each made with a class of its own."""

    forward: Callable[..., Any]
    backward: Callable[..., Any]


def bundled(made: Any) -> Any:
    """Return functions that belong together as a :class:`Bundle`, any other object as it is, None for nothing."""
    if made is None or isinstance(made, int | float | str | bytes) or is_array(made):
        return None
    named = list(_named(made))
    functions = [(name, thing) for name, thing in named if inspect.isroutine(thing)]
    if not functions:
        return made if not isinstance(made, tuple | list | Mapping) else None
    forward = _first(functions, "forward") or _first(functions, "")
    backward = next((f for n, f in functions if stem(n).direction == "backward" and f is not forward), None)
    if backward is None:
        backward = next((f for _, f in functions if f is not forward), None)
    if forward is None:
        return None
    return _joined(forward, backward, {name: thing for name, thing in named if not inspect.isroutine(thing)})


def names_of(made: Any) -> tuple[str, str] | None:
    """Return the names of the forward and the backward of what a factory returned; no backward is an empty name."""
    if isinstance(made, Bundle):
        return ("forward", "backward" if hasattr(made, "backward") else "")
    if made is None or inspect.isclass(made) or not hasattr(made, "__dict__"):
        return None
    pairs = method_pairs(type(made))
    return pairs[0][1] if pairs else None


def _named(made: Any) -> Iterator[tuple[str, Any]]:
    """Yield the parts of what a factory returned, by name."""
    if inspect.isroutine(made):
        yield "forward", made
        yield from vars(made).items() if hasattr(made, "__dict__") else ()
    elif isinstance(made, Mapping):
        yield from ((str(key), thing) for key, thing in made.items())
    elif isinstance(made, tuple | list):
        fields = getattr(made, "_fields", ())
        for at, thing in enumerate(made):
            name = fields[at] if fields else getattr(thing, "__name__", f"part{at}")
            # A dict that stands beside the functions holds parameters, or state.
            yield ("params" if isinstance(thing, Mapping) and not fields else str(name)), thing
    elif type(made).__module__ == "types":
        yield from vars(made).items()


def _first(functions: list[tuple[str, Any]], direction: str) -> Callable[..., Any] | None:
    return next((function for name, function in functions if stem(name).direction == direction), None)


def _joined(forward: Callable[..., Any], backward: Callable[..., Any] | None, others: dict[str, Any]) -> Bundle:
    """Return an object with the functions, whose attributes are the variables that they close over."""
    cells: dict[str, CellType] = {}
    for function in (forward, backward):
        code = getattr(function, "__code__", None)
        names = getattr(code, "co_freevars", ())
        cells |= dict(zip(names, getattr(function, "__closure__", None) or (), strict=False))
    own = {name: _variable(cell) for name, cell in cells.items() if name not in ("forward", "backward")}
    bundle: Bundle = type("Bundle", (Bundle,), own)()
    for name, thing in others.items():
        if name not in own:
            setattr(bundle, name, thing)
    bundle.forward = forward
    if backward is not None:
        bundle.backward = backward
    return bundle


def _variable(cell: CellType) -> property:
    def get(bundle: Any) -> Any:
        try:
            return cell.cell_contents
        except ValueError:  # not assigned yet
            raise AttributeError from None

    def put(bundle: Any, value: Any) -> None:
        cell.cell_contents = value

    return property(get, put)
