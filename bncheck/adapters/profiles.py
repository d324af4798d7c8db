"""Whose convention running statistics follow: a library's, a course's, the paper's; and how they depart from it."""

from __future__ import annotations

from bncheck.adapters.rules import DECAYED, Statistics
from bncheck.adapters.words import Kind, kind
from bncheck.model import Declared

# Sense, variance and start of the usual conventions, as their documentation gives them; "" fits any.
_PROFILES = {
    "pytorch": ("new", "unbiased", "0, 1"),
    "cs231n": ("kept", "biased", "0, 0"),
    "keras": ("kept", "biased", "0, 1"),
    "flax": ("kept", "biased", "0, 1"),
    "chainer": ("kept", "unbiased", ""),
    "paper": ("cumulative", "unbiased", ""),
}
KERAS_EPS = 1e-3


def profile_of(found: Statistics, eps: float | None) -> str:
    """Return whose convention the statistics follow, "" if nobody's. Keras and Flax differ by the value of eps only."""
    fitting = [name for name in _PROFILES if fits_profile(found, name)]
    if fitting == ["keras", "flax"]:
        return "keras" if eps == KERAS_EPS else "flax"
    return fitting[0] if fitting else ""


def fits_profile(found: Statistics, name: str) -> bool:
    """Tell whether the statistics follow a convention; where they start is a part of it."""
    wanted = _PROFILES[name]
    sense = wanted[0] if found.sense == "fixed" and wanted[0] in ("kept", "new") else found.sense
    sense = "cumulative" if sense == "finished" and found.note != DECAYED else sense
    return all(want in ("", got) for want, got in zip(wanted, (sense, found.var, found.start), strict=True))


# Whose layer a class is built on, by the root module of a base that is called a batch norm.
_OWNERS = {"torch": "pytorch", "keras": "keras", "tf_keras": "keras", "flax": "flax"}


def base_profile(cls: type) -> str:
    """Return whose Batch Normalization a class derives from, "" if nobody's or if it is that one itself."""
    owners = [
        _OWNERS.get(base.__module__.split(".")[0], "")
        for base in cls.__mro__
        if kind(base.__name__.lstrip("_")) is Kind.BN
    ]
    return next(filter(None, owners), "") if cls.__module__.split(".")[0] not in _OWNERS else ""


def misfit(found: Statistics, declared: Declared, base: str = "") -> str | None:
    """Return how statistics depart from the profile to be held, "" if they do not, None if there is none.

    That is the profile which the user declared, else that of the library whose layer the code is built on (`base`).
    """
    profile, said = declared.profile, ""
    if profile == "auto":
        profile, said = base, ", on whose BatchNorm it is built"
    if not profile or not found.sense:
        return None
    if fits_profile(found, profile):
        return ""
    wanted = _PROFILES[profile]
    names = ("momentum is the fraction", "running variance", "start of mean and variance")
    sense = wanted[0] if found.sense == "fixed" else found.sense  # a literal fraction has no sense of its own
    pairs = zip(names, wanted, (sense, found.var, found.start), strict=True)
    return f"not as in {profile}{said}: " + "; ".join(
        f"{name} {got or 'unknown'}, and {profile} has {want}" for name, want, got in pairs if want not in ("", got)
    )


def profile_missed(said: str | None) -> tuple[str, tuple[str, str, str]] | None:
    """Return the profile that a misfit speaks of, and its sense, variance and start; None if it is no misfit."""
    return next((known for known in _PROFILES.items() if (said or "").startswith(f"not as in {known[0]}")), None)


def declared_statistics(found: Statistics, declared: Declared) -> Statistics:
    """Return the convention with what the user declared in the place of what was found."""
    if not found.sense:
        return found
    return found._replace(sense=declared.momentum_sense or found.sense, var=declared.running_var or found.var)
