# shape: textbook: JAX class without a library; params, state = layer.init(key); y, state = layer(params, state, x, training)
# name: BatchNorm1d
# needs: jax
# layouts: NC, NLC, NHWC, NDHWC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: new
# running-var: biased
# running-start: 0, 1
# mode-switch: argument training
# returns: gradients by autograd
# note: arrays in dictionaries that are handed over and handed back; nothing is kept in the object
# bug-no-square-root: centred / jnp.sqrt(var + self.eps) ==> centred / (var + self.eps)
# bug-mean-as-constant: mean = jnp.mean(x, axis=axes) ==> mean = jax.lax.stop_gradient(jnp.mean(x, axis=axes))
# bug-old-statistics: "running_mean": keep * state["running_mean"] + self.momentum * mean ==> "running_mean": state["running_mean"]
import jax
import jax.numpy as jnp


class BatchNorm1d:
    """Batch normalization over all axes but the last."""

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.01):
        self.num_features, self.eps, self.momentum = num_features, eps, momentum

    def init(self, key: jax.Array):
        n = (self.num_features,)
        params = {"gamma": jnp.ones(n, jnp.float32), "beta": jnp.zeros(n, jnp.float32)}
        state = {"running_mean": jnp.zeros(n, jnp.float32), "running_var": jnp.ones(n, jnp.float32)}
        return params, state

    def __call__(self, params, state, x, training: bool = True, **kwargs):
        axes = tuple(range(x.ndim - 1))
        if training:
            mean = jnp.mean(x, axis=axes)
            var = jnp.mean((x - mean) ** 2, axis=axes)
            keep = 1.0 - self.momentum
            state = {
                "running_mean": keep * state["running_mean"] + self.momentum * mean,
                "running_var": keep * state["running_var"] + self.momentum * var,
            }
        else:
            mean, var = state["running_mean"], state["running_var"]
        centred = x - mean
        return params["gamma"] * (centred / jnp.sqrt(var + self.eps)) + params["beta"], state
