"""What a spiking graph is made of: populations of neurons, operators between them, and sums of branches.

A node reads what other nodes give at the same step.  A *delayed* one is an operator that reads what its
input was one step before, so that its input may stand behind it: recurrent connections and feedback.  At
the first step it gives nothing, not even its bias (Xiao 2022, feedback connections).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from refsnn import checks
from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.operators.operator import LinearOperator, Operator, Shape

INPUT = "input"


@dataclass(frozen=True)
class Population:
    """A layer of spiking neurons.

    Parameters
    ----------
    neuron : SpikingNeuron
        Hyper-parameters, the same for all its neurons.

    Examples
    --------
    >>> Population(SpikingNeuron(leak=0.5)).neuron.leak
    0.5
    """

    neuron: SpikingNeuron = field(default_factory=SpikingNeuron)

    def __post_init__(self) -> None:
        checks.instance("neuron", self.neuron, SpikingNeuron, "SpikingNeuron(leak=0.2)")


@dataclass(frozen=True)
class Sum:
    """The sum of what a node reads: where branches of a residual block meet."""


@dataclass(frozen=True)
class Node:
    """One node of the graph.

    Parameters
    ----------
    name : str
        Unique; results are keyed by it.
    inputs : tuple of str
        Names of nodes before it, or "input"; one, or several for a `Sum`.  A delayed node may name any.
    what : Operator, Population or Sum
        What it does.
    prefix : str, optional
        First part of its parameters' names; the name by default.
    delayed : bool
        Whether it reads its input as it was one step before; linear operators only.

    Raises
    ------
    TypeError, ValueError
        For arguments of another kind, and if something other than a linear operator is delayed.

    Examples
    --------
    >>> Node("layer.1", ("input",), Population()).parameter_prefix
    'layer.1'
    """

    name: str
    inputs: tuple[str, ...]
    what: Operator | Population | Sum
    prefix: str | None = None
    delayed: bool = False

    def __post_init__(self) -> None:
        checks.instance("name", self.name, str, '"readout"')
        label = f"node {self.name!r}: "
        if isinstance(self.inputs, str):
            raise TypeError(
                f"{label}inputs: expected a tuple of names, got {self.inputs!r}; write ({self.inputs!r},)"
            )
        if not isinstance(self.inputs, Iterable) or not all(isinstance(name, str) for name in self.inputs):
            raise TypeError(f"{label}inputs: expected a tuple of names, got {self.inputs!r}")
        object.__setattr__(self, "inputs", tuple(self.inputs))
        if not isinstance(self.what, (Operator, Population, Sum)):
            raise TypeError(
                f"{label}what: expected an operator such as Dense(10), Population() or Sum(), "
                f"got {self.what!r}"
            )
        if self.prefix is not None:
            checks.instance("prefix", self.prefix, str, '"layer.1"')
        checks.instance("delayed", self.delayed, bool, "False")
        if self.delayed and not isinstance(self.what, LinearOperator):
            raise ValueError(
                f"delayed: expected a linear operator to be delayed, got {type(self.what).__name__} in node "
                f"{self.name!r}; delay the operator behind it"
            )

    @property
    def parameter_prefix(self) -> str:
        """First part of its parameters' names."""
        return self.prefix or self.name


def linear_operator(node: Node) -> LinearOperator:
    """The operator of a node that is known to be linear; one of another kind is not known here.

    Raises
    ------
    TypeError
        For an operator that no pass knows how to go through.

    Examples
    --------
    >>> linear_operator(Node("layer.1", ("input",), Population()))
    Traceback (most recent call last):
    ...
    TypeError: node 'layer.1': expected a linear operator, got Population
    """
    if not isinstance(node.what, LinearOperator):
        raise TypeError(f"node {node.name!r}: expected a linear operator, got {type(node.what).__name__}")
    return node.what


def node_shapes(nodes: tuple[Node, ...], input_shape: Shape) -> dict[str, Shape]:
    """Shape of one output of each node, the input's under "input".

    Parameters
    ----------
    nodes : tuple of Node
        In an order in which each reads what stands before it, but for delayed ones.
    input_shape : tuple of int
        Of one sample at one step.

    Returns
    -------
    dict of str to tuple of int

    Raises
    ------
    TypeError, ValueError
        If the nodes are no graph, or an operator does not fit what it reads.

    Examples
    --------
    >>> node_shapes((Node("layer.1", ("input",), Population()),), (4,))
    {'input': (4,), 'layer.1': (4,)}
    """
    for index, node in enumerate(nodes):
        checks.instance(f"nodes[{index}]", node, Node, 'Node("readout", ("input",), Dense(10))')
    names = {INPUT, *(node.name for node in nodes)}
    shapes: dict[str, Shape] = {INPUT: input_shape}
    for index, node in enumerate(nodes):
        label = f"nodes[{index}] ({node.name!r})"
        if node.name in shapes or node.name in [other.name for other in nodes[:index]]:
            raise ValueError(f"{label}: expected a name of its own, got one that is taken")
        if node.delayed:
            sources = names.difference(other.name for other in nodes if other.delayed)
            if len(node.inputs) != 1 or node.inputs[0] not in sources:
                raise ValueError(
                    f"{label}: expected one input among the nodes that are not delayed, got {node.inputs!r}"
                )
            continue  # its input may not be known yet
        delayed = [other.name for other in nodes[:index] if other.delayed]
        missing = [name for name in node.inputs if name not in shapes and name not in delayed]
        if missing or not node.inputs:
            raise ValueError(
                f"{label}: expected inputs among the nodes before it, got {node.inputs!r}; "
                "put what it reads in front of it, or delay it"
            )
        read = [shapes[name] for name in node.inputs if name in shapes]
        if not read:
            raise ValueError(
                f"{label}: expected an input that is not delayed, got {node.inputs!r}; add one to a Sum"
            )
        shapes[node.name] = _output_shape(label, node, read)
    for index, node in enumerate(nodes):
        if node.delayed:
            shapes[node.name] = _output_shape(
                f"nodes[{index}] ({node.name!r})", node, [shapes[node.inputs[0]]]
            )
    for index, node in enumerate(nodes):  # once more, now that delayed ones are known
        _output_shape(f"nodes[{index}] ({node.name!r})", node, [shapes[name] for name in node.inputs])
    return shapes


def _output_shape(label: str, node: Node, read: list[Shape]) -> Shape:
    if not isinstance(node.what, Sum) and len(node.inputs) != 1:
        raise ValueError(f"{label}: expected one input, got {node.inputs!r}; only a Sum reads several")
    if isinstance(node.what, Operator):
        try:
            return node.what.output_shape(read[0])
        except ValueError as error:
            raise ValueError(f"{label}: {error}") from None
    if len(set(read)) != 1:
        raise ValueError(f"{label}: expected inputs of one shape, got {read}")
    return read[0]
