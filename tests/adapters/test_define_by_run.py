"""Functions and layers on tensor objects of the user's own."""

from __future__ import annotations

import textwrap

import pytest

from bncheck import pipeline
from bncheck.cases.plan import cases_for
from bncheck.executors.in_process import InProcess
from bncheck.settings import Settings

ENGINE = """
class {name}:
    def __init__(self, {value}{more}):
        self.{value}, self.{grad}, self.parents, self.fn = np.asarray({value}), {empty}, (), None
    {extra}
    def {backward}
"""
DEFAULTS = {
    "name": "Tensor", "value": "data", "grad": "grad", "more": "", "empty": "None", "extra": "pass",
    "backward": """backward(self, grad):
        self.grad = grad
        if self.fn:
            for p, g in zip(self.parents, self.fn(grad)):
                p.grad = g if p.grad is None else p.grad + g
""",
}  # fmt: skip
FUNCTION = """
def batch_norm(x, gamma, beta, eps=1e-5):
    X, G = x.{value}, gamma.{value}
    std = np.sqrt(X.var(axis=0) + eps); xhat = (X - X.mean(axis=0)) / std
    def fn(dy):
        dx = G / std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))
        return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)
    y = {name}(G * xhat + beta.{value})
    y.parents, y.fn = (x, gamma, beta), fn
    return y
"""
LAYER = """
class BatchNorm:
    def __init__(self, n, eps=1e-5):
        self.gamma, self.beta, self.eps = {name}(np.ones(n)), {name}(np.zeros(n)), eps
    def {call}(self, x):
        return bn_op(x, self.gamma, self.beta, self.eps)
"""


def engine(body=FUNCTION, **changes):
    words = {"call": "__call__"} | DEFAULTS | changes
    return (ENGINE + body).format(**words)


def without_argument(start):
    return f"""backward(self):
        {start}
        for p, g in zip(self.parents, self.fn(self.grad)):
            p.grad = g if p.grad is None else p.grad + g
            if p.fn: p.backward()
"""


MULTIPLIES = """def __mul__(self, other):
        y = Tensor(self.data * other.data); y.parents = (self, other)
        y.fn = lambda g: (g * other.data, g * self.data); return y
    def sum(self):
        y = Tensor(self.data.sum()); y.parents = (self,); y.fn = lambda g: (g * np.ones_like(self.data),); return y
"""
ENGINES = {
    "backward(grad)": engine(),
    "named otherwise": engine(name="Variable", value="value"),
    "array": engine(name="Node", value="array"),
    "backward(grad=None)": engine(backward=DEFAULTS["backward"].replace("grad):", "grad=None):")),
    "y.grad set before": engine(backward=without_argument("if self.grad is None: self.grad = np.ones_like(self.data)")),
    "a loss": engine(backward=without_argument("if not self.parents or self.data.shape == (): self.grad = np.ones_like(self.data)"
                                               "\n        elif self.grad is None: raise RuntimeError('no loss')"),
                     extra=MULTIPLIES),
    "ones at the end": engine(backward=without_argument("if self.data.shape == (): self.grad = 1.0").replace(
        "backward(self):", "backward(self):\n        assert self.data.shape == () or not hasattr(self, 'end')"), extra=MULTIPLIES),
    "zeros to begin with": engine(empty="np.zeros_like(data)", backward=DEFAULTS["backward"].replace(
        "g if p.grad is None else p.grad + g", "p.grad + g")),
    "requires_grad": engine(more=", requires_grad=False"),
}  # fmt: skip


@pytest.mark.parametrize("case", ENGINES)
def test_functions_on_tensors(write, right, case):
    conventions = right(write(ENGINES[case]))
    assert conventions.adapter == "define-by-run"
    assert conventions.eps_source == "argument"
    assert conventions.framework == "numpy"


@pytest.mark.parametrize("call", ["__call__", "forward"])
def test_layers_whose_parameters_are_tensors(write, right, call):
    source = engine((FUNCTION + LAYER).replace("batch_norm(", "bn_op("), call=call)
    assert right(write(source, name="BatchNorm")).parameter_shape == "(C,)"


FUNCTION_CLASS = """
class Function:
    def __call__(self, *inputs):
        self.inputs = inputs
        y = {name}(self.forward(*[i.{value} for i in inputs]))
        y.parents, y.fn = inputs, self.backward
        return y

class BatchNorm(Function):
    def __init__(self, eps=1e-5): self.eps = eps
    def forward(self, x, gamma, beta):
        self.std = np.sqrt(x.var(axis=0) + self.eps); self.xhat = (x - x.mean(axis=0)) / self.std
        return gamma * self.xhat + beta
    def backward(self, gy):
        gamma, xhat = self.inputs[1].data, self.xhat
        gx = gamma / self.std * (gy - gy.mean(axis=0) - xhat * (gy * xhat).mean(axis=0))
        return gx, (gy * xhat).sum(axis=0), gy.sum(axis=0)
"""


def test_function_objects(write, right):
    assert "Tensor objects" in right(write(engine(FUNCTION_CLASS))).returns


APPLIED = """
class Function:
    @classmethod
    def apply(cls, *args):
        ctx = Function()
        y = {name}(cls.forward(ctx, *[a.{value} if isinstance(a, {name}) else a for a in args]))
        y.parents, y.fn = args, lambda g: cls.backward(ctx, g)
        return y

class BatchNorm(Function):
    @staticmethod
    def forward(ctx, x, gamma, beta, eps=1e-5):
        std = np.sqrt(x.var(axis=0) + eps); ctx.saved = (x - x.mean(axis=0)) / std, std, gamma
        return gamma * ctx.saved[0] + beta
    @staticmethod
    def backward(ctx, dy):
        xhat, std, gamma = ctx.saved
        dx = gamma / std * (dy - dy.mean(axis=0) - xhat * (dy * xhat).mean(axis=0))
        return dx, (dy * xhat).sum(axis=0), dy.sum(axis=0)
"""


def test_functions_that_are_applied(write, right):
    assert right(write(engine(APPLIED))).eps_source == "argument"


def test_a_method_of_the_tensor(write, right):
    source = engine(FUNCTION.replace("batch_norm(", "op(") + "\n{name}.batch_norm = lambda x, g, b: op(x, g, b)\n")
    with_method = source.replace(
        "    pass\n", "    def batch_norm(self, gamma, beta): return op(self, gamma, beta)\n", 1
    )
    assert right(write(with_method)).adapter == "define-by-run"


def test_an_engine_in_another_file(write, right, tmp_path):
    (tmp_path / "my_engine.py").write_text("import numpy as np\n" + textwrap.dedent(engine(body="")))
    source = "from my_engine import Tensor\n" + FUNCTION.format(**DEFAULTS)
    assert right(write(source)).adapter == "define-by-run"


@pytest.mark.parametrize("case", ["backward(grad)", "y.grad set before", "a loss"])
def test_wrong_ones_are_seen(write, right, case):
    with pytest.raises(AssertionError, match="dx"):
        right(write(ENGINES[case].replace("- xhat * (dy * xhat)", "- 2 * xhat * (dy * xhat)")))


def test_gradients_of_the_wrong_parameter_are_seen(write, right):
    with pytest.raises(AssertionError, match="dgamma"):
        right(write(ENGINES["backward(grad)"].replace("(x, gamma, beta), fn", "(x, beta, gamma), fn")))


COMPOSED = """
def batch_norm(x, gamma, beta, eps=1e-5):
    y = bn_op(x, gamma, beta, eps)
    return y * Tensor(np.ones_like(y.data))
def mul(a, b):
    y = Tensor(a.data * b.data); y.parents, y.fn = (a, b), lambda g: (g * b.data, g * a.data)
    return y
def install():
    {put_in}
install()
"""


@pytest.mark.parametrize("put_in", ["Tensor.__mul__ = mul", "setattr(Tensor, '__mul__', mul)"])
def test_operators_that_a_function_puts_into_the_class_are_there(write, right, put_in):
    source = engine(backward=without_argument("pass")).replace("def batch_norm", "def bn_op")
    right(write(source + COMPOSED.replace("{put_in}", put_in), name="batch_norm"))


RAW_OPERATION = """
class Operation:
    def backward(self, grad):
        for p, g in zip(self.inputs, self.gradients(grad)):
            p.grad = g if p.grad is None else p.grad + g

class BatchNorm(Operation):
    def __call__(self, x, gamma, beta, eps):
        self.inputs = x, gamma, beta
        X, self.g = x.data, gamma.data
        self.std = np.sqrt(X.var(axis=0) + eps); self.xhat = (X - X.mean(axis=0)) / self.std
        return self.g * self.xhat + beta.data
    def gradients(self, dy):
        gx = self.g / self.std * (dy - dy.mean(axis=0) - self.xhat * (dy * self.xhat).mean(axis=0))
        return gx, (dy * self.xhat).sum(axis=0), dy.sum(axis=0)

def batch_norm(x, gamma, beta, eps=1e-5):
    op = BatchNorm()
    y = Tensor(op(x, gamma, beta, eps))
    y.parents, y.fn = (x, gamma, beta), op.gradients
    return y
"""


def test_an_operation_that_returns_bare_arrays_is_a_part_of_the_function_that_applies_it(write, right):
    assert right(write(engine(RAW_OPERATION))).adapter == "define-by-run"


def test_tensors_that_hold_one_dtype_are_verified_in_it(write, only):
    source = engine().replace("np.asarray(data)", "np.array(data, dtype=np.float32)")
    spec = write(source)
    conventions = only(spec).conventions
    assert conventions.dtype == "float32"
    assert any("float32, whatever they are made of" in note for note in conventions.notes)
    assert {case.dtype for case in cases_for(conventions, Settings(cases=5))} == {"float32"}
    (target,) = pipeline.run([spec], Settings(cases=12), executor=InProcess()).targets
    assert target.verdict == "pass", [f for f in target.findings if f.outcome == "fail"]


def test_tensors_that_hold_what_they_are_given_have_no_dtype_of_their_own(write, only):
    conventions = only(write(engine())).conventions
    assert conventions.dtype == ""
    assert {case.dtype for case in cases_for(conventions, Settings(cases=5))} == {"float64"}
