"""Which targets a reference means: names, several candidates, stubs, modules, live objects."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np
import pytest

from bncheck.adapters import resolve
from bncheck.errors import StubError, TargetError
from bncheck.model import Declared, TargetSpec
from bncheck.session import Setup

PAIR = """
def {0}_forward{2}(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(axis=0) + eps); xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)

def {0}_backward{1}(dout, cache):
    xhat, std, gamma = cache
    g = dout * gamma
    dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)
"""
OTHERS = """
def affine_forward(x, w, b): return x @ w + b, (x, w)
def affine_backward(dout, cache): return dout @ cache[1].T, cache[0].T @ dout, dout.sum(axis=0)
def layernorm_forward(x, gamma, beta, ln_param): return x, None
def layernorm_backward(dout, cache): '''Much like batch normalization.'''; return dout, dout, dout
def groupnorm_forward(x, gamma, beta): return x, None
def groupnorm_backward(dout, cache): return dout, dout, dout
def affine_bn_relu_forward(x, w, b, gamma, beta, bn_param): return x @ w, None
def affine_bn_relu_backward(dout, cache): return dout, dout, dout
def eval_numerical_gradient(f, x): return x
"""
STUB = "def {0}(dout, cache):\n    pass\n"


def pair(stem="batchnorm", variant="", of_forward=""):
    return PAIR.format(stem, variant, of_forward)


def names(spec):
    return [card.name.split("::")[1] for card in resolve.cards(spec)]


def test_batch_norm_is_picked_out_of_a_file_of_layers(write):
    assert names(write(OTHERS + pair())) == ["batchnorm_forward"]


def test_all_that_read_as_batch_norm_are_taken(write):
    classes = "class LayerNorm:\n    def forward(self, x): return x\n    def backward(self, dout): return dout\n"
    source = OTHERS + classes + pair() + pair("my_bn") + STUB.format("batchnorm_backward_alt")
    assert names(write(source)) == ["batchnorm_forward", "my_bn_forward", "batchnorm_backward_alt"]


def test_the_docstring_may_say_it(write):
    documented = pair("norm").replace("eps=1e-5):\n", "eps=1e-5):\n    '''Batch normalization of x.'''\n")
    assert names(write(OTHERS + documented)) == ["norm_forward"]


def test_the_only_pair_is_taken_whatever_it_is_called(write):
    assert names(write(pair("whiten"))) == ["whiten_forward"]


def test_a_lonely_layer_norm_is_left_out_unless_named(write):
    with pytest.raises(TargetError, match="nothing in it looks like batch normalization"):
        resolve.cards(write(pair("layernorm")))
    assert names(write(pair("layernorm"), "layernorm_forward")) == ["layernorm_forward"]


def test_variants_of_the_backward_and_of_the_forward(write):
    source = pair() + "".join(STUB.format(f"batchnorm_backward{v}") for v in ("_alt", "2", "_fast"))
    found = names(write(source))
    assert found == ["batchnorm_forward", "batchnorm_backward_alt", "batchnorm_backward2", "batchnorm_backward_fast"]


def test_two_forwards_share_a_backward(write):
    second = pair(of_forward="_fast").split("\n\n")[0]
    assert names(write(pair() + second)) == ["batchnorm_forward", "batchnorm_forward_fast"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("batchnorm_forward", ["batchnorm_forward"]),
        ("batchnorm_backward", ["batchnorm_forward"]),
        ("batchnorm_backward_alt", ["batchnorm_backward_alt"]),
        ("spatial_batchnorm_backward", ["spatial_batchnorm_forward"]),
        ("Norm", ["Norm"]),
    ],
)
def test_names_that_select(write, asked, found):
    layer = (
        "class Norm:\n    def __init__(self, gamma, beta): self.gamma, self.beta = gamma, beta\n"
        "    def forward(self, x): return x * self.gamma + self.beta\n"
        "    def backward(self, dout): return dout, dout.sum(axis=0), dout.sum(axis=0)\n"
    )
    alt = pair(variant="_alt").split("\n\n")[-1]
    assert names(write(pair() + alt + pair("spatial_batchnorm") + layer, asked)) == found


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        ("bn", "batchnorm_forward"),
        ("batchnorm", "batchnorm_forward"),
        ("spatial_batchnorm", "spatial_batchnorm_forward"),
        ("batchnorm_forwrad", "batchnorm_forward"),
        ("Batchnorm_forward", "batchnorm_forward"),
    ],
)
def test_a_name_that_is_not_there_selects_nothing_and_names_the_nearest(write, asked, meant):
    with pytest.raises(TargetError, match=rf"my_bn.py has no '{asked}'\. Did you mean {meant}"):
        resolve.cards(write(pair() + pair("spatial_batchnorm"), asked))


def test_a_card_belongs_to_its_target(write):
    spec = write(pair() + pair("bn2"))
    for card in resolve.cards(spec):
        target = resolve.target(spec, card.name)
        assert (target.name, target.conventions) == (card.name, card.conventions)


def test_an_unknown_card_is_answered_with_the_known_ones(write):
    with pytest.raises(TargetError, match=r"Did you mean my_bn.py::batchnorm_forward\?"):
        resolve.target(write(pair()), "my_bn.py::batchnorm_forwrad")


def test_a_stub_beside_a_filled_backward(write):
    spec = write(pair() + STUB.format("batchnorm_backward_alt"))
    filled, stub = resolve.cards(spec)
    assert filled.stub is None
    assert stub.stub == "not implemented yet: batchnorm_backward_alt returns None"
    assert stub.conventions is None
    with pytest.raises(StubError, match="not implemented yet"):
        resolve.target(spec, stub.name)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("pass", "returns None"),
        ("return None", "returns None"),
        ("dx, dgamma, dbeta = None, None, None; return dx, dgamma, dbeta", "returns None"),
        ("raise NotImplementedError", "raises NotImplementedError"),
        ("raise NotImplementedError('exercise 3')", "raises NotImplementedError"),
    ],
)
def test_only_stubs(write, body, says):
    source = pair().split("\n\n")[0] + f"\n\ndef batchnorm_backward(dout, cache):\n    {body}\n"
    with pytest.raises(StubError, match=f"my_bn.py::batchnorm_forward: not implemented yet: batchnorm_backward {says}"):
        resolve.cards(write(source))


def test_each_of_several_stubs_has_a_line(write):
    """And the command for the one forward that is there stands on a line of its own, with the path as it was given."""
    spec = write(
        pair().split("\n\n")[0] + "\n" + "".join(map(STUB.format, ("batchnorm_backward", "bn_forward", "bn_backward")))
    )
    with pytest.raises(StubError) as caught:
        resolve.cards(spec)
    assert str(caught.value).splitlines() == [
        "2 exercises are not implemented yet:",
        "  batchnorm_forward: batchnorm_backward returns None;",
        "  bn_forward returns None.",
        "The forward alone is verified where it is named:",
        f"  bncheck verify {spec.source}::batchnorm_forward",
    ]


@pytest.mark.parametrize("body", ["pass", "out, cache = None, None; return out, cache", "raise NotImplementedError"])
def test_a_forward_stub(write, body):
    source = f"def bn_forward(x, gamma, beta, eps):\n    {body}\n" + STUB.format("bn_backward")
    with pytest.raises(StubError, match=r"bn_forward (returns None|raises NotImplementedError)"):
        resolve.cards(write(source))


def test_a_backward_that_forgets_dgamma_is_no_stub(write):
    source = pair().replace(
        "return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)", "return dx, None, dout.sum(axis=0)"
    )
    assert resolve.cards(write(source))[0].stub is None


def test_one_that_cannot_be_run_does_not_hide_the_others(write):
    broken = "def bn_forward(x, gamma, beta):\n    return undefined\n" + STUB.format("bn_backward")
    spec = write(pair() + broken)
    cards = {card.name: card for card in resolve.cards(spec)}
    assert cards["my_bn.py::batchnorm_forward"].conventions is not None
    assert (cards["my_bn.py::bn_forward"].conventions, cards["my_bn.py::bn_forward"].stub) == (None, None)
    with pytest.raises(TargetError, match=r"NameError: name 'undefined' is not defined \(my_bn.py:\d+\)"):
        resolve.target(spec, "my_bn.py::bn_forward")


def test_the_file_is_imported_once(write):
    spec = write("import builtins\nbuiltins.bncheck_count = getattr(builtins, 'bncheck_count', 0) + 1\n" + pair())
    import builtins

    resolve.target(spec, resolve.cards(spec)[0].name)
    resolve.cards(TargetSpec(spec.source + "::batchnorm_forward"))
    assert builtins.__dict__.pop("bncheck_count") == 1


def test_neighbours_are_found_and_nothing_is_written(write, tmp_path):
    (tmp_path / "my_moments_of_x.py").write_text("EPS = 1e-3\n")
    source = "from my_moments_of_x import EPS\n" + pair().replace(", eps=1e-5", "").replace("+ eps", "+ EPS")
    (card,) = resolve.cards(write(source))
    assert card.conventions.eps == 1e-3
    assert not list(tmp_path.glob("__pycache__/my_bn*"))


def test_functions_imported_from_a_neighbour_are_taken_if_there_are_no_others(write, tmp_path):
    (tmp_path / "my_layers_elsewhere.py").write_text("import numpy as np\n" + pair())
    assert names(write("from my_layers_elsewhere import *\n")) == ["batchnorm_forward"]


def test_relative_imports_in_a_package(tmp_path):
    package = tmp_path / "my_package_of_layers"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "constants.py").write_text("EPS = 1e-3\n")
    source = "from .constants import EPS\nimport numpy as np\n" + pair().replace(", eps=1e-5", "").replace(
        "+ eps", "+ EPS"
    )
    (package / "norm.py").write_text(source)
    assert resolve.cards(TargetSpec(str(package / "norm.py")))[0].conventions.eps == 1e-3


def test_a_name_in_a_module(tmp_path, monkeypatch):
    (tmp_path / "my_module_of_layers.py").write_text("import numpy as np\n" + pair() + pair("bn2"))
    monkeypatch.syspath_prepend(str(tmp_path))
    cards = resolve.cards(TargetSpec("my_module_of_layers:bn2_forward"))
    assert [card.name for card in cards] == ["my_module_of_layers:bn2_forward"]


def test_a_name_that_a_module_passes_on(tmp_path, monkeypatch):
    (tmp_path / "my_inner_layers.py").write_text("import numpy as np\n" + pair())
    (tmp_path / "my_outer_layers.py").write_text("from my_inner_layers import *\ndef other(x): return x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(resolve.cards(TargetSpec("my_outer_layers:batchnorm_forward"))) == 1


# --------------------------------------------------------------------------------------------------------- live objects


def bn_forward(x, gamma, beta, eps=1e-5):
    std = np.sqrt(x.var(axis=0) + eps)
    xhat = (x - x.mean(axis=0)) / std
    return gamma * xhat + beta, (xhat, std, gamma)


def bn_backward(dout, cache):
    xhat, std, gamma = cache
    g = dout * gamma
    dx = (g - g.mean(axis=0) - xhat * (g * xhat).mean(axis=0)) / std
    return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)


class Callable:
    def __init__(self, function):
        self.function = function

    def __call__(self, *args):
        return self.function(*args)


class Layer:
    def __init__(self, channels, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(channels), np.zeros(channels), eps

    def forward(self, x):
        y, self.cache = bn_forward(x, self.gamma, self.beta, self.eps)
        return y

    def backward(self, dout):
        dx, self.dgamma, self.dbeta = bn_backward(dout, self.cache)
        return dx


LIVE = {
    "functions": (bn_forward, bn_backward),
    "lambdas": (lambda x, g, b: bn_forward(x, g, b), lambda d, c: bn_backward(d, c)),
    "partials": (functools.partial(bn_forward, eps=1e-4), functools.partial(bn_backward)),
    "callable objects": (Callable(bn_forward), Callable(bn_backward)),
    "bound methods": (Callable(bn_forward).__call__, Callable(bn_backward).__call__),
    "class": (Layer,),
}


@pytest.mark.parametrize("case", LIVE)
def test_live_objects(right, case):
    conventions = right(TargetSpec("mine", LIVE[case]))
    assert conventions.layouts == ("NC",)
    assert resolve.cards(TargetSpec("mine", LIVE[case]))[0].name == "mine"


def test_live_dict_of_options(only):
    def forward(x, gamma, beta, bn_param):
        return bn_forward(x, gamma, beta, bn_param["eps"])

    assert only(TargetSpec("", (forward, bn_backward))).conventions.eps_source == "argument"


@pytest.mark.parametrize("live", [(bn_forward,), (Layer(3),), (1, 2), (bn_forward, bn_backward, Layer), (dict,)])
def test_live_objects_of_no_use(live):
    with pytest.raises(
        TargetError, match=r"give two callables, forward and backward; or|needs the backward function|layer of one size"
    ):
        resolve.cards(TargetSpec("mine", live))


def test_sessions_of_a_live_pair_do_not_share_anything(only):
    target = only(TargetSpec("mine", (bn_forward, bn_backward)))
    x, dy = np.random.default_rng(0).normal(size=(2, 4, 3))
    one, two = (target.open(Setup(np.full(3, g), np.zeros(3), 1e-5, 0.9)) for g in (1.0, 3.0))
    one.forward(x)
    two.forward(10 * x)
    np.testing.assert_allclose(two.backward(dy).dgamma, one.backward(dy).dgamma, rtol=1e-3)
    assert not np.allclose(two.backward(dy).dx, one.backward(dy).dx)


def test_dbeta_before_dgamma_is_noted_unless_it_was_said(write):
    source = pair().replace(
        "return dx, (dout * xhat).sum(axis=0), dout.sum(axis=0)",
        "dgamma, dbeta = (dout * xhat).sum(axis=0), dout.sum(axis=0); return dx, dbeta, dgamma",
    )
    spec = write(source)
    (note,) = resolve.cards(spec)[0].conventions.notes
    assert note.startswith("dbeta is returned before dgamma; --returns 'dx, dgamma, dbeta'")
    said = replace(spec, declared=Declared(returns="dx, dbeta, dgamma"))
    assert resolve.cards(said)[0].conventions.notes == ()
    assert resolve.cards(write(pair()))[0].conventions.notes == ()
