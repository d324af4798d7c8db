"""Pages about mean and variance: of a batch, of feature maps, of what runs along for inference."""

from __future__ import annotations

from bncheck.pages.catalogue import page

page(
    "train-and-eval",
    """
In training the batch's own mean and variance normalise; at inference fixed ones do, gathered while training.

In full
-------
In training mu and var are functions of x, and the gradient goes through them. At inference they are constants:

    y  = gamma * (x - running_mean) / sqrt(running_var + eps) + beta
    dx = dy * gamma / sqrt(running_var + eps)

so that y of one row does not depend on the rows beside it, and a batch of one row is fine. dgamma is the sum of
dy * (x - running_mean) / sqrt(running_var + eps), dbeta the sum of dy.

What goes wrong
---------------
Training normalises with the running statistics, or inference with the batch's; the running ones are never stored, or
are changed at inference too; the short dx of inference is used in training, where both other paths are missing; the
flag that says which mode it is never arrives.

By hand
-------
At inference, feed one row alone and in a batch: y is the same. In training it is not. With running_mean = mu and
running_var = var, inference gives the y of training.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 2. CrypTen issue 143; pytorch/xla issue 913.
""",
)

page(
    "running-statistics",
    """
Running mean and variance are moving averages over batches; libraries differ in momentum and in m or m - 1.

In full
-------
    PyTorch   rm = (1 - a) rm + a mu     a = 0.1    variance over m - 1    eps 1e-5
    Keras 3   rm = a rm + (1 - a) mu     a = 0.99   variance over m        eps 1e-3
    Flax      rm = a rm + (1 - a) mu     a = 0.99   variance over m        eps 1e-5
    CS231n    rm = a rm + (1 - a) mu     a = 0.9    variance over m        eps 1e-5
    Chainer   rm = a rm + (1 - a) mu     a = 0.9    variance over m - 1    eps 2e-5

The paper has the plain average over batches, and m / (m - 1) times the average of the variances. None of these is
wrong. bncheck measures which one it met, and holds code to one of them with --profile.

The m - 1 belongs to the running variance alone: it estimates the variance of all data. The batch is normalised by m.

What goes wrong
---------------
momentum on the wrong side, so that 0.9 of the new batch is taken; running_var fed with the mean, or with the standard
deviation; m / (m - 1) with N in the place of N·H·W, or at m = 1, where it divides by 0; only the last batch is kept.

By hand
-------
Feed the same batch until nothing changes: running_mean is its mean, running_var its variance (times m / (m - 1) where
that is the convention). A single update from the start values tells the momentum.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 2. Flux issue 1992 (one value per channel), Paddle issue 51120
(momentum reversed), mlx issue 3817 (biased where the convention says unbiased).
""",
)

page(
    "variance",
    """
The batch is normalised with the biased variance: the sum of squares divided by m, not by m - 1.

In full
-------
    var = sum((x - mu)**2) / m

np.var and np.std divide by m; torch.var and torch.std divide by m - 1 unless they are told unbiased=False. Division
by m makes the mean square of xhat var / (var + eps), just below 1, for every batch size.

mean(x**2) - mu**2 is the same on paper. In floating point it loses about k**2 roundings where mean((x - mu)**2) loses
k, with k = max|x| / sqrt(var + eps): at x of 10000 and a deviation of 1, in float32, nothing is left, and it may turn
negative, which gives NaN under the root.

What goes wrong
---------------
m - 1; no division at all; the mean of x**2 with the mean not taken off; abs for the square; a missing root; N for
N·H·W; a missing axis, which makes one number for all channels.

By hand
-------
Two rows, 0 and 2, eps near 0: mu = 1, var = 1, xhat = -1 and 1. With m - 1 the variance is 2, xhat -0.7 and 0.7.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 1. flax issue 1491 (the difference of squares turns negative).
""",
)

page(
    "eps",
    """
eps stands under the root, added to the variance: 1 / sqrt(var + eps).

In full
-------
It keeps a channel whose values are all alike from dividing by 0: there xhat = 0 / sqrt(eps) = 0, and dx is finite. The
backward uses the same eps; best of all it takes inv_std from the forward. sqrt(var) + eps is another function: its
derivative has sqrt(var) below the line and is not finite at var = 0.

Usual values are 1e-5 (PyTorch, Flax, CS231n), 2e-5 (Chainer) and 1e-3 (Keras). Networks that are carried from one
library to another need the eps that they were trained with.

What goes wrong
---------------
eps outside of the root; inside in the backward, outside in the forward; added twice; left out of the backward; a
number in the formula where the argument belongs. With unit variance and eps = 1e-5 no test sees any of these.

By hand
-------
Set eps to 1, and take a channel of variance 3: inv_std is 1/2.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, Algorithm 1. keras issue 10427 (outside of the root), chainer
issue 4505 (twice).
""",
)

page(
    "feature-maps",
    """
On images each feature map is one channel: mean and variance are over N, H and W together.

In full
-------
For x of shape (N, C, H, W) the m of the formulas is N·H·W, and the axes are (0, 2, 3). It is the same as moving C last,
reshaping to (N·H·W, C), and normalising the columns; the way back undoes both. gamma and beta have C entries, and
broadcast as (1, C, 1, 1). Over H and W alone it is instance norm, over C, H and W layer norm.

What goes wrong
---------------
m = N in a sum that goes over N, H and W; a reshape without the transposition, which mixes channels; axis 0 alone, one
normalisation per pixel; tests with a batch of 1, where much of this does not show.

By hand
-------
Multiply channel 0 of x by 10: the other channels of y do not change. Move a pixel from one image to another, within its
channel: the channel's mean does not change.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.2. burn issue 238 (the batch reshaped wrongly).
""",
)

page(
    "one-value",
    """
With one value per channel (m = 1) the mean is that value: y = beta and dx = 0, or a clear refusal.

In full
-------
    mu = x,  var = 0,  xhat = 0 / sqrt(eps) = 0,  y = beta
    dx = gamma / sqrt(eps) * (dy - dy - 0) = 0,  dgamma = 0,  dbeta = dy

Nothing can be learnt in front of such a layer, so that PyTorch refuses it in training. Both are right; NaN is not.

What goes wrong
---------------
m - 1 = 0 below a line, in the variance or in the running variance, gives NaN, which stays in the running statistics for
good. It is met in practice as the last batch of an epoch, with one row left over.

By hand
-------
One row of (N, C), in training: y is beta, or an error that says so.

References
----------
Flux issue 1992, tensorflow issue 34062 (m / (m - 1) at one value); fastai issue 1352 (the last batch).
""",
)
