"""What TorchScript compiles: the functions and classes in Python that it was made from.

A compiled function has no signature and no source that could be read, and a class whose methods are compiled does not
hand them out. Verified is the Python that was written.
"""

from __future__ import annotations

from typing import Any

from bncheck.adapters.torch_parts import torch_base


def unscripted(thing: Any) -> Any:
    """Return the Python function behind a compiled one, a class of modules as one that compiles nothing; else `thing`.

    The class derives from the one that it stands for, so that what its methods say of ``super()`` holds.
    """
    kind = type(thing)
    if kind.__name__ == "ScriptFunction" and kind.__module__.startswith("torch"):
        return getattr(thing, "_torchdynamo_inline", thing)
    written = _written(thing) if torch_base(thing, "ScriptModule") else {}
    if not written:
        return thing
    said = {"__module__": thing.__module__, "__qualname__": thing.__qualname__, "__doc__": thing.__doc__}
    return kind(thing.__name__, (thing,), {**written, **said, "_disable_script_meta": True})


def _written(cls: Any) -> dict[str, Any]:
    """Return the functions that the compiled methods of a class were made from, by name."""
    stubs = getattr(cls, "_methods", None)
    found = {name: getattr(stub, "original_method", None) for name, stub in stubs.items()} if stubs else {}
    return {name: method for name, method in found.items() if method is not None}
