"""Small recurrent networks that are alive, a BPTT that keeps every block of a core, and sums over steps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.recurrent import (
    GatedRecurrentUnit,
    LongShortTermMemory,
    RecurrentSpikingLayer,
    TanhNetwork,
)
from refsnn.models.sequences import StepTargets

TRIANGLE = Surrogate("triangle", slope=0.8, height=0.4)
SMOOTH = {
    "tanh": TanhNetwork((2, 4, 3)),
    "tanh, two layers": TanhNetwork((2, 4, 3, 2)),
    "tanh, dropout": TanhNetwork((2, 4, 3, 2), dropout=0.4, dropout_seed=5),
    "lstm": LongShortTermMemory((2, 3, 3)),
    "lstm, two layers": LongShortTermMemory((2, 3, 2, 2)),
    "gru": GatedRecurrentUnit((2, 3, 3)),
    "gru, two layers": GatedRecurrentUnit((2, 3, 2, 2)),
}
SPIKING = {
    "attached": RecurrentSpikingLayer(
        (2, 6, 3), neuron=SpikingNeuron(0.8, detach_reset=False, surrogate=TRIANGLE)
    ),
    "detached": RecurrentSpikingLayer(
        (2, 6, 3), neuron=SpikingNeuron(0.8, detach_reset=True, surrogate=TRIANGLE)
    ),
    "fast sigmoid": RecurrentSpikingLayer(
        (2, 6, 3),
        neuron=SpikingNeuron(
            0.9, threshold=0.7, detach_reset=False, fires=">", surrogate=Surrogate("fast_sigmoid", 1.5, 0.8)
        ),
        readout_leak=0.5,
    ),
}
ALL = SMOOTH | SPIKING
LOSSES = ("cross_entropy", "mean_squared_error")


def problem(network, steps=6, batch=3, seed=0, dtype=np.float64, loss=None):
    """The network with that loss, parameters, inputs, and targets with random weights at each step."""
    rng = np.random.default_rng(seed)
    network = network if loss is None else replace(network, loss_function=loss)
    parameters = network.initialise(rng, gain=2.0)
    for name, value in parameters.items():
        value += 0.1 * rng.standard_normal(value.shape)
        parameters[name] = value.astype(dtype)
    inputs = rng.standard_normal((steps, batch, network.widths[0])).astype(dtype)
    outputs = network.widths[-1]
    if network.loss_function == "cross_entropy":
        values = rng.integers(0, outputs, (steps, batch))
    else:
        values = rng.standard_normal((steps, batch, outputs)).astype(dtype)
    return (
        network,
        parameters,
        inputs,
        StepTargets(values, rng.uniform(0.5, 1.5, (steps, batch)).astype(dtype)),
    )


def state_of(network, batch=3, seed=7, dtype=np.float64):
    """A start or an adjoint that is not zero; potentials on both sides of the threshold."""
    rng = np.random.default_rng(seed)
    return {n: rng.normal(0.5, 0.7, s).astype(dtype) for n, s in network.state_shapes(batch).items()}


def keep_all(core, state=None, adjoint=None):
    """BPTT with all blocks kept; every state after a step is made again from its tape."""
    core.start(state)
    kept = []
    for step in range(1, core.steps + 1):
        core.forward(step)
        kept.append((core.before.memory.copy(), core.after.memory.copy(), core.tape.memory.copy()))
        np.copyto(core.before.memory, core.after.memory)
    core.seed(adjoint)
    for step in range(core.steps, 0, -1):
        before, after, tape = kept.pop()
        core.after.memory.fill(77)
        core.before.memory.fill(99)  # the state after the step must come from the tape alone
        np.copyto(core.tape.memory, tape)
        core.recover(step)
        np.testing.assert_array_equal(core.after.memory, after)
        np.copyto(core.before.memory, before)
        core.backward(step)
    return core


def pulled_back(network, parameters, inputs, targets, backend="cpu", state=None, adjoint=None):
    """`keep_all` of a problem that goes through the door; dL/dx and dL/dh_0 too."""
    core = network.working_core(
        *network.check(parameters, inputs, targets), backend=backend, input_gradients=True
    )
    return keep_all(core, state, adjoint)


def leaves(core):
    """All that a run found: gradients of parameters, inputs and the start."""
    start = {f"start.{name}": value for name, value in core.initial_gradients().items()}
    return core.gradients | start | {"inputs": core.input_gradients}


def assert_close(found, expected, relative, dead=()):
    """Leaf by leaf, relative to the largest entry; only what is named may be zero."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name].shape, found[name].dtype) == (value.shape, value.dtype), name
        largest = np.abs(value).max()
        assert (largest == 0) == (name in dead), f"{name}: largest entry {largest}"
        error = np.abs(found[name] - value).max() / (largest or 1)
        assert error <= relative, f"{name}: off by {error:.1e} of its largest entry, allowed {relative:.0e}"
