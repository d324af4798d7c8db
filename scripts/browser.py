"""Headless Chromium by its DevTools protocol over two pipes: one page at a time, measured, shown and printed."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--mute-audio")
# The protocol wants the file descriptors 3 and 4, which may be taken here.
_LAUNCH = (
    sys.executable,
    "-c",
    "import fcntl, os, sys\n"
    "two = [fcntl.fcntl(int(n), fcntl.F_DUPFD_CLOEXEC, 10) for n in sys.argv[1:3]]\n"
    "os.dup2(two[0], 3)\n"
    "os.dup2(two[1], 4)\n"
    "os.execv(sys.argv[3], sys.argv[3:])",
)
# A4 at 96 pixels per inch.
PHONE, LAPTOP, PAPER = (360, 740), (1280, 800), (794, 1123)


def path() -> str | None:
    """Return where Chromium is, None where it is not."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """A running Chromium with one page, as a context manager."""

    def __init__(self, program: str, seconds: float = 60.0) -> None:
        self._program = program
        self._seconds = seconds
        self._number = 0
        self._session = ""
        self._heard: set[str] = set()

    def __enter__(self) -> Self:
        """Start it, with its profile in a folder of its own."""
        self._folder = TemporaryDirectory(prefix="bncheck-browser-", ignore_cleanup_errors=True)
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        flags = [*FLAGS, f"--user-data-dir={self._folder.name}", "--remote-debugging-pipe", "about:blank"]
        self._process = subprocess.Popen(
            ["timeout", f"{self._seconds:g}", *_LAUNCH, str(theirs_in), str(theirs_out), self._program, *flags],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._in, self._out = os.fdopen(ours_in, "rb"), os.fdopen(ours_out, "wb")
        try:
            target = self._ask("Target.createTarget", url="about:blank")["targetId"]
            self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            self._ask("Page.enable")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._stop()

    def _stop(self) -> None:
        self._in.close()
        self._out.close()
        self._process.terminate()
        self._process.wait()
        self._folder.cleanup()

    def show(self, page: Path, size: Sequence[int], *, dark: bool = False, printed: bool = False) -> None:
        """Open a file in a window of this size, in a theme, as the screen or as paper has it."""
        width, height = size
        # A mobile window would grow with what runs over its edge.
        self._ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._ask("Emulation.setEmulatedMedia", media="print" if printed else "screen", features=[theme])
        self._heard.clear()
        self._ask("Page.navigate", url=page.resolve().as_uri())
        while "Page.loadEventFired" not in self._heard:
            self._read()

    def measure(self, expression: str) -> Any:
        """Return what a JavaScript expression comes to on the page."""
        result = self._ask("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(str(result["exceptionDetails"]))
        return result["result"].get("value")

    def screenshot(self, *, whole: bool = False) -> bytes:
        """Return the window, or the whole page, as PNG."""
        shot = self._ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(shot["data"])

    def pdf(self) -> bytes:
        """Return the page as it is printed on A4."""
        made = self._ask("Page.printToPDF", paperWidth=8.27, paperHeight=11.69, preferCSSPageSize=True)
        return base64.b64decode(made["data"])

    def _ask(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        while (answer := self._read()).get("id") != self._number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _read(self) -> dict[str, Any]:
        """Return the next message; each ends with a null byte."""
        parts = bytearray()
        while (byte := self._in.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("the browser has ended")
            parts += byte
        message: dict[str, Any] = json.loads(parts)
        self._heard.add(str(message.get("method", "")))
        return message
