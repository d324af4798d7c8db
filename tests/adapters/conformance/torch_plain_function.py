# shape: textbook: plain torch function under autograd; batch_norm(X, gamma, beta, moving_mean, moving_var, eps, momentum) -> (Y, moving_mean, moving_var)
# name: batch_norm
# also: BatchNorm NC, NCHW
# needs: torch
# layouts: NC, NCHW
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: new
# running-var: biased
# running-start: passed by the caller
# mode-switch: torch.is_grad_enabled()
# returns: gradients by autograd, of X, gamma and beta
# note: parameters are (C,) or (1, C) for NC, and (1, C, 1, 1) for NCHW, as class BatchNorm makes them; class BatchNorm fixes eps at 1e-5
# bug-eps-outside-root: X_hat = (X - mean) / torch.sqrt(var + eps)  # training ==> X_hat = (X - mean) / (torch.sqrt(var) + eps)
# bug-statistics-as-constants: mean, var = _statistics(X)  # with graph ==> mean, var = (s.detach() for s in _statistics(X))
# bug-shift-before-scale: Y = gamma * X_hat + beta  # Scale and shift ==> Y = gamma * (X_hat + beta)
import torch
from torch import nn


def _statistics(X):
    if len(X.shape) == 2:
        # When using a fully connected layer, calculate the mean and
        # variance on the feature dimension
        mean = X.mean(dim=0)
        var = ((X - mean) ** 2).mean(dim=0)
    else:
        # When using a two-dimensional convolutional layer, calculate the
        # mean and variance on the channel dimension (axis=1). Here we
        # need to maintain the shape of X, so that the broadcasting
        # operation can be carried out later
        mean = X.mean(dim=(0, 2, 3), keepdim=True)
        var = ((X - mean) ** 2).mean(dim=(0, 2, 3), keepdim=True)
    return mean, var


def batch_norm(X, gamma, beta, moving_mean, moving_var, eps, momentum):
    # Use is_grad_enabled to determine whether we are in training mode
    if not torch.is_grad_enabled():
        # In prediction mode, use mean and variance obtained by moving average
        X_hat = (X - moving_mean) / torch.sqrt(moving_var + eps)
    else:
        assert len(X.shape) in (2, 4)
        mean, var = _statistics(X)  # with graph
        # In training mode, the current mean and variance are used
        X_hat = (X - mean) / torch.sqrt(var + eps)  # training
        # Update the mean and variance using moving average
        moving_mean = (1.0 - momentum) * moving_mean + momentum * mean
        moving_var = (1.0 - momentum) * moving_var + momentum * var
    Y = gamma * X_hat + beta  # Scale and shift
    return Y, moving_mean.data, moving_var.data


class BatchNorm(nn.Module):
    # num_features: the number of outputs for a fully connected layer or the
    # number of output channels for a convolutional layer. num_dims: 2 for a
    # fully connected layer and 4 for a convolutional layer
    def __init__(self, num_features, num_dims):
        super().__init__()
        if num_dims == 2:
            shape = (1, num_features)
        else:
            shape = (1, num_features, 1, 1)
        self.gamma = nn.Parameter(torch.ones(shape))
        self.beta = nn.Parameter(torch.zeros(shape))
        self.moving_mean = torch.zeros(shape)
        self.moving_var = torch.ones(shape)

    def forward(self, X):
        if self.moving_mean.device != X.device:
            self.moving_mean = self.moving_mean.to(X.device)
            self.moving_var = self.moving_var.to(X.device)
        Y, self.moving_mean, self.moving_var = batch_norm(
            X, self.gamma, self.beta, self.moving_mean,
            self.moving_var, eps=1e-5, momentum=0.1)
        return Y
