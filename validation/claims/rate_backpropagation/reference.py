"""A second run of a spiking stack in plain NumPy, with everything in it recorded, for the claims.

Written from the equations of the paper and apart from the kernels: charge, fire and reset are spelled out
here, and so is each case of f_t = dh_{t+1}/dh_t.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from refsnn.equations.surrogates import SURROGATES
from refsnn.models.contract import Parameters
from validation.nets import Case


@dataclass(frozen=True)
class LayerRecord:
    """Time series of one layer, each (T, B, n)."""

    charged: np.ndarray
    spikes: np.ndarray
    spike_slope: np.ndarray  # psi_t
    trace_factor: np.ndarray  # f_t

    def traces(self) -> np.ndarray:
        """rho_t = 1 + f_{t-1} rho_{t-1}, rho_1 = 1 (Yu 2024, Eq. 8)."""
        rho = np.ones_like(self.charged)
        for t in range(1, len(rho)):
            rho[t] = 1 + self.trace_factor[t - 1] * rho[t - 1]
        return rho


def record_run(case: Case) -> dict[str, LayerRecord]:
    """Run the stack, layer by layer, and keep everything."""
    model, parameters, inputs, _ = case.arguments
    neuron = model.neuron
    psi = SURROGATES[neuron.surrogate.shape]
    attached = 0.0 if neuron.detach_reset else 1.0
    spikes = np.stack([inputs[t] for t in range(len(inputs))])
    records = {}
    for index in model.hidden:
        current = spikes @ parameters[f"layer.{index}.weight"].T + parameters[f"layer.{index}.bias"]
        h, s = np.empty_like(current), np.empty_like(current)
        v = np.full(current.shape[1:], neuron.reset_value)
        for t in range(len(current)):
            h[t] = neuron.leak * v + current[t]
            if neuron.reset == "hard":
                h[t] += (1 - neuron.leak) * neuron.reset_value
            s[t] = h[t] >= neuron.threshold if neuron.fires == ">=" else h[t] > neuron.threshold
            if neuron.reset == "soft":
                v = h[t] - neuron.threshold * s[t]
            else:
                v = np.where(s[t] == 1, neuron.reset_value, h[t])
        slope = psi(h - neuron.threshold, neuron.surrogate.slope, neuron.surrogate.height, 1.0)
        if neuron.reset == "soft":
            factor = neuron.leak * (1 - attached * neuron.threshold * slope)
        else:
            factor = neuron.leak * ((1 - s) + attached * (neuron.reset_value - h) * slope)
        records[f"layer.{index}"] = LayerRecord(h, s, slope, factor)
        spikes = s
    return records


def adjoints(
    case: Case, records: dict[str, LayerRecord], readout_adjoint: np.ndarray
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """BPTT's delta^s_t and delta^I_t of each layer, each (T, B, n) (Yu 2024, Eq. 2 unrolled).

    `readout_adjoint` is dL/do_t, the same at every step.
    """
    model, parameters = case.model, case.parameters
    steps = len(case.inputs)
    spike_adjoint = np.repeat((readout_adjoint @ parameters["readout.weight"])[None], steps, axis=0)
    found = {}
    for index in reversed(model.hidden):
        record = records[f"layer.{index}"]
        current_adjoint = np.empty_like(spike_adjoint)
        later = np.zeros_like(spike_adjoint[0])
        for t in reversed(range(steps)):
            later = spike_adjoint[t] * record.spike_slope[t] + record.trace_factor[t] * later
            current_adjoint[t] = later
        found[f"layer.{index}"] = spike_adjoint, current_adjoint
        spike_adjoint = current_adjoint @ parameters[f"layer.{index}.weight"]
    return found


def rate_backward(
    case: Case,
    rates: Mapping[str, np.ndarray],
    slopes: Mapping[str, np.ndarray],
    readout_adjoint: np.ndarray,
) -> Parameters:
    """One pass down the averaged network of a stack (Yu 2024, Eqs. 3 and 7), with any rates and slopes."""
    adjoint, gradients = readout_adjoint, {}
    for name, below in reversed(list(zip([*slopes, "readout"], rates, strict=True))):
        gradients[f"{name}.weight"] = adjoint.T @ rates[below]
        gradients[f"{name}.bias"] = adjoint.sum(axis=0)
        if below != "input":
            adjoint = slopes[below] * (adjoint @ case.parameters[f"{name}.weight"])
    return {name: gradients[name] for name in case.parameters}
