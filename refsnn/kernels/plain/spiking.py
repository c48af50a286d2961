"""Spiking-neuron loops in NumPy: the specification as executed.

Arrays are time-major with all neurons of the batch in one axis, (T, M).  A function fills the arrays it is
given; `potential`, `trace`, sums and adjoints of the state enter with their first and leave with their
last value, so that a sequence can be run in pieces.
"""

from __future__ import annotations

import numpy as np

from refsnn.equations.spiking import SpikingNeuron, charged_adjoint, closest_approach, next_trace


def forward(
    neuron: SpikingNeuron,
    current: np.ndarray,
    potential: np.ndarray,
    charged: np.ndarray,
    spikes: np.ndarray,
) -> None:
    """Charge, fire, reset, T times (Yu 2024, Eq. 1).

    Parameters
    ----------
    neuron : SpikingNeuron
        Hyper-parameters.
    current : ndarray, (T, M)
        Input current of every step.
    potential : ndarray, (M,)
        v_0 in, v_T out.
    charged : ndarray, (T, M)
        Filled with the charged potential h; may be `current` itself.
    spikes : ndarray, (T, M)
        Filled with 0 and 1; any dtype.
    """
    charge, fire, reset, _, _ = neuron.equations
    leak, threshold, reset_value, _, _, _, one = neuron.constants(potential.dtype)
    for t in range(current.shape[0]):
        charged[t] = charge(potential, current[t], leak, reset_value, one)
        spike = fire(charged[t], threshold, one)
        potential[:] = reset(charged[t], spike, threshold, reset_value, one)
        spikes[t] = spike


def backward(
    neuron: SpikingNeuron,
    charged: np.ndarray,
    spike_adjoint: np.ndarray,
    potential_adjoint: np.ndarray,
    current_adjoint: np.ndarray,
    window: int,
) -> None:
    """The adjoint of `forward`, from the charged potential alone (Yu 2024, Eq. 2).

    Parameters
    ----------
    neuron : SpikingNeuron
        Hyper-parameters.
    charged : ndarray, (T, M)
        h of the forward pass; spike and surrogate are computed from it again.
    spike_adjoint : ndarray, (T, M)
        dL/ds_t from above.
    potential_adjoint : ndarray, (M,)
        dL/dv_T in, dL/dv_0 out.
    current_adjoint : ndarray, (T, M)
        Filled with dL/dI_t; may be `charged` itself.
    window : int
        Cut the gradient along the potential every `window` steps, counted from the end; 0 never cuts.
    """
    _, fire, _, reset_slope, surrogate = neuron.equations
    leak, threshold, reset_value, attached, slope, height, one = neuron.constants(potential_adjoint.dtype)
    for t in reversed(range(charged.shape[0])):
        spike = fire(charged[t], threshold, one)
        spike_slope = surrogate(charged[t] - threshold, slope, height, one)
        slope_of_reset = reset_slope(charged[t], spike, attached * spike_slope, threshold, reset_value, one)
        adjoint = charged_adjoint(spike_adjoint[t], potential_adjoint, spike_slope, slope_of_reset)
        current_adjoint[t] = adjoint
        potential_adjoint[:] = leak * adjoint
        if window > 0 and (charged.shape[0] - t) % window == 0:
            potential_adjoint[:] = 0


def count_forward(
    neuron: SpikingNeuron,
    current: np.ndarray,
    steps: int,
    potential: np.ndarray,
    spike_sum: np.ndarray,
    margin: np.ndarray,
) -> None:
    """`forward` under a current that does not change, of which nothing is kept but counts.

    Parameters
    ----------
    neuron : SpikingNeuron
        Hyper-parameters.
    current : ndarray, (M,)
        Input current of every step.
    steps : int
        T.
    potential : ndarray, (M,)
        v_0 in, v_T out.
    spike_sum : ndarray, (M,)
        Sum of s_t, added to.
    margin : ndarray, (M,)
        Smallest |h_t - threshold| so far, lowered; infinity at the start.
    """
    charge, fire, reset, _, _ = neuron.equations
    leak, threshold, reset_value, _, _, _, one = neuron.constants(potential.dtype)
    for _ in range(steps):
        charged = charge(potential, current, leak, reset_value, one)
        spike = fire(charged, threshold, one)
        spike_sum += spike
        margin[:] = closest_approach(margin, charged - threshold)
        potential[:] = reset(charged, spike, threshold, reset_value, one)


def rate_forward(
    neuron: SpikingNeuron,
    current: np.ndarray,
    potential: np.ndarray,
    trace: np.ndarray,
    slope_sum: np.ndarray,
    spike_sum: np.ndarray,
    margin: np.ndarray,
    spikes: np.ndarray,
) -> None:
    """`forward` that keeps nothing of the T steps but two sums a neuron (Yu 2024, Algorithm 1).

    Parameters
    ----------
    neuron : SpikingNeuron
        Hyper-parameters.
    current : ndarray, (T, M)
        Input current of every step.
    potential : ndarray, (M,)
        v_0 in, v_T out.
    trace : ndarray, (M,)
        rho_1 = 1 at the start of a sequence, rho_{T+1} out (Eq. 8).
    slope_sum, spike_sum : ndarray, (M,)
        Sum of psi_t rho_t (Eq. 9) and of s_t, added to.
    margin : ndarray, (M,)
        Smallest |h_t - threshold| so far, lowered; infinity at the start.
    spikes : ndarray, (T, M)
        Filled with 0 and 1; may be `current` itself.
    """
    charge, fire, reset, reset_slope, surrogate = neuron.equations
    leak, threshold, reset_value, attached, slope, height, one = neuron.constants(potential.dtype)
    for t in range(current.shape[0]):
        charged = charge(potential, current[t], leak, reset_value, one)
        spike = fire(charged, threshold, one)
        spike_slope = surrogate(charged - threshold, slope, height, one)
        slope_of_reset = reset_slope(charged, spike, attached * spike_slope, threshold, reset_value, one)
        slope_sum += spike_slope * trace
        spike_sum += spike
        margin[:] = closest_approach(margin, charged - threshold)
        trace[:] = next_trace(one, trace, leak * slope_of_reset)
        potential[:] = reset(charged, spike, threshold, reset_value, one)
        spikes[t] = spike


def galerkin_forward(
    neuron: SpikingNeuron,
    current: np.ndarray,
    basis: np.ndarray,
    potential: np.ndarray,
    traces: np.ndarray,
    factor: np.ndarray,
    gains: np.ndarray,
    coefficients: np.ndarray,
    margin: np.ndarray,
    spikes: np.ndarray,
) -> None:
    """`rate_forward` with K temporal modes in the place of the constant one.

    Parameters
    ----------
    neuron : SpikingNeuron
        Hyper-parameters.
    current : ndarray, (T, M)
        Input current of every step.
    basis : ndarray, (K, T)
        Orthonormal modes phi_k(t).
    potential : ndarray, (M,)
        v_0 in, v_T out.
    traces : ndarray, (K, M)
        rho_k, the response of h to an input along phi_k; 0 at the start.
    factor : ndarray, (M,)
        dh_{t+1}/dh_t of the last step; 0 at the start.
    gains : ndarray, (K, K, M)
        G_jk = sum_t phi_j(t) psi_t rho_k(t), added to.
    coefficients : ndarray, (K, M)
        E_k = sum_t phi_k(t) s_t, added to.
    margin : ndarray, (M,)
        Smallest |h_t - threshold| so far, lowered; infinity at the start.
    spikes : ndarray, (T, M)
        Filled with 0 and 1; may be `current` itself.
    """
    charge, fire, reset, reset_slope, surrogate = neuron.equations
    leak, threshold, reset_value, attached, slope, height, one = neuron.constants(potential.dtype)
    for t in range(current.shape[0]):
        mode = basis[:, t]
        charged = charge(potential, current[t], leak, reset_value, one)
        spike = fire(charged, threshold, one)
        spike_slope = surrogate(charged - threshold, slope, height, one)
        slope_of_reset = reset_slope(charged, spike, attached * spike_slope, threshold, reset_value, one)
        traces[:] = next_trace(mode[:, None], traces, factor)
        gains += mode[:, None, None] * (spike_slope * traces)
        coefficients += mode[:, None] * spike
        margin[:] = closest_approach(margin, charged - threshold)
        factor[:] = leak * slope_of_reset
        potential[:] = reset(charged, spike, threshold, reset_value, one)
        spikes[t] = spike
