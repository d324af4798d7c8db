# shape: course assignment: three classes, nn.Module under autograd, autograd.Function with manual backward, nn.Module around it
# name: CustomBatchNormManualModule
# also: CustomBatchNormAutograd NC; CustomBatchNormManualFunction NC
# needs: torch
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: gradients by autograd, of x, gamma and beta
# note: the bugs are in CustomBatchNormManualFunction and so in CustomBatchNormManualModule; CustomBatchNormAutograd stays right
# bug-variance-path-dropped: grad_input = gamma / sigma * (grad_output - grad_beta / N - x_hat * grad_gamma / N) ==> grad_input = gamma / sigma * (grad_output - grad_beta / N)
# bug-dbeta-averaged: grad_beta = torch.sum(grad_output, dim=0) ==> grad_beta = torch.mean(grad_output, dim=0)
# bug-variance-for-std: sigma = torch.sqrt(variance + eps) ==> sigma = variance + eps
import torch
import torch.nn as nn


class CustomBatchNormAutograd(nn.Module):
    """
    This nn.module implements a custom version of the batch norm operation for MLPs.
    The operations called in self.forward track the history if the input tensors have the
    flag requires_grad set to True. The backward pass does not need to be implemented.
    """

    def __init__(self, n_neurons, eps=1e-5):
        super(CustomBatchNormAutograd, self).__init__()
        self.n_neurons = n_neurons
        self.eps = eps
        self.gamma = nn.Parameter(torch.ones(n_neurons))
        self.beta = nn.Parameter(torch.zeros(n_neurons))

    def forward(self, input):
        shape = input.size()
        if len(shape) == 1:
            input = input.view(1, -1)
            shape = input.size()
        if len(shape) > 2:
            raise ValueError('Expected 1-D or 2-D tensor (got {})'.format(str(shape)))
        elif input.shape[1] != self.n_neurons:
            raise ValueError('Expected _ x {} tensor (got {} x {})'.format(str(self.n_neurons), str(shape[0]), str(shape[1])))
        mean = input.mean(dim=0)
        var = input.var(dim=0, unbiased=False)
        return self.gamma * (input - mean) / (var + self.eps).sqrt() + self.beta


class CustomBatchNormManualFunction(torch.autograd.Function):
    """
    This torch.autograd.Function implements a functional custom version of the batch norm operation for MLPs.
    """

    @staticmethod
    def forward(ctx, input, gamma, beta, eps=1e-5):
        mean = torch.mean(input, dim=0)
        variance = torch.mean((input - mean) ** 2, dim=0)
        sigma = torch.sqrt(variance + eps)
        x_hat = (input - mean) / sigma
        ctx.save_for_backward(x_hat, sigma, gamma)
        ctx.eps = eps
        return gamma * x_hat + beta

    @staticmethod
    def backward(ctx, grad_output):
        x_hat, sigma, gamma = ctx.saved_tensors
        N = grad_output.shape[0]
        grad_gamma = torch.sum(grad_output * x_hat, dim=0)
        grad_beta = torch.sum(grad_output, dim=0)
        grad_input = gamma / sigma * (grad_output - grad_beta / N - x_hat * grad_gamma / N)
        # return gradients of the three tensor inputs and None for the constant eps
        return grad_input, grad_gamma, grad_beta, None


class CustomBatchNormManualModule(nn.Module):
    """
    This nn.module implements a custom version of the batch norm operation for MLPs.
    In self.forward the functional version CustomBatchNormManualFunction.forward is called.
    """

    def __init__(self, n_neurons, eps=1e-5):
        super(CustomBatchNormManualModule, self).__init__()
        self.n_neurons = n_neurons
        self.eps = eps
        self.gamma = nn.Parameter(torch.ones(n_neurons))
        self.beta = nn.Parameter(torch.zeros(n_neurons))

    def forward(self, input):
        assert input.shape[1] == self.n_neurons, "Input has wrong size"
        batchNormFunc = CustomBatchNormManualFunction
        return batchNormFunc.apply(input, self.gamma, self.beta, self.eps)
