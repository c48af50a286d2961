"""The affine-spike oracle: a surrogate gradient that is the true derivative of a polynomial.

The derivative of a binary spike is zero almost everywhere, so no differencing can check a surrogate
gradient on the network itself.  Run it once and keep h0 and s0.  Run the same recursion again with

    s_t = s0_t + psi(h0_t) (h_t - h0_t),

and with s0_t in the reset where that is detached.  At the nominal parameters nothing changes; away from
them the network is polynomial, and its derivative there is the surrogate gradient.  The complex step takes
it to the last digit.  Shared with what it checks: the forward equations and psi.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.models.contract import Parameters
from refsnn.models.losses import LOSSES
from refsnn.models.spiking_stack import DenseSpikingStack

_STEP = 1e-30


def affine_spike_gradient(
    model: DenseSpikingStack, parameters: Parameters, inputs: Any, targets: Any
) -> Parameters:
    """Surrogate gradient of a spiking stack by the complex step through affine spikes.

    Parameters
    ----------
    model : DenseSpikingStack
        The network; small, for every parameter is a run of its own.
    parameters, inputs, targets
        As in `refsnn.algorithms.bptt.bptt`, float64.

    Returns
    -------
    dict of str to ndarray
        Gradients keyed like the parameters.

    Raises
    ------
    TypeError, ValueError
        For arguments of wrong kind, shape or range.

    Examples
    --------
    >>> from refsnn.algorithms.bptt import bptt
    >>> stack = DenseSpikingStack((2, 3, 2))
    >>> rng = np.random.default_rng(0)
    >>> arguments = stack.initialise(rng, gain=3.0), rng.random((4, 1, 2)), [1]
    >>> truth = affine_spike_gradient(stack, *arguments)["layer.1.weight"]
    >>> bool(np.allclose(bptt(stack, *arguments).gradients["layer.1.weight"], truth, rtol=1e-12))
    True
    """
    parameters, inputs, targets = model.check(parameters, inputs, targets)
    if parameters["readout.bias"].dtype != np.float64:
        raise TypeError(
            "parameters: expected float64, got float32; an oracle needs all its digits, cast them up"
        )
    nominal: list[dict[int, tuple[np.ndarray, np.ndarray]]] = []
    _run(model, parameters, inputs, targets, nominal)
    gradients = {}
    for name, value in parameters.items():
        # one imaginary step an entry, along a leading axis of runs
        steps = 1j * _STEP * np.eye(value.size).reshape(value.size, *value.shape)
        losses = _run(model, parameters | {name: value + steps}, inputs, targets, nominal)
        gradients[name] = (np.imag(losses) / _STEP).reshape(value.shape)
    return gradients


def _run(
    model: DenseSpikingStack,
    parameters: Parameters,
    inputs: Any,
    targets: np.ndarray,
    nominal: list[dict[int, tuple[np.ndarray, np.ndarray]]],
) -> np.ndarray:
    """The stack's recursion; records h0 and s0 where `nominal` is empty, else runs with affine spikes."""
    leak, threshold, reset_value, attached, slope, height, one = model.neuron.constants(np.float64)
    charge, fire, reset, _, surrogate = model.neuron.equations
    record = not nominal
    potentials: dict[int, Any] = dict.fromkeys(model.hidden, reset_value)
    total: Any = 0.0
    for t in range(len(inputs)):
        spikes = inputs[t]
        if record:
            nominal.append({})
        for index in model.hidden:
            weight, bias = parameters[f"layer.{index}.weight"], parameters[f"layer.{index}.bias"]
            current = spikes @ np.swapaxes(weight, -1, -2) + bias[..., None, :]
            charged = charge(potentials[index], current, leak, reset_value, one)
            if record:
                nominal[t][index] = charged, fire(charged, threshold, one)
            nominal_charged, nominal_spikes = nominal[t][index]
            psi = surrogate(nominal_charged - threshold, slope, height, one)
            spikes = nominal_spikes + psi * (charged - nominal_charged)
            in_reset = spikes if attached else nominal_spikes
            potentials[index] = reset(charged, in_reset, threshold, reset_value, one)
        weight, bias = parameters["readout.weight"], parameters["readout.bias"]
        total = total + spikes @ np.swapaxes(weight, -1, -2) + bias[..., None, :]
    return LOSSES[model.loss_function][0](total / len(inputs), targets)
