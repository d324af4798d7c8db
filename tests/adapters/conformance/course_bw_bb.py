# shape: course class BatchNorm1d(num_features, alpha=0.9): forward(Z, eval=False), BW, Bb of shape (1, C), backward(dLdBZ) -> dLdZ, dLdBW, dLdBb
# name: BatchNorm1d
# layouts: NC
# parameter-shape: (1, C)
# eps-source: attribute
# eps: 1e-8
# momentum: kept
# running-var: biased
# running-start: 0, 1
# mode-switch: argument eval (default False)
# returns: dLdZ and attributes dLdBW, dLdBb
# bug-power-minus-one-half: dLdV = -0.5 * np.sum(dLdNZ * (self.Z - self.M) * (self.V + self.eps) ** (-3 / 2), axis=0, keepdims=True) ==> dLdV = -0.5 * np.sum(dLdNZ * (self.Z - self.M) * (self.V + self.eps) ** (-1 / 2), axis=0, keepdims=True)
# bug-dgamma-with-raw-x: self.dLdBW = np.sum(dLdBZ * self.NZ, axis=0, keepdims=True) ==> self.dLdBW = np.sum(dLdBZ * self.Z, axis=0, keepdims=True)
# bug-mean-path-dropped: dLdM / self.N ==> 0.0
import numpy as np


class BatchNorm1d:

    def __init__(self, num_features, alpha=0.9):

        self.alpha = alpha
        self.eps = 1e-8

        self.BW = np.ones((1, num_features))
        self.Bb = np.zeros((1, num_features))
        self.dLdBW = np.zeros((1, num_features))
        self.dLdBb = np.zeros((1, num_features))

        # Running mean and variance, updated during training, used during
        # inference
        self.running_M = np.zeros((1, num_features))
        self.running_V = np.ones((1, num_features))

    def forward(self, Z, eval=False):
        """
        Forward pass for batch normalization.
        :param Z: batch of input data Z (N, num_features).
        :param eval: flag to indicate training or inference mode.
        :return: batch normalized data.
        """
        if eval == False:
            # training mode
            self.Z = Z
            self.N = Z.shape[0]
            self.M = np.mean(Z, axis=0, keepdims=True)
            self.V = np.var(Z, axis=0, keepdims=True)
            self.NZ = (Z - self.M) / np.sqrt(self.V + self.eps)
            self.BZ = self.BW * self.NZ + self.Bb

            self.running_M = self.alpha * self.running_M + (1 - self.alpha) * self.M
            self.running_V = self.alpha * self.running_V + (1 - self.alpha) * self.V
        else:
            # inference mode
            self.NZ = (Z - self.running_M) / np.sqrt(self.running_V + self.eps)
            self.BZ = self.BW * self.NZ + self.Bb

        return self.BZ

    def backward(self, dLdBZ):
        """
        Backward pass for batch normalization.
        :param dLdBZ: Gradient loss wrt the output of BatchNorm layer.
        :return: Gradient of loss (L) wrt batch normalization input.
        """
        self.dLdBW = np.sum(dLdBZ * self.NZ, axis=0, keepdims=True)
        self.dLdBb = np.sum(dLdBZ, axis=0, keepdims=True)

        dLdNZ = dLdBZ * self.BW
        dLdV = -0.5 * np.sum(dLdNZ * (self.Z - self.M) * (self.V + self.eps) ** (-3 / 2), axis=0, keepdims=True)
        dNZdM = -((self.V + self.eps) ** (-1 / 2))
        dLdM = np.sum(dLdNZ * dNZdM, axis=0, keepdims=True)

        dLdZ = dLdNZ * (self.V + self.eps) ** (-1 / 2) + dLdV * (2 / self.N * (self.Z - self.M)) + dLdM / self.N

        return dLdZ
