"""The plots of a report as SVG, drawn by matplotlib: the line probe, and the error over the sweep.

The same data give the same bytes. Colours are names of the page's own, so that a plot follows its light or dark theme;
words are text in the page's font, and whatever came from the user's code stays outside of the plot.
"""

from __future__ import annotations

import importlib
import io
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from bncheck.errors import UsageError
from bncheck.report import Probed, Trend

# The environment variable that chooses one; a figure that is saved as SVG needs none.
BACKEND = "MPLBACKEND"
# Inches: at 96 pixels each the letters are still legible where a phone makes them four fifths as large.
SIZE = (4.2, 2.9)
# What stands for a colour of the page until it is drawn, and its name in the style sheet.
INK, FAINT, GOOD, BAD = "#010101", "#020202", "#030303", "#040404"
_VARIABLES = {INK: "--ink", FAINT: "--faint", GOOD: "--good", BAD: "--bad"}
# Beside matplotlib's own defaults: a plot looks the same whatever a matplotlibrc of the user says.
_SETTINGS = {
    "svg.fonttype": "none",
    "svg.hashsalt": "bncheck",
    "font.size": 9.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.color": FAINT,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "text.parse_math": False,
}
# Parameters that are measured, with values orders of magnitude apart but for momentum; others are had or not.
_MEASURES = ("N", "m", "C", "N C H W", "eps", "|mean|", "|mean| standard deviations", "sd", "scale of dy", "momentum")
# Below this the error of a case is a matter of rounding alone; drawn lower, it would press the rest together.
_LEAST = 1e-6


def probe_plot(probe: Probed, prefix: str) -> str:
    """Return |Chebyshev coefficients| against the degree: their decay, their plateau, the error and what is allowed."""
    return _svg(lambda axes: _draw_probe(axes, probe), prefix)


def _draw_probe(axes: Any, probe: Probed) -> None:
    sizes = [abs(c) for c in probe.coefficients]
    degrees = [k for k, size in enumerate(sizes) if size > 0 and math.isfinite(size)]
    axes.set_yscale("log")
    for k in degrees:
        axes.plot([k, k], [sizes[k], _bottom(probe)], color=FAINT, linewidth=0.8, zorder=1)
    for parity, marker in ((1, "o"), (0, "x")):
        shown = [k for k in degrees if k % 2 == parity]
        axes.plot(shown, [sizes[k] for k in shown], marker, color=INK, markersize=4.5, zorder=3)
    if probe.level > 0 and math.isfinite(probe.level):
        axes.axhline(probe.level, color=FAINT, linestyle=":", linewidth=1.4)
    # In units of a coefficient of degree 1: c T1 has the slope c / radius.
    for slope, color, style in ((probe.allowed, GOOD, "--"), (probe.error, BAD, "-")):
        if slope > 0 and math.isfinite(slope):
            axes.axhline(slope * probe.radius, color=color, linestyle=style, linewidth=1.6)
    axes.set_ylim(bottom=_bottom(probe))
    axes.set_xlabel("degree k")
    axes.set_ylabel("|coefficient|")
    axes.set_xticks(range(0, len(sizes), 3))


def _bottom(probe: Probed) -> float:
    """Return the lower end of the axis: a little below the plateau."""
    shown = [abs(c) for c in probe.coefficients if c and math.isfinite(c)]
    floor = probe.level if probe.level > 0 and math.isfinite(probe.level) else min(shown, default=1e-16)
    return float(max(min(floor, max(shown, default=floor)) / 30, 1e-300))


def trend_plot(trend: Trend, prefix: str) -> str:
    """Return the error over what is allowed against a parameter; above 1 a case fails."""
    return _svg(lambda axes: _draw_trend(axes, trend), prefix)


def _draw_trend(axes: Any, trend: Trend) -> None:
    finite = [ratio for ratio in trend.ratios if math.isfinite(ratio)]
    top = max([*finite, 1.0]) * 30
    places = _places(trend)
    axes.set_yscale("log")
    axes.axhline(1.0, color=GOOD, linestyle="--", linewidth=1.6)
    for failed, marker, color in ((False, "x", INK), (True, "o", BAD)):
        shown = [
            (place, min(max(ratio, _LEAST), top) if math.isfinite(ratio) else top)
            for place, ratio, wrong in zip(places, trend.ratios, trend.failed, strict=True)
            if wrong is failed
        ]
        if shown:
            axes.plot(*zip(*shown, strict=True), marker, color=color, markersize=4, fillstyle="none")
    axes.set_ylabel("error / allowed")
    if _is_property(trend):
        axes.set_xlim(-0.6, 1.6)
        axes.set_xticks([0, 1], ["all other cases", "cases that have it"])
    else:
        _scale(axes, trend)


def _places(trend: Trend) -> Sequence[float]:
    """Return where the points stand; two groups are spread a little, so that points do not hide each other."""
    if not _is_property(trend):
        return trend.values
    steps = (-0.2, 0.12, -0.04, 0.2, -0.12, 0.04)
    return [value + steps[i % len(steps)] for i, value in enumerate(trend.values)]


def _is_property(trend: Trend) -> bool:
    return trend.parameter not in _MEASURES and set(trend.values) <= {0.0, 1.0}


def _scale(axes: Any, trend: Trend) -> None:
    """Name the axis of a measure, and let it run over decades where they are there."""
    axes.set_xlabel(trend.parameter if trend.parameter in _MEASURES else "parameter")
    sizes = [abs(value) for value in trend.values if value and math.isfinite(value)]
    if trend.parameter == "momentum" or not sizes:
        return
    if all(value > 0 for value in trend.values):
        axes.set_xscale("log")
    else:
        axes.set_xscale("symlog", linthresh=min(sizes))


def _svg(draw: Callable[[Any], None], prefix: str) -> str:
    """Return a plot as the inside of an <svg> element, to be put into the page."""
    # By name: only whoever asks for a plot pays for the import.
    matplotlib, figures = _imported("matplotlib"), _imported("matplotlib.figure")
    # The backend of the process stays as it is.
    defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
    with matplotlib.rc_context(defaults | _SETTINGS):
        figure = figures.Figure(figsize=SIZE, layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.minorticks_off()
        for axis in (axes.xaxis, axes.yaxis):
            if axis.get_scale() != "linear":
                axis.set_major_formatter(lambda value, _: _tick(value))
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _for_the_page(out.getvalue(), prefix)


def _imported(name: str) -> Any:
    """Return a module of matplotlib, whatever backend the user asks for.

    Raises
    ------
    UsageError
        If it cannot be imported: it is broken, or what the user set for it is.

    """
    try:
        with _without_backend():
            return importlib.import_module(name)
    except Exception as error:
        said = f"whose import ends in {type(error).__name__}: {error}"
        raise UsageError(f"the format html needs {name}, {said}") from error


@contextmanager
def _without_backend() -> Iterator[None]:
    """Hide the user's choice of a backend: matplotlib cannot be imported where it does not know it."""
    chosen = os.environ.pop(BACKEND, None)
    try:
        yield
    finally:
        if chosen is not None:
            os.environ[BACKEND] = chosen


def _tick(value: float) -> str:
    """Return the number at a tick of a logarithmic axis: as it is where that is short, else a power of ten."""
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:g}"
    digits, _, power = f"{value:.0e}".partition("e")
    return f"{digits}e{int(power)}"


def _for_the_page(svg: str, prefix: str) -> str:
    """Return what is inside the <svg> element, with the page's colours, and ids that no other plot has."""
    inside = svg[svg.index(">", svg.index("<svg")) + 1 : svg.rindex("</svg>")]
    inside = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>", "", inside, flags=re.DOTALL)
    inside = re.sub(r'\bid="', f'id="{prefix}-', inside)
    inside = inside.replace("url(#", f"url(#{prefix}-").replace('xlink:href="#', f'href="#{prefix}-')
    for color, variable in _VARIABLES.items():
        inside = inside.replace(color, f"var({variable})")
    return inside.strip()
