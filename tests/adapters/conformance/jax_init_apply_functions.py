# shape: textbook: JAX functions over one tree; tree = init_batchnorm(num_features); tree, y = batchnorm_apply(tree, config, x)
# name: batchnorm_apply
# needs: jax
# layouts: NC, NCL, NCHW, NCDHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: key 'train_mode'
# returns: gradients by autograd
# note: parameters and buffers in one tree, the mode in a second one beside constants; the new tree comes before y
# bug-eps-outside-root: jnp.sqrt(var + tree["constants"]["eps"]) ==> (jnp.sqrt(var) + tree["constants"]["eps"])
# bug-unbiased-variance: var = jnp.var(x, axis=axes) ==> var = jnp.var(x, axis=axes, ddof=1) if x.size > x.shape[1] else jnp.var(x, axis=axes)
# bug-scale-left-out: reshape(shape) * xhat + tree ==> reshape(shape) + xhat + tree
import jax.numpy as jnp


def init_batchnorm(num_features, eps=1e-5, momentum=0.9):
    tree = {
        "params": {"weight": jnp.ones(num_features), "bias": jnp.zeros(num_features)},
        "buffers": {"mean": jnp.zeros(num_features), "var": jnp.ones(num_features)},
        "constants": {"eps": eps, "momentum": momentum},
    }
    return tree, {"train_mode": True, "name": "batchnorm"}


def batchnorm_apply(tree, config, x):
    shape = [1, x.shape[1]] + [1] * (x.ndim - 2)
    buffers = tree["buffers"]
    if config["train_mode"]:
        axes = tuple(axis for axis in range(x.ndim) if axis != 1)
        mean = jnp.mean(x, axis=axes)
        var = jnp.var(x, axis=axes)
        keep = tree["constants"]["momentum"]
        buffers = {
            "mean": keep * buffers["mean"] + (1 - keep) * mean,
            "var": keep * buffers["var"] + (1 - keep) * var,
        }
    else:
        mean, var = buffers["mean"], buffers["var"]
    xhat = (x - mean.reshape(shape)) / jnp.sqrt(var + tree["constants"]["eps"]).reshape(shape)
    y = tree["params"]["weight"].reshape(shape) * xhat + tree["params"]["bias"].reshape(shape)
    return {**tree, "buffers": buffers}, y
