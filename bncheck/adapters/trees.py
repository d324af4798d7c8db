"""Trees of arrays: what is in one, by the names that lead to it.

They are what JAX takes apart; without it, dicts, lists and tuples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bncheck.adapters.frameworks import is_array
from bncheck.adapters.pure_layers import Arrays, running_role
from bncheck.adapters.words import STATISTICS, Role, argument_role, train_is_true


@dataclass(frozen=True)
class Leaf:
    """One thing in a tree: its name, and what it is to start with."""

    name: str
    value: Any

    @property
    def is_mode(self) -> bool:
        """Whether it is a flag that says whether this is training."""
        return isinstance(self.value, bool) and argument_role(self.last) is Role.MODE

    @property
    def last(self) -> str:
        """The last part of its name."""
        return self.name.rpartition("/")[2]


def trees_in(made: Any, count: int) -> tuple[Any, ...]:
    """Return the trees that are handed on, of all that was made."""
    if count == 1 and not is_row(made):
        return (made,)
    if is_row(made) and len(made) != count:
        made = tuple(item for item in made if not _is_shape(item))
        made = made if len(made) == count else (made,)
    if not is_row(made) or len(made) != count:
        raise TypeError(f"{count} trees of arrays are asked for, and others are made")
    return tuple(made)


def is_row(made: Any) -> bool:
    """Tell several things in a row from a tree with names, and from one array."""
    return isinstance(made, tuple | list) and not hasattr(made, "_fields")


def _is_shape(item: Any) -> bool:
    return is_row(item) and all(isinstance(size, int) for size in item)


def flat(jax: Any, tree: Any, argument: str, names: list[str]) -> tuple[list[Leaf], Any]:
    """Return what is in a tree, by the names that lead to it, and its structure.

    The things in a tuple have the names that the code gives them where it takes the tuple apart.
    """
    found, structure = _flattened(jax, tree)
    named = names if is_row(tree) and len(names) == len(tree) else []
    leaves = []
    for steps, value in found:
        if named:
            steps[0] = named[int(steps[0])]
        leaves.append(Leaf("/".join((argument, *steps)), value))
    return leaves, structure


def _flattened(jax: Any, tree: Any) -> tuple[list[tuple[list[str], Any]], Any]:
    if jax is None:
        return list(_plainly(tree, [])), tree
    found, structure = jax.tree_util.tree_flatten_with_path(tree)
    return [([_step(step) for step in path], value) for path, value in found], structure


def _plainly(tree: Any, steps: list[str]) -> Iterator[tuple[list[str], Any]]:
    if isinstance(tree, Mapping):
        inner = [(str(key), tree[key]) for key in tree]
    elif isinstance(tree, tuple | list):
        inner = list(zip(getattr(tree, "_fields", map(str, range(len(tree)))), tree, strict=True))
    else:
        yield steps, tree
        return
    for step, item in inner:
        yield from _plainly(item, [*steps, step])


def rebuilt(jax: Any, structure: Any, values: list[Any]) -> Any:
    """Return the tree of a structure, as `flat` told it, with other things in it."""
    return _filled(structure, iter(values)) if jax is None else jax.tree.unflatten(structure, values)


def _filled(tree: Any, values: Iterator[Any]) -> Any:
    if isinstance(tree, Mapping):
        return {key: _filled(tree[key], values) for key in tree}
    if isinstance(tree, tuple | list):
        items = [_filled(item, values) for item in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    return next(values)


def _step(step: Any) -> str:
    return str(next(getattr(step, name) for name in ("key", "name", "idx") if hasattr(step, name)))


def value_of(leaf: Leaf, given: Arrays, train: bool) -> Any:
    """Return what is in the place of a leaf now: the mode, an array that is given, or what it started with."""
    if leaf.is_mode:
        return train if train_is_true(leaf.last) else not train
    return given.get(leaf.name, leaf.value)


def learns(leaves: list[Leaf]) -> bool:
    """Tell the tree that training learns: gamma or beta is in it."""
    return any(argument_role(leaf.last) in (Role.GAMMA, Role.BETA) for leaf in leaves)


def named_arrays(leaves: list[Leaf], arrays: Arrays) -> list[str]:
    """Return the names of the arrays in a tree that are no running statistics."""
    return [leaf.name for leaf in leaves if leaf.name in arrays and running_role(leaf.name) not in STATISTICS]


def renewed(jax: Any, others: tuple[Any, ...], names: Mapping[str, list[str]], arrays: Arrays) -> dict[str, Any]:
    """Return the arrays of the trees that came back beside y: those that lie at the end of the same path.

    `names` are what the things in a tuple are called, by the argument that takes the tuple.
    """
    found: dict[str, Any] = {}
    for item in others:
        for argument, named in names.items():
            leaves, _ = flat(jax, item, argument, named)
            found |= {leaf.name: leaf.value for leaf in leaves if leaf.name in arrays and is_array(leaf.value)}
    return found
