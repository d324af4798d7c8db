# shape: JAX combinators: init_fn, apply_fn = BatchNorm(axis=(0, 1, 2)); size, (beta, gamma) = init_fn(rng, input_shape); y = apply_fn(params, inputs)
# name: BatchNorm
# needs: jax
# layouts: NHWC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: gradients by autograd
# bug-eps-outside-root: jnp.sqrt(var + epsilon) ==> (jnp.sqrt(var) + epsilon)
# bug-rows-only: mean = inputs.mean(axis, keepdims=True) ==> mean = inputs.mean(axis[0], keepdims=True)
# bug-beta-scaled-too: return gamma * xhat + beta ==> return gamma * (xhat + beta)
import jax.numpy as jnp
from jax import random


def Dense(width):
    def init_fn(rng, input_shape):
        return (*input_shape[:-1], width), (random.normal(rng, (input_shape[-1], width)), jnp.zeros(width))

    def apply_fn(params, inputs):
        weights, bias = params
        return inputs @ weights + bias

    return init_fn, apply_fn


def BatchNorm(axis=(0, 1, 2), epsilon=1e-5):
    """Batch normalization over maps (N, H, W, C); its parameters are beta and gamma, in this order."""

    def init_fn(rng, input_shape):
        kept = tuple(n for place, n in enumerate(input_shape) if place not in axis)
        return input_shape, (jnp.zeros(kept), jnp.ones(kept))

    def apply_fn(params, inputs, **kwargs):
        beta, gamma = params
        mean = inputs.mean(axis, keepdims=True)
        var = jnp.square(inputs - mean).mean(axis, keepdims=True)
        xhat = (inputs - mean) / jnp.sqrt(var + epsilon)
        return gamma * xhat + beta

    return init_fn, apply_fn
