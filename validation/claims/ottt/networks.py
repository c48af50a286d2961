"""Many random feed-forward spiking networks at once, each with a batch of its own, and their instantaneous errors.

The setting of the theory: threshold 1, a spiking output layer that the loss reads at every step, and at every
step the slopes d of the rate map in the place of the surrogate.  Arrays are (T, D, B, n): time, draw, sample,
neuron; weights (D, out, in), biases (D, 1, out).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.losses import cross_entropy_gradient
from validation.claims.ottt.rates import clamp_slope, run_neurons, weighted_rates
from validation.ledger import require
from validation.nets import LIVE

WIDTHS = (10, 16, 16, 5)


@dataclass(frozen=True)
class Draws:
    """Networks with what they did.

    Attributes
    ----------
    leak : float
        Of every neuron.
    weights, biases : list of ndarray
        One of each an operator.
    activity : list of ndarray
        The input, and the spikes of every layer.
    labels : ndarray, (D, B)
        Classes.
    """

    leak: float
    weights: list[np.ndarray]
    biases: list[np.ndarray]
    activity: list[np.ndarray]
    labels: np.ndarray

    @property
    def steps(self) -> int:
        return len(self.activity[0])

    def last_rates(self, layer: int) -> np.ndarray:
        """a^l[T], (D, B, n)."""
        return weighted_rates(self.activity[layer], self.leak)[-1]

    def currents(self, operator: int, rates: np.ndarray) -> np.ndarray:
        """W a + b."""
        return rates @ self.weights[operator].swapaxes(1, 2) + self.biases[operator]

    def slopes(self, operator: int) -> np.ndarray:
        """d of the layer that the operator feeds, (D, B, out)."""
        return clamp_slope(self.currents(operator, self.last_rates(operator)))

    def output_errors(self) -> np.ndarray:
        """dL(s^N[t], y)/ds^N[t] of the cross-entropy of each step, mean over the batch."""
        spikes = self.activity[-1]
        labels = np.broadcast_to(self.labels, spikes.shape[:-1])
        gradient = cross_entropy_gradient(spikes.reshape(-1, spikes.shape[-1]), labels.ravel())
        means = self.steps * len(self.labels)  # all that is averaged beside the batch
        return means * gradient.reshape(spikes.shape)

    def errors(self) -> list[np.ndarray]:
        """\\hat g[t] of each operator: sent down in space only, from the output layer."""
        found, error = [], self.output_errors()
        for operator in reversed(range(len(self.weights))):
            found.insert(0, error * self.slopes(operator))
            error = found[0] @ self.weights[operator]
        return found


def draw_networks(
    rng: np.random.Generator, leak: float, steps: int, static: bool, draws: int = 50, batch: int = 4
) -> Draws:
    """Weights N(0, gain^2 / n_in) with a gain of 1 to 2 a draw, biases N(0.4, 0.1^2), inputs U(0, 1).

    The input is a current, the same at every step (`static`) or fresh each step.
    """
    neuron = SpikingNeuron(leak=leak)
    inputs = rng.random((1 if static else steps, draws, batch, WIDTHS[0]))
    activity = [np.broadcast_to(inputs, (steps, *inputs.shape[1:]))]
    weights, biases = [], []
    gain = rng.uniform(1, 2, (draws, 1, 1))
    for n_in, n_out in pairwise(WIDTHS):
        weights.append(gain * rng.standard_normal((draws, n_out, n_in)) / np.sqrt(n_in))
        biases.append(rng.normal(0.4, 0.1, (draws, 1, n_out)))
        activity.append(run_neurons(neuron, activity[-1] @ weights[-1].swapaxes(1, 2) + biases[-1])[0])
        rate = activity[-1].mean()
        require(LIVE[0] < rate < LIVE[1], f"layer {len(weights)} fires at the rate {rate:.3f}")
    return Draws(leak, weights, biases, activity, rng.integers(WIDTHS[-1], size=(draws, batch)))


def summed(errors: np.ndarray, activity: np.ndarray) -> np.ndarray:
    """sum over time and batch of g[t] z[t]^T, each draw alone, (D, out, in); z may be one array for all t."""
    return (errors.swapaxes(-1, -2) @ activity).sum(axis=0)


def norms(matrices: np.ndarray) -> np.ndarray:
    """Frobenius norm of each draw."""
    return np.sqrt((matrices**2).sum(axis=(1, 2)))


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of each draw; where one of the two is zero there is none, and the draw is left out."""
    sizes = norms(first) * norms(second)
    return (first * second).sum(axis=(1, 2))[sizes > 0] / sizes[sizes > 0]
