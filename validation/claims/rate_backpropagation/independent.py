"""5.2: the rate Jacobian and the BPTT gradient, each computed in independent ways."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.algorithms.forward_mode import rtrl
from refsnn.algorithms.rate_backpropagation import simulate
from refsnn.equations.spiking import SpikingNeuron, next_trace
from refsnn.equations.surrogates import SMOOTH_SPIKES
from refsnn.oracles.affine_spike import affine_spike_gradient
from refsnn.oracles.brute_force import neuron_jacobian
from validation.claims.rate_backpropagation.equalities import SMOOTH, random_neuron
from validation.claims.rate_backpropagation.reference import record_run
from validation.ledger import Measured, claim, require
from validation.nets import RESETS, Case, live_case, worst_error

COMPLEX_STEP, DIFFERENCE = 1e-30, 1e-6


def smooth_run(neuron: SpikingNeuron, current: Any, frozen: np.ndarray | None = None) -> tuple[Any, Any]:
    """Charged potentials and smooth spikes; `frozen` spikes take their place in a detached reset."""
    leak, threshold, reset_value, attached, slope, height, one = neuron.constants(np.float64)
    spike_function = SMOOTH_SPIKES[neuron.surrogate.shape]
    charged, spikes = np.empty_like(current), np.empty_like(current)
    potential = np.full(current.shape[1:], reset_value, current.dtype)
    for t in range(len(current)):
        charged[t] = neuron.equations.charge(potential, current[t], leak, reset_value, one)
        spikes[t] = spike_function(charged[t] - threshold, slope, height, one)
        in_reset = spikes[t] if attached or frozen is None else frozen[t]
        potential = neuron.equations.reset(charged[t], in_reset, threshold, reset_value, one)
    return charged, spikes


def rate_jacobian(
    neuron: SpikingNeuron, charged: np.ndarray, spikes: np.ndarray, reset_slope: Callable
) -> np.ndarray:
    """g_T by the forward trace (Yu 2024, Eqs. 8 and 9)."""
    leak, threshold, reset_value, attached, slope, height, one = neuron.constants(np.float64)
    trace, total = np.ones_like(charged[0]), np.zeros_like(charged[0])
    for h, s in zip(charged, spikes, strict=True):
        psi = neuron.equations.surrogate(h - threshold, slope, height, one)
        total += psi * trace
        trace = next_trace(one, trace, leak * reset_slope(h, s, attached * psi, threshold, reset_value, one))
    return total / len(charged)


def brute_force_slopes(case: Case) -> dict[str, np.ndarray]:
    """g_T: the sum over every neuron's dense T x T Jacobian, over T."""
    slopes = {}
    for name, record in record_run(case).items():
        steps, *shape = record.charged.shape
        jacobian = neuron_jacobian(case.model.neuron, record.charged.reshape(steps, -1))
        slopes[name] = jacobian.sum(axis=(0, 1)).reshape(shape) / steps
    return slopes


@claim(
    "rate_backpropagation/5.2",
    r"$g_T$ is the response of a neuron's mean output to a current that is constant in time: with a smooth spike "
    r"function, $g_T=\partial_h\mathbb E_t[s_t]$ by complex step. The kernels' $g_T$ is the mean of each neuron's dense "
    r"$T\times T$ Jacobian. BPTT is the derivative of the affine-spike network, "
    r"and forward mode gives the same.",
    source="Yu 2024, Eqs. 2, 5-9",
    metric=r"largest relative error of $g_T$ to the complex step, four resets, three neurons each",
    relation="<=",
    bound=1e-14,
    control=r"$g_T$ without the reset's share in $f_t$",
)
def independent_ways(rng: np.random.Generator) -> Measured:
    values, controls, details = [], [], {}
    for base in RESETS * 3:
        neuron = random_neuron(rng, base, SMOOTH)
        if neuron.surrogate.shape == "gaussian":  # its integral, the error function, is not among the spikes
            neuron = replace(neuron, surrogate=replace(neuron.surrogate, shape="sigmoid"))
        current = rng.normal(0.5, 0.7, (8, 40))
        charged, spikes = smooth_run(neuron, current)
        shifted = smooth_run(neuron, current + 1j * COMPLEX_STEP, spikes)[1]
        truth = {"slopes": np.imag(shifted).mean(axis=0) / COMPLEX_STEP}
        found = rate_jacobian(neuron, charged, spikes, neuron.equations.reset_slope)
        values.append(worst_error({"slopes": found}, truth))
        without = rate_jacobian(neuron, charged, spikes, lambda h, s, k, th, r, one: one)
        constant = neuron.reset == "soft" and neuron.detach_reset  # f_t = leak: the reset has no share
        controls += [] if constant else [worst_error({"slopes": without}, truth)]

        up, down = (smooth_run(neuron, current + h, spikes)[1] for h in (DIFFERENCE, -DIFFERENCE))
        central = {"slopes": (up - down).mean(axis=0) / (2 * DIFFERENCE)}
        error = worst_error({"slopes": found}, central)
        details["g to central differences"] = max(details.get("g to central differences", 0.0), error)
    require(details["g to central differences"] <= 1e-8, f"central differences disagree: {details}")

    for base in RESETS:
        case = live_case(
            rng, (6, 5), random_neuron(rng, base, SMOOTH), static=False, batch=3, inputs=7, classes=4
        )
        through_time = bptt(*case.arguments).gradients
        brute, kernel = brute_force_slopes(case), {}
        for backend in ("cpu", "plain"):
            record = simulate(case.model, case.parameters, case.inputs, backend=backend)
            kernel[backend] = worst_error(record.slopes, brute)
        require(max(kernel.values()) <= 1e-12, f"g of the kernels against brute force: {kernel}")
        details["g of the kernels to brute force"] = max(kernel.values())
        for name, truth in (
            ("BPTT to the affine-spike oracle", affine_spike_gradient(*case.arguments)),
            ("BPTT to forward mode", rtrl(*case.arguments).gradients),
        ):
            error = worst_error(through_time, truth)
            require(error <= 1e-12, f"{name}: {error:.1e}")
            details[name] = max(details.get(name, 0.0), error)
    return Measured(max(values), min(controls), details)
