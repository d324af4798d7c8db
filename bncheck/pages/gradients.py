"""Pages about the backward: the three gradients, what is misprinted, what is no mistake, how tests miss mistakes."""

from __future__ import annotations

from bncheck.pages.catalogue import page

page(
    "gradients",
    """
Given dy = dL/dy, the backward returns dx, dgamma and dbeta; dx has three parts, because x moves mean and variance too.

In full
-------
    dbeta  = sum(dy)
    dgamma = sum(dy * xhat)
    dx     = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))

The same in stages, as the paper has it:

    dxhat = dy * gamma
    dvar  = sum(dxhat * (x - mu)) * (-1/2) * (var + eps)**(-3/2)
    dmu   = -sum(dxhat) / sqrt(var + eps)
    dx    = dxhat / sqrt(var + eps) + dvar * 2 (x - mu) / m + dmu / m

Sums and means are per channel. In dx the first term is the direct path, the second goes through the variance, the third
through the mean. Putting dvar and dmu in gives the closed form: 2 and 1/2 cancel, and x - mu = xhat * sqrt(var + eps).

What goes wrong
---------------
A path is left out (then mean or variance is taken for a constant); a sum for a mean in one of them; a sign; gamma
twice, once in dxhat and once in front; -1/2 for the power -3/2. bncheck list bugs has them all.

By hand
-------
The sum of every channel of dx is 0. With eps near 0, sum(dx * xhat) is 0 too. Double gamma: dx doubles, dgamma and
dbeta stay. Double x, with eps near 0: dx is halved.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3.
""",
)

page(
    "misprint",
    """
A widely read transcription of the paper's dx is wrong twice: a sign, and dvar where dmu belongs.

In full
-------
It prints

    dx = dxhat * (-1 / sqrt(var + eps)) + dvar * 2 (x - mu) / m + dvar / m

and the paper has

    dx = dxhat / sqrt(var + eps) + dvar * 2 (x - mu) / m + dmu / m

The sign belongs to dmu, where x - mu is derived by mu; it slipped into the line below. Either fault alone is wrong too.

What goes wrong
---------------
The direct part of the gradient points backwards.
bncheck names both faults; bncheck demo shows the report.

By hand
-------
dy = 1 in every element: dx is 0 everywhere. By the misprint it is -gamma / sqrt(var + eps).

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3, the line of dl/dx.
""",
)

page(
    "zero-term",
    """
The term dvar * mean(-2 (x - mu)) in dmu is 0; code is right with it and without it.

In full
-------
The paper writes

    dmu = sum(dxhat * (-1 / sqrt(var + eps))) + dvar * sum(-2 (x - mu)) / m

and sum(x - mu) = sum(x) - m mu = 0, by what mu is. Rounding leaves something of the size of the last digit.

What goes wrong
---------------
Nothing: it has been reported as a bug several times, and it is none. It becomes one where mu is not the mean over the
same axes as the sum, or where the sum has no axis and mixes the channels.

By hand
-------
Print sum(x - mu) per channel: 0, up to rounding.

References
----------
mxnet issue 1053, caffe issue 3912, darknet issue 1723: reports of it.
""",
)

page(
    "testing",
    """
Many tests of Batch Normalization pass on wrong code: gamma = 1, dy = 1, batches that are even, eps that is tiny.

In full
-------
What hides what:

    gamma = 1                            a gamma that is lost, or stands there twice, in dx
    dy = 1, or the loss sum(y)           the true dx is 0: the whole variance path
    the loss sum(y**2), gamma 1, beta 0  the mean path
    eps = 1e-5 with unit variance        eps outside of the root
    a batch of 1, even batches only      reshapes of the batch; tails of loops
    training never switched on           the gradients of training
    x normalised already                 x or x - mu in the place of xhat

So draw gamma from both signs, dy at random, odd sizes too, eps of the size of the variance once.

What goes wrong
---------------
A relative error where the true gradient is 0 accuses right code; a loose tolerance (0.4 in one library) excuses wrong
code; a tolerance that grows with the size of the array excuses one wrong element.

By hand
-------
Plant a fault (leave out gamma in dx) and see whether the test fails. If it passes, it is the test that is wrong.

References
----------
Knet issue 288 (gamma = 1), burn issue 238 (batch 1), CrypTen issue 143 (training never passed), mlpack issue 2474
(tolerance), ceres issue 225 (relative error at 0).
""",
)

page(
    "BUG000",
    """
No known bug gives what your code gives: the report says what it is made of, as far as that can be told.

In full
-------
A bug has a name in a report only if it gives every value of a tensor on every case that was drawn for it. Where none
does, dx is fitted, channel by channel, to the terms of its formula:

    dx = a * dy + b * 1 + c * xhat

and a, b and c are compared with the right ones: gamma / std, and what mean(dy) and mean(dy * xhat) make of it. In the
same way y is fitted to a line in x, and dgamma and dbeta to sums over the batch. "?" stands for a coefficient that is
no product of powers of gamma, the standard deviation and a count; "made of something else" is what lies outside. Eval
mode is fitted to a line in x likewise, and each running statistic to an average of its old value and the batch's.

What goes wrong
---------------
Several faults in one tensor; values that depend on the data (clipping, a branch); numbers that are not the same twice;
an operation that no formula of Batch Normalization has.

By hand
-------
Take the smallest case of the report, and follow your code beside the worked formula (bncheck replay shows it): the
first number that differs is where it begins.

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3, has the right terms.
""",
)
