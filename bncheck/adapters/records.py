"""Options whose entries are read as attributes: ``params.gamma`` as well as ``params["gamma"]``."""

from __future__ import annotations

from typing import Any


class Record(dict[str, Any]):
    """A dict that stands for an object: a dataclass of parameters, a namespace of options."""

    def __getattr__(self, name: str) -> Any:
        """Return an entry."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        """Keep an entry."""
        self[name] = value
