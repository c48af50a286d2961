"""One pass up and one down through a spiking graph, for every algorithm that keeps time its own way.

Going up, each node takes all T time steps at once.  Going down, the error of a node is an array (M, B, ...)
of M coefficients: the T steps themselves (BPTT), K temporal modes (the Galerkin family), or one average
(rate-based backpropagation).  Operators have no memory and act on each coefficient alone, so this file is the
same for all of them; how a population turns the error of its spikes into that of its current is what a
`Timekeeping` says.

The way up may be taken in blocks of steps, where the keeper can add up: then no array of length T exists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import numpy as np

from refsnn.algorithms.readout import EachStepLoss, MeanLoss, ProjectedLoss
from refsnn.algorithms.result import BatchStatistics, Diagnostics, GradientResult
from refsnn.models.contract import Parameters
from refsnn.models.edges import Edges
from refsnn.models.operators.normalisation import BatchNormalisation, entries_of, per_channel
from refsnn.models.operators.operator import Weights
from refsnn.models.operators.pooling import MaxPool
from refsnn.models.sequences import as_sequence
from refsnn.models.spiking_graph import INPUT, Node, Population, SpikingGraph, Sum, check_graph
from refsnn.models.spiking_nodes import linear_operator
from refsnn.models.spiking_step import check_each_step
from refsnn.models.workspace import Empty


class Timekeeping(Protocol):
    """How an algorithm keeps time.

    Attributes
    ----------
    constant : ndarray, (M,)
        What each coefficient has of a constant: biases and the mean read-out are constants in time.
    pointwise : bool
        Whether a coefficient is a value (at a time, or a rate), so that a maximum can be taken of it.
    scale : float
        Of the error, and so of the gradient.
    """

    constant: np.ndarray
    pointwise: bool
    scale: float

    @property
    def basis(self) -> np.ndarray | None:
        """phi_k(t), (M, T): what an error is summed over time with; None for each step by itself."""
        ...

    @property
    def margins(self) -> list[float]:
        """Smallest distance to the threshold of each population that has run."""
        ...

    @property
    def kept(self) -> list[np.ndarray]:
        """Arrays of its own that it needs on the way down."""
        ...

    def coefficients(self, name: str, sequence: np.ndarray) -> np.ndarray:
        """(T, B, ...) of a node to (M, B, ...); of a block of steps, those so far."""
        ...

    def run(self, name: str, population: Population, current: np.ndarray) -> np.ndarray:
        """Run a population: spikes (T, B, ...), perhaps written over the current."""
        ...

    def value(self, name: str, population: Population) -> np.ndarray:
        """Coefficients (M, B, ...) of the spikes of a population that has run."""
        ...

    def pull_back(self, name: str, population: Population, adjoint: np.ndarray) -> np.ndarray:
        """Error of the spikes to error of the current, both (M, B, ...)."""
        ...

    def normal(
        self,
        name: str,
        operator: BatchNormalisation,
        kept: Normalised,
        current: Callable[[], np.ndarray],
    ) -> np.ndarray:
        """Coefficients of a normalised current I^; `current()` gives those of I."""
        ...

    def normalisation_vjp(
        self,
        name: str,
        operator: BatchNormalisation,
        weights: Weights,
        kept: Normalised,
        current: Callable[[], np.ndarray],
        adjoint: np.ndarray,
    ) -> tuple[np.ndarray, Weights]:
        """Error through a batch normalisation, (M, B, ...), and gradients of gamma and beta."""
        ...


class Normalised(NamedTuple):
    """What a batch normalisation leaves behind on the way up.

    Attributes
    ----------
    normal : ndarray, (M, B, ...)
        Coefficients of the normalised current I^.
    mean, variance, spread : ndarray, (1, C) or (T, C)
        mu, sigma^2 and V, jointly over time or of each step.
    entries : int
        How many numbers each of them is taken of.
    """

    normal: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    spread: np.ndarray
    entries: int


class Pass:
    """A pass up, and then one down, through a graph.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    parameters : dict of ndarray
        Checked by `graph.check`.
    keeper : Timekeeping
        How the algorithm keeps time; fresh for each pass.
    empty : callable
        Makes the arrays of what operators compute, as `numpy.empty` does.

    Raises
    ------
    ValueError
        If the graph pools maxima and the coefficients are no values, or has delayed nodes.
    """

    def __init__(
        self, graph: SpikingGraph, parameters: Parameters, keeper: Timekeeping, empty: Empty = np.empty
    ) -> None:
        if not keeper.pointwise and any(isinstance(node.what, MaxPool) for node in graph.nodes):
            raise ValueError(
                "graph: expected operators that act on temporal modes, got max pooling, which compares "
                "values; take average pooling, or an algorithm that keeps values (BPTT, rates)"
            )
        if graph.delayed:
            raise ValueError(
                f"graph: expected no delayed nodes where each node takes all its steps at once, got "
                f"{[node.name for node in graph.delayed]}; take an algorithm that runs step by step (BPTT, "
                "OTTT, SLTT, forward mode)"
            )
        self.graph, self.parameters, self.keeper, self.empty = graph, parameters, keeper, empty
        self.nodes = {node.name: node for node in graph.nodes}
        self.weights = graph.prepared(parameters)
        self.input, self.owns_input = np.zeros(0), False  # its coefficients
        self.normalised: dict[str, Normalised] = {}
        self.rates: dict[str, float] = {}  # summed over blocks
        self.blocks = 0

    @property
    def bytes_kept(self) -> int:
        """Bytes kept for the way down, beyond the input itself."""
        arrays = [*self.keeper.kept, *(entry.normal for entry in self.normalised.values())]
        if self.owns_input:
            arrays.append(self.input)
        return sum(array.nbytes for array in {id(array): array for array in arrays}.values())

    # -- up -------------------------------------------------------------------------------------------

    def up(self, inputs: np.ndarray, averaged: bool = True) -> np.ndarray:
        """Run all nodes on (T, B, *input_shape), all steps or the next block of them.

        Returns
        -------
        ndarray, (1, B, classes) or (T, B, classes)
            The read-out: of the mean of these steps (the same as its mean, for it is linear), or of each.
        """
        waiting = Counter(name for node in self.graph.nodes for name in node.inputs)
        sequences = {INPUT: inputs}
        self.input = self.keeper.coefficients(INPUT, inputs)
        self.owns_input = not np.may_share_memory(self.input, inputs)
        for node in self.graph.nodes:
            read = [sequences[name] for name in node.inputs]
            waiting.subtract(node.inputs)
            for name in set(node.inputs):
                if not waiting[name]:
                    del sequences[name]
            if isinstance(node.what, Population):
                # the current may be written over only where nobody else reads it
                held = (inputs, *sequences.values())
                shared = any(np.may_share_memory(read[0], one) for one in held)
                current = read[0].copy() if shared else read[0]
                sequences[node.name] = self.keeper.run(node.name, node.what, current)
                self.rates[node.name] = self.rates.get(node.name, 0.0) + float(sequences[node.name].mean())
            elif node is not self.graph.readout:
                sequences[node.name] = self.forward(node, read)
        self.blocks += 1
        return self.operator(self.graph.readout, read[0].mean(axis=0)[None] if averaged else read[0])

    def forward(self, node: Node, read: list[np.ndarray]) -> np.ndarray:
        """What a node without memory makes of what it reads, (T, B, ...)."""
        if isinstance(node.what, Sum):
            return sum(read[1:], start=read[0])
        if isinstance(node.what, BatchNormalisation):
            return self.normalise(node, node.what, read[0])
        return self.operator(node, read[0])

    def normalise(self, node: Node, operator: BatchNormalisation, current: np.ndarray) -> np.ndarray:
        """Each group of steps by its own statistics: all steps together, or each alone."""
        groups = [current] if operator.over == "sequence" else [step[None] for step in current]
        outputs, records = [], []
        for group in groups:
            output, record = operator.forward(self.weights[node.name], merged(group))
            outputs.append(output.reshape(*group.shape[:2], *output.shape[1:]))
            records.append(record)
        normals = np.concatenate(
            [r.normal.reshape(*g.shape[:2], *g.shape[2:]) for r, g in zip(records, groups, strict=True)]
        )
        before = self.normalised.get(node.name)

        def so_far(field: str) -> np.ndarray:
            new = np.stack([getattr(record, field) for record in records])
            return new if before is None else np.concatenate([getattr(before, field), new])

        self.normalised[node.name] = Normalised(
            self.keeper.coefficients(node.name, normals),
            *(so_far("mean"), so_far("variance"), so_far("spread")),
            entries=entries_of(records[0].normal),
        )
        return outputs[0] if len(outputs) == 1 else np.concatenate(outputs)

    def operator(self, node: Node, values: np.ndarray) -> np.ndarray:
        """A linear operator or a maximum on values at times, (T, B, ...)."""
        if isinstance(node.what, MaxPool):
            outputs, _ = node.what.forward(merged(values), self.empty)
        else:
            outputs = linear_operator(node).forward(self.weights[node.name], merged(values), self.empty)
        return outputs.reshape(*values.shape[:2], *outputs.shape[1:])

    # -- down -----------------------------------------------------------------------------------------

    def value(self, name: str) -> np.ndarray:
        """Coefficients (M, B, ...) of a node, from those of the populations below it."""
        if name == INPUT:
            return self.input
        node, constant = self.nodes[name], self.keeper.constant
        if isinstance(node.what, Population):
            return self.keeper.value(name, node.what)
        if isinstance(node.what, BatchNormalisation):
            weights, source = self.weights[name], node.inputs[0]
            kept = self.normalised[name]
            normal = self.keeper.normal(name, node.what, kept, lambda: self.value(source))
            shift = per_channel(weights["beta"], normal[0]) * spread_over(constant, normal)
            return per_channel(weights["gamma"], normal[0]) * normal + shift
        read = [self.value(source) for source in node.inputs]
        if isinstance(node.what, Sum):
            return sum(read[1:], start=read[0])
        if isinstance(node.what, MaxPool):
            return self.operator(node, read[0])
        operator, weights = linear_operator(node), self.weights[name]
        outputs = operator.linear(weights, merged(read[0]), self.empty)
        outputs = outputs.reshape(*read[0].shape[:2], *outputs.shape[1:])
        bias = operator.bias(weights)
        return outputs if bias is None else outputs + spread_over(constant, outputs) * bias

    def down(self, adjoint: np.ndarray) -> Parameters:
        """Gradients of all parameters from the error of the read-out's coefficients, (M, B, classes)."""
        adjoints: dict[str, np.ndarray] = {self.graph.readout.name: adjoint}
        gradients: Parameters = {}
        learning = self.graph.learning
        for node in reversed(self.graph.nodes):
            error = adjoints.pop(node.name, None)
            if error is None:
                continue
            below = [name for name in node.inputs if name in learning]
            error, own = self.through(node, error, bool(below))
            gradients |= {f"{node.parameter_prefix}.{name}": value for name, value in own.items()}
            for name in below:
                adjoints[name] = adjoints[name] + error if name in adjoints else error
        return {name: gradients[name] for name in self.parameters}

    def through(self, node: Node, error: np.ndarray, needed: bool) -> tuple[Any, Weights]:
        """Error of what a node reads (if it is needed), and gradients of its own parameters."""
        if isinstance(node.what, Sum):
            return error, {}
        if isinstance(node.what, Population):
            return self.keeper.pull_back(node.name, node.what, error), {}
        weights = self.weights[node.name]
        if isinstance(node.what, BatchNormalisation):
            kept, source = self.normalised[node.name], node.inputs[0]
            return self.keeper.normalisation_vjp(
                node.name, node.what, weights, kept, lambda: self.value(source), error
            )
        shape = self.graph.shapes[node.inputs[0]]
        if isinstance(node.what, MaxPool):
            _, record = node.what.forward(merged(self.value(node.inputs[0])), self.empty)
            moved = node.what.transpose(record, merged(error), shape, self.empty)
            return moved.reshape(*error.shape[:2], *shape), {}
        operator, own = linear_operator(node), {}
        if weights:
            total = np.tensordot(self.keeper.constant, error, axes=1)
            own = operator.products(weights, merged(error), merged(self.value(node.inputs[0])), total)
        if not needed:
            return None, own
        moved = operator.transpose(weights, merged(error), shape, self.empty)
        return moved.reshape(*error.shape[:2], *shape), own


def layerwise_gradient(
    graph: SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    keeper: Callable[[int, np.dtype], Timekeeping],
    block: int | None = None,
    window: int = 0,
    empty: Empty = np.empty,
) -> GradientResult:
    """Loss of the read-out and its gradient, as the algorithm keeps time.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    parameters, inputs, targets
        As `graph.check` wants them.
    keeper : callable of (T, dtype)
        Makes the `Timekeeping` of this pass.
    block : int, optional
        How many steps are run through all nodes at a time; all by default.  Fewer only where the keeper
        adds up.
    window : int
        Cut the memory of the read-out, if it has one, every so many steps from the end; 0 never.
    empty : callable
        Makes the arrays that the pass needs, as `numpy.empty` does.

    Returns
    -------
    GradientResult

    Raises
    ------
    TypeError, ValueError
        For bad arguments, and for operators that the algorithm cannot go through.
    """
    parameters, inputs, targets = check_graph(graph).check_arrays(parameters, inputs, targets)
    steps, dtype = len(inputs), next(iter(parameters.values())).dtype
    time = keeper(steps, dtype)
    run = Pass(graph, parameters, time, empty)
    loss: MeanLoss | EachStepLoss | ProjectedLoss = MeanLoss(graph, targets, time.basis)
    if graph.loss_over == "each_step" or graph.readout_leak:
        if time.basis is None:
            loss = EachStepLoss(graph, targets)
        else:
            loss = ProjectedLoss(graph, targets, time.basis)
    for piece in blocks(graph, inputs, block):
        loss.add(run.up(piece, averaged=loss.averaged), len(piece))
    bytes_kept = run.bytes_kept  # the way down uses them up
    adjoint = loss.adjoint(window)
    if time.scale != 1:
        adjoint = adjoint * dtype.type(time.scale)
    gradients = run.down(adjoint)
    return GradientResult(
        loss=loss.value(),
        gradients=gradients,
        diagnostics=Diagnostics(
            steps_executed=steps,
            bytes_kept=bytes_kept,
            outputs=loss.outputs(),
            spike_rates={name: rate / run.blocks for name, rate in run.rates.items()},
            margin=min(time.margins, default=None),
            statistics={
                name: BatchStatistics(kept.mean, kept.variance, kept.entries)
                for name, kept in run.normalised.items()
            },
        ),
    )


def blocks(graph: SpikingGraph, inputs: Any, size: int | None) -> Iterator[np.ndarray]:
    """The input in blocks of so many steps.

    Parameters
    ----------
    graph : SpikingGraph
        The network that will run on them.
    inputs : ndarray, (T, B, ...), or StaticInput
        Checked.
    size : int, optional
        Steps of a block; all by default.

    Yields
    ------
    ndarray, (steps, B, ...)

    Raises
    ------
    ValueError
        If the graph normalises over the whole sequence and a block is not that.
    """
    if size is not None:
        for name, operator in graph.normalisations.items():
            check_each_step(name, operator)
    for first in range(0, len(inputs), size or len(inputs)):
        yield as_sequence(inputs[first : first + (size or len(inputs))])


def merged(values: np.ndarray) -> np.ndarray:
    """(M, B, ...) as (M B, ...).

    Examples
    --------
    >>> merged(np.zeros((2, 3, 4))).shape
    (6, 4)
    """
    return values.reshape(-1, *values.shape[2:])


def spread_over(constant: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(M,) against (M, B, ...).

    Examples
    --------
    >>> spread_over(np.ones(2), np.zeros((2, 3, 4))).shape
    (2, 1, 1)
    """
    return constant.reshape(-1, *(1,) * (values.ndim - 1))


def flat(sequence: np.ndarray) -> np.ndarray:
    """(T, B, ...) as the kernels see it, (T, M); a view.

    Examples
    --------
    >>> flat(np.zeros((2, 3, 4))).shape
    (2, 12)
    """
    return sequence.reshape(sequence.shape[0], -1)


def check_leaks(edges: Edges) -> None:
    """Refuse edges that an average over time cannot do without.

    Raises
    ------
    ValueError
        For a leak that is cut.

    Examples
    --------
    >>> check_leaks(Edges(reset=False))
    """
    if edges.leak is not True:
        raise ValueError(
            f"edges: expected leak=True under rates and temporal modes, got leak={edges.leak!r}; "
            "BPTT, truncated BPTT and forward mode obey this switch"
        )
