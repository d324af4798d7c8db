"""Data of four axes that is normalised per activation: recognised, named, and no wrong gradient."""

from bncheck.adapters import resolve

# Works on any number of axes, over the batch alone; dgamma has the shape of gamma on four axes too.
ANY_AXES = """
def {name}(x, gamma, beta, eps=1e-5):
    mu = x.mean(axis=0)
    inv_std = 1 / np.sqrt(x.var(axis=0) + eps)
    xhat = (x - mu) * inv_std
    return gamma * xhat + beta, (xhat, inv_std, gamma)

def {name}_backward(dout, cache):
    xhat, inv_std, gamma = cache
    dxhat = dout * gamma
    dx = inv_std * (dxhat - dxhat.mean(axis=0) - xhat * (dxhat * xhat).mean(axis=0))
    axes = 0 if dout.ndim == 2 else (0, 2, 3)
    keep = dout.ndim > 2
    return dx, (dout * xhat).sum(axis=axes, keepdims=keep), dout.sum(axis=axes, keepdims=keep)
"""


def test_it_is_verified_on_the_axes_that_it_is_right_for(write, right):
    conventions = right(write(ANY_AXES.format(name="batchnorm")))
    assert conventions.layouts == ("NC",)
    assert any("per activation" in note for note in conventions.notes)


def test_a_name_that_promises_maps_is_held_to_them(write):
    (card,) = resolve.cards(write(ANY_AXES.format(name="spatial_batchnorm")))
    assert "NCHW" in card.conventions.layouts
    assert any("per activation" in note for note in card.conventions.notes)


def test_normalising_whole_channels_says_nothing_of_it(write, right):
    source = ANY_AXES.format(name="batchnorm").replace("axis=0)", "axis=(0, 2, 3), keepdims=True)")
    conventions = right(write(source))
    assert conventions.layouts == ("NCHW",)
    assert not conventions.notes
