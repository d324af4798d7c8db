"""Where a layer of PyTorch keeps gamma, beta and running statistics: parameters, buffers, plain attributes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from bncheck.adapters.places import Place, parts_of
from bncheck.adapters.words import STATISTICS, Role, argument_role, clarity

_AFFINE = (Role.GAMMA, Role.BETA)
# Where torch itself keeps a module's tensors.
_OF_TORCH = ("_parameters", "_buffers")
_LONGEST = 16  # a dict or list of more entries holds data, not statistics


def torch_base(cls: Any, name: str) -> bool:
    """Tell whether a class derives from torch's class of that name; torch is not imported for it."""
    if not inspect.isclass(cls):
        return False
    return any(base.__name__ == name and base.__module__.split(".")[0] == "torch" for base in cls.__mro__)


def own_bases(cls: type) -> list[type]:
    """Return a class and those of its bases that are not torch's; the class itself in any case."""
    return [base for base in cls.__mro__[:-1] if base is cls or base.__module__.split(".")[0] != "torch"]


def own_functions(cls: type) -> list[Any]:
    """Return the functions of a class and of its bases, except those of torch's classes."""
    members = [member for base in own_bases(cls) for member in vars(base).values()]
    plain = [getattr(member, "fget", None) or getattr(member, "__func__", member) for member in members]
    return [member for member in plain if inspect.isfunction(member)]


def parameters_of(layer: Any, size: int | None) -> dict[str, Place]:
    """Return the places of "gamma" and "beta" among the tensors of `size` elements (of any number for None).

    Names decide. A parameter whose name says nothing is gamma if it starts as ones, beta if it starts as zeros.
    """
    if not torch_base(type(layer), "Module"):
        return parts_of(layer).parameters
    best: dict[str, tuple[int, int, Place]] = {}
    nameless = []
    for place in tensors_of(layer):
        name, tensor = str(place.key), place.get()
        if size is not None and tensor.numel() != size:
            continue
        role = argument_role(name)
        if role in _AFFINE:
            rank = (clarity(name), -len(place.trail))
            if role.value not in best or rank > best[role.value][:2]:
                best[role.value] = (*rank, place)
        elif role is None and _is_parameters(place):
            nameless.append(place)
    found = {key: place for key, (_, _, place) in best.items()}
    for key, start in (("gamma", 1.0), ("beta", 0.0)):
        starting = [place for place in nameless[:2] if bool((place.get() == start).all())]
        if key not in found and starting:
            found[key] = starting[0]
    return found


def put(torch: Any, place: Place, given: Any) -> Any:
    """Write a tensor into a place, in place where dtype and size allow it; return the tensor that is there now."""
    own = place.get()
    if isinstance(own, torch.Tensor) and own.numel() == given.numel() and own.dtype == given.dtype:
        with torch.no_grad():
            own.copy_(given.reshape(own.shape))
        return own.requires_grad_()
    if isinstance(own, torch.Tensor) and own.numel() == given.numel():
        given = given.detach().reshape(own.shape).requires_grad_()
    place.put(given)
    return given


def convert(torch: Any, layer: Any, like: Any) -> None:
    """Give the floating-point tensors of a layer the dtype and the device of another tensor.

    Those that it keeps as plain attributes, too: they have the dtype in which torch makes tensors by default.
    """
    if torch_base(type(layer), "Module"):
        layer.to(device=like.device, dtype=like.dtype)
    for name, value in list(getattr(layer, "__dict__", {}).items()):
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            setattr(layer, name, value.detach().to(like).requires_grad_(value.requires_grad))
    for place in list(_entries_of(layer)):
        value = place.get()
        if isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != like.dtype:
            place.put(value.detach().to(like).requires_grad_(value.requires_grad))


def materialize(layer: Any, x: Any, like: Any) -> None:
    """Let a lazy layer make its parameters for a batch, as a forward that is no training does."""
    if not callable(waiting := getattr(layer, "has_uninitialized_params", None)) or not waiting():
        return
    layer.eval()
    layer(x.clone())
    layer.train()
    layer.to(like)


def recorded_for(tensor: Any) -> str:
    """Return what autograd records for a tensor: the "graph" of how it was made, its "gradient", or nothing ("")."""
    if tensor.grad_fn is not None:
        return "graph"
    return "gradient" if tensor.requires_grad else ""


def statistics_of(layer: Any) -> tuple[Any, Any] | None:
    """Return the running statistics as a layer keeps them now, None if it keeps none."""
    found = running_places(layer)
    mean, var = (found.get(role) for role in STATISTICS)
    return None if mean is None or var is None else (mean.get(), var.get())


def running_places(layer: Any) -> dict[Role, Place]:
    """Return where a layer keeps the running mean and the running variance, by their names."""
    found: dict[Role, Place] = {}
    for place in kept_in(layer).values():
        role = argument_role(str(place.key))
        if role in STATISTICS:
            found.setdefault(role, place)
    return found


def kept_in(layer: Any) -> dict[str, Place]:
    """Return the places of a layer's tensors by their names: ``norm.running_mean``, then ``stats['mean']``."""
    found = {".".join(map(str, place.trail)): place for place in tensors_of(layer)}
    for place in _entries_of(layer):
        found[f"{'.'.join(map(str, place.trail[:-1]))}[{place.key!r}]"] = place
    return found


def _entries_of(layer: Any) -> Iterator[Place]:
    """Yield the tensors in the dicts and lists that a layer, or a module within, keeps as attributes."""
    for trail, _, own in _holding(layer):
        for name, value in own.items():
            if name in _OF_TORCH or not isinstance(value, dict | list) or len(value) > _LONGEST:
                continue
            for key in value if isinstance(value, dict) else range(len(value)):
                if hasattr(value[key], "numel"):
                    yield Place(value, key, (*trail, name, key))


def tensors_of(layer: Any) -> Iterator[Place]:
    """Yield the tensors of a layer, its own first, then those of the modules within."""
    for trail, module, own in _holding(layer):
        for holder in (*(own.get(name, {}) for name in _OF_TORCH), own):
            for name, value in holder.items():
                if hasattr(value, "numel"):
                    yield Place(module if holder is own else holder, name, (*trail, name))


def _holding(layer: Any) -> Iterator[tuple[tuple[str, ...], Any, dict[str, Any]]]:
    """Yield a layer and the modules within, each with the names that lead to it and with its attributes."""
    modules = layer.named_modules() if torch_base(type(layer), "Module") else [("", layer)]
    for path, module in list(modules):
        yield tuple(path.split(".")) if path else (), module, getattr(module, "__dict__", {})


def _is_parameters(place: Place) -> bool:
    return type(place.get()).__name__ == "Parameter"
