"""One pass up and one down through a spiking graph, for every algorithm that keeps time its own way.

Going up, each node takes all T time steps at once.  Going down, the error of a node is an array (M, B, ...)
of M coefficients: the T steps themselves (BPTT), K temporal modes (the Galerkin family), or one average
(rate-based backpropagation).  Operators have no memory and act on each coefficient alone, so this file is the
same for all of them; how a population turns the error of its spikes into that of its current is what a
`Timekeeping` says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

from refsnn.algorithms.result import Diagnostics, GradientResult
from refsnn.models.contract import Parameters
from refsnn.models.losses import LOSSES
from refsnn.models.operators.normalisation import BatchNormalisation, per_channel
from refsnn.models.operators.operator import LinearOperator, Operator, Weights
from refsnn.models.operators.pooling import MaxPool
from refsnn.models.sequences import as_sequence
from refsnn.models.spiking_graph import INPUT, Node, Population, SpikingGraph, Sum


class Timekeeping(Protocol):
    """How an algorithm keeps time.

    Attributes
    ----------
    constant : ndarray, (M,)
        What each coefficient has of a constant: biases and the mean read-out are constants in time.
    pointwise : bool
        Whether a coefficient is a value (at a time, or a rate), so that a maximum can be taken of it.
    margins : list of float
        Smallest distance to the threshold of each population that has run.
    """

    constant: np.ndarray
    pointwise: bool
    margins: list[float]

    @property
    def kept(self) -> list[np.ndarray]:
        """Arrays of its own that it needs on the way down."""
        ...

    def readout_share(self, steps: int) -> float:
        """What dl/d(mean read-out) is multiplied with, beside `constant`, for the read-out's coefficients."""
        ...

    def coefficients(self, sequence: np.ndarray) -> np.ndarray:
        """(T, B, ...) to (M, B, ...)."""
        ...

    def run(self, name: str, population: Population, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Run a population: spikes (T, B, ...), perhaps written over the current, and their coefficients."""
        ...

    def pull_back(self, name: str, population: Population, adjoint: np.ndarray) -> np.ndarray:
        """Error of the spikes to error of the current, both (M, B, ...)."""
        ...

    def normal(self, kept: Normalised, current: Callable[[], np.ndarray]) -> np.ndarray:
        """Coefficients of a normalised current I^; `current()` gives those of I."""
        ...

    def normalisation_vjp(
        self,
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
    mean, variance, spread : ndarray, (C,)
        mu, sigma^2 and V, jointly over time.
    """

    normal: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    spread: np.ndarray


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

    Raises
    ------
    ValueError
        If the graph pools maxima and the coefficients are no values.
    """

    def __init__(self, graph: SpikingGraph, parameters: Parameters, keeper: Timekeeping) -> None:
        if not keeper.pointwise and any(isinstance(node.what, MaxPool) for node in graph.nodes):
            raise ValueError(
                "graph: expected operators that act on temporal modes, got max pooling, which compares "
                "values; take average pooling, or an algorithm that keeps values (BPTT, rates)"
            )
        self.graph, self.parameters, self.keeper = graph, parameters, keeper
        self.nodes = {node.name: node for node in graph.nodes}
        self.weights = {
            node.name: prepared(operator, graph.weights(parameters, node))
            for node, operator, _ in graph.operators()
        }
        self.values: dict[str, np.ndarray] = {}  # coefficients of the input and of populations
        self.normalised: dict[str, Normalised] = {}
        self.rates: dict[str, float] = {}

    @property
    def bytes_kept(self) -> int:
        """Bytes kept for the way down: coefficients, normalised currents, and the keeper's own."""
        arrays = {id(array): array for array in (*self.values.values(), *self.keeper.kept)}
        arrays |= {id(entry.normal): entry.normal for entry in self.normalised.values()}
        return sum(array.nbytes for array in arrays.values())

    # -- up -------------------------------------------------------------------------------------------

    def up(self, inputs: np.ndarray) -> np.ndarray:
        """Run all nodes on (T, B, *input_shape); the read-out's time mean (B, classes)."""
        waiting = Counter(name for node in self.graph.nodes for name in node.inputs)
        sequences = {INPUT: inputs}
        self.values[INPUT] = self.keeper.coefficients(inputs)
        for node in self.graph.nodes:
            read = [sequences[name] for name in node.inputs]
            waiting.subtract(node.inputs)
            for name in set(node.inputs):
                if not waiting[name]:
                    del sequences[name]
            if isinstance(node.what, Population):
                # the current may be written over only where nobody else reads it, now or on the way down
                held = (inputs, *self.values.values())
                shared = waiting[node.inputs[0]] or any(np.may_share_memory(read[0], one) for one in held)
                current = read[0].copy() if shared else read[0]
                sequences[node.name], self.values[node.name] = self.keeper.run(node.name, node.what, current)
                self.rates[node.name] = float(sequences[node.name].mean())
            elif node is not self.graph.readout:
                sequences[node.name] = self.forward(node, read)
        # linear: the mean goes through it
        return self.operator(self.graph.readout, read[0].mean(axis=0)[None])[0]

    def forward(self, node: Node, read: list[np.ndarray]) -> np.ndarray:
        """What a node without memory makes of what it reads, (T, B, ...)."""
        if isinstance(node.what, Sum):
            return sum(read[1:], start=read[0])
        if isinstance(node.what, BatchNormalisation):
            steps = read[0].shape[:2]
            outputs, record = node.what.forward(self.weights[node.name], merged(read[0]))
            normal = self.keeper.coefficients(record.normal.reshape(*steps, *record.normal.shape[1:]))
            self.normalised[node.name] = Normalised(normal, record.mean, record.variance, record.spread)
            return outputs.reshape(*steps, *outputs.shape[1:])
        return self.operator(node, read[0])

    def operator(self, node: Node, values: np.ndarray) -> np.ndarray:
        """A linear operator or a maximum on values at times, (T, B, ...)."""
        if isinstance(node.what, MaxPool):
            outputs, _ = node.what.forward(merged(values))
        else:
            outputs = linear_operator(node).forward(self.weights[node.name], merged(values))
        return outputs.reshape(*values.shape[:2], *outputs.shape[1:])

    # -- down -----------------------------------------------------------------------------------------

    def value(self, name: str) -> np.ndarray:
        """Coefficients (M, B, ...) of a node, from those of the populations below it."""
        if name in self.values:
            return self.values[name]
        node = self.nodes[name]
        constant = self.keeper.constant
        if isinstance(node.what, BatchNormalisation):
            weights, source = self.weights[name], node.inputs[0]
            normal = self.keeper.normal(self.normalised[name], lambda: self.value(source))
            shift = per_channel(weights["beta"], normal[0]) * spread_over(constant, normal)
            return per_channel(weights["gamma"], normal[0]) * normal + shift
        read = [self.value(source) for source in node.inputs]
        if isinstance(node.what, Sum):
            return sum(read[1:], start=read[0])
        if isinstance(node.what, MaxPool):
            return self.operator(node, read[0])
        operator, weights = linear_operator(node), self.weights[name]
        outputs = operator.linear(weights, merged(read[0]))
        outputs = outputs.reshape(*read[0].shape[:2], *outputs.shape[1:])
        bias = operator.bias(weights)
        return outputs if bias is None else outputs + spread_over(constant, outputs) * bias

    def down(self, adjoint: np.ndarray) -> Parameters:
        """Gradients of all parameters from the error of the read-out's coefficients, (M, B, classes)."""
        adjoints: dict[str, np.ndarray] = {self.graph.readout.name: adjoint}
        gradients: Parameters = {}
        learning = self.learning()
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
            return self.keeper.normalisation_vjp(node.what, weights, kept, lambda: self.value(source), error)
        shape = self.graph.shapes[node.inputs[0]]
        if isinstance(node.what, MaxPool):
            _, record = node.what.forward(merged(self.value(node.inputs[0])))
            moved = node.what.transpose(record, merged(error), shape)
            return moved.reshape(*error.shape[:2], *shape), {}
        operator, own = linear_operator(node), {}
        if weights:
            total = np.tensordot(self.keeper.constant, error, axes=1)
            own = operator.products(weights, merged(error), merged(self.value(node.inputs[0])), total)
        if not needed:
            return None, own
        moved = operator.transpose(weights, merged(error), shape)
        return moved.reshape(*error.shape[:2], *shape), own

    def learning(self) -> set[str]:
        """Nodes whose error is needed: those with parameters of their own or below them."""
        found: set[str] = set()
        for node in self.graph.nodes:
            own = any(name.startswith(f"{node.parameter_prefix}.") for name in self.parameters)
            if own or found.intersection(node.inputs):
                found.add(node.name)
        return found


def layerwise_gradient(
    graph: SpikingGraph,
    parameters: Parameters,
    inputs: Any,
    targets: Any,
    keeper: Callable[[int, np.dtype], Timekeeping],
    scale: float = 1.0,
) -> GradientResult:
    """Loss of the mean read-out and its gradient, as the algorithm keeps time.

    Parameters
    ----------
    graph : SpikingGraph
        The network.
    parameters, inputs, targets
        As `graph.check` wants them.
    keeper : callable of (T, dtype)
        Makes the `Timekeeping` of this pass.
    scale : float
        Of the gradient; the paper of rate-based backpropagation has 1/T.

    Returns
    -------
    GradientResult

    Raises
    ------
    TypeError, ValueError
        For bad arguments, and for operators that the algorithm cannot go through.
    """
    parameters, inputs, targets = graph.check(parameters, inputs, targets)
    steps, dtype = len(inputs), next(iter(parameters.values())).dtype
    time = keeper(steps, dtype)
    run = Pass(graph, parameters, time)
    outputs = run.up(as_sequence(inputs))
    loss_function, loss_gradient = LOSSES[graph.loss_function]
    # the mean read-out is a constant in time: what a coefficient has of it
    share = time.constant * dtype.type(scale * time.readout_share(steps))
    adjoint = share[:, None, None] * loss_gradient(outputs, targets)
    bytes_kept = run.bytes_kept  # the way down uses them up
    gradients = run.down(adjoint)
    return GradientResult(
        loss=float(loss_function(outputs, targets)),
        gradients=gradients,
        diagnostics=Diagnostics(
            steps_executed=steps,
            bytes_kept=bytes_kept,
            outputs=outputs,
            spike_rates=run.rates,
            margin=min(time.margins, default=None),
        ),
    )


def linear_operator(node: Node) -> LinearOperator:
    """The operator of a node that is known to be linear; one of another kind is not known here.

    Raises
    ------
    TypeError
        For an operator that no pass knows how to go through.

    Examples
    --------
    >>> linear_operator(Node("pool", ("input",), MaxPool(2)))
    Traceback (most recent call last):
    ...
    TypeError: node 'pool': expected a linear operator, got MaxPool
    """
    if not isinstance(node.what, LinearOperator):
        raise TypeError(f"node {node.name!r}: expected a linear operator, got {type(node.what).__name__}")
    return node.what


def prepared(operator: Operator, weights: Weights) -> Weights:
    """Weights of an operator with what is made of them once a pass.

    Examples
    --------
    >>> prepared(MaxPool(2), {})
    {}
    """
    return operator.prepared(weights) if isinstance(operator, LinearOperator) else weights


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
