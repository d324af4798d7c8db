# shape: BatchNormalization(gamma, beta, momentum, running_mean, running_var); forward(x, train_flg=True), backward(dout) -> dx, then .dgamma, .dbeta
# name: BatchNormalization
# layouts: NC
# parameter-shape: (C,)
# eps-source: fixed
# eps: 10e-7
# momentum: kept
# running-var: biased
# running-start: 0, 0
# mode-switch: argument train_flg (default True)
# returns: dx and attributes dgamma, dbeta
# note: a 4-D input is flattened to (N, C*H*W) and normalised per activation, with gamma of shape (C*H*W,): not a wrong gradient, and not the convolutional case of the paper
# bug-mean-path-sign-flipped: dx = dxc - dmu / self.batch_size ==> dx = dxc + dmu / self.batch_size
# bug-dgamma-with-raw-y: dgamma = np.sum(self.xn * dout, axis=0) ==> dgamma = np.sum((self.gamma * self.xn + self.beta) * dout, axis=0)
# bug-dstd-sign: dstd = -np.sum((dxn * self.xc) / (self.std * self.std), axis=0) ==> dstd = np.sum((dxn * self.xc) / (self.std * self.std), axis=0)
import numpy as np


class Relu:
    def __init__(self):
        self.mask = None

    def forward(self, x):
        self.mask = (x <= 0)
        out = x.copy()
        out[self.mask] = 0
        return out

    def backward(self, dout):
        dout[self.mask] = 0
        dx = dout
        return dx


class Dropout:
    def __init__(self, dropout_ratio=0.5):
        self.dropout_ratio = dropout_ratio
        self.mask = None

    def forward(self, x, train_flg=True):
        if train_flg:
            self.mask = np.random.rand(*x.shape) > self.dropout_ratio
            return x * self.mask
        else:
            return x * (1.0 - self.dropout_ratio)

    def backward(self, dout):
        return dout * self.mask


class BatchNormalization:
    """
    http://arxiv.org/abs/1502.03167
    """
    def __init__(self, gamma, beta, momentum=0.9, running_mean=None, running_var=None):
        self.gamma = gamma
        self.beta = beta
        self.momentum = momentum
        self.input_shape = None # 4 dims for conv layers, 2 dims for fully connected layers

        # mean and variance used at test time
        self.running_mean = running_mean
        self.running_var = running_var

        # intermediate data used by backward
        self.batch_size = None
        self.xc = None
        self.std = None
        self.dgamma = None
        self.dbeta = None

    def forward(self, x, train_flg=True):
        self.input_shape = x.shape
        if x.ndim != 2:
            N, C, H, W = x.shape
            x = x.reshape(N, -1)

        out = self.__forward(x, train_flg)

        return out.reshape(*self.input_shape)

    def __forward(self, x, train_flg):
        if self.running_mean is None:
            N, D = x.shape
            self.running_mean = np.zeros(D)
            self.running_var = np.zeros(D)

        if train_flg:
            mu = x.mean(axis=0)
            xc = x - mu
            var = np.mean(xc**2, axis=0)
            std = np.sqrt(var + 10e-7)
            xn = xc / std

            self.batch_size = x.shape[0]
            self.xc = xc
            self.xn = xn
            self.std = std
            self.running_mean = self.momentum * self.running_mean + (1-self.momentum) * mu
            self.running_var = self.momentum * self.running_var + (1-self.momentum) * var
        else:
            xc = x - self.running_mean
            xn = xc / ((np.sqrt(self.running_var + 10e-7)))

        out = self.gamma * xn + self.beta
        return out

    def backward(self, dout):
        if dout.ndim != 2:
            N, C, H, W = dout.shape
            dout = dout.reshape(N, -1)

        dx = self.__backward(dout)

        dx = dx.reshape(*self.input_shape)
        return dx

    def __backward(self, dout):
        dbeta = dout.sum(axis=0)
        dgamma = np.sum(self.xn * dout, axis=0)
        dxn = self.gamma * dout
        dxc = dxn / self.std
        dstd = -np.sum((dxn * self.xc) / (self.std * self.std), axis=0)
        dvar = 0.5 * dstd / self.std
        dxc += (2.0 / self.batch_size) * self.xc * dvar
        dmu = np.sum(dxc, axis=0)
        dx = dxc - dmu / self.batch_size

        self.dgamma = dgamma
        self.dbeta = dbeta

        return dx
