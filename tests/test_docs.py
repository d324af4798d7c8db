"""The documentation: its examples print what the pages show, every page can be reached, and no page asks a host."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from importlib.util import find_spec

import pytest
import yaml
from from_scripts import ROOT, load

EXAMPLES = load("doc_examples")
DOCS = ROOT / "docs"


@pytest.mark.parametrize("page", EXAMPLES.PAGES)
def test_examples_print_what_the_page_shows(page):
    if EXAMPLES.lacks(page):
        pytest.skip(f"needs {EXAMPLES.PAGES[page].removeprefix('$')}")
    shown = (DOCS / page).read_text(encoding="utf-8")
    assert EXAMPLES.steady(EXAMPLES.ran(page)) == EXAMPLES.steady(shown), "make examples"


def test_every_page_with_an_example_is_run():
    having = {
        path.relative_to(DOCS).as_posix()
        for folder in (".", "tutorial", "how-to", "explanation")
        for path in (DOCS / folder).glob("*.md")
        if re.search(r"^```console\n\$ ", path.read_text(encoding="utf-8"), re.M)
    }
    assert having <= set(EXAMPLES.PAGES)


def test_what_an_example_prints_is_put_below_it(tmp_path, monkeypatch):
    monkeypatch.setattr(EXAMPLES, "DOCS", tmp_path)
    page = '```python title="a.py"\nprint("1.5 s")\n```\n\n```console\n$ python a.py\nold\n```\n'
    (tmp_path / "index.md").write_text(page)
    assert EXAMPLES.ran("index.md") == page.replace("old", "1.5 s")
    assert EXAMPLES.main(["index.md"]) == 0
    assert "old" not in (tmp_path / "index.md").read_text()


def test_python_that_fails_is_no_example(tmp_path, monkeypatch):
    monkeypatch.setattr(EXAMPLES, "DOCS", tmp_path)
    (tmp_path / "index.md").write_text("```python\na = 1\n```\n\n```python\nassert a == 2\n```\n")
    with pytest.raises(RuntimeError, match="AssertionError"):
        EXAMPLES.ran("index.md")


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        ("150 cases · 2.4 s", "150 cases ·  12.0 s", True),
        ("error 1e+13 × allowed", "error 4.7e+12 × allowed", True),
        ("FAIL 122 of 150 cases", "FAIL 123 of 150 cases", False),
        ("dgamma  WRONG", "dgamma  ok", False),
    ],
)
def test_only_times_and_sizes_of_errors_may_differ(one, other, alike):
    assert (EXAMPLES.steady(one) == EXAMPLES.steady(other)) is alike


def listed(entries):
    for entry in entries:
        if isinstance(entry, dict):
            for below in entry.values():
                yield from listed(below if isinstance(below, list) else [below])
        else:
            yield entry


def test_every_page_is_in_the_navigation_once():
    pages = list(listed(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    assert sorted(pages) == sorted(path.relative_to(DOCS).as_posix() for path in DOCS.glob("**/*.md")), "mkdocs.yml"


class Resources(HTMLParser):
    """What a browser fetches when it opens a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag in ("script", "img", "iframe", "source", "video", "audio", "embed"):
            self.found.append(given.get("src"))
        elif tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.found.append(given.get("href"))


def fetched(text):
    parser = Resources()
    parser.feed(text)
    return [place for place in parser.found if place]


def test_what_a_page_fetches_is_found():
    page = '<link rel="preconnect" href="https://a.b"><script src="//c.d/e.js"></script><a href="https://f.g">h</a>'
    assert fetched(page) == ["https://a.b", "//c.d/e.js"]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if find_spec("material") is None:
        pytest.skip("MkDocs is not installed: pip install '.[docs]'")
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(place)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.site
def test_the_site_is_built_and_asks_no_host(site):
    pages = list(site.glob("**/*.html"))
    assert {"index.html", "mending.html", "checks.html"} <= {page.name for page in pages}
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not [place for place in fetched(text) if re.match(r"(\w+:)?//", place)], page
        # The theme's script asks GitHub about a repository, and a CDN for what draws diagrams, where it finds either.
        assert not re.search(r'class="mermaid"|data-md-component="source"', text), page
    for style in (*site.glob("**/*.css"), *site.glob("**/*.svg")):
        assert not re.search(r"(url\(|@import )[\"']?(https?:)?//", style.read_text(encoding="utf-8")), style
