# shape: script that trains a small network when it is imported; class with gradients as attributes
# name: BatchNorm
# layouts: NC
# parameter-shape: (C,)
# eps-source: argument
# eps: -
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument train (default True)
# returns: dx and attributes dgamma, dbeta
# note: importing runs 300 steps, prints, and seeds the global generator; nothing is guarded by __name__
# bug-mean-path-dropped: return (a - a.mean(axis=0) - b) / self.std ==> return (a - b) / self.std
# bug-dgamma-with-raw-x: self.dgamma = np.sum(dout * self.xhat, axis=0) ==> self.dgamma = np.sum(dout * self.x, axis=0)
# bug-unbiased-variance: var = np.sum((x - mu) ** 2, axis=0) / len(x) ==> var = np.sum((x - mu) ** 2, axis=0) / (len(x) - 1)
import numpy as np

np.random.seed(42)


class Dense:
    def __init__(self, i, o):
        self.W = np.random.randn(i, o) * np.sqrt(2 / i)
        self.b = np.zeros(o)

    def forward(self, x, train=True):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.db = dout.sum(axis=0)
        return dout @ self.W.T


class BatchNorm:
    def __init__(self, d, eps=1e-5, momentum=0.9):
        self.gamma = np.ones(d)
        self.beta = np.zeros(d)
        self.eps = eps
        self.momentum = momentum
        self.run_mu = np.zeros(d)
        self.run_var = np.ones(d)

    def forward(self, x, train=True):
        self.x = x
        if train:
            mu = np.sum(x, axis=0) / len(x)
            var = np.sum((x - mu) ** 2, axis=0) / len(x)
            self.run_mu = self.momentum * self.run_mu + (1 - self.momentum) * mu
            self.run_var = self.momentum * self.run_var + (1 - self.momentum) * var
        else:
            mu, var = self.run_mu, self.run_var
        self.std = np.sqrt(var + self.eps)
        self.xhat = (x - mu) / self.std
        return self.gamma * self.xhat + self.beta

    def backward(self, dout):
        self.dgamma = np.sum(dout * self.xhat, axis=0)
        self.dbeta = np.sum(dout, axis=0)
        a = dout * self.gamma
        b = self.xhat * np.mean(a * self.xhat, axis=0)
        return (a - a.mean(axis=0) - b) / self.std


class Tanh:
    def forward(self, x, train=True):
        self.y = np.tanh(x)
        return self.y

    def backward(self, dout):
        return dout * (1 - self.y ** 2)


# make some data
X = np.random.randn(200, 2)
Y = (np.sin(X[:, :1] * 2) * X[:, 1:] > 0).astype(float)

fc1, bn, act, fc2 = Dense(2, 16), BatchNorm(16), Tanh(), Dense(16, 1)
layers = [fc1, bn, act, fc2]
lr = 0.05

for step in range(300):
    idx = np.random.choice(len(X), 32)
    h = X[idx]
    for layer in layers:
        h = layer.forward(h)
    p = 1 / (1 + np.exp(-h))
    loss = -np.mean(Y[idx] * np.log(p + 1e-9) + (1 - Y[idx]) * np.log(1 - p + 1e-9))
    d = (p - Y[idx]) / len(idx)
    for layer in reversed(layers):
        d = layer.backward(d)
    for fc in (fc1, fc2):
        fc.W -= lr * fc.dW
        fc.b -= lr * fc.db
    bn.gamma -= lr * bn.dgamma
    bn.beta -= lr * bn.dbeta
    if step % 50 == 0:
        print('step', step, 'loss', loss)

h = X
for layer in layers:
    h = layer.forward(h, train=False)
print('accuracy', np.mean((h > 0) == Y))
