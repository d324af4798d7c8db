"""JAX: its arrays and its derivatives, and layers of any library that are pure functions of their arrays.

Every case of a run has a shape of its own, and JAX compiles for every shape: where each operation is compiled alone a
forward costs half a second. So what can be traced is compiled as a whole, and quickly in place of well. jax is imported
only once code that uses it is about to be called.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from functools import cache, partial
from typing import Any

import numpy as np

from bncheck.adapters.frameworks import FRAMEWORKS, Differential, Pull
from bncheck.errors import TargetError

# Without optimization a forward compiles in 20 ms in place of 90 ms, and its gradient in 45 ms in place of 240 ms.
_QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}
# The shapes of one case and of its neighbours; what was compiled for others is not needed again.
_KEPT = 64
# In float64 two y's further apart than this, relative to the largest, are those of two functions: up to a condition
# number k = 1e3 rounding moves y by k**2 u = 1e-10 at most, even where the variance is one-pass.
_APART, _CONDITION = 1e-6, 1e3


class Jax:
    """JAX's arrays on one device."""

    name = "jax"

    def __init__(self, device: str) -> None:
        import jax

        # float64 is what discovery speaks; without this JAX turns it into float32.
        jax.config.update("jax_enable_x64", True)
        self._jax: Any = jax
        self._place = _device(jax, device)
        self._options = _quick_options() if self._place.platform == "cpu" else {}
        self._compiled: Recent = Recent(_KEPT)

    def give(self, array: Any) -> Any:
        """Return JAX's array of a NumPy array."""
        return self._jax.device_put(array, self._place)

    def take(self, value: Any) -> Any:
        """Return the NumPy array of JAX's array; anything else as it came."""
        return np.asarray(value) if isinstance(value, self._jax.Array) else value

    def assign(self, own: Any, given: Any) -> None:
        """Raise TypeError: nothing can be written into JAX's arrays."""
        raise TypeError("JAX's arrays cannot be written into")

    def differentiate(self, function: Callable[..., Any], inputs: tuple[Any, ...]) -> tuple[Any, Pull]:
        """Return ``function(*inputs)``, a pair of y and a dict of arrays, and what maps dy to the gradients.

        The function is called once. Its trace is compiled, unless an equal one was before; code that cannot be traced,
        because it looks at values, runs operation by operation.
        """
        given = tuple(self.give(array) for array in inputs)
        try:
            traced, shapes = self._jax.make_jaxpr(function, return_shape=True)(*given)
            flat = self._call(traced, given)
        except Exception:  # what cannot be compiled is run operation by operation
            return self._by_operation(function, given)
        y, kept = self._jax.tree.unflatten(self._jax.tree.structure(shapes), flat)

        def again(*arrays: Any) -> tuple[Any, None]:
            return self._jax.core.eval_jaxpr(traced.jaxpr, traced.consts, *arrays)[0], None

        return (self.take(y), kept), self._pull(again, given, y)

    def _pull(self, function: Callable[..., Any], given: tuple[Any, ...], y: Any) -> Pull:
        def pull(dy: Any) -> tuple[Any, ...]:
            args = (self.give(dy), *given)
            # Traced anew: of functions with derivative rules of their own the trace of the forward does not tell all.
            traced = self._jax.make_jaxpr(partial(vector_jacobian, function))(*args)
            ruled, *gradients = (self.take(value) for value in self._call(traced, args))
            same_forward(self.take(y), ruled, self.take(given[0]))
            return tuple(gradients)

        return self.differential(function, given, pull)

    def differential(self, function: Callable[..., Any], given: tuple[Any, ...], gradients: Pull) -> Pull:
        """Return the gradients of a function that returns (y, aux), with second derivatives and forward mode."""
        x, rest = given[0], given[1:]

        def second(dy: Any, v: Any) -> Any:
            def dx(moved: Any) -> Any:
                return vector_jacobian(function, self.give(dy), moved, *rest)[1]

            return self.take(self._jax.vjp(dx, x)[1](self.give(v))[0])

        def tangent(v: Any) -> Any:
            return self.take(self._jax.jvp(lambda moved: function(moved, *rest)[0], (x,), (self.give(v),))[1])

        return Differential(gradients, second, tangent)

    def _by_operation(self, function: Callable[..., Any], given: tuple[Any, ...]) -> tuple[Any, Pull]:
        y, pull, kept = self._jax.vjp(function, *given, has_aux=True)

        def gradients(dy: Any) -> tuple[Any, ...]:
            return tuple(self.take(gradient) for gradient in pull(self.give(dy).astype(y.dtype)))

        return (self.take(y), kept), self.differential(function, given, gradients)

    def _call(self, traced: Any, args: tuple[Any, ...]) -> Any:
        """Call what was traced, compiled; return its results as a list."""

        def make() -> Any:
            return self.compiled(lambda consts, args: self._jax.core.eval_jaxpr(traced.jaxpr, consts, *args))

        # The trace goes along: the identities in a fingerprint are those of living things.
        run, _ = self._compiled.get(_fingerprint(traced), lambda: (make(), traced))
        return run(traced.consts, args)

    def compiled(self, function: Callable[..., Any]) -> Any:
        """Return a pure function compiled at its first call with a shape."""
        # Older versions of JAX do not know the argument; then there are no options.
        return self._jax.jit(function, **({"compiler_options": self._options} if self._options else {}))


class PureFunction:
    """``function(inputs, state)`` of JAX's arrays, a pair of y and new state, compiled once for each shape."""

    def __init__(self, framework: Jax, function: Callable[[Any, Any], tuple[Any, Any]]) -> None:
        self._framework, self._function = framework, function
        self._value = framework.compiled(function)
        self._gradients = framework.compiled(self._derivative)
        self._traceable = True

    def __call__(self, inputs: tuple[Any, ...], state: Any) -> tuple[tuple[Any, Any], Pull]:
        """Return (y, new state), and what maps dy to the gradients of the inputs."""
        take = self._framework.take
        given = tuple(self._framework.give(array) for array in inputs)
        if self._traceable:
            try:
                y, new = self._value(given, state)
            except Exception:  # what cannot be traced is run operation by operation
                self._traceable = False
        if not self._traceable:
            return self._framework.differentiate(lambda *arrays: self._function(arrays, state), inputs)

        def pull(dy: Any) -> tuple[Any, ...]:
            return tuple(take(gradient) for gradient in self._gradients(given, state, self._framework.give(dy))[1:])

        def function(*arrays: Any) -> Any:
            return self._function(arrays, state)

        return (take(y), new), self._framework.differential(function, given, pull)

    def _derivative(self, inputs: tuple[Any, ...], state: Any, dy: Any) -> tuple[Any, ...]:
        return vector_jacobian(lambda *arrays: self._function(arrays, state), dy, *inputs)


class Recent:
    """The things made last, by key."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._things: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return the thing of that key, made by `make` if it is not there."""
        if key not in self._things:
            self._things[key] = make()
            if len(self._things) > self._size:
                self._things.popitem(last=False)
        self._things.move_to_end(key)
        return self._things[key]


def vector_jacobian(function: Callable[..., tuple[Any, Any]], dy: Any, *inputs: Any) -> tuple[Any, ...]:
    """Return y of a function that returns a pair of y and more, and the gradients of its inputs for dy."""
    import jax

    y, pull, _ = jax.vjp(function, *inputs, has_aux=True)
    return (y, *pull(dy.astype(y.dtype)))


def same_forward(y: Any, ruled: Any, x: Any) -> None:
    """Raise ValueError if the y of a function and that of its own derivative rule (custom_vjp) are not the same."""
    if y.dtype != np.float64 or y.shape != ruled.shape or np.array_equal(y, ruled) or not _well_conditioned(x):
        return
    apart = np.abs(y - ruled)
    if np.max(apart) > _APART * np.max(np.abs(y)):
        worst = np.argmax(apart)
        raise ValueError(
            "the function and the forward of its derivative rule (defvjp) return different y: "
            f"{y.flat[worst]:.6g} and {ruled.flat[worst]:.6g}"
        )


def _well_conditioned(x: Any) -> bool:
    """Tell whether rounding stays small whatever axis of x holds the channels."""
    spreads = (x.std(axis=tuple(other for other in range(x.ndim) if other != axis)) for axis in range(x.ndim))
    return all(float(np.max(np.abs(x))) <= _CONDITION * float(spread.min()) for spread in spreads)


def _fingerprint(traced: Any) -> tuple[Hashable, ...]:
    """Return what two traces have in common if, and only if, they do the same with the same arguments.

    A trace prints all that it does. Arrays that functions within it hold on to it does not print.
    """
    held: list[int] = []
    waiting = [traced.jaxpr]
    while waiting:
        for equation in waiting.pop().eqns:
            for parameter in equation.params.values():
                for inner in parameter if isinstance(parameter, tuple | list) else (parameter,):
                    held += [id(array) for array in getattr(inner, "consts", ())]
                    inner = getattr(inner, "jaxpr", inner)
                    if hasattr(inner, "eqns"):
                        waiting.append(inner)
    return str(traced.jaxpr), *held


def _device(jax: Any, name: str) -> Any:
    """Return JAX's device of that name; raise TargetError where it is not there."""
    kind, _, number = name.partition(":")
    try:
        return jax.devices(kind)[int(number or 0)]
    except (RuntimeError, IndexError, ValueError):
        here = ", ".join(sorted({device.platform for device in jax.devices()}))
        raise TargetError(f"device {name!r} is not available: JAX sees {here} here.") from None


@cache
def _quick_options() -> dict[str, Any]:
    """Return those of the compiler's options that this version of XLA knows."""
    import jax

    known = {}
    for name, value in _QUICK.items():
        try:
            jax.jit(lambda x: x, compiler_options={name: value})(0.0)
        except Exception:
            continue  # the option is gone; compiling takes longer, and results are as right
        known[name] = value
    return known


FRAMEWORKS.add("jax", Jax)
