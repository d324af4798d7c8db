"""The same Batch Normalization through other gradient checkers and through bncheck.

Needs the extra "bench". Every checker gets the code as its users would hand it over, at its default settings, with
float64 inputs of mean 0 and standard deviation 1, gamma and beta away from 1 and 0. A checker that tells a figure and
no verdict gets the threshold that is written beside it below.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from common import CORRECT

# Behind `common`, which says with how many threads NumPy starts.
import numpy as np  # isort: skip


EPS = 1e-5

Arrays = tuple[Any, Any, Any]
Forward = Callable[[Any, Any, Any], tuple[Any, Any]]
Backward = Callable[[Any, Any], Arrays]


class Code:
    """A Batch Normalization to check; `forwards` counts the calls of its forward."""

    def __init__(self, forward: Forward, backward: Backward) -> None:
        self._forward, self._backward = forward, backward
        self.forwards = 0

    def forward(self, x: Any, gamma: Any, beta: Any) -> tuple[Any, Any]:
        """Return y and a cache."""
        self.forwards += 1
        return self._forward(x, gamma, beta)

    def backward(self, dy: Any, cache: Any) -> Arrays:
        """Return dx, dgamma and dbeta."""
        return self._backward(dy, cache)


class Inputs(NamedTuple):
    """What the code is checked on."""

    x: Any
    gamma: Any
    beta: Any
    dy: Any

    @classmethod
    def drawn(cls, shape: Sequence[int], seed: int = 0, dtype: str = "float64") -> Inputs:
        """Return a random draw."""
        rng = np.random.default_rng(seed)
        c = shape[1]
        gamma = rng.uniform(0.5, 1.5, c) * rng.choice((-1.0, 1.0), c)
        arrays = rng.standard_normal(shape), gamma, rng.standard_normal(c), rng.standard_normal(shape)
        return cls(*(a.astype(dtype) for a in arrays))

    @property
    def parameters(self) -> Arrays:
        """All but dy."""
        return self.x, self.gamma, self.beta


# -------------------------------------------------------------------------------------------------- one checker each


def torch_gradcheck(code: Code, inputs: Inputs, *, fast: bool) -> bool:
    """torch.autograd.gradcheck on a torch.autograd.Function around the code."""
    import torch

    class Own(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, *arrays: Any) -> Any:
            y, ctx.cache = code.forward(*(a.detach().numpy() for a in arrays))
            return torch.from_numpy(y)

        @staticmethod
        def backward(ctx: Any, *dys: Any) -> Any:
            return tuple(torch.from_numpy(np.asarray(g)) for g in code.backward(dys[0].numpy(), ctx.cache))

    tensors = [torch.from_numpy(a.copy()).requires_grad_() for a in inputs.parameters]
    return bool(torch.autograd.gradcheck(Own.apply, tensors, fast_mode=fast))


def jax_check_grads(code: Code, inputs: Inputs) -> bool:
    """jax.test_util.check_grads, reverse mode, on a jax.custom_vjp around callbacks of the code."""
    import jax
    from jax.test_util import check_grads

    jax.config.update("jax_enable_x64", True)

    def like(*arrays: Any) -> Any:
        return tuple(jax.ShapeDtypeStruct(np.shape(a), a.dtype) for a in arrays)

    def host_forward(*arrays: Any) -> Any:
        return code.forward(*map(np.asarray, arrays))[0]

    def host_backward(dy: Any, *arrays: Any) -> Any:
        cache = code._forward(*map(np.asarray, arrays))[1]  # a callback keeps nothing: worked out once more
        return tuple(
            np.asarray(g, dtype=a.dtype) for g, a in zip(code.backward(np.asarray(dy), cache), arrays, strict=True)
        )

    @jax.custom_vjp  # type: ignore[untyped-decorator]
    def own(x: Any, gamma: Any, beta: Any) -> Any:
        return jax.pure_callback(host_forward, like(x)[0], x, gamma, beta)

    def ahead(x: Any, gamma: Any, beta: Any) -> Any:
        return own(x, gamma, beta), (x, gamma, beta)

    def back(arrays: Any, dy: Any) -> Any:
        return jax.pure_callback(host_backward, like(*arrays), dy, *arrays)

    own.defvjp(ahead, back)
    check_grads(own, inputs.parameters, order=1, modes=["rev"])
    return True


def autograd_check_grads(code: Code, inputs: Inputs) -> bool:
    """autograd.test_util.check_grads, reverse mode, on a primitive."""
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    last: list[Any] = [None]

    @primitive  # type: ignore[untyped-decorator]
    def own(x: Any, gamma: Any, beta: Any) -> Any:
        y, last[0] = code.forward(x, gamma, beta)
        return y

    def pull(which: int) -> Any:
        def made(y: Any, *arrays: Any) -> Any:
            cache = last[0]
            return lambda dy: code.backward(dy, cache)[which]

        return made

    defvjp(own, *map(pull, range(3)))
    check_grads(own, (0, 1, 2), modes=["rev"], order=1)(*inputs.parameters)
    return True


class Loss:
    """``sum(dy * y)`` of one flat vector of x, gamma and beta, as scalar checkers take it."""

    def __init__(self, code: Code, inputs: Inputs) -> None:
        self._code, self._inputs = code, inputs
        self.start = np.concatenate([a.ravel() for a in inputs.parameters])

    def _arrays(self, flat: Any) -> Arrays:
        x, gamma, _ = self._inputs.parameters
        ends = np.cumsum([x.size, gamma.size])
        one, two, three = np.split(np.asarray(flat).astype(x.dtype), ends)
        return one.reshape(x.shape), two, three

    def value(self, flat: Any) -> float:
        """Return the loss."""
        y, _ = self._code.forward(*self._arrays(flat))
        return float((y * self._inputs.dy).sum())

    def gradient(self, flat: Any) -> Any:
        """Return the code's own gradient of it."""
        _, cache = self._code.forward(*self._arrays(flat))
        return np.concatenate([np.ravel(g) for g in self._code.backward(self._inputs.dy, cache)])


def scipy_check_grad(code: Code, inputs: Inputs) -> bool:
    """scipy.optimize.check_grad, which tells a norm: wrong above 1e-5 of the gradient's own (forward differences)."""
    from scipy.optimize import check_grad

    loss = Loss(code, inputs)
    error = check_grad(loss.value, loss.gradient, loss.start)
    return bool(error <= 1e-5 * np.linalg.norm(loss.gradient(loss.start)))


def numdifftools_gradient(code: Code, inputs: Inputs) -> bool:
    """numdifftools.Gradient beside the code's own: wrong above 1e-6 of its norm."""
    import numdifftools

    loss = Loss(code, inputs)
    numeric, own = numdifftools.Gradient(loss.value)(loss.start), loss.gradient(loss.start)
    return bool(np.linalg.norm(numeric - own) <= 1e-6 * np.linalg.norm(own))


def finite_loop(code: Code, inputs: Inputs) -> bool:
    """Central differences element by element, h = 1e-5, as courses teach: wrong above a relative error of 1e-5.

    The notes of CS231n: below 1e-7 is good, 1e-4 is too much for a function without kinks.
    """
    loss = Loss(code, inputs)
    own, flat = loss.gradient(loss.start), loss.start.astype(np.float64)
    numeric = np.empty_like(flat)
    for i in range(flat.size):
        old = flat[i]
        flat[i] = old + 1e-5
        up = loss.value(flat)
        flat[i] = old - 1e-5
        down = loss.value(flat)
        flat[i] = old
        numeric[i] = (up - down) / 2e-5
    relative = np.abs(numeric - own) / np.maximum(1e-8, np.abs(numeric) + np.abs(own))
    return bool(relative.max() <= 1e-5)


Accepts = Callable[[Code, Inputs], bool]
PEERS: dict[str, Accepts] = {
    "gradcheck": partial(torch_gradcheck, fast=False),
    "gradcheck, fast": partial(torch_gradcheck, fast=True),
    "jax check_grads": jax_check_grads,
    "autograd check_grads": autograd_check_grads,
    "scipy check_grad": scipy_check_grad,
    "numdifftools": numdifftools_gradient,
    "finite loop": finite_loop,
}


def accepts(peer: str, code: Code, inputs: Inputs) -> bool:
    """Tell whether a checker finds nothing wrong; what raises is not accepted."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        np.random.seed(0)  # noqa: NPY002 - autograd's check takes its directions from there
        try:
            return PEERS[peer](code, inputs)
        except ImportError:  # a checker that is not installed has not rejected anything
            raise
        except Exception:  # an assertion, torch's GradcheckError, a shape that does not fit: each has its own
            return False


# ---------------------------------------------------------------------------------------------- a right implementation


def plain(shape: Sequence[int]) -> tuple[Path, Code]:
    """Return a right implementation of that rank, called without anything between."""
    if len(shape) == 2:
        path, names = CORRECT / "cs231n_staged.py", ("batchnorm_forward", "batchnorm_backward")
    else:
        path, names = CORRECT / "nchw_pair.py", ("batchnorm2d_forward", "batchnorm2d_backward")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    forward, backward = (getattr(module, name) for name in names)
    if len(shape) == 2:
        return path, Code(lambda x, gamma, beta: forward(x, gamma, beta, {"eps": EPS}), backward)
    return path, Code(lambda x, gamma, beta: forward(x, gamma, beta, EPS), backward)
