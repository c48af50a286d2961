"""One layer, one sequence, one upstream gradient: a piece of work that every library can be given.

Input spikes (T, B, N), a dense weight without bias, leaky neurons that reset in the same step, and dL/ds.
Asked for are the spikes, dL/dW and dL/dx.  Two libraries do the same work only if they give the same: that
is looked at before any time is taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sqrt
from typing import Any, NamedTuple

import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from refsnn.equations.surrogates import Surrogate
from refsnn.models.spiking_layer import spiking_layer_backward, spiking_layer_forward
from validation.ledger import require

NEURON = SpikingNeuron(
    leak=0.9, threshold=1.0, reset="soft", detach_reset=True, surrogate=Surrogate("arctan", pi, 1.0)
)
INPUT_RATE = 0.1
WEIGHT_GAIN = 1.6  # standard deviation of the weights times sqrt(N); neurons then fire at a rate of 0.075

# Weights stand on this grid: a sum of them over spikes is exact in float32, so that the currents, and with
# them the spikes, do not depend on the order in which a BLAS adds.
_GRID = 2.0**-16

# Gradients in float32 are sums of up to T B rounded terms; relative to the largest entry of the array.
FLOAT32_BOUND = 1e-5


@dataclass(frozen=True)
class Workload:
    """What is given.

    Attributes
    ----------
    inputs : ndarray, (T, B, N)
        Spikes x.
    weight : ndarray, (N, N)
        W, so that the current is W x.
    upstream : ndarray, (T, B, N)
        dL/ds.
    """

    inputs: np.ndarray
    weight: np.ndarray
    upstream: np.ndarray

    @property
    def unit(self) -> int:
        """Bytes of one float32 array (T, B, N), the unit of memory."""
        return self.inputs.size * 4

    def astype(self, dtype: Any) -> Workload:
        """The same numbers in another dtype."""
        return Workload(self.inputs.astype(dtype), self.weight.astype(dtype), self.upstream.astype(dtype))


def draw(seed: int, steps: int = 100, batch: int = 32, width: int = 512) -> Workload:
    """Draw a workload in float32.

    Parameters
    ----------
    seed : int
        The same seed draws the same work.
    steps, batch, width : int
        T, B, N.

    Returns
    -------
    Workload
        Input spikes at `INPUT_RATE`, normal weights, a standard normal upstream gradient.
    """
    rng = np.random.default_rng(seed)
    inputs = rng.random((steps, batch, width)) < INPUT_RATE
    weight = rng.standard_normal((width, width)) * WEIGHT_GAIN / sqrt(width)
    upstream = rng.standard_normal((steps, batch, width))
    return Workload(inputs, np.round(weight / _GRID) * _GRID, upstream).astype(np.float32)


class Outcome(NamedTuple):
    """What is asked for: spikes, dL/dW and dL/dx, NumPy arrays of the workload's shapes."""

    spikes: np.ndarray
    weight: np.ndarray
    inputs: np.ndarray


def run_layer(workload: Workload, backend: str, neuron: SpikingNeuron = NEURON) -> Outcome:
    """Forward and backward through refsnn's layer; the potentials are used up by the gradient."""
    inputs, weight, upstream = workload.inputs, workload.weight, workload.upstream
    spikes, charged = spiking_layer_forward(neuron, weight, None, inputs, backend)
    gradients = spiking_layer_backward(
        neuron, weight, None, inputs, charged, upstream, backend, overwrite_charged=True
    )
    return Outcome(spikes, gradients.weight, gradients.inputs)


class Floor:
    """The three matrix products alone, into memory that is there already; a dense layer needs them all."""

    def __init__(self, workload: Workload) -> None:
        width = workload.weight.shape[0]
        self.weight = workload.weight
        self.inputs = workload.inputs.reshape(-1, width)
        self.gradient = workload.upstream.reshape(-1, width)  # any dense (T B, N) stands in for dL/dI
        self.current, self.input_adjoint = np.empty_like(self.inputs), np.empty_like(self.inputs)
        self.weight_gradient = np.empty_like(self.weight)

    def __call__(self) -> None:
        """x W^T, G W and G^T x."""
        np.matmul(self.inputs, self.weight.T, out=self.current)
        np.matmul(self.gradient, self.weight, out=self.input_adjoint)
        np.matmul(self.gradient.T, self.inputs, out=self.weight_gradient)


class Difference(NamedTuple):
    """How far one outcome is from another.

    Attributes
    ----------
    spikes : int
        Places in which the spikes differ.
    places : int
        Of so many.
    weight, inputs : float
        Largest difference of dL/dW and of dL/dx, relative to the largest entry of the reference's array.
    """

    spikes: int
    places: int
    weight: float
    inputs: float

    def complaint(self, bound: float = FLOAT32_BOUND) -> str | None:
        """Why the two did not compute the same; None where they did."""
        if self.spikes:
            return f"other spikes in {self.spikes} of {self.places} places"
        # written so that NaN is refused
        apart = [
            f"{name} by {value:.1e}"
            for name, value in (("dL/dW", self.weight), ("dL/dx", self.inputs))
            if not value <= bound
        ]
        return f"same spikes, another gradient: {', '.join(apart)} of its largest entry" if apart else None


def difference(outcome: Outcome, reference: Outcome) -> Difference:
    """Compare spikes, dL/dW and dL/dx, each alone.

    Raises
    ------
    VacuousError
        If the reference is silent or saturated, or one of its gradients is zero.
    ValueError
        If a shape is another one.
    """
    rate = float(reference.spikes.mean())
    require(0.005 < rate < 0.5, f"the neurons fire at a rate of {rate:.3g}: equal spikes would say nothing")
    for name, ours, theirs in zip(Outcome._fields, outcome, reference, strict=True):
        require(bool(np.any(theirs)), f"the reference's {name} are all zero")
        if ours.shape != theirs.shape:
            raise ValueError(f"{name}: expected shape {theirs.shape}, got {ours.shape}")
    return Difference(
        spikes=int(np.count_nonzero(outcome.spikes != reference.spikes)),
        places=reference.spikes.size,
        weight=_relative(outcome.weight, reference.weight),
        inputs=_relative(outcome.inputs, reference.inputs),
    )


def _relative(value: np.ndarray, reference: np.ndarray) -> float:
    """max |value - reference| / max |reference|, in float64."""
    reference = reference.astype(np.float64)
    return float(np.abs(value - reference).max() / np.abs(reference).max())
