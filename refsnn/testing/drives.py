"""Input currents that make a spiking neuron fire at a wanted rate, away from its threshold.

Random floats make dead neurons: most networks drawn number by number never fire.  Here a seed makes the
noise, and its mean is moved until the neurons fire as often as they should.
"""

from __future__ import annotations

import numpy as np

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.testing.errors import VacuousCheck

_HALVINGS = 24


def potentials(
    neuron: SpikingNeuron, current: np.ndarray, potential: np.ndarray | float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Charged potentials and spikes of a neuron under given currents.

    Parameters
    ----------
    neuron : SpikingNeuron
        Charge, fire, reset.
    current : ndarray, shape (T, ...)
        Input of each step.
    potential : ndarray or float, optional
        Before the first step; the reset value by default.

    Returns
    -------
    tuple of ndarray
        h and s, shaped like `current`.

    Examples
    --------
    >>> h, s = potentials(SpikingNeuron(leak=0.5), np.array([0.75, 0.75, 0.75]))
    >>> h, s
    (array([0.75  , 1.125 , 0.8125]), array([0., 1., 0.]))
    """
    leak, threshold, reset_value, _, _, _, one = neuron.constants(current.dtype)
    charge, fire, reset, _, _ = neuron.equations
    v = np.asarray(reset_value if potential is None else potential, current.dtype)
    charged, spikes = np.empty_like(current), np.empty_like(current)
    for t, drive in enumerate(current):
        charged[t] = charge(v, drive, leak, reset_value, one)
        spikes[t] = fire(charged[t], threshold, one)
        v = reset(charged[t], spikes[t], threshold, reset_value, one)
    return charged, spikes


def currents_at_rate(
    rng: np.random.Generator,
    neuron: SpikingNeuron,
    shape: tuple[int, ...],
    *,
    rate: float = 0.3,
    margin: float = 1e-3,
    potential: np.ndarray | float | None = None,
    dtype: np.dtype | type = np.float64,
) -> np.ndarray:
    """Random currents under which about `rate` of all steps are spikes, and no potential is at the threshold.

    Parameters
    ----------
    rng : numpy.random.Generator
        Makes the noise.
    neuron : SpikingNeuron
        What is driven; its threshold is the unit of the currents.
    shape : tuple of int
        (T, ...).
    rate : float
        Wanted share of spikes, in (0, 1); met as nearly as so many neurons can.  Of two numbers or more, at
        least one fires and one does not.
    margin : float
        Least distance from the threshold, in its units.
    potential : ndarray or float, optional
        Before the first step.
    dtype : dtype
        float32 or float64.

    Returns
    -------
    ndarray

    Raises
    ------
    TypeError, ValueError
        For arguments out of range.
    VacuousCheck
        If 100 draws all had a potential within the margin.

    Examples
    --------
    >>> neuron = SpikingNeuron(leak=0.9)
    >>> current = currents_at_rate(np.random.default_rng(0), neuron, (50, 8), rate=0.2)
    >>> h, s = potentials(neuron, current)
    >>> bool(abs(s.mean() - 0.2) < 0.03), bool(abs(h - 1).min() >= 1e-3)
    (True, True)
    """
    rng, rate = checks.generator("rng", rng), checks.number("rate", rate, 0, 1, low_open=True, high_open=True)
    margin, dtype = checks.number("margin", margin, 0), checks.float_dtype("dtype", dtype)
    size = int(np.prod(shape))
    wanted = float(np.clip(round(rate * size), min(1, size - 1), max(1, size - 1)))
    for _ in range(100):
        noise = (0.6 * neuron.threshold * rng.standard_normal(shape)).astype(dtype)
        low, high = -20.0 * neuron.threshold, 20.0 * neuron.threshold
        best: tuple[float, np.ndarray] | None = None
        for _ in range(_HALVINGS):
            mean = (low + high) / 2
            current = noise + dtype.type(mean)
            charged, spikes = potentials(neuron, current, potential)
            count = float(spikes.sum())
            low, high = (low, mean) if count > wanted else (mean, high)
            far = float(np.abs(charged - neuron.threshold).min()) >= margin * neuron.threshold
            mixed = 0 < count < size or size < 2  # one number cannot both fire and not
            if far and mixed and (best is None or abs(count - wanted) < best[0]):
                best = abs(count - wanted), current
        if best is not None and best[0] <= max(1.0, 0.1 * size):
            return best[1]
    raise VacuousCheck(
        f"no currents of shape {shape} at rate {rate:g} with a margin of {margin:g} in 100 draws; "
        "lower the margin"
    )
