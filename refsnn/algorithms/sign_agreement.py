"""Sign agreement: how many synapses are pushed the right way (A10).

The authors of equilibrium propagation choose T, K and beta by it: for each weight matrix, the fraction of
entries in which the total update and the truncated BPTT gradient have the same strict sign, and apart from
it the fraction in which both are exactly 0 (dead inputs, saturated units), which says nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from refsnn.models.contract import Parameters


class SignAgreement(NamedTuple):
    """Fractions of the entries of one array, each in [0, 1].

    Attributes
    ----------
    same_sign : float
        Both above 0, or both below.
    both_zero : float
        Both exactly 0.
    """

    same_sign: float
    both_zero: float


def sign_agreement(estimate: Parameters, gradient: Parameters) -> dict[str, SignAgreement]:
    """(A10), array by array; the authors average it over 20 mini-batches.

    Parameters
    ----------
    estimate, gradient : dict of ndarray
        Of the same names and shapes, real, both in the sign of a gradient: the `gradients` of two results.

    Returns
    -------
    dict of str to SignAgreement
        In the order of `estimate`.  What the two fractions leave of 1 has opposite signs, or one 0.

    Raises
    ------
    TypeError
        If an array is complex: it has no sign.
    ValueError
        If names or shapes differ.

    Examples
    --------
    >>> estimate, gradient = {"w": np.array([1.0, -2.0, 0.0, 3.0])}, {"w": np.array([0.5, 2.0, 0.0, 0.0])}
    >>> sign_agreement(estimate, gradient)
    {'w': SignAgreement(same_sign=0.25, both_zero=0.25)}
    """
    if set(estimate) != set(gradient):
        raise ValueError(
            f"gradient: expected the names {sorted(estimate)} like the estimate, got {sorted(gradient)}"
        )
    fractions = {}
    for name, first in estimate.items():
        second = gradient[name]
        if np.iscomplexobj(first) or np.iscomplexobj(second):
            raise TypeError(f"{name}: expected real arrays, got {first.dtype} and {second.dtype}")
        if first.shape != second.shape:
            raise ValueError(f"gradient[{name!r}]: expected shape {first.shape}, got {second.shape}")
        # no product of the two: it may underflow to 0
        same = ((first > 0) & (second > 0)) | ((first < 0) & (second < 0))
        zero = (first == 0) & (second == 0)
        fractions[name] = SignAgreement(float(same.mean()), float(zero.mean()))
    return fractions
