"""What in a file is taken for a Batch Normalization: bases, methods that only keep, classes with a context, bare names."""

from __future__ import annotations

import pytest

from bncheck.adapters import resolve
from bncheck.adapters.by_signature import unnamed_layers, unnamed_pairs
from bncheck.adapters.contexts import Context, contextual, takes_context
from bncheck.adapters.layer_class import method_pairs
from bncheck.adapters.protocol import Namespace
from bncheck.errors import TargetError
from bncheck.model import UNDECLARED

LAYER = """
class {name}({base}):
    {more}
    def __init__(self, n, eps=1e-5): self.gamma, self.beta, self.eps = np.ones(n), np.zeros(n), eps
    def forward(self, x):
        {first}
        self.std = np.sqrt(x.var(axis=0) + self.eps); self.xhat = (x - x.mean(axis=0)) / self.std
        return self.gamma * self.xhat + self.beta
    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        return self.gamma / self.std * (dy - self.dbeta / len(dy) - self.xhat * self.dgamma / len(dy))
"""
PLAIN = {"name": "BatchNorm", "base": "object", "more": "", "first": ""}


def layer(**changes):
    return LAYER.format(**PLAIN | changes)


BASE = layer(name="_BN", more="ndim = None", first="assert x.ndim == self.ndim, 'rank'")
DERIVED = "class BatchNorm1d(_BN):\n    ndim = 2\n"


# -------------------------------------------------------------------------------------------------------------- bases


def test_a_base_that_runs_in_no_way_is_left_out_where_what_derives_from_it_runs(write):
    (card,) = resolve.cards(write(BASE + DERIVED))
    assert card.name.endswith("::BatchNorm1d")
    assert "_BN is left out: it runs in no way by itself, and BatchNorm1d derives from it" in card.conventions.notes


def test_so_is_one_that_is_not_written(write):
    base = "class _BN:\n    def forward(self, x): raise NotImplementedError\n"
    base += "    def backward(self, dy): raise NotImplementedError\n"
    (card,) = resolve.cards(write(base + layer(base="_BN")))
    assert card.name.endswith("::BatchNorm")


NOT_THERE = {
    "raises NotImplementedError": ("def mean_of(self, x): raise NotImplementedError", "def mean_of(self, x): return x"),
    "is empty": ("def mean_of(self, x): pass", "def mean_of(self, x): return x"),
    "is a method": ("", "def mean_of(self, x): return x"),
}
SUPPLIED = {case: ("x = self.mean_of(x) * 1.0", *texts) for case, texts in NOT_THERE.items()} | {
    "is None": ("assert x.ndim == self.ndim", "ndim = None", "ndim = 2"),
    "is an attribute": ("assert x.ndim == self.ndim", "", "ndim = 2"),
    "is set": (
        "assert x.ndim == self.ndim",
        "",
        "def __init__(self, n, eps=1e-5): super().__init__(n, eps); self.ndim = 2",
    ),
}


@pytest.mark.parametrize("case", SUPPLIED)
def test_a_base_is_left_out_for_what_the_derived_class_supplies(write, case):
    first, lacking, supplied = SUPPLIED[case]
    source = layer(first=first, more=lacking) + f"class BatchNorm1d(BatchNorm):\n    {supplied}\n"
    (card,) = resolve.cards(write(source))
    assert card.name.endswith("::BatchNorm1d")


def test_a_private_one_is_left_out_whatever_it_raises(write):
    source = layer(name="_BN").replace("+ self.eps", "+ self.epsilon") + layer(name="BatchNorm", base="_BN")
    (card,) = resolve.cards(write(source))
    assert card.name.endswith("::BatchNorm")


def test_a_complete_class_that_fails_is_told_though_what_derives_from_it_runs(write):
    broken = layer(more="cache = None").replace("+ self.eps", "+ self.epsilon")
    cards = resolve.cards(write(broken + layer(name="FastBatchNorm", base="BatchNorm")))
    assert [(card.name.rpartition("::")[2], card.conventions is None) for card in cards] == [
        ("BatchNorm", True),
        ("FastBatchNorm", False),
    ]


def test_by_its_name_it_stays_an_error(write):
    with pytest.raises(TargetError, match="raised in every way it was tried"):
        resolve.cards(write(BASE + DERIVED, "_BN"))


def test_a_class_that_fails_beside_one_that_does_not_derive_from_it_is_told(write):
    cards = resolve.cards(write(BASE + layer()))
    assert [card.conventions is None for card in cards] == [True, False]


def test_a_base_that_runs_is_a_target_too(write):
    assert len(resolve.cards(write(layer(name="_BN") + DERIVED))) == 2


# ------------------------------------------------------------------------------------------- methods that only keep


def test_a_method_that_keeps_arrays_for_the_backward_is_none(write):
    source = layer(more="def save_for_backward(self, *arrays): self.saved = arrays")
    (card,) = resolve.cards(write(source))
    assert (card.stub, card.name.rpartition("::")[2]) == (None, "BatchNorm")


def test_a_backward_that_only_keeps_is_the_backward_where_it_is_alone():
    class BatchNorm:
        def forward(self, x):
            return x

        def backward(self, dy):
            self.dy = dy

    assert method_pairs(BatchNorm) == [("BatchNorm", ("forward", "backward"))]


def test_a_second_backward_that_computes_is_a_second_one():
    class BatchNorm:
        def forward(self, x):
            return x

        def backward(self, dy):
            return dy

        def backward_alt(self, dy):
            self.dx = 2 * dy

    assert len(method_pairs(BatchNorm)) == 2


# ------------------------------------------------------------------------------------------ classes with a context

STATIC = """
class BatchNormOp:
    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        std = np.sqrt(x.var(axis=0) + eps)
        {keep}
        return weight * ((x - x.mean(axis=0)) / std) + bias
    @staticmethod
    def backward(ctx, grad):
        h, std, w = {kept}
        gw, gb = (grad * h).sum(axis=0), grad.sum(axis=0)
        return w / std * ({dx}), gw, gb
"""
KEEPS = {
    "an attribute": {"keep": "ctx.own = ((x - x.mean(axis=0)) / std, std, weight)", "kept": "ctx.own"},
    "torch's way": {
        "keep": "ctx.save_for_backward((x - x.mean(axis=0)) / std, std, weight)",
        "kept": "ctx.saved_tensors",
    },
}
DX = "grad - gb / len(grad) - h * gw / len(grad)"


@pytest.mark.parametrize("case", KEEPS)
def test_static_methods_are_handed_a_context(write, right, case):
    conventions = right(write(STATIC.format(**KEEPS[case], dx=DX)))
    assert (conventions.adapter, conventions.returns) == ("function-pair", "tuple (dx, dgamma, dbeta)")


@pytest.mark.parametrize("case", KEEPS)
def test_what_is_wrong_in_them_is_seen(write, right, case):
    with pytest.raises(AssertionError, match="dx"):
        right(write(STATIC.format(**KEEPS[case], dx="grad - h * gw / len(grad)")))


def test_each_forward_has_a_context_of_its_own():
    class Op:
        @staticmethod
        def forward(ctx, x):
            ctx.x = x
            return 2 * x

        @staticmethod
        def backward(ctx, dy):
            return ctx.x * dy

    forward, backward = contextual(Op)
    (_, first), (_, second) = forward(1), forward(5)
    assert isinstance(first, Context)
    assert (backward(first, 10), backward(second, 10)) == (10, 50)


def test_methods_of_an_object_have_their_object():
    class Layer:
        def forward(self, ctx, x):
            return x

        def backward(self, ctx, dy):
            return dy

    assert not takes_context(Layer)


# ------------------------------------------------------------------------------------------- names of other languages

FOREIGN = {"forward": "pryamoy", "backward": "obratny"}


def foreign(source):
    for known, own in FOREIGN.items():
        source = source.replace(f"def {known}(", f"def {own}(")
    return source


def test_a_batch_norm_with_foreign_methods_is_bound_by_what_they_take(write, right):
    assert right(write(foreign(layer()))).adapter == "layer-class"


def test_a_wrong_one_with_foreign_methods_is_seen(write, right):
    with pytest.raises(AssertionError, match="dx"):
        right(write(foreign(layer()).replace("dy - self.dbeta / len(dy)", "dy")))


def test_inference_is_not_taken_for_the_forward(write, right):
    assert right(write(foreign(layer(more="def predict(self, x): return 0 * x")))).adapter == "layer-class"


STRANGE = foreign(layer(name="Stapel")).replace("x.", "e.").replace("(x - ", "(e - ").replace("self, x)", "self, e)")
STRANGE = STRANGE.replace("dy", "f")


def test_a_class_in_which_no_name_says_anything_is_told_to_be_named(write):
    with pytest.raises(TargetError, match=r"can be named: bncheck verify my_bn\.py::Stapel"):
        resolve.cards(write(STRANGE))


def test_and_named_its_methods_are_found_by_trying(write, right):
    assert "dgamma" in right(write(STRANGE, "Stapel")).returns


def test_so_is_what_is_wrong_in_them(write, right):
    with pytest.raises(AssertionError, match="dx"):
        right(write(STRANGE.replace("f - self.dbeta / len(f)", "f"), "Stapel"))


def test_of_many_methods_none_is_tried():
    methods = {name: lambda self, e: e for name in "abcd"}
    assert unnamed_layers("Many", type("Many", (), methods), UNDECLARED) == []


PAIR = """
def vor(e, {gamma}, {beta}, eps=1e-5):
    std = np.sqrt(e.var(axis=0) + eps)
    n = (e - e.mean(axis=0)) / std
    return {gamma} * n + {beta}, (n, std, {gamma})
def zurueck({arguments}):
    n, std, faktor = ablage
    steigung, hebung = (f * n).sum(axis=0), f.sum(axis=0)
    return faktor / std * (f - hebung / len(f) - n * steigung / len(f)), steigung, hebung
"""


@pytest.mark.parametrize("arguments", ["f, ablage", "ablage, f"])
def test_functions_in_which_no_name_says_anything_go_by_place(write, right, arguments):
    source = PAIR.format(gamma="faktor", beta="versatz", arguments=arguments)
    assert right(write(source, "vor")).adapter == "function-pair"


def test_where_names_say_which_is_gamma_a_name_has_to_say_which_is_the_backward():
    def apply_it(x, gamma, beta):
        return x

    def error(a, b):
        return a

    def vor(e, faktor, versatz):
        return e

    things = {"apply_it": apply_it, "vor": vor, "error": error}
    assert unnamed_pairs("apply_it", Namespace("", things)) == []
    assert len(unnamed_pairs("vor", Namespace("", things))) == 2
