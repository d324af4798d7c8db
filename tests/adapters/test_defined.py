"""Where a target begins in the source."""

import json
import os
from pathlib import Path

import pytest

from bncheck.adapters.defined import defined
from bncheck.adapters.resolve import cards
from bncheck.codec import decode, encode
from bncheck.model import SourceLine, TargetCard, TargetSpec

PAIR = """\
import numpy as np


def batchnorm_forward(x, gamma, beta, eps=1e-5):
    mu = x.mean(0)
    inv_std = 1 / np.sqrt(x.var(0) + eps)
    xhat = (x - mu) * inv_std
    return gamma * xhat + beta, (xhat, inv_std, gamma)


def batchnorm_backward(dout, cache):
    xhat, inv_std, gamma = cache
    dxhat = dout * gamma
    dx = inv_std * (dxhat - dxhat.mean(0) - xhat * (dxhat * xhat).mean(0))
    return dx, (dout * xhat).sum(0), dout.sum(0)
"""
CLASS = """\
class BatchNorm:
    eps = 1e-5

    def __init__(self, size):
        self.gamma, self.beta = np.ones(size), np.zeros(size)

    def forward(self, x):
        y, self.cache = batchnorm_forward(x, self.gamma, self.beta, self.eps)
        return y

    def backward(self, dout):
        dx, self.dgamma, self.dbeta = batchnorm_backward(dout, self.cache)
        return dx
"""
DECORATED = "import functools\n\n\ndef traced(f):\n    @functools.wraps(f)\n    def wrapper(*args, **kwargs):\n        return f(*args, **kwargs)\n    return wrapper\n\n\n"


def the_card(spec):
    (card,) = cards(spec)
    return card


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("src").mkdir()


def test_a_function_is_defined_where_its_def_is():
    Path("src/a.py").write_text(PAIR)
    line = the_card(TargetSpec("src/a.py")).defined
    assert line == SourceLine("src/a.py", 4, "def batchnorm_forward(x, gamma, beta, eps=1e-5):")


def test_the_file_is_called_as_the_user_calls_it(tmp_path):
    Path("src/a.py").write_text(PAIR)
    assert the_card(TargetSpec(f"{tmp_path}/src/a.py")).defined.file == f"{tmp_path}/src/a.py"
    assert the_card(TargetSpec(os.path.join(".", "src", "a.py"))).defined.file == "./src/a.py"


def test_a_class_is_defined_where_its_class_statement_is():
    Path("src/b.py").write_text(f"{PAIR}\n\n{CLASS}")
    line = the_card(TargetSpec("src/b.py::BatchNorm")).defined
    assert (line.number, line.text) == (18, "class BatchNorm:")


def test_a_class_that_only_derives_is_defined_where_its_class_statement_is():
    Path("src/b.py").write_text(f"{PAIR}\n\n{CLASS}\n\nclass Mine(BatchNorm):\n    eps = 1e-3\n")
    line = the_card(TargetSpec("src/b.py::Mine")).defined
    assert line == SourceLine("src/b.py", 33, "class Mine(BatchNorm):")


def test_a_class_of_static_methods_is_defined_where_its_class_statement_is(tmp_path):
    """As functions of PyTorch are, with forward(ctx, ...) and backward(ctx, ...)."""
    text = "y = 1\n\n\nclass Norm:\n    @staticmethod\n    def forward(ctx, x):\n        return x\n"
    Path("src/static.py").write_text(text)
    things = {}
    exec(compile(text, str(tmp_path / "src" / "static.py"), "exec"), things)
    assert defined(things, "Norm", "src/static.py") == SourceLine("src/static.py", 4, "class Norm:")


def test_a_decorator_hides_no_function():
    Path("src/c.py").write_text(DECORATED + PAIR.replace("def batchnorm_forward", "@traced\ndef batchnorm_forward"))
    line = the_card(TargetSpec("src/c.py")).defined
    assert line.text in ("@traced", "def batchnorm_forward(x, gamma, beta, eps=1e-5):")
    assert line.number in (14, 15)


def test_a_cell_of_a_notebook_is_named():
    cells = [{"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None, "source": PAIR}]
    Path("src/n.ipynb").write_text(json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    line = the_card(TargetSpec("src/n.ipynb")).defined
    assert line.file == "src/n.ipynb, code cell 1"
    assert line.number == 4


def test_live_functions_have_their_line():
    names = {}
    exec(compile(PAIR, "typed.py", "exec"), names)
    spec = TargetSpec("mine", live=(names["batchnorm_forward"], names["batchnorm_backward"]))
    line = the_card(spec).defined
    assert (line.file, line.number) == ("typed.py", 4)


def test_it_travels_with_the_card():
    card = TargetCard("a.py::f", defined=SourceLine("a.py", 3, "def f():"))
    assert decode(TargetCard, encode(card)) == card
    assert decode(TargetCard, {"name": "a.py::f"}).defined is None
