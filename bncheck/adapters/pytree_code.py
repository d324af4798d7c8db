"""Layers in plain JAX that are trees of arrays themselves: ``y, layer = layer(x)``, with the layer after the step.

A class whose objects JAX takes apart (``register_pytree_node_class``, ``register_dataclass``, a NamedTuple). Its arrays
go by the names of the attributes that hold them; whether the objects are such trees shows once one is made.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from functools import partial
from typing import Any

import numpy as np

from bncheck.adapters.affine import mentioned
from bncheck.adapters.differentiable import named_kind
from bncheck.adapters.frameworks import Framework, is_array
from bncheck.adapters.jax_code import Jax
from bncheck.adapters.layer_class import unbound
from bncheck.adapters.protocol import ArityError, EpsPlace, Parameters, Reading
from bncheck.adapters.pure_layers import Arrays, PureLayer, PureReading, given_to, mode_argument, running_role
from bncheck.adapters.results import split_forward
from bncheck.adapters.signatures import refused
from bncheck.adapters.words import STATISTICS, Role, argument_role, composite, size_like, stem, train_is_true, words

_MAKING = frozenset("init initialize initialise create make build new setup".split())
_CALLS = ("__call__", "forward", "apply", "call")
_ARRAYS = {
    Role.GAMMA: np.ones,
    Role.BETA: np.zeros,
    Role.RUNNING_MEAN: np.zeros,
    Role.RUNNING_VAR: np.ones,
}
Keys = Mapping[str, str]


class PytreeLayer:
    """What may be a Batch Normalization layer that is a tree of its arrays.

    Parameters
    ----------
    name : str
        Its name within the namespace.
    cls : type
        The class.
    call : str
        The method that is its forward.
    framework : Jax
        What differentiates it.
    adapter : str
        Name of the adapter that found it.

    """

    def __init__(self, name: str, cls: type, call: str, framework: Jax, adapter: str) -> None:
        self.name, self.adapter = name, adapter
        self.forward_name = f"{cls.__name__}.{call}"
        self.backward_name = f"the jax gradient of {self.forward_name}"
        self.aliases = frozenset({name, cls.__name__, self.forward_name})
        self.kind = named_kind(name, cls)
        # What JAX does not take apart is something else as long as anything is left: nothing differentiates it.
        self.composite = composite(name) or not _taken_apart(cls)
        self._cls, self._call, self._framework = cls, call, framework

    @property
    def mentions(self) -> frozenset[str]:
        """Say whether the code speaks of gamma and beta."""
        return mentioned(self._cls)

    def readings(self) -> Iterator[Reading]:
        """Yield the ways of making the layer, likelier first; raise ArityError if there is none."""
        called = call_keys(self._cls, self._call)
        found = False
        for make in _makers(self._cls):
            made = _made_keys(make, self._cls)
            if made is None:
                continue
            found = True
            eps = EpsPlace("argument", True) if "eps" in {*made.values(), *called.values()} else None
            said = f"{_name(make, self._cls)}({_listed(made)}); {self._call}({_listed(called)})"
            yield PureReading(self._framework, said, eps, partial(self._layer, make, made, called))
        if not found:
            raise refused(self._cls.__name__, self._cls, f"something like {self._cls.__name__}(num_features, eps)")

    def _layer(self, make: Callable[..., Any], made: Keys, called: Keys, x: Any, parameters: Parameters) -> PureLayer:
        """Return the layer of the size of gamma, as a function of its arrays."""
        import jax

        layer = make(**_values(made, self._framework, x, parameters))
        if not isinstance(layer, self._cls):
            raise TypeError(f"{_name(make, self._cls)} made no {self._cls.__name__}")
        leaves, structure = jax.tree.flatten(layer)
        if any(leaf is layer for leaf in leaves):
            raise TypeError(
                f"JAX does not take a {self._cls.__name__} apart: it is no pytree, so that nothing is differentiated"
            )
        names = _names(layer)
        arrays = {name: np.asarray(leaf) for name, leaf in zip(names, leaves, strict=True) if is_array(leaf)}
        x_name = next(name for name, key in called.items() if key == "x")
        told = {name: key for name, key in called.items() if key != "x"}
        switch = mode_argument(told)
        field = "" if switch else _mode_field(layer)

        def apply(given: Arrays, x: Any, train: bool) -> tuple[Any, Arrays]:
            now = [given.get(name, leaf) for name, leaf in zip(names, leaves, strict=True)]
            taken = given_to(dict(told), parameters, np.dtype(x.dtype), train)
            layer = _told(jax.tree.unflatten(structure, now), field, train)
            out = getattr(layer, self._call)(**{x_name: x}, **taken)
            y, rest, _ = split_forward(out, x.shape)
            after = next((item for item in rest if isinstance(item, self._cls)), None)
            values = [] if after is None else jax.tree.leaves(after)
            new = dict(zip(names, values, strict=True)) if len(values) == len(names) else {}
            return y, {name: value for name, value in new.items() if name in arrays}

        learning = [name for name in arrays if running_role(name) not in STATISTICS]
        said = f"argument {switch}" if switch else f"attribute {field}" if field else ""
        return PureLayer(arrays, learning, apply, said)


# --------------------------------------------------------------------------------------------- what arguments are for


def call_method(cls: type) -> str:
    """Return the method of a class that is its forward by its name and its arguments, "" if it has none."""
    own = {name for base in cls.__mro__[:-1] for name in vars(base)}
    for name in (*_CALLS, *sorted(n for n in own if not n.startswith("_") and stem(n).direction == "forward")):
        if name in own and callable(getattr(cls, name)):
            try:
                call_keys(cls, name)
            except ArityError:  # it wants more than x and the mode: another one may be the forward
                continue
            return name
    return ""


def call_keys(cls: type, call: str) -> dict[str, str]:
    """Return the keys of what a forward is told, by name: x, and whether this is training; raise ArityError else."""
    found: dict[str, str] = {}
    for parameter in _parameters(unbound(cls, call)):
        role, required = argument_role(parameter.name), parameter.default is parameter.empty
        flag = required or parameter.default is None or isinstance(parameter.default, bool)
        if role is Role.MODE and flag:
            found[parameter.name] = "train" if train_is_true(parameter.name) else "test"
        elif required and "x" not in found.values():
            found[parameter.name] = "x"
        elif role in (Role.EPS, Role.MOMENTUM):
            found[parameter.name] = role.value
        elif required:
            raise ArityError
    if "x" not in found.values():
        raise ArityError
    return found


def _mode_field(layer: Any) -> str:
    """Return the field of a layer that says whether this is training, "" if it has none."""
    names = (
        *getattr(layer, "__dict__", ()),
        *getattr(layer, "_fields", ()),
        *getattr(layer, "__dataclass_fields__", ()),
    )
    said = (name for name in names if argument_role(name) is Role.MODE)
    return next((name for name in said if isinstance(getattr(layer, name, None), bool)), "")


def _told(layer: Any, field: str, train: bool) -> Any:
    """Return a layer whose field says the mode; it may be one that cannot be changed."""
    if not field:
        return layer
    value = train if train_is_true(field) else not train
    if isinstance(layer, tuple):
        return layer._replace(**{field: value})  # type: ignore[attr-defined]  # a named tuple: its class is not known
    other = copy(layer)
    object.__setattr__(other, field, value)
    return other


def _taken_apart(cls: type) -> bool:
    """Tell whether JAX knows objects of a class as trees, without calling its constructor."""
    import jax

    try:
        return not jax.tree_util.all_leaves([object.__new__(cls)])
    except Exception:  # a tree, and this object of it has nothing in it; tuples are trees as well
        return True


def _makers(cls: type) -> Iterator[Callable[..., Any]]:
    """Yield what may make an object: class methods that say so, and the class itself."""
    for base in cls.__mro__[:-1]:
        for name, member in vars(base).items():
            if isinstance(member, classmethod | staticmethod) and set(words(name)) & _MAKING:
                yield getattr(cls, name)
    yield cls


def _made_keys(make: Callable[..., Any], cls: type) -> dict[str, str] | None:
    """Return the keys of what makes an object is given, by name; None if nothing is known for one of them."""
    parameters = _parameters(make)
    anything = any(p.kind is p.VAR_KEYWORD for p in _signed(make))
    names = {parameter.name for parameter in parameters}
    # What a class method takes as **kwargs, it hands on to the class.
    parameters += [p for p in _parameters(cls) if anything and p.name not in names and _is_number(p.name)]
    found: dict[str, str] = {}
    for parameter in parameters:
        name, required = parameter.name, parameter.default is parameter.empty
        role = argument_role(name)
        array = role if role in _ARRAYS else running_role(name)
        if _is_number(name):
            if not isinstance(parameter.default, bool | str):
                found[name] = str(role)
        elif required and array is not None:
            found[name] = array.value
        elif required and set(words(name)) & {"key", "rng", "prng", "seed"}:
            found[name] = "key"
        elif required and size_like(name):
            found[name] = "size"
        elif required:
            return None
    return found


def _is_number(name: str) -> bool:
    return argument_role(name) in (Role.EPS, Role.MOMENTUM)


def _signed(function: Callable[..., Any]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # it does not tell
        return []


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return [p for p in _signed(function) if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def _values(made: Keys, framework: Framework, x: Any, parameters: Parameters) -> dict[str, Any]:
    import jax

    size = parameters.gamma.size
    arrays = {role.value: framework.give(fill(size, x.dtype)) for role, fill in _ARRAYS.items()}
    values: dict[str, Any] = {"eps": parameters.eps, "momentum": parameters.momentum, "size": size} | arrays
    values["key"] = jax.random.PRNGKey(0)
    return {name: values[key] for name, key in made.items()}


def _names(layer: Any) -> list[str]:
    """Return names for the leaves of a layer, each its own: of the attributes that hold them; else their places."""
    import jax

    # One array may be put into several attributes: which attribute is which leaf shows once each leaf is another array.
    leaves, structure = jax.tree.flatten(layer)
    own = [copy(leaf) if is_array(leaf) else leaf for leaf in leaves]
    held = _held(jax.tree.unflatten(structure, own))
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(layer)[0]]
    names: list[str] = []
    for place, (leaf, path) in enumerate(zip(own, paths, strict=True)):
        by_path = _steps(path) if path and isinstance(path[0], jax.tree_util.GetAttrKey) else ""
        name = by_path or held.get(id(leaf), "")
        names.append(name if name and name not in names else f"leaf {place}")
    return names


def _held(layer: Any) -> dict[int, str]:
    """Return which attribute of a layer, at any depth, holds an array, by its id."""
    import jax

    named: dict[int, str] = {}
    for attribute, value in getattr(layer, "__dict__", {}).items():
        for path, leaf in jax.tree_util.tree_flatten_with_path(value)[0]:
            if is_array(leaf):
                named.setdefault(id(leaf), "/".join(filter(None, (attribute, _steps(path)))))
    return named


def _steps(path: tuple[Any, ...]) -> str:
    return "/".join(str(getattr(step, "key", getattr(step, "name", getattr(step, "idx", step)))) for step in path)


def _listed(keys: Keys) -> str:
    return ", ".join(name if name == key else f"{name}={key}" for name, key in keys.items())


def _name(make: Callable[..., Any], cls: type) -> str:
    return cls.__name__ if make is cls else f"{cls.__name__}.{make.__name__}"
