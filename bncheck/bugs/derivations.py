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

DERIVATIONS: dict[str, str] = {
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
    "variance_path": """x_i moves var, and var scales every xhat. With dvar/dx_i = 2 (x_i - mu) / m:

    variance path = dvar * 2 (x_i - mu) / m
                  = -1/2 gamma sum(dy (x - mu)) inv_std**3 * 2 (x_i - mu) / m
                  = -gamma inv_std * xhat_i * mean(dy * xhat)

In the last line x - mu = xhat / inv_std was put in twice; 2 and 1/2 cancel, and the sum over m is a mean.""",
    "mean_path": """x_i moves mu, and mu moves every xhat. With dmu/dx_i = 1 / m:

    mean path = dmu / m
              = -gamma inv_std * sum(dy) / m
              = -gamma inv_std * mean(dy)""",
    "dx": """x_i reaches the loss by three paths: by its own xhat, through var, and through mu.

    dx = dxhat inv_std + dvar * 2 (x - mu) / m + dmu / m
       = gamma inv_std * dy - gamma inv_std * xhat * mean(dy * xhat) - gamma inv_std * mean(dy)
       = gamma inv_std * (dy - mean(dy) - xhat * mean(dy * xhat))

The bracket sums to 0 over the channel, since mean(xhat) = 0: a constant that is added to x changes nothing.""",
}
