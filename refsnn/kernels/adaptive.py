"""What the kernels of adaptive neurons take: arrays and numbers, by name.

Sizes: T steps, B samples, n neurons, D delay slots, W windows of the loss.  Where an array may be left out it
has length 0 along its first axis.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class AdaptiveConstants(NamedTuple):
    """The numbers of the neurons in the working dtype; switches are 0 or 1 (`refsnn.equations.adaptive`).

    `recurrent` is 0 where no gradient goes through recurrent connections, `refractory` is a number of steps,
    `spike_height` is 1 / time step.
    """

    late_reset: np.floating
    new_potential: np.floating
    threshold_reset: np.floating
    by_threshold: np.floating
    attached: np.floating
    recurrent: np.floating
    refractory: int
    slope: np.floating
    height: np.floating
    time_step: np.floating
    spike_height: np.floating
    one: np.floating


class AdaptiveEquations(NamedTuple):
    """What the neurons' options choose: H or a smooth stand-in, and psi."""

    fire: Callable
    surrogate: Callable


class Neurons(NamedTuple):
    """alpha, rho, beta and b^0 of each neuron, (n,)."""

    leak: np.ndarray
    decay: np.ndarray
    strength: np.ndarray
    baseline: np.ndarray


class Synapses(NamedTuple):
    """Connections by their source, without those of weight 0.

    Connection c of source i is one of those from `starts[i]` to `starts[i + 1]`; it adds `weights[c]` to what
    arrives at `places[c]` = delay * n + target.  `all_places`, (sources, n), are those of every pair.
    """

    starts: np.ndarray
    places: np.ndarray
    weights: np.ndarray
    all_places: np.ndarray


class Heard(NamedTuple):
    """What comes from outside: events (see `SpikeEvents`), noise (T or 0, B, n), masks (T or 0, B, n).

    `starts` has T B + 1 entries, whatever part of `sources` and `values` they point at.  With masks given the
    counter of the refractory period is not looked at.
    """

    starts: np.ndarray
    sources: np.ndarray
    values: np.ndarray
    noise: np.ndarray
    masks: np.ndarray


class States(NamedTuple):
    """z, v, b (T, B, n) and the refractory counter r (T, B, n) of int16, at one end of each step."""

    spikes: np.ndarray
    potential: np.ndarray
    adaptation: np.ndarray
    refractory: np.ndarray


class Averaging(NamedTuple):
    """How the read-out is averaged: m_k = keep_k m_{k-1} + share_k p_k, and what m is wanted of.

    `window[k]` is the row of the averages that m_k is written to, -1 for none.
    """

    decay: np.floating
    keep: np.ndarray
    share: np.ndarray
    window: np.ndarray


class Cotangents(NamedTuple):
    """Direct derivatives of the loss: by z, v, B of the end of each step (T or 0, B, n), by m (W, B, n), and
    one of each neuron's spikes that is the same at each step and sample (n,)."""

    spikes: np.ndarray
    potential: np.ndarray
    threshold: np.ndarray
    averages: np.ndarray
    rates: np.ndarray


class Adjoints(NamedTuple):
    """Derivatives by the state between two steps: of z, v, b (B, n), currents (B, D, n), p and m (B, n)."""

    spikes: np.ndarray
    potential: np.ndarray
    adaptation: np.ndarray
    currents: np.ndarray
    trace: np.ndarray
    average: np.ndarray


class Gradients(NamedTuple):
    """Added to: (sources, n), (n, n), and by leak, decay, strength, baseline (4 or 0, n); filled: by the
    inputs (T or 0, B, sources)."""

    into: np.ndarray
    back: np.ndarray
    neurons: np.ndarray
    inputs: np.ndarray
