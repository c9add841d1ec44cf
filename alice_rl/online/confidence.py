"""Evidence that may be looked at after every request: e-processes and confidence sequences from three sums.

To be written; what stands here is the interface that `trial` and `canary` share.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Sample"]

Floats = float | npt.NDArray[np.float64]


class Sample(NamedTuple):
    """Sums of bounded observations `X_1 .. X_n`, all that their evidence needs.

    `n`, `total = sum X`, `squares = sum X^2`; every X lies in `[least, most]`, whatever happens.
    """

    n: Floats
    total: Floats
    squares: Floats
    least: Floats
    most: Floats

    def __neg__(self) -> Sample:
        """The sums of `-X`."""
        return Sample(self.n, -self.total, self.squares, -self.most, -self.least)
