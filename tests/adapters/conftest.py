from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bncheck.adapters import resolve
from bncheck.core import reference
from bncheck.model import Conventions, Declared, TargetSpec
from bncheck.session import Setup, Target

SIZES = {2: (6, 4), 3: (3, 5, 2), 4: (3, 4, 2, 5), 5: (2, 3, 4, 5, 2)}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., TargetSpec]:
    """Write a source to a file and return the reference to it; numpy is imported for it."""

    def _write(source: str, name: str = "", file: str = "my_bn.py", layout: str | None = None) -> TargetSpec:
        path = tmp_path / file
        path.write_text("import numpy as np\n" + textwrap.dedent(source))
        return TargetSpec(str(path) + (f"::{name}" if name else ""), declared=Declared(layout=layout))

    return _write


@pytest.fixture
def only() -> Callable[[TargetSpec], Target]:
    """Return the one target of a reference."""

    def _only(spec: TargetSpec) -> Target:
        cards = resolve.cards(spec)
        assert len(cards) == 1, [card.name for card in cards]
        return resolve.target(spec, cards[0].name)

    return _only


def right_in(target: Target, ndim: int, dtype: str = "float64", memory: str = "C") -> None:
    """Assert that forward and backward agree with the reference on data of `ndim` axes."""
    random = np.random.default_rng(3)
    shape = SIZES[ndim]
    axes = (0, *range(2, ndim))
    x, dy = (random.normal(0.5, 2.0, shape).astype(dtype) for _ in range(2))
    gamma, beta = (random.uniform(0.5, 2.0, shape[1]).astype(dtype) for _ in range(2))
    eps = 1e-3 if target.conventions.eps is None else target.conventions.eps
    session = target.open(Setup(gamma, beta, eps, 0.9, memory))
    y = session.forward(x)
    wanted = reference.forward(x, gamma, beta, eps, axes)
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == "float64" else {"rtol": 2e-3, "atol": 2e-3}
    np.testing.assert_allclose(y, wanted.y, **tolerance)
    grads = session.backward(dy)
    expected = reference.backward(dy, wanted, gamma, axes)
    for name in ("dx", "dgamma", "dbeta"):
        got = getattr(grads, name)
        assert isinstance(got, np.ndarray), f"{name} is {got!r}"
        assert got.shape == getattr(expected, name).shape
        np.testing.assert_allclose(got, getattr(expected, name), err_msg=name, **tolerance)


@pytest.fixture
def agrees() -> Callable[..., None]:
    """Assert that a target agrees with the reference on data of so many axes."""
    return right_in


@pytest.fixture
def right(only: Callable[[TargetSpec], Target]) -> Callable[..., Conventions]:
    """Assert that the one target of a reference is right in every layout that was found; return its conventions."""

    def _right(spec: TargetSpec, **how: str) -> Conventions:
        target = only(spec)
        for layout in target.conventions.layouts:
            right_in(target, len(layout), **how)
        return target.conventions

    return _right
