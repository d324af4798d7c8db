"""Pages about gamma and beta: what they are, how they start, how they learn."""

from __future__ import annotations

from bncheck.pages.catalogue import page

page(
    "gamma",
    """
gamma and beta are vectors with one entry per channel (per feature, per feature map).

In full
-------
Normalising takes from each channel its mean and its scale. gamma and beta give both back, as numbers that are learnt:

    y = gamma * xhat + beta        mean(y) = beta        std(y) = |gamma|, up to eps

So there are as many of them as there are channels: C for x of shape (N, C), and C too for (N, C, H, W), where all
pixels of a feature map share one gamma. With gamma = sqrt(var + eps) and beta = mu the layer gives x back.

A gamma near 0 switches a channel off: y = beta there, whatever x is. It is sometimes said that gamma works as an L1
regulariser; the paper does not say that, and Batch Normalization alone adds no penalty.

What goes wrong
---------------
One gamma for the whole layer; one per element, of shape (N, C), which cannot be used for another batch; gamma[0] for
all channels; gamma of shape (C,) that broadcasts along the last axis of (N, C, H, W), which is W.

By hand
-------
Change gamma[0] alone: only channel 0 of y changes, in all rows.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3 (Algorithm 1), and section 3.2 for feature maps.
""",
)

page(
    "beta",
    """
beta is the shift, one number per channel; it takes over the work of the bias in the layer before.

In full
-------
A bias b that is added before the normalisation is subtracted again with the mean:

    mean(W u + b) = mean(W u) + b,  so  BN(W u + b) = BN(W u)

Its gradient is 0 for every batch. The layer in front of a Batch Normalization needs no bias; beta is the bias that
counts. In the paper the normalisation stands before the nonlinearity: g(BN(W u)).

What goes wrong
---------------
beta is added before gamma multiplies, gamma * (xhat + beta); beta is left out because it starts at 0, which hides it.

By hand
-------
gamma = 2, beta = 3, xhat = -1: y = 1. Add 5 to x: y does not change.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.2.
""",
)

page(
    "initial-values",
    """
gamma starts at 1 and beta at 0, so that a fresh layer puts out the plain normalised value.

In full
-------
With these, y = xhat: every channel has mean 0 and a variance just below 1, var / (var + eps). Training moves them from
there. The running statistics start at mean 0 and variance 1 in PyTorch, and at 0 and 0 in the CS231n exercises; both
are conventions, and a moving average forgets them.

bncheck warns of random or zero values. A zero gamma is a deliberate choice in some residual branches; then the warning
can be set aside, with a reason (see the expected failures in the README).

What goes wrong
---------------
gamma is drawn at random, as weights are; gamma is zeros, so that y = beta and dx = 0, and nothing in front learns. And
tests that use a fresh layer see no fault that gamma = 1 and beta = 0 hide: a gamma lost in dx, a shift before
the scale.

By hand
-------
A fresh layer in training mode: the mean of every channel of y is 0, its mean square var / (var + eps).

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3. Knet issue 288: gamma was missing in dx, and its tests had gamma = 1.
""",
)

page(
    "learning",
    """
gamma and beta learn like any weight: gamma -= lr * dgamma, beta -= lr * dbeta.

In full
-------
Both are used in every row of the batch, so that the shares of all rows add up:

    dbeta = sum(dy)        dgamma = sum(dy * xhat)        over all axes but the channels

These are sums. If the loss is a mean over the batch, the 1/N is in dy already; dividing again counts it twice.

The running statistics are no parameters: they have no gradient, and the optimiser leaves them alone.

What goes wrong
---------------
The sum is lost, as in many textbooks, and dgamma has the shape (N, C); a mean stands for it; dgamma is summed over the
channels too; gradients of the last step are added to and never cleared; dgamma and dbeta change places.

By hand
-------
dy = 1 in every element: dbeta is m in every channel, dgamma is 0. Repeat the batch, dy too: both double.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3, the gradients below Algorithm 1.
""",
)
