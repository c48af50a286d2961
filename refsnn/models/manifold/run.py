"""The forward pass on a graph: all blocks at once, one time step after the other.

What the gradient by way of the manifold needs does not grow with T: the drives u^l, the points z^l, and the
rates' neighbourhood sums G^l = Ahat^l r^{l-1}.  Only masks that differ from step to step ask for more, and
the surrogate gradient, which asks for the potentials of all steps (`keep=True`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from refsnn.kernels import spiking_kernels
from refsnn.models.contract import Parameters
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.maps import Maps
from refsnn.models.manifold.network import ManifoldSpikingNetwork


@dataclass
class ManifoldRun:
    """What a forward pass leaves.

    Attributes
    ----------
    points : list of ndarray, (N, D)
        z^{-1} = o, z^0, .., z^L.
    drives : list of ndarray, (N, D)
        u^0, .., u^L.
    rates : list of ndarray, (N, D)
        r^0, .., r^{L-1}: the last block's spikes are not used by anything.
    gathered : list of ndarray or None, (N, D)
        G^1, .., G^L; None where masks differ from step to step.
    charged : list of ndarray, (T, N, D)
        Potentials before the reset of the blocks 0 .. L-1, where they are kept.
    heard : list of ndarray or None, (T, N, D)
        Ahat^l s^{l-1}[t] of the blocks 1 .. L, where they are kept or masks differ from step to step.
    margin : float
        Smallest distance of a potential to the threshold.
    """

    points: list[np.ndarray] = field(default_factory=list)
    drives: list[np.ndarray] = field(default_factory=list)
    rates: list[np.ndarray] = field(default_factory=list)
    gathered: list[np.ndarray | None] = field(default_factory=list)
    charged: list[np.ndarray] = field(default_factory=list)
    heard: list[np.ndarray | None] = field(default_factory=list)
    margin: float = np.inf

    @property
    def summed_drive(self) -> np.ndarray:
        """u^0 + .. + u^L."""
        return np.sum(self.drives, axis=0, dtype=self.drives[0].dtype)

    @property
    def bytes_kept(self) -> int:
        """Of all arrays beyond the inputs; the origin and what is shared count once."""
        arrays = [*self.points, *self.drives, *self.rates, *self.gathered, *self.charged, *self.heard]
        return sum(array.nbytes for array in {id(a): a for a in arrays if a is not None}.values())


def forward(
    network: ManifoldSpikingNetwork,
    parameters: Parameters,
    inputs: GraphInputs,
    maps: Maps,
    backend: str = "cpu",
    keep: bool = False,
) -> ManifoldRun:
    """Run the network.

    Parameters
    ----------
    network : ManifoldSpikingNetwork
        The model.
    parameters, inputs
        As `network.check` returned them.
    maps : Maps
        Of its geometry.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.
    keep : bool
        Whether potentials and neighbourhood sums of all steps are kept.

    Returns
    -------
    ManifoldRun
    """
    run = ManifoldRun()
    encoder = inputs.gathered.times(parameters["layer.0.weight"], backend)  # x^0 at every step
    if inputs.masks[0] is not None:
        encoder = encoder * inputs.masks[0]
    pooled = _spikes(network, parameters, inputs, encoder, backend, keep, run)
    size, number = inputs.nodes, encoder.dtype.type
    run.points.append(np.repeat(network.at(parameters).origin(encoder.dtype)[None], size, axis=0))
    for layer in range(network.layers + 1):
        if layer == 0:
            current = encoder
        elif (mean := pooled[layer - 1]) is not None:  # masks of each step: m^l = mean_t M^l[t] x^l[t]
            current = mean
            run.gathered.append(None)
        else:  # m^l = Ahat^l r^{l-1} W^l^T
            summed = inputs.adjacencies[layer - 1].propagate(run.rates[layer - 1], backend)
            run.gathered.append(summed)
            current = summed @ parameters[f"layer.{layer}.weight"].T
            mask = inputs.masks[layer]
            if mask is not None:
                current *= mask
        run.drives.append(number(network.step_size) * current)
        run.points.append(maps.step(run.points[-1], run.drives[-1]))
    return run


def _spikes(
    network: ManifoldSpikingNetwork,
    parameters: Parameters,
    inputs: GraphInputs,
    encoder: np.ndarray,
    backend: str,
    keep: bool,
    run: ManifoldRun,
) -> list[np.ndarray | None]:
    """Spikes of the blocks 0 .. L-1 into `run`; mean currents of blocks whose masks differ in time."""
    kernels, layers, steps = spiking_kernels(backend), network.layers, network.steps
    number, size = encoder.dtype.type, encoder.size
    scale = number(network.gain)
    each_step = [mask is not None and mask.ndim == 3 for mask in inputs.masks[1:]]
    potential = [np.full(size, network.neuron.reset_value, encoder.dtype) for _ in range(layers)]
    run.rates = [np.zeros_like(encoder) for _ in range(layers)]
    kept = (steps, *encoder.shape)
    run.heard = [np.empty(kept, encoder.dtype) if keep or each else None for each in each_step]
    run.charged = [np.empty(kept, encoder.dtype) for _ in range(layers)] if keep else []
    pooled = [np.zeros_like(encoder) if each else None for each in each_step]
    if (
        layers == 1 and run.heard[0] is None
    ):  # one block hears rates alone, and the encoder's current does not change
        nearest = np.full(size, np.inf, encoder.dtype)
        scaled = (encoder if scale == 1 else scale * encoder).ravel()
        kernels.count_forward(network.neuron, scaled, steps, potential[0], run.rates[0].ravel(), nearest)
        run.margin = float(nearest.min())
        steps = 0
    charged, spikes = np.empty((1, size), encoder.dtype), np.empty((1, size), encoder.dtype)
    for t in range(steps):
        current = encoder
        for layer in range(layers):
            charged[0] = (current if scale == 1 else scale * current).ravel()
            kernels.forward(network.neuron, charged, potential[layer], charged, spikes)
            run.margin = min(run.margin, float(np.abs(charged - number(network.neuron.threshold)).min()))
            run.rates[layer] += spikes.reshape(encoder.shape)
            if keep:
                run.charged[layer][t] = charged.reshape(encoder.shape)
            heard, last = run.heard[layer], layer == layers - 1
            if last and heard is None:
                continue
            summed = inputs.adjacencies[layer].propagate(spikes.reshape(encoder.shape), backend)
            if heard is not None:
                heard[t] = summed
            mean, mask = pooled[layer], inputs.masks[layer + 1]
            if last and mean is None:
                continue
            current = summed @ parameters[f"layer.{layer + 1}.weight"].T
            if mask is not None:
                current *= mask[t] if mask.ndim == 3 else mask
            if mean is not None:
                mean += current
    for rate in run.rates:
        rate /= number(network.steps)
    for mean in pooled:
        if mean is not None:
            mean /= number(network.steps)
    return pooled
