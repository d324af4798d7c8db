# shape: torch.autograd.Function with apply(x, gamma, beta, eps)
# name: BatchNormFunction
# needs: torch
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: none
# running-var: none
# mode-switch: none
# returns: tuple (grad_x, grad_gamma, grad_beta, None) of backward(ctx, dy), called by autograd
# bug-mean-path-dropped: grad_x = istd * (g - g.mean(0) - xhat * (g * xhat).mean(0)) ==> grad_x = istd * (g - xhat * (g * xhat).mean(0))
# bug-dgamma-with-centred-x: grad_gamma = (dy * xhat).sum(0) ==> grad_gamma = (dy * xhat / istd).sum(0)
# bug-unbiased-variance: var = x.var(0, unbiased=False) ==> var = x.var(0, unbiased=True)
import torch
from torch.autograd import Function, gradcheck


class BatchNormFunction(Function):

    @staticmethod
    def forward(ctx, x, gamma, beta, eps=1e-5):
        mu = x.mean(0)
        var = x.var(0, unbiased=False)
        istd = torch.rsqrt(var + eps)
        xhat = (x - mu) * istd
        ctx.save_for_backward(xhat, istd, gamma)
        return gamma * xhat + beta

    @staticmethod
    def backward(ctx, dy):
        xhat, istd, gamma = ctx.saved_tensors
        grad_x = grad_gamma = grad_beta = None
        if ctx.needs_input_grad[0]:
            g = dy * gamma
            grad_x = istd * (g - g.mean(0) - xhat * (g * xhat).mean(0))
        if ctx.needs_input_grad[1]:
            grad_gamma = (dy * xhat).sum(0)
        if ctx.needs_input_grad[2]:
            grad_beta = dy.sum(0)
        return grad_x, grad_gamma, grad_beta, None


batch_norm = BatchNormFunction.apply


if __name__ == "__main__":
    args = [torch.randn(8, 5, dtype=torch.double, requires_grad=True)]
    args += [torch.randn(5, dtype=torch.double, requires_grad=True) for _ in range(2)]
    print(gradcheck(batch_norm, args))
