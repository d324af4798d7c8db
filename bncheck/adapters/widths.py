"""The dtype in which PyTorch makes tensors, while code of the user's runs.

``torch.zeros(n)`` is float32 by default, and who works in float64 sets another default. A layer whose buffers are made
so is right, and would be called imprecise beside data in float64; what says ``dtype=torch.float32`` still is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

_AS_IT_IS: AbstractContextManager[None] = nullcontext()


def in_width(dtype: Any) -> AbstractContextManager[None]:
    """Return the context of a call with data of a NumPy dtype: in float64, tensors are made in it.

    In the half types they stay what they are: who uses these casts, and keeps his constants in float32.
    """
    return making(dtype) if "torch" in sys.modules and getattr(dtype, "name", "") == "float64" else _AS_IT_IS


@contextmanager
def making(dtype: Any) -> Iterator[None]:
    """Let tensors be made in a NumPy dtype, as those of a layer are to be that is made for it."""
    torch: Any = sys.modules.get("torch")
    wanted = getattr(torch, getattr(dtype, "name", ""), None)
    if wanted is None or not getattr(wanted, "is_floating_point", False):
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(wanted)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
