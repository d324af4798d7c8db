"""Layers whose arrays are handed over in trees, and layers that are trees themselves; in JAX, and in PyTorch."""

from __future__ import annotations

import pytest

from bncheck import pipeline
from bncheck.adapters import resolve
from bncheck.adapters.trees import flat, rebuilt
from bncheck.errors import TargetError
from bncheck.executors.in_process import InProcess
from bncheck.model import TargetSpec
from bncheck.report import Verdict
from bncheck.settings import Settings

PYTREE = """
import dataclasses
import jax
import jax.numpy as jnp

@jax.tree_util.register_pytree_node_class
@dataclasses.dataclass
class BatchNorm:
    gamma: jax.Array
    beta: jax.Array
    mean: jax.Array
    var: jax.Array
    momentum: float = 0.9
    eps: float = 1e-5

    @classmethod
    def create(cls, n, **kw):
        return cls(jnp.ones(n), jnp.zeros(n), jnp.zeros(n), jnp.ones(n), **kw)

    def __call__(self, x, training=True):
        if training:
            mean, var = x.mean(0), x.var(0)
            old = 1 - self.momentum
            new = dataclasses.replace(self, mean=self.momentum * self.mean + old * mean,
                                      var=self.momentum * self.var + old * var)
        else:
            mean, var, new = self.mean, self.var, self
        return self.gamma * (x - mean) / jnp.sqrt(var + self.eps) + self.beta, new

    def tree_flatten(self):
        return (self.gamma, self.beta, self.mean, self.var), (self.momentum, self.eps)

    @classmethod
    def tree_unflatten(cls, aux, children):
        return cls(*children, *aux)
"""

SEPARATE = "return cls(jnp.ones(n), jnp.zeros(n), jnp.zeros(n), jnp.ones(n), **kw)"
SHARED = PYTREE.replace(SEPARATE, "z, o = jnp.zeros(n), jnp.ones(n); return cls(o, z, z, o, **kw)")
BY_FIELDS = """
jax.tree_util.register_dataclass(BatchNorm, ["gamma", "beta", "mean", "var"], ["momentum", "eps"])
"""
# JAX names the fields of the second and the third itself, the third has no __dict__.
TREES = {
    "methods": SHARED,
    "fields": SHARED.replace("@jax.tree_util.register_pytree_node_class\n", "") + BY_FIELDS,
    "slots": SHARED.replace("@jax.tree_util.register_pytree_node_class\n", "").replace(
        "dataclass\n", "dataclass(slots=True)\n"
    )
    + BY_FIELDS,
}

DICTS = """
import {library}

def {make}(n):
    params = {{"gamma": {np}.ones(n), "beta": {np}.zeros(n)}}
    return params, {{"mean": {np}.zeros(n), "var": {np}.ones(n)}}

def {call}(params, state, x, train=True, momentum=0.9, eps=1e-5):
    if train:
        mean = x.mean(0)
        var = ((x - mean) ** 2).mean(0)
        state = {{"mean": momentum * state["mean"] + (1 - momentum) * mean,
                 "var": momentum * state["var"] + (1 - momentum) * var}}
    else:
        mean, var = state["mean"], state["var"]
    return params["gamma"] * (x - mean) / {np}.sqrt(var + eps) + params["beta"], state
"""
LIBRARIES = {"jax": {"library": "jax.numpy as jnp", "np": "jnp"}, "torch": {"library": "torch", "np": "torch"}}


def dicts(library, make="init", call="batch_norm"):
    return DICTS.format(make=make, call=call, **LIBRARIES[library])


def verify(tmp_path, source):
    (tmp_path / "own.py").write_text(source)
    (report,) = pipeline.run(
        [TargetSpec(str(tmp_path / "own.py"))], Settings(cases=4, select=("BN1", "BN2", "BN3")), executor=InProcess()
    ).targets
    return report


# ----------------------------------------------------------------------------------------------- layers that are trees


@pytest.mark.parametrize("call", ["__call__", "apply"])
def test_a_layer_that_returns_itself_anew_is_differentiated(tmp_path, call):
    pytest.importorskip("jax", reason="JAX is not installed")
    report = verify(tmp_path, PYTREE.replace("__call__", call))
    assert report.verdict is Verdict.PASS, report
    assert (report.conventions.adapter, report.conventions.momentum_sense) == ("jax-layer", "kept")
    assert report.conventions.eps_source == "argument"


def test_a_wrong_one_is_seen(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    wrong = PYTREE.replace("x.var(0)", "jax.lax.stop_gradient(x.var(0))")
    report = verify(tmp_path, wrong)
    assert "BN201" in {finding.code for finding in report.findings if finding.outcome.value == "fail"}


def test_its_constructor_may_be_given_arrays(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    assert verify(tmp_path, PYTREE.replace("def create", "def of")).verdict is Verdict.PASS


def test_a_layer_that_is_no_tree_is_told_so_and_not_accused(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    (tmp_path / "own.py").write_text(PYTREE.replace("@jax.tree_util.register_pytree_node_class\n", ""))
    with pytest.raises(TargetError, match="JAX does not take a BatchNorm apart"):
        resolve.cards(TargetSpec(str(tmp_path / "own.py")))


@pytest.mark.parametrize("kind", TREES)
def test_arrays_that_are_one_when_the_layer_is_made_are_told_apart(tmp_path, kind):
    pytest.importorskip("jax", reason="JAX is not installed")
    assert SHARED != PYTREE
    shared, separate = verify(tmp_path, TREES[kind]), verify(tmp_path, PYTREE)
    assert shared.verdict is Verdict.PASS, shared
    assert [(f.code, f.outcome) for f in shared.findings] == [(f.code, f.outcome) for f in separate.findings]
    assert (shared.conventions.momentum_sense, shared.conventions.running_var) == ("kept", "biased")


@pytest.mark.parametrize("kind", TREES)
def test_so_that_a_wrong_eval_of_them_is_seen(tmp_path, kind):
    pytest.importorskip("jax", reason="JAX is not installed")
    wrong = TREES[kind].replace(
        "mean, var, new = self.mean, self.var, self", "mean, var, new = self.mean, self.var**2, self"
    )
    report = verify(tmp_path, wrong)
    assert {finding.code[:3] for finding in report.findings if finding.outcome.value == "fail"} == {"BN3"}


MODE_FIELD = (
    PYTREE.replace("eps: float = 1e-5", "eps: float = 1e-5\n    inference: bool = False")
    .replace("(self.momentum, self.eps)", "(self.momentum, self.eps, self.inference)")
    .replace("x, training=True):\n        if training", "x):\n        if not self.inference")
)


@pytest.mark.parametrize("frozen", [False, True])
def test_a_jax_tree_may_hold_the_mode_in_a_field(tmp_path, frozen):
    pytest.importorskip("jax", reason="JAX is not installed")
    report = verify(tmp_path, MODE_FIELD.replace("dataclass\n", "dataclass(frozen=True)\n") if frozen else MODE_FIELD)
    assert report.verdict is Verdict.PASS, report
    assert (report.conventions.mode_switch, report.conventions.momentum_sense) == ("attribute inference", "kept")


def test_so_that_a_jax_tree_which_ignores_it_fails(tmp_path):
    pytest.importorskip("jax", reason="JAX is not installed")
    report = verify(
        tmp_path, MODE_FIELD.replace("mean, var, new = self.mean, self.var,", "mean, var, new = x.mean(0), x.var(0),")
    )
    assert "BN302" in {finding.code for finding in report.findings if finding.outcome.value == "fail"}


# --------------------------------------------------------------------------------- functions that are handed their trees


@pytest.mark.parametrize(
    ("library", "make", "call"),
    [
        ("jax", "init", "batch_norm"),
        ("jax", "bn_init", "batch_norm"),
        ("torch", "init_bn", "bn"),
        ("torch", "make_batchnorm", "bn"),
        ("torch", "init_layer", "apply_bn"),
    ],
)
def test_what_makes_the_trees_need_not_be_named_like_what_takes_them(tmp_path, library, make, call):
    pytest.importorskip(library, reason=f"{library} is not installed")
    report = verify(tmp_path, dicts(library, make, call))
    assert report.verdict is Verdict.PASS, report
    assert report.conventions.framework == library
    assert report.conventions.momentum_sense == "kept"


@pytest.mark.parametrize(
    ("library", "stop"), [("jax", "__import__('jax').lax.stop_gradient({})"), ("torch", "{}.detach()")]
)
def test_wrong_ones_are_seen(tmp_path, library, stop):
    pytest.importorskip(library, reason=f"{library} is not installed")
    report = verify(tmp_path, dicts(library).replace("mean = x.mean(0)", f"mean = {stop.format('x.mean(0)')}"))
    assert "BN201" in {finding.code for finding in report.findings if finding.outcome.value == "fail"}


IN_TUPLES = """
import {library}

def init(n):
    return {{"gamma": {np}.ones(n), "beta": {np}.zeros(n)}}, ({np}.zeros(n), {np}.ones(n))

def batch_norm(params, state, x, train=True, momentum=0.9, eps=1e-5):
    OLD
    if train:
        mean = x.mean(0)
        var = ((x - mean) ** 2).mean(0)
        state = (momentum * MEAN + (1 - momentum) * mean, momentum * VAR + (1 - momentum) * var)
    else:
        mean, var = MEAN, VAR
    return params["gamma"] * (x - mean) / {np}.sqrt(var + eps) + params["beta"], state
"""


def in_tuples(library, old="rm, rv = state", mean="rm", var="rv"):
    """Return a layer whose state is a tuple, taken apart or read by its indices."""
    return IN_TUPLES.format(**LIBRARIES[library]).replace("OLD", old).replace("MEAN", mean).replace("VAR", var)


TUPLES = {"taken apart": {}, "by index": {"old": "pass", "mean": "state[0]", "var": "state[1]"}}


@pytest.mark.parametrize("how", TUPLES)
@pytest.mark.parametrize("library", ["jax", "torch"])
def test_the_state_of_jax_and_torch_layers_may_be_a_tuple(tmp_path, library, how):
    pytest.importorskip(library, reason=f"{library} is not installed")
    report = verify(tmp_path, in_tuples(library, **TUPLES[how]))
    assert report.verdict is Verdict.PASS, report
    assert (report.conventions.momentum_sense, report.conventions.running_var) == ("kept", "biased")
    assert report.conventions.running_start == "0, 1"


@pytest.mark.parametrize("library", ["jax", "torch"])
def test_a_tuple_of_jax_and_torch_that_is_not_updated_fails(tmp_path, library):
    pytest.importorskip(library, reason=f"{library} is not installed")
    text = in_tuples(library)
    wrong = text.replace("rv + (1 - momentum) * var", "rv + (1 - momentum) * mean")
    assert wrong != text
    report = verify(tmp_path, wrong)
    assert "BN301" in {finding.code for finding in report.findings if finding.outcome.value == "fail"}


def test_without_one_the_message_says_which_names_were_looked_for(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    (tmp_path / "own.py").write_text(dicts("torch", make="parameters_for"))
    with pytest.raises(TargetError, match="makes its params, named init, init_bn"):
        resolve.cards(TargetSpec(str(tmp_path / "own.py")))


def test_plain_trees_are_taken_apart_and_put_together():
    tree = {"b": (1, [2, 3]), "a": 4}
    leaves, structure = flat(None, tree, "params", [])
    assert [leaf.name for leaf in leaves] == ["params/b/0", "params/b/1/0", "params/b/1/1", "params/a"]
    assert rebuilt(None, structure, [leaf.value * 10 for leaf in leaves]) == {"b": (10, [20, 30]), "a": 40}
