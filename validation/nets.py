"""Random spiking networks that are alive, and the measures in which gradients are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refsnn.algorithms.bptt import bptt
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import Parameters, StaticInput
from refsnn.models.spiking_stack import DenseSpikingStack
from refsnn.models.spiking_structure import Inputs
from validation.ledger import VacuousError

LIVE = (0.05, 0.95)

RESETS = (
    SpikingNeuron(reset="soft", detach_reset=True),
    SpikingNeuron(reset="soft", detach_reset=False),
    SpikingNeuron(reset="hard", detach_reset=True, reset_value=-0.1),
    SpikingNeuron(reset="hard", detach_reset=False, reset_value=-0.1),
)


@dataclass(frozen=True)
class Case:
    """A network with parameters, input and labels, ready for any algorithm."""

    model: DenseSpikingStack
    parameters: Parameters
    inputs: Inputs
    targets: np.ndarray

    @property
    def arguments(self) -> tuple[DenseSpikingStack, Parameters, Inputs, np.ndarray]:
        return self.model, self.parameters, self.inputs, self.targets

    def with_neuron(self, **changes: Any) -> Case:
        """The same parameters and input with another neuron."""
        neuron = replace(self.model.neuron, **changes)
        return replace(self, model=replace(self.model, neuron=neuron))

    def with_inputs(self, inputs: Inputs) -> Case:
        return replace(self, inputs=inputs)


def live_case(
    rng: np.random.Generator,
    hidden: tuple[int, ...] = (24, 24, 24),
    neuron: SpikingNeuron | None = None,
    steps: int = 6,
    static: bool = True,
    batch: int = 16,
    inputs: int = 64,
    classes: int = 10,
    gain: tuple[float, float] = (2.0, 2.5),
    rates: tuple[float, float] = LIVE,
) -> Case:
    """A random stack in which every layer fires, drawn again until it does.

    Inputs are uniform in (0, 1), the same at every step (`static`), or Bernoulli spikes of such rates,
    fresh each step.  Weights N(0, gain^2 / n_in), biases N(0.3, 0.1^2), both in units of the threshold.

    Raises
    ------
    VacuousError
        If no live network was found in 100 tries.
    """
    model = DenseSpikingStack((inputs, *hidden, classes), neuron or SpikingNeuron())
    for _ in range(100):
        unit = model.neuron.threshold  # currents are measured in thresholds
        parameters = model.initialise(
            rng, gain=unit * rng.uniform(*gain), bias_mean=0.3 * unit, bias_deviation=0.1 * unit
        )
        rate = rng.random((batch, inputs))
        sequence = (
            StaticInput(rate, steps) if static else (rng.random((steps, batch, inputs)) < rate).astype(float)
        )
        case = Case(model, parameters, sequence, rng.integers(classes, size=batch))
        fired = bptt(*case.arguments).diagnostics.spike_rates.values()
        if all(rates[0] < value < rates[1] for value in fired):
            return case
    raise VacuousError(f"no network of {model.widths} with rates in {rates} in 100 tries")


def relative_errors(
    gradients: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """||a - b|| / ||b||, each parameter alone.

    Raises
    ------
    VacuousError
        If a reference is (nearly) zero: nothing could be learned from it.
    """
    errors = {}
    for name, truth in reference.items():
        size = float(np.linalg.norm(truth))
        if size < 1e-12:
            raise VacuousError(f"the reference gradient of {name} is {size:.1e}")
        errors[name] = float(np.linalg.norm(gradients[name] - truth)) / size
    return errors


def worst_error(gradients: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> float:
    """The largest of `relative_errors`."""
    return max(relative_errors(gradients, reference).values())


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """cos of the angle between two arrays, flattened."""
    return float((a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b)))


def flat(gradients: Mapping[str, np.ndarray]) -> np.ndarray:
    """All gradients as one vector (for a cosine over the whole network, never for a test of equality)."""
    return np.concatenate([array.ravel() for array in gradients.values()])
