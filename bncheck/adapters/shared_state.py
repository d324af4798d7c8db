"""What one object or call left where the next one finds it: arrays in a container of the class, or in a default."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any

import numpy as np


def shared_arrays(error: BaseException) -> str:
    """Return what is to be said of arrays that code shares between its objects or calls where it raised, "" if none."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    found = next((said for frame in reversed(frames) for said in _shared_in(frame)), "")
    return f"{found}: a layer of another size meets them." if found else ""


def _shared_in(frame: FrameType) -> Iterator[str]:
    names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
    holder = frame.f_locals.get(names[0]) if names else None
    for base in type(holder).__mro__[:-1]:
        if base.__module__ == frame.f_globals.get("__name__"):
            for name, value in vars(base).items():
                if _holds_arrays(value):
                    yield f"{base.__name__}.{name} holds arrays that an earlier object left there, and all share it"
    called = getattr(type(holder), frame.f_code.co_name, None) or frame.f_globals.get(frame.f_code.co_name)
    called = inspect.unwrap(called) if callable(called) else None
    if inspect.isfunction(called) and called.__code__ is frame.f_code:
        for name, parameter in inspect.signature(called).parameters.items():
            if _holds_arrays(parameter.default):
                yield f"the default of {name} holds arrays that an earlier call left there, and all calls share it"


def _holds_arrays(value: Any) -> bool:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(isinstance(item, np.ndarray) and item.ndim for item in items)
