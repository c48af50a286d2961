"""What the kernels of sparse attention take and leave, by name.

Sizes: B samples, N slots of memory of which M are filled, H units, A units of the score, K places for those
that survive the sparsifier.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# how weights are made of scores
PAPER, DEV, RELEASE, RAW, MINIMUM, SOFTMAX, ZERO = range(7)
CODES = {
    "paper": PAPER, "dev": DEV, "release": RELEASE, "raw": RAW, "min": MINIMUM, "softmax": SOFTMAX,
    "zero": ZERO,
}  # fmt: skip


class Sparsifier(NamedTuple):
    """The rule at one step.

    Attributes
    ----------
    code : int
        One of `CODES`.
    top : int
        k_top.
    norm_shift, threshold_shift : floating
        eps_norm and eps_thr.
    mixed : bool
        Whether the threshold of element (b, j) is that of sample (b M + j) mod B.
    """

    code: int
    top: int
    norm_shift: np.floating
    threshold_shift: np.floating
    mixed: bool


class Reading(NamedTuple):
    """What one step read, sample by sample.

    Attributes
    ----------
    chosen : ndarray of int32, (B, K)
        Slots that survive, in ascending order.
    survivors : ndarray of int32, (B,)
        How many.
    threshold_slot : ndarray of int32, (B,)
        Which slot's score is the threshold, -1 for none.
    weights : ndarray, (B, K)
        w of the chosen.
    normaliser : ndarray, (B,)
        U.
    """

    chosen: np.ndarray
    survivors: np.ndarray
    threshold_slot: np.ndarray
    weights: np.ndarray
    normaliser: np.ndarray
