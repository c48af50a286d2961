"""What `cuda_benchmark` runs of adaptive neurons, in float32: forward, back, and the delay line alone."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from refsnn.kernels.adaptive import Cotangents
from refsnn.models.adaptive.core import ADJOINT_NAMES, AVERAGE, POTENTIAL
from refsnn.models.adaptive.delays import Delays
from refsnn.models.adaptive.network import AdaptiveSpikingNetwork
from refsnn.models.adaptive.neuron import NEURON_PARAMETERS, AdaptiveNeuron
from refsnn.models.adaptive.run import Run
from refsnn.models.adaptive.windows import WindowTargets
from validation.cuda_workload import SPIKING_BOUND, Case, Sizes

CLASSES, SLOTS, INPUT_RATE = 10, 4, 0.2


def adaptive_cases(sizes: Sizes) -> Iterator[Case]:
    """All steps forward, bit for bit, all steps back with every gradient, and what spikes leave behind."""
    rng, steps, batch, n = np.random.default_rng(6), sizes.steps, sizes.batch, sizes.units
    neuron = AdaptiveNeuron(0.9, 0.95, baseline=0.1, adaptation_strength=0.5, refractory=1)
    network = AdaptiveSpikingNetwork(
        (sizes.inputs, n, CLASSES), neuron=neuron, delays=Delays.uniform(rng, SLOTS, sizes.inputs, n),
        trained=NEURON_PARAMETERS,
    )  # fmt: skip
    parameters = network.initialise(rng, np.float32, gain=2.0)
    inputs = (rng.random((steps, batch, sizes.inputs)) < INPUT_RATE).astype(np.float32)
    checked = network.check(parameters, inputs, WindowTargets([1], [steps - 1], np.zeros((1, batch), int)))
    state = network.initial_state(parameters, batch)
    state[POTENTIAL] = rng.normal(0.1, 0.1, (batch, n)).astype(np.float32)
    shapes = network.adjoint_shapes(batch)
    adjoint = {name: rng.standard_normal(shapes[name]).astype(np.float32) for name in ADJOINT_NAMES}
    by_averages, rates = rng.standard_normal((1, batch, n)).astype(np.float32), np.ones(n, np.float32)
    nothing = np.zeros((0, batch, n), np.float32)

    @functools.cache
    def prepared(backend: str) -> Run:
        core = network.working_core(*checked, backend=backend)
        run = Run(core, core.windows)
        run.forward(state)
        return run

    def forward(backend: str) -> list[np.ndarray]:
        run = prepared(backend)
        run.margin[0] = np.inf
        run.forward(state)
        spikes, potential, adaptation, _ = run.states
        rest = run.arrived, run.currents, run.trace, run.average, run.averages, run.margin
        return [array.copy() for array in (spikes, potential, adaptation, *rest)]

    def backward(backend: str) -> list[np.ndarray]:
        run, by_state = prepared(backend), {name: array.copy() for name, array in adjoint.items()}
        by_inputs = np.zeros_like(inputs)
        for total in run.core.sums[:3]:
            total[...] = 0
        run.backward(by_state, Cotangents(nothing, nothing, nothing, by_averages, rates), by_inputs)
        del by_state[AVERAGE]  # 0 before the step at which a window begins
        return [*by_state.values(), by_inputs, *(total.copy() for total in run.core.sums[:3])]

    def transmit(backend: str) -> list[np.ndarray]:
        run = prepared(backend)
        currents, wiring = np.zeros_like(run.currents), run.core.wiring
        run.core.kernel.transmit(run.heard, wiring.into, wiring.back, run.states.spikes[:-1], currents)
        return [currents]

    yield Case("adaptive.adaptive_forward", 0.0, forward, forward)
    yield Case("adaptive.adaptive_backward", SPIKING_BOUND, backward, backward)
    yield Case("adaptive.transmit", 0.0, transmit, transmit)
