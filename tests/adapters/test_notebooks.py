"""Notebooks: cells, magics, messages that name the cell, sources that can be read back."""

from __future__ import annotations

import inspect
import json

import pytest

from bncheck.adapters import resolve
from bncheck.adapters.loading import Source, load
from bncheck.adapters.notebooks import without_magics
from bncheck.errors import TargetError
from bncheck.model import TargetSpec

FORWARD = """
def bn_forward(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(axis=0) + eps)
    xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)
"""
BACKWARD = """
def bn_backward(dout, cache):
    xhat, std, gamma = cache
    g = dout * gamma
    d1 = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std
    return {}
"""
DONE = BACKWARD.format("d1, (dout * xhat).sum(axis=0), dout.sum(axis=0)")
NUMPY = "%matplotlib inline\nimport numpy as np\n!pip install something"


@pytest.fixture
def notebook(tmp_path):
    def _notebook(*cells, **book):
        code = [{"cell_type": "code", "source": cell.splitlines(keepends=True)} for cell in cells]
        text = {"cell_type": "markdown", "source": ["# title"]}
        path = tmp_path / "my_bn.ipynb"
        path.write_text(json.dumps({"cells": [text, *code], "nbformat": 4} | book))
        return path

    return _notebook


def cards(path, name=""):
    return resolve.cards(TargetSpec(str(path) + (f"::{name}" if name else "")))


def test_a_pair_in_two_cells(notebook):
    (card,) = cards(notebook(NUMPY, FORWARD, DONE))
    assert card.name == "my_bn.ipynb::bn_forward"
    assert card.conventions.layouts == ("NC",)


def test_a_name_in_a_notebook(notebook):
    assert len(cards(notebook(NUMPY, FORWARD, DONE), "bn_backward")) == 1


def test_what_cells_do_is_left_out_and_noted_with_the_cell(notebook):
    path = notebook(NUMPY, FORWARD, DONE, "x = 1\n\nfor i in range(10**12): x += i\n")
    assert cards(path)[0].conventions.notes == (
        "only the definitions of my_bn.ipynb were run: its top level trains, plots or reads data (code cell 4, line 3)",
    )


def test_the_last_definition_wins(notebook):
    stub = "def bn_backward(dout, cache):\n    raise NotImplementedError\n"
    assert cards(notebook(NUMPY, FORWARD, stub, DONE))[0].stub is None


def test_return_statements_are_read(notebook):
    swapped = BACKWARD.format("dbeta, dgamma, d1").replace("    return", "    dgamma = dbeta = dout.sum(0)\n    return")
    (card,) = cards(notebook(NUMPY, FORWARD, swapped))
    assert card.conventions.returns == "tuple (dbeta, dgamma, dx)"


def test_sources_of_functions_methods_and_classes(notebook):
    layer = "x = 1\nclass Norm:\n    def forward(self, x):\n        return x\n"
    namespace = load(Source(str(notebook(NUMPY, layer.replace("return x", "return 1"), FORWARD, layer)), "", True))
    assert inspect.getsource(namespace.things["bn_forward"]) == FORWARD.lstrip()
    assert inspect.getsource(namespace.things["Norm"].forward).strip().endswith("return x")
    assert inspect.getsource(namespace.things["Norm"]) == layer.removeprefix("x = 1\n")


def test_an_error_names_the_cell(notebook):
    with pytest.raises(TargetError, match=r"NameError.*my_bn\.ipynb, code cell 2"):
        cards(notebook(NUMPY, FORWARD.replace("std = ", "std = undefined + "), DONE))


def test_a_missing_global_names_the_cell(notebook):
    with pytest.raises(TargetError, match=r"EPS should be set in code cell 2, line 2 of my_bn.ipynb, which raises"):
        cards(notebook(NUMPY, "\nEPS = [][1]", FORWARD.replace("+ eps", "+ EPS"), DONE))


def test_a_cell_that_is_no_python_is_left_out(notebook):
    assert len(cards(notebook(NUMPY, "this is no python", FORWARD, DONE))) == 1


def test_version_3(tmp_path):
    path = tmp_path / "old.ipynb"
    cells = [{"cell_type": "code", "input": [text]} for text in (NUMPY, FORWARD, DONE)]
    path.write_text(json.dumps({"worksheets": [{"cells": cells}], "nbformat": 3}))
    assert len(cards(path)) == 1


def test_pylab_gives_numpy(notebook):
    assert len(cards(notebook("%pylab inline", FORWARD, DONE))) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"cells": [', r"my_bn.ipynb is no notebook: its JSON is broken \(line 1\)"),
        ("", "its JSON is broken"),
        ("{}", "my_bn.ipynb is no notebook: it is JSON, but without cells"),
        ("[1, 2]", "it is JSON, but without cells"),
        ('{"cells": [{"cell_type": "markdown", "source": ["x"]}]}', "a notebook without code cells"),
        (
            '{"cells": [{"cell_type": "code", "source": "a b"}]}',
            r"no Python code in its 1 code cells: code cell 1, line 1",
        ),
    ],
)
def test_what_is_no_notebook(tmp_path, text, said):
    path = tmp_path / "my_bn.ipynb"
    path.write_text(text)
    with pytest.raises(TargetError, match=said):
        cards(path)


@pytest.mark.parametrize(
    ("cell", "left"),
    [
        ("%time f()\nx = 1", "pass\nx = 1\n"),
        ("%%time\nx = 1", "\nx = 1\n"),
        ("%%bash\nls -l", ""),
        ("%%writefile layers.py\nx = 1", "\nx = 1\n"),
        ("%%writefile notes.txt\nx = 1", ""),
        ("if True:\n    !ls", "if True:\n    pass\n"),
        ("np.dot?\nx = 1", "pass\nx = 1\n"),
        ("files = !ls\nx = 1", "pass\nx = 1\n"),
        ("x = (7\n% 4)", "x = (7\n% 4)\n"),
        ("text = '''\n%no magic\n'''", "text = '''\n%no magic\n'''\n"),
    ],
)
def test_magics(cell, left):
    assert without_magics(cell) == left
