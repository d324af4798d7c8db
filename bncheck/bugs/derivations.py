"""Why each step of the formula is as it is, in a few lines of algebra; the page of every bug shows its step's.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3: Algorithm 1 and the gradients below it.

"""

from __future__ import annotations

_DXHAT = """y_i = gamma xhat_i + beta in every element, so that by the chain rule

    dxhat_i = dL/dxhat_i = dL/dy_i * dy_i/dxhat_i = dy_i * gamma

Gamma comes in here, once and with its sign; behind this line it is not needed again."""

_INV_STD = """Which factor a gives a (x - mu) the variance 1?

    var(a (x - mu)) = a**2 var = 1,  so  a = 1 / sqrt(var)

Eps is added to var, under the root, so that a constant channel does not divide by 0:

    inv_std = (var + eps)**(-1/2)
    d inv_std / d var = -1/2 (var + eps)**(-3/2)

Both are finite at var = 0; of sqrt(var) + eps the derivative would not be."""

_CENTRED = """mu is the number about which deviations cancel:

    sum(x - mu) = sum(x) - m mu = 0

So xhat has the mean 0, whatever is added to x."""

_XHAT = """With inv_std = 1 / sqrt(var + eps):

    xhat = (x - mu) inv_std
    mean(xhat) = inv_std mean(x - mu) = 0
    mean(xhat**2) = inv_std**2 var = var / (var + eps), just below 1"""

_AVERAGE = """Inference has no batch to take statistics of; it takes averages over the batches of training.
With a fraction k that stays, after t batches that began at a start:

    running = k**t start + (1 - k) (batch_t + k batch_(t-1) + k**2 batch_(t-2) + ...)

The weights sum to k**t + (1 - k) (1 + k + ... + k**(t-1)) = 1, whatever t: the statistics of a batch that comes again
and again are reached, and kept. Momentum is k in some conventions, 1 - k in others; either is right."""

_TAKEN_IN = """What comes in is the batch's own variance, about the batch's own mean, over m or over m - 1:

    E[sum((x - mu)**2) / m] = (m - 1) / m sigma**2

for m values drawn from what has the variance sigma**2, so that m / (m - 1) var estimates it. Both conventions exist.
Inference adds eps and takes the root, so that neither belongs in here."""

_HELD = """The statistics are averages over the batches of training, each of which counts once:

    k running + (1 - k) batch, once;  twice it is k**2 running + (1 - k**2) batch

A backward sees no new batch, and a question in eval mode is none to learn from."""

_EVAL = """In eval mode mean and variance are numbers that do not depend on x, so that y is a line in x, per channel:

    y = gamma / sqrt(running_var + eps) x + (beta - gamma running_mean / sqrt(running_var + eps))

x = running_mean gives y = beta, and a step of sqrt(running_var + eps) in x is a step of gamma in y."""

_EVAL_BACKWARD = """In eval mode mean and variance are constants, and the paths through them are gone:

    y_i = gamma (x_i - running_mean) / sqrt(running_var + eps) + beta
    dx_i = dy_i gamma / sqrt(running_var + eps)
    dgamma = sum(dy (x - running_mean) / sqrt(running_var + eps)),  dbeta = sum(dy)"""

_ALONE = """The loss of a step is a function of that step's batch and of the parameters.
What the layer met before is in neither:

    dL/dgamma = sum(dy * xhat)

with dy, xhat and m of this batch. Sums over several steps are the optimiser's to make, or the caller's who asks for
them."""

DERIVATIONS: dict[str, str] = {
    **dict.fromkeys(("kept", "running_mean", "running_var"), _AVERAGE),
    "mean_taken": """What comes in is the batch's mean, over all values that a channel has there:

    mu = sum(x) / m

An average of such means over batches of one size is the mean of all their values.""",
    "start_mean": """An average that starts with its first value has no start to forget:

    running_mean = mu, at the first batch

and from the second batch on it is k running_mean + (1 - k) mu, as ever.""",
    "start_var": """An average that starts with its first value has no start to forget:

    running_var = var, at the first batch

and from the second batch on it is k running_var + (1 - k) var, as ever.""",
    "var_taken": _TAKEN_IN,
    **dict.fromkeys(("held_mean", "held_var"), _HELD),
    **dict.fromkeys(("eval_mean", "eval_var", "eval_y"), _EVAL),
    **dict.fromkeys(("eval_back_xhat", "eval_back_inv_std"), _EVAL_BACKWARD),
    **dict.fromkeys(("later_y", "later_dx", "later_dgamma", "later_dbeta"), _ALONE),
    "mu": """The mean of a channel is the number about which its m values cancel:

    sum(x - mu) = 0,  so  m mu = sum(x),  mu = sum(x) / m

m counts the values that one channel has: N for (N, C), N·H·W for (N, C, H, W).""",
    "centred": _CENTRED,
    "var": """The variance of a channel is the mean square of its deviations:

    var = mean((x - mu)**2)
        = mean(x**2) - 2 mu mean(x) + mu**2
        = mean(x**2) - mu**2

Divided by m, it makes mean(xhat**2) = var / (var + eps), just below 1: the batch itself is normalised. Division by
m - 1 would estimate the variance of what the batch was drawn from.""",
    "inv_std": _INV_STD,
    "xhat": _XHAT,
    "y": """Normalising takes the freedom of mean and scale from a channel; gamma and beta give it back:

    mean(y) = beta
    var(y) = gamma**2 var / (var + eps)

gamma = sqrt(var + eps) and beta = mu make y = x: the layer can undo itself.""",
    "back_gamma": _DXHAT,
    "back_inv_std": f"""A derivative is taken at the point where the forward was: with its inv_std, and its eps.

{_INV_STD}""",
    "back_centred": """The variance depends on x_i in its own square, and through mu in all of them:

    dvar/dx_i = 2 (x_i - mu) / m - 2/m sum(x - mu) / m
              = 2 (x_i - mu) / m                           since sum(x - mu) = 0

and xhat_j = (x_j - mu) (var + eps)**(-1/2) gives the other factor:

    dxhat_j/dvar = -1/2 (x_j - mu) (var + eps)**(-3/2)

Both have x - mu in them, from which the mean is taken off.""",
    "back_xhat": f"""The backward takes xhat from the forward: dgamma and the variance path of dx are made of it.

{_XHAT}""",
    "dbeta": """beta is added to all m values of a channel. Each adds its share to the derivative:

    dy_i/dbeta = 1
    dL/dbeta = sum(dL/dy_i * dy_i/dbeta) = sum(dy)

The sum is over all that beta was broadcast to; nothing divides it.""",
    "dgamma": """gamma multiplies all m values of a channel. Each adds its share to the derivative:

    dy_i/dgamma = xhat_i
    dL/dgamma = sum(dL/dy_i * dy_i/dgamma) = sum(dy * xhat)

The sum is over all that gamma was broadcast to; nothing divides it, and gamma itself is not in it.""",
    "dxhat": _DXHAT,
    "dvar": """The loss depends on var through every xhat of the channel:

    xhat_j = (x_j - mu) (var + eps)**(-1/2)
    dxhat_j/dvar = -1/2 (x_j - mu) (var + eps)**(-3/2)
    dvar = dL/dvar = sum(dxhat_j * dxhat_j/dvar)
         = sum(dxhat * (x - mu)) * (-1/2) * (var + eps)**(-3/2)""",
    "dmu": """The loss depends on mu through every xhat, and through var:

    dmu = sum(dxhat * (-1 / sqrt(var + eps))) + dvar * mean(-2 (x - mu))
        = -sum(dxhat) / sqrt(var + eps)

The second term is 0, since sum(x - mu) = 0: with it or without it, dmu is right.""",
    "direct_path": """With mu and var held fixed, xhat_i = (x_i - mu) / sqrt(var + eps) depends on x_i alone:

    dxhat_i/dx_i = 1 / sqrt(var + eps)
    direct path = dxhat_i / sqrt(var + eps) = gamma / sqrt(var + eps) * dy_i""",
    "variance_path": """x_i moves var, and var scales every xhat. A small step of x_i moves var by 2 (x_i - mu) / m
times the step, and dvar = dL/dvar is the derivative of the loss by var:

    variance path = dvar * 2 (x_i - mu) / m
                  = -1/2 gamma sum(dy (x - mu)) inv_std**3 * 2 (x_i - mu) / m
                  = -gamma inv_std * xhat_i * mean(dy * xhat)

In the last line x - mu = xhat / inv_std was put in twice; 2 and 1/2 cancel, and the sum over m is a mean.""",
    "mean_path": """x_i moves mu, and mu moves every xhat. A small step of x_i moves mu by 1 / m times the step, and
dmu = dL/dmu is the derivative of the loss by mu:

    mean path = dmu / m
              = -gamma inv_std * sum(dy) / m
              = -gamma inv_std * mean(dy)""",
    "dx": """x_i reaches the loss by three paths: by its own xhat, through var, and through mu.

    dx = dxhat inv_std + dvar * 2 (x - mu) / m + dmu / m
       = gamma inv_std * dy - gamma inv_std * xhat * mean(dy * xhat) - gamma inv_std * mean(dy)
       = gamma inv_std * (dy - mean(dy) - xhat * mean(dy * xhat))

The bracket sums to 0 over the channel, since mean(xhat) = 0: a constant that is added to x changes nothing.""",
}
