# shape: lecture: plain class in torch (no nn.Module), __call__, parameters(), attribute training; under autograd
# name: BatchNorm1d
# needs: torch
# layouts: NC, NLC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: new
# running-var: biased
# running-start: 0, 1
# mode-switch: attribute training
# returns: gradients by autograd, of x, gamma and beta
# bug-unbiased-variance: xvar = x.var(dim, keepdim=True, correction=0) # batch variance ==> xvar = x.var(dim, keepdim=True) # batch variance
# bug-mean-detached: xmean = x.mean(dim, keepdim=True) # batch mean ==> xmean = x.mean(dim, keepdim=True).detach() # batch mean
# bug-mean-added: xhat = (x - xmean) / torch.sqrt(xvar + self.eps) # normalize to unit variance ==> xhat = (x + xmean) / torch.sqrt(xvar + self.eps)
import torch


class Linear:

  def __init__(self, fan_in, fan_out, bias=True):
    self.weight = torch.randn((fan_in, fan_out)) / fan_in**0.5
    self.bias = torch.zeros(fan_out) if bias else None

  def __call__(self, x):
    self.out = x @ self.weight
    if self.bias is not None:
      self.out += self.bias
    return self.out

  def parameters(self):
    return [self.weight] + ([] if self.bias is None else [self.bias])


class BatchNorm1d:

  def __init__(self, dim, eps=1e-5, momentum=0.1):
    self.eps = eps
    self.momentum = momentum
    self.training = True
    # parameters (trained with backprop)
    self.gamma = torch.ones(dim)
    self.beta = torch.zeros(dim)
    # buffers (trained with a running 'momentum update')
    self.running_mean = torch.zeros(dim)
    self.running_var = torch.ones(dim)

  def __call__(self, x):
    # calculate the forward pass
    if self.training:
      if x.ndim == 2:
        dim = 0
      elif x.ndim == 3:
        dim = (0,1)
      xmean = x.mean(dim, keepdim=True) # batch mean
      xvar = x.var(dim, keepdim=True, correction=0) # batch variance
    else:
      xmean = self.running_mean
      xvar = self.running_var
    xhat = (x - xmean) / torch.sqrt(xvar + self.eps) # normalize to unit variance
    self.out = self.gamma * xhat + self.beta
    # update the buffers
    if self.training:
      with torch.no_grad():
        self.running_mean = (1 - self.momentum) * self.running_mean + self.momentum * xmean
        self.running_var = (1 - self.momentum) * self.running_var + self.momentum * xvar
    return self.out

  def parameters(self):
    return [self.gamma, self.beta]


class Tanh:
  def __call__(self, x):
    self.out = torch.tanh(x)
    return self.out
  def parameters(self):
    return []
