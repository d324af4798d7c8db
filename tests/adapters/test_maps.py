"""Maps that code takes by lines of its own, and that do not fit, are told; what runs on four axes by accident is not."""

from __future__ import annotations

import sys

import pytest

from bncheck import pipeline
from bncheck.adapters import resolve
from bncheck.executors.in_process import InProcess
from bncheck.report import Verdict
from bncheck.settings import Settings

BOTH = """
def bn_forward(x, gamma, beta, eps=1e-5):
    {check}
    if x.ndim == 4:
        {forward}
    mu = x.mean(axis=0); std = np.sqrt(x.var(axis=0) + eps)
    xhat = (x - mu) / std
    return gamma * xhat + beta, (xhat, std, gamma)

def bn_backward(dout, cache):
    if dout.ndim == 4:
        {backward}
    xhat, std, gamma = cache
    d = dout * gamma
    dx = (d - d.mean(axis=0) - xhat * (d * xhat).mean(axis=0)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""
ROWS = "n, c, h, w = {0}.shape; rows = {0}.transpose(0, 2, 3, 1).reshape(-1, c)"
FORWARD = ROWS.format("x") + (
    "; y, cache = bn_forward(rows, gamma, beta, eps); return y.reshape(n, h, w, c).transpose(0, 3, 1, 2), cache"
)
BACKWARD = ROWS.format("dout") + (
    "; dx, dgamma, dbeta = bn_backward(rows, cache); return dx.reshape(n, h, w, c).transpose(0, 3, 1, 2), dgamma, dbeta"
)


def both(forward=FORWARD, backward=BACKWARD, check="pass"):
    return BOTH.format(forward=forward, backward=backward, check=check)


def notes(write, source):
    (card,) = resolve.cards(write(source))
    return card.conventions.layouts, card.conventions.notes


LEFT_OUT = {
    "the forward raises": (both(FORWARD.replace("rows, gamma", "row, gamma")), "the forward raises NameError: "),
    "y stays rows": (both(FORWARD.replace("y.reshape(n, h, w, c).transpose(0, 3, 1, 2)", "y")), "y has another shape"),
    "nothing comes back": (both("return"), "the forward returns None"),
    "what was caught is raised again": (
        both("try:\n            n, c = x.shape\n        except ValueError:\n            raise"),
        "the forward raises ValueError: ",
    ),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_maps_that_are_left_out_are_told(write, case):
    source, said = LEFT_OUT[case]
    layouts, (note,) = notes(write, source)
    assert layouts == ("NC",)
    assert note.startswith("data of four axes take lines of their own (from my_bn.py:")
    assert f" on), and {said}" in note
    assert note.endswith("only (N, C) is verified (--layout NCHW tells more)")


def test_maps_that_want_a_gamma_of_four_axes_are_told_and_not_verified(write):
    forward = (
        "mu, var = (f(x, axis=(0, 2, 3), keepdims=True) for f in (np.mean, np.var)); "
        "return gamma * (x - mu) / np.sqrt(var + eps) + beta, None"
    )
    layouts, (note,) = notes(write, both(forward, "return broken"))
    assert layouts == ("NC",)
    assert "the backward raises NameError: " in note


VERIFIED = {
    "the backward raises": (both(backward=BACKWARD.replace("(rows", "(row")), "the backward raises NameError: "),
    "the backward returns nothing": (both(backward="return None"), "the backward returns None"),
    "dgamma is a number": (both(backward=BACKWARD.replace("2), dgamma,", "2), dgamma.sum(),")), "dgamma has another"),
}


@pytest.mark.parametrize("case", VERIFIED)
def test_maps_whose_forward_fits_are_verified_with_their_backward(write, case):
    source, said = VERIFIED[case]
    layouts, (note,) = notes(write, source)
    assert layouts == ("NC", "NCHW")
    assert said in note
    assert "only (N, C)" not in note
    report = pipeline.run([write(source)], Settings(cases=40), executor=InProcess())
    assert report.verdict is Verdict.FAIL


def test_the_line_is_the_first_that_rows_do_not_reach(write):
    source = both("y = broken")
    _, (note,) = notes(write, source)
    lines = ("import numpy as np\n" + source).splitlines()
    assert f"my_bn.py:{1 + next(i for i, line in enumerate(lines) if 'y = broken' in line)} " in note


def test_right_maps_are_verified(write):
    assert notes(write, both()) == (("NC", "NCHW"), ())


QUIET = {
    "by accident": both().replace("ndim == 4", "ndim == 7"),
    "refused": both("raise ValueError('expects (N, C)')"),
    "refused by an assertion": both(check='assert x.ndim == 2, (\n        f"not {x.ndim}"\n    )'),
    "refused by a function": both("_rows_alone(x)") + "\ndef _rows_alone(x):\n    raise TypeError(x.ndim)\n",
    "not written": both("raise NotImplementedError"),
    "refused on the same line": both("c = 1; raise ValueError(c)"),
    "refused by an exit": both("raise SystemExit('expects (N, C)')"),
    "refused by a backward that is not written": both(backward="raise NotImplementedError"),
    "flattened, a gamma for each activation": both("x = x.reshape(len(x), -1)"),
    "for its size": both()
    .replace("x.ndim == 4", "x.size > 50")
    .replace(FORWARD, "eps = eps + 0")
    .replace("ndim == 4", "ndim == 7"),
    "refused by the backward": both(backward="raise ValueError('expects (N, C)')"),
}


@pytest.mark.parametrize("case", QUIET)
def test_nothing_is_said(write, case):
    assert notes(write, QUIET[case]) == (("NC",), ())


def test_what_watches_goes_on_watching(write):
    source = both("y = broken")

    def watching(frame, event, result):
        return None

    earlier = sys.gettrace()
    sys.settrace(watching)
    try:
        notes(write, source)
        assert sys.gettrace() is watching
    finally:
        sys.settrace(earlier)


def test_a_layout_that_is_given_is_not_told_of_others(write):
    source = LEFT_OUT["the forward raises"][0]
    spec = write(source, layout="NC")
    (card,) = resolve.cards(spec)
    assert card.conventions.notes == ()


def test_statistics_of_single_activations_in_a_forward_alone(write):
    source = both("return gamma[:, None, None] * ((x - x.mean(0)) / np.sqrt(x.var(0) + eps)) + beta[:, None, None], 0")
    layouts, said = notes(write, source[: source.index("def bn_backward")])
    assert layouts == ("NC",)
    assert any("the statistics are not those of whole channels" in note for note in said)
