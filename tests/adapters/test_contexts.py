"""Classes written like torch.autograd.Function in a NumPy file: which context their static methods are handed."""

from __future__ import annotations

import pytest

from bncheck.adapters.contexts import Context, contextual

OP = """
{context}
class BatchNormOp({base}):
    @staticmethod
    def forward(ctx{said}, {x}, weight, bias, eps=1e-5):
        std = np.sqrt({x}.var(axis=0) + eps)
        ctx.save_for_backward(({x} - {x}.mean(axis=0)) / std, std, weight)
        return weight * (({x} - {x}.mean(axis=0)) / std) + bias
    @staticmethod
    def backward(ctx, grad):
        h, std, w = ctx.{kept}
        gw, gb = (grad * h).sum(axis=0), grad.sum(axis=0)
        return w / std * ({dx}), gw{needed}, gb
"""
DX = "grad - gb / len(grad) - h * gw / len(grad)"
OWN = """
class Context:
    def save_for_backward(self, *arrays):
        self.{kept} = {how}
"""
DEFAULTS = {"base": "", "said": "", "x": "x", "kept": "saved", "dx": DX, "needed": ""}
CASES = {
    "the file's own class": {"context": OWN.format(kept="saved", how="arrays")},
    "another name": {"context": OWN.format(kept="_tensors", how="list(arrays)"), "kept": "_tensors"},
    "a class that is named in the signature": {
        "context": "class Keeper:\n    def save_for_backward(self, *a): self.saved = a",
        "said": ": Keeper",
    },
    "the op itself, made of what it is given": {
        "context": "class Function:\n"
        "    def __init__(self, x, *arrays): self.saved = []\n"
        "    def save_for_backward(self, *arrays): self.saved.extend(arrays)",
        "base": "Function",
    },
    "no class, any name": {"context": "", "kept": "what_was_saved"},
    "one that nobody but its caller can make": {
        "context": "class Context:\n"
        "    def __init__(self, engine, number): self.number = engine[number]\n"
        "    def save_for_backward(self, *arrays): self.saved = arrays"
    },
    "which gradients are asked for": {
        "context": OWN.format(kept="saved", how="arrays"),
        "needed": " if ctx.needs_input_grad[1] else None",
    },
}


@pytest.mark.parametrize("case", CASES)
def test_static_methods_are_handed_the_context_that_their_file_has(write, right, case):
    conventions = right(write(OP.format(**DEFAULTS | CASES[case])))
    assert (conventions.adapter, conventions.returns) == ("function-pair", "tuple (dx, dgamma, dbeta)")


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_in_them_is_seen(write, right, case):
    with pytest.raises(AssertionError, match="dx"):
        right(write(OP.format(**DEFAULTS | CASES[case] | {"dx": "grad - h * gw / len(grad)"})))


@pytest.mark.parametrize("kept", ["saved_tnsors", "saved_tensor", "mean"])
def test_a_name_that_nobody_sets_is_a_slip(write, right, kept):
    with pytest.raises(AttributeError, match=f"no attribute '{kept}'"):
        right(write(OP.format(**DEFAULTS | {"context": "", "kept": kept})))


def test_what_the_forward_keeps_itself_is_not_replaced_by_what_it_saved():
    class Op:
        @staticmethod
        def forward(ctx, x):
            ctx.n = 7
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx, dy):
            return ctx.n, ctx.saved

    forward, backward = contextual(Op)
    _, context = forward(3)
    assert isinstance(context, Context)
    assert backward(context, 1) == (7, (3,))
