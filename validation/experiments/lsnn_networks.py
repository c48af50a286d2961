"""Networks of the LSNN experiments: LIF neurons first, adaptive ones after them."""

from __future__ import annotations

from typing import Any

import numpy as np

from refsnn.equations.surrogates import Surrogate
from refsnn.models.adaptive.delays import Delays
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import AdaptiveNeuron


def lsnn(
    widths: tuple[int, int, int],
    adaptive: int,
    rng: np.random.Generator,
    *,
    membrane: float = 20.0,
    adaptation: Any = 700.0,
    strength: float = 1.8,
    delay_slots: int = 10,
    refractory: int = 5,
    dampening: float = 0.3,
    scheme: str = "official",
    time_step: float = 1.0,
    readout_time: float = 20.0,
    readout_bias: bool = True,
    loss_function: str = "cross_entropy",
) -> AdaptiveSpikingNetwork:
    """A network whose last `adaptive` neurons adapt; with 0 it is a plain LIF network of the same size.

    Parameters
    ----------
    widths : tuple of int
        Inputs, neurons, outputs.
    adaptive : int
        How many neurons adapt.
    rng : numpy.random.Generator
        Draws the delays.
    membrane, adaptation, readout_time, time_step : float
        tau_m, tau_a (one or one for each neuron), tau_out and delta in ms.
    strength, dampening : float
        beta of adaptive neurons, and gamma.
    delay_slots, refractory : int
        D and R, in steps.
    scheme, readout_bias, loss_function
        As of the network.

    Returns
    -------
    AdaptiveSpikingNetwork
    """
    inputs, neurons, _ = widths
    neuron = AdaptiveNeuron.of_time_constants(
        membrane,
        adaptation,
        time_step=time_step,
        adaptation_strength=(0.0,) * (neurons - adaptive) + (strength,) * adaptive,
        refractory=refractory,
        scheme=scheme,
        surrogate=Surrogate("triangle", 1.0, dampening),
    )
    return AdaptiveSpikingNetwork(
        widths,
        loss_function,
        neuron=neuron,
        delays=Delays.uniform(rng, delay_slots, inputs, neurons),
        readout_decay=float(np.exp(-time_step / readout_time)),
        readout_bias=readout_bias,
    )
