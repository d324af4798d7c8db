# shape: JAX function batch_norm(params, images), which takes the pair (gamma, beta) apart
# name: batch_norm
# needs: jax
# layouts: NCHW
# parameter-shape: (1, C, 1, 1)
# eps-source: fixed
# eps: 1e-5
# momentum: none
# running-var: none
# mode-switch: none
# returns: gradients by autograd
# bug-eps-outside-root: jnp.sqrt(var + 1e-5) ==> (jnp.sqrt(var) + 1e-5)
# bug-gamma-left-out: gamma * centred / ==> (1 + 0 * gamma) * centred /
# bug-beta-twice: + beta ==> + 2 * beta
import jax.numpy as jnp

MAPS = (0, 2, 3)


def relu(images):
    return jnp.maximum(images, 0)


def batch_norm(params, images):
    gamma, beta = params
    centred = images - jnp.mean(images, MAPS, keepdims=True)
    var = jnp.mean(centred * centred, MAPS, keepdims=True)
    return gamma * centred / jnp.sqrt(var + 1e-5) + beta
