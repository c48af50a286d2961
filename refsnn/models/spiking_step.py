"""One time step of a spiking graph, and its adjoint; the tangent is in `spiking_tangent`.

    I_t = A s_t + b  of the nodes below at the same step,    A s_{t-1} + b  of a delayed node (0 at t = 1),
    h_t, s_t, v_t = neuron(I_t, v_{t-1}).

The adjoint goes through the nodes from the read-out down, with e the error of a population's spikes and
p = dL/dh (Xiao 2022, one recursion for all methods):

    e_t = (what reads s_t at the same step)^T + feedback * (delayed nodes)^T p_{t+1},
    p_t = psi(h_t) e_t + leak * lambda dv/dh p_{t+1}.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from refsnn.equations.spiking import SpikingNeuron
from refsnn.models.contract import Parameters, State
from refsnn.models.edges import Edges
from refsnn.models.operators.normalisation import BatchNormalisation
from refsnn.models.operators.operator import LinearOperator, Weights
from refsnn.models.operators.pooling import MaxPool
from refsnn.models.spiking_nodes import INPUT, Node, Population, Sum, linear_operator
from refsnn.models.spiking_structure import SpikingStructure

Products = Callable[[Node, np.ndarray], Weights]


class Tape(NamedTuple):
    """What one step leaves behind for its adjoint.

    Attributes
    ----------
    values : dict of str to ndarray
        What each node gave, the input under "input"; under `<node>.before` what a delayed node read.
    charged : dict of str to ndarray
        h of each population.
    records : dict of str
        Of maxima and normalisations.
    started : float
        0 at the first step and 1 later: what a delayed node makes of its bias.
    outputs : ndarray, (B, classes)
        y_t.
    """

    values: dict[str, np.ndarray]
    charged: dict[str, np.ndarray]
    records: dict[str, Any]
    started: float
    outputs: np.ndarray

    def read(self, node: Node) -> np.ndarray:
        """What a node read."""
        return self.values[f"{node.name}.before" if node.delayed else node.inputs[0]]

    def thinned(self, graph: SpikingStructure) -> Tape:
        """The same without the values that no adjoint asks for."""
        wanted = {
            f"{node.name}.before" if node.delayed else node.inputs[0]
            for node in graph.nodes
            if graph.has_parameters(node)
        }
        return self._replace(values={name: self.values[name] for name in wanted})

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, each once."""
        arrays = [*self.values.values(), *self.charged.values()]
        for record in self.records.values():
            arrays.append(record if isinstance(record, np.ndarray) else record.normal)
        return sum(array.nbytes for array in {id(array): array for array in arrays}.values())


def initial_state(graph: SpikingStructure, dtype: np.dtype, batch: int) -> State:
    """State before the first step; see `SpikingGraph.initial_state`.

    Parameters
    ----------
    graph : SpikingStructure
        The network.
    dtype : dtype
        Of the parameters.
    batch : int
        B.

    Returns
    -------
    dict of str to ndarray
    """
    state = {
        f"{name}.potential": np.full((batch, *graph.shapes[name]), population.neuron.reset_value, dtype)
        for name, population in graph.populations.items()
    }
    for node in graph.delayed:
        state[f"{node.name}.before"] = np.zeros((batch, *graph.shapes[node.inputs[0]]), dtype)
        state[f"{node.name}.started"] = np.zeros(batch, dtype)
    state["readout.sum"] = np.zeros((batch, graph.classes), dtype)
    if graph.readout_leak:
        state["readout.potential"] = np.zeros((batch, graph.classes), dtype)
    if graph.loss_over == "each_step":
        state["loss.sum"] = np.zeros(1, dtype)
    return state


def advance(
    graph: SpikingStructure,
    weights: dict[str, Weights],
    state: State,
    inputs: np.ndarray,
    kernels: ModuleType,
    running: dict[str, Weights] | None = None,
) -> tuple[State, Tape]:
    """One step of all nodes.

    Parameters
    ----------
    graph : SpikingStructure
        The network.
    weights : dict
        From `SpikingGraph.prepared`.
    state : dict of str to ndarray
        Before the step.
    inputs : ndarray, (B, *input_shape)
        What the step sees.
    kernels : module
        From `refsnn.kernels.spiking_kernels`.
    running : dict, optional
        Running statistics of normalisations, for evaluation; the batch's own by default.

    Returns
    -------
    following : dict of str to ndarray
        The state after it; but for `loss.sum`, which is the caller's.
    tape : Tape
        For `pull_back`.

    Raises
    ------
    ValueError
        For a normalisation over the whole sequence, which no single step knows.
    """
    values: dict[str, np.ndarray] = {INPUT: inputs}
    charged: dict[str, np.ndarray] = {}
    records: dict[str, Any] = {}
    following: State = {}
    started = 0.0
    for node in graph.nodes:
        name, own = node.name, weights.get(node.name, {})
        read = values[node.inputs[0]] if not node.delayed else state[f"{name}.before"]
        if node.delayed:
            values[f"{name}.before"], started = read, float(state[f"{name}.started"][0])
            shape = len(read), *graph.shapes[name]
            values[name] = (
                linear_operator(node).forward(own, read) if started else np.zeros(shape, read.dtype)
            )
        elif isinstance(node.what, Population):
            current, potential = np.ascontiguousarray(read), state[f"{name}.potential"].copy()
            charged[name], values[name] = np.empty_like(current), np.empty_like(current)
            arrays = row(current), potential.reshape(-1), row(charged[name]), row(values[name])
            kernels.forward(node.what.neuron, *arrays)
            following[f"{name}.potential"] = potential
        elif isinstance(node.what, Sum):
            values[name] = sum((values[source] for source in node.inputs[1:]), start=read)
        elif isinstance(node.what, BatchNormalisation):
            if running is not None:
                values[name], _ = node.what.evaluate(own, running[name], read)
            else:
                check_each_step(name, node.what)
                values[name], records[name] = node.what.forward(own, read)
        elif isinstance(node.what, MaxPool):
            values[name], records[name] = node.what.forward(read)
        else:
            values[name] = linear_operator(node).forward(own, read)
    for node in graph.delayed:
        following[f"{node.name}.before"] = values[node.inputs[0]]
        following[f"{node.name}.started"] = np.ones_like(state[f"{node.name}.started"])
    outputs = values[graph.readout.name]
    if graph.readout_leak:
        outputs = outputs + outputs.dtype.type(graph.readout_leak) * state["readout.potential"]
        following["readout.potential"] = outputs
    following["readout.sum"] = state["readout.sum"] + outputs
    return following, Tape(values, charged, records, started, outputs)


def pull_back(
    graph: SpikingStructure,
    weights: dict[str, Weights],
    tape: Tape,
    output_adjoint: np.ndarray,
    future: State,
    kernels: ModuleType,
    edges: Edges,
    products: Products | None = None,
) -> tuple[State, Parameters]:
    """The adjoint of `advance`.

    Parameters
    ----------
    graph, weights
        As in `advance`.
    tape : Tape
        Of the step.
    output_adjoint : ndarray, (B, classes)
        dL/dy_t by what reads it at this step, or adds it up.
    future : dict of str to ndarray
        dL/d(following state); what is missing is 0.
    kernels : module
        As in `advance`.
    edges : Edges
        Which edges of time are used.
    products : callable of (node, error), optional
        Gradients of the parameters of a linear operator by their last names; by default the exact ones of
        this step.

    Returns
    -------
    past : dict of str to ndarray
        dL/d(state before), of the recurrent entries; what is cut is missing.
    gradients : dict of str to ndarray
        This step's share of dL/d(parameters).
    """
    products = products or exact_products(weights, tape)
    past: State = {}
    gradients: Parameters = {}
    adjoints: dict[str, np.ndarray] = {}
    if graph.readout_leak:
        if "readout.potential" in future:
            output_adjoint = output_adjoint + future["readout.potential"]
        past["readout.potential"] = output_adjoint.dtype.type(graph.readout_leak) * output_adjoint
    adjoints[graph.readout.name] = output_adjoint
    for node in graph.delayed:
        if f"{node.name}.before" in future and node.inputs[0] in graph.learning:
            _add(adjoints, node.inputs[0], future[f"{node.name}.before"])
    for node in reversed(graph.nodes):
        error = adjoints.pop(node.name, None)
        if error is None:
            continue
        if isinstance(node.what, LinearOperator) and graph.has_parameters(node):
            own = products(node, error)
            gradients |= {f"{node.parameter_prefix}.{name}": value for name, value in own.items()}
        if node.delayed:
            if edges.has_feedback(node.name) and tape.started:
                shape = graph.shapes[node.inputs[0]]
                past[f"{node.name}.before"] = linear_operator(node).transpose(
                    weights[node.name], error, shape
                )
            continue
        below = [name for name in node.inputs if name in graph.learning]
        if isinstance(node.what, Population):
            neuron, name = edges.neuron(node.name, node.what.neuron), f"{node.name}.potential"
            error, reaching = _through_neurons(
                neuron, tape.charged[node.name], error, future.get(name), kernels
            )
            if edges.has_leak(node.name):
                past[name] = reaching
        elif isinstance(node.what, BatchNormalisation):
            error, own = node.what.vjp(weights[node.name], tape.records[node.name], error)
            gradients |= {f"{node.parameter_prefix}.{name}": value for name, value in own.items()}
        elif isinstance(node.what, MaxPool):
            error = node.what.transpose(tape.records[node.name], error, graph.shapes[node.inputs[0]])
        elif isinstance(node.what, LinearOperator) and below:
            error = node.what.transpose(weights[node.name], error, graph.shapes[node.inputs[0]])
        for name in below:
            _add(adjoints, name, error)
    return past, gradients


def exact_products(weights: dict[str, Weights], tape: Tape) -> Products:
    """Gradients of a linear operator at one step: its error with what it read; a delayed bias starts late.

    Parameters
    ----------
    weights : dict
        From `SpikingGraph.prepared`.
    tape : Tape
        Of the step.

    Returns
    -------
    callable of (node, error)
    """

    def products(node: Node, error: np.ndarray) -> Weights:
        total = error * error.dtype.type(tape.started) if node.delayed else error
        return linear_operator(node).products(weights[node.name], error, tape.read(node), total)

    return products


def _through_neurons(
    neuron: SpikingNeuron,
    charged: np.ndarray,
    spike_adjoint: np.ndarray,
    future: np.ndarray | None,
    kernels: ModuleType,
) -> tuple[np.ndarray, np.ndarray]:
    """dL/dI_t and dL/dv_{t-1} of a population, from dL/ds_t and dL/dv_t."""
    potential_adjoint = np.zeros_like(charged) if future is None else future.copy(order="C")
    current_adjoint = np.empty_like(charged)
    arrays = row(charged), row(np.ascontiguousarray(spike_adjoint))
    kernels.backward(neuron, *arrays, potential_adjoint.reshape(-1), row(current_adjoint), 0)
    return current_adjoint, potential_adjoint


def check_each_step(name: str, operator: BatchNormalisation) -> None:
    """Refuse a normalisation that needs the whole sequence.

    Parameters
    ----------
    name : str
        Of its node.
    operator : BatchNormalisation
        The normalisation.

    Raises
    ------
    ValueError
        Naming the node.

    Examples
    --------
    >>> check_each_step("norm", BatchNormalisation(over="step"))
    """
    if operator.over != "step":
        raise ValueError(
            f"node {name!r}: expected statistics of each step where one step is done after the other, got "
            f"BatchNormalisation(over={operator.over!r}); take over='step'"
        )


def row(array: np.ndarray) -> np.ndarray:
    """(B, ...) as the kernels see one step, (1, M); a view.

    Examples
    --------
    >>> row(np.zeros((3, 4))).shape
    (1, 12)
    """
    return array.reshape(1, -1)


def _add(adjoints: dict[str, np.ndarray], name: str, error: np.ndarray) -> None:
    adjoints[name] = adjoints[name] + error if name in adjoints else error
