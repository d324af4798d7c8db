"""Of a backward in stages the first line is named whose value right code does not have; of two that may be meant, none.

Names are those of no formula throughout: what a line makes tells what it is.
"""

import numpy as np
import pytest
from pointing import lines_of

from bncheck.bugs.steps import Steps
from bncheck.case import CaseSpec
from bncheck.cases.arrays import build
from bncheck.lines.natural import Natural

FORWARD = """
import numpy as np

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    p = x - x.mean(axis=0)
    q = np.sqrt((p ** 2).mean(axis=0) + eps)
    return gamma * p / q + beta, (p / q, p, q, gamma)

def batchnorm_backward(dy, cache):
    r, p, q, gamma = cache
    k = dy.shape[0]
"""
END = """
    return z, (dy * r).sum(axis=0), dy.sum(axis=0)
"""
# The stages of the paper, those of a closed formula, with sums and with means, and those of one that adds negatives.
PAPER = """
    a = dy * gamma
    b = (-0.5 * a * p / q ** 3).sum(axis=0)
    c = (-a / q).sum(axis=0) + b * (-2.0 * p).sum(axis=0) / k
    z = a / q + b * 2.0 * p / k + c / k
"""
SUMS = """
    a = dy * gamma
    b = a.sum(axis=0)
    c = (a * r).sum(axis=0)
    z = 1 / q / k * (k * a - b - r * c)
"""
MEANS = """
    a = dy * gamma
    b = a.mean(axis=0)
    c = (a * r).mean(axis=0)
    d = a - b - r * c
    z = d / q
"""
NEGATIVES = """
    a = dy * gamma
    b = -a.mean(axis=0)
    c = -(a * r).mean(axis=0)
    z = (a + b + r * c) / q
"""
# Terms that a plain sum takes as they are.
TERMS = """
    a = gamma / q * dy
    b = gamma / q * dy.sum(axis=0) / k
    c = gamma / q * r * (dy * r).sum(axis=0) / k
    z = a - b - c
"""
FAULTS = [
    (PAPER, "b = (-0.5 * a", "b = (0.5 * a"),
    (PAPER, "p / q ** 3)", "p / q ** 2)"),
    (PAPER, "a = dy * gamma", "a = dy"),
    (PAPER, "b * 2.0 * p / k", "b * p / k"),
    (PAPER, "+ c / k", "+ c"),
    (PAPER, " + c / k", ""),
    (SUMS, "b = a.sum", "b = a.mean"),
    (SUMS, "b = a.sum(axis=0)", "b = 0"),
    (SUMS, "c = (a * r)", "c = -(a * r)"),
    (SUMS, "c = (a * r)", "c = (a)"),
    (SUMS, "- r * c)", "+ r * c)"),
    (SUMS, "- r * c)", "- r * c / k)"),
    (SUMS, "- b -", "-"),
    (MEANS, "c = (a * r).mean", "c = (a * r).sum"),
    (MEANS, "d = a - b - r * c", "d = a - b"),
    (MEANS, "d = a - b - r * c", "d = a - b + r * c"),
    (MEANS, "z = d / q", "z = d"),
    (NEGATIVES, "c = -(a", "c = (a"),
    (TERMS, "a = gamma / q * dy", "a = gamma * dy"),
    (TERMS, "c = gamma / q * r * ", "c = gamma * r * "),
    (TERMS, "z = a - b - c", "z = a - c"),
    (NEGATIVES, "+ r * c)", "- r * c)"),
]  # fmt: skip


@pytest.mark.parametrize(("backward", "before", "after"), FAULTS, ids=lambda text: text.strip().replace("\n", " ")[:24])
def test_the_line_with_the_fault_is_named(backward, before, after, tmp_path):
    right, wrong = FORWARD + backward + END, FORWARD + backward.replace(before, after) + END
    assert backward.count(before) == 1
    (number,) = [
        n for n, (a, b) in enumerate(zip(right.splitlines(), wrong.splitlines(), strict=True), start=1) if a != b
    ]
    file = tmp_path / "staged.py"
    file.write_text(wrong)
    assert {line and line.number for line in lines_of(str(file))} == {number}


# Right code may have what the line makes, and do something else with it.
OPEN = [
    (MEANS, "c = (a * r)", "c = (a * p)"),
    (PAPER, "(-a / q)", "(a / q)"),
    (SUMS, "b = a.sum", "b = dy.sum"),
    (TERMS, "z = a - b - c", "z = a - b + c"),
    (TERMS, "a = gamma / q * dy", "a = gamma / q"),
]


@pytest.mark.parametrize(
    ("backward", "before", "after"), OPEN, ids=["product", "sign", "gamma", "sign in a sum", "no term"]
)
def test_where_the_maker_or_the_user_may_be_meant_none_is_named(backward, before, after, tmp_path):
    file = tmp_path / "staged.py"
    file.write_text(FORWARD + backward.replace(before, after) + END)
    assert lines_of(str(file)) == [None]


SPATIAL = """
import numpy as np

def batchnorm_forward(x, gamma, beta, eps=1e-5):
    gamma, beta = gamma[:, None, None], beta[:, None, None]
    q = np.sqrt(x.var(axis=(0, 2, 3), keepdims=True) + eps)
    r = (x - x.mean(axis=(0, 2, 3), keepdims=True)) / q
    return gamma * r + beta, (r, q, gamma)

def batchnorm_backward(dy, cache):
    r, q, gamma = cache
    k = dy.shape[0]
    b, c = dy.sum(axis=(0, 2, 3)), (dy * r).sum(axis=(0, 2, 3))
    z = gamma / q * (dy - (b[:, None, None] + r * c[:, None, None]) / k)
    return z, c, b
"""


def test_a_count_is_named_where_the_right_one_in_its_place_mends_all(tmp_path):
    file = tmp_path / "spatial.py"
    file.write_text(SPATIAL)
    (line,) = lines_of(str(file))
    assert line.text == "k = dy.shape[0]"


def test_signs_count_where_the_formula_gives_one():
    s = Steps(build(CaseSpec(n=9, c=4, recipe="telling")))
    natural = Natural(s)
    assert s.dvar in natural
    assert -s.dvar not in natural
    assert natural.sign(-s.sum(s.dxhat)) == "-"
    assert natural.scale(s.mean(s.dy)) == "mean"
    assert np.moveaxis(s.dxhat, 1, 0) in natural
