"""What `cuda_benchmark` runs of recurrent layers: cells, losses, and the spiking layer, in float32."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.kernels import recurrent_kernels, recurrent_spiking_kernels
from validation.cuda_workload import SPIKING_BOUND, Case, Sizes, kernel_case

# tanh, exp and log differ in the last places; nothing but a loss is summed
CELL_BOUND = 2e-5
CLASSES = 10
NEURON = SpikingNeuron(0.9, detach_reset=False, surrogate=Surrogate("triangle", 1.0, 0.3))
READOUT_LEAK = np.float32(0.8)


def drawn(rng: np.random.Generator, *shape: int, scale: float = 0.5) -> np.ndarray:
    """Normal numbers; with the default scale gates do not saturate."""
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def cell_cases(sizes: Sizes) -> Iterator[Case]:
    """One step of tanh units, LSTM and GRU, forward and backward."""
    rng, plain = np.random.default_rng(3), recurrent_kernels("plain")
    case = partial(kernel_case, recurrent_kernels, bound=CELL_BOUND)
    batch, n = sizes.batch, sizes.units
    one, three, four = (drawn(rng, batch, count * n) for count in (1, 3, 4))
    past, adjoint, cell_adjoint = (drawn(rng, batch, n) for _ in range(3))
    recurrent = drawn(rng, batch, 4 * n)

    hidden, bias = np.empty_like(one), drawn(rng, n)
    plain.tanh_forward(one, past, bias, hidden)
    yield case("tanh_forward", read=(one, past, bias), filled=[one])
    yield case("tanh_backward", read=(hidden, adjoint), filled=[one])

    gates, cell, bias = np.empty_like(four), np.empty_like(one), drawn(rng, 4 * n)
    plain.lstm_gates(four, recurrent, bias, past, gates, cell)
    yield case("lstm_gates", read=(four, recurrent, bias, past), filled=[four, one])
    yield case("lstm_hidden", read=(gates, cell), filled=[one])
    read = gates, cell, past, adjoint
    yield case("lstm_backward", read=read, updated=[cell_adjoint], filled=[four])

    gates, recurrent, biases = np.empty_like(four), drawn(rng, batch, 3 * n), drawn(rng, 2, 3 * n)
    plain.gru_gates(three, recurrent, *biases, gates)
    yield case("gru_gates", read=(three, recurrent, *biases), filled=[four])
    yield case("gru_hidden", read=(gates, past), filled=[one])
    yield case("gru_backward", read=(gates, past), updated=[adjoint], filled=[three, three])


def loss_cases(sizes: Sizes) -> Iterator[Case]:
    """Both losses of a read-out, of as many samples as there are spiking neurons."""
    rng, samples = np.random.default_rng(4), sizes.neurons
    case = partial(kernel_case, recurrent_kernels, bound=CELL_BOUND)
    outputs, targets = drawn(rng, samples, CLASSES, scale=2.0), drawn(rng, samples, CLASSES)
    weights = rng.uniform(0.5, 2, samples).astype(np.float32)
    yield case("squared_error", read=(outputs, targets, weights), filled=[outputs])
    labels = rng.integers(0, CLASSES, samples)
    yield case("cross_entropy", read=(outputs, labels, weights), filled=[outputs])


def recurrent_spiking_cases(sizes: Sizes) -> Iterator[Case]:
    """All steps forward, potentials and read-outs bit for bit, and one step back."""
    rng, batch, n, inputs = np.random.default_rng(5), sizes.batch, sizes.units, sizes.inputs
    neuron = NEURON.equations, NEURON.constants(np.dtype(np.float32))
    x = drawn(rng, sizes.steps, batch, inputs, scale=1.0)
    into, back = drawn(rng, n, inputs, scale=inputs**-0.5), drawn(rng, n, n, scale=n**-0.5)
    out, bias, out_bias = drawn(rng, CLASSES, n, scale=n**-0.5), drawn(rng, n), drawn(rng, CLASSES)
    into_t, back_t, out_t = (np.ascontiguousarray(weight.T) for weight in (into, back, out))
    before, readout = drawn(rng, batch, n, scale=1.0), drawn(rng, batch, CLASSES)
    scratch = np.empty(4 * batch * n + n * max(n, inputs, CLASSES) + CLASSES, np.float32)

    run = kernel_case(
        recurrent_spiking_kernels, "spiking_forward", 0.0,
        (*neuron, x, 1, sizes.steps, into_t, back_t, bias, out_t, out_bias, READOUT_LEAK),
        [before, readout], scratch=scratch,
    )  # fmt: skip

    def forward(backend: str) -> list[np.ndarray]:
        potential, outputs = run.call(backend)
        return [potential, outputs, (potential >= NEURON.threshold).astype(np.float32)]  # neurons that fire

    yield Case(run.name, run.bound, forward, forward)
    after, outputs, _ = forward("plain")
    adjoints = [drawn(rng, *state.shape) for state in (before, readout)]
    gradients = [np.zeros_like(array) for array in (into, back, bias, out, out_bias)]
    yield kernel_case(
        recurrent_spiking_kernels, "spiking_backward", SPIKING_BOUND,
        (*neuron, x[-1], before, after, outputs, into, back, out, READOUT_LEAK),
        [*adjoints, *gradients], [x[-1]], scratch=scratch,
    )  # fmt: skip
