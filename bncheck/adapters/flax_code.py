"""Flax: modules of flax.linen and flax.nnx, called as the pure functions of their variables that they are underneath.

Flax is imported only once a module of it is about to be called.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from bncheck.adapters.frameworks import FRAMEWORKS, Framework
from bncheck.adapters.jax_code import Jax
from bncheck.adapters.protocol import ADAPTERS, ByThing, Candidate, Parameters
from bncheck.adapters.pure_layers import Arrays, PureLayer, PureLayerClass, derives, given_to, switch_of
from bncheck.model import Declared

NAME = "flax-module"


def _linen(
    framework: Jax, cls: Any, made: dict[str, str], called: dict[str, str], x: Any, parameters: Parameters
) -> PureLayer:
    """Return a module of flax.linen: a description, with its variables apart."""
    import jax

    both = {train: given_to(made, parameters, x.dtype, train) for train in (True, False)}
    calls = {train: given_to(called, parameters, x.dtype, train) for train in (True, False)}
    begin = partial(cls(**both[True]).init, **calls[True])
    # Compiled, so that what the forward would compute for shapes alone is left out. Of ones, as in Flax's own pages: a
    # forward that takes statistics in while it is initialized must not begin with those of whichever case came first.
    variables = _plain(framework.compiled(begin)(jax.random.key(0), framework.give(np.ones_like(x))))
    names, leaves, tree = _named_leaves(jax, variables)
    states = [collection for collection in variables if collection != "params"]

    def apply(arrays: Arrays, x: Any, train: bool) -> tuple[Any, Arrays]:
        given = jax.tree.unflatten(tree, [arrays[name] for name in names])
        y, new = cls(**both[train]).apply(given, x, mutable=states, **calls[train])
        found, values, _ = _named_leaves(jax, _plain(new))
        return y, dict(zip(found, values, strict=True))

    learning = [name for name in names if name.startswith("params/")]
    return PureLayer(dict(zip(names, leaves, strict=True)), learning, apply, switch_of(made, called))


def _plain(variables: Any) -> Any:
    """Return variables as plain dicts; Flax has frozen ones of its own."""
    return {k: _plain(v) for k, v in variables.items()} if isinstance(variables, Mapping) else variables


def _nnx(
    framework: Jax, cls: Any, made: dict[str, str], called: dict[str, str], x: Any, parameters: Parameters
) -> PureLayer:
    """Return a module of flax.nnx: an object, taken apart before a call and after it."""
    import jax
    from flax import nnx

    given = given_to(made, parameters, x.dtype, True)
    calls = {train: given_to(called, parameters, x.dtype, train) for train in (True, False)}
    layer = cls(**given, **{name: nnx.Rngs(0) for name, key in made.items() if key == "rngs"})
    graph, *states = nnx.split(layer, nnx.Param, ...)
    (learning, *first), (others, *second) = (_named_leaves(jax, state) for state in states)
    leaves = dict(zip([*learning, *others], [*first[0], *second[0]], strict=True))

    def apply(arrays: Arrays, x: Any, train: bool) -> tuple[Any, Arrays]:
        parts = ((learning, first[1]), (others, second[1]))
        layer = nnx.merge(graph, *(jax.tree.unflatten(tree, [arrays[name] for name in names]) for names, tree in parts))
        (layer.train if train else layer.eval)()
        y = layer(x, **calls[train])
        _, _, new = nnx.split(layer, nnx.Param, ...)
        found, values, _ = _named_leaves(jax, new)
        return y, dict(zip(found, values, strict=True))

    layer.eval()
    methods = "methods train() and eval()" if nnx.split(layer)[0] != nnx.split(_trained(layer))[0] else ""
    return PureLayer(leaves, learning, apply, switch_of({}, called) or methods or switch_of(made, {}))


def _trained(layer: Any) -> Any:
    from flax import nnx

    copy = nnx.clone(layer)
    copy.train()
    return copy


def _named_leaves(jax: Any, tree: Any) -> tuple[list[str], list[Any], Any]:
    """Return the arrays of a tree by the names that lead to them, and its structure."""
    found, structure = jax.tree_util.tree_flatten_with_path(tree)
    names = ["/".join(str(step.key) for step in path if hasattr(step, "key")) for path, _ in found]
    return names, [leaf for _, leaf in found], structure


def _candidate(name: str, thing: Any, declared: Declared) -> Candidate | None:
    for package, make in (("flax.linen", _linen), ("flax.nnx", _nnx)):
        if derives(thing, package, "Module") and callable(getattr(thing, "__call__", None)):  # noqa: B004
            return PureLayerClass(name, thing, "__call__", NAME, lambda: _jax(declared.device), make)
    return None


def _jax(device: str) -> Framework:
    framework: Framework = FRAMEWORKS.get("jax")(device)
    return framework


class _FlaxModules(ByThing):
    """Finds modules of Flax, of both kinds."""


ADAPTERS.add(NAME, _FlaxModules(_candidate))
