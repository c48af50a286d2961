"""What every algorithm returns: loss, gradients, and enough diagnostics that nothing is vacuous unnoticed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from refsnn.models.contract import Parameters


@dataclass(frozen=True)
class BatchStatistics:
    """What a batch normalisation has seen, for running statistics.

    Attributes
    ----------
    mean, variance : ndarray, (1, C) or (T, C)
        mu and sigma^2 (biased), jointly over time or of each step.
    entries : int
        How many numbers each of them is taken of.
    """

    mean: np.ndarray
    variance: np.ndarray
    entries: int


@dataclass(frozen=True)
class Diagnostics:
    """What happened during a run.

    Attributes
    ----------
    steps_executed : int
        Applications of the model's step, forward, all phases together.
    bytes_kept : int
        Bytes of the arrays that were kept for the gradient beyond parameters, inputs and running state.
    outputs : ndarray
        What the loss was taken of: the readout (B, classes).
    spike_rates : dict of str to float
        Mean firing rate a layer, from the algorithms on spiking stacks that run layer by layer.  0 or 1 says:
        this layer is dead.
    margin : float or None
        Smallest distance of a charged potential to the threshold, in its units, from the same algorithms;
        below about 1e-12 (1e-4 in float32) another summation order can flip a spike.
    residual : float or None
        Largest change that one more free step would make, for convergent networks.
    two_cycle : bool or None
        Whether the free phase ended in an orbit of period two, for convergent networks: then nothing of the
        result is a gradient at a steady state.
    statistics : dict of str to BatchStatistics
        Of each batch normalisation, for `SpikingGraph.updated_running`.
    """

    steps_executed: int
    bytes_kept: int
    outputs: np.ndarray
    spike_rates: dict[str, float] = field(default_factory=dict)
    margin: float | None = None
    residual: float | None = None
    two_cycle: bool | None = None
    statistics: dict[str, BatchStatistics] = field(default_factory=dict)


@dataclass(frozen=True)
class GradientResult:
    """Loss, gradients keyed like the parameters, and diagnostics.

    Attributes
    ----------
    loss : float
        As the model's loss says: a mean over the batch.
    gradients : dict of str to ndarray
        One array a parameter, of the parameter's shape and dtype; the sign is that of dL/d(parameter),
        also for algorithms whose papers state updates.
    diagnostics : Diagnostics
    """

    loss: float
    gradients: Parameters
    diagnostics: Diagnostics


def like(reference: np.ndarray, value: np.ndarray) -> np.ndarray:
    """`value` in the kind of `reference`: the real part where a complex nudge met real parameters.

    Examples
    --------
    >>> like(np.zeros(1), np.array([2.0 + 1.0j]))
    array([2.])
    """
    return value if np.iscomplexobj(reference) else value.real
