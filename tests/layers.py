"""A right layer with running statistics as a Target, and ways to spoil it: built upon targets.py, as independent."""

from dataclasses import replace

import numpy as np
import targets

from bncheck.model import Conventions
from bncheck.session import Gradients


def wide(values, x):
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


def normalise(x, mean, var, setup):
    """Return y by the formula of eval mode."""
    return wide(setup.gamma / np.sqrt(var + setup.eps), x) * (x - wide(mean, x)) + wide(setup.beta, x)


def eval_gradients(dy, x, mean, var, setup):
    """Return the gradients of that formula: the statistics are constants."""
    axes, inv_std = (0, *range(2, x.ndim)), 1 / np.sqrt(var + setup.eps)
    xhat = (x - wide(mean, x)) * wide(inv_std, x)
    return Gradients(wide(setup.gamma * inv_std, x) * dy, (dy * xhat).sum(axis=axes), dy.sum(axis=axes))


class Keeping(targets.Pair):
    """A right layer that keeps running statistics; each rule may be replaced by a wrong one.

    `update` mixes an old value with a batch's: ``(old, batch, momentum, step)``; `evaluate` gives y in eval mode and
    `eval_backward` the gradients: ``(x, mean, var, setup)``, ``(dy, x, mean, var, setup)``. Without the latter backward
    is that of the last training batch, as in most code written by hand.
    """

    def __init__(
        self, sense="kept", var="biased", start=(0.0, 1.0), update=None, evaluate=normalise, misfit=None,
        eval_backward=None, session=None, **functions,
    ):  # fmt: skip
        super().__init__(**functions)
        self.sense, self.var, self.start, self.session = sense, var, start, session or Session
        self.update, self.evaluate, self.eval_backward = update or self.rule, evaluate, eval_backward
        self.conventions = Conventions(
            "test", ("NC", "NCHW"), "(C,)", "argument", None, "tuple", momentum_sense=sense, running_var=var,
            mode_switch="argument train", misfit=misfit,
        )  # fmt: skip

    def rule(self, old, batch, momentum, step):
        """Mix old and batch."""
        kept = {"kept": momentum, "new": 1 - momentum, "cumulative": step / (step + 1)}[self.sense]
        return kept * old + (1 - kept) * batch

    def told(self, **found):
        """Return the same layer, of which discovery has found something else."""
        self.conventions = replace(self.conventions, **found)
        return self

    def open(self, setup):
        return self.session(self, super().open(setup), setup)


class Session:
    """One fresh layer; subclasses plant what a rule cannot."""

    def __init__(self, layer, session, setup):
        self.layer, self.session, self.setup, self.steps = layer, session, setup, 0
        self.mean, self.variance = (np.full(setup.gamma.size, value) for value in layer.start)
        self.mode = "train"

    def forward(self, x, mode="train"):
        self.mode, self.x = mode, x
        if mode == "eval":
            return self.layer.evaluate(x, self.mean, self.variance, self.setup)
        self.learn(x)
        return self.session.forward(x)

    def learn(self, x):
        """Take a batch into the statistics."""
        axes, m = (0, *range(2, x.ndim)), x.size // x.shape[1]
        var = x.var(axis=axes) * (m / (m - 1) if self.layer.var == "unbiased" else 1)
        momentum = self.setup.momentum
        self.mean = self.layer.update(self.mean, x.mean(axis=axes), momentum, self.steps)
        self.variance = self.layer.update(self.variance, var, momentum, self.steps)
        self.steps += 1

    def backward(self, dy):
        if self.mode == "eval" and self.layer.eval_backward:
            return self.layer.eval_backward(dy, self.x, self.mean, self.variance, self.setup)
        return self.session.backward(dy)

    def handed_over(self):
        return self.session.handed_over()

    def running_stats(self):
        return self.mean, self.variance


# A right layer that PyTorch differentiates.
TORCH_LAYER = """
import torch
from torch import nn


class BatchNorm(nn.Module):
    def __init__(self, dim, eps=1e-5, momentum=0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.register_buffer("running_mean", torch.zeros(dim))
        self.register_buffer("running_var", torch.ones(dim))

    def forward(self, x):
        if not self.training:
            return (x - self.running_mean) * torch.rsqrt(self.running_var + self.eps) * self.weight + self.bias
        mean = x.mean(0)
        var = ((x - mean) ** 2).mean(0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var, self.momentum)
        xhat = (x - mean) / torch.sqrt(var + self.eps)
        return xhat * self.weight + self.bias
"""
