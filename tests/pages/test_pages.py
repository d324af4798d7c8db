"""Pages for beginners: each has its sections, with something in them, and fits a terminal."""

import re

import pytest
from click.testing import CliRunner

from bncheck.cli import cli
from bncheck.pages.catalogue import PAGES
from bncheck.reporters.pages import page

SECTIONS = ["In full", "What goes wrong", "By hand", "References"]
ASKED_FIRST = ("gamma", "initial-values", "learning", "beta", "train-and-eval", "gradients")


@pytest.mark.parametrize("name", PAGES.names())
def test_each_page_has_its_sections_with_substance(name):
    short, *rest = re.split(r"^(.+)\n-+$", PAGES.get(name).doc, flags=re.M)
    assert rest[::2] == SECTIONS
    assert "\n" not in short.strip()
    assert len(short) <= 140
    assert all(len(body.split()) >= 6 for body in rest[1::2])


@pytest.mark.parametrize("name", PAGES.names())
def test_formulas_keep_their_lines(name):
    doc = PAGES.get(name).doc
    shown = page(name, doc, 80)
    for line in doc.splitlines():
        if line.startswith("    "):
            assert f"  {line}\n" in shown


@pytest.mark.parametrize("name", ASKED_FIRST)
def test_what_beginners_ask_first_has_a_page(name):
    result = CliRunner().invoke(cli, ["explain", name], prog_name="bncheck")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{name}\n")


def test_explain_without_a_name_lists_the_pages():
    result = CliRunner().invoke(cli, ["explain"], prog_name="bncheck")
    assert result.exit_code == 0
    assert all(f"\n{name} " in result.stdout for name in PAGES.names())


@pytest.mark.parametrize(("code", "quantity"), [("BUG211", "dmu"), ("BUG212", "dvar")])
def test_pages_of_missing_paths_say_whose_derivative_stands_in_the_stages(code, quantity):
    told = " ".join(CliRunner().invoke(cli, ["explain", code]).output.split())
    assert f"where {quantity} is the derivative of the loss by {quantity[1:]}" in told
    assert "bncheck explain gradients" in told
    assert f"{quantity}/dx" not in told
