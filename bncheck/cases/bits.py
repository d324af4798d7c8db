"""Raw random bits, the same on every machine and for every version of NumPy.

NumPy keeps the seeding and the raw output of its bit generators fixed (NEP 19); the streams of its distributions, and
libm's log and cos behind them, may change. So everything random here is made of raw integers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# PCG64's own jump, (golden ratio - 1) * 2**128 as an odd integer: streams that start a multiple of it apart neither
# overlap nor share low bits of their states, as streams a power of two apart would.
STRIDE = 210306068529402873165736369884012333109
# A raw word has 64 bits: four 16-bit numbers.
PER_WORD = 4


def streams(seed: int, *counts: int) -> list[NDArray[np.uint16]]:
    """Return one array of 16-bit numbers per count, each from a stream of its own.

    The first numbers of a stream depend on `seed` and on the stream's position only, not on any count.
    """
    source = np.random.PCG64(seed)
    drawn: list[NDArray[np.uint16]] = []
    ahead = 0
    for count in counts:
        if ahead:
            source.advance(ahead)
        words = -(-count // PER_WORD)
        # Little-endian on every machine, so that the order of the four numbers in a word is the same.
        raw = source.random_raw(words).astype("<u8", copy=False)
        drawn.append(raw.view("<u2")[:count])
        ahead = STRIDE - words
    return drawn
