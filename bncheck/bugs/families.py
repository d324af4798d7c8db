"""The families of bugs whose parameter is told from a fit: a factor, another array, one more term."""

from __future__ import annotations

from typing import Any

from bncheck.bugs.catalogue import bug
from bncheck.bugs.factors import Factor
from bncheck.bugs.parts import CALLED, Part
from bncheck.bugs.quantities import Quantity
from bncheck.bugs.steps import Steps


def _family(code: str, name: str, step: str, term: str, mend: str, by_hand: str) -> None:
    what = CALLED[code]
    steps = step.split()

    def fault(s: Steps, factor: Factor) -> Any:
        values = tuple(s.right(name) * factor.value(s) for name in steps)
        return values if len(values) > 1 else values[0]

    fault.__doc__ = _DOC.format(by_hand=by_hand)
    has = "have" if what.startswith("both") else "has"
    bug(
        code, name, f"{what} {has} a factor {{}} that does not belong there", step=step, wrong=f"{term} * {{}}",
        right=term, mend=mend, choices=lambda samples: [],
    )(fault)  # fmt: skip


_DOC = """One term carries a factor: a count, a power of the standard deviation or of gamma, a number, a sign.

Why it happens
--------------
A sum for a mean, m - 1 for m, N for N·H·W; -1/2 for -3/2; a 2 or a 1/2 that is lost in the chain rule; a minus sign.

By hand
-------
{by_hand}

References
----------
Ioffe & Szegedy 2015, arXiv:1502.03167, section 3, the gradients below Algorithm 1.
"""

_family(
    "BUG221", "direct-path-factor", "direct_path", "dxhat / sqrt(var + eps)",
    "the term is dy * gamma / sqrt(var + eps)",
    "With a batch so large that the means vanish, dx is dy * gamma / std.",
)  # fmt: skip
_family(
    "BUG222", "mean-path-factor", "mean_path", "-gamma / sqrt(var + eps) * mean(dy)",
    "the term is -gamma / sqrt(var + eps) * mean(dy)",
    "The sum of every channel of dx is 0, whatever dy is.",
)  # fmt: skip
_family(
    "BUG223", "variance-path-factor", "variance_path", "-gamma / sqrt(var + eps) * xhat * mean(dy * xhat)",
    "the term is -gamma / sqrt(var + eps) * xhat * mean(dy * xhat)",
    "With eps = 0, sum(dx * xhat) is 0 in every channel, whatever dy is.",
)  # fmt: skip
_family(
    "BUG224", "dx-factor", "dx", "gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    "dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    "Double gamma: dx doubles. Double x, with eps near 0: dx is halved.",
)  # fmt: skip
_family(
    "BUG227", "count-of-the-means", "mean_path variance_path", "(mean(dy) + xhat * mean(dy * xhat))",
    "divide both sums by m, the number of values that one channel has",
    "Repeat the batch, and dy with it: dx stays what it was.",
)  # fmt: skip
_family(
    "BUG311", "dgamma-factor", "dgamma", "sum(dy * xhat)",
    "dgamma = sum(dy * xhat): a sum over the batch, per channel",
    "Repeat the batch: dgamma doubles. Double gamma: dgamma stays.",
)  # fmt: skip
_family(
    "BUG411", "dbeta-factor", "dbeta", "sum(dy)",
    "dbeta = sum(dy): a sum over the batch, per channel",
    "dy = 1 everywhere: dbeta is m in every channel.",
)  # fmt: skip


@bug(
    "BUG226",
    "term-added-to-dx",
    "dx has a term that does not belong there: gamma / sqrt(var + eps) * {}",
    step="dx",
    wrong="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat) - {})",
    right="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    mend="take the term out",
    choices=lambda samples: [],
)
def term_added(s: Steps, value: tuple[Quantity, Part]) -> Any:
    """Beside the three paths there is something else in dx.

    Why it happens
    --------------
    The mean path is taken through the variance a second time: in d(var)/d(mu) a sum of x - mu stands, and it is 0.

    By hand
    -------
    The sum of every channel of dx is 0, whatever dy is.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dmu, whose second term is 0.
    """
    array, part = value
    return s.right("dx") - s.back_gamma * s.back_inv_std * part.value(s) * array.value(s)


@bug(
    "BUG225",
    "direct-path-of-something-else",
    "the direct path of dx is {}, and not dy",
    step="direct_path",
    wrong="dx = gamma / sqrt(var + eps) * ({} - mean(dy) - xhat * mean(dy * xhat))",
    right="dx = gamma / sqrt(var + eps) * (dy - mean(dy) - xhat * mean(dy * xhat))",
    mend="the bracket begins with dy itself",
    choices=lambda samples: [],
)
def direct_path_of_something_else(s: Steps, value: Any) -> Any:
    """Another array stands where dy reaches x by itself.

    Why it happens
    --------------
    A loop that ends a row too early; names that differ by a letter.

    By hand
    -------
    With a batch so large that the means vanish, dx is dy * gamma / std.

    References
    ----------
    Ioffe & Szegedy 2015, section 3, the line of dl/dx.
    """
    return s.back_gamma * s.back_inv_std * value(s)


@bug(
    "BUG134",
    "another-line",
    "y is {}, and not gamma / std * (x - mu) + beta",
    step="y",
    wrong="y = {}",
    right="y = gamma / std * x - gamma / std * mu + beta",
    mend="multiply x and mu by the same gamma / std, or subtract mu first",
    choices=lambda samples: [],
)
def another_line(s: Steps, factors: tuple[Factor, Factor]) -> Any:
    """In every channel y is a line in x, as it should be, but not the right one.

    Why it happens
    --------------
    Scale and shift are put together beforehand, y = a x + b, and one of them is wrong.

    By hand
    -------
    The mean of every channel of y is beta.

    References
    ----------
    Ioffe & Szegedy 2015, Algorithm 2, lines 10 and 11: the same line, at inference.
    """
    slope, share = factors
    unit = s.gamma * s.inv_std
    return slope.value(s) * unit * s.x + s.beta - share.value(s) * unit * s.mu
