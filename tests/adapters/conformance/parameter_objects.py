# shape: Module with Parameter objects: self.gamma.data, self.gamma.grad; parameters(); train() and eval()
# name: BatchNorm1d
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: new
# running-var: unbiased
# running-start: 0, 1
# mode-switch: methods train() and eval()
# returns: dx and Parameter objects gamma.grad, beta.grad
# note: gradients accumulate in .grad until zero_grad()
# bug-bessel-in-variance-path: x_hat * (grad_hat * x_hat).sum(0) / n ==> x_hat * (grad_hat * x_hat).sum(0) / (n - 1)
# bug-dbeta-times-gamma: self.beta.grad += grad_output.sum(0) ==> self.beta.grad += (grad_output * self.gamma.data).sum(0)
# bug-unbiased-variance: x_hat = (x - mean) / np.sqrt(var + self.eps) ==> x_hat = (x - mean) / np.sqrt(var * n / (n - 1) + self.eps)
import numpy as np


class Parameter:
    def __init__(self, data):
        self.data = data
        self.grad = np.zeros_like(data)

    def zero_grad(self):
        self.grad = np.zeros_like(self.data)


class Module:
    def __init__(self):
        self.training = True

    def parameters(self):
        return [v for v in self.__dict__.values() if isinstance(v, Parameter)]

    def zero_grad(self):
        for p in self.parameters():
            p.zero_grad()

    def train(self):
        self.training = True

    def eval(self):
        self.training = False

    def __call__(self, *args):
        return self.forward(*args)


class Linear(Module):
    def __init__(self, n_in, n_out):
        super().__init__()
        self.W = Parameter(np.random.randn(n_in, n_out) / np.sqrt(n_in))
        self.b = Parameter(np.zeros(n_out))

    def forward(self, x):
        self.x = x
        return x @ self.W.data + self.b.data

    def backward(self, grad_output):
        self.W.grad += self.x.T @ grad_output
        self.b.grad += grad_output.sum(0)
        return grad_output @ self.W.data.T


class BatchNorm1d(Module):
    def __init__(self, num_features, eps=1e-5, momentum=0.1):
        super().__init__()
        self.gamma = Parameter(np.ones(num_features))
        self.beta = Parameter(np.zeros(num_features))
        self.running_mean = np.zeros(num_features)
        self.running_var = np.ones(num_features)
        self.eps = eps
        self.momentum = momentum

    def forward(self, x):
        if self.training:
            n = x.shape[0]
            mean, var = x.mean(0), x.var(0)
            unbiased = var * n / max(n - 1, 1)
            self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * mean
            self.running_var = (1 - self.momentum) * self.running_var + self.momentum * unbiased
            x_hat = (x - mean) / np.sqrt(var + self.eps)
            self.saved = x_hat, var
        else:
            x_hat = (x - self.running_mean) / np.sqrt(self.running_var + self.eps)
        return self.gamma.data * x_hat + self.beta.data

    def backward(self, grad_output):
        x_hat, var = self.saved
        n = x_hat.shape[0]
        self.gamma.grad += (grad_output * x_hat).sum(0)
        self.beta.grad += grad_output.sum(0)
        grad_hat = grad_output * self.gamma.data
        return (grad_hat - grad_hat.mean(0) - x_hat * (grad_hat * x_hat).sum(0) / n) / np.sqrt(var + self.eps)
