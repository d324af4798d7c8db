# shape: layer that makes one object of its optimizer for each parameter, from a shape, and steps inside backward; a name that may be left out is made by a helper that is not there
# name: BatchNormalization
# layouts: NC
# parameter-shape: (C,)
# eps-source: attribute
# eps: 1e-06
# momentum: none
# running-var: none
# mode-switch: constructor argument train_mode
# returns: dx and attributes delta_gamma, delta_beta
# note: a flag first_mode has nothing to do with the mode: where it is set nothing is returned
# bug-mean-path-half: dx = dcentred - dcentred.mean(axis=0) ==> dx = dcentred - dcentred.mean(axis=0) / 2
# bug-dgamma-of-centred: self.delta_gamma = np.sum(error * self.x_hat, axis=0) ==> self.delta_gamma = np.sum(error * self.centred, axis=0)
# bug-beta-scaled: self.gamma * self.x_hat + self.beta ==> self.gamma * (self.x_hat + self.beta)
import numpy as np
from naming_that_was_not_copied import random_name
from optimizers_that_were_not_copied import Adam


class BatchNormalization:
    def __init__(self, input_shape, optimizer, train_mode=True, name=""):
        if name == "":
            name = random_name(8)
        self.name = name
        self.train_mode = train_mode
        self.first_mode = False
        self.epsilon = 0.000001
        self.gamma = np.ones(input_shape)
        self.beta = np.zeros(input_shape)
        self.gamma_update = optimizer.Update(optimizer, self.gamma.shape)
        self.beta_update = optimizer.Update(optimizer, self.beta.shape)

    def forward(self, input):
        self.centred = input - np.mean(input, axis=0)
        self.std = np.sqrt(np.mean(self.centred**2, axis=0) + self.epsilon)
        self.x_hat = self.centred / self.std
        return self.gamma * self.x_hat + self.beta

    def backward(self, error):
        self.delta_beta = np.sum(error, axis=0)
        self.delta_gamma = np.sum(error * self.x_hat, axis=0)
        dx_hat = error * self.gamma
        dcentred = dx_hat / self.std - self.x_hat * np.mean(dx_hat * self.x_hat, axis=0) / self.std
        dx = dcentred - dcentred.mean(axis=0)
        if self.train_mode:
            self.gamma = self.gamma_update.update_params(self.gamma, self.delta_gamma / len(error))
            self.beta = self.beta_update.update_params(self.beta, self.delta_beta / len(error))
        if self.first_mode:
            return None
        return dx


def network(sizes):
    return [BatchNormalization((size,), Adam(0.01), name=f"bn{i}") for i, size in enumerate(sizes)]
