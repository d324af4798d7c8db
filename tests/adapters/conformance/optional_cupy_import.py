# shape: class written for xp, which is cupy or numpy; cupy and a compiled extension are imported if they exist
# name: BatchNormalization
# layouts: NC, NCHW
# parameter-shape: (C,)
# eps-source: fixed
# eps: 10e-7
# momentum: kept
# running-var: biased
# running-start: 0, 0
# mode-switch: argument train_flg (default True)
# returns: dx and list grads = [dgamma, dbeta]
# note: prints a hint at import where the extension is missing
# bug-variance-path-halved: dvar = 0.5 * dstd / self.std ==> dvar = 0.25 * dstd / self.std
# bug-dbeta-averaged: self.grads[1][...] = dout.sum(axis=0) ==> self.grads[1][...] = dout.mean(axis=0)
# bug-std-not-root: std = xp.sqrt(var + 10e-7) ==> std = var + 10e-7
import numpy

try:
    import cupy
    xp = cupy if cupy.cuda.is_available() else numpy
except ImportError:
    cupy = None
    xp = numpy

try:
    from im2col_cython import col2im_cython, im2col_cython
except ImportError:
    print('run the following from the root directory and try again:')
    print('python setup.py build_ext --inplace')


class BatchNormalization:
    def __init__(self, gamma, beta, momentum=0.9):
        self.params = [gamma, beta]
        self.grads = [xp.zeros_like(gamma), xp.zeros_like(beta)]
        self.momentum = momentum
        self.running_mean = None
        self.running_var = None

    def forward(self, x, train_flg=True):
        gamma, beta = self.params
        self.conv_shape = None
        if x.ndim == 4:
            N, C, H, W = x.shape
            self.conv_shape = (N, H, W, C)
            x = x.transpose(0, 2, 3, 1).reshape(-1, C)
        if self.running_mean is None:
            self.running_mean = xp.zeros(x.shape[1])
            self.running_var = xp.zeros(x.shape[1])
        if train_flg:
            mu = x.mean(axis=0)
            xc = x - mu
            var = xp.mean(xc**2, axis=0)
            std = xp.sqrt(var + 10e-7)
            self.xc, self.std, self.xn = xc, std, xc / std
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mu
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
            out = gamma * self.xn + beta
        else:
            out = gamma * (x - self.running_mean) / xp.sqrt(self.running_var + 10e-7) + beta
        if self.conv_shape is not None:
            out = out.reshape(self.conv_shape).transpose(0, 3, 1, 2)
        return out

    def backward(self, dout):
        if self.conv_shape is not None:
            dout = dout.transpose(0, 2, 3, 1).reshape(-1, dout.shape[1])
        n = dout.shape[0]
        self.grads[0][...] = (self.xn * dout).sum(axis=0)
        self.grads[1][...] = dout.sum(axis=0)
        dxn = self.params[0] * dout
        dstd = -xp.sum(dxn * self.xc / self.std**2, axis=0)
        dvar = 0.5 * dstd / self.std
        dxc = dxn / self.std + 2.0 / n * self.xc * dvar
        dx = dxc - xp.sum(dxc, axis=0) / n
        if self.conv_shape is not None:
            dx = dx.reshape(self.conv_shape).transpose(0, 3, 1, 2)
        return dx
