"""Write docs/gallery and docs/gallery.md: what reports look like, on a terminal and in a browser.

Everything comes from runs of the fixtures, so that a page of the gallery is what a user sees.
"""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import browser
from PIL import Image
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, MONOKAI
from rich.text import Text

from bncheck import pipeline
from bncheck.model import TargetSpec
from bncheck.report import Report
from bncheck.reporters import REPORTERS, Style
from bncheck.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "gallery"
PAGE = ROOT / "docs" / "gallery.md"
# What is shown, and what of it a reader should notice.
RUNS = {
    "pass": (("correct/cs231n_staged",), "A right implementation: what was verified, and how far."),
    "formula": (("buggy/misprinted_dx",), "A wrong formula: the bug by name, its line, the numbers of a small case."),
    "eval": (("buggy/eps_outside_root_in_eval",), "Right in training, wrong in eval mode."),
    "spatial": (("buggy/spatial_reshape_mixes_channels",), "Wrong on images alone; the condition says so."),
    "several": (
        ("correct/nchw_pair", "buggy/odd_batch_row_lost", "buggy/dbeta_averaged"),
        "Several targets: a table first.",
    ),
}
HEAD = """# Gallery

Written by `make gallery` from runs of the fixtures (`bncheck verify FILE --cases 80`). Each first on
a terminal of 80 columns in a dark theme and of 120 in a light one, then in a browser (`--format html -o report.html`).
"""
WIDTHS = (80, 120)
SHOTS = (
    ("laptop", browser.LAPTOP, False),
    ("laptop-dark", browser.LAPTOP, True),
    ("phone", browser.PHONE, False),
    ("paper", browser.PAPER, False),
)
# The one failure that is shown in every size is shown whole; taller pictures of the others are cut.
WHOLE, TALLEST = "formula", 1400


def main() -> int:
    """Write everything anew."""
    program = browser.path()
    if program is None:
        sys.stderr.write("the gallery needs Chromium\n")
        return 2
    reports = {name: reported(sources) for name, (sources, _) in RUNS.items()}  # what fails, fails before anything goes
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.iterdir():
        old.unlink()
    with browser.Browser(program, seconds=300) as chromium:
        for name, report in reports.items():
            for width in WIDTHS:
                (FOLDER / f"{name}-{width}.svg").write_text(drawn(report, width, name), encoding="utf-8")
            photograph(chromium, name, report)
    PAGE.write_text(text(), encoding="utf-8")
    return 0


def reported(sources: tuple[str, ...]) -> Report:
    """Return the report of fixtures, under names that are the same on every machine, without the time it took."""
    specs = [TargetSpec(f"fixtures/{source}.py") for source in sources]
    report = pipeline.run(specs, Settings(cases=80))
    return replace(report, targets=tuple(replace(target, seconds=1.0) for target in report.targets))


def drawn(report: Report, width: int, name: str) -> str:
    """Return the terminal's report as SVG: dark on 80 columns, light on 120."""
    console = Console(
        file=io.StringIO(), record=True, width=width, force_terminal=True, color_system="standard",
        legacy_windows=False, markup=False, emoji=False, highlight=False,
    )  # fmt: skip
    # A line that is longer than the screen is folded, as a terminal does.
    console.print(Text.from_ansi(REPORTERS.get("rich")(report, Style(width=width, color=True))), overflow="fold")
    theme = MONOKAI if width == WIDTHS[0] else DEFAULT_TERMINAL_THEME
    svg = console.export_svg(title="bncheck verify", theme=theme, unique_id=f"{name}-{width}")
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)  # a font of the reader's machine does


def photograph(chromium: browser.Browser, name: str, report: Report) -> None:
    """Take pictures of the page, the simple failure in every size and the others on a laptop."""
    page = FOLDER / f"{name}.html"
    page.write_text(REPORTERS.get("html")(report, Style()), encoding="ascii")
    try:
        for size, window, dark in SHOTS if name == WHOLE else SHOTS[:1]:
            chromium.show(page, window, dark=dark, printed=size == "paper")
            save(chromium.screenshot(whole=True), FOLDER / f"{name}-{size}.png", None if name == WHOLE else TALLEST)
    finally:
        page.unlink()


def save(png: bytes, path: Path, tallest: int | None) -> None:
    """Write a picture with few colours: a page has no more, and a tenth of the bytes does."""
    with Image.open(io.BytesIO(png)) as picture:
        short = picture.crop((0, 0, picture.width, min(picture.height, tallest or picture.height)))
        short.convert("RGB").quantize(32, dither=Image.Dither.NONE).save(path, optimize=True)


def text() -> str:
    """Return the page that shows the pictures."""
    parts = [HEAD]
    for name, (sources, words) in RUNS.items():
        files = ", ".join(f"`fixtures/{source}.py`" for source in sources)
        parts.append(f"\n## {words}\n\n{files}\n")
        for width in WIDTHS:
            parts.append(f"\n![The terminal's report, {width} columns](gallery/{name}-{width}.svg)\n")
        for size, *_ in SHOTS if name == WHOLE else SHOTS[:1]:
            parts.append(f"\n![The page, {size.replace('-', ', ')}](gallery/{name}-{size}.png)\n")
    return "".join(parts)


if __name__ == "__main__":
    sys.exit(main())
