"""What a forward pass would cost on hardware, counted in three ways (Sun 2024, Eqs. 68 and 69).

    paper      E_MAC sum s^0 + E_SOP sum_{l >= 1} sum s^l
    official   E_MAC (E/2 D + sum s^0 + N D) + E_SOP sum_{l >= 1} (sum s^l + N D) + 2 N D C
    full       official with the encoder's E_MAC N F D added, and the head once, E_MAC N D C for 2 N D C

with E_MAC = 4.6 pJ, E_SOP = 3.7 pJ, s^l the output spikes of block l over all steps, nodes and columns, D the
stored width, and E the directed edges as they are listed, without loops that are added.  The paper does not
say what its first term counts: encoder spikes are one reading.  The published code leaves out the encoder's
products with the features, which are most of the work, and gives those of its head no weight.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refsnn import checks
from refsnn.models.contract import Parameters
from refsnn.models.manifold.inputs import GraphInputs
from refsnn.models.manifold.maps import ExactMaps
from refsnn.models.manifold.network import ManifoldSpikingNetwork
from refsnn.models.manifold.run import ManifoldRun, forward

MULTIPLICATION, SYNAPTIC_OPERATION = 4.6, 3.7  # pJ


@dataclass(frozen=True)
class Energy:
    """Picojoules of one forward pass; 1 mJ is 10^9 pJ.

    Attributes
    ----------
    paper, official, full : float
        The three counts.
    """

    paper: float
    official: float
    full: float


def spike_counts(
    network: ManifoldSpikingNetwork,
    parameters: Parameters,
    inputs: GraphInputs,
    run: ManifoldRun,
    backend: str = "cpu",
) -> np.ndarray:
    """Spikes of each block, also of the last, which no forward pass computes since nothing uses them.

    The last neuron is run here: the blocks below it, which do not keep their trains, run again for it.

    Parameters
    ----------
    network : ManifoldSpikingNetwork
        The model.
    parameters, inputs
        Of the run.
    run : ManifoldRun
        Its forward pass.
    backend : {"plain", "cpu", "cuda"}
        Which kernels.

    Returns
    -------
    ndarray of int64, (L + 1,)
        Over all steps, nodes and columns.

    Raises
    ------
    TypeError, ValueError
        As `network.check`, and for a run of another network.

    Examples
    --------
    >>> from refsnn.models.manifold.graph import Graph
    >>> from refsnn.models.manifold.manifold import euclidean
    >>> network = ManifoldSpikingNetwork(2, euclidean(2), layers=1, steps=4)
    >>> inputs = GraphInputs.of(Graph(1, [], []), np.array([[0.75, 0.0]]), layers=1)
    >>> parameters = {f"layer.{block}.weight": 2 * np.eye(2) for block in (0, 1)}
    >>> run = forward(network, parameters, inputs, ExactMaps(network.manifold))
    >>> spike_counts(network, parameters, inputs, run)
    array([4, 4])
    """
    parameters, inputs = network.check(parameters, inputs)
    if len(run.rates) != network.layers:
        raise ValueError(f"run: expected rates of {network.layers} blocks, got {len(run.rates)}")
    # one more block, whose weights are 0, makes the last neuron one whose spikes are asked for
    above = network.layers + 1
    width = network.width
    longer = replace(network, layers=above, classes=0, tangent="transport", compat="exact")
    weights = {name: array for name, array in parameters.items() if name != "readout.weight"}
    weights[f"layer.{above}.weight"] = np.zeros((width, width), parameters["layer.0.weight"].dtype)
    silent = inputs.graph.normalised(inputs.dtype)
    heard = replace(inputs, adjacencies=(*inputs.adjacencies, silent), masks=(*inputs.masks, None))
    last = forward(longer, weights, heard, ExactMaps(longer.at(parameters), backend=backend), backend).rates[
        -1
    ]
    neurons = network.steps * np.array([float(rate.sum(dtype=np.float64)) for rate in [*run.rates, last]])
    return np.rint(neurons).astype(np.int64)


def energy(network: ManifoldSpikingNetwork, inputs: GraphInputs, spikes: Any) -> Energy:
    """The three counts.

    Parameters
    ----------
    network : ManifoldSpikingNetwork
        The model.
    inputs : GraphInputs
        Of the run; its graph as it is listed counts, DropEdge or not.
    spikes : array_like of int, (L + 1,)
        As `spike_counts` gives them.

    Returns
    -------
    Energy

    Raises
    ------
    TypeError, ValueError
        For spikes that are no counts, or of another number of blocks.

    Examples
    --------
    >>> from refsnn.models.manifold.graph import Graph
    >>> from refsnn.models.manifold.manifold import euclidean
    >>> network = ManifoldSpikingNetwork(2, euclidean(2), classes=3, layers=1)
    >>> inputs = GraphInputs.of(Graph(1, [], []), np.array([[0.75, 0.0]]), layers=1)
    >>> round(energy(network, inputs, [10, 20]).paper, 9)
    120.0
    """
    counts = checks.as_numpy("spikes", spikes)
    if counts.dtype.kind not in "iu":
        raise TypeError(f"spikes: expected counts (integers), got dtype {counts.dtype}")
    if counts.shape != (network.layers + 1,) or counts.min() < 0:
        raise ValueError(
            f"spikes: expected {network.layers + 1} counts, one a block, none negative, got "
            f"{checks.shortened(counts.tolist())}"
        )
    first, above = int(counts[0]), int(counts[1:].sum())
    neurons = inputs.nodes * network.width
    head = neurons * network.classes
    encoder = MULTIPLICATION * (inputs.graph.edges / 2 * network.width + first + neurons)
    blocks = SYNAPTIC_OPERATION * (above + network.layers * neurons)
    return Energy(
        paper=MULTIPLICATION * first + SYNAPTIC_OPERATION * above,
        official=encoder + blocks + 2 * head,
        full=encoder + blocks + MULTIPLICATION * (neurons * network.features + head),
    )


def convolution_energy(nodes: int, edges: int, widths: Any) -> float:
    """E_MAC sum over layers of (N d_in d_out + |E| d_out): the same graph in a network without spikes (69).

    Parameters
    ----------
    nodes, edges : int
        N and |E|.
    widths : sequence of int
        d_in of the first layer, then d_out of each.

    Returns
    -------
    float
        In pJ.

    Raises
    ------
    TypeError, ValueError
        For numbers that are no counts, and fewer than two widths.

    Examples
    --------
    >>> round(convolution_energy(10, 20, [4, 2]), 9)
    552.0
    """
    nodes, edges = checks.count("nodes", nodes), checks.count("edges", edges, 0)
    widths = checks.widths("widths", widths)
    products = sum(nodes * into * out + edges * out for into, out in itertools.pairwise(widths))
    return MULTIPLICATION * products
