"""bncheck in notebooks: docs/notebook.ipynb run as its reader would, and what reports look like there."""

import re
import sys
import types
from html.parser import HTMLParser
from pathlib import Path

import pytest

import bncheck
from bncheck.report import Progress
from bncheck.reporters import notebook, progress

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.ipynb"


@pytest.fixture(scope="module")
def outputs():
    """Return what each code cell shows, as HTML and as text."""
    why = "what runs notebooks is not installed: pip install 'bncheck[dev]'"
    nbformat, nbclient, _ = (pytest.importorskip(name, reason=why) for name in ("nbformat", "nbclient", "ipykernel"))
    document = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(document)
    nbclient.NotebookClient(document, timeout=120, resources={"metadata": {"path": str(NOTEBOOK.parent)}}).execute()
    cells = [cell.outputs for cell in document.cells if cell.cell_type == "code"]
    return [[output.data for output in cell if "data" in output] for cell in cells]


# IPython's own loops and sockets warn when a kernel ends.
quiet = pytest.mark.filterwarnings("ignore")


@quiet
def test_functions_of_a_cell_are_verified_and_the_report_names_the_bug_and_its_line(outputs):
    shown = outputs[0][-1]
    text = re.sub(r"<style>.*?</style>|<[^>]+>", "", shown["text/html"])
    assert "FAIL" in text
    assert "BUG211 mean-path-dropped" in text
    assert "probably here: cell In[1]:16   dx = gamma * inv_std * (dy - xhat * dgamma / len(dy))" in text
    assert shown["text/plain"] == "<bncheck report: FAIL batchnorm_forward: BUG211 mean-path-dropped>"


@quiet
def test_mended_functions_and_layers_pass_and_a_finding_is_shown_by_itself(outputs):
    assert "✔ PASS" in outputs[1][-1]["text/html"]
    assert "BN201" in outputs[2][-1]["text/html"]
    assert "✔ PASS" in outputs[3][-1]["text/html"]


@quiet
def test_nothing_is_left_of_a_bar(outputs):
    """Of a run that took long the bar's place is left, and it is empty."""
    for cell in (outputs[0], outputs[1], outputs[3]):
        assert [data for data in cell[:-1] if data != {"text/plain": ""}] == []


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def luminance(color):
    """Return relative luminance (WCAG 2.2)."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_every_colour_is_one_of_the_theme_and_can_be_read_on_its_ground():
    for _, light, dark in [*notebook._ROLES.values(), notebook._DIM]:
        assert contrast(light, "#ffffff") >= 4.5
        assert contrast(dark, "#1e1e1e") >= 4.5


@pytest.fixture(scope="module")
def report():
    return bncheck.verify(str(Path(bncheck.__file__).parent / "samples" / "misprinted.py"), cases=20)


def test_the_html_is_whole_and_has_no_colour_of_its_own(report):
    for thing in (report, report.targets[0].findings[0]):
        html = thing._repr_html_()
        parser = _Tags()
        parser.feed(html)
        assert parser.open == []
        assert not re.findall(r"#[0-9a-f]{6}", html.partition("</style>")[2])


def test_text_of_the_user_is_no_html(report):
    from dataclasses import replace

    named = replace(report, targets=(replace(report.targets[0], name="<script>alert(1)</script>"),))
    assert "<script" not in named._repr_html_()


def test_outside_of_notebooks_there_is_no_bar(monkeypatch):
    for shell in (None, object()):
        monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda shell=shell: shell))
        with progress.in_notebook() as show:
            assert show is None


@pytest.fixture
def shown(monkeypatch):
    """Return what a notebook shows, in its order: what is displayed, then what takes its place."""
    shown = []
    handle = types.SimpleNamespace(update=lambda data, raw=False: shown.append(data))

    def displayed(html, display_id):
        shown.append(html)
        return handle

    display = types.SimpleNamespace(HTML=str, display=displayed)
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell, display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return shown


def test_in_a_notebook_the_bar_moves_and_is_wiped_out_even_after_an_exception(shown, monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)

    def interrupted():
        with progress.in_notebook() as show:
            for done in (1, 2, 3):
                show(Progress("<mine>", done, 1000, 0))
            show(Progress("<mine>", 500, 1000, 2))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert shown == [
        '<progress value="1" max="1000"></progress> 1/1000 &lt;mine&gt;',
        '<progress value="500" max="1000"></progress> 500/1000 2 failing, &lt;mine&gt;',
        {"text/plain": ""},
    ]


def test_a_short_run_leaves_nothing_in_a_notebook(shown):
    with progress.in_notebook() as show:
        show(Progress("mine", 500, 1000, 2))
    assert shown == []
