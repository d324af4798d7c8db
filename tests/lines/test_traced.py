"""Code that JAX compiles shows no arrays while it runs: what is hidden from the library has its line all the same."""

import pytest

from bncheck import pipeline
from bncheck.executors.in_process import InProcess
from bncheck.model import TargetSpec
from bncheck.settings import Settings

pytest.importorskip("jax", reason="JAX is not installed")

FUNCTION = """
import jax
import jax.numpy as jnp

def batch_norm(x, gamma, beta, eps=1e-5):
    mu = {mu}
    var = {var}
    return gamma * (x - mu) / jnp.sqrt(var + eps) + beta
"""
LAYER = """
import flax.linen as nn
import jax
import jax.numpy as jnp

class BatchNorm(nn.Module):
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x):
        c = x.shape[-1]
        gamma = self.param("scale", nn.initializers.ones, (c,))
        beta = self.param("bias", nn.initializers.zeros, (c,))
        mu = {mu}
        var = {var}
        return gamma * (x - mu) / jnp.sqrt(var + self.epsilon) + beta
"""
RIGHT = {"mu": "x.mean(0)", "var": "((x - mu) ** 2).mean(0)"}


def diagnosed(source, folder, **lines):
    path = folder / "layer.py"
    path.write_text(source.format(**RIGHT | lines))
    settings = Settings(cases=8, select=("BN101", "BN211"))
    (target,) = pipeline.run([TargetSpec(str(path))], settings, executor=InProcess()).targets
    (found,) = target.diagnoses
    return found


def test_a_jax_function_has_the_one_line_that_stops_a_gradient(tmp_path):
    found = diagnosed(FUNCTION, tmp_path, var="jax.lax.stop_gradient(jnp.var(x, axis=0))")
    assert found.code == "BUG212"
    assert found.line.text == "var = jax.lax.stop_gradient(jnp.var(x, axis=0))"
    assert "stop_gradient()" in found.explanation


def test_of_two_lines_of_jax_that_stop_gradients_none_is_taken(tmp_path):
    found = diagnosed(
        FUNCTION,
        tmp_path,
        mu="x.mean(0) + 0 * jax.lax.stop_gradient(x[0])",
        var="jax.lax.stop_gradient(jnp.var(x, axis=0))",
    )
    assert found.code == "BUG212"
    assert found.line is None
    assert "stop_gradient()" in found.explanation


def test_a_flax_layer_that_is_compiled_has_its_line_too(tmp_path):
    pytest.importorskip("flax", reason="Flax is not installed")
    found = diagnosed(LAYER, tmp_path, var="jax.lax.stop_gradient(x.var(0))")
    assert (found.code, found.line.text) == ("BUG212", "var = jax.lax.stop_gradient(x.var(0))")
