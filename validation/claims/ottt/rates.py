r"""Traces, weighted firing rates and the rate map, as the theory of online training through time needs them.

\hat a[t] = \lambda \hat a[t-1] + s[t] = \sum_{\tau\le t} \lambda^{t-\tau} s[\tau]      trace
Z_t = \sum_{j<t} \lambda^j,   a[t] = \hat a[t] / Z_t                                    weighted rate
a = \sigma(W a' + b),   \sigma(z) = min(max(z, 0), 1)                                   rate map, threshold 1
"""

from __future__ import annotations

import numpy as np

from refsnn.equations.spiking import SpikingNeuron, next_trace
from refsnn.kernels import spiking_kernels


def run_neurons(
    neuron: SpikingNeuron, current: np.ndarray, backend: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """Spikes, and potentials after the reset, of every step: each (T, ...), from rest, by the package's kernels.

    One call of the kernel a step, so that the potential is what the kernel carries on, not what is made of
    the charged potential here.
    """
    kernels = spiking_kernels(backend)
    flat = np.ascontiguousarray(current.reshape(len(current), -1))
    charged, spikes, potentials = np.empty_like(flat), np.empty_like(flat), np.empty_like(flat)
    potential = np.full(flat.shape[1], neuron.reset_value)
    for t in range(len(flat)):
        now = slice(t, t + 1)
        kernels.forward(neuron, flat[now], potential, charged[now], spikes[now])
        potentials[t] = potential
    return spikes.reshape(current.shape), potentials.reshape(current.shape)


def normalisers(leak: float, steps: int) -> np.ndarray:
    """Z_1..Z_T, each the sum of its powers, so that leak = 1 needs no case of its own."""
    return np.cumsum(float(leak) ** np.arange(steps))


def traces(series: np.ndarray, leak: float) -> np.ndarray:
    """The trace of every step by its recursion; it includes the current spike."""
    found = np.empty_like(series)
    trace = np.zeros_like(series[0])
    for t in range(len(series)):
        found[t] = trace = next_trace(series[t], trace, leak)
    return found


def weighted_rates(series: np.ndarray, leak: float) -> np.ndarray:
    """a[t] of every step as the weighted mean that it is, without the recursion."""
    lag = np.subtract.outer(np.arange(len(series)), np.arange(len(series)))
    weights = np.where(lag >= 0, float(leak) ** np.maximum(lag, 0), 0.0)
    return np.tensordot(weights / weights.sum(axis=1, keepdims=True), series, axes=1)


def clamp(z: np.ndarray) -> np.ndarray:
    """min(max(z, 0), 1) by the real part: complex steps go through where it is linear and stop where it is flat."""
    return np.where(z.real <= 0, 0, np.where(z.real >= 1, 1, z))


def clamp_slope(z: np.ndarray) -> np.ndarray:
    """Its derivative d, 0 or 1."""
    return ((z > 0) & (z < 1)).astype(float)
