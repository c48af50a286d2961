"""Putting a graph together node by node, and what networks on images share."""

from __future__ import annotations

from typing import Any

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.operators.dense import Dense
from refsnn.models.operators.dropout import Dropout
from refsnn.models.operators.operator import Operator, Shape
from refsnn.models.operators.pooling import AdaptiveAveragePool
from refsnn.models.operators.reshaping import Flatten, Scale
from refsnn.models.spiking_graph import INPUT, Node, Population, SpikingGraph, Sum


class Assembly:
    """A growing list of nodes, each behind the last one unless it says what it reads.

    Attributes
    ----------
    nodes : list of Node
        So far.
    last : str
        Name of the newest node, "input" at first.

    Examples
    --------
    >>> net = Assembly()
    >>> net.add("layer.1", Population())
    'layer.1'
    >>> net.add("readout", Dense(3))
    'readout'
    >>> net.graph((4,)).parameter_shapes()
    {'readout.weight': (3, 4), 'readout.bias': (3,)}
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.last = INPUT

    def add(
        self,
        name: str,
        what: Operator | Population | Sum,
        *reads: str,
        prefix: str | None = None,
        delayed: bool = False,
    ) -> str:
        """One more node; its name.

        Parameters
        ----------
        name, what, *reads, prefix, delayed
            As in `Node`; without `reads` it reads the last one.

        Returns
        -------
        str
        """
        self.nodes.append(Node(name, reads or (self.last,), what, prefix, delayed))
        self.last = name
        return name

    def modulated(self, layer: str, dropout: float, scale: float) -> None:
        """Dropout of neurons and then a scale behind the population of a layer; nothing for 0 and 1."""
        if dropout:
            self.add(f"{layer}.dropped", Dropout(dropout))
        if scale != 1:
            self.add(f"{layer}.scaled", Scale(scale))

    def classified(self, classes: int, bins: int | None) -> None:
        """Mean over bins x bins bins (None keeps every pixel), flattened, and the read-out."""
        if bins is not None:
            self.add("head.pool", AdaptiveAveragePool(bins))
        self.add("head.flat", Flatten())
        self.add("readout", Dense(classes))

    def graph(self, input_shape: Shape, **fields: Any) -> SpikingGraph:
        """The network; `fields` are further ones of `SpikingGraph`."""
        return SpikingGraph(tuple(self.nodes), input_shape, **fields)


def checked_image(image: Any) -> tuple[int, int, int]:
    """Shape of an image, (C, H, W).

    Parameters
    ----------
    image : sequence of int
        Channels, height, width.

    Returns
    -------
    tuple of int

    Raises
    ------
    TypeError, ValueError
        For anything but three positive integers.

    Examples
    --------
    >>> checked_image([3, 32, 32])
    (3, 32, 32)
    """
    shape = checks.widths("image", image, minimum=3)
    if len(shape) != 3:
        raise ValueError(f"image: expected (channels, height, width), got {shape}")
    return shape[0], shape[1], shape[2]


def checked_modulation(dropout: Any, scale: Any) -> tuple[float, float]:
    """Probability of dropout and scale of spikes.

    Parameters
    ----------
    dropout : float in [0, 1)
        Probability.
    scale : float
        Not 0.

    Returns
    -------
    float, float

    Raises
    ------
    TypeError, ValueError
        For anything else.

    Examples
    --------
    >>> checked_modulation(0.1, 2.74)
    (0.1, 2.74)
    """
    dropout = checks.number("dropout", dropout, 0, 1, high_open=True)
    return dropout, checks.number("scale", scale, 0, low_open=True)


def checked_neuron(neuron: Any, leak: float) -> SpikingNeuron:
    """The neuron, or for None the default one with the leak of a paper.

    Parameters
    ----------
    neuron : SpikingNeuron or None
        As given.
    leak : float
        Of the default.

    Returns
    -------
    SpikingNeuron

    Raises
    ------
    TypeError
        For anything else.

    Examples
    --------
    >>> checked_neuron(None, 0.5).leak
    0.5
    """
    if neuron is None:
        return SpikingNeuron(leak=leak)
    return checks.instance("neuron", neuron, SpikingNeuron, f"SpikingNeuron(leak={leak})")
