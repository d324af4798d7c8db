"""The page in headless Chromium, at the sizes of a phone, a laptop and paper: nothing is cut, both themes apply."""

import pytest
from from_scripts import load
from render import REPORTS

from bncheck.reporters import REPORTERS, Style

browser = load("browser")
PROGRAM = browser.path()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="Chromium is not installed"),
]
NAMES = ("pass", "inconclusive", "diagnosed", "several", "large", "hostile", "error", "not-finite")
SIZES = {"phone": browser.PHONE, "laptop": browser.LAPTOP}
WIDTHS_BETWEEN = (390, 500, 600, 800)
# What lies to the right of the window, but for what can be scrolled by itself.
OUTSIDE = """
[...document.querySelectorAll('body *')]
  .filter(e => !e.closest('.scroll, .formula, .hidden, math') && e.getBoundingClientRect().width > 0)
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))
"""
# Words of tables that stand on two lines; numbers, code and formulas are another matter.
BROKEN = """
[...document.querySelectorAll('th, td, caption')].filter(e => !e.closest('.numbers') && !e.matches('.value'))
  .flatMap(e => {
    const walker = document.createTreeWalker(e, NodeFilter.SHOW_TEXT), found = [];
    for (let n; (n = walker.nextNode());) {
      if (n.parentElement.closest('math, code')) continue;
      for (const word of n.data.matchAll(/[A-Za-z0-9]+/g)) {
        const range = document.createRange();
        range.setStart(n, word.index);
        range.setEnd(n, word.index + word[0].length);
        if (new Set([...range.getClientRects()].map(r => Math.round(r.top))).size > 1) found.push(word[0]);
      }
    }
    return found })
"""
WIDTHS = "[document.documentElement.scrollWidth, innerWidth]"
# Contrast of every text as it is drawn, with the ground that lies below it.
CONTRAST = """
(() => {
  const linear = v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => { const [r, g, b] = c.map(v => linear(v / 255));
                       return .2126 * r + .7152 * g + .0722 * b };
  const rgb = s => s.match(/[\\d.]+/g).map(Number);
  const ground = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
                        if (c.length < 4 || c[3] > 0) return c.slice(0, 3) } return [255, 255, 255] };
  const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
  const found = [...document.querySelectorAll('body *')].filter(own)
    .filter(e => !['title', 'desc'].includes(e.tagName)).map(e => {
    const style = getComputedStyle(e), svg = e.closest('svg');
    const a = light(rgb(svg ? style.fill : style.color).slice(0, 3)), b = light(ground(e));
    return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) });
  return Math.min(...found) })()
"""


@pytest.fixture(scope="module")
def chromium():
    with browser.Browser(PROGRAM, seconds=150) as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    for name in NAMES:
        (folder / f"{name}.html").write_text(REPORTERS.get("html")(REPORTS[name], Style()), encoding="ascii")
    return folder


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_over_the_edge(chromium, pages, name, size):
    chromium.show(pages / f"{name}.html", SIZES[size])
    wide, window = chromium.measure(WIDTHS)
    assert window == SIZES[size][0]
    assert wide <= window
    assert chromium.measure(OUTSIDE) == []


def test_a_line_that_runs_over_the_edge_is_seen(chromium, pages, tmp_path):
    text = (pages / "pass.html").read_text().replace("</main>", "<p style='width: 900px'>wide")
    (tmp_path / "wide.html").write_text(text)
    chromium.show(tmp_path / "wide.html", browser.PHONE)
    wide, window = chromium.measure(WIDTHS)
    assert wide > window
    assert chromium.measure(OUTSIDE) != []


@pytest.mark.parametrize("width", WIDTHS_BETWEEN)
@pytest.mark.parametrize("name", ["diagnosed", "several", "inconclusive"])
def test_no_word_of_a_table_is_broken_and_nothing_is_cut(chromium, pages, name, width):
    chromium.show(pages / f"{name}.html", (width, 800))
    assert chromium.measure(BROKEN) == []
    assert chromium.measure(OUTSIDE) == []
    assert chromium.measure(WIDTHS)[0] <= width


def test_a_broken_word_is_seen(chromium, pages, tmp_path):
    text = (pages / "pass.html").read_text().replace("</main>", "<table><tr><th style='width: 1em'>verdict</table>")
    (tmp_path / "broken.html").write_text(text.replace("</style>", "table { width: 1em; table-layout: fixed }</style>"))
    chromium.show(tmp_path / "broken.html", browser.LAPTOP)
    assert "verdict" in chromium.measure(BROKEN)


def test_the_small_case_begins_on_the_first_screens_of_a_laptop(chromium, pages):
    chromium.show(pages / "diagnosed.html", browser.LAPTOP)
    top = "[...document.querySelectorAll('h3')].find(e => e.textContent == 'A small failing case').offsetTop"
    assert chromium.measure(top) < browser.LAPTOP[1]
    steps = "document.querySelector('.steps').getBoundingClientRect().height"
    assert chromium.measure(steps) > 0
    plots = "[...document.querySelectorAll('details .plot')].map(e => e.closest('details').open)"
    assert chromium.measure(plots) == [False]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["diagnosed", "several"])
def test_every_text_is_legible_as_it_is_drawn(chromium, pages, name, dark):
    chromium.show(pages / f"{name}.html", browser.LAPTOP, dark=dark)
    ground = chromium.measure("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
    assert chromium.measure(CONTRAST) >= 4.5


def test_paper_shows_what_is_folded_on_a_screen(chromium, pages):
    closed = "document.querySelector('details:not(.screen-only, [open])')"
    state = f"getComputedStyle({closed}, '::details-content').contentVisibility"
    chromium.show(pages / "diagnosed.html", browser.PAPER)
    assert chromium.measure(state) == "hidden"
    chromium.show(pages / "diagnosed.html", browser.PAPER, printed=True)
    assert chromium.measure(state) == "visible"


@pytest.mark.parametrize("name", ["diagnosed", "several", "large"])
def test_paper_cuts_nothing(chromium, pages, name):
    inside = (round(browser.PAPER[0] - 2 * 15 / 25.4 * 96), browser.PAPER[1])  # without the margins of 15 mm
    chromium.show(pages / f"{name}.html", inside, printed=True)
    wide, window = chromium.measure(WIDTHS)
    assert wide <= window
    assert chromium.measure(OUTSIDE.replace(".scroll, .formula, ", "")) == []
    assert chromium.pdf().startswith(b"%PDF")


def test_formulas_are_drawn_as_formulas(chromium, pages):
    chromium.show(pages / "diagnosed.html", browser.LAPTOP)
    assert chromium.measure("document.querySelectorAll('math').length") > 0
    assert chromium.measure("[...document.querySelectorAll('details')].forEach(d => d.open = true)") is None
    tall = "Math.max(...[...document.querySelectorAll('mfrac')].map(e => e.getBoundingClientRect().height))"
    assert chromium.measure(tall) > 25  # a bar with something above and below
