"""Random-sign equilibrium propagation (A3): the sign of the nudge is drawn anew for every mini-batch.

One-sided estimates with +beta and with -beta have a bias of first order of opposite signs.  Drawn with equal
probability their mean is the symmetric estimate, at the price of one nudged phase instead of two (C-EP,
Ernoult et al. 2020; Laborieux et al. 2021).
"""

from __future__ import annotations

import numpy as np

from refsnn import checks


def random_sign(nudge: complex, rng: np.random.Generator, probability: float = 0.5) -> complex:
    """Return -beta with the given probability, beta otherwise: one draw, to be made once a mini-batch.

    Parameters
    ----------
    nudge : float or complex
        beta, not 0; complex nudges turn their sign too.
    rng : numpy.random.Generator
        Where the draw comes from.
    probability : float in [0, 1]
        Of the turned sign.

    Returns
    -------
    float or complex
        The `nudge` for `equilibrium_propagation` and its relatives.

    Raises
    ------
    TypeError, ValueError
        If `nudge` is 0 or no finite number, `rng` no Generator, or `probability` outside [0, 1].

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> [random_sign(0.5, rng) for _ in range(5)]
    [0.5, -0.5, -0.5, -0.5, 0.5]
    """
    checks.generator("rng", rng)
    probability = checks.number("probability", probability, 0, 1)
    if isinstance(nudge, (complex, np.complexfloating)):
        if not np.isfinite(nudge):
            raise ValueError(f"nudge: expected a finite number, got {nudge!r}")
        amount: complex = complex(nudge)
    else:
        amount = checks.number("nudge", nudge)
    if amount == 0:
        raise ValueError(f"nudge: expected a number other than 0, got {nudge!r}; 0 has no sign to draw")
    return -amount if rng.random() < probability else amount
