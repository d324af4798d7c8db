# shape: norm(x, gamma, beta, run_mean=None, run_var=None, ...) -> (y, dict, statistics), which raises without them
# name: batch_normalize
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument training (default True)
# returns: tuple (dx, dgamma, dbeta)
# note: the backward takes the entries of the dict as arguments, some of them under shorter names
# bug-variance-for-deviation: dx = gamma / np.sqrt(var + eps) ==> dx = gamma / (var + eps)
# bug-dgamma-of-centred: dgamma = np.sum(dy * normed, axis=0) ==> dgamma = np.sum(dy * (x - mean), axis=0)
# bug-running-mean-turned: keep * run_mean + (1 - keep) * batch_mean ==> (1 - keep) * run_mean + keep * batch_mean
import numpy as np


def batch_normalize(x, gamma, beta, run_mean=None, run_var=None, keep_momentum=0.8, eps=1e-5, training=True):
    if run_mean.shape != run_var.shape:
        raise ValueError("two statistics of one layer")
    keep = keep_momentum
    if training:
        batch_mean, batch_var = x.mean(axis=0), x.var(axis=0)
        run_mean = keep * run_mean + (1 - keep) * batch_mean
        run_var = keep * run_var + (1 - keep) * batch_var
    else:
        batch_mean, batch_var = run_mean, run_var
    normed = (x - batch_mean) / np.sqrt(batch_var + eps)
    kept = {"x": x, "normed": normed, "batch_mean": batch_mean, "batch_var": batch_var, "gamma": gamma, "eps": eps}
    return gamma * normed + beta, kept, {"running_mean": run_mean, "running_var": run_var}


def batch_normalize_backward(dy, x, normed, mean, var, gamma, eps):
    dgamma = np.sum(dy * normed, axis=0)
    dbeta = np.sum(dy, axis=0)
    dx = gamma / np.sqrt(var + eps) * (dy - dbeta / len(x) - normed * dgamma / len(x))
    return dx, dgamma, dbeta
