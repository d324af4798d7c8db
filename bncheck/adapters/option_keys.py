"""The keys of a forward's dict of options, ``bn_param["eps"]``: what its code asks for, and what stands for that."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from bncheck.adapters.mode_values import argument_key, mode_texts, reachable
from bncheck.adapters.plans import Plan, arguments
from bncheck.adapters.sources import attributes_of, keys_of
from bncheck.adapters.words import STATISTICS, Role, argument_role, clarity, says_train_or_test

Function = Callable[..., Any]
_AFFINE = frozenset({"gamma", "beta"})


def dict_keys(function: Function, plan: Plan | None = None) -> list[tuple[tuple[str, str], ...]]:
    """Return what a fresh dict of options may hold, most likely first: the keys that the code asks for, by meaning.

    Gamma and beta are among them unless a call plan already gives them as arguments.
    """
    code = getattr(inspect.unwrap(getattr(function, "func", function)), "__code__", None)
    texts = [c for c in getattr(code, "co_consts", ()) if isinstance(c, str) and c.isidentifier()]
    keys = [key for known in reachable(function) for key in keys_of(known)]
    own = {t: role.value for t in (*texts, *keys) if (role := argument_role(t)) in (Role.EPS, Role.MOMENTUM)}
    own_dict = [key for name in _dicts(function, plan) for key in keys_of(function, name)]
    keys += (read := record_keys(function, plan))
    own_dict += read
    affine = {
        t: role.value
        for t in (*texts, *own_dict)
        if (role := argument_role(t)) in (Role.GAMMA, Role.BETA) and (clarity(t) > 1 or t in own_dict)
    }
    if plan is not None and plan.keys & {"gamma", "beta"}:
        affine = {}
    modes = {key: said for key in keys if (said := _mode_key(key, function))}
    plain = {"eps": "eps", "momentum": "momentum"} | own | affine | modes
    running = {t: role.value for t in (*texts, *keys) if (role := argument_role(t)) in STATISTICS}
    full = plain | {"running_mean": "running_mean", "running_var": "running_var"} | running
    return [tuple(plain.items()), tuple(full.items())]


def record_keys(function: Function, plan: Plan | None = None) -> list[str]:
    """Return what a function reads as attributes of its options, which are an object then: ``params.gamma``."""
    read = [key for name in _dicts(function, plan) for key in attributes_of(function, name)]
    roles = {key: role for key in read if (role := argument_role(key)) is not None}
    return list(roles) if _AFFINE <= {*roles.values()} else []


def _dicts(function: Function, plan: Plan | None) -> list[str]:
    """Return the arguments that are dicts of options by a plan; without one any argument may be."""
    if plan is None:
        return [a.name for a in arguments(function) or ()]
    return [name for name, key in plan.bound if key == "params"]


def _mode_key(key: str, function: Function) -> str | None:
    """Return what a key of options that reads as the mode wants, None for any other key."""
    if argument_role(key) is not Role.MODE:
        return None
    # A "mode" whose texts are not to be seen is CS231n's.
    return argument_key(key, None, True, function) if says_train_or_test(key) or mode_texts(function) else "mode:train"
