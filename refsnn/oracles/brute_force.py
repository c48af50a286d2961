"""Brute force: the dense Jacobian of each neuron over time, entry by entry.

For one neuron, ds_u/dI_t = psi_u f_{u-1} ... f_t for t <= u and 0 otherwise, with f_i = dh_{i+1}/dh_i.
Traces, reverse recursions and rate Jacobians are all sums over this T x T matrix; here it is written out,
O(T^3) and without a recursion.  Shared with what it checks: psi.  The factors f are spelled out case by case.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import SURROGATES


def neuron_jacobian(neuron: SpikingNeuron, charged: Any) -> np.ndarray:
    """ds_u/dI_t of every neuron, with the surrogate for the derivative of a spike.

    Parameters
    ----------
    neuron : SpikingNeuron
        Hyper-parameters.
    charged : ndarray, (T, M)
        Charged potential h of a run, float64.

    Returns
    -------
    ndarray, (T, T, M)
        Entry [u, t, j]: how spike u of neuron j answers to its current at t.

    Raises
    ------
    TypeError, ValueError
        For an array of wrong dtype or shape.

    Examples
    --------
    >>> from refsnn.equations.surrogates import Surrogate
    >>> linear = SpikingNeuron(leak=0.5, surrogate=Surrogate("constant", height=2.0))
    >>> neuron_jacobian(linear, np.zeros((3, 1)))[:, :, 0]
    array([[2. , 0. , 0. ],
           [1. , 2. , 0. ],
           [0.5, 1. , 2. ]])
    """
    charged = checks.float_array("charged", charged, ("T", "M"), np.dtype(np.float64))
    surrogate = neuron.surrogate
    psi = SURROGATES[surrogate.shape](charged - neuron.threshold, surrogate.slope, surrogate.height, 1.0)
    through_reset = np.zeros_like(psi) if neuron.detach_reset else psi
    if neuron.reset == "soft":
        factor = neuron.leak * (1 - neuron.threshold * through_reset)
    else:
        above = charged >= neuron.threshold if neuron.fires == ">=" else charged > neuron.threshold
        factor = neuron.leak * (np.where(above, 0.0, 1.0) + (neuron.reset_value - charged) * through_reset)
    steps = len(charged)
    jacobian = np.zeros((steps, *charged.shape))
    for later in range(steps):
        for earlier in range(later + 1):
            jacobian[later, earlier] = psi[later] * np.prod(factor[earlier:later], axis=0)
    return jacobian
