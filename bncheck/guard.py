"""What surrounds every call of user code: silence, a count of what it prints, and exceptions turned into faults."""

from __future__ import annotations

import contextlib
import io
import os
import traceback
import warnings
from collections.abc import Iterator

from bncheck.model import Fault

# Frames of these folders are never "the user's line".
_OURS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_INSTALLED = (os.sep + "site-packages" + os.sep, os.sep + "dist-packages" + os.sep, os.sep + "lib" + os.sep + "python")
_MESSAGE_LIMIT = 200


class Printed(io.TextIOBase):
    """A text stream that keeps the beginning of what is written to it and counts the rest."""

    KEEP = 2000

    def __init__(self) -> None:
        self.characters = 0
        self.beginning = ""

    def writable(self) -> bool:
        """Return True: this is an output stream."""
        return True

    def write(self, text: str, /) -> int:
        """Count `text`, keep it if there is room, and return its length."""
        if len(self.beginning) < self.KEEP:
            self.beginning += text[: self.KEEP - len(self.beginning)]
        self.characters += len(text)
        return len(text)


@contextlib.contextmanager
def printing_counted() -> Iterator[Printed]:
    """Take what is printed to sys.stdout and sys.stderr inside the block."""
    printed = Printed()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        yield printed


@contextlib.contextmanager
def quiet() -> Iterator[Printed]:
    """Silence prints, Python warnings and NumPy's floating-point warnings inside the block."""
    import numpy as np

    with printing_counted() as printed, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield printed


def describe(error: BaseException, stage: str) -> Fault:
    """Return what came out of user code as a Fault, placed at the innermost line of the user's own."""
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        name = os.path.abspath(frame.filename)
        if not name.startswith(_OURS) and not any(part in name for part in _INSTALLED) and "<frozen" not in name:
            where = f"{os.path.basename(name)}:{frame.lineno}"
    text = " ".join(str(error).split())
    return Fault(stage, type(error).__name__, text[:_MESSAGE_LIMIT], where)


@contextlib.contextmanager
def faults_of(stage: str, faults: list[Fault]) -> Iterator[None]:
    """Append what user code raises inside the block to `faults`; only the user's own Ctrl-C passes through."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        faults.append(describe(error, stage))
