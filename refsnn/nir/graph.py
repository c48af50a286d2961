"""A NIR graph: nodes by name, edges between them, and the order in which a step goes through them.

What arrives at a node is the sum over its incoming edges.  Where edges close a circle some of them carry what
their source gave *one step before*: of each circle the edges into its first neuron (the one that is nearest
to the inputs).  Before the first step all neurons are silent and inputs are 0, so an Affine node on such an
edge gives its bias there.  A Delay of at least one step breaks a circle by itself.  A circle without a neuron
or a delay says nothing about time and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Any

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from refsnn import checks
from refsnn.nir.maps import Shape, output_shape
from refsnn.nir.nodes import Node

Edge = tuple[str, str]


@dataclass(frozen=True, eq=False)
class NirGraph:
    """Nodes and edges.

    Parameters
    ----------
    nodes : mapping of str to Node
        At least an Input and an Output.
    edges : iterable of (str, str)
        From, to.
    metadata : mapping
        Whatever the file says beside.

    Raises
    ------
    TypeError, ValueError
        For edges between nodes that are not there, doubled edges, circles without a neuron or a delay, nodes
        to which nothing leads, and shapes that do not fit.

    Examples
    --------
    >>> nodes = {
    ...     "in": Node("Input", {"shape": [2]}),
    ...     "w": Node("Linear", {"weight": [[1.0, -1.0]]}),
    ...     "out": Node("Output", {"shape": [1]}),
    ... }
    >>> NirGraph(nodes, [("in", "w"), ("w", "out")]).order
    ('in', 'w', 'out')
    """

    nodes: Mapping[str, Node]
    edges: Iterable[Edge]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", _checked_nodes(self.nodes))
        object.__setattr__(self, "edges", _checked_edges(self.edges, self.nodes))
        object.__setattr__(self, "metadata", dict(self.metadata))
        _ = self.shapes  # refuses at once what does not fit

    @cached_property
    def late_edges(self) -> tuple[Edge, ...]:
        """Edges that carry the values of the step before."""
        return _late_edges(self.nodes, tuple(self.edges))

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Names of the nodes as a step goes through them."""
        waits = _waiting(self.nodes, self.edges, self.late_edges)
        sorter = TopologicalSorter({name: [a for a, b in waits if b == name] for name in self.nodes})
        return tuple(sorter.static_order())

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Of what each node gives, without the sample axis."""
        return _shapes(self)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was taken although it is not quite as NIR has it."""
        found = []
        for name in self.outputs:
            declared = tuple(int(size) for size in np.atleast_1d(self.nodes[name].values["shape"]))
            if declared != self.shapes[name]:
                found.append(
                    f"node {name!r}: the file declares shape {declared}, {self.shapes[name]} arrives"
                )
        return tuple(found)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the Input nodes."""
        return tuple(name for name, node in self.nodes.items() if node.kind == "Input")

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the Output nodes."""
        return tuple(name for name, node in self.nodes.items() if node.kind == "Output")

    @property
    def neurons(self) -> tuple[str, ...]:
        """Names of the nodes with a potential, in the order of a step."""
        return tuple(name for name in self.order if self.nodes[name].is_neuron)

    def sources(self, name: str) -> tuple[str, ...]:
        """Names of the nodes with an edge to `name`."""
        return tuple(a for a, b in self.edges if b == name)


def _checked_nodes(nodes: Any) -> dict[str, Node]:
    if not isinstance(nodes, Mapping):
        raise TypeError(f"nodes: expected names with nodes, got {type(nodes).__name__}")
    for name, node in nodes.items():
        checks.instance("nodes: name", name, str, "'lif'")
        checks.instance(f"node {name!r}", node, Node, "Node('Linear', {'weight': weight})")
    for kind in ("Input", "Output"):
        if not any(node.kind == kind for node in nodes.values()):
            raise ValueError(f"nodes: expected at least one {kind}, got none; add Node({kind!r}, ...)")
    return dict(nodes)


def _checked_edges(edges: Any, nodes: Mapping[str, Node]) -> tuple[Edge, ...]:
    found: list[Edge] = []
    for index, edge in enumerate(edges):
        if not isinstance(edge, (tuple, list)) or len(edge) != 2:
            raise TypeError(f"edges[{index}]: expected a pair of names, got {edge!r}")
        pair = (edge[0], edge[1])
        for end, name in zip(("from", "to"), pair, strict=True):
            if name not in nodes:
                raise ValueError(
                    f"edges[{index}]: expected nodes of the graph, got {pair!r}, and there is no node "
                    f"{name!r} to lead {end}"
                )
        if pair in found:
            raise ValueError(f"edges[{index}]: expected each edge once, got {pair!r} twice")
        if nodes[pair[1]].kind == "Input":
            raise ValueError(f"edges[{index}]: expected nothing to lead to an Input, got {pair!r}")
        if nodes[pair[0]].kind == "Output":
            raise ValueError(f"edges[{index}]: expected nothing to lead from an Output, got {pair!r}")
        found.append(pair)
    targets = {b for _, b in found}
    for name, node in nodes.items():
        if node.kind != "Input" and name not in targets:
            raise ValueError(f"node {name!r}: expected an edge that leads to it, got none")
    return tuple(found)


def _late_edges(nodes: Mapping[str, Node], edges: tuple[Edge, ...]) -> tuple[Edge, ...]:
    """For each circle, the edges into its first neuron."""
    distance = _distances(nodes, edges)
    late: set[Edge] = set()
    while True:
        waits = _waiting(nodes, edges, late)
        circle = _circle(list(nodes), waits)
        if not circle:
            return tuple(edge for edge in edges if edge in late)
        neurons = [name for name in circle if nodes[name].is_neuron]
        if not neurons:
            raise ValueError(
                f"edges: expected a neuron or a Delay in each circle, got {' -> '.join(circle)}, which has "
                "none: what it gives would depend on itself at the same time"
            )
        first = min(neurons, key=lambda name: distance.get(name, len(nodes)))
        late |= {(a, b) for a, b in waits if b == first and a in circle}


def _waiting(nodes: Mapping[str, Node], edges: Iterable[Edge], late: Iterable[Edge]) -> list[Edge]:
    """Edges whose source must come first in a step: not late ones, and not those into a Delay > 0."""
    late = set(late)
    return [
        edge
        for edge in edges
        if edge not in late
        and not (nodes[edge[1]].kind == "Delay" and nodes[edge[1]].values["delay"].min() > 0)
    ]


def _circle(names: list[str], edges: list[Edge]) -> list[str]:
    """Nodes of one strongly connected part with a circle, in the order of `names`; empty if there is none."""
    index = {name: place for place, name in enumerate(names)}
    loops = [a for a, b in edges if a == b]
    if loops:
        return loops[:1]
    rows, columns = np.array([(index[a], index[b]) for a, b in edges], int).reshape(-1, 2).T
    matrix = coo_matrix((np.ones(len(edges)), (rows, columns)), shape=(len(names), len(names)))
    _, labels = connected_components(matrix, directed=True, connection="strong")
    counts = np.bincount(labels)
    if counts.max() == 1:
        return []
    part = int(np.flatnonzero(counts > 1)[0])
    return [name for name in names if labels[index[name]] == part]


def _distances(nodes: Mapping[str, Node], edges: tuple[Edge, ...]) -> dict[str, int]:
    """Edges from the nearest Input."""
    distance = {name: 0 for name, node in nodes.items() if node.kind == "Input"}
    front = list(distance)
    while front:
        following = [b for a in front for x, b in edges if x == a and b not in distance]
        for name in following:
            distance.setdefault(name, 1 + min(distance[a] for a, b in edges if b == name and a in distance))
        front = list(dict.fromkeys(following))
    return distance


def _shapes(graph: NirGraph) -> dict[str, Shape]:
    """Shapes of outputs; those of neurons on circles are those of their arrays."""
    shapes: dict[str, Shape] = {}
    for name in graph.order:
        node = graph.nodes[name]
        if node.kind == "Input":
            shapes[name] = tuple(int(size) for size in np.atleast_1d(node.values["shape"]))
            continue
        known = [source for source in graph.sources(name) if source in shapes]
        shapes[name] = _labelled_shape(name, node, shapes[known[0]] if known else node.parameter_shape())
    for name in graph.order:  # once more, now that all are known
        for source in graph.sources(name):
            if _labelled_shape(name, graph.nodes[name], shapes[source]) != shapes[name]:
                raise ValueError(
                    f"node {name!r}: expected inputs of one shape, got {shapes[source]} from {source!r} "
                    "beside another"
                )
    return shapes


def _labelled_shape(name: str, node: Node, shape: Shape) -> Shape:
    try:
        return output_shape(node, shape)
    except ValueError as error:
        raise ValueError(f"node {name!r}: {error}") from None
