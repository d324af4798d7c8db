"""Lines of code as formulas: what is shown means what the line means, letter for letter and bracket for bracket."""

import math
import random
import re
from xml.etree.ElementTree import fromstring

import pytest

from bncheck.bugs.catalogue import BUGS
from bncheck.reporters.document.formulas import DEEPEST, GREEK, mathml, parse, pieces

LINES = sorted({text.replace("{}", "2") for _, bug in BUGS.items() for text in (bug.wrong, bug.right)})
PYTHON = {sign: name for name, sign in GREEK.items()} | {"·": "*", "−": "-"}


def read_back(element):
    """Return the Python that MathML says, with a bracket around whatever its layout keeps together."""
    parts = [read_back(child) for child in element]
    if element.tag == "mfrac":
        return f"(({parts[0]})/({parts[1]}))"
    if element.tag == "msup":
        return f"{parts[0]}**({parts[1]})"  # what stands below is as wide as it is: only a bracket keeps it together
    if element.tag == "msqrt":
        return f"sqrt({''.join(parts)})"
    if element.tag == "mover":
        return f"{parts[0]}hat"
    if element.tag in ("mi", "mn", "mo"):
        text = element.text
        return PYTHON.get(text) or ("d" + PYTHON[text[1:]] if text[1:] in PYTHON else text)
    inside = "".join(parts)
    return f"abs({inside[1:-1]})" if inside.startswith("|") else inside


def names(text):
    return sorted(re.findall(r"[A-Za-z_]\w*|\d+\.?\d*(?:e-?\d+)?", text))


def value(expression, seed):
    """Return what an expression comes to for random numbers under its names."""
    draw = random.Random(seed)
    known = {name: draw.uniform(1, 2) for name in names(expression) if not name[0].isdigit()}
    known |= {
        "sum": lambda x: 1.9 * x - 0.3,
        "mean": lambda x: 0.4 * x + 1,
        "sqrt": lambda x: abs(x) ** 0.5,
        "abs": abs,
        "max": max,
    }
    return eval(expression, {"__builtins__": {}}, known)  # the tests' own lines


def shown(line, **how):
    found = pieces(line, **how)
    return [read_back(fromstring(piece.text)) for piece in found if piece.is_math]


@pytest.mark.parametrize("line", LINES)
def test_every_line_of_every_bug_keeps_its_letters(line):
    found = pieces(line)
    told = "".join(read_back(fromstring(piece.text)) if piece.is_math else piece.text for piece in found)
    assert names(told) == names(line)


def test_most_lines_of_the_bugs_are_formulas():
    assert sum(any(piece.is_math for piece in pieces(line)) for line in LINES) > 0.7 * len(LINES)


FORMULAS = [line for line in LINES if len(pieces(line)) == 1 and pieces(line)[0].is_math]
TRICKY = [
    "a - (b - c)", "a / (b / c)", "a / b / c", "a / b * c", "a * (b + c) / m", "(a + b)**2", "-a**2", "(-a)**2",
    "a**-b", "a**(b + c)", "(a * b)**c", "(a / b)**2", "a * -b", "a - -b", "2 (x - mu) / m", "sum(dxhat * (-1/2))",
    "abs(x - mu) * abs(b)", "1 / (sqrt(var) + eps)", "(var + eps)**(-3/2)", "(a + b) * (c + b)", "-(a + b)",
]  # fmt: skip


@pytest.mark.parametrize("line", [*FORMULAS, *TRICKY])
def test_a_formula_means_what_its_line_means(line):
    [told] = shown(line)
    for side, same in zip(line.split("="), told.split("="), strict=True):
        python = side.strip().replace("2 (", "2 * (")
        assert value(f"{same},", 1) == pytest.approx(value(f"{python},", 1), rel=1e-12)


def test_a_bracket_too_few_is_seen():
    assert value("a - b - c", 1) != pytest.approx(value("a - (b - c)", 1))


def test_names_side_by_side_are_factors_only_where_that_is_said():
    assert pieces("gamma inv_std (a - b)") == [("gamma inv_std (a - b)", False)]
    [told] = shown("gamma inv_std (a - b)", side_by_side=True)
    assert told == "gamma*inv_std(a-b)"


def test_words_beside_a_formula_stay_words():
    found = pieces("in eval mode: y = gamma * xhat")
    assert [piece.is_math for piece in found] == [False, True]
    found = pieces("dgamma = dy * xhat, summed over all axes but C")
    assert [piece.is_math for piece in found] == [True, False]
    assert found[1].text == ", summed over all axes but C"


@pytest.mark.parametrize(
    "line",
    ["", "a b c", "f(", ")", "a +", "= =", "1 / 2 x", "<script>", "a[0]", "ａ + b", "a ** ", ",,,", "()", "x" * 9000],
)  # fmt: skip
def test_what_is_no_formula_stays_as_it_is(line):
    assert pieces(line) == [(line, False)]


def test_deep_nesting_is_no_formula_and_no_crash():
    for line in ("(" * 5000 + "x" + ")" * 5000, "-" * 400 + "x", "(" * 200 + "x" + ")" * 200):
        assert parse(line) is None
    for line in ("x**" * 160 + "x", "x+" * 240 + "x", "x/" * 240 + "x"):
        assert fromstring(pieces(line)[0].text).tag == "math"
    fits = DEEPEST - 1
    assert parse("(" * fits + "x" + ")" * fits) is not None


def test_random_tokens_never_raise():
    draw = random.Random(0)
    for _ in range(3000):
        line = "".join(
            draw.choice(["a", "xhat", "2", "(", ")", "+", "-", "*", "/", "**", "=", ",", " ", "sqrt("])
            for _ in range(9)
        )
        tree = parse(line)
        assert tree is None or fromstring(mathml(tree)).tag == "math"


def test_a_negative_factor_stands_in_brackets():
    [told] = shown("dxhat / sqrt(var + eps) * -1")
    assert told.endswith("*(-1)")


def test_greek_letters_and_hats():
    assert "<mi>γ</mi>" in mathml(parse("gamma"))
    assert "<mi>dγ</mi>" in mathml(parse("dgamma"))
    assert "mover" in mathml(parse("dxhat"))
    assert "<mi>running_var</mi>" in mathml(parse("running_var"))
    assert math.isclose(value("xhat", 2), value("xhat", 2))
