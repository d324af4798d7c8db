"""Write docs/shapes.md: every shape of code that the conformance suite holds, from the headers of its miniatures."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "tests" / "adapters" / "conformance"
PAGE = ROOT / "docs" / "shapes.md"
HEAD = """# Shapes of code that are understood with no flag

Each row is a miniature in `tests/adapters/conformance`: verified in every test run as it stands, and with three bugs.
The list is no limit: discovery goes by what names mean and by trying. Layers of frameworks are verified too:
`torch.nn.BatchNorm1d`, `2d` and `3d`, `flax.linen.BatchNorm`, `flax.nnx.BatchNorm`, `keras.layers.BatchNormalization`.

| shape | layouts | gamma, beta | eps | mode | returns |
|---|---|---|---|---|---|
"""


def header(path: Path) -> dict[str, str]:
    """Return the keys of a miniature's header; in a notebook the lines end as JSON has them."""
    lines = re.findall(r"# ([\w-]+): (.*?)(?:\\n\",?)?$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {key: value.strip().replace('\\"', '"') for key, value in reversed(lines)}


def page() -> str:
    """Return the text of the page."""
    files = sorted(p for p in FOLDER.rglob("*") if p.suffix in (".py", ".ipynb"))
    rows = []
    for path in files:
        keys = header(path)
        if "shape" in keys and "returns" in keys:
            cells = [keys[k] for k in ("shape", "layouts", "parameter-shape", "eps-source", "mode-switch", "returns")]
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return HEAD + "\n".join(rows) + "\n"


def main() -> int:
    """Write the page, or with --check say whether it is current."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the page is out of date")
    if parser.parse_args().check:
        return int(PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
