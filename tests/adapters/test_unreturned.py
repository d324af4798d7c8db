"""Returns that are missing: code that computes and runs off its end is told so, and is no stub."""

from __future__ import annotations

import pytest

from bncheck.adapters import resolve
from bncheck.errors import StubError, TargetError

FORWARD = """
def bn_forward(x, gamma, beta, eps=1e-5, mode="train"):
    mu, std = x.mean(axis=0), np.sqrt(x.var(axis=0) + eps)
    xhat = (x - mu) / std
    {}
"""
BACKWARD = """
def bn_backward(dout, cache):
    xhat, std, gamma = cache
    g = dout * gamma
    dx, dgamma, dbeta = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std, (dout * xhat).sum(0), dout.sum(0)
    {}
"""
CACHE = "return gamma * xhat + beta, (xhat, std, gamma)"
STUB = "def bn_forward(x, gamma, beta, eps=1e-5):\n    {}\ndef bn_backward(dout, cache):\n    pass\n"


def refused(spec):
    with pytest.raises(TargetError) as caught:
        resolve.cards(spec)
    return caught.value


@pytest.mark.parametrize(
    ("end", "line"),
    [
        ("out = gamma * xhat + beta; cache = (xhat, std, gamma)", 6),
        ("out = gamma * xhat + beta\n    cache = (\n        xhat, std, gamma\n    )", 9),
        (f"if mode == 'train':\n        out = gamma * xhat\n    else:\n        {CACHE}", 7),
        (f"if mode == 'test':\n        {CACHE}", 5),
        ("pass", 6),
    ],
)
def test_a_forward_without_a_return(write, end, line):
    error = refused(write(FORWARD.format(end) + BACKWARD.format("return dx, dgamma, dbeta")))
    assert type(error) is TargetError
    said = f"bn_forward returns None: is a return missing at its end (my_bn.py:{line})?"
    assert (str(error), error.trace) == (f"my_bn.py::bn_forward: {said}", ())


def test_a_backward_without_a_return(write):
    source = FORWARD.format(CACHE) + BACKWARD.format("pass")
    assert "bn_backward returns None: is a return missing at its end (my_bn.py:12)?" in str(refused(write(source)))
    (card,) = resolve.cards(write(source, "bn_forward"))
    why = "bn_backward lacks a return (my_bn.py:12)"
    assert card.conventions.notes == (f"forward only: {why}; gradients were not verified",)


def test_a_method_without_a_return(write):
    source = """
    class BatchNorm:
        def __init__(self, n):
            self.gamma, self.beta = np.ones(n), np.zeros(n)
        def forward(self, x):
            y = self.gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5) + self.beta
        def backward(self, dout):
            return dout
    """
    assert "BatchNorm.forward returns None: is a return missing at its end (my_bn.py:7)?" in str(refused(write(source)))


@pytest.mark.parametrize(
    "body",
    [
        "pass",
        '"""TODO: your code here, (x - mu) / std."""',
        "out, cache = None, None",
        "out = np.zeros_like(x)",
        "m = x.shape[0] * x.shape[1]",
        "half = 1 / 2",
        "raise NotImplementedError",
        "y = x - x.mean(axis=0); raise NotImplementedError",
        "y = x - x.mean(axis=0); return None",
    ],
)
def test_a_stub_is_a_stub(write, body):
    assert isinstance(refused(write(STUB.format(body))), StubError)
