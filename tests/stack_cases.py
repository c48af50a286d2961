"""Random live spiking stacks for the tests of algorithms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import assume, event, note
from hypothesis import strategies as st
from spiking_cases import ALL_VARIANTS

from refsnn.algorithms.bptt import bptt
from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.spiking_stack import DenseSpikingStack


@dataclass(frozen=True)
class Network:
    """A stack with all that an algorithm takes."""

    stack: DenseSpikingStack
    parameters: dict[str, np.ndarray]
    inputs: np.ndarray
    targets: np.ndarray

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.stack, self.parameters, self.inputs, self.targets

    @property
    def steps(self) -> int:
        return len(self.inputs)


def make(
    seed: int,
    widths: tuple[int, ...] = (4, 6, 5, 3),
    steps: int = 5,
    batch: int = 3,
    neuron: SpikingNeuron | None = None,
    loss_function: str = "cross_entropy",
    gain: float = 2.5,
    bias_mean: float = 0.3,
    dtype: type = np.float64,
) -> Network:
    """A random network; not necessarily a live one."""
    rng = np.random.default_rng(seed)
    stack = DenseSpikingStack(widths, neuron or SpikingNeuron(leak=0.7), loss_function)
    parameters = stack.initialise(rng, dtype, gain, bias_mean, 0.3)
    inputs = rng.random((steps, batch, widths[0])).astype(dtype)
    if loss_function == "cross_entropy":
        targets = rng.integers(0, widths[-1], batch)
    else:
        targets = rng.standard_normal((batch, widths[-1])).astype(dtype)
    return Network(stack, parameters, inputs, targets)


def is_live(network: Network) -> bool:
    """Every layer fires with a rate in (0.05, 0.95), no potential at the threshold, no gradient zero."""
    result = bptt(*network.arguments, backend="plain")
    rates, margin = result.diagnostics.spike_rates.values(), result.diagnostics.margin
    return (
        all(0.05 < rate < 0.95 for rate in rates)
        and (margin is None or margin > 1e-9)
        and all(np.abs(gradient).max() > 1e-5 for gradient in result.gradients.values())
    )


@st.composite
def networks(
    draw: st.DrawFn,
    hidden: tuple[int, int] = (1, 3),
    max_width: int = 5,
    min_steps: int = 2,
    max_steps: int = 6,
) -> Network:
    """Live networks of any neuron and loss, drawn by shape and seed."""
    depth = draw(st.integers(*hidden))
    widths = tuple(draw(st.lists(st.integers(2, max_width), min_size=depth + 2, max_size=depth + 2)))
    reset, fires, shape = draw(st.sampled_from(ALL_VARIANTS))
    neuron = SpikingNeuron(
        leak=draw(st.floats(0.2, 1.0)),
        threshold=draw(st.sampled_from([1.0, 0.6, 1.7])),
        reset=reset,
        reset_value=draw(st.sampled_from([0.0, -0.2])) if reset == "hard" else 0.0,
        detach_reset=draw(st.booleans()),
        fires=fires,
        surrogate=Surrogate(shape, slope=draw(st.floats(0.3, 1.5)), height=draw(st.floats(0.3, 1.0))),
    )
    seed = draw(st.integers(0, 2**32 - 1))
    note(f"seed {seed}")
    steps, batch = draw(st.integers(min_steps, max_steps)), draw(st.integers(1, 3))
    loss_function = draw(st.sampled_from(["cross_entropy", "mean_squared_error"]))
    for gain in (2.5, 1.5, 4.0, 6.0):
        network = make(seed, widths, steps, batch, neuron, loss_function, gain * neuron.threshold)
        if is_live(network):
            event(f"{reset}, detached: {neuron.detach_reset}, {loss_function}")
            return network
    event("dead")
    assume(False)
    raise AssertionError


def assert_gradients_agree(found: dict[str, Any], expected: dict[str, Any], relative: float = 1e-11) -> None:
    """Leaf by leaf: same names, shapes and dtypes, and numbers relative to the leaf's largest."""
    assert list(found) == list(expected)
    for name, value in expected.items():
        assert (found[name].shape, found[name].dtype) == (value.shape, value.dtype), name
        scale = np.abs(value).max()
        assert scale > 0, f"{name}: nothing to compare"
        error = np.abs(found[name] - value).max() / scale
        assert error <= relative, f"{name}: off by {error:.1e} of its largest entry"


def largest_difference(found: dict[str, Any], expected: dict[str, Any], name: str) -> float:
    """Of one leaf, relative to its largest entry."""
    return float(np.abs(found[name] - expected[name]).max() / np.abs(expected[name]).max())
