"""Modules that are not installed, and names that are gone: replaced where batch norm does without, named where not."""

from __future__ import annotations

import collections
import sys

import numpy as np
import pytest

from bncheck.adapters import gone, resolve
from bncheck.adapters.loading import Source, load
from bncheck.adapters.standins import Book, LeftOut, NotInstalledError, NotLoadedError, StandIn, misspelt
from bncheck.errors import TargetError
from bncheck.model import TargetSpec

RIGHT = """
import numpy as np
def bn_forward(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(axis=0) + eps)
    xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)

def bn_backward(dout, cache):
    xhat, std, gamma = cache
    g = dout * gamma
    dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""


@pytest.fixture
def path(tmp_path):
    def _path(source, file="my_bn.py"):
        (tmp_path / file).write_text(source)
        return str(tmp_path / file)

    return _path


def notes_of(path):
    (card,) = resolve.cards(TargetSpec(path))
    return card.conventions.notes


def refused(path):
    with pytest.raises(TargetError) as caught:
        resolve.cards(TargetSpec(path))
    return str(caught.value)


# ------------------------------------------------------------------------------------------------- missing modules


@pytest.mark.parametrize(
    "use",
    [
        "import absent_lib",
        "import absent_lib.sub.module as m\nm.style.use('ggplot')",
        "from absent_lib import *\nconfigure(3)",
        "from absent_lib.sub import one, two\nthree = one(two)[0] + 1",
        "import absent_lib\nclass Net(absent_lib.Module):\n    layer = absent_lib.Layer(3)",
        "import absent_lib\nclass Net(absent_lib.Module, object, flag=True): pass",
        "import absent_lib\ndef show(x: absent_lib.Array = absent_lib.zero) -> 'int': pass",
        "from absent_lib import jit\nDEVICE = 'gpu' if jit.is_available() else 'cpu'",
        "import absent_lib\nwith absent_lib.scope(): VALUE = 1",
        "import absent_lib\nfor item in absent_lib.items(): pass",
    ],
)
def test_a_missing_module_stands_in(path, use):
    assert "stand-in for absent_lib (not installed)" in notes_of(path(use + RIGHT))


def test_only_what_is_missing_is_noted(path):
    assert notes_of(path("import json, os.path, absent_lib\n" + RIGHT)) == ("stand-in for absent_lib (not installed)",)


def test_a_guarded_import_fails_as_it_should(path):
    source = "try:\n    import absent_lib as xp\nexcept ImportError:\n    import numpy as xp\n" + RIGHT
    assert notes_of(path(source.replace("np.sqrt", "xp.sqrt"))) == ()


@pytest.mark.parametrize(
    "decorator", ["@absent_lib.jit", "@absent_lib.jit(nopython=True)", "@partial(absent_lib.jit, static=1)"]
)
def test_a_decorated_function_stays_itself(path, decorator):
    source = "import absent_lib\nfrom functools import partial\n" + RIGHT.replace("def bn_f", f"{decorator}\ndef bn_f")
    assert notes_of(path(source)) == ("stand-in for absent_lib (not installed)",)


def test_a_decorated_method_stays_itself(path):
    layer = "import absent_lib\nclass BatchNorm:\n    @absent_lib.no_grad()\n    def forward(self, x): return x\n"
    module = load(Source(path(layer), "", True)).module
    assert module.BatchNorm().forward(3) == 3


def test_a_use_while_it_is_verified_is_named(path):
    source = "import absent_lib.plots as plt\n" + RIGHT.replace("    std =", "    plt.plot(x)\n    std =")
    said = "my_bn.py uses absent_lib.plots.plot, and absent_lib is not installed: install it"
    assert said in refused(path(source))


def test_a_use_in_arithmetic_is_named(path):
    said = refused(path("import absent_lib\nEPS = absent_lib.eps\n" + RIGHT.replace("+ eps", "+ EPS")))
    assert "my_bn.py uses absent_lib.eps" in said


def test_what_a_star_import_would_have_given_is_named(path):
    source = "from absent_lib import *\n" + RIGHT.replace("np.sqrt(", "root_of(")
    assert "my_bn.py uses absent_lib.root_of" in refused(path(source))


def test_a_star_import_that_would_have_given_numpy(path):
    source = "from absent_lib import *\n" + RIGHT.replace("import numpy as np\n", "")
    assert "put in: np, as numpy" in notes_of(path(source))


def test_asking_whether_something_is_of_the_library(path):
    source = "import absent_lib\n" + RIGHT.replace(
        "    std =", "    assert not isinstance(x, absent_lib.Tensor) and not absent_lib.on\n    std ="
    )
    assert notes_of(path(source)) == ("stand-in for absent_lib (not installed)",)


def test_a_layer_that_is_nothing_without_its_library(path):
    source = "import absent_lib\nclass BatchNorm(absent_lib.nn.Module):\n    def forward(self, x): return x\n"
    said = "my_bn.py::BatchNorm is built on a class that is not there: my_bn.py uses absent_lib.nn.Module"
    assert said in refused(path(source))


def test_a_forward_alone_that_its_library_would_differentiate(path):
    source = "import absent_lib as al\ndef batch_norm(x, gamma, beta): return al.mean(x) * gamma + beta\n"
    said = "my_bn.py::batch_norm has no backward, and what may differentiate it is not there: my_bn.py uses absent_lib"
    assert said in refused(path(source))


def test_a_layer_that_only_inherits_from_the_library(path):
    source = (
        "import absent_lib\nclass BatchNorm(absent_lib.Layer):\n    def __init__(self, gamma, beta):\n"
        "        super().__init__()\n        self.gamma, self.beta = gamma, beta\n"
        "    def forward(self, x):\n        y, self.cache = bn_forward(x, self.gamma, self.beta)\n        return y\n"
        "    def backward(self, dout):\n        return bn_backward(dout, self.cache)\n"
    )
    assert len(resolve.cards(TargetSpec(path(RIGHT + source) + "::BatchNorm"))) == 1


def test_what_to_install_where_it_is_called_otherwise(path):
    if "cv2" in sys.modules:
        pytest.skip("OpenCV is installed")
    source = "import cv2\n" + RIGHT.replace("    std =", "    cv2.imshow(x)\n    std =")
    assert "cv2 is not installed: install it (pip install opencv-python)" in refused(path(source))


@pytest.mark.parametrize(
    ("slip", "meant"), [("nmupy", "numpy"), ("numpi", "numpy"), ("troch", "torch"), ("pytorch", "torch")]
)
def test_a_misspelt_module_is_not_to_be_installed(path, slip, meant):
    used = refused(path(f"import {slip} as lib\n" + RIGHT.replace("    std =", "    lib.mean(x)\n    std =")))
    alone = refused(path(f"from {slip} import bn\n"))
    for said in (used, alone):
        assert f"Did you mean {meant}?" in said
        assert "nstall" not in said


@pytest.mark.parametrize("name", ["torch", "numpyro", "pandera", "flux", "torchx"])
def test_what_is_no_slip_is_not_asked_about(name):
    assert misspelt(name) == ""


def test_without_stand_ins_the_import_is_refused(path):
    with pytest.raises(TargetError, match=r"my_bn.py imports 'absent_lib' \(line 1\), which is not installed here"):
        load(Source(path("import absent_lib\n" + RIGHT), "", True), stand_ins=False)


def test_a_file_that_is_nothing_without_what_it_imports(path):
    assert "imports 'absent_lib' (line 1), which is not installed here" in refused(path("from absent_lib import bn\n"))


def test_libraries_stand_in_for_nothing_after_the_load(path):
    notes_of(path("import absent_lib.sub\n" + RIGHT))
    assert not [name for name in sys.modules if name.startswith("absent_lib")]


@pytest.mark.parametrize(
    "use", [
        lambda s: s(), lambda s: s + 1, lambda s: 1 - s, lambda s: s[0], lambda s: np.ones(2) * s, lambda s: s @ s,
        lambda s: s < 1, list, np.asarray, float, len,
    ],
)  # fmt: skip
def test_every_use_is_named(use):
    book = Book("my_bn.py")
    book.reasons["lib"] = "not installed"
    thing, left = StandIn(book, "lib.thing"), LeftOut("the story")
    book.open = False
    with pytest.raises(NotInstalledError, match=r"my_bn.py uses lib.thing, and lib is not installed: install it"):
        use(thing)
    with pytest.raises(NotLoadedError, match="the story"):
        use(left)


# ------------------------------------------------------------------------------------------------- names that are gone


@pytest.mark.parametrize(
    ("before", "use", "note"),
    [
        (
            "from collections import Hashable, Iterable",
            "",
            "put back: collections.Hashable, as collections.abc.Hashable",
        ),
        ("import inspect", "inspect.getargspec(bn_forward)", "put back: inspect.getargspec, as inspect.getfullargspec"),
        ("import time", "time.clock()", "put back: time.clock, as time.perf_counter"),
        ("import cPickle as pickle", "pickle.dumps(1)", "put back: module cPickle, as pickle"),
        ("", "[0 for _ in xrange(3)]", "put back: xrange, as range"),
        ("", "reduce(max, [1, 2])", "put back: reduce, as functools.reduce"),
        ("from past.builtins import xrange", "xrange(3)", "put back: xrange, as range"),
        ("from six.moves import xrange, zip", "list(zip(xrange(3)))", "put back: xrange, as range"),
    ],
)
def test_what_is_gone_from_python(path, before, use, note):
    found = notes_of(path(before + RIGHT.replace("    std =", f"    {use}\n    std =")))
    assert note in found


@pytest.mark.skipif(int(np.__version__.split(".")[0]) < 2, reason="NumPy 1 has most of these names")
@pytest.mark.parametrize(
    ("use", "value"),
    [
        ("np.product([2, 3])", 6),
        ("np.sometrue([0, 1])", True),
        ("np.float(1)", 1.0),
        ("np.Inf", np.inf),
        ("np.float_(1)", 1.0),
        ("np.in1d([1], [1])[0]", True),
        ("np.trapz([0, 1])", 0.5),
        ("np.asfarray([1])[0]", 1.0),
        ("np.msort([2, 1])[0]", 1),
        ("np.unicode_('a')", "a"),
    ],
)
def test_what_is_gone_from_numpy(path, use, value):
    namespace = load(Source(path(f"import numpy as np\ndef value():\n    return {use}\n"), "", True))
    assert namespace.things["value"]() == value
    name = use.removeprefix("np.").split("(")[0]
    assert any(note.startswith(f"put back: np.{name}, as ") for note in namespace.notes)


def test_nothing_that_is_there_is_replaced():
    assert gone.put_back("numpy", "bool") is None or not hasattr(np, "bool_")
    assert gone.put_back("collections", "OrderedDict") is None
    assert collections.OrderedDict.__module__ == "collections"


def test_python_2_names_stay_in_the_module(path):
    import builtins

    notes_of(path(RIGHT.replace("    std =", "    xrange(3)\n    std =")))
    assert not hasattr(builtins, "xrange")


def test_a_name_that_the_module_defines_itself_is_not_put_back(path):
    source = "try:\n    xrange\nexcept NameError:\n    xrange = range\n" + RIGHT
    assert notes_of(path(source.replace("    std =", "    xrange(3)\n    std ="))) == ()


def test_without_stand_ins_names_stay_gone(path):
    with pytest.raises(TargetError, match="Container"):
        load(Source(path("from collections import Container\n" + RIGHT), "", True), stand_ins=False)


LACKING_BACKWARD = """
from engine.base import Operation

class BatchNorm(Operation):
    def forward(self, x, gamma, beta, eps=1e-5):
        std = np.sqrt(x.var(axis=0) + eps); self.xhat = (x - x.mean(axis=0)) / std
        self.std, self.gamma = std, gamma
        return gamma * self.xhat + beta
    def backward(self, dy):
        x, gamma, beta = self.operands
        dx = gamma / self.std * (dy - dy.mean(axis=0) - self.xhat * (dy * self.xhat).mean(axis=0))
        return dx, (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
"""


def test_a_backward_that_lacks_what_is_not_installed_is_no_failure_of_its_own(write):
    with pytest.raises(TargetError, match=r"BatchNorm.backward cannot be run: .* engine"):
        resolve.cards(write(LACKING_BACKWARD))
