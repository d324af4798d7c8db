"""Reading what user code hands back: which of it is y, the cache, dx, dgamma, dbeta.

The names in the source's return statement decide; if they lie, that is the user's error and is reported as a wrong
gradient, never silently put right. Shapes decide only where names say nothing.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from bncheck.adapters.frameworks import shape_of
from bncheck.adapters.sources import source_tree
from bncheck.adapters.words import gradient_hinted, gradient_name, normalized_like, output_like, upstream_like
from bncheck.model import GRADIENTS, Declared

Order = dict[int, tuple[str, ...]]
Names = tuple[str | None, ...]
_MAX_DEPTH = 3  # how many ``return other(dout, cache)`` are followed


def split_forward(out: Any, shape: tuple[int, ...], names: Names = ()) -> tuple[Any, tuple[Any, ...], int]:
    """Return (y, everything else, the place of y): the first array of that shape, out in ``return x_hat, out``."""
    if isinstance(out, tuple | list) and out and not _is_nested(out, shape):
        places = [i for i, item in enumerate(out) if shape_of(item) == shape] or [0]
        said = {i: names[i] or "" if len(names) == len(out) else "" for i in places}
        later = [i for i in places if output_like(said[i]) and normalized_like(said[places[0]])]
        place = (later or places)[0]
        return out[place], (*out[:place], *out[place + 1 :]), place
    if isinstance(out, Mapping):
        name = next((k for k in out if output_like(str(k))), None)
        if name is not None:
            return out[name], (out.get("cache", out),), 0
    return out, (), 0


def _is_nested(out: Any, shape: tuple[int, ...]) -> bool:
    """Tell a list of lists that stands for an array of a shape from a list of results."""
    for size in shape:
        if not isinstance(out, list) or len(out) != size:
            return False
        out = out[0] if out else None
    return not isinstance(out, list)


def read_gradients(result: Any, order: Order, shape: tuple[int, ...]) -> dict[str, Any]:
    """Return the gradients in a backward's result by name."""
    if isinstance(result, tuple | list) and not hasattr(result, "_fields"):
        if _is_numbers(result):
            return {"dx": result}
        if len(result) not in order and _is_history(result, shape):
            return {"dx": result[-1]}
        result = [_opened(item) for item in _flat(result, order)]
        names = order.get(len(result)) or _by_shape(result, shape)
        found = {name: item for name, item in zip(names, result, strict=False) if name and item is not None}
        inner = _inner(result)
        if not inner:
            return found
        return {n: item for n, item in found.items() if not isinstance(item, Mapping)} | {
            of: item[key] for item in inner for of, key in _keys(item).items() if item[key] is not None
        }
    keyed = _keyed(result)
    if keyed is not None:
        return {of: keyed[key] for of, key in _keys(keyed).items() if keyed[key] is not None}
    return {} if result is None else {"dx": result}


def describe_gradients(result: Any, order: Order, shape: tuple[int, ...], attributes: dict[str, str]) -> str:
    """Return in words how the gradients came: "tuple (dx, dgamma, dbeta)", "dx and attributes dgamma, dbeta"."""
    keyed = None if isinstance(result, tuple | list) and not hasattr(result, "_fields") else _keyed(result)
    if result is None:
        words = ""
    elif keyed is not None:
        words = f"dict ({', '.join(_keys(keyed).values())})"
    elif isinstance(result, list) and len(result) not in order and _is_history(result, shape):
        words = "list of dx, one for each forward: the last is taken"
    elif isinstance(result, tuple | list) and not _is_numbers(result):
        result = [_opened(item) for item in _flat(result, order)]
        names = order.get(len(result)) or _by_shape(result, shape)
        keys = [f"dict ({', '.join(_keys(i).values())})" if isinstance(i, Mapping) else "" for i in result]
        words = f"tuple ({', '.join(key or name or '...' for key, name in zip(keys, names, strict=False))})"
    else:
        words = "dx"
    stored = f"attributes {', '.join(attributes.values())}" if attributes else ""
    return " and ".join(filter(None, (words, stored)))


def _inner(result: tuple[Any, ...] | list[Any]) -> list[Mapping[str, Any]]:
    """Return the dicts of gradients among the things returned: ``return dx, grads``."""
    return [item for item in result if isinstance(item, Mapping) and _keys(item)]


def _opened(item: Any) -> Any:
    """Return an object that names gradients as a mapping, anything else as it is: ``return dx, Grads(gamma, beta)``."""
    keyed = _keyed(item)
    return keyed if keyed is not None and {"dgamma", "dbeta"} <= _keys(keyed).keys() else item


def _is_history(result: tuple[Any, ...] | list[Any], shape: tuple[int, ...]) -> bool:
    """Tell a list with one dx for each forward so far: all arrays of the shape of a batch, the last one of x's."""
    if not isinstance(result, list) or not result or shape_of(result[-1]) != shape or len(shape) < 2:
        return False
    return all((one := shape_of(item)) is not None and one[1:] == shape[1:] for item in result)


def _flat(result: tuple[Any, ...] | list[Any], order: Order) -> list[Any]:
    """Return what was returned with inner tuples taken apart: ``return dx, (dgamma, dbeta)``."""
    items = list(result)
    if len(items) in order and not any(isinstance(i, tuple | list) and not _is_numbers(i) for i in items):
        return items
    flat: list[Any] = []
    for item in items:
        inner = isinstance(item, tuple | list) and not _is_numbers(item) and not hasattr(item, "_fields")
        flat += item if inner else [item]
    return flat


def _is_numbers(result: Any) -> bool:
    """Tell a list that stands for an array from a list of arrays."""
    return isinstance(result, list) and bool(result) and isinstance(result[0], list | float | int)


def _keyed(result: Any) -> Mapping[str, Any] | None:
    """Return a result that names its parts (dict, named tuple, simple object) as a mapping."""
    if isinstance(result, Mapping):
        return result
    if isinstance(result, tuple) and hasattr(result, "_fields"):
        return dict(zip(result._fields, result, strict=True))
    if result is None or isinstance(result, tuple | list | int | float) or hasattr(result, "shape"):
        return None
    return getattr(result, "__dict__", None)


def _keys(keyed: Mapping[str, Any]) -> dict[str, str]:
    """Return which key holds which gradient; a plain "gamma" is dgamma in a dict of gradients."""
    best: dict[str, tuple[int, str]] = {}
    for key in keyed:
        name = gradient_name(str(key)) or gradient_name(str(key), marked=False)
        if name is not None and name.clarity > best.get(name.of, (0, ""))[0]:
            best[name.of] = (name.clarity, key)
    read = {of: key for of, (_, key) in best.items()}
    missing = [of for of in GRADIENTS if of not in read]
    others = [key for key in keyed if key not in read.values() and upstream_like(str(key))]
    if len(keyed) == len(GRADIENTS) and len(missing) == len(others) == 1:  # "dalpha" beside dx and dbeta
        read[missing[0]] = others[0]
    return read


def _by_shape(result: tuple[Any, ...] | list[Any], shape: tuple[int, ...]) -> tuple[str, ...]:
    """Return the order dx, dgamma, dbeta, with dx where the first array of x's shape is."""
    place = next((i for i, item in enumerate(result) if shape_of(item) == shape), 0)
    names = ["dgamma", "dbeta", *[""] * len(result)][: len(result) - 1]
    names.insert(place, "dx")
    return tuple(names)


def attribute_names(layer: Any) -> list[str]:
    """Return the names of an object's own attributes, those in slots and properties too."""
    own = list(getattr(layer, "__dict__", ()))
    for cls in type(layer).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        own += [slots] if isinstance(slots, str) else list(slots)
        own += [name for name, thing in cls.__dict__.items() if isinstance(thing, property)]
    return own


# ------------------------------------------------------------------------------------------------- the return statement


def returned_names(function: Callable[..., Any]) -> tuple[str | None, ...] | None:
    """Return the names in the last return statement of a forward that returns several things, None if unreadable."""
    tuples = [names for names, _ in _returned(function, 0)]
    return tuples[-1] if tuples else None


def cache_names(function: Callable[..., Any]) -> list[str]:
    """Return the names in the one tuple that a forward returns beside y, written out or under a name of its own."""
    tree = source_tree(function)
    written = [node for _, node in _returned(function, 0) if len(getattr(node, "elts", ())) == 2]
    if tree is None or not written:
        return []
    cache = next((e for e in getattr(written[-1], "elts", ())[1:]), None)
    if isinstance(cache, ast.Name):
        values = [n.value for n in ast.walk(tree) if isinstance(n, ast.Assign) and _assigns(n, cache.id)]
        # In one branch of several it may be None.
        cache = next((v for v in reversed(values) if isinstance(v, ast.Tuple | ast.List)), None)
    return [_name_of(e) or "" for e in cache.elts] if isinstance(cache, ast.Tuple | ast.List) else []


def _assigns(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def gradient_order(function: Callable[..., Any]) -> Order:
    """Return the order of the gradients that the return statements name, by the number of things returned.

    One unreadable element takes the one name that is left over. Where more are unreadable there is no entry, and the
    order is settled by shape.
    """
    order: Order = {}
    for names in _flat_names(function):
        read = [gradient_name(name) if name else None for name in names]
        roles = [name.of if name is not None else "" for name in read]
        hinted = ["" if role or not name else gradient_hinted(name) for role, name in zip(roles, names, strict=True)]
        if not set(roles) & {"dgamma", "dbeta"} and sorted(filter(None, hinted)) == ["dbeta", "dgamma"]:
            roles = [role or hint for role, hint in zip(roles, hinted, strict=True)]
        missing = [name for name in GRADIENTS if name not in roles]
        if len(missing) == 1 and roles.count("") == 1:
            roles[roles.index("")] = missing[0]
        said = [role for role in roles if role]
        if len(said) == len(set(said)) and (not [n for n in GRADIENTS if n not in said] or "" not in roles):
            order[len(names)] = tuple(roles)
    return order


def _flat_names(function: Callable[..., Any]) -> Iterator[tuple[str | None, ...]]:
    """Yield the names in the return statements of a backward, those in inner tuples too."""
    for _, node in _returned(function, 0):
        elements = getattr(node, "elts", [])
        flat = [e for v in elements for e in (v.elts if isinstance(v, ast.Tuple | ast.List) else [v])]
        yield tuple(_name_of(element) for element in flat)


def declared_order(declared: Declared) -> Order:
    """Return the order of the gradients that the user gave, an empty one where none was given."""
    names = [part.strip() for part in (declared.returns or "").strip("() ").split(",") if part.strip()]
    return {len(names): tuple(name if name in GRADIENTS else "" for name in names)} if names else {}


def _returned(function: Callable[..., Any], depth: int) -> Iterator[tuple[tuple[str | None, ...], ast.AST]]:
    """Yield the names in every return statement that returns a tuple, in the order of the source."""
    tree = source_tree(function)
    if tree is None or depth > _MAX_DEPTH:
        return
    assigned = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for value in _return_values(tree):
        if isinstance(value, ast.Name) and value.id in assigned:
            value = assigned[value.id]
        if isinstance(value, ast.Tuple | ast.List):
            yield tuple(_name_of(element) for element in value.elts), value
        elif isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
            called = getattr(inspect.unwrap(function), "__globals__", {}).get(value.func.id)
            if inspect.isfunction(called):
                yield from _returned(called, depth + 1)


def _return_values(tree: ast.AST) -> list[ast.expr]:
    """Return what the function itself returns, leaving out functions defined inside it."""
    if isinstance(tree, ast.Lambda):
        return [tree.body]
    found: list[ast.expr] = []
    waiting: list[ast.AST] = list(ast.iter_child_nodes(tree))
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Return | ast.Yield) and node.value is not None:
            found.append(node.value)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))
    return sorted(found, key=lambda node: node.lineno)


def _name_of(node: ast.expr) -> str | None:
    """Return the name that an element of a return statement carries: ``dx``, ``self.dx``, ``grads["x"]``, ``dx.T``."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        # ``dx.reshape(...)`` is about dx, but ``dout.sum()`` and ``np.sum(dout)`` are not about dout.
        shaping = node.func.attr in _SHAPING
        inner = node.args[0] if shaping and _is_module(node.func.value) and node.args else node.func.value
        return _name_of(inner) if shaping else None
    if isinstance(node, ast.Attribute):
        return _name_of(node.value) if node.attr in ("T", "data") else node.attr
    if isinstance(node, ast.Subscript):
        key = node.slice
        if isinstance(key, ast.Constant) and isinstance(key.value, str):
            return key.value if gradient_name(key.value) else f"d{key.value}"
        return _name_of(node.value)
    return None


_SHAPING = frozenset(
    "reshape transpose swapaxes moveaxis rollaxis squeeze ravel flatten astype copy array asarray detach clone".split()
)


def _is_module(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id in ("np", "numpy", "cp", "xp", "jnp", "torch")
