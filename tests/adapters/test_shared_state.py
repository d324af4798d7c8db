"""A layer that cannot be run because its objects share their statistics is told so, and not to try another layout."""

import pytest

from bncheck.adapters import resolve
from bncheck.errors import TargetError

LAYER = """
class BN:
    _running = {{"mean": 0.0, "var": 1.0}}

    def __init__(self, n, eps=1e-5):
        self.gamma, self.beta, self.eps = np.ones(n), np.zeros(n), eps
        self.stats = {stats}

    def forward(self, x, train=True{argument}):
        stats = {held}
        if train:
            mu, var = x.mean(axis=0), x.var(axis=0)
            stats["mean"] = 0.9 * stats["mean"] + 0.1 * mu
            stats["var"] = 0.9 * stats["var"] + 0.1 * var
        else:
            mu, var = stats["mean"], stats["var"]
        self.inv_std = 1 / np.sqrt(var + self.eps)
        self.xhat = (x - mu) * self.inv_std
        return self.gamma * self.xhat + self.beta

    def backward(self, dy):
        self.dgamma, self.dbeta = (dy * self.xhat).sum(axis=0), dy.sum(axis=0)
        return self.gamma * self.inv_std * (dy - (self.dbeta + self.xhat * self.dgamma) / len(dy))
"""
OF_CLASS = {"stats": "self._running", "argument": "", "held": "self.stats"}
OF_DEFAULT = {"stats": "None", "argument": ', held={"mean": 0.0, "var": 1.0}', "held": "held"}


@pytest.mark.parametrize(
    ("parts", "said"), [(OF_CLASS, "BN._running holds"), (OF_DEFAULT, "the default of held holds")]
)
def test_a_dict_that_all_objects_share_is_told_of(write, parts, said):
    with pytest.raises(TargetError) as refused:
        resolve.cards(write(LAYER.format(**parts)))

    assert f"{said} arrays that an earlier" in str(refused.value)
    assert "Is the layout another one?" not in str(refused.value)


def test_a_dict_that_each_object_has_of_its_own_is_no_fault(write, only):
    assert only(
        write(LAYER.format(stats="dict(self._running)", argument="", held="self.stats"))
    ).conventions.mode_switch
